"""Acceptance rules: with which rewards a step is kept."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from schemas.registry import with_
from schemas.section import Section


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
