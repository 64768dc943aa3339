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
    """A part of a configuration. Unknown keys are refused, and so are NaN and infinities. It cannot be changed."""

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
    """The problems."""

    path: Path
    """Problem set: a Parquet file, a directory of Parquet files, or a glob; local or s3://. Names of folders such as
    level=1 are columns of the rows below them."""
    limit: int | None = Field(default=None, ge=1)
    """Use only the first so many rows (null: all). It counts those that `skip_done` leaves out as well."""
    prefix: Name | None = None
    """Column (list of string) with the first steps of a row's solutions. Solutions go on from there. Steps may end in
    the separator or not (null: solutions begin with their first step)."""
    skip_done: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    """Outputs of earlier runs, or globs of them, local or s3://. A problem is left out if one of them has solutions of
    it in a committed shard, and none of these failed. Two problems are the same if problem_id and text are equal. What
    is left out is decided when the run begins, and kept in OUT/skipped.json. A single path needs no list."""
    answers: Answers | None = None
    """What `answer` means beside `choices`. `text`: the letter or the text of an option. `index`: its place, from 0.
    `number`: its place, from 1. It must be given if an answer could be a place or a text, such as 2."""


class OutputConfig(Section):
    """Where the run is written."""

    path: Path
    """Directory of the run; local or s3://. One directory holds one configuration on one input."""


class StorageConfig(Section):
    """How s3:// paths are reached. Credentials are not written here: they come from the environment or the AWS
    configuration."""

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
    """How a problem becomes a prompt, and where a step ends."""

    system: str | None = SYSTEM
    """System message (null: none; the chat template may have a default of its own)."""
    user: str = "{problem}"
    """User message. {problem} is the problem's text, {choices} its lettered options. If a problem has options and this
    text does not name {choices}, they follow the problem on lines of their own."""
    separator: str = Field(default="\n\n", min_length=1)
    """Text that ends a step."""
    date: Annotated[datetime.date, BeforeValidator(_a_day)] | None = None
    """The day that chat templates write into prompts, for all prompts of the run, such as 2026-01-31 (null: the day on
    which the run begins, in UTC)."""
    template: str | None = None
    """Plain prompt with {system} and {user}, in the place of the model's chat template (null: the chat template). It is
    used for the writers, and for a PRM without a chat template. A start-of-text token is put before it, unless it
    begins with one."""

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
    """How a model is served. All other keys are the engine's own arguments, and are passed on."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)
    kind: EngineKind = "vllm"
    """`vllm`: vLLM in a process of its own. `openai`: servers of vLLM on other machines, by the OpenAI protocol, with
    arguments of their own. `scripted`: no model, reproducible pseudo-random steps."""
    replicas: int = Field(default=1, ge=1, le=1024)
    """Engines that serve the model side by side, each with devices and a cache of its own. All requests about a problem
    go to the same one. `device_ids` is divided evenly among them."""

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
        """The engine's own arguments: name to value, as they were given."""
        return dict(self.model_extra or {})


class ModelConfig(Section):
    """A model that writes, and its engine."""

    model: Name
    """Directory of a checkpoint or a hub id."""
    params: float | None = Field(default=None, gt=0, le=1e18)
    """Number of parameters, for FLOPs (null: counted in the checkpoint)."""
    trust_remote_code: bool = False
    """Run model code that comes with the checkpoint."""
    engine: EngineConfig = EngineConfig()
    """Engine and its arguments, such as max_model_len, dtype, tensor_parallel_size."""


