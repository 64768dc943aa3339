"""Where the time of a process went, in figures."""

from __future__ import annotations

from typing import Any

Accounts = dict[str, dict[str, Any]]
"""`roles`: role to its seconds starting, ready, busy and idle, the mean requests in flight while busy, calls and
requests. `stages`: stage to its seconds."""


def add_up(processes: list[Accounts]) -> Accounts:
    """The accounts of several processes as one. Seconds of those that ran at once are added up too."""
    total: Accounts = {"roles": {}, "stages": {}}
    for accounts in processes:
        for stage, spent in accounts.get("stages", {}).items():
            total["stages"][stage] = round(total["stages"].get(stage, 0) + spent, 3)
        for role, figures in accounts.get("roles", {}).items():
            known = total["roles"].setdefault(role, dict.fromkeys(figures, 0.0))
            busy = known.get("busy", 0) + figures.get("busy", 0)
            load = sum(some.get("in_flight", 0) * some.get("busy", 0) for some in (known, figures))
            for name, value in figures.items():
                known[name] = round(known.get(name, 0) + value, 3)
            known["in_flight"] = round(load / busy, 1) if busy else 0.0
    return total
