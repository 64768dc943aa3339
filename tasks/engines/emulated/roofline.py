"""What a batch costs on cards: a roofline with stated efficiencies.

An iteration's kernels run one after another, each for as long as reading its operands or computing takes, whichever is
longer. Its matrix products stream all weights once, and compute 2 FLOPs for each parameter and token. Its attention
reads the cached keys and values of all sequences in the batch. Launches, all-reduces, scheduling and sampling take a
fixed time. FLOPs of attention are left out: for 7B they are 1% of the products' at 400 tokens of context, and 40% at
16,000, where reading the caches takes longer than computing with them, but for long prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tasks.engines.emulated.data_sheets import Card


@dataclass(frozen=True)
class Efficiency:
    """How much of its data sheet a card reaches, and what comes on top."""

    bandwidth: float = 0.7
    """Part of the memory's bandwidth."""
    flops: float = 0.5
    """Part of the FLOP/s."""
    link: float = 0.625
    """Part of the link's bandwidth."""
    batch_seconds: float = 2e-3
    """Fixed time of an iteration: scheduling, sampling, handing out tokens."""
    layer_seconds: float = 1e-5
    """Fixed time of a layer: launches of its kernels."""
    reduce_seconds: float = 3e-5
    """Fixed time of a layer more where it is spread over several cards: its two all-reduces."""


@dataclass(frozen=True)
class Shape:
    """What of a model costs time."""

    parameters: float
    """Those with which a token is computed."""
    layers: int
    kv_bytes: float
    """Bytes of keys and values of one token, over all layers."""
    weight_bytes: float
    """Bytes of all weights."""


@dataclass(frozen=True)
class Roofline:
    """One copy of a model on `cards` equal cards, each with its part of every layer."""

    card: Card
    shape: Shape
    cards: int = 1
    reached: Efficiency = Efficiency()

    def seconds(self, tokens: float, context: float) -> float:
        """An iteration that computes `tokens`, be they written or read, of sequences whose contexts have `context`
        tokens together."""
        return max(self.stream, tokens * self.token) + context * self.attention + self.fixed

    @cached_property
    def stream(self) -> float:
        """Seconds of reading the weights once."""
        return self.shape.weight_bytes / (self.cards * self.card.bandwidth * self.reached.bandwidth)

    @cached_property
    def token(self) -> float:
        """Seconds of a token's matrix products."""
        return 2 * self.shape.parameters / (self.cards * self.card.flops * self.reached.flops)

    @cached_property
    def attention(self) -> float:
        """Seconds of reading what is cached of one token."""
        return self.shape.kv_bytes / (self.cards * self.card.bandwidth * self.reached.bandwidth)

    @cached_property
    def fixed(self) -> float:
        """Seconds that every iteration takes beside."""
        layer = self.reached.layer_seconds + (self.reached.reduce_seconds if self.cards > 1 else 0.0)
        return self.reached.batch_seconds + self.shape.layers * layer

    def load_seconds(self, tokens: float) -> float:
        """Fetching the cache of so many tokens from the host's memory; each card its part, at the same time."""
        return tokens * self.shape.kv_bytes / (self.cards * self.card.link * self.reached.link)

    @cached_property
    def swap_seconds(self) -> float:
        """Moving the weights one way between cards and host."""
        return self.shape.weight_bytes / (self.cards * self.card.link * self.reached.link)
