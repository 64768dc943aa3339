"""Readers on mutated files: no traceback, no crash, no hang, no row that is not there.

STEPWAVE_FUZZ sets the number of mutations for each reader, STEPWAVE_FUZZ_FROM the first seed. One seed again:

    python -c 'from readers import outcomes; print(outcomes("problem sets", [17])[0][1])'
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import TimeoutError as Late
from multiprocessing import get_context

import pytest
from mutations import mutated
from pebble import ProcessExpired, ProcessPool
from readers import READERS, outcomes, prepare

pytestmark = pytest.mark.tier2

MUTATIONS = int(os.environ.get("STEPWAVE_FUZZ", "600"))
FIRST = int(os.environ.get("STEPWAVE_FUZZ_FROM", "0"))
TOGETHER = 25
SECONDS = 30.0
"""Time that a mutation may take: some hundred times what it takes."""


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(max_workers=2, context=get_context("spawn"), initializer=prepare) as pool:
        yield pool
        pool.stop()


@pytest.mark.parametrize("kind", READERS)
def test_mutated_files(pool: ProcessPool, kind: str) -> None:
    seeds = range(FIRST, FIRST + MUTATIONS)
    parts = [list(seeds[i : i + TOGETHER]) for i in range(0, MUTATIONS, TOGETHER)]
    running = [(part, pool.schedule(outcomes, args=(kind, part), timeout=SECONDS * TOGETHER)) for part in parts]
    found: list[tuple[int, str]] = []
    for part, future in running:
        try:
            found += future.result()
        except (ProcessExpired, Late):
            found += [(seed, alone(pool, kind, seed)) for seed in part]
    faults = {seed: outcome for seed, outcome in found if outcome not in ("read", "told")}
    counted = Counter(outcome for _, outcome in found if outcome in ("read", "told"))
    print(f"{kind}: {MUTATIONS} mutations, {dict(counted)}, {len(faults)} faults")
    first = next(iter(faults.items()), None)
    assert first is None, f"{len(faults)} faults, seeds {list(faults)[:20]}; the first, seed {first[0]}: {first[1]}"
    assert len(found) == MUTATIONS
    assert counted["told"] > 0 < counted["read"] or MUTATIONS < 100


def alone(pool: ProcessPool, kind: str, seed: int) -> str:
    """One mutation by itself, to name the one that ended or held a process."""
    try:
        return pool.schedule(outcomes, args=(kind, [seed]), timeout=SECONDS).result()[0][1]
    except ProcessExpired as error:
        return f"the process crashed (exit code {error.exitcode})"
    except Late:
        return f"hangs: longer than {SECONDS:.0f} s"


def test_the_same_seed_makes_the_same_change() -> None:
    data = bytes(range(256)) * 4
    assert [mutated(data, seed) for seed in range(50)] == [mutated(data, seed) for seed in range(50)]
    assert len({mutated(data, seed) for seed in range(50)}) > 45
    assert all(isinstance(mutated(b"", seed), bytes) for seed in range(50))
