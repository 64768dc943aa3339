"""Requests as vLLM takes them, and what it answers as the core takes it.

Facts relied on here were checked with vllm 0.32.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable
from typing import Any

from tasks.decoding.requests import Confidence, Request, Sampling, Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.trajectory import Failure, Finish
from tasks.engines.spec import Scoring
from tasks.models.formats.confidence import confidence

Read = Callable[[Any, int | None], Any]
"""What vLLM's output for a request is to the core, given how many tokens a draft guessed: an answer, a Failure, or
None if vLLM ended the request unasked, as it does when one of its processes is told to stop."""


class Language:
    """The kinds of request that an engine serves."""

    def __init__(self, scoring: Scoring | None, batches: bool = False) -> None:
        """`batches`: is an output wanted of every batch that a request was in?"""
        self.pools = scoring is not None and scoring.tokens is None
        """Does the engine nothing but score?"""
        self.kinds: dict[type, Callable[[Any], tuple[Any, Read]]] = {StepRequest: self._step, ScoreRequest: self._score}
        self.writing = functools.cache(functools.partial(_writing, batches))
        if scoring is not None:
            self.scores = _pooling(scoring) if scoring.tokens is None else _rating(scoring, scoring.tokens)

    def prompt(self, request: Request[Any]) -> Any:
        """A request's prompt as vLLM takes it."""
        return {"type": "token", "prompt_token_ids": list(request.prompt)}

    def params(self, request: Request[Any]) -> tuple[Any, Read]:
        """vLLM's parameters for a request, and how its output is read."""
        return self.kinds[type(request)](request)

    def _step(self, request: StepRequest) -> tuple[Any, Read]:
        params = self.writing(request.sampling).clone()
        params.max_tokens = request.max_tokens
        params.seed = request.seed if request.sampling.temperature else None
        return params, functools.partial(_written, request.sampling.confidence)

    def _score(self, request: ScoreRequest) -> tuple[Any, Read]:
        return self.scores


def _writing(batches: bool, sampling: Sampling) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        stop=[sampling.separator],
        include_stop_str_in_output=True,
        output_kind=RequestOutputKind.CUMULATIVE if batches else RequestOutputKind.FINAL_ONLY,
        logprobs=0 if sampling.confidence else None,  # those of the tokens that are written, and of no others
        flat_logprobs=True,
    )


def _written(over: Confidence | None, output: Any, proposed: int | None) -> Written | Failure | None:
    """`over`: what of its log-probabilities is the step's confidence, where that was asked for."""
    written = output.outputs[0]
    if written.finish_reason == "abort":
        return None
    if written.finish_reason not in ("length", "stop"):
        return Failure(f"the engine ended a step with {written.finish_reason!r}")
    finish: Finish = "length" if written.finish_reason == "length" else "eos"
    if written.finish_reason == "stop" and isinstance(written.stop_reason, str):
        finish = "step"  # the separator stops as text, an end of text as its id or as nothing
    told = confidence(over, written.logprobs.logprobs) if over else None
    return Written(array("i", written.token_ids), finish, _cached(output), proposed, told)


def _pooling(scoring: Scoring) -> tuple[Any, Read]:
    """The probabilities of the model's classes, float32 [classes]."""
    from vllm import PoolingParams

    def read(output: Any, proposed: int | None) -> Scored:
        return Scored(scoring.reward(output.outputs.data.tolist()), _cached(output))

    return PoolingParams(task="classify"), read


def _rating(scoring: Scoring, tokens: tuple[int, ...]) -> tuple[Any, Read]:
    """One token, with what each of these was likely to be it."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(
        temperature=0.0,
        max_tokens=1,
        logprob_token_ids=list(tokens),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )

    def read(output: Any, proposed: int | None) -> Scored | None:
        written = output.outputs[0]
        if written.finish_reason == "abort":
            return None
        logs = [written.logprobs[0][token].logprob for token in tokens]
        return Scored(scoring.reward_of_logs(logs), _cached(output))

    return params, read


def _cached(output: Any) -> int:
    return getattr(output, "num_cached_tokens", 0) or 0
