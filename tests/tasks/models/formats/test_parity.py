"""vLLM's scores of growing solutions (the CPU build here) against plain transformers, for every layout."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from schemas.config import Config
from tasks.decoding.requests import Confidence, Sampling, Scored, ScoreRequest, StepRequest
from tasks.decoding.trajectory import Ids
from tasks.engines import open_engines
from tasks.engines.spec import EngineSpec
from tasks.models.formats.format import Format
from tasks.planning.plan import plan_roles

from . import published
from .layouts import DEMO, make

pytestmark = pytest.mark.tier2

PROBLEMS = [
    "Tom has 3 apples and buys 4 more. He gives 2 to each of his 2 friends. How many has he now?",
    "A train runs 60 km in an hour. How far does it run in 3 hours and a half?",
]
STEPS = [
    ["Tom has 3 + 4 = 7 apples.", "He gives away 2 * 2 = 4.", "So he has 7 - 4 = 3: \\boxed{3}."],
    ["In 3 hours it runs 180 km.", "In half an hour 30 km.", "SharedEnginesConfig 210 - 0, so \\boxed{210}."],
]
LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "skywork": ("skywork", {"kind": "qwen2", "head": "value"}),
    "shepherd": ("shepherd", {"kind": "mistral", "sliding_window": None}),
    "rlhflow": ("rlhflow", {"kind": "llama"}),
    "one label": ("outcome", {"kind": "llama", "head": "labels", "num_labels": 1}),
    "two labels": ("outcome", {"kind": "qwen2", "head": "labels", "num_labels": 2}),
    "judge": ("judge", {"kind": "llama"}),
}


SAME = "judge"
"""A layout that is tried in an engine that writes as well."""


def planned(folder: Path, format: str) -> tuple[EngineSpec, Format]:
    """The engine of a run with this PRM, and its format."""
    engine = {"dtype": "float32", "kv_cache_memory_bytes": 64 << 20, "max_model_len": 512}
    model = {"model": str(folder), "engine": engine}
    config = {
        "input": {"path": "unused"},
        "output": {"path": "unused"},
        "models": {
            "draft": model if format == SAME else {"model": str(DEMO / "draft")},
            "prm": {"format": format} | ({"same_as": "draft"} if format == SAME else model),
        },
        "decoding": {"method": "best_of_n", "samples": 2, "temperature": 1.0},
    }
    roles, found = plan_roles(Config.model_validate(config))
    assert found is not None
    return roles["prm"].engine, found


async def confidence_agrees(engine: Any, folder: Path, prompts: list[Ids]) -> None:
    """What a writer says of its confidence; warm or not, its own probabilities count."""
    for temperature in (0.0, 0.7):
        for kind in get_args(Confidence):
            samplings = [Sampling(temperature, 1.0, "\n\n", over) for over in (kind, None)]
            asks = [StepRequest(prompt, 9, seed=3, sampling=sampling) for prompt in prompts for sampling in samplings]
            written = await engine.ask(asks)
            for asked, unasked, prompt in zip(written[::2], written[1::2], prompts, strict=True):
                assert (asked.token_ids, unasked.confidence) == (unasked.token_ids, None)
                expected = published.confidence(folder, list(prompt), list(asked.token_ids), kind)
                assert asked.confidence == pytest.approx(expected, abs=1e-3)


async def test_every_layout_scores_as_transformers_does_and_reads_new_tokens_only(tmp_path: Path) -> None:
    """One start of all engines, side by side: it takes most of the test's time."""
    specs, formats, folders = [], {}, {}
    for name, (format, layout) in LAYOUTS.items():
        folders[name] = make(tmp_path / name.replace(" ", "-"), **layout)
        spec, formats[name] = planned(folders[name], format)
        specs.append(replace(spec, role=name))
    vocabularies = {name: format.vocabulary for name, format in formats.items()}
    async with open_engines(specs, vocabularies, print, print, restarts=0, patience=600) as engines:
        for name, format in formats.items():
            contexts = format.vocabulary.prompts(PROBLEMS)
            found: list[list[float]] = [[] for _ in PROBLEMS]
            for number in range(len(STEPS[0])):
                ends = "" if number == len(STEPS[0]) - 1 else "\n\n"
                texts = [of_problem[number] + ends for of_problem in STEPS]
                before = [len(context) for context in contexts]
                for context, ids in zip(contexts, format.encode_steps(texts, [number] * len(texts)), strict=True):
                    context.extend(ids)
                prompts = [context + format.tail for context in contexts]
                # what writes as well does so at the same time
                asks = [StepRequest(context[:9], 20, 0) for context in contexts] if name == SAME else []
                looks = [ScoreRequest(prompt, i) for i, prompt in enumerate(prompts)]
                scores, _ = await asyncio.gather(engines[name].ask(looks), engines[name].ask(asks))
                for i, score in enumerate(scores):
                    assert isinstance(score, Scored), score
                    found[i].append(score.reward)
                    if number:  # whole blocks of what was there before, of 32 tokens each
                        assert score.cached == before[i] // 32 * 32
            if name == SAME:
                await confidence_agrees(engines[name], folders[name], contexts)
            # a judge is shown separators as the writer set them
            steps = [[s + "\n\n" for s in of[:-1]] + of[-1:] if name == SAME else of for of in STEPS]
            expected = [
                getattr(published, LAYOUTS[name][0])(folders[name], *of) for of in zip(PROBLEMS, steps, strict=True)
            ]
            assert [list(prompt) for prompt in prompts] == [ids for ids, _ in expected], name
            for ours, (_, theirs) in zip(found, expected, strict=True):
                assert ours == pytest.approx(theirs, abs=1e-3), name
                assert max(ours) - min(ours) > 1e-2, "scores so alike would prove nothing"
