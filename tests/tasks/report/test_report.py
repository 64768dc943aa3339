"""What a report is made of, and what it says where it cannot be made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from report.outputs import few, solution, write_calibration, write_evaluation, write_run
from tasks import report
from tasks.errors import UserError
from tasks.report import write_report
from tasks.report.certainty import interval_of, wilson
from tasks.report.columns import columns
from tasks.report.gather import Contents, gather
from tasks.report.headline import costs, notes, tiles
from tasks.report.plots.looks import Look, colours_of, looks_of
from tasks.report.row import frontier
from tasks.report.sections import _tokens
from tasks.report.sums import Sums
from tasks.report.texts import count, hours, power, short
from tasks.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


def shown(contents: Contents) -> dict[str, str]:
    return {tile.name: tile.value for tile in tiles(contents)}


def page(store: Store) -> str:
    address = write_report(store)
    assert address == store.path("report/index.html")
    return store.read("report/index.html").decode()


def test_a_run(store: Store) -> None:
    write_run(store, [few(6), [solution("q", "dd", None)]])
    contents = gather(store, 2.0)
    assert contents.kind == "run"
    # 7 solutions, 6 with a reference of which p3 is wrong; 6 of 20 steps from the target
    assert shown(contents)["Accuracy"] == "83.3%"
    assert shown(contents)["Problems"] == "7"
    assert shown(contents)["Target steps"] == "30.0%"
    # draft 10 * 60, target 100 * 18, prm 20 * 80 tokens, against the target writing the 42 + 18 that were kept
    assert shown(contents)["FLOPs against target alone"] == f"{(600 + 1800 + 1600) / 6000:.2f}×"
    [cost] = costs(contents)
    assert cost.hours == 1.0
    assert cost.alone == pytest.approx(6000 / 4000)
    text = page(store)
    for title in ("FLOPs", "Target steps, by step", "Target steps, by level", "Rewards of steps", "Least reward"):
        assert f"<h2>{title}</h2>" in text
    assert page(store) == text, "the same output gives the same bytes"


def test_every_shard_counts(store: Store) -> None:
    write_run(store, [[solution(f"p{n}", correct=n % 3 == 0)] for n in range(11)])
    [sums] = gather(store, None).sums_by_run
    assert (sums.solutions, sums.picked, sums.solved) == (11, 11, 4)
    assert sums.steps[:3].tolist() == [[11, 0], [11, 0], [0, 0]]


def test_a_run_that_found_its_threshold(store: Store) -> None:
    write_run(store, [few()], found=0.8)
    contents = gather(store, None)
    assert contents.kind == "run"
    assert "δ 0.8" in page(store)


def test_a_run_that_has_not_finished(store: Store) -> None:
    write_run(store, [few()], finished=False)
    contents = gather(store, None)
    assert "not finished" in " ".join(notes(contents))
    assert shown(contents)["Accuracy"] == "75.0%"
    assert "not finished" in page(store)


def test_a_run_without_any_shard(store: Store) -> None:
    write_run(store, [], finished=False)
    assert shown(gather(store, None))["Accuracy"] == "–"
    assert "Solutions" in page(store)


def test_only_picked_solutions_count_for_accuracy(store: Store) -> None:
    rows = [solution("p", sample=n, correct=n == 1, picked=n == 1) for n in range(3)]
    write_run(store, [rows])
    contents = gather(store, None)
    assert shown(contents)["Accuracy"] == "100.0%"


def test_a_reference_that_nobody_can_read_does_not_count(store: Store) -> None:
    unread = solution("bad", reference="?!", verdict=None)
    unread[0]["correct"] = None
    write_run(store, [[*few(), unread]])
    contents = gather(store, None)
    assert shown(contents)["Accuracy"] == "75.0%"
    assert "cannot read their references: 1." in " ".join(notes(contents))


def test_an_evaluation(store: Store) -> None:
    write_evaluation(store)
    contents = gather(store, None)
    assert contents.kind == "evaluation"
    assert contents.chosen is not None
    assert (contents.chosen.benchmark, contents.chosen.name) == ("mean", "rsd δ 0.9")
    assert shown(contents)["FLOPs against target alone"] == "0.25×"
    assert {cost.name for cost in costs(contents)} == {"target", "draft", "rsd δ 0.5", "rsd δ 0.9"}
    assert all(cost.hours == 1.0 for cost in costs(contents)), "of both benchmarks"
    text = page(store)
    assert text.count("<h2>Accuracy against FLOPs") == 3
    assert "generated only" in text


def test_an_evaluation_of_several_reward_models(store: Store) -> None:
    plain = Store(store.path("plain"))
    write_evaluation(plain, ["one"])
    assert not {"PRM", "Against models.prm"} & set(columns(gather(plain, None).rows))
    write_evaluation(
        store, ["one"], prm="<mine>", prm_difference=0.05, prm_difference_low=-0.01, prm_difference_high=0.1
    )
    found = columns(gather(store, None).rows)
    assert found["PRM"][0] == ("<mine>", "<mine>", "")
    assert found["Against models.prm"][0] == (0.05, "+5.0", "−1.0 to +10.0")
    text = page(store)
    assert '<td data-of="PRM" data-value="&lt;mine&gt;"><span>&lt;mine&gt;</span></td>' in text
    assert "the label in <code>prms</code>" in text


def test_no_token_is_drawn_twice() -> None:
    """best_of_n: the PRM is asked to score the prompt with each sample, and computes it once."""
    sums = Sums(tokens={"prm_tokens": 100})
    parts = _tokens("prm", {"generated": 0, "prefilled": 70, "cached": 50}, sums)
    assert {name: value for name, value, _, _ in parts if value} == {"scored": 100, "prompt from cache": 20}
    parts = _tokens("prm", {"generated": 0, "prefilled": 130, "cached": 50}, sums)
    assert [value for _, value, _, _ in parts] == [100, 0, 30, 50]


def test_a_method_has_one_colour_and_its_thresholds_looks_of_their_own(store: Store) -> None:
    write_evaluation(store)
    contents = gather(store, None)
    colours = colours_of(contents.rows)
    looks = looks_of({run.title: run.label for run in contents.runs}, colours)
    assert {looks["rsd δ 0.5"].colour, looks["rsd δ 0.9"].colour} == {colours["rsd"]}
    assert looks["rsd δ 0.5"] != looks["rsd δ 0.9"]
    assert looks["target"] == Look(colours["target"])


def test_hours_are_those_of_all_benchmarks_and_seeds(store: Store) -> None:
    write_evaluation(store, seeds=3)
    contents = gather(store, None)
    assert {cost.hours for cost in costs(contents)} == {3.0}, "half an hour for each of 2 benchmarks and 3 seeds"
    assert shown(contents)["GPU-hours"] == "3"
    text = page(store)
    assert "1 device as configured, decoding of all 2 benchmarks and 3 seeds took 3.0 h" in text
    assert "Of all 2 benchmarks and 3 seeds together." in text


def test_a_greedy_target_with_one_seed_is_compared_with_as_many(store: Store) -> None:
    write_evaluation(store, seeds_of={"target": 1, "draft": 2, "rsd": 2})
    contents = gather(store, None)
    found = {cost.name: (cost.hours, cost.alone) for cost in costs(contents)}
    assert found == {"target": (1, None), "draft": (2, 2), "rsd δ 0.5": (2, 2), "rsd δ 0.9": (2, 2)}
    assert "as often as the method has seeds" in " ".join(notes(contents))


def test_what_is_shown_first_and_every_model_are_named(store: Store) -> None:
    write_evaluation(store, ["one"])
    text = page(store)
    assert "shown first: <b>rsd δ 0.9</b>, the most accurate rsd" in text
    draft = yaml.safe_load(store.read("runs/one/rsd-0.5-s0/config.yaml"))
    draft["models"]["draft"]["model"] = "models/other"
    store.write("runs/one/rsd-0.5-s0/config.yaml", yaml.safe_dump(draft).encode())
    models = gather(store, None).models
    assert models == {"draft": "draft, other (runs differ)", "target": "target", "prm": "prm"}
    draft["models"]["prm"]["model"] = "trained/prm"
    store.write("runs/one/rsd-0.5-s0/config.yaml", yaml.safe_dump(draft).encode())
    assert gather(store, None).models["prm"] == "prm, prm (runs differ)", "two that are called alike"


def test_long_labels_stay_apart(store: Store) -> None:
    write_evaluation(store, ["b" * 62 + end for end in ("x", "y")])
    rows = gather(store, None).rows
    assert len({row.benchmark for row in rows}) == 3
    assert all(row.gpus for row in rows)
    assert len(short("b" * 62 + "x")) < 30
    assert short("b" * 62 + "x") != short("b" * 62 + "y")


def test_an_evaluation_without_its_table_yet(store: Store) -> None:
    write_evaluation(store)
    store.delete(["table.parquet"])
    contents = gather(store, None)
    assert {row.name for row in contents.rows} == {"target", "draft", "rsd δ 0.5", "rsd δ 0.9"}
    assert "no table yet" in " ".join(notes(contents))
    page(store)


def test_a_calibration_shows_what_it_recommends(store: Store) -> None:
    write_calibration(store, 0.5)
    contents = gather(store, None)
    assert contents.chosen is not None
    assert contents.chosen.name == "rsd δ 0.5"
    assert list(contents.groups()) == ["rsd δ 0.5", "rsd δ 0.9"]
    text = page(store)
    assert "recommended: <b>δ 0.5</b>" in text
    shown_of = columns(contents.rows)
    row = contents.chosen
    assert (row.accuracy, row.low, row.high) == (0.5, 0.25, 0.75), "as calibration.json has them"
    assert shown_of["FLOPs generated"][0].interval == "2.50 × 10⁻¹ to 7.50 × 10⁻¹"
    assert shown_of["Target steps"][0].interval == "25.0% to 75.0%"
    assert not {"FLOPs, everything", "Seconds", "Against target"} & set(shown_of), "what was shared or not measured"


def test_a_single_benchmark_needs_no_mean(store: Store) -> None:
    write_evaluation(store, ["one"])
    assert {row.benchmark for row in gather(store, None).rows} == {"one"}


@pytest.mark.tier2
def test_on_s3(s3: str) -> None:
    store = Store(f"{s3}/evaluation")
    write_evaluation(store, ["one"])
    assert "Accuracy against FLOPs" in page(store)


def test_mistakes(store: Store) -> None:
    with pytest.raises(UserError, match="there is nothing here"):
        write_report(store)
    store.write("notes.txt", b"mine")
    with pytest.raises(UserError, match="is not the output of a run, an evaluation or a calibration"):
        write_report(store)
    write_run(store, [few()])
    for price in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="--price"):
            write_report(store, price)
    store.write("steps/00000.parquet", store.read("steps/00000.parquet")[:-9])
    with pytest.raises(UserError, match=r"steps/00000\.parquet is missing or differs from its record"):
        write_report(store)


def test_a_table_of_methods_that_is_damaged(store: Store) -> None:
    write_evaluation(store, ["one"])
    whole = store.read("table.parquet")
    store.write("table.parquet", whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"table\.parquet: cannot be read"):
        write_report(store)
    store.delete(["table.parquet"])
    store.delete_folder("runs")
    with pytest.raises(UserError, match="no run of this evaluation has begun"):
        write_report(store)


def test_a_report_that_cannot_be_written_is_told_and_no_more(store: Store) -> None:
    told: list[str] = []
    report.keep(store, told.append)
    assert len(told) == 1
    assert "report/index.html could not be written" in told[0]


def test_nothing_is_loaded_and_nothing_else_can_run(store: Store) -> None:
    write_run(store, [few()])
    text = page(store)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert "default-src &#39;none&#39;; script-src &#39;sha256-" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", text)
    assert len(re.findall("<script>", text)) == 1


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    assert frontier([(3, 0.5), (1, 0.4), (2, 0.6), (2, 0.3), (4, 0.6), (5, 0.7)]) == [(1, 0.4), (2, 0.6), (5, 0.7)]


def test_wilsons_interval() -> None:
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 0) == (None, None)


def test_answers_to_one_problem_are_no_problems_of_their_own(store: Store) -> None:
    """Eight samples of each of four problems, alike: as unsure as four problems."""
    write_run(store, [[solution(f"p{n}", correct=n > 0, sample=sample) for sample in range(8)] for n in range(4)])
    [sums] = gather(store, None).sums_by_run
    assert sums.problems().tolist() == [0, 1, 1, 1]
    assert interval_of(sums) == (0.25, 1.0)
    assert wilson(24, 32)[0] == pytest.approx(0.579, abs=1e-3)


def test_hours_as_people_read_them() -> None:
    values = [0, 1234.5, 1.5, 0.01, 0.009, -0.001, -6.14e-5, 1e-6]
    assert [hours(v) for v in values] == ["0", "1,234", "1.5", "0.01", "32 s", "−3.6 s", "−0.22 s", "3.6 ms"]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (12345.0, "12,345"), (1.5e6, "1.5M"), (2e9, "2B"), (0.123456, "0.123")]
)
def test_counts_as_people_read_them(value: float, text: str) -> None:
    assert count(value) == text


def test_powers_as_people_read_them() -> None:
    assert [power(v) for v in (0, 1e9, 2.5e-7, 1234)] == ["0", "1.00 × 10⁹", "2.50 × 10⁻⁷", "1.23 × 10³"]
    assert [power(v, 0) for v in (1e9, 3e9, 2.5e9)] == ["10⁹", "3 × 10⁹", "2.5 × 10⁹"]