class PrmConfig(ModelConfig):
    """The reward model, and how it reads steps."""

    model: Annotated[str, AfterValidator(_no_nul)] = ""
    """Directory of a checkpoint or a hub id. It is left out with `same_as` and format confidence."""
    same_as: Writer | None = None
    """The PRM is the same model as the draft or the target, and one engine serves both. For formats shepherd, rlhflow
    and judge (null: a model of its own)."""
    format: PrmFormat = "qwen"
    """How the reward model reads steps. `qwen`: Qwen2.5-Math-PRM, a tag `<extra_0>` after each step. `skywork`:
    Skywork-o1-Open-PRM, a value after each `tag`. `shepherd`: Math-Shepherd, `good` against `bad` as the token after
    each step's `tag`. `rlhflow`: RLHFlow's PRMs, "+" against "-" as the answer to each step in a chat. `outcome`: a
    sequence classifier that is shown the solution so far. `judge`: a language model that is asked to rate each step
    with a digit. `confidence`: no model; how likely the writer found its own tokens."""
    tag: Tag | None = None
    """shepherd: text of the token after each step (null: ки). skywork: text of the token at which a value is read
    (null: a line's end). The text must be one token."""
    good: Tag | None = None
    """shepherd: text of the token for a right step (null: +)."""
    bad: Tag | None = None
    """shepherd: text of the token for a wrong step (null: -)."""
    over: Literal["mean", "min"] | None = None
    """confidence: the reward is e to the power of the mean, or of the lowest, log-probability of the step's tokens
    (null: mean)."""

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
                whose = f"same_as uses the {self.same_as}'s" if self.same_as else f"{self.format} uses no model"
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
    """The models by role. A method needs only its own roles."""

    draft: ModelConfig | None = None
    """Small model that proposes every step."""
    target: ModelConfig | None = None
    """Large model that writes the steps the PRM rejects."""
    prm: PrmConfig | None = None
    """Process reward model that scores the draft's steps."""


class Rule(Section):
    """An acceptance rule: its parameters, and what it is. Its formula is in tasks/decoding/acceptance.py."""

    swept: ClassVar[bool] = False
    """True if attempts at one of its thresholds can be used at another, so that one can be found for it."""

    @property
    def by_chance(self) -> bool:
        """True if it tosses coins, for which it needs seeds."""
        return True

    @property
    def auto(self) -> bool:
        """True if the run finds its threshold itself."""
        return False


class Constant(Rule):
    """Accept by chance alone."""

    rule: Literal["constant"]
    probability: float = Field(ge=0, le=1)
    """Accept with this probability, whatever the reward."""

    @property
    def by_chance(self) -> bool:
        """True if the probability is neither 0 nor 1."""
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
    """Accept from a reward on."""

    swept: ClassVar[bool] = True
    rule: Literal["threshold"] = "threshold"
    threshold: Annotated[float | Literal["auto"], BeforeValidator(_from_0_to_1_or_auto)] = 0.7
    """Accept when the reward is at least this. `auto`: the run finds it on its first problems, for `target_share`."""
    target_share: float | None = Field(default=None, gt=0, lt=1)
    """With `auto`: largest share of the steps that the target is to write."""

    @model_validator(mode="after")
    def _auto_has_a_share(self) -> Threshold:
        if self.threshold == "auto" and self.target_share is None:
            raise ValueError("threshold auto needs target_share, such as 0.3")
        if self.threshold != "auto" and self.target_share is not None:
            raise ValueError("target_share is for threshold auto; leave it out where a threshold is given")
        return self

    @property
    def by_chance(self) -> bool:
        """False: the reward decides alone."""
        return False

    @property
    def auto(self) -> bool:
        """True if the run finds its threshold itself."""
        return self.threshold == "auto"


class Clip(Rule):
    """Accept with the reward as the probability."""

    rule: Literal["clip"]


class Sigmoidal(Rule):
    """Accept with probability r / (1 + r)."""

    rule: Literal["sigmoidal"]


class Logistic(Rule):
    """Accept with probability 1 / (1 + exp(-alpha (r - threshold)))."""

    rule: Literal["logistic"]
    threshold: float = Field(default=0.7, ge=0, le=1)
    """Reward at which half the steps are accepted."""
    alpha: float = Field(default=20.0, gt=0)
    """Steepness per unit of reward."""


AcceptConfig = Annotated[Constant | Threshold | Clip | Sigmoidal | Logistic, Field(discriminator="rule")]
ACCEPTANCE_RULES: dict[str, type[Rule]] = {
    get_args(kind.model_fields["rule"].annotation)[0]: kind for kind in get_args(get_args(AcceptConfig)[0])
}
"""Acceptance rules by name."""
SWEPT = with_(ACCEPTANCE_RULES, lambda rule: rule.swept)
"""Names of the rules for which a threshold can be found."""


