"""README.md of a dataset: the hub's header, and what to know before training on it."""

from __future__ import annotations

import json
from typing import Any

import yaml

from schemas.config import Config
from schemas.export import ExportOptions, Kind
from tasks.export.dataset import Made
from tasks.export.estimates import Rollouts
from tasks.export.markdown import code, fence, plain, table
from tasks.export.runs import SourceRun

LONGEST = 600
"""Characters of a text in an example."""
WHAT = {
    "sft": "Solutions of reasoning problems, for supervised fine-tuning.",
    "step-dpo": "Pairs of steps: what the target model wrote in the place of a step that the reward model rejected.",
    "dpo": "Pairs of whole solutions: a right one and a wrong one of the same problem.",
    "prm": "Solutions with a label for each step, to train a process reward model on (TRL's stepwise format).",
}
ENDS = """
TRL's DPOTrainer appends the tokenizer's end-of-text token to `chosen` and `rejected`, which teaches a model to stop
after one step. No option is against that: take it off again, of `eval_dataset` likewise, before `trainer.train()`:
"""
GOES_ON = """
ends = tuple(separator + tokenizer.eos_token for separator in %s)

def goes_on(row):
    ids = {name: row[f"{name}_ids"] for name in ("chosen", "rejected")}
    return {f"{name}_ids": of[:-1] if row[name].endswith(ends) else of for name, of in ids.items()}

trainer.train_dataset = trainer.train_dataset.map(goes_on)
""".strip()
TRAINERS = {"sft": "SFTTrainer", "step-dpo": "DPOTrainer", "dpo": "DPOTrainer", "prm": "PRMTrainer"}
SIZES = (
    ("n<1K", 1e3),
    ("1K<n<10K", 1e4),
    ("10K<n<100K", 1e5),
    ("100K<n<1M", 1e6),
    ("1M<n<10M", 1e7),
    ("10M<n<100M", 1e8),
)


def card(
    kind: Kind, name: str, runs: list[SourceRun], options: ExportOptions, made: Made, rollouts: list[Rollouts]
) -> str:
    """The dataset's README.md as text, with the hub's header."""
    parts = [
        f"---\n{_header(kind, name, options, made)}---\n",
        f"# {plain(name)}\n",
        f"{WHAT[kind]} Made by `stepwave export {kind}` from runs of [reward-guided speculative decoding]"
        "(https://arxiv.org/abs/2501.19324).\n",
        _loading(kind, runs),
        _prompts(kind, runs, options),
        _counts(made),
        _columns(kind),
        _origin(runs, made),
        _rolled_out(rollouts, options, made),
        _settings(options),
        _decontamination(options, made),
        _examples(made),
        _licence(options),
    ]
    return "\n".join(part for part in parts if part)


def _header(kind: Kind, name: str, options: ExportOptions, made: Made) -> str:
    total = sum(made.rows.values())
    head = {
        "pretty_name": name,
        "license": options.license,
        "task_categories": ["text-generation"],
        "tags": ["stepwave", "reasoning", "synthetic", "trl", kind],
        "size_categories": [next((label for label, most in SIZES if total < most), "n>100M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in made.rows],
            }
        ],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000)


def _loading(kind: Kind, runs: list[SourceRun]) -> str:
    lines = ["```python", "from datasets import load_dataset", "", 'dataset = load_dataset("path/of/this/directory")']
    lines += [f"# rows are as TRL's {TRAINERS[kind]} takes them", "```"]
    text = "\n".join(lines) + "\n"
    separators = sorted({run.config.prompt.separator for run in runs})
    if kind == "prm":
        shown = " or ".join(code(json.dumps(separator)) for separator in separators)
        text += (
            f"\nSteps were separated by {shown}: give that as `PRMConfig(step_separator=...)`. "
            "(TRL has its PRMTrainer up to version 1.13.)\n"
        )
    if kind == "step-dpo":
        text += f"{ENDS}\n{fence(GOES_ON % json.dumps(separators), 'python')}"
    return text


