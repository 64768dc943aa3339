"""What a run's manifest says beside the run's identity."""

from __future__ import annotations

import datetime
from typing import Any

from tasks.generation.drift import described
from tasks.models.tokenizer import PLACEHOLDER
from tasks.output.totals import add_computed, add_up, flops
from tasks.planning.plan import Plan


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
