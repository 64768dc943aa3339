"""How a process of ours is started that runs one of our modules: it imports ours, and nothing from where it starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parents[1])


def started_as(module: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Arguments of subprocess for a module of ours. `environment`: variables beside this process's own."""
    own = {"PYTHONPATH": ROOT, "PYTHONSAFEPATH": "1"}
    return {"args": [sys.executable, "-P", "-m", module], "env": os.environ | (environment or {}) | own}