def _prompts(kind: Kind, runs: list[SourceRun], options: ExportOptions) -> str:
    """In which form the rows have their prompts."""
    if options.format == "messages":
        return "Prompts are chat messages, which the trainer puts through its model's chat template.\n"
    if options.template is not None:
        return (
            f"Prompts are text that the chat template of {code(shared_name(options.template))} made, without the "
            "start-of-text token where the trainer puts that there itself: for a model with this template.\n"
        )
    own = [run for run in runs if run.config.prompt.template is not None]
    plain = "the problem and an empty line, for base models (`--template` puts them through a chat template)"
    wanted = "as the run's `prompt.template` has them"
    if own and len(own) < len(runs):
        return f"Prompts are text: of {', '.join(code(run.run_id) for run in own)} {wanted}, of other runs {plain}.\n"
    return f"Prompts are text: {wanted if own else plain}.\n"


def _counts(made: Made) -> str:
    rows = [(split, f"{made.rows[split]:,}", f"{made.problems[split]:,}") for split in made.rows]
    text = "## Counts\n\n" + table(("split", "rows", "problems"), rows)
    seen = made.seen
    text += (
        f"\nOf {seen['problems']:,} problems, {seen['solutions']:,} solutions and {seen['attempts']:,} attempts. "
        "The split follows from a problem's text, so that no problem is in two of them, in this dataset and in others "
        "that were made with the same shares.\n"
    )
    if made.left_out:
        text += "\nLeft out, in this order:\n\n" + table(
            ("reason", "rows"), [(plain(reason), f"{count:,}") for reason, count in made.left_out.items()]
        )
    return text


def _columns(kind: Kind) -> str:
    place = {"sft": "", "dpo": "", "step-dpo": ", `step` and the two attempts", "prm": ", `step` and `attempt`"}[kind]
    return (
        f"Every row names its origin: `run_id`, `problem_id`, `sample`{place}, as in the tables of that run. All "
        "columns are described in the schema of the Parquet files.\n"
    )


def _origin(runs: list[SourceRun], made: Made) -> str:
    rows = []
    for run in runs:
        config = run.config
        threshold = "" if run.threshold is None else f"{run.threshold:g}"
        done = f"{len(run.records)} of {run.shards}" if run.shards else f"{len(run.records)} of ?"
        state = "whole" if run.manifest else f"unfinished: {done} shards"
        rows.append(
            (
                code(run.run_id),
                config.decoding.method,
                *(_model(config, role) for role in ("draft", "target")),
                _prm(config, later="asked" in made.scored.get(run.address, {})),
                threshold,
                state + ("; " + made.skipped[run.address] if run.address in made.skipped else ""),
            )
        )
    text = "## Runs\n\n" + table(("run", "method", "draft", "target", "PRM", "threshold", "state"), rows)
    for run in runs:
        if asked := _asked_later(made.scored.get(run.address, {})):
            text += f"\nOf {code(run.run_id)} the PRM was shown {asked:,} accepted steps after the run.\n"
            if run.asked_before is not None:
                old, new = (code(shared_name(one)) for one in (run.asked_before, run.config.model("prm").model))
                text += (
                    f"The rewards that the run recorded are from {old}, these from {new}, which was named as "
                    f"the same model in another place.\n"
                )
        shown = {
            "prompt": run.config.prompt.model_dump(mode="json"),
            "decoding": run.config.decoding.model_dump(mode="json"),
        }
        fenced = fence(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), "yaml")
        text += f"\nSettings of {code(run.run_id)}:\n\n{fenced}"
    return text


