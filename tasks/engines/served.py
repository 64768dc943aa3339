"""Arguments of an `openai` engine: where a model is served, and how it may be asked."""

from __future__ import annotations

import difflib
import os
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from schemas.config import EngineConfig
from schemas.credentials import shown_key
from tasks.errors import UserError


def _address(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", url):
        raise ValueError("must read http://host:port or https://host")
    urlsplit(url).port  # noqa: B018 - a ValueError where it is none
    return url.rstrip("/").removesuffix("/v1")


class Served(BaseModel):
    """A model on servers that speak the OpenAI protocol as vLLM does."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, use_attribute_docstrings=True
    )
    endpoints: list[Annotated[str, AfterValidator(_address)]] = Field(min_length=1)
    """Addresses of servers of the same model, such as [http://a:8000, http://b:8000]."""
    model: str | None = Field(default=None, min_length=1)
    """The name under which they serve it (null: the only one that they list)."""
    concurrency: int = Field(default=256, ge=1, le=4096)
    """Requests in flight at each endpoint; each has a connection of its own."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Environment variable that holds their key (null: they want none)."""
    max_model_len: int | None = Field(default=None, ge=8)
    """Longest prompt and answer together, in tokens (null: what the checkpoint's configuration says)."""
    timeout: float = Field(default=600.0, gt=0)
    """Seconds that one answer may take before the endpoint counts as away."""
    patience: float = Field(default=300.0, ge=0)
    """Seconds for which all endpoints may be away before the engine counts as dead."""

    @field_validator("endpoints")
    @classmethod
    def _each_once(cls, urls: list[str]) -> list[str]:
        if len(set(urls)) < len(urls):
            raise ValueError("names an endpoint twice")
        return urls


def read_served(role: str, arguments: dict[str, object]) -> Served:
    """Raises UserError that names the argument, and one that is nearly it where there is no such."""
    try:
        return Served.model_validate(arguments)
    except ValidationError as error:
        # an unknown name first: it may be what is missing, misspelt
        first = min(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    where = f"models.{role}.engine." + shown_key(first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][0]), Served.model_fields, 1)
        hint = f"; did you mean {near[0]}?" if near else "; the servers' own arguments are given where they are started"
        raise UserError(f"{where}: no argument of engine kind openai{hint}")
    said = first["msg"].removeprefix("Value error, ")
    if first["loc"] == ("api_key_env",):
        said = "must name an environment variable, such as STEPWAVE_API_KEY; the key itself does not stand here"
    raise UserError(f"{where}: {said} (engine kind openai)")


def check(role: str, engine: EngineConfig, here: bool) -> None:
    """UserError where a role's servers cannot be asked as its arguments say; `here`: or their key is missing here."""
    if engine.replicas > 1:
        raise UserError(f"models.{role}.engine.replicas: not for kind openai: list more endpoints instead")
    served = read_served(role, engine.arguments)
    if here:
        read_key(role, served)


def read_key(role: str, served: Served) -> str | None:
    """The servers' key, from the environment. Raises UserError where it is not there."""
    if served.api_key_env is None:
        return None
    if key := os.environ.get(served.api_key_env):
        return key
    raise UserError(f"models.{role}.engine.api_key_env: the environment variable {served.api_key_env} is not set")
