"""What a model costs on a GPU, on paper: seconds of decoding and of prefill, and the tokens that a cache holds.

A roofline with stated utilisations. The matrix products of an iteration take as long as the slower of streaming the
weights and computing; attention reads the cache besides; batches, launches and all-reduces cost a fixed time. FLOPs are
2 * parameters * tokens: those of attention (1% of that for 72B at 500 tokens of context) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class Gpu:
    """A card, and what of it is reached."""

    memory: float
    """Bytes that engines may fill."""
    bandwidth: float
    """Bytes a second that are reached."""
    flops: float
    """16-bit FLOPs a second that are reached."""
    link: float
    """Bytes a second between the card and the host's memory, one way."""
    batch_seconds: float
    """Fixed time of a batch: scheduling, sampling, handing out tokens."""
    layer_seconds: float
    """Fixed time of a layer: launches of its kernels."""
    reduce_seconds: float
    """Fixed time of a layer more where tensor parallel: its two all-reduces."""


@dataclass(frozen=True)
class Model:
    """A transformer's sizes. Weights and cache take 2 bytes a number unless `weight_bytes` says otherwise."""

    name: str
    params: float
    layers: int
    kv_bytes: float
    """Of one token of context, over all layers."""
    weight_bytes: float = 2.0

    @property
    def size(self) -> float:
        """Bytes of weights."""
        return self.params * self.weight_bytes


QWEN_1_5B = Model("1.5B draft", 1.54e9, 28, 2 * 28 * 2 * 128 * 2)
"""Two key-value heads of 128 numbers in 28 layers."""
QWEN_PRM_7B = Model("7B PRM", 7.08e9, 28, 2 * 28 * 4 * 128 * 2)
"""Four heads; 7.6e9 parameters less those of the output layer, which it lacks."""
QWEN_72B = Model("72B target", 72.7e9, 80, 2 * 80 * 8 * 128 * 2)
"""Eight heads in 80 layers."""


@dataclass(frozen=True)
class Serving:
    """A model on `replicas` groups of `tensor` cards, its requests dealt out evenly."""

    model: Model
    gpu: Gpu
    replicas: int = 1
    tensor: int = 1
    chunk: int = 8192
    """Tokens of prompts in one batch of a replica."""

    @property
    def cards(self) -> int:
        return self.replicas * self.tensor

    @property
    def weights_a_card(self) -> float:
        return self.model.size / self.tensor

    def iteration_seconds(self, sequences: float, context: float) -> float:
        """One token for each of `sequences`, whose contexts add up to `context` tokens."""
        if sequences <= 0:
            return 0.0
        batch, held = sequences / self.replicas, context / self.replicas
        products = max(self._stream(), self._compute(batch))
        attention = held * self.model.kv_bytes / (self.tensor * self.gpu.bandwidth)
        return products + attention + self._fixed()

    def prefill_seconds(self, tokens: float) -> float:
        """Computing `tokens` of prompts in full batches, the last one as large as is left."""
        if tokens <= 0:
            return 0.0
        whole, rest = divmod(tokens / self.replicas, self.chunk)
        return whole * self._batch_seconds(self.chunk) + (self._batch_seconds(rest) if rest else 0.0)

    def _batch_seconds(self, tokens: float) -> float:
        return max(self._stream(), self._compute(tokens)) + self._fixed()

    def _stream(self) -> float:
        return self.weights_a_card / self.gpu.bandwidth

    def _compute(self, tokens: float) -> float:
        return 2 * self.model.params * tokens / (self.tensor * self.gpu.flops)

    def _fixed(self) -> float:
        layer = self.gpu.layer_seconds + (self.gpu.reduce_seconds if self.tensor > 1 else 0.0)
        return self.gpu.batch_seconds + self.model.layers * layer

    def cache_tokens(self, memory_a_card: float) -> float:
        """Tokens of context that all replicas together hold in so much memory of each card."""
        return max(0.0, memory_a_card) * self.cards / self.model.kv_bytes

    def move_seconds(self, tokens: float) -> float:
        """Moving the cache of so many tokens one way between cards and host, each card its part."""
        return tokens * self.model.kv_bytes / (self.cards * self.gpu.link)

    def swap_seconds(self) -> float:
        """Moving a replica's weights one way between card and host; cards move their parts at the same time."""
        return self.weights_a_card / self.gpu.link
