"""Checks the answers of servers, all in this one place: types, ranges, lengths, sizes.

A server is somebody else's program, on somebody else's machine. What gets past this file is what a model can have
answered to the request; everything else is Malformed, which costs the endpoint, and the request is asked of another.
Fields that nobody reads are not looked at. NaN, infinities and null pass as scores: models do give them, and whoever
uses them decides.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError

from tasks.decoding.trajectory import Finish, Ids
from tasks.engines.server_faults import Broken, Malformed, Refused
from tasks.errors import in_brief, on_one_line

M = TypeVar("M", bound=BaseModel)

FRAME = 1 << 16
"""Bytes of an answer beside what grows with the request."""
PER_ID = 16
"""Bytes for each id of a prompt, which a server repeats."""
PER_TOKEN, PER_LOGPROBS_TOKEN = 192, 640
"""Bytes for each token that may be written, without and with log-probabilities: its id and its text, of which the
longest tokens have 128 bytes."""
LISTING = 1 << 20
"""Bytes of a list of models, or of what a text's tokens are."""
LONGEST_NAME = 1000
"""Characters of a model's name."""
NOT_JSON = "Out of range float values are not JSON compliant"
"""What vLLM says, with status 400, of a prompt for which the model gives NaN."""
ROUNDING = 0.05
"""By how much probabilities in 16 bits may miss their sum; logarithms may lie above 0 by as much."""


def room(prompt: int, tokens: int, logprobs: bool = False) -> int:
    """Bytes that an answer may have to a prompt of so many ids that asks for at most so many tokens."""
    return FRAME + PER_ID * prompt + (PER_LOGPROBS_TOKEN if logprobs else PER_TOKEN) * tokens


def parsed(body: bytes) -> Any:
    """The JSON of an answer. Raises Malformed."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("it answered something that is not JSON") from error


def _figure(value: Any) -> Any:
    """JSON's null stands for a figure that JSON lacks."""
    return math.nan if value is None else value


def _chance(value: float) -> float:
    if math.isfinite(value) and not 0 <= value <= 1:
        raise ValueError("is no probability")
    return value


def _log(value: float) -> float:
    if math.isfinite(value) and value > ROUNDING:
        raise ValueError("is no logarithm of a probability")
    return min(value, 0.0) if math.isfinite(value) else value


Chance = Annotated[float, BeforeValidator(_figure), AfterValidator(_chance)]
Log = Annotated[float, BeforeValidator(_figure), AfterValidator(_log)]
Count = Annotated[int, Field(ge=0, lt=1 << 31)]


class _Part(BaseModel):
    """Lists end at their first fault: one of each of a million would be more than the answer."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)


class _Details(_Part):
    cached_tokens: Count | None = None


class _Usage(_Part):
    prompt_tokens_details: _Details | None = None


class _Logprobs(_Part):
    token_logprobs: Annotated[list[Log], FailFast()]


class _Rated(_Part):
    top_logprobs: Annotated[list[dict[str, Log]], FailFast()] = Field(min_length=1, max_length=1)


class _Choice(_Part):
    token_ids: Annotated[list[Count], FailFast()]
    finish_reason: str
    stop_reason: str | int | None
    logprobs: Any = None
    """Looked at where it was asked for."""


class _Completion(_Part):
    choices: Annotated[list[_Choice], FailFast()] = Field(min_length=1, max_length=1)
    usage: _Usage | None = None


class _Class(_Part):
    probs: Annotated[list[Chance], FailFast()] = Field(min_length=1)


class _Classes(_Part):
    data: Annotated[list[_Class], FailFast()] = Field(min_length=1, max_length=1)


class _Model(_Part):
    id: str = Field(min_length=1, max_length=LONGEST_NAME)
    max_model_len: int | None = None


class _Models(_Part):
    data: Annotated[list[_Model], FailFast()]


class _Tokens(_Part):
    tokens: Annotated[list[Count], FailFast()]


def _read(kind: type[M], answer: Any, fault: str) -> M:
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = f"{where}: {first['msg'].removeprefix('Value error, ')}" if where else first["msg"]
        raise Malformed(f"{fault} ({in_brief(said)})") from error


class Completion:
    """One step as a server wrote it."""

    def __init__(self, answer: Any, vocabulary: int, prompt: int, most: int, separator: str | None) -> None:
        """`vocabulary`: ids below this have a token. `prompt`, `most`: ids of the prompt, and that were asked for.
        `separator`: what was to end it. Raises Malformed, or Broken where the server gave it up."""
        _not_given_up(answer)
        found = _read(
            _Completion,
            answer,
            "its completions carry no token_ids and stop_reason in order, as those of vLLM 0.10.2 and later do",
        )
        (choice,) = found.choices
        self.logs = choice.logprobs
        ids = choice.token_ids
        if not 1 <= len(ids) <= most:
            raise Malformed(f"it wrote {len(ids)} tokens where 1 to {most} were asked for")
        if (largest := max(ids)) >= vocabulary:
            raise Malformed(f"it wrote the token id {largest}, which the role's tokenizer does not have")
        self.token_ids: Ids = array("i", ids)
        self.finish = _finish(choice, most, separator)
        details = found.usage.prompt_tokens_details if found.usage else None
        self.cached = (details.cached_tokens if details else None) or 0
        """Tokens of the prompt that were in the server's cache."""
        if self.cached > prompt:
            raise Malformed(f"it found {self.cached} tokens of a prompt of {prompt} in its cache")

    def token_logprobs(self) -> list[float]:
        """The logarithms of what its tokens were likely. Raises Malformed."""
        fault = "its completions carry no log-probabilities, of which format confidence makes rewards"
        found = _read(_Logprobs, self.logs, fault).token_logprobs
        if len(found) != len(self.token_ids):
            raise Malformed(f"{fault} ({len(found)} of them for {len(self.token_ids)} tokens)")
        return found

    def chances(self, tokens: Sequence[int]) -> list[float]:
        """The logarithms of what each of these was likely to be the one token. Raises Malformed."""
        fault = "its completions ignore logprob_token_ids; those of vLLM 0.32 do not"
        (found,) = _read(_Rated, self.logs, fault).top_logprobs
        try:
            return [found[f"token_id:{token}"] for token in tokens]
        except KeyError as error:
            raise Malformed(fault) from error


