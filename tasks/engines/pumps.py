"""Drives vLLM in an engine's process: takes requests from a queue, and sends answers through a pipe, many at a time.

Facts relied on here were checked with vllm 0.32.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import queue
import signal
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from tasks.decoding.models import Ask, Confidence, Look, Sampling, Scored, Written
from tasks.decoding.trajectory import Failure, Finish
from tasks.engines.engine_log import told_of
from tasks.engines.messages import Answers, Asked, Dropped, Order, Ready
from tasks.engines.spec import EngineSpec, Scoring
from tasks.formats.confidence import confidence

Logs = Confidence | Literal["rating"]
"""What log-probabilities are for: a step's own, or those of tokens that rate one."""
NEWS = 0.5
"""Seconds after which an engine with work reports progress, even if nothing is answered."""
TIDY = 3.0
"""Seconds between times at which freed memory goes back to the system."""


class Language:
    """Requests as vLLM takes them, and what it answers as the core takes it."""

    def __init__(self, scoring: Scoring | None, batches: bool = False) -> None:
        """`batches`: is an output wanted of every batch that a request was in?"""
        from vllm import PoolingParams

        self.scoring = scoring
        self.pools = scoring is not None and scoring.tokens is None
        """Does the engine nothing but score?"""
        self.looking = _rating(scoring.tokens) if scoring and scoring.tokens else PoolingParams(task="classify")
        self.writing = functools.cache(functools.partial(_writing, batches))

    def prompt(self, request: Ask | Look) -> Any:
        """A request's prompt as vLLM takes it."""
        return {"type": "token", "prompt_token_ids": list(request.prompt)}

    def params(self, request: Ask | Look) -> Any:
        """A request's sampling or pooling parameters as vLLM takes them."""
        if isinstance(request, Look):
            return self.looking
        params = self.writing(request.sampling).clone()
        params.max_tokens = request.max_tokens
        params.seed = request.seed if request.sampling.temperature else None
        return params

    def answer(self, output: Any, logs: Logs | None, proposed: int | None = None) -> Written | Scored | Failure | None:
        """None where vLLM ended the request unasked, as it does when one of its processes is told to stop. `logs`: what
        the request's log-probabilities are for, where it has some."""
        cached = getattr(output, "num_cached_tokens", 0) or 0
        if self.pools:
            assert self.scoring is not None
            return Scored(self.scoring.reward(output.outputs.data.tolist()), cached)  # float32 [classes]
        written = output.outputs[0]
        if written.finish_reason == "abort":
            return None
        if logs == "rating":
            assert self.scoring is not None
            assert self.scoring.tokens is not None
            of_tokens = [written.logprobs[0][token].logprob for token in self.scoring.tokens]
            return Scored(self.scoring.reward_of_logs(of_tokens), cached)
        if written.finish_reason not in ("length", "stop"):
            return Failure(f"the engine ended a step with {written.finish_reason!r}")
        finish: Finish = "length" if written.finish_reason == "length" else "eos"
        if written.finish_reason == "stop" and isinstance(written.stop_reason, str):
            finish = "step"  # the separator stops as text, an end of text as its id or as nothing
        sure = confidence(logs, written.logprobs.logprobs) if logs else None
        return Written(array("i", written.token_ids), finish, cached, proposed, sure)


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


def _logs(request: Ask | Look) -> Logs | None:
    return request.sampling.confidence if isinstance(request, Ask) else "rating"


