"""vLLM: one engine in a process of its own, fed through AsyncLLM on the run's event loop.

Nothing of vLLM is imported before an engine is opened. Facts relied on here were checked with vllm 0.32.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import psutil

from tasks.decoding.models import Ask, Look, Scored, Written
from tasks.decoding.trajectory import Failure
from tasks.engines.spec import Died, EngineSpec, Sampling
from tasks.errors import UserError
from tasks.vocabulary import ModelVocabulary

A = TypeVar("A")
T = TypeVar("T")

QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CONFIGURE_LOGGING": "0",  # its log goes to a file of ours: see _keep_log
    "TOKENIZERS_PARALLELISM": "true",
}


LAST_MOMENTS = 20.0
"""Seconds that a killed process is given to hand back what it holds."""


class GivenUp(Exception):
    """An engine ended a request that it had not answered, as it does when it is told to stop."""


def argument_names() -> set[str]:
    """The names that vLLM takes as engine arguments. Imports vLLM: seconds."""
    import dataclasses

    with _log_to(os.devnull):
        from vllm.engine.arg_utils import AsyncEngineArgs

    return {f.name for f in dataclasses.fields(AsyncEngineArgs)}


async def open_engine(spec: EngineSpec, sampling: Sampling, vocabulary: ModelVocabulary) -> VllmEngine:
    """Start an engine process and wait until it has loaded its model; UserError with its own words where it does not.

    The start blocks for as long as the weights take, so it runs in a thread. That thread must live as long as the
    engine: the engine's process dies with it (see plugin.py).
    """
    try:
        folder = tempfile.mkdtemp(prefix=f"stepwave-{spec.role}-")
    except OSError as error:
        raise UserError(f"the {spec.role} engine did not start: {_one_line(error)}") from error
    others = set(multiprocessing.active_children())
    thread = ThreadPoolExecutor(1, thread_name_prefix=f"stepwave-{spec.role}")
    starting = asyncio.get_running_loop().run_in_executor(thread, _open, spec, sampling, folder, thread)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        while not starting.done():
            for process in set(multiprocessing.active_children()) - others:
                process.kill()  # ends the wait for its weights
            await asyncio.wait([starting], timeout=0.5)
        with contextlib.suppress(Exception):
            await starting.result().close()
        thread.shutdown(wait=False)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        thread.shutdown(wait=False)
        raise


def _open(spec: EngineSpec, sampling: Sampling, folder: str, thread: ThreadPoolExecutor) -> VllmEngine:
    for name, value in (QUIET | spec.environment).items():
        os.environ.setdefault(name, value)  # engine processes inherit it
    if "VLLM_BATCH_INVARIANT" in spec.environment:  # the configuration promises it
        os.environ["VLLM_BATCH_INVARIANT"] = spec.environment["VLLM_BATCH_INVARIANT"]
    os.environ["VLLM_RPC_BASE_PATH"] = folder  # its sockets, which it leaves behind
    log = os.path.join(folder, "engine.log")
    try:
        with _log_to(log):
            # not bound to a name here: vLLM keeps frames of its start alive, and with them what they hold
            return VllmEngine(_start(spec, log), spec, sampling, log, thread)
    except Exception as error:
        words = _last_words(log) or _one_line(error)
        raise UserError(f"the {spec.role} engine did not start: {words} (its log: {log})") from error


def _start(spec: EngineSpec, log: str) -> Any:
    _keep_log(log)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(model=spec.model, max_model_len=spec.window, **spec.arguments))


class VllmEngine:
    """Writes steps, or scores them where it serves the PRM."""

    def __init__(self, engine: Any, spec: EngineSpec, sampling: Sampling, log: str, thread: ThreadPoolExecutor) -> None:
        from vllm import PoolingParams, SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self.engine, self.sampling, self.log, self.thread = engine, sampling, log, thread
        self.answered = 0
        self._death: Died | None = None
        self.in_flight: set[asyncio.Task[Any]] = set()
        # none where the engine is not of this machine's processes: Ray's actors end with their AsyncLLM
        self.processes: list[BaseProcess] = getattr(engine.engine_core.resources.engine_manager, "processes", [])
        self.workers = [w for p in self.processes for w in psutil.Process(p.pid).children(recursive=True)]
        self.numbers = itertools.count()
        self._pooling = partial(PoolingParams, task="classify")
        self._sampled = partial(
            SamplingParams,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=[sampling.separator],
            include_stop_str_in_output=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    async def write(self, asks: Sequence[Ask]) -> list[Written | Failure | Died]:
        return await self._batch(self._write, asks)

    async def score(self, looks: Sequence[Look]) -> list[Scored | Failure | Died]:
        return await self._batch(self._score, looks)

    @property
    def death(self) -> Died | None:
        """How the engine died, in its own words where its log has any."""
        if self._death is None and self.engine.errored:
            code = next((p.exitcode for p in self.processes if p.exitcode is not None), None)
            how = f"on a signal ({signal.strsignal(-code)})" if code and code < 0 else f"with exit code {code}"
            ended = "vLLM found it dead" if code is None else f"its process ended {how}"
            self._death = Died(_last_words(self.log) or ended, self.log)
        return self._death

    def progress(self) -> tuple[int, int]:
        """Requests answered, and tokens written of those in flight."""
        states = [] if self._death else self.engine.output_processor.request_states.values()
        return self.answered, sum(state.detokenizer.num_output_tokens() for state in states if state.detokenizer)

    def kill(self, reason: str) -> None:
        self._death = self._death or Died(reason, self.log)
        for process in (*self.processes, *self.workers):
            with contextlib.suppress(psutil.Error):
                process.kill()  # a stopped or hung process heeds nothing less
        for request in self.in_flight:
            request.cancel()  # vLLM's shutdown would leave them waiting

    async def close(self) -> None:
        """Stop the engine's processes and wait until they are gone. Its log goes too, unless it died."""
        died = self.death is not None
        try:
            if died:
                self.kill("it was closed")
                await asyncio.to_thread(self._gone)
        finally:
            engine, self.engine = self.engine, None
            engine.shutdown()
            self.thread.shutdown(wait=False)
            del engine
            gc.collect()  # its finalizer must not wait for the interpreter's end, when what it calls is gone
        if not died:
            _keep_log(os.devnull)
            shutil.rmtree(os.path.dirname(self.log), ignore_errors=True)
            await asyncio.to_thread(self._gone)

    def _gone(self) -> None:
        """Wait until the processes have given back the device's memory, at most for a while."""
        for process in self.processes:
            process.join(LAST_MOMENTS)
        psutil.wait_procs(self.workers, LAST_MOMENTS)

    async def _batch(self, request: Callable[[A], Awaitable[T]], asked: Sequence[A]) -> list[T | Failure | Died]:
        if self._death:
            return [self._death] * len(asked)
        tasks: list[asyncio.Task[T | Failure | Died]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(self._guarded(request, of)) for of in asked]
                self.in_flight.update(tasks)
        finally:
            self.in_flight.difference_update(tasks)
        # one that was cancelled did not even begin before `kill`
        return [self._death if task.cancelled() else task.result() for task in tasks]  # type: ignore[misc]

    async def _write(self, ask: Ask) -> Written:
        params = self._sampled(max_tokens=ask.max_tokens, seed=ask.seed if self.sampling.temperature else None)
        stream = self.engine.generate({"prompt_token_ids": list(ask.prompt)}, params, str(next(self.numbers)))
        output = [output async for output in stream][-1]
        completion = output.outputs[0]
        ids = array("i", completion.token_ids)
        if completion.finish_reason == "length":
            return Written(ids, "length", output.num_cached_tokens or 0)
        if completion.finish_reason == "abort":
            raise GivenUp("it gave up a request, as it does when it is told to stop")
        if completion.finish_reason != "stop":
            raise ValueError(f"the engine ended a step with {completion.finish_reason!r}")
        finish = "step" if completion.stop_reason == self.sampling.separator else "eos"
        return Written(ids, finish, output.num_cached_tokens or 0)  # type: ignore[arg-type]

    async def _score(self, look: Look) -> Scored:
        stream = self.engine.encode({"prompt_token_ids": list(look.prompt)}, self._pooling(), str(next(self.numbers)))
        output = [output async for output in stream][-1]
        # softmax over (wrong, right), float32 [2]
        return Scored(float(output.outputs.data[-1]), getattr(output, "num_cached_tokens", 0) or 0)

    async def _guarded(self, request: Callable[[A], Awaitable[T]], of: A) -> T | Failure | Died:
        """A request's own fault is a Failure; the engine's death is everybody's."""
        try:
            answer = await request(of)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.death is None and task is not None and task.cancelling():
                raise
            died = Died("it gave up a request that nobody had cancelled", self.log)
        except GivenUp as error:
            died = Died(str(error), self.log)
        except Exception as error:
            if self.death is None:
                return Failure(_one_line(error))
            died = self.death
        else:
            self.answered += 1
            return answer
        self._death = self.death or died
        return self._death


