"""Language models as PRMs: the classes are tokens, their probabilities those of the next token among them."""

from __future__ import annotations

from typing import Any

from tasks.formats.format import Format
from tasks.weights import Checkpoint

SUFFIX = "ForCausalLM"


class TokenFormat(Format):
    layout = f"language models (*{SUFFIX})"
    tokens: tuple[int, ...]

    @staticmethod
    def fits(checkpoint: Checkpoint) -> bool:
        return any(name.endswith(SUFFIX) for name in checkpoint.architectures)

    def engine_arguments(self) -> dict[str, Any]:
        """vLLM makes a classifier of the tokens' rows of the language model's head, so that no logits of other tokens
        are computed."""
        [name] = [name for name in self.checkpoint.architectures if name.endswith(SUFFIX)][:1]
        return {
            "runner": "pooling",
            "convert": "classify",
            "hf_overrides": {
                "architectures": [name.removesuffix(SUFFIX) + "ForSequenceClassification"],
                "classifier_from_token": self.vocabulary.tokenizer.convert_ids_to_tokens(list(self.tokens)),
                "method": "no_post_processing",
            },
        }
