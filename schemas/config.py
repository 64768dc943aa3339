"""The configuration of a run: YAML in, one validated `Config` out.

Unknown keys are refused; every field has a documented default. The resolved form is written to OUT/config.yaml.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from schemas.credentials import MEND, refuse_credentials
from schemas.engine_kinds import ENGINE_KINDS, EngineKind, EngineRecord
from schemas.methods import METHODS, Method, MethodRecord, Role, Writer, readers
from schemas.prm_formats import PRM_FORMATS, FormatRecord, PrmFormat, formats_with, settings_of_formats
from schemas.registry import either, with_

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."

Answers = Literal["text", "index", "number"]

ALL_ROLES: tuple[Role, ...] = ("draft", "target", "prm")


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, hide_input_in_errors=True
    )


def _local_or_s3(path: str) -> str:
    protocol, separator, _ = path.partition("://")
    if separator and protocol != "s3":
        known = f", not {protocol}://" if re.fullmatch("[a-z0-9+]{1,8}", protocol) else ""
        raise ValueError(f"only local paths and s3:// are supported{known}")
    return path


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character")
    return text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]
Path = Annotated[Name, AfterValidator(_local_or_s3)]
Tag = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_no_nul)]
INT32 = 2**31 - 1


class InputConfig(Section):
    path: Path
    """Problem set: a Parquet file, a directory of them or a glob; local or s3://. Names of folders such as level=1 are
    columns of the rows below them."""
    limit: int | None = Field(default=None, ge=1)
    """Use only the first so many rows (null: all)."""
    prefix: Name | None = None
    """Column (list of string) with the first steps of a row's solutions, which go on from there; a step may have its
    separator or not (null: solutions begin at their first step)."""
    skip_done: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    """Outputs of earlier runs, or globs of them, local or s3://: a problem is left out that one of them has solutions
    of, none of them failed, in a committed shard; it is the same by its problem_id and its text together. Which ones is
    settled when the run begins, and kept in OUT/skipped.json. A path may stand for itself instead of a list."""
    answers: Answers | None = None
    """What `answer` says beside `choices`: the letter or the text of an option (text), or its place, where the first
    option is 0 (index) or 1 (number). Must be given where an answer could be either, such as 2 of four options."""


class OutputConfig(Section):
    path: Path
    """Directory of the run; local or s3://. One directory holds one configuration on one input."""


