"""What the table says of made-up results."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from schemas.tables import EVALUATION
from tasks.evaluation import pages
from tasks.evaluation.cells import Row
from tasks.evaluation.results import Result, figures, scores
from tasks.evaluation.table import FIGURES, table

TARGET = Row("target", "target", None, 1)
RSD = Row("rsd", "rsd", 0.7, 1)
MINE = Row("rsd-mine", "rsd", 0.7, 1, "mine")


def result(row: Row, right: list[float], benchmark: str = "a", seed: int = 0, **given: Any) -> Result:
    known = pl.DataFrame({"problem_id": [f"p{n:03d}" for n in range(len(right))], "score": right})
    known = known.cast({"problem_id": pl.String, "score": pl.Float64})
    return Result(benchmark, row, seed, known, len(right), 0, dict.fromkeys(FIGURES, 2.0) | given)


def entries(*results: Result, **given: Any) -> dict[tuple[str, str], dict[str, Any]]:
    found = table(list(results), **given)
    assert found.schema == EVALUATION
    return {(entry["benchmark"], entry["method"]): entry for entry in found.to_pylist()}


def test_accuracy_and_its_difference_to_the_target() -> None:
    found = entries(result(RSD, [1, 1, 1, 0] * 50), result(TARGET, [1, 1, 0, 0] * 50))
    rsd, target = found["a", "rsd"], found["a", "target"]
    assert rsd["accuracy"] == 0.75
    assert rsd["accuracy_low"] < 0.75 < rsd["accuracy_high"]
    assert rsd["difference"] == 0.25
    assert 0 < rsd["difference_low"] < 0.25 < rsd["difference_high"]
    # pairs vary less than two methods each by itself
    widths = [e["accuracy_high"] - e["accuracy_low"] for e in (rsd, target)]
    assert rsd["difference_high"] - rsd["difference_low"] < sum(widths)
    assert target["difference"] is None
    assert (rsd["kind"], rsd["threshold"], rsd["samples"], rsd["seeds"], rsd["problems"]) == ("rsd", 0.7, 1, 1, 200)


def test_equal_methods_do_not_differ_at_all() -> None:
    rsd = entries(result(RSD, [1, 0, 1]), result(TARGET, [1, 0, 1]))["a", "rsd"]
    assert (rsd["difference"], rsd["difference_low"], rsd["difference_high"]) == (0, 0, 0)


def test_seeds_are_one_row() -> None:
    found = entries(result(RSD, [1, 0], seed=0, seconds=1.0), result(RSD, [1, 1], seed=1, seconds=3.0))
    assert found["a", "rsd"]["accuracy"] == 0.75
    assert found["a", "rsd"]["seeds"] == 2
    assert found["a", "rsd"]["seconds"] == 2.0
    assert found["a", "rsd"]["difference"] is None, "there is no target to compare it with"


def test_the_mean_is_that_of_benchmarks_not_of_problems() -> None:
    found = entries(
        result(TARGET, [0.0] * 90, flops_generated=10.0),
        result(TARGET, [1.0] * 10, "b", flops_generated=20.0),
        result(RSD, [1.0, 0.0] * 45),
        result(RSD, [1.0] * 10, "b", target_share=None),
    )
    mean = found["mean", "target"]
    assert (mean["accuracy"], mean["flops_generated"], mean["problems"]) == (0.5, 15.0, 100)
    assert found["mean", "rsd"]["difference"] == 0.25
    low, high = (found["a", "rsd"][f"difference_{end}"] for end in ("low", "high"))
    assert found["mean", "rsd"]["difference_low"] == pytest.approx(low / 2, abs=0.01)
    assert found["mean", "rsd"]["difference_high"] == pytest.approx(high / 2, abs=0.01)
    assert found["mean", "rsd"]["target_share"] is None


def test_a_benchmark_without_references_has_no_accuracy() -> None:
    found = entries(result(TARGET, [1, 1]), result(TARGET, [], "b"), result(RSD, [1, 0]), result(RSD, [], "b"))
    for name in ("accuracy", "accuracy_low", "difference", "difference_high"):
        assert found["b", "rsd"][name] is None
        assert found["mean", "rsd"][name] is None
    assert found["a", "rsd"]["difference"] == -0.5


def test_differences_are_over_the_problems_that_both_have() -> None:
    """One role's context may be too short for a problem."""
    fewer = result(RSD, [1.0, 1.0, 1.0])
    fewer = Result("a", RSD, 0, fewer.scores.head(2), 2, 0, fewer.figures)
    rsd = entries(fewer, result(TARGET, [0.0, 1.0, 0.0]))["a", "rsd"]
    assert (rsd["accuracy"], rsd["difference"]) == (1.0, 0.5)