def _rating(tokens: tuple[int, ...]) -> Any:
    """One token, with what each of these was likely to be it."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        logprob_token_ids=list(tokens),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


class Pump:
    """One engine, stepped here; vLLM's core shares this process, or on GPUs has one of its own."""

    def __init__(self, spec: EngineSpec) -> None:
        import torch
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        if threads := os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(int(threads))  # the variable itself was read when torch was imported
        arguments = EngineArgs(model=spec.model, max_model_len=spec.window, **spec.arguments)
        self.engine = LLMEngine.from_engine_args(arguments)
        self.stopping = False
        core = getattr(self.engine.engine_core, "resources", None)
        if core is not None:  # vLLM's core has a process of its own, whose death nobody else would tell a sync client
            sentinels = [process.sentinel for process in core.engine_manager.processes]
            threading.Thread(target=self._watch, args=(sentinels,), daemon=True).start()
        self.proposes = spec.proposes
        self.language = Language(spec.scoring, batches=spec.proposes > 0)
        self.names: dict[int, str] = {}
        """Number to the name that vLLM gave the request, for those in flight."""
        self.logs: dict[int, Logs] = {}
        """Number to what the request's log-probabilities are for, where it has some."""
        self.batches: Counter[int] = Counter()
        """Number to the batches in which the request was written on, where a draft proposes. What vLLM counts itself
        it does not tell of requests that end on a separator."""

    def run(self, pipe: Connection, inbox: queue.SimpleQueue[Any]) -> None:
        """Work until the message None comes."""
        steps, told, tidied = 0, time.monotonic(), time.monotonic()
        while True:
            if time.monotonic() - tidied > TIDY:
                give_back()
                tidied = time.monotonic()
            answers = Answers(steps)
            for message in self._messages(inbox):
                if message is None:
                    return self._stop()
                self._take(message, answers, pipe)
            if self.names:
                for output in self.engine.step():
                    number = int(output.request_id)
                    if number not in self.names:  # it was dropped
                        continue
                    if not output.finished:
                        self.batches[number] += 1
                        continue
                    # the first batch, which reads the prompt, has no guesses yet
                    proposed = self.batches.pop(number, 0) * self.proposes if self.proposes else None
                    del self.names[number]
                    answers.add(number, self.language.answer(output, self.logs.pop(number, None), proposed))
                steps += 1
            if answers or time.monotonic() - told > NEWS:
                answers.progress, told = steps, time.monotonic()
                pipe.send(answers)

    def _watch(self, sentinels: list[int]) -> None:
        wait(sentinels)
        if not self.stopping:
            os._exit(1)

    def _messages(self, inbox: queue.SimpleQueue[Any]) -> Iterator[Any]:
        """The messages that have come in. Waits for one if there is nothing else to do."""
        if not self.names:
            yield inbox.get()
        while not inbox.empty():
            yield inbox.get()

    def _take(self, message: Any, answers: Answers, pipe: Connection) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        if isinstance(message, Asked):
            for number, request in enumerate(message.requests, message.first):
                try:
                    prompt, params = self.language.prompt(request), self.language.params(request)
                    self.names[number] = self.engine.add_request(str(number), prompt, params)
                    if logs := _logs(request):
                        self.logs[number] = logs
                except EngineDeadError:
                    raise
                except Exception as error:  # whatever vLLM holds against a request costs that request
                    answers.add(number, Failure(told_of(error)))
        elif isinstance(message, Dropped):
            names = [name for number in message.numbers if (name := self.names.pop(number, None))]
            for number in message.numbers:
                self.batches.pop(number, None)
                self.logs.pop(number, None)
            self.engine.abort_request(names, internal=True)
        elif isinstance(message, Order):
            assert not self.names, "an engine that has work is given no orders"
            if message.what == "forget":
                self.engine.reset_prefix_cache()
            else:
                self.engine.sleep(1) if message.what == "sleep" else self.engine.wake_up()
            pipe.send(Ready())

    def _stop(self) -> None:
        self.stopping = True
        if os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") != "0":
            self.engine.engine_core.shutdown()


def give_back() -> None:
    """Return freed memory to the system: batches of ever other sizes leave the C library's heap full of holes, which
    on CPUs grows by hundreds of MiB in an hour. Takes some 20 ms. (glibc; elsewhere nothing happens.)"""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class ParallelPump:
    """An engine whose data-parallel ranks vLLM itself coordinates, which it does for AsyncLLM only."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec, self.language = spec, Language(spec.scoring)
        self.loop = asyncio.new_event_loop()
        # vLLM's coordinator ends on SIGTERM, unless it inherits that this process does not
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.engine = self.loop.run_until_complete(self._open())
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.asked: dict[int, asyncio.Task[None]] = {}
        self.answers = Answers(0)
        self.answered = asyncio.Event()

    async def _open(self) -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(model=self.spec.model, max_model_len=self.spec.window, **self.spec.arguments)
        return AsyncLLM.from_engine_args(arguments)

    def run(self, pipe: Connection, inbox: queue.SimpleQueue[Any]) -> None:
        """Answer what comes from `inbox` through `pipe`, until `inbox` gives None."""
        self.loop.run_until_complete(self._run(pipe, inbox))
        self.engine.shutdown()

    async def _run(self, pipe: Connection, inbox: queue.SimpleQueue[Any]) -> None:
        telling = asyncio.create_task(self._tell(pipe))
        while (message := await asyncio.to_thread(inbox.get)) is not None:
            if telling.done():
                telling.result()
            if isinstance(message, Asked):
                for number, request in enumerate(message.requests, message.first):
                    self.asked[number] = asyncio.create_task(self._ask(number, request))
            elif isinstance(message, Dropped):
                for number in message.numbers:
                    if task := self.asked.pop(number, None):
                        task.cancel()
            elif isinstance(message, Order):
                if message.what == "forget":
                    await self.engine.reset_prefix_cache()
                else:
                    await (self.engine.sleep(1) if message.what == "sleep" else self.engine.wake_up())
                pipe.send(Ready())
        telling.cancel()

    async def _ask(self, number: int, request: Ask | Look) -> None:
        call = self.engine.encode if self.language.pools else self.engine.generate
        answer: Any
        try:
            stream = call(self.language.prompt(request), self.language.params(request), str(number))
            answer = self.language.answer([output async for output in stream][-1], _logs(request))
        except Exception as error:
            answer = None if self.engine.errored else Failure(told_of(error))
        if self.asked.pop(number, None):
            self.answers.add(number, answer)
            self.answered.set()

    async def _tell(self, pipe: Connection) -> None:
        """Send new answers, and from time to time the engine's progress."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NEWS):
                    await self.answered.wait()
            self.answered.clear()
            answers, self.answers = self.answers, Answers(0)
            states = self.engine.output_processor.request_states.values()
            answers.progress = sum(s.detokenizer.num_output_tokens() for s in states if s.detokenizer)
            await asyncio.to_thread(pipe.send, answers)
