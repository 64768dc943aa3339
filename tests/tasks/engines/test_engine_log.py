"""Of what an engine printed, the line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engines.engine_log import last_words

FRAME = '(EngineCore pid=7) ERROR 11-29 16:40:12 [core.py:1100]   File "x.py", line 3, in start\n'


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("INFO loading\nTraceback (most recent call last):\nValueError: no such model\n", "ValueError: no such model"),
        (
            "(EngineCore pid=7) ERROR 11-29 16:40:12 [core.py:1100] torch.OutOfMemoryError: CUDA out of memory.\n"
            "RuntimeError: Engine core initialization failed. See root cause above.\n",
            "torch.OutOfMemoryError: CUDA out of memory.",
        ),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig\n"
            "  Value error, Total number of attention heads (5) must be divisible by tensor parallel size (2). "
            "[type=value_error, input_value=ArgsKwargs((), {}), input_type=ArgsKwargs]\n",
            "ValidationError: Value error, Total number of attention heads (5) must be divisible by tensor parallel "
            "size (2).",
        ),
        (
            FRAME + "pydantic_core._pydantic_core.ValidationError: 2 validation errors for ModelConfig\ndtype\n"
            "  Input should be 'auto' or 'half' [type=literal_error, input_value='float99', input_type=str]\n",
            "ValidationError: dtype Input should be 'auto' or 'half'",
        ),
        ("all is well\n", None),
        ("", None),
    ],
)
def test_the_fault_is_found_with_what_it_says(log: str, words: str | None, tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_text(log)
    assert last_words(str(tmp_path / "engine.log")) == words
