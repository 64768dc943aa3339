"""vLLM: an engine in a process of its own (worker.py), asked and answered in batches over a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import connection
from typing import Any

import psutil

from tasks.decoding.requests import Answer, Answered, Request, unheard
from tasks.decoding.trajectory import Failure
from tasks.engines.calls import Call
from tasks.engines.cards import wait_until_free
from tasks.engines.engine_log import last_words, named_fault
from tasks.engines.forked_from import PROCESSES, prepare
from tasks.engines.memory import gpus
from tasks.engines.messages import Answers, Asked, Dropped, Order, Ready, Refused
from tasks.engines.spec import Died, EngineSpec
from tasks.engines.worker import serve
from tasks.errors import UserError
from tasks.models.model_files import check_unchanged
from tasks.models.tokenizer import ModelVocabulary

LAST_MOMENTS = 20.0
"""Seconds that a process has to end before it is killed, and a killed one to free what it holds."""


async def open_engine(spec: EngineSpec, vocabulary: ModelVocabulary, warn: Callable[[str], None]) -> VllmEngine:
    """Start an engine's process and wait until it has loaded its model; UserError with its own words where it does
    not."""
    if numbers := gpus(spec):
        await wait_until_free(spec.role, numbers, spec.arguments["gpu_memory_utilization"], warn)
    try:
        folder = tempfile.mkdtemp(prefix=f"stepwave-{spec.role}-")
    except OSError as error:
        raise UserError(f"the {spec.role} engine did not start: {named_fault(error)}") from error
    log = os.path.join(folder, "engine.log")
    writes = spec.scoring is None or spec.scoring.tokens is not None
    engine = VllmEngine(replace(spec, probe=vocabulary.probe if writes else ()), log)
    try:
        await engine.start()
        vocabulary.check_read_alike(engine.read)
    except BaseException as error:
        engine.kill("it was not wanted any more")
        await asyncio.shield(engine.gone.wait())
        if isinstance(error, asyncio.CancelledError):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return engine


class VllmEngine:
    """An engine's process, as long as it lives."""

    def __init__(self, spec: EngineSpec, log: str) -> None:
        self.spec, self.log = spec, log
        self.answered = self.steps = 0
        self._death: Died | None = None
        self.calls: dict[int, Call] = {}
        """Request number to its call, for those without an answer."""
        self.next = 0
        """Number of the next request."""
        self.ordered: asyncio.Future[None] | None = None
        """Resolved when the process is ready, after its start or an order."""
        self.gone = asyncio.Event()
        """Has it no process, or none any more?"""
        self.gone.set()
        self.read: str | None = None
        """What its own tokenizer makes of the probe."""
        self.asleep = False
        self.loop = asyncio.get_running_loop()
        self.sender = ThreadPoolExecutor(1, thread_name_prefix=f"stepwave-{spec.role}-out")
        self.process: Any = None
        self.workers: list[psutil.Process] = []
        """What the process started itself."""

    async def start(self) -> None:
        """Start the process and wait until its model is loaded. Raises UserError, Replaced where that is another model
        than it was."""
        await asyncio.to_thread(self._check_unchanged)
        try:
            prepare()
            self.pipe, theirs = PROCESSES.Pipe()
        except OSError as error:
            raise UserError(f"the {self.spec.role} engine did not start: {named_fault(error)}") from error
        folder = os.path.dirname(self.log)
        # its sockets, which it leaves behind; their paths may have some 100 characters
        own = {"VLLM_RPC_BASE_PATH": folder if len(folder) <= 60 else "/tmp"}
        spec = replace(self.spec, environment=self.spec.environment | own)
        arguments = (theirs, spec, self.log)
        self.process = PROCESSES.Process(target=serve, args=arguments, name=f"stepwave-{spec.role}")
        self.ordered = self.loop.create_future()
        # waits until vLLM is imported where that is still going on
        forking = asyncio.ensure_future(asyncio.to_thread(self.process.start))
        try:
            await asyncio.shield(forking)
        except asyncio.CancelledError:
            await asyncio.wait([forking])
            forking.exception()  # looked at, or it would be reported: Ctrl-C can end what it forks from as well
            raise
        except (OSError, EOFError) as error:
            raise UserError(f"the {spec.role} engine did not start: {named_fault(error)}") from error
        finally:
            theirs.close()
            if self.process.pid is not None:
                self.gone.clear()
                threading.Thread(target=self._listen, name=f"stepwave-{spec.role}-in", daemon=True).start()
        await self._ready()
        with contextlib.suppress(psutil.Error):
            self.workers = psutil.Process(self.process.pid).children(recursive=True)

    def _check_unchanged(self) -> None:
        """An engine may start long after the run was planned, and again when it has died."""
        code = bool(self.spec.arguments.get("trust_remote_code"))
        for model, known in self.spec.checkpoints.items():
            check_unchanged(self.spec.role, model, dict(known), code=code)

    async def sleep(self) -> None:
        """Give back the device's memory: the weights go to the host's, or where vLLM has no sleep mode (on CPUs), the
        process ends until `wake`. Nothing may be in flight."""
        if self.spec.arguments.get("enable_sleep_mode"):
            await self._order("sleep")
        else:
            self.asleep = True
            self.sender.submit(self._send, None)
            await self.gone.wait()

    async def wake(self) -> None:
        """Take it again, as it was but with an empty cache."""
        if self.spec.arguments.get("enable_sleep_mode"):
            await self._order("wake")
        elif self.asleep and not self._death:
            self.asleep = False
            try:
                await self.start()
            except BaseException:
                self.kill("it was not wanted any more")
                raise

    async def reset_prefix_cache(self) -> None:
        """As `Engine.reset_prefix_cache`."""
        if not self.asleep:
            await self._order("reset_prefix_cache")

    async def ask(
        self, requests: Sequence[Request[Answer]], answered: Answered = unheard
    ) -> list[Answer | Failure | Died]:
        """As `Engine.ask`."""
        if self._death or not requests:
            return [self._death] * len(requests)  # type: ignore[list-item]
        call = Call(self.next, len(requests), answered)
        self.next = call.numbers.stop
        self.calls.update(dict.fromkeys(call.numbers, call))
        self.sender.submit(self._send, Asked(call.numbers.start, list(requests)))
        try:
            await call.over
        finally:
            if call.left:
                dropped = [number for number in call.numbers if self.calls.pop(number, None)]
                self.sender.submit(self._send, Dropped(dropped))
        return [self._death if result is None else result for result in call.results]  # type: ignore[misc]

    @property
    def death(self) -> Died | None:
        """As `Engine.death`."""
        return self._death

    def progress(self) -> tuple[int, int]:
        """Requests answered, and the engine's last reported progress."""
        return self.answered, self.steps

    def kill(self, reason: str) -> None:
        """As `Engine.kill`."""
        self._end(Died(reason, self.log))
        started = self.process is not None and self.process.pid is not None
        for process in (self.process, *self.workers) if started else ():
            with contextlib.suppress(psutil.Error, ValueError):
                process.kill()  # a stopped or hung process heeds nothing less

    async def close(self) -> None:
        """Stop the engine's process and wait until it is gone. Its log goes too, unless it died."""
        died = self._death is not None
        self._end(Died("it was closed", self.log))
        if died:
            self.kill("it was closed")
        else:
            self.sender.submit(self._send, None)
        try:
            async with asyncio.timeout(LAST_MOMENTS):
                await self.gone.wait()
        except TimeoutError:
            self.kill("it did not end")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_MOMENTS):
                    await self.gone.wait()
        finally:
            if not self.gone.is_set():
                self.kill("it was closed")  # the wait was cancelled
            self.sender.shutdown(wait=False)
        await asyncio.to_thread(psutil.wait_procs, self.workers, LAST_MOMENTS)
        if not died:
            shutil.rmtree(os.path.dirname(self.log), ignore_errors=True)

    async def _order(self, what: str) -> None:
        self.ordered = self.loop.create_future()
        self.sender.submit(self._send, Order(what))
        await self._ready()

    async def _ready(self) -> None:
        """Wait until the process has started, or done what it was ordered. Raises UserError."""
        assert self.ordered is not None
        if not self._death:
            await self.ordered
        if self._death:
            hint = f"; where you trust its code, set models.{self.spec.role}.trust_remote_code: true"
            untrusted = "trust_remote_code" in self._death.reason
            raise UserError(f"the {self.spec.role} engine did not start: {self._death}{hint if untrusted else ''}")

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it is gone, as the listener will tell
            self.pipe.send(message)

    # --- what the process says, heard in a thread

    def _listen(self) -> None:
        with contextlib.suppress(Exception):  # whatever comes of a process that is dying
            while True:
                # not its pipe alone: a process that it forked may hold that open
                if self.pipe in connection.wait([self.pipe, self.process.sentinel]) or self.pipe.poll():
                    self._tell(self._hear, self.pipe.recv())
                else:
                    break
        if self.process.is_alive() and not self.asleep and not self._death:
            self.process.join(LAST_MOMENTS)
            self.process.kill()  # its pipe has ended: nothing that it does can be of use
        self.process.join()
        self._tell(self._ended)

    def _tell(self, act: Any, *about: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self.loop.call_soon_threadsafe(partial(act, *about))

    def _hear(self, message: Any) -> None:
        if isinstance(message, Answers):
            self.steps = message.progress
            for number, result in message.results:
                if call := self.calls.pop(number, None):
                    self.answered += not isinstance(result, Failure)
                    call.answer(number, result)
            if message.given_up:
                self.kill("it gave up a request, as it does when it is told to stop")
        elif isinstance(message, Refused):
            self._end(Died(f"{last_words(self.log) or message.why}", self.log))
        elif isinstance(message, Ready) and self.ordered and not self.ordered.done():
            self.read = message.read or self.read
            self.ordered.set_result(None)

    def _ended(self) -> None:
        self.pipe.close()
        self.gone.set()
        if self.asleep:
            return
        code = self.process.exitcode
        how = f"on a signal ({signal.strsignal(-code)})" if code and code < 0 else f"with exit code {code}"
        self._end(Died(last_words(self.log) or f"its process ended {how}", self.log))

    def _end(self, death: Died) -> None:
        """What is in flight will not be answered any more."""
        self._death = self._death or death
        for call in set(self.calls.values()):
            call.end()
        self.calls.clear()
        if self.ordered and not self.ordered.done():
            self.ordered.set_result(None)
