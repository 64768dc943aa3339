"""Measure PRMs on steps whose truth is known, for example: measure.py WORK/held --prm ../models/prm --prm WORK/prm

Runs are outputs of `stepwave generate` on problems of make_problems.py, which carry their truth; label_steps says
which steps of their solutions are true. Scores come from plain transformers. For each PRM two lines: all steps, and
those whose earlier steps are all true, as a decoder meets them that throws wrong steps away.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
import torch
from problems import chat_prompt, label_steps
from safetensors.torch import load_file
from train import TAG
from train_prm import Prm, token_ids
from transformers import Qwen2Config, Qwen2Model

SEPARATOR = "\n\n"


def load_prm(path: Path) -> Prm:
    prm = Prm(Qwen2Model(Qwen2Config.from_pretrained(path)))
    prm.load_state_dict(load_file(path / "model.safetensors"))
    return prm.float().eval()


def read_solutions(runs: list[Path]) -> list[tuple[str, list[str], list[bool]]]:
    """(problem, steps, is each true) of every solution, shorter ones first."""
    tables = [pl.read_parquet(run / "solutions" / "*.parquet") for run in runs]
    found = []
    for problem, solution, answer, about in (
        pl.concat(tables).select("problem", "solution", "reference", "metadata").rows()
    ):
        steps = [step.strip() for step in solution.removesuffix(SEPARATOR).split(SEPARATOR)]
        found.append((problem, steps, label_steps(steps, json.loads(json.loads(about)["truth"]), answer)))
    return sorted(found, key=lambda each: len(each[0]) + sum(map(len, each[1])))


@torch.no_grad()
def step_scores(prm: Prm, solutions: list[tuple[str, list[str], list[bool]]]) -> np.ndarray:
    """The probability of `right` at each step's tag, one solution after the other."""
    scores = []
    for k in range(0, len(solutions), 64):
        texts = [chat_prompt(p) + "".join(f"{s}<extra_0>" for s in steps) for p, steps, _ in solutions[k : k + 64]]
        rows = [torch.tensor(ids) for ids in token_ids(texts)]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        logits = prm.score(prm.model(input_ids=ids).last_hidden_state)
        scores.append(logits.softmax(-1)[..., 1][ids == TAG])
    return torch.cat(scores).numpy()


def quality(scores: np.ndarray, right: np.ndarray) -> str:
    """The AUC (ties count half), and the shares that score 0.7 or more."""
    good, bad = scores[right], np.sort(scores[~right])
    auc = (np.searchsorted(bad, good) + np.searchsorted(bad, good, side="right")).mean() / 2 / len(bad)
    passed = f"right >= 0.7 {(good >= 0.7).mean():.3f}, wrong >= 0.7 {(bad >= 0.7).mean():.3f}"
    return f"AUC {auc:.3f}, {passed} ({len(good):,} right, {len(bad):,} wrong)"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--prm", type=Path, action="append", required=True, help="checkpoint; may be repeated")
    given = parser.parse_args()
    solutions = read_solutions(given.runs)
    right = np.array([label for _, _, labels in solutions for label in labels])
    unspoilt = np.array([all(labels[:i]) for _, _, labels in solutions for i in range(len(labels))])
    for path in given.prm:
        scores = step_scores(load_prm(path), solutions)
        print(f"{path}: all steps: {quality(scores, right)}")
        print(f"{path}: behind true steps: {quality(scores[unspoilt], right[unspoilt])}", flush=True)
