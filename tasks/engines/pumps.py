"""Drives vLLM in an engine's process: takes requests from a queue, and sends answers through a pipe, many at a time.

Facts relied on here were checked with vllm 0.32.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from tasks.decoding.requests import Request
from tasks.decoding.trajectory import Failure
from tasks.engines.engine_log import named_fault
from tasks.engines.messages import Answers, Asked, Dropped, Order, Ready
from tasks.engines.spec import EngineSpec
from tasks.engines.vllm_requests import Language, Read

NEWS = 0.5
"""Seconds after which an engine with work reports progress, even if nothing is answered."""
TIDY = 3.0
"""Seconds between times at which freed memory goes back to the system."""


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
        self.reads: dict[int, Read] = {}
        """Number to how the request's output is read."""
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
                    answers.add(number, self.reads.pop(number)(output, proposed))
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
                    params, read = self.language.params(request)
                    self.names[number] = self.engine.add_request(str(number), self.language.prompt(request), params)
                    self.reads[number] = read
                except EngineDeadError:
                    raise
                except Exception as error:  # whatever vLLM holds against a request costs that request
                    answers.add(number, Failure(named_fault(error)))
        elif isinstance(message, Dropped):
            names = [name for number in message.numbers if (name := self.names.pop(number, None))]
            for number in message.numbers:
                self.batches.pop(number, None)
                self.reads.pop(number, None)
            self.engine.abort_request(names, internal=True)
        elif isinstance(message, Order):
            assert not self.names, "an engine that has work is given no orders"
            if message.what == "reset_prefix_cache":
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
                if message.what == "reset_prefix_cache":
                    await self.engine.reset_prefix_cache()
                else:
                    await (self.engine.sleep(1) if message.what == "sleep" else self.engine.wake_up())
                pipe.send(Ready())
        telling.cancel()

    async def _ask(self, number: int, request: Request[Any]) -> None:
        call = self.engine.encode if self.language.pools else self.engine.generate
        answer: Any
        try:
            params, read = self.language.params(request)
            stream = call(self.language.prompt(request), params, str(number))
            answer = read([output async for output in stream][-1], None)
        except Exception as error:
            answer = None if self.engine.errored else Failure(named_fault(error))
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
