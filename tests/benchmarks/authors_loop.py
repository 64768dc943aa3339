"""The loop of RSD's authors, written from a description of their published script: what Stepwave is compared with.

Three OpenAI servers of vLLM hold draft, target and PRM. All problems move in one lock-step: each wave sends every live
solution as text to the draft, then every whole solution, tokenized again step by step, to the PRM (the stock
Qwen2ForProcessRewardModel, STEP pooling, of whose scores the last counts), then those rejected as text to the target.
One server works at a time, the servers tokenize all they are sent anew, and results are there when the last problem
has ended.

In its favour: each wave is one call with a list of prompts on a kept-alive connection (many calls at once took five
times as long); the servers cache prefixes where the stock classes can; on CPUs each server has all cores, since one
works at a time; tokens are counted by one more encoding a step, not up to four; nothing is read, graded or written
within the measured time. Two faults of the script are mended, since they change the solutions and this is a comparison
of speed at equal work: `patience`, by which waves in which nobody finishes end every live problem, is left out, and a
step that was cut by its length ends its solution unfinished. As in the script a wave asks for equally many tokens for
every solution: what the one with the most room has left.

Alone this starts the servers, makes one run, and prints a JSON object:

    .venv/bin/python tests/benchmarks/authors_loop.py --problems 100
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import same_work
from openai_servers import Server, serving, since

from schemas.config import Threshold
from tasks.models.formats.qwen import TAG
from tasks.planning.plan import Plan, make_plan
from tasks.problems.prompt import user_message
from tasks.problems.reader import Problem


@dataclass
class Solution:
    """A problem's steps so far, as text."""

    problem: Problem
    steps: list[str] = field(default_factory=list)
    tokens: int = 0
    ended: bool = False


@dataclass
class Run:
    """What one run of the loop did."""

    solutions: list[Solution]
    seconds: float
    waves: int
    waited: dict[str, float]
    """Role to seconds in which its server was waited for; the rest of `seconds` is the loop's own."""
    computed: dict[str, dict[str, int]]
    """Role to requests, generated, prefilled, cached, as the servers count."""

    def texts(self) -> list[tuple[Problem, str]]:
        """Each problem with its solution."""
        return [(s.problem, "".join(s.steps)) for s in self.solutions]


class AuthorsLoop:
    """The loop on running servers."""

    def __init__(self, plan: Plan, servers: dict[str, Server]) -> None:
        self.config, self.servers = plan.config, servers
        accept = plan.config.decoding.accept
        assert isinstance(accept, Threshold), "see same_work.configured"
        self.threshold = accept.threshold
        self.tokenizers = {role: of_role.vocabulary.tokenizer for role, of_role in plan.roles.items()}
        self.waited: dict[str, float] = {}

    def run(self, problems: list[Problem]) -> Run:
        """Solve the problems with cold caches."""
        for server in self.servers.values():
            server.forget()
        before = {role: server.counts() for role, server in self.servers.items()}
        self.waited = dict.fromkeys(self.servers, 0.0)
        began = time.perf_counter()
        solutions = [Solution(problem) for problem in problems]
        waves = 0
        while (live := [s for s in solutions if not s.ended]) and waves < self.config.decoding.max_steps:
            self.wave(live)
            waves += 1
        seconds = time.perf_counter() - began
        return Run(solutions, seconds, waves, self.waited, since(before, list(self.servers.values())))

    def wave(self, live: list[Solution]) -> None:
        """One step more for every live solution."""
        room = self.config.decoding.max_tokens - min(s.tokens for s in live)
        steps = self.write("draft", live, room)
        rewards = self.score(live, [text for text, _ in steps])
        rejected = [i for i, reward in enumerate(rewards) if reward < self.threshold]
        if rejected:
            for i, step in zip(rejected, self.write("target", [live[i] for i in rejected], room), strict=True):
                steps[i] = step
        lengths = [len(ids) for ids in self.encode("draft", [text for text, _ in steps])]
        for solution, (text, last), length in zip(live, steps, lengths, strict=True):
            solution.steps.append(text)
            solution.tokens += length
            solution.ended = last or solution.tokens >= self.config.decoding.max_tokens

    def write(self, role: str, live: list[Solution], room: int) -> list[tuple[str, bool]]:
        """A step of each solution by `role`, with whether it is the last: by EOS, or cut."""
        separator = self.config.prompt.separator
        d = self.config.decoding
        body = {
            "prompt": [self.prompt(role, s.problem) + "".join(s.steps) for s in live],
            "stop": [separator],
            "max_tokens": room,
            "temperature": d.temperature,
            "top_p": d.top_p,
        }
        if d.temperature:
            body["seed"] = d.seed
        choices = sorted(self.call(role, "/v1/completions", body)["choices"], key=lambda choice: choice["index"])
        return [(c["text"] + separator, False) if c["stop_reason"] == separator else (c["text"], True) for c in choices]

    def score(self, live: list[Solution], steps: list[str]) -> list[float]:
        """Reward of each solution's newest step, every step before it scored again."""
        (tag,) = self.tokenizers["prm"].convert_tokens_to_ids([TAG])
        texts = [
            [self.prompt("prm", s.problem), *(step.strip() for step in [*s.steps, new])]
            for s, new in zip(live, steps, strict=True)
        ]
        pieces = iter(self.encode("prm", [text for of_solution in texts for text in of_solution]))
        prompts = []
        for of_solution in texts:
            ids = list(next(pieces))
            for _ in of_solution[1:]:
                ids += [*next(pieces), tag]
            prompts.append(ids)
        found = sorted(self.call("prm", "/pooling", {"input": prompts})["data"], key=lambda of: of["index"])
        return [of["data"][-1][-1] for of in found]

    def call(self, role: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        answer = self.servers[role].post(path, body)
        self.waited[role] += time.perf_counter() - began
        return answer

    def encode(self, role: str, texts: list[str]) -> list[list[int]]:
        return self.tokenizers[role](texts, add_special_tokens=False)["input_ids"]

    def prompt(self, role: str, problem: Problem) -> str:
        prompt = self.config.prompt
        messages = [{"role": "user", "content": user_message(prompt, problem.text, problem.choices)}]
        if prompt.system is not None:
            messages.insert(0, {"role": "system", "content": prompt.system})
        return self.tokenizers[role].apply_chat_template(messages, add_generation_prompt=True, tokenize=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    same_work.add_arguments(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(same_work.configured(options, folder))
        problems = same_work.read_problems(plan)
        began = time.perf_counter()
        with serving(plan, Path(folder), options) as servers:
            start = time.perf_counter() - began
            run = AuthorsLoop(plan, servers).run(problems)
    share = same_work.solved(run.texts())
    print(
        json.dumps(
            {
                "problems": len(problems),
                "start_seconds": round(start, 2),
                "seconds": round(run.seconds, 3),
                "waited": {role: round(seconds, 3) for role, seconds in run.waited.items()},
                "waves": run.waves,
                "solved": share,
                "computed": run.computed,
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(same_work.told(main))
