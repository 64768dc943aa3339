"""A model on other machines, behind servers that speak the OpenAI protocol as vLLM's do.

endpoint_pool.py chooses the server, and rides out faults of single servers. The engine dies if no endpoint is there for
`patience`, or if they break off again and again on one request. Its supervisor then starts another, which is no more
than a handshake, and finds out which request it is.

One request carries one prompt: its seed is its own, as is what the cache held of it, and a prompt that a server refuses
costs nobody else.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tasks.decoding.requests import (
    Answer,
    Answered,
    Request,
    Sampling,
    Scored,
    ScoreRequest,
    StepRequest,
    Written,
    unheard,
)
from tasks.decoding.trajectory import Failure
from tasks.engines.answers import Completion, probabilities, room, untold
from tasks.engines.endpoint_pool import Choked, EndpointPool, Gone
from tasks.engines.handshake import rating
from tasks.engines.served import read_served
from tasks.engines.server_faults import Refused
from tasks.engines.spec import Died, EngineSpec
from tasks.errors import in_brief
from tasks.models.formats.confidence import confidence
from tasks.models.tokenizer import ModelVocabulary


async def open_engine(spec: EngineSpec, vocabulary: ModelVocabulary, warn: Callable[[str], None]) -> OpenAIEngine:
    """Shake hands with the endpoints. Raises UserError where one is not what it should be, or none can be reached."""
    served = read_served(spec.role, spec.arguments)
    pool = EndpointPool(spec, vocabulary, served, warn)
    try:
        await pool.open()
    except BaseException:
        await pool.close()
        raise
    return OpenAIEngine(pool, vocabulary, served.patience)


class OpenAIEngine:
    """One life of it: see `EndpointPool` for the endpoints."""

    def __init__(self, pool: EndpointPool, vocabulary: ModelVocabulary, patience: float) -> None:
        self.pool, self.vocabulary, self.patience = pool, vocabulary, patience
        self.answered = 0
        self.death: Died | None = None
        self.ending: Died | None = None
        """Set ahead of `death`, while an endpoint is waited for with which a new engine could start."""
        self.in_flight: set[asyncio.Future[Any]] = set()
        self.answers: dict[type, Callable[[Any], Awaitable[Any]]] = {
            StepRequest: self._write,
            ScoreRequest: self._score,
        }

    async def ask(
        self, requests: Sequence[Request[Answer]], answered: Answered = unheard
    ) -> list[Answer | Failure | Died]:
        """As `Engine.ask`."""

        async def told(number: int, request: Request[Any]) -> Any:
            if (answer := await self._guarded(request)) is not None:
                answered(number, answer)
            return answer

        tasks: list[asyncio.Task[Any]] = []
        if self.ending is None and self.death is None:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks += [group.create_task(told(number, request)) for number, request in enumerate(requests)]
                    self.in_flight.update(tasks)
            finally:
                self.in_flight.difference_update(tasks)
        if self.ending is not None and self.death is None:
            await self._wait_for_a_successor()
        # what has no result was cut off by the death
        results = [None if task.cancelled() else task.result() for task in tasks] or [None] * len(requests)
        return [result or self.death for result in results]  # type: ignore[misc]

    async def reset_prefix_cache(self) -> None:
        """Servers keep what they cached: they may have other users."""

    def progress(self) -> int:
        """Requests sent and answered: of those in flight a server tells nothing. Each has a deadline of its own, after
        which it goes to another server."""
        return self.answered + self.pool.sent

    def kill(self, reason: str) -> None:
        """Cut every connection; servers then drop what they were asked."""
        self.death = self.death or Died(reason)
        for request in self.in_flight:
            request.cancel()

    async def close(self) -> None:
        """As `Engine.close`."""
        self.kill("it was closed")
        await self.pool.close()

    async def _write(self, ask: StepRequest) -> Written:
        sampling, prompt = ask.sampling, len(ask.prompt)
        body = _sampled(sampling) | {"prompt": list(ask.prompt), "max_tokens": ask.max_tokens}
        if sampling.temperature:
            body["seed"] = ask.seed

        def read(answer: Any) -> Written:
            found = Completion(answer, self.vocabulary.size, prompt, ask.max_tokens, sampling.separator)
            written = Written(found.token_ids, found.finish, found.cached)
            if sampling.confidence is not None:
                written.confidence = confidence(sampling.confidence, found.token_logprobs())
            return written

        size = room(prompt, ask.max_tokens, sampling.confidence is not None)
        return await self.pool.answer("/v1/completions", body, size, ask.affinity, read)

    async def _score(self, look: ScoreRequest) -> Scored:
        scoring, prompt = self.pool.spec.scoring, len(look.prompt)
        assert scoring is not None
        if classes := scoring.tokens:

            def logs(answer: Any) -> list[float]:
                return Completion(answer, self.vocabulary.size, prompt, 1, None).chances(classes)

            body, size = rating(look.prompt, classes), room(prompt, 1, logprobs=True)
            found = await self.pool.answer("/v1/completions", body, size, look.affinity, logs)
            return Scored(scoring.reward_of_logs(found))

        def chances(answer: Any) -> list[float]:
            return probabilities(answer, len(scoring.class_values))

        body = {"input": list(look.prompt)}
        try:
            found = await self.pool.answer("/classify", body, room(prompt, 0), look.affinity, chances)
        except Refused as fault:
            found = untold(fault, len(scoring.class_values))
        return Scored(scoring.reward(found))

    async def _guarded(self, request: Request[Any]) -> Any:
        """A request's own fault is a Failure; None where it is left unanswered because the engine ends."""
        try:
            answer = await self.answers[type(request)](request)
        except asyncio.CancelledError:
            if self.death is None and self.ending is None:
                raise
        except Gone as error:
            self.kill(str(error))
        except Choked as error:
            self.ending = self.ending or Died(str(error))
            for other in self.in_flight - {asyncio.current_task()}:
                other.cancel()
        except Exception as error:
            return Failure(in_brief(error, 500))
        else:
            self.answered += 1
            return answer
        return None

    async def _wait_for_a_successor(self) -> None:
        """Die of `ending` once there is an endpoint again with which a new engine can start."""
        waiting = asyncio.ensure_future(self.pool.there.wait())
        self.in_flight.add(waiting)  # so that `kill` ends it
        try:
            await asyncio.wait([waiting], timeout=self.patience)
        finally:
            waiting.cancel()
            self.in_flight.discard(waiting)
        self.death = self.death or self.ending


@functools.cache
def _sampled(sampling: Sampling) -> dict[str, Any]:
    """Fields of a request; what is not given a server takes from the model's generation_config."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop": [sampling.separator],
        "include_stop_str_in_output": True,
        "return_token_ids": True,
    } | ({"logprobs": 0} if sampling.confidence else {})
