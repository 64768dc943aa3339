"""Language models as PRMs: the classes are tokens, their probabilities those of the next token among them."""

from __future__ import annotations

from typing import Any

from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.format import Format

SUFFIX = "ForCausalLM"
SHAPES_LOGITS = {"logits_scaling": 1, "logit_scale": 1, "final_logit_softcapping": None}
"""What a configuration may say of logits that is done to them behind the head, and the value that leaves them alone."""


class TokenFormat(Format):
    """A format whose classes are tokens of a language model."""

    layout = f"language models (*{SUFFIX})"
    tokens: tuple[int, ...]

    @staticmethod
    def fits(checkpoint: Checkpoint) -> bool:
        """As `Format.fits`."""
        return any(name.endswith(SUFFIX) for name in checkpoint.architectures)

    def engine_arguments(self) -> dict[str, Any]:
        """vLLM makes a classifier of the tokens' rows of the language model's head, so that no logits of other tokens
        are computed. Raises UserError where what the model does to its logits would be left out with them."""
        config = self.checkpoint.config
        if shaped := [name for name, none in SHAPES_LOGITS.items() if config.get(name) not in (None, none)]:
            raise UserError(
                f"models.prm.model: {self.checkpoint.name} has {', '.join(shaped)}, which vLLM leaves out of rewards "
                f"by tokens; format {self.settings.format} reads it only in the engine of a writer that the method "
                "asks: see models.prm.same_as"
            )
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
