"""Rewards as the authors of each PRM take them: the whole solution tokenized as their examples do, one plain forward
pass of transformers in float32, the scores at the steps' ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, Qwen2Model

from schemas.config import SYSTEM
from tasks.models.formats.judge import ANSWER, QUESTION

from .layouts import TAG


def _logits(folder: Path, ids: list[int]) -> torch.Tensor:
    """[tokens, vocabulary]"""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def skywork(folder: Path, problem: str, steps: list[str]) -> tuple[list[int], list[float]]:
    """Ids of problem and solution, a blank line between its steps, and a score for each step."""
    words: Any = AutoTokenizer.from_pretrained(folder)
    ids = words.encode((words.bos_token or "") + problem + "\n")
    ends = []
    for line in "\n\n".join(steps).split("\n"):
        ids += [*(words.encode(line) if line else []), words.encode("\n")[-1]]
        if line:
            ends.append(len(ids) - 1)
    weights = load_file(folder / "model.safetensors")
    with torch.no_grad():
        hidden = Qwen2Model.from_pretrained(folder, dtype=torch.float32).eval()(torch.tensor([ids])).last_hidden_state
        values = hidden[0] @ weights["v_head.summary.weight"].T + weights["v_head.summary.bias"]
    return ids, [float(torch.sigmoid(values[at, 0])) for at in ends]


def shepherd(folder: Path, problem: str, steps: list[str]) -> tuple[list[int], list[float]]:
    words: Any = AutoTokenizer.from_pretrained(folder)
    ids = words.encode(f"{problem} " + "\n".join(step + TAG for step in steps))
    good, bad, tag = (words.encode(text)[-1] for text in ("+", "-", TAG))
    chances = torch.softmax(_logits(folder, ids)[:, [good, bad]], -1)[:, 0]
    return ids, [float(chances[at]) for at, token in enumerate(ids) if token == tag]


def rlhflow(folder: Path, problem: str, steps: list[str]) -> tuple[list[int], list[float]]:
    """Ids of the conversation up to the last verdict, which the authors give three tokens before its end."""
    words: Any = AutoTokenizer.from_pretrained(folder)
    good, bad = words.encode("+")[-1], words.encode("-")[-1]
    chat: list[dict[str, str]] = []
    scores = []
    for number, step in enumerate(steps):
        chat += [{"role": "user", "content": step if number else f"{problem} {step}"}]
        chat += [{"role": "assistant", "content": "+"}]
        ids = words.apply_chat_template(chat, return_dict=False)
        at = len(ids) - 1 - ids[::-1].index(good)
        scores.append(float(torch.softmax(_logits(folder, ids)[at - 1, [good, bad]], -1)[0]))
    return ids[:at], scores


def outcome(folder: Path, problem: str, steps: list[str]) -> tuple[list[int], list[float]]:
    """Scores of the solution so far after each step, a blank line between two. Each step is tokenized by itself: else
    a sentence's end before a blank line might be another token than at the solution's."""
    words: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    model.config.pad_token_id = words.pad_token_id
    scores = []
    for number in range(len(steps)):
        turns = (problem, "\n\n".join(steps[: number + 1]))
        chat = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), turns, strict=True)]
        text = words.apply_chat_template(chat, tokenize=False)
        ids = [i for part in re.split(r"(?=\n\n)", text) for i in words.encode(part)]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        scores.append(float(torch.sigmoid(logits[0]) if len(logits) == 1 else torch.softmax(logits, -1)[1]))
    return ids, scores


def confidence(folder: Path, prompt: list[int], written: list[int], kind: str) -> float:
    logs = torch.log_softmax(_logits(folder, [*prompt, *written]), -1)[len(prompt) - 1 : -1]
    own = logs.gather(1, torch.tensor(written)[:, None])
    return float(torch.exp(own.min() if kind == "min" else own.mean()))


def judge(folder: Path, problem: str, steps: list[str]) -> tuple[list[int], list[float]]:
    """The expected digit as a share of 9 after each step."""
    words: Any = AutoTokenizer.from_pretrained(folder)
    scores = []
    for number in range(len(steps)):
        turns = (SYSTEM, problem, "".join(steps[: number + 1]), QUESTION)
        roles = ("system", "user", "assistant", "user")
        chat = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]
        text = words.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) + ANSWER
        ids = words.encode(text)
        chances = torch.softmax(_logits(folder, ids)[-1, [words.encode(str(digit))[0] for digit in range(10)]], -1)
        scores.append(float(chances @ torch.arange(10.0)) / 9)
    return ids, scores
