"""Refuses settings that would do nothing, or not what they say, before a run begins.

Only what a user hands in is judged. The configuration that an output keeps is taken as it is, whatever release wrote
it. In a file that has every default written out, as a resolved configuration has, only what was changed is judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.config import Config, DecodingConfig, EngineConfig, PromptConfig, RunConfig
from schemas.evaluation import EvaluationConfig, MethodConfig
from schemas.methods import readers, settings_of_some, unread
from schemas.registry import either
from tasks.configuration.placeholders import has_placeholder

WRITTEN_OUT = {
    "storage": ("endpoint_url", "region", "anonymous"),
    "prompt": ("system", "user", "separator", "template"),
    "decoding": ("samples", "temperature", "max_steps", "max_tokens"),
    "run": ("shard_size", "checkpoint_seconds"),
}
"""Settings that all stand in a file with every default written out, whatever release wrote it. People write out a
section or two."""

LOWEST = 0.01
"""Lowest temperature above 0 that vLLM uses: it raises lower ones (`_MAX_TEMP` in vllm/sampling_params.py)."""
FLEET = ("deployment", "worker_restarts")
"""Settings of run that only the flow runs of `run.workers` read."""

_OTHER_COMMANDS = "abla|atural|cong|earrow|eg|egthinspace|eq|ewcommand|ewline|ewpage|exists|geq|gtr|i|leq|less|mid"
_OTHER_COMMANDS += "|obreak|ode|oindent|olimits|onumber|orm|ormalsize|ot|otag|otin|parallel|prec|rightarrow|sim"
_OTHER_COMMANDS += "|subseteq|succ|sup|u|ull|umberline|warrow|e"
ESCAPED_NEWLINE = re.compile(rf"\\n(?!(?:{_OTHER_COMMANDS})(?![a-z]))")
"""A backslash and an n that begin none of LaTeX's commands."""
ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[rtfv0](?![a-z]))")
ENCODED = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|NewLine|Tab|nbsp|lt|gt|amp|quot|apos);|%(?:0[9aAdD]|20)")
"""A character as HTML or addresses write it."""
PLACEHOLDER = re.compile(r"(?<![\\{}\w^$])\{[A-Za-z_]\w*\}(?!\})")
"""A word in braces that are no argument of LaTeX's, nor doubled."""
FILLED_IN: dict[str, tuple[str, ...]] = {
    "system": (),
    "user": ("{problem}", "{choices}"),
    "template": ("{system}", "{user}"),
}
"""Texts of prompts, and what is put in the place of what in them."""
SLASHED = re.compile(r"(?:/[nrt])+")


def mistakes(
    config: Config | EvaluationConfig, given: Mapping[str, Any], changed: Callable[[str], bool] = lambda key: False
) -> list[str]:
    """What is wrong with a valid configuration, a line each. `given`: the mapping that it was made of, with its
    placeholders; `changed`: was a dotted key set by a change to it?"""

    def values(name: str) -> Mapping[str, Any]:
        at: Any = given
        for part in name.split("."):
            at = (at[int(part)] if isinstance(at, list) else at.get(part)) or {}
        return at if isinstance(at, Mapping) else {}

    written_out = all(name in values(section) for section, names in WRITTEN_OUT.items() for name in names)

    def section(name: str) -> _Given:
        copied = name == "run" and values(name).keys() >= RunConfig.model_fields.keys()  # from a resolved file
        return _Given(name, values(name), written_out or copied, changed)

    found = _of_evaluation(config, section, given) if isinstance(config, EvaluationConfig) else _of_run(config, section)
    return [*found, *_of_prompt(config, section("prompt"))]


def remarks(config: Config) -> list[str]:
    """What is likely to be meant otherwise, a line each."""
    prompt = config.prompt
    texts = {"system": prompt.system, "user": prompt.user, "template": prompt.template}
    given = {name: text for name, text in texts.items() if text is not None}
    return [
        f"prompt.{name}: holds a backslash and an n, which models read as they are: a new line is \\n in double quotes"
        for name, text in given.items()
        if ESCAPED_NEWLINE.search(text)
    ] + [line for name, text in given.items() for line in _unfilled(name, text)]


