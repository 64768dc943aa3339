"""A run's totals: the sums over its shards, and the comparison with the target alone."""

from __future__ import annotations

import datetime
from typing import Any

from tasks.drift import described
from tasks.plan import Plan
from tasks.vocabulary import PLACEHOLDER


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


def describe(plan: Plan, records: dict[int, dict[str, Any]], seconds: dict[str, float]) -> dict[str, Any]:
    """The manifest's content beside the run's identity. `seconds` are those of the process that finished the run.

    `prompts`: role to the text around a problem's user message in what it reads, so that the prompts can be told when
    the models are gone: the message goes between any two of its parts (chat templates may trim blanks at its ends).
    """
    counts, computed = add_up(records)
    calibration = {"calibration": _calibration(plan.calibration)} if plan.calibration else {}
    if plan.calibration:  # what its runs made is a part of this run, which does not make it again
        add_computed(computed, plan.calibration["computed"])
    params = plan.params
    models = {
        role: {"model": of_role.checkpoint.name, "params": of_role.params, "window": of_role.engine.window}
        for role, of_role in plan.roles.items()
    }
    if plan.proposer:
        window = plan.roles["target"].engine.window
        models["draft"] = {"model": plan.proposer.checkpoint.name, "params": plan.proposer.params, "window": window}
    return (
        {
            "method": plan.config.decoding.method,
            "samples": plan.config.decoding.samples,
            "separator": plan.config.prompt.separator,
            "shards": plan.shards,
            "input": {
                "files": [{"path": f.path, "rows": f.rows, "sha256": f.sha256} for f in plan.survey.files],
                "rows": plan.survey.rows,
                "usable": plan.survey.usable,
                "rejected": plan.survey.rejected(),
            }
            | ({"skipped": plan.survey.skipped} if plan.config.input.skip_done else {}),
            "models": models,
            "prompts": {role: of.vocabulary.frame.split(PLACEHOLDER) for role, of in plan.roles.items()},
            "counts": counts,
            "computed": computed,
            "flops": flops(counts, computed, params),
            "seconds": seconds,
            "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        | calibration
        | described(counts, plan)
    )


def _calibration(report: dict[str, Any]) -> dict[str, Any]:
    """What a run keeps of how its threshold was found."""
    return {
        "threshold": report["recommendation"]["threshold"],
        "target_share": report["wish"]["value"],
        "problems": report["problems"],
        "generated": report["tokens"]["generated"],
    }
