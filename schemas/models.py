"""The models by role, and their engines."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from schemas.engine_kinds import ENGINE_KINDS, EngineKind, EngineRecord
from schemas.methods import Writer
from schemas.prm_formats import PRM_FORMATS, FormatRecord, PrmFormat, formats_with, settings_of_formats
from schemas.registry import with_
from schemas.section import Name, Section, Tag, no_nul


class EngineConfig(BaseModel):
    """How a model is served. All other keys are the engine's own arguments, and are passed on."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)
    kind: EngineKind = "vllm"
    """`vllm`: vLLM in a process of its own. `openai`: servers of vLLM on other machines, by the OpenAI protocol, with
    arguments of their own. `scripted`: no model, reproducible pseudo-random steps. `emulated`: the same steps, in the
    time that a card of a data sheet would take for a model of a given size."""
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

    model: Annotated[str, AfterValidator(no_nul)] = ""
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