def _unfilled(name: str, text: str) -> Iterator[str]:
    """Of what looks like a placeholder and is none."""
    known = FILLED_IN[name]
    only = f"only {' and '.join(known)} are filled in" if known else "nothing is filled in there"
    others = dict.fromkeys(found[0] for found in PLACEHOLDER.finditer(text) if found[0] not in known)
    if others:
        yield f"prompt.{name}: models read {' and '.join(others)} as it stands: {only}"
    if doubled := next((one for one in known if "{" + one + "}" in text), None):
        yield f"prompt.{name}: models read the outer braces of {{{doubled}}} as they stand: one pair is enough"


@dataclass(frozen=True)
class _Given:
    """A section of the mapping."""

    name: str
    """Its dotted key."""
    values: Mapping[str, Any]
    written_out: bool
    """Has the whole file every default written out?"""
    changed: Callable[[str], bool]

    def __call__(self, setting: str) -> bool:
        """True if the user gave a setting a value, and did not only write out its default. null is no value."""
        return self.values.get(setting) is not None and self.by_hand(f"{self.name}.{setting}")

    def by_hand(self, key: str) -> bool:
        """Is a dotted key a user's, as the file is, or by a change?"""
        return self.changed(key) or not self.written_out


Sections = Callable[[str], _Given]


def _of_run(config: Config, section: Sections) -> Iterator[str]:
    decoding, has = config.decoding, section("decoding")
    yield from (f"decoding.{told}" for told in _of_method(decoding, has))
    if decoding.greedy and has_placeholder(has.values.get("seed")):
        yield f"decoding.seed: {_NO_SEED}"
    draft, run = config.models.draft, section("run")
    proposes = decoding.record.proposer and has.by_hand("models.draft.engine")
    if proposes and draft and draft.engine != EngineConfig():
        yield f"models.draft.engine: {_NO_ENGINE}"
    yield from _of_processes(config.run, run)
    placed = any(config.model(role).engine.record.placed for role in config.engine_roles)
    if config.run.batch_invariant and not placed and run("batch_invariant"):
        yield "run.batch_invariant: is for engines of kind vllm, of which there is none; servers have it in theirs"
    if config.run.sharing == "turns" and len(_local(config)) < 2 and run("sharing"):
        yield "run.sharing: turns: fewer than two models have an engine on this machine, so that none waits for another"


_NO_SEED = "at temperature 0 no seed changes what is written: give decoding.temperature, such as 0.7, or a plain number"


_NO_ENGINE = "method speculative loads the draft beside the target, in models.target.engine: leave it out"


def _local(config: Config) -> list[str]:
    return [role for role in config.engine_roles if not config.model(role).engine.record.remote]


def _of_method(decoding: DecodingConfig, has: _Given) -> Iterator[str]:
    """Of one method's settings, each by its name in the section."""
    method = decoding.method
    for name in unread(method):
        if has(name):
            yield f"{name}: is for method {either(readers(name))}; {method} does not read it: leave it out"
    if decoding.samples > 1 and decoding.greedy:
        yield (
            f"temperature: at 0 all {decoding.samples} samples would be identical; give a temperature above 0, "
            f"such as 0.7, or samples: 1"
        )
    if 0 < decoding.temperature < LOWEST:
        yield (
            f"temperature: vLLM takes {LOWEST} where less is asked for; give at least that, or 0, which always takes "
            "the most likely token"
        )
    if decoding.temperature == 0 and decoding.top_p < 1 and has("top_p"):
        yield "top_p: at temperature 0 nothing is drawn; give a temperature above 0, such as 0.7, or leave top_p out"


def _of_processes(run: RunConfig, has: _Given) -> Iterator[str]:
    if run.workers is None and (idle := [f"run.{name}" for name in FLEET if has(name)]):
        yield f"{' and '.join(idle)}: is for flow runs that share the shards: give run.workers, or leave it out"
    if run.metrics_port is None and has("metrics_host"):
        yield "run.metrics_host: without run.metrics_port no port is opened: give one, such as 9477, or leave it out"


