"""How reward models read steps. (`confidence`, which asks no model, is no such format: see confidence.py.)

To add a format, write a file with a subclass of `format.Format`: it says which checkpoints it reads, what stands before
the first step, how steps become token ids and how the engine is to be set up; then add a line to FORMATS and a
record in schemas/prm_formats.py.
"""

from __future__ import annotations

from schemas.config import PrmConfig
from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.format import Format
from tasks.models.formats.judge import JudgeFormat
from tasks.models.formats.outcome import OutcomeFormat
from tasks.models.formats.qwen import QwenFormat
from tasks.models.formats.rlhflow import RlhflowFormat
from tasks.models.formats.shepherd import ShepherdFormat
from tasks.models.formats.skywork import SkyworkFormat
from tasks.models.tokenizer import ModelVocabulary

FORMATS: dict[str, type[Format]] = {
    "qwen": QwenFormat,
    "skywork": SkyworkFormat,
    "shepherd": ShepherdFormat,
    "rlhflow": RlhflowFormat,
    "outcome": OutcomeFormat,
    "judge": JudgeFormat,
}


def open_format(settings: PrmConfig, checkpoint: Checkpoint, vocabulary: ModelVocabulary) -> Format:
    """The format for a checkpoint. Raises UserError with what was found where it is of another layout."""
    make = FORMATS[settings.format]
    if not make.fits(checkpoint):
        others = [name for name, other in FORMATS.items() if other.fits(checkpoint)]
        hint = f"; {', '.join(others)} may read it" if others else "; no format reads that"
        raise UserError(
            f"models.prm.model: {checkpoint.name} is {checkpoint.found}; format {settings.format} reads "
            f"{make.layout}{hint}"
        )
    return make(vocabulary, checkpoint, settings)
