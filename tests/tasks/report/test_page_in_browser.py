"""The page in a real browser: it shows what it should, asks nobody for anything, and runs nothing of what it shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from report.outputs import few, solution, write_evaluation, write_run
from report.pages import BAD, HOSTILE, Opened, counted, listed
from tasks.storage.store import Store

pytestmark = pytest.mark.tier2


def test_filters_search_and_what_opens(opened: Opened) -> None:
    page = opened(lambda store: write_run(store, [few(6), [solution("q", "dd", None, status="max_tokens")]]))
    counted(page, "7 of 7 solutions")
    page.select_option("#verdict", label="wrong")
    counted(page, "1 of 7 solutions")
    assert listed(page) == ["p3"]
    page.select_option("#verdict", "")
    page.select_option("#level", label="2")
    counted(page, "3 of 7 solutions")
    page.select_option("#level", "")
    page.select_option("#status", label="max_tokens")
    counted(page, "1 of 7 solutions")
    page.select_option("#status", "")
    page.check("#rewritten")
    counted(page, "6 of 7 solutions")
    page.fill("#search", "P4 STEP 1 thrown")
    counted(page, "1 of 7 solutions")
    assert listed(page) == ["p4"]
    page.click("#solutions .line")
    assert page.locator(".step").count() == 3
    assert page.locator(".attempt.target:visible").count() == 1
    assert "reward 0.900" in page.locator(".step .who").first.text_content()
    assert page.get_by_text("thrown away").is_hidden()
    page.click(".more")
    assert page.get_by_text("p4 step 1 thrown away").is_visible()
    page.click(".more")
    assert page.get_by_text("thrown away").is_hidden()
    page.click("#solutions .line")
    assert page.locator(".step").count() == 0


def test_steps_of_the_input_stand_before_the_solution(opened: Opened) -> None:
    begun = json.dumps({"begun": ["Given.\n\n", "<b>Given too.\n\n"]})

    def write(store: Store) -> None:
        write_run(store, [[solution("p", "d", metadata=begun)]], settings={"input": {"path": "/p", "prefix": "begun"}})

    page = opened(write)
    page.click("#solutions .line")
    texts = [text.strip() for text in page.locator(".steps .text").all_text_contents()]
    assert texts == ["Given.", "<b>Given too.", "p step 0 kept"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_and_a_phone(opened: Opened, scheme: str) -> None:
    page = opened(write_evaluation, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    paper = "() => getComputedStyle(document.querySelector('.tile')).backgroundColor"
    ink = "() => getComputedStyle(document.querySelector('.picture text')).fill"
    light = ("rgb(255, 255, 255)", "rgb(28, 30, 33)")
    as_asked = page.evaluate(paper) == light[0]
    assert as_asked == (scheme == "light")
    other = "dark" if scheme == "light" else "light"
    before = page.evaluate(ink)
    while page.locator("#theme").text_content().lower() != other:
        page.click("#theme")
    assert (page.evaluate(paper) == light[0]) == (other == "light")
    assert page.evaluate(ink) != before, "pictures take the page's colours"
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_methods_are_sorted_and_plots_switched(opened: Opened) -> None:
    page = opened(write_evaluation, 2.5)
    rows = page.locator("#methods tbody tr:visible b")
    assert rows.all_text_contents() == ["target", "draft", "rsd δ 0.5", "rsd δ 0.9"]
    page.click("#methods th >> text=Accuracy")
    assert rows.all_text_contents() == ["rsd δ 0.9", "rsd δ 0.5", "draft", "target"]
    page.select_option("#benchmark", "")
    assert rows.count() == 12
    picture = page.locator("figure", has_text="Accuracy against FLOPs, one")
    assert picture.locator(".picture:visible").get_attribute("data-choice") == "flops_generated"
    page.click(".choice >> nth=0 >> text=everything")
    assert picture.locator(".picture:visible").get_attribute("data-choice") == "flops_computed"
    picture.locator("[data-tip^='rsd δ 0.5']:visible").first.hover()
    assert "rsd δ 0.5: 70.0%" in page.locator("#tip").text_content()
    money = page.locator(".cost tbody tr").last.locator("[data-hours]").first
    assert money.text_content() == "2.50"
    page.fill("#price", "4")
    assert money.text_content() == "4.00"
    page.fill("#price", "")
    assert money.text_content() == "–"


FRAME = ["<|im_start|>user\n", "<|im_end|>\n<script>window.ran = 1</script>"]


def test_what_each_role_reads_of_a_problem(opened: Opened) -> None:
    problem = "Which one? </pre><script>window.ran = 1</script>"
    metadata = json.dumps({"choices": ["<i>yes", None]})
    rows = [solution("p", "d", problem=problem, metadata=metadata), solution("plain", "d")]
    prompts = {"draft": FRAME, "target": FRAME, "prm": ["twice: ", " and ", ""]}
    page = opened(
        lambda store: write_run(store, [rows], settings={"prompt": {"user": "Q: {problem}"}}, prompts=prompts)
    )
    user = f"Q: {problem}\n(A) <i>yes\n(B) "
    for line in (0, 1):
        page.click(f"#solutions .line >> nth={line}")
    first, second = page.locator(".details").all()
    assert first.locator(".prompt summary").all_text_contents() == ["prompt of draft and target", "prompt of prm"]
    assert first.locator(".prompt pre").all_text_contents() == [user.join(FRAME), f"twice: {user} and {user}"]
    assert second.locator(".prompt pre").first.text_content() == "Q: What is plain?".join(FRAME)
    assert first.locator(".prompt pre").first.is_hidden()
    first.locator(".prompt summary").first.click()
    assert first.locator(".prompt mark").first.text_content() == user
    assert page.locator("#solutions script, #solutions i.yes").count() == 0


def test_outputs_that_keep_no_prompts_show_none(opened: Opened) -> None:
    page = opened(lambda store: write_run(store, [few(2)]))
    page.click("#solutions .line >> nth=0")
    page.locator(".details").wait_for()
    assert page.locator(".prompt").count() == 0


def test_settings_fold_out(opened: Opened) -> None:
    bad = f"{{problem}} {BAD}".replace("\x00", "")
    page = opened(lambda store: write_run(store, [few(2)], settings={"prompt": {"user": bad}}))
    settings = page.locator(".settings")
    assert settings.locator("dl").first.is_hidden()
    page.locator(".settings summary").focus()
    page.keyboard.press("Enter")
    assert settings.locator("dl").first.is_visible()
    assert "<script>window.ran = 1</script>" in settings.text_content()
    assert settings.locator("script, img").count() == 0


LONG = {"method": "a-method-with-a-name-as-long-as-they-may-be-of-sixty-four-letters", "prm": "skywork-o1-open-prm-7b"}
ENDS = {"prm_difference": -0.1234, "prm_difference_low": -0.2345, "prm_difference_high": -0.0123}
LARGE = {
    "seconds": 123456.7,
    "draft_tokens": 12345.6,
    "target_tokens": 12345.6,
    "prm_tokens": 123456.7,
    "problems": 12032,
}


@pytest.mark.parametrize(
    "changes", [{}, LONG | ENDS | LARGE, {"method": LONG["method"]} | LARGE], ids=["short", "long", "no prm"]
)
def test_an_evaluation_fits_the_screen(opened: Opened, changes: dict[str, Any]) -> None:
    page = opened(lambda store: write_evaluation(store, ["one", "olympiadbench_of_all_years"], **changes), 2.5)
    page.locator(".settings summary").click()
    cut = "all => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.outerHTML)"
    for width in (1600, 1280, 1180, 1100, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        for benchmark in ("mean", ""):
            page.select_option("#benchmark", benchmark)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            found = page.locator(".scroll, #methods td, #methods th button, .settings dd").evaluate_all(cut)
            assert found == [], f"{width} pixels"


def test_an_evaluations_methods_come_first(opened: Opened) -> None:
    page = opened(write_evaluation)
    top = "element => element.getBoundingClientRect().top"
    rows = page.locator("#methods tbody tr:visible")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        first = page.locator("#methods").evaluate(top)
        assert all(first < page.locator(other).first.evaluate(top) for other in (".tiles", ".cost", ".notes", "figure"))
        assert rows.count() == 4
        page.click("#methods th >> text=Accuracy")
    assert rows.locator("b").all_text_contents() == ["target", "draft", "rsd δ 0.5", "rsd δ 0.9"], "turned round twice"


def test_nothing_in_a_text_runs(opened: Opened) -> None:
    def write(store: Store) -> None:
        rows = [
            solution(bad, "dt", False, problem=bad, answer=bad, reference=bad, error=bad, status="failed", sample=n)
            for n, bad in enumerate([*HOSTILE, BAD])
        ]
        for row, steps in rows:
            row["metadata"] = '{"level": "</script><script>window.ran=1</script>\\ud800\\u0000", "x": "<b>"}'
            for step in steps:
                step["text"] = row["problem"]
        write_run(store, [rows])

    page = opened(write)
    counted(page, "8 of 8 solutions")
    for line in range(8):
        page.click(f"#solutions .line >> nth={line}")
        page.locator(".details").nth(line).wait_for()
    page.evaluate("document.querySelectorAll('.more').forEach((button) => button.click())")
    assert "<script>window.ran = 1</script>" in page.locator(".problem").all_text_contents()
    assert page.locator("#solutions script, #solutions img").count() == 0


def test_names_of_methods_and_folders_are_text_too(opened: Opened) -> None:
    page = opened(
        lambda store: write_evaluation(store, ["<img src=x onerror=ran=1>"], method="<svg onload=ran=1>&\x07")
    )
    assert page.locator("main img").count() == 0
    assert "<svg onload=ran=1>" in page.locator("#methods").text_content()


def test_ten_thousand_solutions(opened: Opened) -> None:
    rows = [solution(f"p{n:05d}", "dt" if n % 10 == 0 else "d", n % 2 == 0) for n in range(10_050)]
    page = opened(lambda store: write_run(store, [rows[:5000], rows[5000:]]))
    counted(page, "10,000 of 10,000 solutions")
    assert "10,000 of 10,050 solutions are here to browse" in page.locator(".notes").text_content()
    assert page.locator("#solutions > li").count() == 30
    page.click("#next")
    assert page.locator("#page").text_content() == "2 of 334"
    page.fill("#search", "p0123")
    counted(page, "10 of 10,000 solutions")
    assert all(name.startswith("p0123") for name in listed(page))
    page.select_option("#verdict", label="wrong")
    counted(page, "5 of 10,000 solutions")
    assert all(int(name[1:]) % 2 for name in listed(page))
