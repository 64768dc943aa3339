"""Arguments of an `emulated` engine: which model on which cards, and what it answers."""

from __future__ import annotations

import difflib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from schemas.config import EngineConfig
from schemas.credentials import shown_key
from tasks.engines.arguments import BATCHED_TOKENS, MOST_SEQUENCES
from tasks.engines.emulated.data_sheets import CARDS, Card
from tasks.engines.emulated.roofline import Efficiency, Roofline, Shape
from tasks.engines.scripted import Script
from tasks.errors import UserError

_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, use_attribute_docstrings=True
)


class Sheet(BaseModel):
    """A card of the configuration's own."""

    model_config = _STRICT
    flops: float = Field(gt=0)
    """FLOP/s of dense matrix products in 16 bits."""
    bandwidth: float = Field(gt=0)
    """Bytes a second of its memory."""
    memory: int = Field(gt=0)
    """Bytes."""
    link: float = Field(gt=0)
    """Bytes a second between card and host, one way."""


class Emulation(BaseModel):
    """No model: what `scripted` answers, in the time that a card would take for a model of this size."""

    model_config = _STRICT
    card: str | Sheet = "H100"
    """Data sheet of each card: H100, H200, A100, L40S or RTX4090, or a mapping with the figures of another."""
    device_ids: list[Annotated[int, Field(ge=0, lt=1024)]] | None = None
    """Numbers of the cards, as of kind vllm; roles that name the same ones share them (null: the first ones)."""
    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    """Cards over which a copy of the model is spread."""
    parameters: float | None = Field(default=None, gt=0, le=1e18)
    """Number of parameters with which a token is computed (null: models.ROLE.params, else what the checkpoint has)."""
    layers: int | None = Field(default=None, ge=1, le=10_000)
    """Number of layers (null: as the checkpoint)."""
    kv_bytes_per_token: int | None = Field(default=None, ge=1, le=1 << 40)
    """Bytes of a token's keys and values over all layers (null: as the checkpoint, in 16 bits)."""
    weight_bytes: float | None = Field(default=None, gt=0, le=1e18)
    """Bytes of all weights (null: 2 for each parameter)."""
    cache_tokens: int | None = Field(default=None, ge=1, le=1 << 40)
    """Tokens that each replica's cache holds (null: what weights and other engines leave of the card's memory)."""
    host_cache_tokens: int = Field(default=0, ge=0, le=1 << 40)
    """Tokens of each replica that the host's memory keeps beside; fetching one costs its bytes over the link."""
    block_size: int = Field(default=16, ge=1, le=4096)
    """Tokens of a block of the cache: of a prefix whole blocks are found again."""
    max_num_seqs: int = Field(default=MOST_SEQUENCES, ge=1, le=1 << 20)
    """Most requests in an iteration; at most max_num_batched_tokens."""
    max_num_batched_tokens: int = Field(default=BATCHED_TOKENS, ge=1, le=1 << 24)
    """Most tokens in an iteration: one for each request that writes, the rest for prompts."""
    speed: float | None = Field(default=1.0, gt=0, le=1e6)
    """How many times as fast as real cards (null: time passes only while all engines and threads of the run wait, so
    that the cards' time is kept apart from the run's own)."""
    bandwidth_reached: float = Field(default=Efficiency.bandwidth, gt=0, le=1)
    """Part of the memory's bandwidth that is reached."""
    flops_reached: float = Field(default=Efficiency.flops, gt=0, le=1)
    """Part of the FLOP/s that are reached."""
    link_reached: float = Field(default=Efficiency.link, gt=0, le=1)
    """Part of the link's bandwidth that is reached."""
    batch_seconds: float = Field(default=Efficiency.batch_seconds, ge=0)
    """Fixed seconds of an iteration, beside those of the layers."""
    layer_seconds: float = Field(default=Efficiency.layer_seconds, ge=0)
    """Fixed seconds of each layer in an iteration: launches."""
    reduce_seconds: float = Field(default=Efficiency.reduce_seconds, ge=0)
    """Fixed seconds more of each layer where a copy is spread over cards."""
    max_model_len: int | None = Field(default=None, ge=8)
    """Longest prompt and answer together, in tokens (null: what the run needs, at most all positions of the
    checkpoint)."""
    tokens_per_step: int = Field(default=12, ge=1)
    """Mean tokens of a step; it has between 1 and twice as many."""
    steps: float = Field(default=5.0, ge=1)
    """Mean steps of a solution."""
    refuse: str | None = None
    """Prompts that hold this text are refused."""
    crash: str | None = None
    """The engine dies on prompts that hold this text."""
    stall: str | None = None
    """Prompts that hold this text are never answered."""
    nan: str | None = None
    """The reward of prompts that hold this text is NaN, and so is the confidence in what follows them."""

    @field_validator("card")
    @classmethod
    def _is_known(cls, card: str | Sheet) -> str | Sheet:
        if isinstance(card, str) and card not in CARDS:
            raise ValueError(f"no data sheet of {card!r} is here: {', '.join(CARDS)}, or figures of your own")
        return card

    @property
    def sheet(self) -> Card:
        """The card."""
        return CARDS[self.card] if isinstance(self.card, str) else Card(**self.card.model_dump())

    @property
    def script(self) -> Script:
        """What is answered."""
        names = ("tokens_per_step", "steps", "refuse", "crash", "stall", "nan")
        return Script(**{name: getattr(self, name) for name in names})

    def costs(self) -> Roofline:
        """Of one copy, where all of the model's sizes are known."""
        assert self.parameters is not None
        assert self.layers is not None
        assert self.kv_bytes_per_token is not None
        weights = self.weight_bytes or 2 * self.parameters
        reached = Efficiency(
            self.bandwidth_reached,
            self.flops_reached,
            self.link_reached,
            self.batch_seconds,
            self.layer_seconds,
            self.reduce_seconds,
        )
        shape = Shape(self.parameters, self.layers, self.kv_bytes_per_token, weights)
        return Roofline(self.sheet, shape, self.tensor_parallel_size, reached)


def read_emulation(role: str, arguments: dict[str, object]) -> Emulation:
    """The engine's arguments. Raises UserError that names the one that is wrong, and one that is nearly it where there
    is no such."""
    try:
        return Emulation.model_validate(arguments)
    except ValidationError as error:
        # an unknown name first: it may be what is missing, misspelt; then what is wrong with a card of one's own
        first = min(
            error.errors(include_url=False), key=lambda of: (of["type"] != "extra_forbidden", "str" in of["loc"])
        )
    path = tuple(part for part in first["loc"] if part not in ("str", "Sheet"))
    where = f"models.{role}.engine." + shown_key(path)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), (Emulation if len(path) == 1 else Sheet).model_fields, 1)
        raise UserError(
            f"{where}: no argument of engine kind emulated" + (f"; did you mean {near[0]}?" if near else "")
        )
    said = first["msg"].removeprefix("Value error, ")
    if path == ("card",) and first["type"] != "value_error":
        said = "must be the name of a card, or a mapping with flops, bandwidth, memory and link"
    raise UserError(f"{where}: {said} (engine kind emulated)")


def check(role: str, engine: EngineConfig, here: bool) -> None:
    """Raises UserError if a role's arguments are not such as the kind takes."""
    read_emulation(role, engine.arguments)
