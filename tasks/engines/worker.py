"""The body of an engine's process: takes requests from a pipe, steps vLLM, sends answers back, many at a time.

Messages in: Asked, Dropped, Order; None ends it, and so does the pipe's end. Messages out: Ready or Refused first, then
Answers. Facts relied on here were checked with vllm 0.32.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from tasks.decoding.models import Ask, Look, Scored, Written
from tasks.decoding.trajectory import Failure
from tasks.engines.plugin import die_with_parent
from tasks.engines.spec import EngineSpec, Sampling

NEWS = 0.5
"""Seconds after which a process with work says that it gets on, though nothing is answered."""


PROMISED = ("VLLM_BATCH_INVARIANT", "VLLM_RPC_BASE_PATH")
"""Environment variables that the user's own do not overrule."""


@dataclass(slots=True)
class Asked:
    """Requests, numbered from `first` on."""

    first: int
    requests: list[Ask | Look]


@dataclass(slots=True)
class Dropped:
    """Requests that nobody waits for any more."""

    numbers: list[int]


@dataclass(slots=True)
class Order:
    """Something to be done while nothing is in flight: sleep | wake."""

    what: str


@dataclass(slots=True)
class Ready:
    """The engine can be asked; or an order was carried out."""


@dataclass(slots=True)
class Refused:
    """The engine did not start."""

    why: str


@dataclass(slots=True)
class Answers:
    """Results by request number, and the steps that the engine has made so far."""

    steps: int
    results: list[tuple[int, Written | Scored | Failure]] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)
    """Requests that vLLM ended unasked, as it does when its own process is told to stop."""


def serve(pipe: Connection, spec: EngineSpec, sampling: Sampling, log: str) -> None:
    """Run one engine until the pipe closes. What the process prints goes to the file `log`."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which then closes its engines
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for name, value in spec.environment.items():
        if name in PROMISED:
            os.environ[name] = value
        else:
            os.environ.setdefault(name, value)
    try:
        engine = _load(spec)
    except BaseException as error:
        traceback.print_exc()
        pipe.send(Refused(" ".join(f"{type(error).__name__}: {error}".split())[:500]))
        return
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, inbox), daemon=True).start()
    pipe.send(Ready())
    try:
        Pump(engine, sampling, pipe, inbox).run()
        if not hasattr(engine.engine_core, "engine_core"):  # it has processes of its own
            engine.engine_core.shutdown()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # threads and finalizers may hang


def _load(spec: EngineSpec) -> Any:
    import torch
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    if threads := spec.environment.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))  # the variable itself was read when torch was imported
    return LLMEngine.from_engine_args(EngineArgs(model=spec.model, max_model_len=spec.window, **spec.arguments))


def _listen(pipe: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            inbox.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


class Pump:
    """Keeps vLLM stepping while there is work."""

    def __init__(self, engine: Any, sampling: Sampling, pipe: Connection, inbox: queue.SimpleQueue[Any]) -> None:
        from vllm import PoolingParams, SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self.engine, self.sampling, self.pipe, self.inbox = engine, sampling, pipe, inbox
        self.names: dict[int, str] = {}
        """Number to the name that vLLM gave the request, for those in flight."""
        self.steps = 0
        self.told = time.monotonic()
        self.looking = PoolingParams(task="classify")
        self.writing = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=[sampling.separator],
            include_stop_str_in_output=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def run(self) -> None:
        """Work until the message None comes."""
        while True:
            answers = Answers(self.steps)
            for message in self._messages():
                if message is None:
                    return
                self._take(message, answers)
            if self.names:
                for output in self.engine.step():
                    self._collect(output, answers)
                self.steps += 1
            if answers.results or answers.given_up or time.monotonic() - self.told > NEWS:
                answers.steps, self.told = self.steps, time.monotonic()
                self.pipe.send(answers)

    def _messages(self) -> Iterator[Any]:
        """What has come in; waits for something where there is nothing else to do."""
        if not self.names:
            yield self.inbox.get()
        while not self.inbox.empty():
            yield self.inbox.get()

    def _take(self, message: Any, answers: Answers) -> None:
        if isinstance(message, Asked):
            for number, request in enumerate(message.requests, message.first):
                try:
                    self._add(number, request)
                except Exception as error:  # whatever vLLM holds against a request costs that request
                    why = " ".join(f"{type(error).__name__}: {error}".split())[:500]
                    answers.results.append((number, Failure(why)))
        elif isinstance(message, Dropped):
            names = [name for number in message.numbers if (name := self.names.pop(number, None))]
            self.engine.abort_request(names, internal=True)
        elif isinstance(message, Order):
            assert not self.names, "an engine that has work is not put to sleep"
            self.engine.sleep(1) if message.what == "sleep" else self.engine.wake_up()
            self.pipe.send(Ready())

    def _add(self, number: int, request: Ask | Look) -> None:
        params: Any = self.looking
        if isinstance(request, Ask):
            params = self.writing.clone()
            params.max_tokens = request.max_tokens
            params.seed = request.seed if self.sampling.temperature else None
        prompt = {"type": "token", "prompt_token_ids": list(request.prompt)}
        self.names[number] = self.engine.add_request(str(number), prompt, params)

    def _collect(self, output: Any, answers: Answers) -> None:
        number = int(output.request_id)
        if self.names.pop(number, None) is None:
            return  # it was dropped
        cached = getattr(output, "num_cached_tokens", 0) or 0
        if not hasattr(output.outputs, "__len__"):
            # softmax over (wrong, right), float32 [2]
            answers.results.append((number, Scored(float(output.outputs.data[-1]), cached)))
            return
        written = output.outputs[0]
        ends = {"length": "length", "stop": "step" if written.stop_reason == self.sampling.separator else "eos"}
        if written.finish_reason in ends:
            answers.results.append((number, Written(list(written.token_ids), ends[written.finish_reason], cached)))  # type: ignore[arg-type]
        elif written.finish_reason == "abort":
            answers.given_up.append(number)
        else:
            answers.results.append((number, Failure(f"the engine ended a step with {written.finish_reason!r}")))
