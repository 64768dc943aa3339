"""What a run will do, found out before weights are loaded, so that mistakes are reported early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from schemas.config import Config, DecodingConfig, ModelConfig, PrmConfig, Threshold
from schemas.engine_kinds import ENGINE_KINDS
from schemas.methods import Role
from tasks.configuration.day import on_day
from tasks.configuration.identity import Models
from tasks.decoding.requests import Sampling
from tasks.decoding.trajectory import Ids, Limits
from tasks.engines import check_engine
from tasks.engines.concurrency import Flight, plan_flight
from tasks.engines.devices import on_cpu
from tasks.engines.endpoint_pool import served_as
from tasks.engines.spec import EngineSpec
from tasks.errors import UserError
from tasks.models.chat import today
from tasks.models.checkpoint import Checkpoint, inspect
from tasks.models.formats import FORMATS, open_format
from tasks.models.formats.format import Format
from tasks.models.model_files import DATE, SERVED, TEMPLATE, Parts
from tasks.models.tokenizer import ModelVocabulary
from tasks.planning.overlap import keep_apart
from tasks.planning.prefixes import prefixes, separated
from tasks.planning.prompt_length import TooLong
from tasks.planning.roles import RolePlan, engines_of, placed
from tasks.planning.speculation import Proposer, find_proposer
from tasks.planning.windows import Looked, windows
from tasks.problems.prompt import user_message
from tasks.problems.reader import Problem
from tasks.problems.survey import USABLE, Survey, survey
from tasks.storage.store import Say
from tasks.storage.stores import Stores


@dataclass(frozen=True)
class Plan:
    """All that is known of a run before weights are loaded."""

    config: Config
    roles: dict[str, RolePlan]
    format: Format | None
    """How the PRM reads steps; None where the method has no PRM."""
    limits: Limits
    survey: Survey
    proposer: Proposer | None = None
    """What the target's engine guesses with, where the method is speculative."""
    calibration: dict[str, Any] | None = None
    """What `decoding.accept.threshold: auto` came to, once it is found: the output's calibration.json."""

    @property
    def decoding(self) -> DecodingConfig:
        """How the run decodes, its threshold a number."""
        given = self.config.decoding
        if self.calibration is None:
            return given
        found = Threshold(threshold=self.calibration["recommendation"]["threshold"])
        return given.model_copy(update={"accept": found})

    @property
    def params(self) -> dict[str, float]:
        """Role to parameters, for FLOPs."""
        found = {role: plan.params for role, plan in self.roles.items()}
        return found | ({"draft": self.proposer.params} if self.proposer else {})

    @property
    def models(self) -> Models:
        """What each model is, and how its prompts read."""
        of_roles = {role: (of.checkpoint, of.vocabulary) for role, of in self.roles.items()}
        if self.proposer:
            of_roles["draft"] = (self.proposer.checkpoint, self.proposer.vocabulary)
        return {role: model_parts(*of) for role, of in of_roles.items()}

    @property
    def day(self) -> str | None:
        """The day that the prompts of some role tell, as an ISO date."""
        return next((parts[DATE] for parts in self.models.values() if DATE in parts), None)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.survey.rows // self.config.run.shard_size)

    def usable_in(self, shard: int) -> int:
        """Problems of a shard."""
        size = self.config.run.shard_size
        return int((self.survey.verdicts[shard * size : (shard + 1) * size] == USABLE).sum())

    @cached_property
    def flight(self) -> Flight:
        """What is under way at once."""
        shares = {role: plan.share for role, plan in self.roles.items() if plan.share}
        return plan_flight(
            self.config,
            {role: share.tokens // self._texts(role) for role, share in shares.items() if share.tokens is not None},
            {role: plan.engine.window for role, plan in self.roles.items()},
            self.survey.usable * self.config.decoding.samples,
            turns=any(share.turns for share in shares.values()),
            cpu=any(ENGINE_KINDS[self.roles[role].engine.kind].placed for role in shares) and on_cpu(),
        )

    @property
    def engines(self) -> list[EngineSpec]:
        """Those that serve its roles."""
        return engines_of(self.roles)

    def by_role(self, engines: Mapping[str, Any]) -> dict[str, Any]:
        """Role to the engine that serves it, of engines by their own roles."""
        return {role: engines[plan.engine.role] for role, plan in self.roles.items()}

    def _texts(self, role: str) -> int:
        """Different texts of a trajectory that a role's engine holds: two where it serves both a writer and a PRM that
        reads the solution in another way."""
        engine = self.roles[role].engine.role
        served = [plan.vocabulary.prompts_key for plan in self.roles.values() if plan.engine.role == engine]
        return len(set(served))

    @property
    def sampling(self) -> Sampling:
        """How steps are written."""
        d = self.config.decoding
        return Sampling(d.temperature, d.top_p, self.config.prompt.separator, self.config.confidence)

    def begun(self, problem: Problem) -> list[str]:
        """The steps that a problem's solutions begin with, each with its separator."""
        return separated(problem.prefix, self.config.prompt.separator)

    def prompts(self, problems: list[Problem]) -> dict[str, list[Ids]]:
        """Role to the ids of each problem's prompt and of the steps that its solutions begin with."""
        users = [user_message(self.config.prompt, p.text, p.choices) for p in problems]
        unlike = {plan.vocabulary.prompts_key: plan.vocabulary for plan in self.roles.values()}
        found = {key: vocabulary.prompts(users) for key, vocabulary in unlike.items()}
        prompts = {role: found[plan.vocabulary.prompts_key] for role, plan in self.roles.items()}
        if not any(p.prefix for p in problems):
            return prompts
        begun = [self.begun(p) for p in problems]
        return {
            role: [prompt + steps for prompt, steps in zip(prompts[role], self._prefixes(role, begun), strict=True)]
            for role in prompts
        }

    def _prefixes(self, role: str, begun: list[list[str]]) -> list[Ids]:
        return prefixes(self.roles[role].vocabulary, self.format if role == "prm" else None, begun)

    def shared_vocabulary(self) -> bool | None:
        """Do draft and target share their token ids? None where only one of them writes."""
        if not {"draft", "target"} <= set(self.roles):
            return None
        return self.roles["draft"].vocabulary.key == self.roles["target"].vocabulary.key


def model_parts(checkpoint: Checkpoint, vocabulary: ModelVocabulary) -> Parts:
    """What a model is, and how its prompts read: its chat template counts where a prompt is made by it."""
    of_files = {part: digest for part, digest in checkpoint.parts.items() if part != TEMPLATE}
    return of_files | vocabulary.prompt_parts


class Seen:
    """Checkpoints, tokenizers and problem sets that were looked at already: plans with the same prompt share them, as
    far as their models are the same."""

    def __init__(self) -> None:
        self.models: dict[tuple[Role, ModelConfig], tuple[Checkpoint, ModelVocabulary]] = {}
        self.surveys: dict[Any, Survey] = {}
        self.proposers: dict[bool, Proposer | None] = {}

    def proposer(self, config: Config) -> Proposer | None:
        """The draft of method speculative, None for other methods. Raises UserError as `find_proposer`."""
        key = config.proposer is not None
        if key not in self.proposers:
            self.proposers[key] = find_proposer(config)
        return self.proposers[key]

    def model(self, role: Role, config: Config, here: bool = True) -> tuple[Checkpoint, ModelVocabulary]:
        """A role's checkpoint and tokenizer. `here`: servers may be asked for their model. Raises UserError for
        either."""
        model = config.model(role)
        if (role, model) not in self.models:
            prm = FORMATS[model.format] if isinstance(model, PrmConfig) else None
            own = (prm.template, prm.own_chat) if prm else ()
            checkpoint = inspect(role, model)
            if here and model.engine.record.remote and (name := _served_as(role, model)) is not None:
                checkpoint = replace(checkpoint, parts={**checkpoint.parts, SERVED: name})
            self.models[role, model] = checkpoint, ModelVocabulary(role, model, config.prompt, *own)
        return self.models[role, model]

    def survey(self, config: Config, too_long: TooLong, say: Say | None) -> Survey:
        """The survey of the configuration's input. Raises UserError as `survey`."""
        key = (config.input, *((role, config.model(role)) for role in config.roles))
        if key not in self.surveys:
            found = survey(config.input, Stores.of(config, say), too_long)
            self.surveys[key] = replace(found, longest=too_long.longest)
        return self.surveys[key]


def _served_as(role: Role, model: ModelConfig) -> str | None:
    """In a thread of its own: who plans may be in an event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, served_as(role, model.engine.arguments)).result()


def make_plan(
    config: Config,
    say: Say | None = None,
    seen: Seen | None = None,
    *,
    here: bool = True,
    surveyed: Callable[[str], Survey | None] = lambda key: None,
) -> Plan:
    """Look at models and input, as far as they were not `seen`. Raises UserError, also where no row can be used.

    `here`: the engines will run in this process; otherwise neither vLLM nor devices are asked for, and the plan is
    none that engines can be started by. `surveyed`: the survey that was made for a `survey_key`, where there is one.
    """
    seen = seen or Seen()
    config = on_day(config, today())
    check_engine_arguments(config, here)
    keep_apart(config, config.input.path, "input.path", say)
    proposer = seen.proposer(config)
    looked, prm_format = _look(config, seen, here)
    too_long = _too_long(config, looked, prm_format)
    found = surveyed(too_long.key) or seen.survey(config, too_long, say)
    if found.usable == 0:
        reasons = ", ".join(f"{n:,} rows: {reason}" for reason, n in found.rejected().items()) or "it has no rows"
        raise UserError(f"input.path: {config.input.path} holds no usable problem ({reasons})")
    found.check_shards(config.run.shard_size)
    needed = windows(config, looked, prm_format, found.longest)
    roles = placed(config, looked, needed, prm_format, proposer, here)
    return Plan(config, roles, prm_format, _limits(config, needed, prm_format), found, proposer)


def survey_key(plan: Plan) -> str:
    """Changes with whatever decides which rows of the same input can be used."""
    looked = {role: (plan.roles[role].checkpoint, plan.roles[role].vocabulary) for role in plan.config.roles}
    return _too_long(plan.config, looked, plan.format).key


def _too_long(config: Config, looked: Looked, prm_format: Format | None) -> TooLong:
    """Judged by the models' positions, not by the engines' contexts, which depend on the rows."""
    limits = _limits(config, windows(config, looked, prm_format, None), prm_format)
    return TooLong(config, {role: vocabulary for role, (_, vocabulary) in looked.items()}, limits, prm_format)


def _limits(config: Config, windows: Mapping[Role, int], prm_format: Format | None) -> Limits:
    return Limits(
        max_steps=config.decoding.max_steps,
        max_tokens=config.decoding.max_tokens,
        # a PRM's prompt must leave vLLM a token to spare
        windows={role: windows[config.host(role)] - (role == "prm") for role in windows},
        tag_tokens=prm_format.tag_tokens if prm_format else 0,
    )


def plan_roles(
    config: Config, seen: Seen | None = None, proposer: Proposer | None = None, here: bool = True
) -> tuple[dict[str, RolePlan], Format | None]:
    """Roles with engines for all positions."""
    looked, prm_format = _look(config, seen or Seen(), here)
    return placed(config, looked, windows(config, looked, prm_format, None), prm_format, proposer, here), prm_format


def _look(config: Config, seen: Seen, here: bool = True) -> tuple[Looked, Format | None]:
    looked = {role: seen.model(role, config, here) for role in config.roles}
    prm_format = None
    if "prm" in config.roles:
        settings = config.model("prm")
        assert isinstance(settings, PrmConfig)
        prm_format = open_format(settings, *looked["prm"])
    return looked, prm_format


def check_engine_arguments(config: Config, here: bool = True) -> None:
    """Refuse arguments that the engines do not know or are not to have, and if they run `here`, what they lack here."""
    for role in config.engine_roles:
        engine = config.model(role).engine
        check_engine(role, engine, here)
        if engine.record.placed and "speculative_config" in engine.arguments and config.decoding.temperature > 0:
            raise UserError(
                f"models.{role}.engine.speculative_config: above temperature 0 its guesses have no seed, so that "
                "what is written would differ from run to run; set decoding.temperature to 0, or leave it out"
            )
