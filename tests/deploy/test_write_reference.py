"""schemas/README.md is what the code says of its fields and columns."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from schemas.config import Config, InputConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "deploy" / "write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(reference: ModuleType) -> None:
    text: str = reference.page()
    assert (ROOT / "schemas" / "README.md").read_text() == text, "run: python deploy/write_reference.py"


def test_every_section_of_a_configuration_is_on_it(reference: ModuleType) -> None:
    shown = {model for _, model in reference.SECTIONS}
    assert {field.annotation for field in Config.model_fields.values() if isinstance(field.annotation, type)} <= shown


def test_a_field_of_which_nothing_is_said_is_told_of(reference: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(InputConfig):
        more: int = 0

    sections: list[tuple[str, type[BaseModel]]] = [("input", Silent)]
    monkeypatch.setattr(reference, "SECTIONS", sections)
    with pytest.raises(ValueError, match=r"input\.more"):
        reference.page()
