"""What every part of a configuration is, and the kinds of text that fields take."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of a configuration. Unknown keys are refused, and so are NaN and infinities. It cannot be changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, hide_input_in_errors=True
    )


def _local_or_s3(path: str) -> str:
    protocol, separator, _ = path.partition("://")
    if separator and protocol != "s3":
        known = f", not {protocol}://" if re.fullmatch("[a-z0-9+]{1,8}", protocol) else ""
        raise ValueError(f"only local paths and s3:// are supported{known}")
    return path


def no_nul(text: str) -> str:
    """The text; raises ValueError for one with a NUL character."""
    if "\0" in text:
        raise ValueError("holds a NUL character")
    return text


Name = Annotated[str, Field(min_length=1), AfterValidator(no_nul)]
Path = Annotated[Name, AfterValidator(_local_or_s3)]
Tag = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(no_nul)]
INT32 = 2**31 - 1