class DecodingConfig(Section):
    """The method and its settings. A setting that the method does not read is refused."""

    method: Method = "rsd"
    """`rsd`: the draft proposes a step, the PRM scores it, the target rewrites rejected steps. `target`, `draft`: that
    model alone. `speculative`: the target alone; vLLM lets the draft guess its tokens. `majority`: of `samples`
    solutions, one with the most common answer. `best_of_n`: of `samples` solutions, the one with the best score by the
    PRM. `process_best_of_n`: of each step's `candidates`, the one with the best reward. `beam`: the best `beams` of all
    beams' `candidates` continue."""
    samples: int = Field(default=1, ge=1, le=INT32)
    """Solutions for each problem; majority and best_of_n pick one of them."""
    candidates: int = Field(default=1, ge=1, le=256)
    """Steps that are proposed at a time. rsd: the one with the best reward is judged. process_best_of_n: the one with
    the best reward is kept (at least 2). beam: continuations of each beam (at least 2)."""
    beams: int = Field(default=4, ge=1, le=256)
    """beam: number of beams."""
    writer: Writer = "draft"
    """Model that writes for majority, best_of_n, process_best_of_n and beam."""
    aggregation: Literal["last", "min", "prod", "mean"] = "last"
    """best_of_n: how the rewards of its steps make a solution's score."""
    pick: Literal["best", "weighted"] = "best"
    """best_of_n: the solution with the best score (best), or one with the answer whose solutions have the largest sum
    of scores (weighted)."""
    speculative_tokens: int = Field(default=3, ge=1, le=64)
    """speculative: tokens that the draft guesses at a time."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature; 0 is greedy. The lowest above that is 0.01, as in vLLM."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling: tokens are drawn from the most probable ones that together have this probability."""
    seed: int = Field(default=0, ge=0)
    """Seed of the run. Every (problem, sample, step, role) has a seed that follows from it. In a deployment it may hold
    {date}, {time} and {run}, such as "{date}"."""
    max_steps: int = Field(default=100, ge=1, le=INT32)
    """Most steps of a solution."""
    max_tokens: int = Field(default=4096, ge=1, le=INT32)
    """Most tokens of a solution."""
    accept: AcceptConfig = Threshold()
    """Acceptance rule, for rsd: Table 1 of the RSD paper."""

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
        """Number of candidates for each step of a path."""
        return self.candidates if "candidates" in self.record.settings else 1

    @property
    def paths(self) -> int:
        """Number of paths on which a sample continues at the same time: beams, or 1."""
        return self.beams if "beams" in self.record.settings else 1

    @property
    def greedy(self) -> bool:
        """True if no seed changes what is written: temperature 0, and no acceptance rule that tosses coins."""
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
        """True if the run finds its threshold itself."""
        return self.accept.auto