def _of_evaluation(config: EvaluationConfig, section: Sections, given: Mapping[str, Any]) -> Iterator[str]:
    shared = section("decoding")
    methods = {method.method for method in config.methods}

    def left_behind(key: str) -> bool:
        """Is it the file's, for other methods than the changes set?"""
        return shared.changed("methods") and not shared.changed(key)

    entries = given.get("methods") or []
    for name in settings_of_some():
        if shared(name) and not methods & set(readers(name)) and not left_behind(f"decoding.{name}"):
            whose = either(readers(name))
            yield f"decoding.{name}: is for method {whose}, which is not among the methods: leave it out"
    if shared("method") and all("method" in entry for entry in entries):
        yield "decoding.method: each of the methods names its own; leave it out"
    drawn = any(method.temperature > 0 for method in config.methods)
    if shared("top_p") and not drawn and not left_behind("decoding.top_p"):
        yield "decoding.top_p: every method has temperature 0, at which nothing is drawn; leave it out"
    for n, method in enumerate(config.methods):
        yield from (f"methods.{n} ({method.name}): {told}" for told in _of_entry(method, section(f"methods.{n}")))
    asked, draft = {role for method in config.methods for role in method.roles}, config.models.draft
    proposes = any(method.record.proposer for method in config.methods) and "draft" not in asked
    if proposes and draft and draft.engine != EngineConfig():
        yield f"models.draft.engine: {_NO_ENGINE}"
    taken = any(method.thresholds == config.thresholds for method in config.methods)
    if config.thresholds and not taken and not left_behind("thresholds"):
        judging = either(readers("accept"))
        yield f"thresholds: are for method {judging} where its entry gives none: no method takes them; leave them out"
    if len(config.seeds) > 1 and all(method.greedy for method in config.methods) and not left_behind("seeds"):
        yield "seeds: every method is greedy, so that no seed changes what is written; give one"
    if all(method.greedy for method in config.methods) and any(map(has_placeholder, given.get("seeds") or [])):
        yield f"seeds: {_NO_SEED}"
    yield from _of_processes(config.run, section("run"))


def _of_entry(method: MethodConfig, has: _Given) -> Iterator[str]:
    """Of the settings that one of an evaluation's methods gives itself."""
    yield from _of_method(method, has)
    accept = has.values.get("accept")
    if method.thresholds and isinstance(accept, Mapping) and "threshold" in accept and has("accept"):
        yield "accept.threshold: thresholds take its place: leave one of them out"


def _of_prompt(config: Config | EvaluationConfig, has: _Given) -> Iterator[str]:
    prompt = config.prompt
    if prompt.template is not None and "{system}" not in prompt.template and prompt.system and has("system"):
        yield "prompt.system: prompt.template has no {system}, so that no prompt would hold it: put it there"
    yield from _of_separator(prompt)
    for label, prm in (("models.prm", config.models.prm), *_labelled(config)):
        for name in ("tag", "good", "bad"):
            if prm is not None and (text := getattr(prm, name)) is not None and _is_escaped(text):
                yield f"{label}.{name}: {_ESCAPED}"


def _labelled(config: Config | EvaluationConfig) -> list[tuple[str, Any]]:
    prms = config.prms if isinstance(config, EvaluationConfig) else {}
    return [(f"prms.{label}", prm) for label, prm in prms.items()]


_ESCAPED = (
    'spells a character, such as a line\'s end, and models write the character itself: in YAML that is "\\n" in double '
    "quotes (with --set, '...=\"\\n\"')"
)


def _of_separator(prompt: PromptConfig) -> Iterator[str]:
    if _is_escaped(prompt.separator):
        yield f"prompt.separator: {_ESCAPED}"


def _is_escaped(text: str) -> bool:
    """Does a text spell a character that it was to hold?"""
    return bool(
        any(spelt.search(text) for spelt in (ESCAPED_NEWLINE, ESCAPE, ENCODED)) or SLASHED.fullmatch(text.strip())
    )
