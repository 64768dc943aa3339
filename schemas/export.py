"""Options of exports. Plain values and no imports, so that `--help` is instant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

Kind = Literal["sft", "step-dpo", "dpo", "prm"]
KINDS: tuple[Kind, ...] = ("sft", "step-dpo", "dpo", "prm")
MARGIN = 0.1
"""Least difference of the rewards of a step-dpo pair. flows/README.md has the share of right pairs for several
values."""
NGRAM = 13
"""Words of an n-gram for decontamination."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of `stepwave export`. None stands for the default, which the text of an option has in brackets."""

    format: Literal["messages", "text"] | None = None
    """sft, dpo: rows as chat messages or as plain text (messages)."""
    template: str | None = None
    """Checkpoint whose chat template makes prompts of plain text (the run's prompt.template, or else the problem and an
    empty line)."""
    answers: Literal["right", "wrong", "any"] | None = None
    """sft: only solutions with this verdict (right)."""
    status: list[str] | None = None
    """Only solutions that ended so: finished, max_tokens, max_steps or failed. May be repeated (sft, dpo: finished;
    other kinds: all)."""
    levels: list[str] | None = None
    """Only problems of these levels, as the input's column level has them. May be repeated."""
    min_solved: float | None = None
    """Only problems with at least this share of right solutions, of those that are graded."""
    max_solved: float | None = None
    """Only problems with at most this share of right solutions, of those that are graded."""
    reward: Literal["min", "last"] | None = None
    """sft, dpo: the reward of a solution, for --min-reward and --margin: the least or the last of its steps' (min)."""
    min_reward: float | None = None
    """sft: least reward of a solution."""
    min_tokens: int | None = None
    """sft, dpo: fewest tokens of a solution."""
    max_tokens: int | None = None
    """sft, dpo: most tokens of a solution."""
    min_draft_share: float | None = None
    """sft: least share of steps that the draft wrote."""
    max_draft_share: float | None = None
    """sft: largest share of steps that the draft wrote."""
    per_problem: int | None = None
    """sft: largest number of solutions of a problem; the most different ones are kept. dpo: largest number of pairs of
    a problem."""
    near_duplicates: float | None = None
    """sft, dpo: solutions that share at least this much of their 5-grams are near duplicates, and only the first of
    them is kept (0.8; at 1 only equal ones go)."""
    margin: float | None = None
    """step-dpo, dpo: least difference of the rewards of chosen and rejected (step-dpo: 0.1; -1: any)."""
    unscored: Literal["score", "keep", "drop"] | None = None
    """step-dpo, prm: what is done about steps without a reward. score: the PRM is asked now. drop: their pairs are left
    out, and solutions of prm end before them. keep: their pairs stay, whatever the margin; only for step-dpo
    (score)."""
    labels: Literal["reward", "answer", "rollouts"] | None = None
    """prm: where labels of steps come from. reward: from the PRM's rewards. answer: all from the solution's verdict.
    rollouts: from --rollouts (reward)."""
    rollouts: list[str] | None = None
    """prm: output of `stepwave rollouts`, for --labels rollouts. May be repeated."""
    threshold: float | None = None
    """prm: a step is right from this reward on (0.5), or from this share of right roll-outs on (one right continuation
    is enough)."""
    decontaminate: list[str] | None = None
    """Benchmark whose problems are left out: Parquet, JSON lines, or FORMAT=FILE as for import. May be repeated."""
    ngram: int | None = None
    """A problem that shares this many words in a row with a benchmark's problem is left out (13)."""
    splits: str | None = None
    """Shares of problems that are not train, such as validation=0.02,test=0.05; none: all are train (test=0.05)."""
    license: str | None = None
    """Licence that the dataset card names, as the hub writes it (unknown)."""
    push: str | None = None
    """Dataset repository on the hub to which the dataset is written too, such as me/data. The token comes from
    HF_TOKEN."""
    public: bool | None = None
    """Make a new repository public (private)."""

    def given(self) -> Iterator[tuple[str, Any]]:
        """Name and value of each option that was given."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                yield field.name, value


READ_BY: dict[str, tuple[Kind, ...]] = {
    "format": ("sft", "dpo"),
    "answers": ("sft",),
    "reward": ("sft", "dpo"),
    "min_reward": ("sft",),
    "min_tokens": ("sft", "dpo"),
    "max_tokens": ("sft", "dpo"),
    "min_draft_share": ("sft",),
    "max_draft_share": ("sft",),
    "per_problem": ("sft", "dpo"),
    "near_duplicates": ("sft", "dpo"),
    "margin": ("step-dpo", "dpo"),
    "unscored": ("step-dpo", "prm"),
    "labels": ("prm",),
    "rollouts": ("prm",),
    "threshold": ("prm",),
}
"""Options that only some kinds read."""
LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")

STATUSES = ("finished", "max_tokens", "max_steps", "failed")
SHARES = (
    "min_solved",
    "max_solved",
    "min_draft_share",
    "max_draft_share",
    "near_duplicates",
    "threshold",
    "min_reward",
)
DEFAULTS: dict[str, Any] = {
    "format": "messages",
    "answers": "right",
    "reward": "min",
    "near_duplicates": 0.8,
    "unscored": "score",
    "labels": "reward",
    "threshold": 0.5,
}


def resolved(kind: str, options: ExportOptions) -> ExportOptions:
    """The options of a kind with every default. Raises ValueError that names the option where options contradict each
    other or the kind."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of dataset {kind!r}; known: {', '.join(KINDS)}")
    for name, value in options.given():
        _check(kind, name, value)
    for low, high in (
        ("min_solved", "max_solved"),
        ("min_tokens", "max_tokens"),
        ("min_draft_share", "max_draft_share"),
    ):
        bounds = getattr(options, low), getattr(options, high)
        if None not in bounds and bounds[0] > bounds[1]:
            raise ValueError(f"{_flag(low)} {bounds[0]} is above {_flag(high)} {bounds[1]}")
    if options.ngram is not None and not options.decontaminate:
        raise ValueError("--ngram is for --decontaminate, which is not given")
    if options.threshold is not None and options.labels == "answer":
        raise ValueError("--threshold is for labels from rewards or roll-outs, not for --labels answer")
    if options.unscored is not None and options.labels in ("answer", "rollouts"):
        raise ValueError(f"--unscored is for labels from rewards, not for --labels {options.labels}")
    if options.unscored == "keep" and kind == "prm":
        raise ValueError("--unscored keep is for step-dpo: a step without a reward has no label; score or drop")
    if (options.labels == "rollouts") != bool(options.rollouts):
        rule = "--rollouts is for --labels rollouts" if options.rollouts else "--labels rollouts needs --rollouts"
        raise ValueError(f"{rule}, which is not given" if options.rollouts else f"{rule} with what to read them from")
    if options.public and options.push is None:
        raise ValueError("--public is for --push, which is not given")
    if options.template is not None and kind in READ_BY["format"] and options.format != "text":
        raise ValueError("--template is for text prompts: add --format text (trainers put messages through a template)")
    defaults = {
        name: value
        for name, value in DEFAULTS.items()
        if getattr(options, name) is None
        and kind in READ_BY[name]
        and not (name in ("threshold", "unscored") and options.labels in ("answer", "rollouts"))
    }
    if options.margin is None and kind == "step-dpo":
        defaults["margin"] = MARGIN
    if options.status is None:
        defaults["status"] = ["finished"] if kind in ("sft", "dpo") else list(STATUSES)
    if options.decontaminate and options.ngram is None:
        defaults["ngram"] = NGRAM
    if options.splits is None:
        defaults["splits"] = "test=0.05"
    defaults["license"] = (options.license or "unknown").lower()  # as the hub writes them
    return replace(options, **defaults)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _check(kind: str, name: str, value: Any) -> None:
    flag = _flag(name)
    kinds = READ_BY.get(name)
    if kinds is not None and kind not in kinds:
        raise ValueError(f"{flag} is for {' and '.join(kinds)}, not for {kind}")
    if name in SHARES and not 0 <= value <= 1:
        raise ValueError(f"{flag}: must be from 0 to 1, not {value:g}")
    if name == "near_duplicates" and value == 0:
        raise ValueError(f"{flag}: must be above 0")
    if name == "margin" and not -1 <= value <= 1:
        raise ValueError(f"{flag}: must be from -1 to 1, not {value:g}")
    if name in ("per_problem", "max_tokens", "ngram") and value < 1:
        raise ValueError(f"{flag}: must be at least 1, not {value}")
    if name == "min_tokens" and value < 0:
        raise ValueError(f"{flag}: must be at least 0, not {value}")
    if name == "status" and (unknown := [status for status in value if status not in STATUSES]):
        raise ValueError(f"{flag}: unknown {unknown[0]!r}; known: {', '.join(STATUSES)}")
    if isinstance(value, str) and not value.strip():
        raise ValueError(f"{flag}: is empty")
    if name == "license" and not LICENSE.fullmatch(value):
        raise ValueError(f"{flag}: {value!r} is no licence as the hub writes it, such as apache-2.0 or cc-by-4.0")