def _not_given_up(answer: Any) -> None:
    try:
        reason = answer["choices"][0]["finish_reason"]
    except (TypeError, LookupError):
        return
    if reason in ("abort", "error"):  # as when it is told to stop
        raise Broken("it gave up a request")


def _finish(choice: _Choice, most: int, separator: str | None) -> Finish:
    reason, stop, number = choice.finish_reason, choice.stop_reason, len(choice.token_ids)
    if reason == "length" and number < most:
        raise Malformed(f"it ended a step for its length after {number} tokens, where {most} were asked for")
    if reason == "length":
        return "length"
    if reason != "stop":
        raise Malformed(f"it ended a step with {on_one_line(reason[:40])!r}")
    if not isinstance(stop, str):
        return "eos"  # an end of text has an id, or nothing
    if stop != separator:
        raise Malformed(f"it ended a step at {on_one_line(stop[:40])!r}, which it was not asked to stop at")
    return "step"


def probabilities(answer: Any, classes: int) -> list[float]:
    """The probabilities of so many classes at a prompt's last token; one alone need not be 1. Raises Malformed."""
    found = _read(_Classes, answer, "its /classify gives no probabilities").data[0].probs
    if len(found) != classes:
        raise Malformed(f"its /classify gives {len(found)} probabilities where the PRM's format has {classes}")
    if classes > 1 and all(map(math.isfinite, found)) and abs(sum(found) - 1) > ROUNDING:
        raise Malformed(f"its /classify gives probabilities that add up to {sum(found):.3g}")
    return found


def untold(refused: Refused, classes: int) -> list[float]:
    """The same where a server refuses to tell them, as JSON lacks NaN. Raises what was `refused` for anything else."""
    if NOT_JSON not in str(refused):
        raise refused
    return [math.nan] * classes


def models(answer: Any) -> dict[str, int | None]:
    """Name of each model that a server lists to its longest context, where it says so. Raises Malformed."""
    fault = "its /v1/models is no list of models; is it a server that speaks the OpenAI protocol?"
    return {model.id: model.max_model_len for model in _read(_Models, answer, fault).data}


def tokens(answer: Any) -> list[int]:
    """Ids of a text. Raises Malformed."""
    return _read(_Tokens, answer, "its /tokenize gives no tokens").tokens


def fault_text(body: bytes) -> str:
    """What an answer that is a fault says for people, on one line; empty where it says nothing that can be read."""
    try:
        found = parsed(body)
    except Malformed:
        return ""
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail")
    return in_brief(found, 500) if isinstance(found, str) else ""