@contextmanager
def _log_to(path: str) -> Iterator[None]:
    """Send what this process and the processes it starts print to a file; sys.stderr goes on to the terminal.

    Engine processes inherit the file: their chatter stays out of the user's way, and they hold no pipe of ours open.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    stdout, stderr, ours = os.dup(1), os.dup(2), sys.stderr
    with open(path, "ab") as log:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            # not closed at the end: another thread may be printing to it
            sys.stderr = os.fdopen(os.dup(stderr), "w", buffering=1)
            yield
        finally:
            sys.stderr = ours
            sys.stdout.flush()
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            os.close(stdout)
            os.close(stderr)


def _keep_log(path: str) -> None:
    """Send what vLLM logs in this process to a file."""
    logger = logging.getLogger("vllm")
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.addHandler(logging.FileHandler(path, delay=True))


def _last_words(log: str) -> str | None:
    """The line of an engine's log that names its fault, where there is one."""
    try:
        with open(log, "rb") as f:
            f.seek(max(0, os.path.getsize(log) - 200_000))
            lines = f.read().decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    faults = []
    for line in lines:
        text = line.split("] ", 1)[-1].strip()  # vLLM puts "(EngineCore pid=…) ERROR date [file:line] " before it
        name = text.split(":", 1)[0]
        if name.rpartition(".")[2].endswith(("Error", "Exception", "Interrupt")) and " " not in name and ":" in text:
            faults.append(re.sub(r", retrying \d+ of \d+$", "", text))
    first = [f for f in faults if "Engine core initialization failed" not in f and "EngineDeadError" not in f]
    return " ".join(first[0].split())[:500] if first else None


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
