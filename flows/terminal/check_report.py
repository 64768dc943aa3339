"""What `stepwave check` found, as text."""

from __future__ import annotations

from typing import Any

from flows.terminal.text import aligned, quoted
from tasks.errors import on_one_line


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text."""
    rows = [("input", f"{report['input']}: {report['rows']:,} rows in {_count(report['files'], 'file')}")]
    if report["folders"]:
        rows.append(("", f"columns from names of folders: {', '.join(report['folders'])}"))
    samples = f", {report['samples']} samples of each" if report["samples"] > 1 else ""
    rows.append(("problems", f"{report['problems']:,}{samples}"))
    if (prefix := report["prefix"]) is not None:
        rows.append(("", f"solutions go on from the steps in column {prefix!r}"))
    rows += [("rejected", f"{count:,} rows: {reason}") for reason, count in report["rejected"].items()]
    rows += _references(report["references"])
    if skipped := report["skipped"]:
        rows += [("skipped" if n == 0 else "", line) for n, line in enumerate(skipped["told"])]
    rows.append(("method", report["method"]))
    if (share := report["auto_for"]) is not None:
        rows.append(("threshold", f"found on the first problems, for at most {share:.1%} of the steps from the target"))
    if (day := report["day"]) is not None:
        rows.append(("prompts", f"a chat template writes the date: {day} for the whole run (prompt.date)"))
    for role, model in report["models"].items():
        text = f"{model['model']}, {model['params']:.3g} parameters, context of {model['window']:,} tokens"
        if model["positions"] > model["window"]:
            text += f" (of {model['positions']:,}: no prompt and solution is longer)"
        other = model["served_by"]
        rows.append((role, text + (f", engine {model['engine']}" if other == role else f", in the {other}'s engine")))
        if model["device"] is not None:
            cache = "as the engine's arguments say"
            if model["cache_bytes"] is not None:
                cache = f"{size_of(model['cache_bytes'])}, in all for {model['cache_tokens']:,} tokens"
            first = " (the first ones: engine.device_ids is not given)"
            where = model["device"] + (
                first if model["device"].startswith("gpu") and not model["device_ids_given"] else ""
            )
            rows.append(("", f"on {where}: on each device weights {size_of(model['weight_bytes'])}, cache {cache}"))
        rows += [("", f"at {url}: {found}") for url, found in (model["endpoints"] or {}).items()]
    if (over := report["confidence"]) is not None:
        rows.append(("prm", f"none: rewards are writers' own confidence, by the {over} of log-probabilities"))
    if (drift := report["drift"]) is not None:
        rows += _watched(drift, report["problems"])
    if (draft := report["proposer"]) is not None:
        rows.append(("draft", f"{draft['model']}, {draft['params']:.3g} parameters, no engine of its own"))
        guesses = f"guesses {draft['tokens']} tokens at a time in the target's engine, where its weights"
        rows.append(("", f"{guesses} ({size_of(draft['weight_bytes'])}) and cache are counted"))
    rows += _sharing(report["models"])
    rows.append(("in flight", _in_flight(report["in_flight"])))
    if report["shared_vocabulary"] is not None:
        match = "draft and target share one: tokens pass between them as they are"
        other = "draft and target differ: steps pass between them as text"
        rows.append(("tokenizers", match if report["shared_vocabulary"] else other))
    done = ", complete" if report["complete"] else ""
    rows.append(
        ("output", f"{report['output']}: {report['shards_done']:,} of {_count(report['shards'], 'shard')} done{done}")
    )
    rows += [("warning", text) for text in report["warnings"]]
    rows += [("", line) for line in report["words"]]
    rows += [("damaged", f"{fault}: its shard will be made again") for fault in report["damaged"]]
    rows += [("in use", f"by {holder}") for holder in report["held_by"]]
    return aligned(rows) + prompts_of(report.get("shown"))


def prompts_of(shown: list[dict[str, Any]] | None) -> list[str]:
    """Prompts as text, once for all roles that read the same. Control characters in them do not reach the terminal."""
    if shown is None:
        return []
    found = [] if shown else ["", "there is no problem whose prompt could be shown"]
    for problem in shown:
        alike: dict[tuple[str, int], list[str]] = {}
        for role, of in problem["roles"].items():
            alike.setdefault((of["text"], of["tokens"]), []).append(role)
        for (text, tokens), roles in alike.items():
            found += ["", on_one_line(f"{problem['problem_id']}: {', '.join(roles)}, {_count(tokens, 'token')}")]
            found += quoted(text)
        if (step := problem.get("step")) is not None:
            found += ["", f"and after it, for the step {step['step']!r}, the prm, {_count(step['tokens'], 'token')}"]
            found += quoted(step["text"])
    return found


def _references(found: dict[str, Any]) -> list[tuple[str, str]]:
    """References that cannot be read: their problems get no verdict."""
    if not found["unread"] and not found["passed_over"]:
        return []
    looked = f"of {found['rows'] - found['passed_over']:,} rows"
    if found["passed_over"]:
        looked += f" that were looked at ({found['passed_over']:,} were not)"
    if not found["unread"]:
        return [("references", f"grading can read those {looked}")]
    first = ", ".join(f"row {row} ({text!r})" for row, text in found["first"])
    more = ", ..." if found["unread"] > len(found["first"]) else ""
    return [
        ("references", f"grading cannot read {found['unread']:,} {looked}: such a problem's solutions get no verdict"),
        ("", f"the first: {first}{more}"),
    ]


def _watched(drift: dict[str, Any], problems: int) -> list[tuple[str, str]]:
    """The bands, and whether there will be enough to judge."""
    bands = []
    if band := drift["target_share"]:
        bands.append(f"{band[0]:.2%} to {band[1]:.2%} of the steps from the target")
    if band := drift["reward"]:
        bands.append(f"a mean reward of {band[0]:.4f} to {band[1]:.4f}")
    text = " and ".join(bands) or "the bands of the run's own calibration"
    end = ", outside which the run ends" if drift["stop"] else ""
    rows = [("drift", f"{text}{end}, judged once a process has committed {_count(drift['problems'], 'problem')}")]
    if problems < drift["problems"]:
        rows.append(("", f"never judged: there are {problems:,} (drift.problems)"))
    return rows


def _sharing(models: dict[str, Any]) -> list[tuple[str, str]]:
    """How roles that share devices do it."""
    rows = []
    for group in dict.fromkeys(model["turns"] for model in models.values() if model["turns"]):
        roles = [role for role, model in models.items() if model["turns"] == group]
        seconds = [models[role]["swap_seconds"] for role in roles]
        cost = "a swap stops one engine and starts another"
        if None not in seconds:
            host = sum(models[role]["asleep_bytes"] for role in roles)
            cost = f"a round of swaps takes about {2 * sum(seconds):.0f} s and empties their caches; "
            cost += f"weights that sleep take up to {size_of(host)} of host memory"
        elif group == "scripted":
            cost = "with swaps as their scripts have them"
        rows.append(("sharing", f"{', '.join(roles)} take turns on {group}: {cost}"))
    return rows


def _in_flight(flight: dict[str, Any]) -> str:
    """How many trajectories are under way, and why."""
    size = f"{flight['trajectories']:,} trajectories at most ({flight['because']})"
    if flight["binds"] is None:
        return f"{size}; no cache is known that limits them"
    holds = f"the {flight['binds']}'s cache, the smallest, holds {flight['at_full_length']:,} of full length "
    holds += f"({flight['length']:,} tokens)"
    return f"{size}; {holds}" + (
        ": so many start, and more when solutions turn out shorter" if flight["by_tokens"] else ""
    )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def size_of(n: int) -> str:
    """A number of bytes as text, in MiB or GiB."""
    return f"{n / (1 << 30):.1f} GiB" if n >= 1 << 30 else f"{n / (1 << 20):.1f} MiB"