class RunConfig(Section):
    """How the work is divided, and how long faults are waited out. Nothing here changes what is generated."""

    shard_size: int = Field(default=1024, ge=1, le=INT32)
    """Input rows in a shard, the unit of commit."""
    cohort_size: int | None = Field(default=None, ge=1, le=INT32)
    """Trajectories in a cohort, which move in step, wave by wave (null: enough to saturate an engine, but so few that
    the engines' caches have room for several cohorts)."""
    cohorts: int | None = Field(default=None, ge=1, le=1024)
    """Cohorts in flight: while one drafts, another is scored and a third is at the target (null: as many as the
    engines' caches are expected to hold until they end)."""
    sharing: Literal["auto", "resident", "turns"] = "auto"
    """How models share a device. `resident`: all stay on it, and each has a part of it for its cache. `turns`: one
    model has it at a time, and the weights of the others sleep in host memory. `auto`: resident if all fit with useful
    caches, else turns if each fits alone."""
    checkpoint_seconds: float = Field(default=2.0, ge=0)
    """Seconds between checkpoints of a cohort, at most; a cohort that ends is kept too (0: every wave is kept)."""
    store_patience: float = Field(default=300.0, ge=0)
    """Seconds for which requests to a store that fails or is away are tried again. Then the run ends."""
    engine_patience: float = Field(default=600.0, gt=0)
    """Seconds without an answer after which an engine that has work counts as stalled. Then it is started again."""
    engine_restarts: int = Field(default=5, ge=0)
    """How often an engine that dies is started again without an answer in between."""
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port at which a process that makes shards has metrics for Prometheus. If it is taken, the next free one of a
    hundred (null: no metrics)."""
    metrics_host: str = Field(default="127.0.0.1", pattern=r"^[A-Za-z0-9.:-]+$")
    """Address at which that port is opened. 127.0.0.1 is for this machine alone, 0.0.0.0 for all that reach it."""
    batch_invariant: bool = False
    """Ask vLLM for kernels whose results do not depend on the batch. They are slower, and need a GPU that has them."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """`generate`: number of flow runs of `deployment` that share the shards. This process then only watches them and
    needs no device (null: this process makes the shards). `calibrate` ignores it; `evaluate` refuses it."""
    deployment: str = Field(default="generate-shards/stepwave", pattern=r"^generate-shards/[^/\s][^/]*$")
    """Prefect deployment of those flow runs, written flow/deployment."""
    worker_restarts: int = Field(default=5, ge=0)
    """How often the flow run of a group of shards is started again after it crashed, or ended with shards left, without
    any shard of the run committed in between. Each group counts for itself."""


def _low_to_high(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] > band[1]:
        raise ValueError("must be [lowest, highest]")
    return band


Share = Annotated[float, Field(ge=0, le=1)]
Band = Annotated[tuple[Share, Share], AfterValidator(_low_to_high)]


class DriftConfig(Section):
    """Bands in which a run's figures should stay. `stepwave calibrate` writes them to recommended.yaml. A run with a
    figure outside its band says so. With `threshold: auto` the run has bands of its own, unless some are given here."""

    target_share: Band | None = None
    """Lowest and highest share of the solutions' steps that the target wrote, for rsd (null: not watched)."""
    reward: Band | None = None
    """Lowest and highest mean of the rewards of all attempts that the PRM scored, kept or not (null: not watched)."""
    problems: int = Field(default=200, ge=1)
    """Number of problems that a process must have committed before it is judged. A band is made for this number: for as
    many problems as the calibration had, and at least 200. With fewer problems there are more false alarms."""
    stop: bool = False
    """End a run with a figure outside its band, with exit code 2. What is committed is kept."""


class Config(Section):
    """The configuration of a run."""

    input: InputConfig
    output: OutputConfig
    storage: StorageConfig = StorageConfig()
    prompt: PromptConfig = PromptConfig()
    models: ModelsConfig
    decoding: DecodingConfig = DecodingConfig()
    run: RunConfig = RunConfig()
    drift: DriftConfig | None = None
    """Bands that the run is watched for (null: none, or with `threshold: auto` those of its own calibration)."""

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
                f"decoding.temperature: at 0 all {count} {name} would be identical; {method} needs a temperature "
                f"above 0, such as 0.7"
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
            raise ValueError("drift: has no band: give target_share or reward; stepwave calibrate writes both")
        return self

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles whose models the method asks, in the order in which they act."""
        return tuple(role for role in self.decoding.roles if role != "prm" or self.confidence is None)

    @property
    def confidence(self) -> Literal["mean", "min"] | None:
        """`mean` or `min` of log-probabilities if the writers' own confidence is the reward; None if it is not."""
        prm = self.models.prm
        if prm is None or prm.record.asks_model or "prm" not in self.decoding.roles:
            return None
        return prm.over or "mean"

    def host(self, role: Role) -> Role:
        """The role whose engine serves `role`: itself, or the writer that the PRM is the `same_as`."""
        same = self.models.prm.same_as if role == "prm" and self.models.prm else None
        return same if same is not None and same in self.roles else role

    @property
    def engine_roles(self) -> tuple[Role, ...]:
        """Roles that have an engine of their own."""
        return tuple(role for role in self.roles if self.host(role) == role)

    @property
    def proposer(self) -> ModelConfig | None:
        """The draft of method speculative, which vLLM loads beside the target; None for other methods."""
        return self.models.draft if self.decoding.record.proposer else None

    def model(self, role: Role) -> ModelConfig:
        """The model of a role that the method uses; of a PRM with `same_as` it has that writer's fields."""
        model: ModelConfig | None = getattr(self.models, role)
        assert model is not None, role
        if isinstance(model, PrmConfig) and model.same_as is not None:
            same = getattr(self.models, model.same_as)
            return model.model_copy(update={name: getattr(same, name) for name in ModelConfig.model_fields})
        return model
