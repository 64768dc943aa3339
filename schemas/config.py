"""The configuration of a run: YAML in, one validated `Config` out. Its sections have files of their own.

Unknown keys are refused; every field has a documented default. The resolved form is written to OUT/config.yaml.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from schemas.acceptance import (
    ACCEPTANCE_RULES,
    SWEPT,
    AcceptConfig,
    Clip,
    Constant,
    Logistic,
    Rule,
    Sigmoidal,
    Threshold,
)
from schemas.credentials import refuse_credentials
from schemas.decoding import DecodingConfig
from schemas.methods import Role
from schemas.models import EngineConfig, ModelConfig, ModelsConfig, PrmConfig
from schemas.places import Answers, InputConfig, OutputConfig, StorageConfig
from schemas.prompt import SYSTEM, PromptConfig
from schemas.run import DriftConfig, RunConfig, Share
from schemas.section import Path, Section

__all__ = [
    "ACCEPTANCE_RULES",
    "ALL_ROLES",
    "SWEPT",
    "SYSTEM",
    "AcceptConfig",
    "Answers",
    "Clip",
    "Config",
    "Constant",
    "DecodingConfig",
    "DriftConfig",
    "EngineConfig",
    "InputConfig",
    "Logistic",
    "ModelConfig",
    "ModelsConfig",
    "OutputConfig",
    "Path",
    "PrmConfig",
    "PromptConfig",
    "Rule",
    "RunConfig",
    "Section",
    "Share",
    "Sigmoidal",
    "StorageConfig",
    "Threshold",
]

ALL_ROLES: tuple[Role, ...] = ("draft", "target", "prm")


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
