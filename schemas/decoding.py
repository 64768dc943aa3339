"""The decoding method and its settings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.acceptance import AcceptConfig, Threshold
from schemas.methods import METHODS, Method, MethodRecord, Role, Writer, readers
from schemas.registry import either
from schemas.section import INT32, Section


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
