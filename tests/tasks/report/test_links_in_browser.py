"""Links to single solutions, and the order in which solutions are listed, in a real browser."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from report.outputs import few, solution, write_calibration, write_evaluation, write_run
from report.pages import HOSTILE, Opened, counted, listed
from tasks.report import shown
from tasks.storage.store import Store

pytestmark = pytest.mark.tier2

ODD = [
    *HOSTILE,
    "a/b",
    "a/b/0",
    "/",
    "0",
    "100%",
    "%2F",
    "%zz",
    "#",
    "a b+c&d=e?f",
    "..",
    "q\u202ead\u0301é中",
    "browser",
    ":~:text=x",
    "x" * 3000,
]


UNTOUCHED = "!'()*~-_."


def fragment(*parts: str) -> str:
    return "#" + "/".join(quote(part, safe="") for part in parts)


def opened_ones(page: Any) -> list[str]:
    """The problems that stand open, by their first step."""
    return [text.split(" step 0")[0] for text in page.locator("#solutions .step .text").all_text_contents()]


def follow(page: Any, where: str) -> None:
    page.evaluate("where => { location.hash = where; }", where)


def test_a_link_opens_its_solution_on_load_and_when_it_changes(opened: Opened) -> None:
    page = opened(lambda store: write_run(store, [few(100)]), at="#p64/0")
    assert opened_ones(page)[0] == "p64"
    assert page.locator("#page").text_content() == "3 of 4"
    assert page.locator(".linked .line").evaluate("line => line === document.activeElement")
    follow(page, "#p2/0")
    page.locator(".linked >> text=p2 step 0 kept").wait_for()
    assert page.locator("#page").text_content() == "1 of 4"
    page.go_back()
    page.locator(".linked >> text=p64 step 0 kept").wait_for()
    assert page.locator("#missing").is_hidden()


def test_filters_that_keep_a_linked_solution_out_are_taken_off(opened: Opened) -> None:
    page = opened(lambda store: write_run(store, [few(8)]))
    page.select_option("#verdict", label="wrong")
    page.fill("#search", "p3")
    counted(page, "1 of 8 solutions")
    follow(page, "#p3/0")
    page.locator(".linked >> text=p3 step 0 kept").wait_for()
    counted(page, "1 of 8 solutions")
    follow(page, "#p4/0")
    page.locator(".linked >> text=p4 step 0 kept").wait_for()
    counted(page, "8 of 8 solutions")
    assert page.locator("#verdict").input_value() == page.locator("#search").input_value() == ""


def test_the_link_that_a_solution_shows_leads_to_it_whatever_it_is_called(opened: Opened) -> None:
    rows = [solution(name, "d", sample=n) for name in ODD for n in (0, 12)]
    page = opened(lambda store: write_run(store, [rows]))
    counted(page, f"{len(rows)} of {len(rows)} solutions")
    found = {}
    for _ in range(2):
        for line in page.locator("#solutions .line").all():
            line.click()
        page.locator("#solutions > li:last-child .link").wait_for()
        for item in page.locator("#solutions > li").all():
            link = item.locator(".link").get_attribute("href")
            found[link] = (item.locator(".step .text").text_content(), item.locator(".facts").text_content())
        if page.locator("#next").is_enabled():
            page.click("#next")
    assert set(found) == {address(name, n) for name in ODD for n in (0, 12)}
    for link, (text, facts) in found.items():
        follow(page, link)
        page.wait_for_function(
            "link => document.querySelector('.linked .link')?.getAttribute('href') === link", arg=link
        )
        item = page.locator(".linked")
        assert item.locator(".step .text").text_content() == text
        assert item.locator(".facts").text_content() == facts
        assert page.locator("#missing").is_hidden()


def address(name: str, sample: int) -> str:
    """As encodeURIComponent has it."""
    return f"#{quote(name, safe=UNTOUCHED)}/{sample}"


@pytest.mark.parametrize("at", ["#a/b/0", "#a%2Fb/0", "#%61%2fb/0"])
def test_a_link_written_by_hand(opened: Opened, at: str) -> None:
    page = opened(lambda store: write_run(store, [[solution("a/b", "d"), solution("a", "d")]]), at=at)
    assert opened_ones(page) == ["a/b"]


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("#p9/0", "There is no such solution here: problem p9, sample 0."),
        ("#p1/1", "There is no such solution here: problem p1, sample 1."),
        ("#%3Cimg%20src=x%20onerror=ran=1%3E/0", "problem <img src=x onerror=ran=1>, sample 0."),
        ("#p1", "names no solution: it should end in #problem/sample."),
        ("#p1/first", "names no solution"),
        ("#" + "y" * 500 + "/0", "problem " + "y" * 80 + "…, sample 0."),
        ("#__proto__/0", "problem __proto__, sample 0."),
    ],
)
def test_a_link_to_nothing_says_so(opened: Opened, at: str, said: str) -> None:
    page = opened(lambda store: write_run(store, [few(3)]), at=at)
    assert said in page.locator("#missing").text_content()
    assert page.locator(".details").count() == 0
    counted(page, "3 of 3 solutions")
    follow(page, "#p1/0")
    page.locator(".linked").wait_for()
    assert page.locator("#missing").is_hidden()


def test_a_link_beyond_the_sample_says_so(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown.ShownSolutions.__init__, "__defaults__", (5, shown.CHARACTERS))
    page = opened(lambda store: write_run(store, [few(20)]))
    counted(page, "5 of 5 solutions")
    here = set(listed(page))
    gone = next(f"p{n}" for n in range(20) if f"p{n}" not in here)
    follow(page, f"#{gone}/0")
    said = page.locator("#missing")
    said.wait_for()
    assert f"Not on this page: problem {gone}, sample 0. It holds 5 of 20 solutions" in said.text_content()
    assert "stepwave show" in said.text_content()


@pytest.mark.parametrize(
    ("write", "run", "other"),
    [
        (
            lambda store: write_evaluation(store, ["one", "two.x-y_z"]),
            ["two.x-y_z", "rsd-0.5-s0"],
            ["one", "rsd-0.9-s0"],
        ),
        (write_calibration, ["threshold-0.5"], ["threshold-0.9"]),
    ],
)
def test_where_there_are_several_runs_a_link_names_its_own(
    opened: Opened,
    write: Any,
    run: list[str],
    other: list[str],
) -> None:
    page = opened(write, at=fragment(*run, "p1", "0"))
    [item] = page.locator(".linked").all()
    assert item.locator(".link").get_attribute("href") == fragment(*run, "p1", "0")
    assert item.locator(".facts").text_content().startswith(", ".join(run))
    follow(page, fragment(*other, "p1", "0"))
    page.locator(".linked .facts", has_text=", ".join(other)).wait_for()
    follow(page, fragment(*run[:-1], "nobody-s0", "p1", "0"))
    page.locator("#missing", has_text="nobody-s0").wait_for()
    follow(page, fragment("p1", "0"))
    page.locator("#missing", has_text="it should end in #").wait_for()


def by(page: Any, label: str) -> list[str]:
    page.select_option("#sort", label=label)
    return listed(page)


def write_unlike(store: Store) -> None:
    write_run(
        store,
        [
            [
                solution("p10", "ddd", True, min_reward=0.3),
                solution("p9", "t", False, min_reward=None),
                solution("p2", "tt", None, min_reward=0.9),
                solution("q", "dtd", True, min_reward=0.3),
            ]
        ],
    )


def test_sorts(opened: Opened) -> None:
    page = opened(write_unlike)
    assert listed(page) == ["p2", "p9", "p10", "q"], "numbers in names count as numbers"
    assert by(page, "by least reward") == ["p10", "q", "p2", "p9"], "what has none stands last"
    assert "least reward 0.300" in page.locator(".facts").first.text_content()
    assert "no reward" in page.locator(".facts").last.text_content()
    page.click("#direction")
    assert listed(page) == ["p2", "p10", "q", "p9"]
    assert by(page, "by target steps") == ["p2", "p9", "q", "p10"]
    assert "2 target steps" in page.locator(".facts").first.text_content()
    assert by(page, "by tokens") == ["p10", "q", "p2", "p9"], "nine, nine, six and three; what is alike, by problem"
    assert by(page, "by verdict") == ["p10", "q", "p2", "p9"], "correct, not graded, wrong"
    page.click("#direction")
    assert listed(page) == ["p9", "p2", "p10", "q"]
    assert by(page, "by problem") == ["p2", "p9", "p10", "q"]
    page.click("#direction")
    assert listed(page) == ["q", "p10", "p9", "p2"]


def test_sorting_keeps_filters_and_goes_by_keyboard(opened: Opened) -> None:
    page = opened(write_unlike)
    page.select_option("#verdict", label="correct")
    page.locator("#sort").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert listed(page) == ["q", "p10"], "the most target steps first"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert listed(page) == ["p10", "q"]
    assert page.locator("#direction").get_attribute("aria-label") == "Sorted upwards; reverse"


def test_what_all_have_alike_sorts_nothing(opened: Opened) -> None:
    page = opened(lambda store: write_run(store, [[solution("p", "d"), solution("q", "d")]]))
    assert page.locator("#sort option").all_text_contents() == ["by problem"]
