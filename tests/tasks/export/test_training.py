"""TRL's trainers take a step on each dataset, as it is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.made import draft, made, redone, solved, write_run

REASON = "TRL is in the test extra; its PRMTrainer is gone from 1.14 on"


@pytest.fixture
def tokenizer(models: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(models / "draft")


@pytest.fixture
def tiny(tokenizer: Any) -> Callable[[Any], Any]:
    """A random model of some thousand weights."""
    from transformers import Qwen2Config

    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return lambda kind: kind.from_config(config)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """An export of a kind, loaded."""
    datasets = pytest.importorskip("datasets", reason=REASON)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    right = [solved(f"p{n}", draft("It may be.\n\n"), redone(f"It is {n}.", f"It is {n}0.")) for n in range(4)]
    wrong = [solved(f"p{n}", draft(f"No {n}."), correct=False, sample=1) for n in range(4)]
    run = write_run(tmp_path / "run", [right, wrong])

    def load(kind: str, **options: Any) -> Any:
        made(kind, run, tmp_path / kind, **options)
        return datasets.load_dataset(str(tmp_path / kind), split="train", cache_dir=str(tmp_path / "cache"))

    return load


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "trained"),
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "report_to": "none",
        "use_cpu": True,
        "save_strategy": "no",
        "disable_tqdm": True,
        "bf16": False,
    }


def test_sft(dataset: Callable[..., Any], tiny: Any, tokenizer: Any, settings: dict[str, Any]) -> None:
    trl = pytest.importorskip("trl", reason=REASON)
    from transformers import AutoModelForCausalLM

    for options in ({}, {"format": "text"}):
        trainer = trl.SFTTrainer(
            model=tiny(AutoModelForCausalLM),
            args=trl.SFTConfig(**settings),
            train_dataset=dataset("sft", **options),
            processing_class=tokenizer,
        )
        assert math.isfinite(trainer.train().training_loss)


@pytest.mark.parametrize("kind", ["dpo", "step-dpo"])
def test_dpo(kind: str, dataset: Callable[..., Any], tiny: Any, tokenizer: Any, settings: dict[str, Any]) -> None:
    trl = pytest.importorskip("trl", reason=REASON)
    from transformers import AutoModelForCausalLM

    trainer = trl.DPOTrainer(
        model=tiny(AutoModelForCausalLM),
        ref_model=tiny(AutoModelForCausalLM),
        args=trl.DPOConfig(**settings),
        train_dataset=dataset(kind),
        processing_class=tokenizer,
    )
    assert math.isfinite(trainer.train().training_loss)


def test_steps_that_do_not_end_a_solution_need_no_end_of_text(
    dataset: Callable[..., Any], tiny: Any, tokenizer: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    """As the card tells how to."""
    trl = pytest.importorskip("trl", reason=REASON)
    from transformers import AutoModelForCausalLM

    steps = dataset("step-dpo")
    steps = steps.add_item(steps[0] | {"chosen": "First 2.\n\n", "rejected": "First 3.\n\n"})
    trainer = trl.DPOTrainer(
        model=tiny(AutoModelForCausalLM),
        ref_model=tiny(AutoModelForCausalLM),
        args=trl.DPOConfig(**settings),
        train_dataset=steps,
        processing_class=tokenizer,
    )
    card = (tmp_path / "step-dpo" / "README.md").read_text()
    [told] = [part for part in card.split("```") if part.startswith("python\nends = ")]
    exec(told.removeprefix("python\n"), {"trainer": trainer, "tokenizer": tokenizer})
    *last, on = [row["chosen_ids"] for row in trainer.train_dataset]
    assert tokenizer.decode(on) == "First 2.\n\n"
    assert all(ids[-1] == tokenizer.eos_token_id for ids in last)
    assert math.isfinite(trainer.train().training_loss)


def test_prm(
    dataset: Callable[..., Any],
    tiny: Any,
    tokenizer: Any,
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    prm = pytest.importorskip("trl.experimental.prm", reason=REASON)
    from transformers import AutoModelForTokenClassification

    trainer = prm.PRMTrainer(
        model=tiny(AutoModelForTokenClassification),
        args=prm.PRMConfig(step_separator="\n\n", **settings),
        train_dataset=dataset("prm"),
        processing_class=tokenizer,
    )
    assert math.isfinite(trainer.train().training_loss)
