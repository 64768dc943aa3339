"""A run's totals: the sums over its shards, and the comparison with the target alone."""

from __future__ import annotations

from typing import Any


def add_up(records: dict[int, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """Sum of the shards' counts, and of what each role computed."""
    counts: dict[str, Any] = {}
    computed: dict[str, dict[str, int]] = {}
    for _, record in sorted(records.items()):
        for name, value in record["counts"].items():
            counts[name] = counts.get(name, 0) + value
        add_computed(computed, record["computed"])
    return counts, computed


def add_computed(computed: dict[str, dict[str, int]], more: dict[str, dict[str, int]]) -> None:
    """Add what each role computed to what is known of it."""
    for role, usage in more.items():
        total = computed.setdefault(role, {})
        for name, value in usage.items():
            total[name] = total.get(name, 0) + value


def flops(counts: dict[str, Any], computed: dict[str, dict[str, int]], params: dict[str, float]) -> dict[str, Any]:
    """FLOPs = 2 * parameters * tokens, by role.

    `generated`: tokens written, and for the PRM the tokens it had to score beyond what it had seen of the same
    trajectory. `computed`: what the engines really computed, written and prompt tokens that no cache served; prefixes
    that samples of a problem share in a cache make it less, for the PRM even less than `generated`. `target_alone`:
    what the target would spend to write as many tokens as the solutions keep.
    """
    kept = counts.get("draft_tokens_kept", 0) + counts.get("target_tokens", 0)
    generated = {
        role: 2
        * params[role]
        * counts.get({"draft": "draft_tokens", "target": "target_tokens"}.get(role, "prm_tokens"), 0)
        for role in params
    }
    everything = {
        role: 2 * params[role] * (usage["generated"] + usage["prefilled"])
        for role, usage in computed.items()
        if role in params
    }
    return {
        "generated": generated,
        "computed": everything,
        "target_alone": 2 * params["target"] * kept if "target" in params else None,
    }


def not_graded(counts: dict[str, Any]) -> str:
    """Solutions that were neither right nor wrong; '' where there are none."""
    kinds = [("unparsed", "without an answer that can be read"), ("timeouts", "timed out")]
    kinds.append(("bad_references", "with a reference that cannot be read"))
    return ", ".join(f"{counts[name]:,} {words}" for name, words in kinds if counts.get(name))