class StorageConfig(Section):
    """Where s3:// paths live. Credentials never stand here: they come from the environment or the AWS chain."""

    endpoint_url: str | None = None
    """S3 endpoint (null: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else AWS itself)."""
    region: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Region (null: the environment's)."""
    anonymous: bool = False
    """Read and write without credentials."""

    @field_validator("endpoint_url")
    @classmethod
    def _address_alone(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", url):
            raise ValueError(f"must read https://host or http://host:port; {MEND}")
        return url


def _a_day(value: Any) -> Any:
    """No number, which pydantic would take for seconds, and no time of day."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        with contextlib.suppress(ValueError):
            return datetime.date.fromisoformat(value)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    raise ValueError("must be a day, such as 2026-01-31")


class PromptConfig(Section):
    system: str | None = SYSTEM
    """System message (null: none, the chat template's own default applies)."""
    user: str = "{problem}"
    """User message. {problem} is the problem's text, {choices} its lettered options; where a problem has options and
    this text does not name {choices}, they follow the problem on lines of their own."""
    separator: str = Field(default="\n\n", min_length=1)
    """What ends a step."""
    date: Annotated[datetime.date, BeforeValidator(_a_day)] | None = None
    """Day on which chat templates that write a date render every prompt of the run, such as 2026-01-31 (null: the day
    on which the run begins, in UTC)."""
    template: str | None = None
    """Plain prompt with {system} and {user} instead of the model's chat template (null: the chat template). For the
    writers, and for a PRM that has no chat template. A start-of-text token is put before it, unless it begins with
    one."""

    @field_validator("user")
    @classmethod
    def _names_problem(cls, user: str) -> str:
        if "{problem}" not in user:
            raise ValueError("must contain {problem}")
        return user

    @field_validator("template")
    @classmethod
    def _names_user(cls, template: str | None) -> str | None:
        if template is not None and "{user}" not in template:
            raise ValueError("must contain {user}")
        return template


class EngineConfig(BaseModel):
    """How a model is served. Keys beside those declared are the engine's own arguments, passed through as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)
    kind: EngineKind = "vllm"
    """`vllm`: vLLM in a process of its own. `openai`: servers elsewhere that speak the OpenAI protocol as vLLM does,
    with the arguments of tasks/engines/served.py. `scripted`: no model, reproducible pseudo-random steps."""
    replicas: int = Field(default=1, ge=1, le=1024)
    """Engines that serve the model side by side, each on devices and with a cache of its own; a problem stays with one
    of them. `device_ids` is shared out evenly among them."""

    @model_validator(mode="after")
    def _can_be_kept(self) -> EngineConfig:
        try:
            json.dumps(self.arguments, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("holds a date, an infinity or another value that JSON lacks: put it in quotes") from None
        return self

    @property
    def record(self) -> EngineRecord:
        """What the kind is."""
        return ENGINE_KINDS[self.kind]

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ModelConfig(Section):
    model: Name
    """Directory of a checkpoint or a hub id."""
    params: float | None = Field(default=None, gt=0, le=1e18)
    """Parameters, for FLOPs (null: counted in the checkpoint)."""
    trust_remote_code: bool = False
    """Run model code that comes with the checkpoint."""
    engine: EngineConfig = EngineConfig()
    """Engine and its arguments, such as max_model_len, dtype, tensor_parallel_size."""


class PrmConfig(ModelConfig):
    model: Annotated[str, AfterValidator(_no_nul)] = ""
    """Directory of a checkpoint or a hub id, unless `same_as` says it."""
    same_as: Writer | None = None
    """The PRM is the same model as the draft or the target, whose engine serves both: for formats shepherd, rlhflow and
    judge (null: it is a model of its own)."""
    format: PrmFormat = "qwen"
    """How the reward model reads steps. `qwen`: Qwen2.5-Math-PRM, a tag <extra_0> after each step. `skywork`:
    Skywork-o1-Open-PRM, a value after each `tag`. `shepherd`: Math-Shepherd, `good` against `bad` as the token after
    each step's `tag`. `rlhflow`: RLHFlow's PRMs, "+" against "-" as the answer to each step in a chat. `outcome`: a
    sequence classifier that is shown the solution so far. `judge`: a language model that is asked to rate each step
    with a digit. `confidence`: no model; how likely the writer found its own tokens."""
    tag: Tag | None = None
    """shepherd: text of the one token after each step (null: ки). skywork: text of the one token that ends what gets a
    value (null: a line's end)."""
    good: Tag | None = None
    """shepherd: text of the token for a right step (null: +)."""
    bad: Tag | None = None
    """shepherd: text of the token for a wrong step (null: -)."""
    over: Literal["mean", "min"] | None = None
    """confidence: the reward is e to the power of the mean, or the lowest, log-probability of the step's tokens (null:
    mean)."""

    @model_validator(mode="after")
    def _is_one_model(self) -> PrmConfig:
        if self.same_as is not None and not self.record.shares:
            share = with_(PRM_FORMATS, lambda form: form.shares)
            raise ValueError(f"same_as is for format {', '.join(share)}, not {self.format}")
        if self.same_as is None and self.record.asks_model:
            if not self.model:
                raise ValueError("model is missing (or same_as, where the target or the draft is the PRM as well)")
            return self
        for name, field in ModelConfig.model_fields.items():
            if getattr(self, name) != ("" if name == "model" else field.default):
                whose = f"same_as takes the {self.same_as}'s" if self.same_as else f"{self.format} asks no model"
                raise ValueError(f"{name} must be left out: {whose}")
        return self

    @model_validator(mode="after")
    def _reads_its_settings(self) -> PrmConfig:
        for name in settings_of_formats():
            if getattr(self, name) is not None and name not in self.record.settings:
                raise ValueError(f"{name} is for format {' and '.join(formats_with(name))}, not {self.format}")
        return self

    @property
    def record(self) -> FormatRecord:
        """What the format is."""
        return PRM_FORMATS[self.format]


class ModelsConfig(Section):
    draft: ModelConfig | None = None
    """Small model that proposes every step."""
    target: ModelConfig | None = None
    """Large model that writes the steps the PRM rejects."""
    prm: PrmConfig | None = None
    """Process reward model that scores the draft's steps."""


class Rule(Section):
    """An acceptance rule: its parameters, and what it is. Its formula is in tasks/decoding/acceptance.py."""

    swept: ClassVar[bool] = False
    """Can what was decoded at one of its thresholds be used at another, so that one is found for it?"""

    @property
    def by_chance(self) -> bool:
        """Does it toss coins, for which it needs seeds?"""
        return True

    @property
    def auto(self) -> bool:
        """Is its threshold to be found by the run?"""
        return False


class Constant(Rule):
    rule: Literal["constant"]
    probability: float = Field(ge=0, le=1)
    """Accept with this probability, whatever the reward."""

    @property
    def by_chance(self) -> bool:
        return 0 < self.probability < 1


def _from_0_to_1_or_auto(value: Any) -> Any:
    """One message where each kind of value would have its own."""
    try:
        if value != "auto" and (isinstance(value, bool) or not 0 <= float(value) <= 1):
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError("must be a number from 0 to 1, or auto") from None
    return value


class Threshold(Rule):
    swept: ClassVar[bool] = True
    rule: Literal["threshold"] = "threshold"
    threshold: Annotated[float | Literal["auto"], BeforeValidator(_from_0_to_1_or_auto)] = 0.7
    """Accept when the reward is at least this. `auto`: the run finds it on its first problems, for `target_share`."""
    target_share: float | None = Field(default=None, gt=0, lt=1)
    """With `auto`: share of the steps that the target is to write, at most."""

    @model_validator(mode="after")
    def _auto_has_a_share(self) -> Threshold:
        if self.threshold == "auto" and self.target_share is None:
            raise ValueError("threshold auto needs target_share, such as 0.3")
        if self.threshold != "auto" and self.target_share is not None:
            raise ValueError("target_share is for threshold auto; a threshold that is given is not sought")
        return self

    @property
    def by_chance(self) -> bool:
        return False

    @property
    def auto(self) -> bool:
        return self.threshold == "auto"


class Clip(Rule):
    rule: Literal["clip"]


class Sigmoidal(Rule):
    rule: Literal["sigmoidal"]


class Logistic(Rule):
    rule: Literal["logistic"]
    threshold: float = Field(default=0.7, ge=0, le=1)
    """Reward at which half the steps are accepted."""
    alpha: float = Field(default=20.0, gt=0)
    """Steepness per unit of reward."""


AcceptConfig = Annotated[Constant | Threshold | Clip | Sigmoidal | Logistic, Field(discriminator="rule")]
ACCEPTANCE_RULES: dict[str, type[Rule]] = {
    get_args(kind.model_fields["rule"].annotation)[0]: kind for kind in get_args(get_args(AcceptConfig)[0])
}
"""The rules of AcceptConfig by name."""
SWEPT = with_(ACCEPTANCE_RULES, lambda rule: rule.swept)
"""Names of those for which a threshold can be found."""


class DecodingConfig(Section):
    method: Method = "rsd"
    """`rsd`: the draft proposes, the PRM judges, the target rewrites. `target`, `draft`: that model alone.
    `speculative`: the target alone, which vLLM speeds up with the draft's guesses at its tokens. `majority`: of
    `samples` solutions, one with the most common answer. `best_of_n`: the one of `samples` that the PRM scores best.
    `process_best_of_n`: of each step's `candidates`, the one that the PRM scores best. `beam`: the `beams` best of all
    beams' `candidates` go on."""
    samples: int = Field(default=1, ge=1, le=INT32)
    """Solutions asked for each problem; majority and best_of_n pick one of them."""
    candidates: int = Field(default=1, ge=1, le=256)
    """Steps that are proposed at a time. rsd: the best of them by reward is the one that is judged.
    process_best_of_n: the best of them is kept (at least 2). beam: continuations of each beam (at least 2)."""
    beams: int = Field(default=4, ge=1, le=256)
    """beam: beams that are kept."""
    writer: Writer = "draft"
    """Model that writes for majority, best_of_n, process_best_of_n and beam."""
    aggregation: Literal["last", "min", "prod", "mean"] = "last"
    """best_of_n: a solution's score, from the rewards of its steps."""
    pick: Literal["best", "weighted"] = "best"
    """best_of_n: the solution with the best score, or one with the answer whose solutions' scores add up to most."""
    speculative_tokens: int = Field(default=3, ge=1, le=64)
    """speculative: tokens that the draft guesses at a time."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling."""
    seed: int = Field(default=0, ge=0)
    """Seed of the run; every (problem, sample, step, role) derives its own from it. In a deployment it may be written
    with placeholders, such as "{date}": see tasks/placeholders.py."""
    max_steps: int = Field(default=100, ge=1, le=INT32)
    """Steps a solution may have."""
    max_tokens: int = Field(default=4096, ge=1, le=INT32)
    """Tokens a solution may have."""
    accept: AcceptConfig = Threshold()
    """Acceptance rule, for rsd."""

    @property
    def record(self) -> MethodRecord:
        """What the method is."""
        return METHODS[self.method]

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles that have engines, in the order in which they act."""
        return tuple(self.writer if role == "writer" else role for role in self.record.roles)

    @property
    def proposals(self) -> int:
        """Candidates for each step of a path."""
        return self.candidates if "candidates" in self.record.settings else 1

    @property
    def paths(self) -> int:
        """Paths on which a sample goes on at the same time."""
        return self.beams if "beams" in self.record.settings else 1

    @property
    def greedy(self) -> bool:
        """Does no seed change what is written? An acceptance rule that tosses coins is seeded as well."""
        if self.temperature > 0:
            return False
        return not (self.record.judges and self.accept.by_chance)

    @field_validator("accept", mode="before")
    @classmethod
    def _default_rule(cls, accept: Any) -> Any:
        return {"rule": "threshold", **accept} if isinstance(accept, dict) else accept

    @model_validator(mode="after")
    def _auto_has_a_threshold(self) -> DecodingConfig:
        if self.auto and not self.record.judges:
            raise ValueError(f"accept.threshold auto is for method {either(readers('accept'))}, not {self.method}")
        return self

    @property
    def auto(self) -> bool:
        """Is the threshold to be found by the run?"""
        return self.accept.auto


class RunConfig(Section):
    shard_size: int = Field(default=1024, ge=1, le=INT32)
    """Input rows in a shard, the unit of commit."""
    cohort_size: int | None = Field(default=None, ge=1, le=INT32)
    """Trajectories that move in step, wave by wave (null: as many as saturate an engine, but so few that several
    cohorts find room in the engines' caches)."""
    cohorts: int | None = Field(default=None, ge=1, le=1024)
    """Cohorts in flight: while one drafts, another is scored and a third is at the target (null: as many as the
    engines' caches are expected to hold to their ends)."""
    sharing: Literal["auto", "resident", "turns"] = "auto"
    """How models share a device. `resident`: all stay on it, each with a part for its cache. `turns`: one at a time has
    it, the others' weights sleep in host memory. `auto`: resident where all fit with useful caches, else turns where
    each fits alone."""
    checkpoint_seconds: float = Field(default=2.0, ge=0)
    """A cohort's waves are kept at most this many seconds apart, and when it ends (0: every wave by itself)."""
    store_patience: float = Field(default=300.0, ge=0)
    """Seconds for which a store that fails or is away is tried again before the run ends."""
    engine_patience: float = Field(default=600.0, gt=0)
    """Seconds without any answer after which an engine that has work counts as stalled, and is started again."""
    engine_restarts: int = Field(default=5, ge=0)
    """Times an engine that dies is started again without having answered anything in between."""
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port at which a process that makes shards shows its metrics to Prometheus; where another process has it, the next
    free one of the hundred from there on (null: none)."""
    metrics_host: str = Field(default="127.0.0.1", pattern=r"^[A-Za-z0-9.:-]+$")
    """Address of the machine at which that port is opened: its own only, or such as 0.0.0.0 for all that reach it."""
    batch_invariant: bool = False
    """Ask vLLM for kernels whose results do not depend on the batch (slower; GPUs that have them)."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """`generate`: so many flow runs of `deployment` share the shards, while this process only watches over them and
    needs no device (null: this process makes them itself). `calibrate` does without; `evaluate` refuses it."""
    deployment: str = Field(default="generate-shards/stepwave", pattern=r"^generate-shards/[^/\s][^/]*$")
    """Prefect deployment of those flow runs, as flow/deployment."""
    worker_restarts: int = Field(default=5, ge=0)
    """Times that the flow run of a group of shards is started again, having crashed or ended with shards left, without
    any shard of the run committed in between; each group's are counted by themselves."""


def _low_to_high(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] > band[1]:
        raise ValueError("must be [lowest, highest]")
    return band


Share = Annotated[float, Field(ge=0, le=1)]
Band = Annotated[tuple[Share, Share], AfterValidator(_low_to_high)]


class DriftConfig(Section):
    """Bands in which a run's figures are to stay; `stepwave calibrate` writes them to recommended.yaml. A run that
    leaves one says so. With `threshold: auto` the run has bands of its own, unless some are given here."""

    target_share: Band | None = None
    """Lowest and highest share of the solutions' steps that the target wrote, for rsd (null: not watched)."""
    reward: Band | None = None
    """Lowest and highest mean of the rewards of all attempts that the PRM scored, kept or not (null: not watched)."""
    problems: int = Field(default=200, ge=1)
    """Problems that a process must have committed before they are judged. Bands are made for so many, those of a
    calibration for as many as it had, and at least 200: with fewer there are more false alarms."""
    stop: bool = False
    """End a run that left a band, with exit code 2. What is committed is kept."""


class Config(Section):
    input: InputConfig
    output: OutputConfig
    storage: StorageConfig = StorageConfig()
    prompt: PromptConfig = PromptConfig()
    models: ModelsConfig
    decoding: DecodingConfig = DecodingConfig()
    run: RunConfig = RunConfig()
    drift: DriftConfig | None = None
    """What a run is watched for (null: nothing, but with `threshold: auto` the bands of its own calibration)."""

    @model_validator(mode="before")
    @classmethod
    def _no_credentials(cls, values: Any) -> Any:
        return refuse_credentials(values)

    @model_validator(mode="after")
    def _has_the_roles(self) -> Config:
        for role in (*self.roles, *(["draft"] if self.decoding.record.proposer else [])):
            if getattr(self.models, role) is None:
                raise ValueError(f"models.{role} is missing: decoding.method {self.decoding.method!r} needs it")
        return self

    @model_validator(mode="after")
    def _has_the_same(self) -> Config:
        same = self.models.prm.same_as if self.models.prm and "prm" in self.roles else None
        if same is not None and getattr(self.models, same) is None:
            raise ValueError(f"models.prm.same_as: there is no models.{same}")
        return self

    @model_validator(mode="after")
    def _has_a_choice(self) -> Config:
        decoding, chooses = self.decoding, self.decoding.record.chooses
        method, name = decoding.method, chooses or "candidates"
        count = decoding.samples if name == "samples" else decoding.proposals
        if count < 2 and chooses:
            raise ValueError(f"decoding.{name}: {method} chooses among several: give at least 2, not {count}")
        if count > 1 and decoding.temperature == 0:
            raise ValueError(
                f"decoding.temperature: at 0 all {count} {name} would be equal; {method} needs more, such as 0.7"
            )
        return self

    @model_validator(mode="after")
    def _watches_something(self) -> Config:
        drift = self.drift
        if drift is None:
            return self
        method, seen = self.decoding.method, {"target_share": self.decoding.record.rewrites}
        seen["reward"] = "prm" in self.decoding.roles
        if useless := [f"drift.{name}" for name, there in seen.items() if getattr(drift, name) and not there]:
            raise ValueError(f"{' and '.join(useless)}: decoding.method {method} has no such figure; set it to null")
        if drift.target_share is None and drift.reward is None and not self.decoding.auto:
            raise ValueError("drift: has no band: give target_share or reward, as stepwave calibrate finds them")
        return self

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles whose models the method asks, in the order in which they act."""
        return tuple(role for role in self.decoding.roles if role != "prm" or self.confidence is None)

    @property
    def confidence(self) -> Literal["mean", "min"] | None:
        """By what of their log-probabilities writers' own confidence is the reward; None where it is not."""
        prm = self.models.prm
        if prm is None or prm.record.asks_model or "prm" not in self.decoding.roles:
            return None
        return prm.over or "mean"

    def host(self, role: Role) -> Role:
        """The role whose engine serves a role: itself, unless it is the same model as another that the method asks."""
        same = self.models.prm.same_as if role == "prm" and self.models.prm else None
        return same if same is not None and same in self.roles else role

    @property
    def engine_roles(self) -> tuple[Role, ...]:
        """Roles that have an engine of their own."""
        return tuple(role for role in self.roles if self.host(role) == role)

    @property
    def proposer(self) -> ModelConfig | None:
        """The model that vLLM loads beside the target's to guess at its tokens."""
        return self.models.draft if self.decoding.record.proposer else None

    def model(self, role: Role) -> ModelConfig:
        """The model of a role that the method uses."""
        model: ModelConfig | None = getattr(self.models, role)
        assert model is not None, role
        if isinstance(model, PrmConfig) and model.same_as is not None:
            same = getattr(self.models, model.same_as)
            return model.model_copy(update={name: getattr(same, name) for name in ModelConfig.model_fields})
        return model
