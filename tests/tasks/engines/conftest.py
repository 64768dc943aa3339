"""What tests of several engines use."""

from __future__ import annotations

import pytest

from tasks.engines import endpoint, endpoint_pool


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Served roles try again in next to no time."""
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(endpoint, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(endpoint_pool, "CONTACT_PATIENCE", 0.1)