def test_a_reward_model_is_compared_with_the_usual_one() -> None:
    of_b = [result(row, [right] * 9, "b") for row, right in ((TARGET, 1), (RSD, 0), (MINE, 1))]
    of_a = [result(TARGET, [1, 1, 0, 0] * 50), result(RSD, [1, 0, 0, 0] * 50), result(MINE, [1, 1, 1, 0] * 50)]
    found = entries(*of_a, *of_b, namesakes={MINE: RSD})
    mine = found["a", "rsd-mine"]
    assert (mine["prm"], mine["difference"], mine["prm_difference"]) == ("mine", 0.25, 0.5)
    assert 0.4 < mine["prm_difference_low"] < 0.5 < mine["prm_difference_high"] < 0.6
    assert found["b", "rsd-mine"]["prm_difference"] == 1
    assert found["mean", "rsd-mine"]["prm_difference"] == 0.75
    for name in ("target", "rsd"):
        assert {found[where, name]["prm_difference"] for where in ("a", "b", "mean")} == {None}
        assert found["a", name]["prm"] is None


def test_what_counts_as_correct() -> None:
    rows = [
        # problem, reference, verdict, correct, picked, status
        ("right", "1", "correct", True, True, "finished"),
        ("half", "1", "correct", True, True, "finished"),
        ("half", "1", "wrong", False, True, "finished"),
        ("picked", "1", "correct", True, False, "finished"),
        ("picked", "1", "wrong", False, True, "finished"),
        ("failed", "1", "unparsed", False, True, "failed"),
        ("failed, bad reference", "?", None, None, True, "failed"),
        ("late", "1", "timeout", None, True, "finished"),
        ("unparsed", "1", "unparsed", False, True, "max_tokens"),
        ("no reference", None, None, None, True, "finished"),
        ("bad reference", "?", None, None, True, "finished"),
    ]
    columns = ["problem_id", "reference", "verdict", "correct", "picked", "status"]
    found = dict(scores(pl.DataFrame(rows, schema=columns, orient="row")).iter_rows())
    assert found == {
        "right": 1.0,
        "half": 0.5,
        "picked": 0.0,
        "failed": 0.0,
        "late": 0.0,
        "unparsed": 0.0,
    }


def test_figures_are_per_problem() -> None:
    manifest = {
        "input": {"usable": 10},
        "counts": {"draft_tokens": 50, "target_tokens": 20, "prm_tokens": 100, "steps": 8, "target_steps": 2},
        "flops": {"generated": {"draft": 10.0, "target": 20.0}, "computed": {"draft": 100.0, "target": 200.0}},
        "accounts": {"roles": {"draft": {"ready": 5.0}, "target": {"ready": 4.0}}},
    }
    assert figures(manifest) == {
        "flops_generated": 3.0,
        "flops_computed": 30.0,
        "draft_tokens": 5.0,
        "target_tokens": 2.0,
        "prm_tokens": 10.0,
        "target_share": 0.25,
        "seconds": 4.0,
        "problems_per_second": 2.5,
    }


def test_pages_have_a_row_for_each_and_leave_empty_columns_out() -> None:
    found = table([result(TARGET, [1, 0]), result(RSD, [1, 1], target_share=0.125, problems_per_second=None)])
    text = pages.lines(found)
    assert text[0] == "a: 2 problems"
    assert len(text) == 4, "one benchmark has no mean"
    assert all("100.0% (100.0% to 100.0%)" in line and "12.5%" in line for line in text if line.startswith("rsd"))
    page = pages.markdown(found)
    assert "| rsd | 0.7 | 100.0% (100.0% to 100.0%) |" in page
    assert "threshold" not in pages.markdown(table([result(TARGET, [1, 0])]))
    assert "models.prm" not in page
    beside = pages.markdown(table([result(RSD, [1, 0]), result(MINE, [1, 1])], {MINE: RSD}))
    assert "| rsd-mine | 0.7 | mine | 100.0% (100.0% to 100.0%) | +50.0 (+0.0 to +100.0) |" in beside
    assert "accuracy minus that of the same decoding under models.prm" in beside
    both = table([result(TARGET, [1, 0]), result(TARGET, [1, 1], "b")])
    assert "## mean of 2 benchmarks" in pages.markdown(both)