def _rolled_out(rollouts: list[Rollouts], options: ExportOptions, made: Made) -> str:
    """The model and settings of the roll-outs, if they made the labels."""
    if not rollouts:
        return ""
    rows = []
    for one, steps in zip(rollouts, made.rolled_out, strict=True):
        run, decoding = one.run, one.run.config.decoding
        state = "whole" if run.manifest else f"unfinished: {len(run.records)} of {run.shards or '?'} shards"
        writers = " and ".join(_model(run.config, role) for role in ("draft", "target") if role in run.config.roles)
        of = code(str(one.record["of"]["run_id"]))
        settings = (f"{decoding.samples:,}", f"{decoding.temperature:g}", f"{decoding.top_p:g}")
        rows.append((code(run.run_id), of, writers, *settings, f"{steps:,}", state))
    least = "a continuation that ends right is known, from it or from a later step"
    if options.threshold is not None:
        least = f"at least a share of {options.threshold:g} of them came to the right answer"
    head = ("roll-outs", "of run", "writer", "samples", "temperature", "top_p", "steps", "state")
    return (
        "## Roll-outs\n\nLabels are Monte-Carlo estimates ([Math-Shepherd](https://arxiv.org/abs/2312.08935)): "
        f"solutions went on from a step several times, and it counts as right where {least}. `estimates` has each "
        "step's own shares; of a solution's last step it is the verdict.\n\n" + table(head, rows)
    )


def _settings(options: ExportOptions) -> str:
    shown = {"push", "public", "license", "decontaminate", "rollouts"}
    rows = [(f"`{key}`", code(_said(value))) for key, value in shared(options).items() if key not in shown]
    return "## Settings of the export\n\n" + table(("option", "value"), rows)


def _decontamination(options: ExportOptions, made: Made) -> str:
    if not made.benchmarks:
        return "## Decontamination\n\nNone: no benchmark was named.\n"
    rows = [(code(shared_name(b.name)), f"{b.problems:,}", f"{b.found:,}", f"{b.rows:,}") for b in made.benchmarks]
    return (
        f"## Decontamination\n\nProblems that share {options.ngram} words in a row with a benchmark's (shorter ones: "
        "that are the same) were left out.\n\n"
        + table(("benchmark", "its problems", "problems of the runs found in it", "solutions left out"), rows)
    )


def _examples(made: Made) -> str:
    shown = [fence(json.dumps(_short(row), indent=1, ensure_ascii=False), "json") for row in made.examples]
    return "## Examples\n\n" + "\n".join(shown)


def _licence(options: ExportOptions) -> str:
    return (
        f"## Licence\n\n{code(options.license or 'unknown')}. The licences of the problems and of the models that "
        "wrote the texts may ask for more.\n"
    )


def _asked_later(scored: dict[str, Any]) -> int:
    return int(scored.get("asked", 0) + scored.get("known", 0))


def _model(config: Config, role: str) -> str:
    model = getattr(config.models, role)
    used = role in config.roles or (role == "draft" and config.proposer is not None)
    return code(shared_name(model.model)) if used and model else ""


def _prm(config: Config, later: bool) -> str:
    """The model that gave the rewards. `later`: True if the PRM was asked after the run."""
    prm = config.models.prm
    if prm is None or not (later or "prm" in config.decoding.roles):
        return ""
    if not prm.record.asks_model:
        return f"none: the writer's own confidence ({prm.over or 'mean'})"
    return f"{code(shared_name(config.model('prm').model))} ({prm.format})"


def shared_name(path: str) -> str:
    """A file or checkpoint as it may be told to others: without the folders that it lies in on some machine."""
    if not path.startswith(("/", ".", "~")) and "=" not in path and "://" not in path and path.count("/") == 1:
        return path  # of a hub
    return _last(path)


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path


def shared(options: ExportOptions) -> dict[str, Any]:
    """The options as they may be told to others."""
    given = dict(options.given())
    if options.template is not None:
        given["template"] = shared_name(options.template)
    if options.rollouts is not None:
        given["rollouts"] = [shared_name(path) for path in options.rollouts]
    if options.decontaminate is not None:
        given["decontaminate"] = [shared_name(path) for path in options.decontaminate]
    return given


def _said(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _short(value: Any) -> Any:
    """With long texts cut."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]} [... {len(value) - LONGEST:,} more characters]"
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list) else value
