"""Solutions to learn from: which are taken, and how they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from export.made import attempt, draft, made, redone, solved, write_run
from schemas.config import PromptConfig
from tasks.errors import UserError
from tasks.export.problems import text_frame
from tasks.storage.stores import Stores

LONG = "Let us write the sum of the two numbers as a product and take half of it before we add seven to the result.\n\n"


def ids(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(row["problem_id"], row["sample"]) for row in rows]


def test_right_answers_are_messages(tmp_path: Path) -> None:
    right = solved(
        "p0", draft("So 2.\n\n", 0.9), redone("It is 4.", "It is 5.", 0.2), metadata='{"choices": ["3", null]}'
    )
    wrong = solved("p1", draft("So 3."), correct=False)
    ungraded = solved("p2", draft("So 4."), correct=None)
    run = write_run(tmp_path / "run", [[right, wrong], [ungraded]])
    [row] = made("sft", run, tmp_path / "data")
    assert row["messages"] == [
        {"role": "system", "content": "Please reason step by step, and put your final answer within \\boxed{}."},
        {"role": "user", "content": "What is the value of p0?\n(A) 3\n(B) "},
        {"role": "assistant", "content": "So 2.\n\nIt is 4."},
    ]
    assert {name: value for name, value in row.items() if name not in ("messages", "run_id")} == {
        "problem_id": "p0",
        "sample": 0,
        "correct": True,
        "steps": 2,
        "draft_steps": 1,
        "tokens": 5,
        "min_reward": pytest.approx(0.9),
        "last_reward": pytest.approx(0.9),
    }
    assert len(row["run_id"]) > 5
    assert ids(made("sft", run, tmp_path / "wrong", answers="wrong")) == [("p1", 0)]
    assert ids(made("sft", run, tmp_path / "any", answers="any")) == [("p0", 0), ("p1", 0), ("p2", 0)]


def test_text_in_the_place_of_messages(tmp_path: Path, models: Path) -> None:
    run = write_run(tmp_path / "run", [[solved("p0", draft("So 2."))]], prompt={"system": None})
    [row] = made("sft", run, tmp_path / "a", format="text")
    assert (row["prompt"], row["completion"]) == ("What is the value of p0?\n\n", "So 2.")
    templated = write_run(tmp_path / "b", [[solved("p0", draft("So 2."))]], prompt={"template": "{system}|{user}>"})
    assert made("sft", templated, tmp_path / "c", format="text")[0]["prompt"].endswith("}.|What is the value of p0?>")
    chat = made("sft", run, tmp_path / "d", format="text", template=str(models / "target"))[0]["prompt"]
    assert "What is the value of p0?" in chat
    assert len(chat) > len(row["prompt"])
    with pytest.raises(UserError, match="--template"):
        made("sft", run, tmp_path / "e", format="text", template=str(tmp_path))


def test_a_start_of_text_that_the_trainer_adds_is_left_to_it(models: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models / "target")
    bare = text_frame(PromptConfig(), str(models / "target"), "sft")
    tokenizer.bos_token = tokenizer.eos_token
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path)
    assert text_frame(PromptConfig(), str(tmp_path), "sft") == tokenizer.bos_token + bare, "this one adds none itself"
    assert text_frame(PromptConfig(), str(tmp_path), "prm") == bare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.export.problems.start_of_text", lambda tokenizer: tokenizer.bos_token)
        assert text_frame(PromptConfig(), str(tmp_path), "step-dpo") == bare


def test_questions_with_other_choices_are_other_problems(tmp_path: Path) -> None:
    stem = "Which of the following statements is true?"
    rows = [
        solved(name, draft("The answer is (B)."), problem=stem, metadata=metadata)
        for name, metadata in (
            ("p0", '{"choices": ["Cats bark", "Dogs bark"]}'),
            ("p1", '{"choices": ["2 + 2 = 5", "2 + 2 = 4"]}'),
            ("p2", '{"level": 1, "choices": ["cats  bark", "dogs bark"]}'),
        )
    ]
    found = made("sft", write_run(tmp_path / "run", [rows]), tmp_path / "data", per_problem=1)
    assert len(found) == 2
    assert ("p1", 0) in ids(found)


def test_levels_are_told_by_their_whole_names(tmp_path: Path) -> None:
    name = "Algebra and number theory of the second year, part "
    rows = [solved(f"p{n}", draft(f"{n}."), metadata=json.dumps({"level": f"{name}{n} of 2"})) for n in (1, 2)]
    run = write_run(tmp_path / "run", [rows])
    assert ids(made("sft", run, tmp_path / "data", levels=[f"{name}2 of 2"])) == [("p2", 0)]


def test_filters(tmp_path: Path) -> None:
    rows = [
        solved("p0", draft("One two three."), status="max_tokens"),
        solved("p1", draft("One.", 0.6), draft("Two.", 0.95), metadata='{"level": 3}'),
        solved("p2", redone("Three four.", "Four.")),
        solved("p3", [attempt("draft", "Nothing scored.", None)]),
        solved("p4", draft("   \n")),
    ]
    run = write_run(tmp_path / "run", [rows])

    def left(**options: Any) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return [row["problem_id"] for row in made("sft", run, folder, **options)]

    assert left() == ["p1", "p2", "p3"]
    assert left(status=["max_tokens"]) == ["p0"]
    assert left(min_reward=0.6) == ["p1"]
    assert left(min_reward=0.9, reward="last") == ["p1"]
    assert left(min_draft_share=0.5) == ["p1", "p3"]
    assert left(max_draft_share=0.5) == ["p2"]
    assert left(max_tokens=2) == ["p1", "p2", "p3"]
    assert left(min_tokens=3, status=["finished", "max_tokens"]) == ["p0"]
    assert left(levels=["3"]) == ["p1"]
    with pytest.raises(UserError, match="another level: 5"):
        left(levels=["4"])


def test_difficulty_is_the_share_solved_over_all_runs(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [[solved("p0", draft("A.")), solved("p1", draft("B."))]])
    two = write_run(
        tmp_path / "two",
        [
            [
                solved("p0", draft("C."), correct=False),
                solved("p1", draft("D.")),
                solved("p2", draft("E."), correct=None),
            ]
        ],
        run=1,
    )
    hard = made("sft", [one, two], tmp_path / "hard", max_solved=0.5)
    assert ids(hard) == [("p0", 0)]
    assert [row["problem_id"] for row in made("sft", [one, two], tmp_path / "easy", min_solved=0.6)] == ["p1", "p1"]


def test_exact_and_near_duplicates(tmp_path: Path) -> None:
    first = LONG * 3
    nearly = first[: first.rindex("seven")] + "eight" + first[first.rindex("seven") + 5 :]
    signs = first.replace("add seven to", "subtract six from").replace("product", "ratio").replace("half", "twice")
    rows = [
        solved("p0", draft(first)),
        solved("p0", draft(first), sample=1),
        solved("p0", draft(nearly), sample=2),
        solved("p0", draft(signs), sample=3),
        # the same problem under another id
        solved("again", draft(first), problem="What is  the VALUE of p0?"),
        # the same solution of another problem is not the same
        solved("p1", draft("It is 4.")),
        solved("p2", draft("It is 4.")),
    ]
    run = write_run(tmp_path / "run", [rows[:3], rows[3:]])
    kept = ids(made("sft", run, tmp_path / "data"))
    assert kept == [("again", 0), ("p0", 3), ("p1", 0), ("p2", 0)]
    kept = ids(made("sft", run, tmp_path / "exact", near_duplicates=1.0))
    assert ("p0", 2) in kept
    assert len(kept) == 6


def test_problems_that_differ_in_a_word_count_once(tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(60))
    rows = [
        solved("p0", draft(LONG * 2), problem=f"{words} and then?"),
        solved("p1", draft(LONG * 2), problem=f"{words} and so?"),
        solved("p2", draft(LONG * 2), problem="Something else altogether, " * 5 + "no?"),
    ]
    kept = ids(made("sft", write_run(tmp_path / "run", [rows]), tmp_path / "data"))
    assert len(kept) == 2
    assert ("p2", 0) in kept


def test_at_most_so_many_of_a_problem_the_most_different_ones(tmp_path: Path) -> None:
    a, b = LONG, "First count apples, then pears, then divide by the number of baskets on the table beside the door."
    rows = [
        solved("p0", draft(a, 0.8), sample=0),
        solved("p0", draft(a + "So it is.", 0.9), sample=1),
        solved("p0", draft(b, 0.7), sample=2),
        solved("p1", draft("x", 0.1)),
    ]
    run = write_run(tmp_path / "run", [rows])
    kept = ids(made("sft", run, tmp_path / "data", per_problem=2, near_duplicates=1.0))
    assert kept == [("p0", 1), ("p0", 2), ("p1", 0)], "the best, and what is least like it"


def test_benchmarks_are_left_out(tmp_path: Path, problem_set: Any) -> None:
    told = "A farmer has so many cows that he cannot count them before the sun goes down behind the hill."
    rows = [
        solved("long", draft("1."), problem=f"Once more: {told.upper()} How many?"),
        solved("clean", draft("2."), problem="A farmer has so many sheep that he cannot count them."),
        solved("short", draft("3."), problem="what is 2+3 ?"),
        solved("other", draft("4."), problem="What is 2-3?"),
    ]
    run = write_run(tmp_path / "run", [rows])
    lines = tmp_path / "lines.jsonl"
    lines.write_text(f'{{"question": "{told}"}}\n{{"problem": "Unrelated?"}}\n')
    own = tmp_path / "gsm8k-test.jsonl"
    own.write_text('{"question": "What is 2 + 3?", "answer": "#### 5"}\n')
    table = problem_set({"problem": ["Nothing of that kind", None]})
    from flows.export import export
    from schemas.export import ExportOptions

    options = ExportOptions(decontaminate=[str(lines), f"gsm8k={own}", table], splits="none")
    done = export("sft", [run], str(tmp_path / "data"), options, Stores())
    assert done["rows"] == {"train": 2}
    assert [(b["problems"], b["found"], b["solutions"]) for b in done["decontamination"]] == [
        (2, 1, 1),
        (1, 1, 1),
        (1, 0, 0),
    ]
    card = (tmp_path / "data" / "README.md").read_text()
    assert "| `lines.jsonl` | 2 | 1 | 1 |" in card
    told_to_others = card + (tmp_path / "data" / "export.json").read_text()
    assert str(tmp_path) not in told_to_others
    assert made("sft", run, tmp_path / "few", decontaminate=[str(lines)], ngram=30)[0]["problem_id"] == "clean"
    with pytest.raises(UserError, match=r"--decontaminate: .*none\.jsonl"):
        made("sft", run, tmp_path / "no", decontaminate=[str(tmp_path / "none.jsonl")])
