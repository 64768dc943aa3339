"""Arrow schemas of exported datasets, with a description for every column."""

from __future__ import annotations

import pyarrow as pa

from schemas.export import Kind
from schemas.tables import column

MESSAGES = pa.list_(
    pa.struct([pa.field("role", pa.string(), nullable=False), pa.field("content", pa.string(), nullable=False)])
)
TEXTS = pa.list_(pa.string())

_OF = [
    column("run_id", pa.string(), "run that wrote it"),
    column("problem_id", pa.string(), "problem in that run"),
    column("sample", pa.int32(), "sample of the problem"),
]
_PROMPT = "problem as the run's prompt words it, then the steps so far"

_SFT = [
    *_OF,
    column("correct", pa.bool_(), "?verdict of the solution"),
    column("steps", pa.int32(), "steps of the solution"),
    column("draft_steps", pa.int32(), "steps that the draft wrote"),
    column("tokens", pa.int64(), "tokens of the solution, each step's in its writer's vocabulary"),
    column("min_reward", pa.float32(), "?least reward of its steps that were scored"),
    column("last_reward", pa.float32(), "?reward of its last step that was scored"),
]
_DPO = [
    *_OF,
    column(
        "rejected_run_id", pa.string(), "run that wrote the rejected solution; run_id and sample are the chosen one's"
    ),
    column("rejected_problem_id", pa.string(), "problem of the rejected solution in that run"),
    column("rejected_sample", pa.int32(), "sample of the rejected solution"),
    column("chosen_reward", pa.float32(), "?reward of the chosen solution, the least or the last of its steps'"),
    column("rejected_reward", pa.float32(), "?reward of the rejected solution"),
]


def schema(kind: Kind, messages: bool = True) -> pa.Schema:
    """Columns of a dataset of this kind. `messages`: sft and dpo as chat messages, else as text."""
    text = MESSAGES if messages else pa.string()
    match kind:
        case "sft" if messages:
            return pa.schema([column("messages", MESSAGES, "system and user message, and the solution"), *_SFT])
        case "sft":
            prompt = column("prompt", pa.string(), "the problem as the run's prompt words it")
            return pa.schema([prompt, column("completion", pa.string(), "the solution"), *_SFT])
        case "dpo":
            texts = [
                column("prompt", text, "the problem as the run's prompt words it"),
                column("chosen", text, "a solution with the right answer"),
                column("rejected", text, "a solution of the same problem with a wrong answer"),
            ]
            return pa.schema(texts + _DPO)
        case "step-dpo":
            return pa.schema(
                [
                    column("prompt", pa.string(), _PROMPT),
                    column("chosen", pa.string(), "step that the target wrote in the rejected one's place"),
                    column("rejected", pa.string(), "step of the draft that was rejected by its reward"),
                    *_OF,
                    column("step", pa.int32(), "step of the solution, from 0"),
                    column("chosen_attempt", pa.int32(), "number of the chosen attempt at the step"),
                    column("rejected_attempt", pa.int32(), "number of the rejected attempt at the step"),
                    column(
                        "chosen_reward",
                        pa.float32(),
                        "?reward of the chosen step, by the run or asked for after it; null if there is none",
                    ),
                    column("rejected_reward", pa.float32(), "reward of the rejected step"),
                ]
            )
        case "prm":
            return pa.schema(
                [
                    column("prompt", pa.string(), "the problem as the run's prompt words it"),
                    column("completions", TEXTS, "texts of the steps, without the separators between them"),
                    column("labels", pa.list_(pa.bool_()), "is the step right, for each step"),
                    *_OF,
                    column("step", pa.int32(), "number of the last step, from 0"),
                    column(
                        "attempt", pa.int32(), "attempt of the last step; the earlier steps are the accepted attempts"
                    ),
                    column("rewards", pa.list_(pa.float32()), "?reward of each step; null where it has none"),
                    column(
                        "estimates",
                        pa.list_(pa.float32()),
                        "?share of each step's roll-outs that end right; for the step that ends a solution its "
                        "verdict; "
                        "null where labels are not from roll-outs",
                    ),
                ]
            )
