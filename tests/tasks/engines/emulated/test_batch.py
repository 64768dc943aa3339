"""One engine's continuous batch: who is in an iteration, and what it ends."""

from __future__ import annotations

import pytest

from tasks.engines.emulated.batch import Batch, Job
from tasks.engines.emulated.data_sheets import CARDS
from tasks.engines.emulated.prefix_cache import PrefixCache
from tasks.engines.emulated.roofline import Roofline, Shape

COSTS = Roofline(CARDS["H100"], Shape(7e9, 28, 57_344, 14e9))


def batch(room: int = 1 << 20, sequences: int = 512, tokens: int = 8192, host: int = 0) -> Batch:
    return Batch(COSTS, PrefixCache(room, host), sequences, tokens)


def job(prompt: int, writes: int, keys: list[int] | None = None) -> Job:
    return Job(keys or [], prompt, writes, lambda job: None)


def played(engine: Batch) -> list[list[Job]]:
    """What each iteration ends, until nothing is left."""
    ended, now = [], 0.0
    while (seconds := engine.begin(now)) is not None:
        now += seconds
        ended.append(engine.end())
    return ended


def at(ended: list[list[Job]], job: Job) -> int:
    """The number of the iteration that ended it."""
    (found,) = [number for number, some in enumerate(ended, 1) if job in some]
    return found


def test_the_iteration_that_reads_a_prompt_gives_the_first_token() -> None:
    engine = batch()
    read, one, ten = job(100, 0), job(100, 1), job(100, 10)
    engine.ask(0.0, [read, one, ten])
    ended = played(engine)
    assert [at(ended, each) for each in (read, one, ten)] == [1, 1, 10]
    assert engine.count.written == 11
    assert engine.count.read == 300


def test_prompts_are_cut_where_an_iteration_has_no_room() -> None:
    engine = batch(tokens=100)
    first, second = job(150, 5), job(149, 0)
    engine.ask(0.0, [first, second])
    ended = played(engine)
    # 100 of the first; 50 and 50 of the second; a token and 99
    assert [at(ended, each) for each in (first, second)] == [6, 3]


def test_what_writes_goes_before_what_reads() -> None:
    engine = batch(tokens=10)
    writers = [job(1, 20) for _ in range(9)]
    reader = job(10, 0)
    engine.ask(0.0, [*writers, reader])
    # a token of the reader in the first iteration, and one beside each of nine others
    assert at(played(engine), reader) == 10


def test_no_more_are_under_way_than_may_be() -> None:
    engine = batch(sequences=2)
    jobs = [job(10, 3) for _ in range(4)]
    engine.ask(0.0, jobs)
    ended = played(engine)
    assert [at(ended, each) for each in jobs] == [3, 3, 6, 6]


def test_requests_wait_until_the_cache_has_room_for_their_answers() -> None:
    engine = batch(room=64)
    jobs = [job(16, 17) for _ in range(3)]
    engine.ask(0.0, jobs)
    ended = played(engine)
    assert [at(ended, each) for each in jobs] == [17, 17, 34]
    assert not engine.fits(job(65, 0))
    assert engine.fits(job(48, 17))


def test_who_comes_during_an_iteration_is_in_the_next() -> None:
    engine = batch()
    early, late = job(10, 3), job(10, 0)
    engine.ask(0.0, [early])
    seconds = engine.begin(0.0)
    assert seconds is not None
    engine.ask(seconds / 2, [late])
    assert engine.end() == []
    assert engine.begin(seconds) is not None
    assert engine.end() == [late]


def test_who_has_not_come_yet_is_not_let_in() -> None:
    engine = batch()
    engine.ask(5.0, [job(10, 0)])
    assert engine.begin(0.0) is None
    assert engine.later(0.0) == 5.0
    assert engine.begin(5.0) is not None


def test_a_prefix_comes_from_the_host_over_the_link_one_after_another() -> None:
    engine = batch(room=160, host=1 << 20)
    first, second = list(range(4)), list(range(100, 104))
    for keys in (first, second, list(range(200, 209))):
        engine.ask(0.0, [job(16 * len(keys) + 1, 0, keys)])
        played(engine)
    assert engine.count.loaded == 0
    some = [job(65, 0, first), job(65, 0, second)]
    engine.ask(0.0, some)
    assert engine.begin(0.0) is None
    once = 64 * 57_344 / (0.625 * 64e9)
    assert engine.later(0.0) == pytest.approx(once)
    assert engine.begin(2 * once) is not None
    assert engine.end() == some
    assert [each.cached for each in some] == [64, 64]
    assert engine.count.loaded == 128


def test_what_is_dropped_leaves_nothing_behind() -> None:
    engine = batch(room=160, tokens=40)
    writes, reads, waits = job(10, 30), job(100, 3), job(160, 0)
    engine.ask(0.0, [writes, reads, waits])
    for _ in range(2):
        assert engine.begin(0.0) is not None
        engine.end()
    assert engine.begin(0.0) is not None
    for each in (writes, reads, waits, writes):
        engine.drop(each)
    assert engine.end() == []
    assert engine.begin(0.0) is None
    assert engine.cache.held == 0
    assert (engine.writing, engine.offsets, engine.reading) == (0, 0, [])
