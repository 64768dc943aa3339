"""Where a run reads and writes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from schemas.credentials import MEND
from schemas.section import Name, Path, Section

Answers = Literal["text", "index", "number"]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class InputConfig(Section):
    """The problems."""

    path: Path
    """Problem set: a Parquet file, a directory of Parquet files, or a glob; local or s3://. Names of folders such as
    level=1 are columns of the rows below them."""
    limit: int | None = Field(default=None, ge=1)
    """Use only the first so many rows (null: all). It counts those that `skip_done` leaves out as well."""
    prefix: Name | None = None
    """Column (list of string) with the first steps of a row's solutions. Solutions go on from there. Steps may end in
    the separator or not (null: solutions begin with their first step)."""
    skip_done: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    """Outputs of earlier runs, or globs of them, local or s3://. A problem is left out if one of them has solutions of
    it in a committed shard, and none of these failed. Two problems are the same if problem_id and text are equal. What
    is left out is decided when the run begins, and kept in OUT/skipped.json. A single path needs no list."""
    answers: Answers | None = None
    """What `answer` means beside `choices`. `text`: the letter or the text of an option. `index`: its place, from 0.
    `number`: its place, from 1. It must be given if an answer could be a place or a text, such as 2."""


class OutputConfig(Section):
    """Where the run is written."""

    path: Path
    """Directory of the run; local or s3://. One directory holds one configuration on one input."""


class StorageConfig(Section):
    """How s3:// paths are reached. Credentials are not written here: they come from the environment or the AWS
    configuration."""

    endpoint_url: str | None = None
    """S3 endpoint (null: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else AWS itself)."""
    region: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Region (null: the environment's)."""
    anonymous: bool = False
    """Read and write without credentials."""

    @field_validator("endpoint_url")
    @classmethod
    def _address_alone(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", url):
            raise ValueError(f"must read https://host or http://host:port; {MEND}")
        return url
