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
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from tasks.decoding.models import Ask, Scored, Written
from tasks.decoding.trajectory import Failure
from tasks.engines.spec import EngineSpec, Sampling
from tasks.errors import EngineError, UserError
from tasks.vocabulary import ModelVocabulary

A = TypeVar("A")
T = TypeVar("T")

QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CONFIGURE_LOGGING": "0",  # its log goes to a file of ours: see _keep_log
    "TOKENIZERS_PARALLELISM": "true",
}


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
    thread = ThreadPoolExecutor(1, thread_name_prefix=f"stepwave-{spec.role}")
    starting = asyncio.get_running_loop().run_in_executor(thread, _open, spec, sampling, thread)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        while not starting.done():
            for process in multiprocessing.active_children():
                process.kill()  # ends the wait for its weights
            await asyncio.wait([starting], timeout=0.5)
        with contextlib.suppress(Exception):
            await starting.result().close()
        thread.shutdown(wait=False)
        raise
    except BaseException:
        thread.shutdown(wait=False)
        raise


def _open(spec: EngineSpec, sampling: Sampling, thread: ThreadPoolExecutor) -> VllmEngine:
    for name, value in (QUIET | spec.environment).items():
        os.environ.setdefault(name, value)  # engine processes inherit it
    if "VLLM_BATCH_INVARIANT" in spec.environment:  # the configuration promises it
        os.environ["VLLM_BATCH_INVARIANT"] = spec.environment["VLLM_BATCH_INVARIANT"]
    folder = tempfile.mkdtemp(prefix=f"stepwave-{spec.role}-")
    os.environ["VLLM_RPC_BASE_PATH"] = folder  # its sockets, which it leaves behind
    log = os.path.join(folder, "engine.log")
    try:
        with _log_to(log):
            # not bound to a name here: vLLM keeps frames of its start alive, and with them what they hold
            return VllmEngine(_start(spec, log), spec, sampling, log, thread)
    except Exception as error:
        raise UserError(f"the {spec.role} engine did not start: {_last_words(log, error)} (its log: {log})") from error


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

        self.engine, self.spec, self.sampling, self.log, self.thread = engine, spec, sampling, log, thread
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

    async def write(self, asks: Sequence[Ask]) -> list[Written | Failure]:
        return await asyncio.gather(*(self._guarded(self._write, ask) for ask in asks))

    async def score(self, prompts: Sequence[list[int]]) -> list[Scored | Failure]:
        return await asyncio.gather(*(self._guarded(self._score, ids) for ids in prompts))

    async def close(self) -> None:
        """Stop the engine's process. Its log goes too, unless it died."""
        engine, self.engine = self.engine, None
        died = engine.errored
        engine.shutdown()
        self.thread.shutdown(wait=False)
        del engine
        gc.collect()  # its finalizer must not wait for the interpreter's end, when what it calls is gone
        if not died:
            _keep_log(os.devnull)
            shutil.rmtree(os.path.dirname(self.log), ignore_errors=True)

    async def _write(self, ask: Ask) -> Written:
        params = self._sampled(max_tokens=ask.max_tokens, seed=ask.seed if self.sampling.temperature else None)
        stream = self.engine.generate({"prompt_token_ids": ask.prompt}, params, str(next(self.numbers)))
        output = [output async for output in stream][-1]
        completion = output.outputs[0]
        ids = list(completion.token_ids)
        if completion.finish_reason == "length":
            return Written(ids, "length", output.num_cached_tokens or 0)
        if completion.finish_reason != "stop":
            raise ValueError(f"the engine ended a step with {completion.finish_reason!r}")
        finish = "step" if completion.stop_reason == self.sampling.separator else "eos"
        return Written(ids, finish, output.num_cached_tokens or 0)  # type: ignore[arg-type]

    async def _score(self, ids: list[int]) -> Scored:
        stream = self.engine.encode({"prompt_token_ids": ids}, self._pooling(), str(next(self.numbers)))
        output = [output async for output in stream][-1]
        # softmax over (wrong, right), float32 [2]
        return Scored(float(output.outputs.data[-1]), getattr(output, "num_cached_tokens", 0) or 0)

    async def _guarded(self, request: Callable[[A], Awaitable[T]], of: A) -> T | Failure:
        """A request's own fault is a Failure; the engine's death is everybody's."""
        try:
            return await request(of)
        except Exception as error:
            if self.engine.errored:
                words = _last_words(self.log, error)
                raise EngineError(f"the {self.spec.role} engine died: {words} (its log: {self.log})") from error
            return Failure(_one_line(error))


@contextmanager
def _log_to(path: str) -> Iterator[None]:
    """Send what this process and the processes it starts print to a file; sys.stderr goes on to the terminal.

    Engine processes inherit the file: their chatter stays out of the user's way, and they hold no pipe of ours open.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    stdout, stderr, ours = os.dup(1), os.dup(2), sys.stderr
    with open(path, "ab") as log, os.fdopen(os.dup(stderr), "w", buffering=1) as terminal:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            sys.stderr = terminal
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


def _last_words(log: str, error: BaseException) -> str:
    """The line of an engine's log that names its fault, else the error's own."""
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
    return " ".join((first or [_one_line(error)])[0].split())[:500]


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
