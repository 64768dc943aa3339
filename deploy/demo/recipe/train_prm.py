"""Train a PRM like the demo's from a dataset of `stepwave export prm`, for example: train_prm.py WORK/data WORK/prm

The dataset says of each step whether it is right, and no more. Plain fine-tuning on that got stuck at an AUC of 0.85:
a small causal LM knows which token it expects, but nothing in it compares that with the token that came. So two layers
go on top of the frozen LM `strong`. The first starts with heads that look one token back and write the LM's prediction
into quiet directions of the residual stream, and learns to tell expected tokens from unexpected ones (stage 1, labels
from the LM's own likelihood). The second starts with a head that picks the most unexpected token so far, and both then
learn the step labels (stage 2); on the way there a wrong step counts as wrong from its first unexpected token on. The
result is a plain six-layer Qwen2 PRM.
"""

import argparse
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from train import PAD, TAG, TOK, batches, repeat_rope_theta
from transformers import Qwen2Config, Qwen2ForCausalLM

STRONG = Path(__file__).resolve().parent / "strong"
WIDTH = 480  # tokens; longer solutions are left out
SOLUTIONS = 6_500  # used at most
HELD = 800  # solutions of the test split used at most, for the last measurement
CUT = 0.6  # share of the wrong solutions that end at their first wrong step
EXTRA = 2  # layers on top of the LM
BATCH = 48
LOCAL_STEPS = 230  # optimizer steps of stage 1
STEPS = 450  # of stage 2
NO_LABEL = -100
EXPECTED = -1.5  # log-probability above which the LM expected a token
PREDICTION = 64  # directions that hold the LM's prediction; as many of least variance, the quiet ones, take them up
VERDICT = 70  # the quiet direction (by variance) in which the second layer says how unexpected things got
COPY_HEADS = 4  # heads of the first layer that look one token back
KEPT = (  # of the LM's configuration
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "tie_word_embeddings",
)


@dataclass
class Solutions:
    """Tokenized solutions, every step followed by <extra_0>. Labels are 1 right, 0 wrong, NO_LABEL none."""

    ids: np.ndarray  # [rows, WIDTH] int64, PAD after the end
    step: np.ndarray  # [rows, WIDTH] at a step's tag: is the step right?
    within: np.ndarray  # [rows, WIDTH] at a step's tokens: the same
    length: np.ndarray  # [rows]

    def __len__(self) -> int:
        return len(self.length)


def token_ids(texts: list[str]) -> list[list[int]]:
    return TOK(texts, add_special_tokens=False)["input_ids"]


def load_solutions(data: Path, split: str, most: int) -> Solutions:
    """Read a split of a dataset with prompt, completions and labels; shuffle and tokenize it.

    Steps are tokenized one by one, without white space around them, as Stepwave's format `qwen` does.
    """
    files = data / "data" / f"{split}-*.parquet"
    if not list(files.parent.glob(files.name)):
        raise SystemExit(
            f"{files}: no such files; it wants a dataset of `stepwave export prm` with the splits train and test"
        )
    table = pl.read_parquet(files, columns=["prompt", "completions", "labels"])
    table = table.sample(min(most, table.height), shuffle=True, seed=778)
    rng = random.Random(778)
    ids = np.full((table.height, WIDTH), PAD, np.int64)
    step, within = (np.full(ids.shape, NO_LABEL, np.int64) for _ in range(2))
    length, row = np.zeros(table.height, np.int64), 0
    for prompt, texts, right in table.rows():
        if False in right and rng.random() < CUT:  # one wrong step breeds others: let first errors weigh more
            texts, right = texts[: right.index(False) + 1], right[: right.index(False) + 1]
        first, *steps = token_ids([prompt, *(text.strip() for text in texts)])
        if len(first) + sum(len(tokens) + 1 for tokens in steps) > WIDTH:
            continue
        at = len(first)
        ids[row, :at] = first
        for tokens, label in zip(steps, right, strict=True):
            tag = at + len(tokens)
            ids[row, at : tag + 1], within[row, at:tag], step[row, tag] = [*tokens, TAG], label, label
            at = tag + 1
        length[row] = at
        row += 1
    return Solutions(ids[:row], step[:row], within[:row], length[:row])


def right_so_far(within: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Labels of tokens, [rows, tokens]: is the step right up to here?

    Which token makes a wrong step wrong, no one said. We take the first one that the LM did not expect. At the latest
    that is a step's full stop: the LM knows it and the blank line after it as one token.
    """
    labels = within.copy()
    for row, at in zip(*np.nonzero((within == 0) & (np.roll(within, 1, axis=1) == NO_LABEL)), strict=True):
        end = at + int(np.argmax(within[row, at:] == NO_LABEL))
        surprises = np.flatnonzero(expected[row, at:end] == 0)
        labels[row, at:end] = NO_LABEL
        if len(surprises):
            labels[row, at : at + surprises[0]] = 1
            labels[row, at + surprises[0] : end] = 0
    return labels


def grow(strong: Path) -> Qwen2ForCausalLM:
    """The LM in float32 with EXTRA new layers on top."""
    lm = Qwen2ForCausalLM.from_pretrained(strong, dtype=torch.float32).eval()
    config = Qwen2Config(
        **{name: value for name, value in lm.config.to_dict().items() if name in KEPT},
        num_hidden_layers=lm.config.num_hidden_layers + EXTRA,
        max_position_embeddings=2048,
    )
    full = Qwen2ForCausalLM(config).float()
    full.load_state_dict(lm.state_dict(), strict=False)
    embed = full.model.embed_tokens.weight
    with torch.no_grad():  # a tag ends a step as the separator does
        embed[TAG] = embed[TOK(".\n\n", add_special_tokens=False)["input_ids"][0]]
    return full


class Prm(nn.Module):
    """Backbone `model` and head `score` (Linear, ReLU, Linear(2)), which is read at each <extra_0>: vLLM's names."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        hidden = backbone.config.hidden_size
        self.model = backbone
        self.score = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2))


class Top(nn.Module):
    """The layers above the LM: [batch, tokens, hidden] to (PRM logits, local logits), both [batch, tokens, 2]."""

    def __init__(self, layers: nn.ModuleList, norm: nn.Module, score: nn.Module, rotary: nn.Module, hidden: int):
        super().__init__()
        self.layers, self.norm, self.score, self.rotary = layers, norm, score, rotary
        self.local_norm, self.local = nn.RMSNorm(hidden), nn.Linear(hidden, 2)

    def run_layer(self, layer: nn.Module, h: torch.Tensor) -> torch.Tensor:
        at = torch.arange(h.shape[1])[None]
        out = layer(h, attention_mask=None, position_ids=at, position_embeddings=self.rotary(h, at))
        return out[0] if isinstance(out, tuple) else out

    def local_logits(self, h: torch.Tensor) -> torch.Tensor:
        """Was the token expected? From the first layer only."""
        return self.local(self.local_norm(self.run_layer(self.layers[0], h)))

    def forward(self, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.run_layer(self.layers[0], h)
        local = self.local(self.local_norm(h))
        for layer in self.layers[1:]:
            h = self.run_layer(layer, h)
        return self.score(self.norm(h)), local


class States:
    """The frozen LM's last hidden states (before its norm) of all solutions, packed, and labels of the tokens."""

    def __init__(self, backbone: nn.Module, norm: nn.Module, solutions: Solutions):
        self.solutions, self.hidden = solutions, backbone.config.hidden_size
        self.offset = np.concatenate([[0], np.cumsum(solutions.length)])
        self.packed = torch.empty((int(self.offset[-1]), self.hidden), dtype=torch.bfloat16)
        self.expected = np.full(solutions.ids.shape, NO_LABEL, np.int64)
        order = np.argsort(solutions.length, kind="stable")
        for k in range(0, len(order), 96):
            self.fill(backbone, norm, order[k : k + 96])
        self.so_far = right_so_far(solutions.within, self.expected)

    @torch.no_grad()
    def fill(self, backbone: nn.Module, norm: nn.Module, rows: np.ndarray) -> None:
        ids, length = self.solutions.ids, self.solutions.length
        width = int(length[rows].max())
        x = torch.from_numpy(ids[rows, :width])
        with torch.autocast("cpu", torch.bfloat16):
            h = backbone(input_ids=x).last_hidden_state
            logits = norm(h) @ backbone.embed_tokens.weight.T
        seen = logits.float().log_softmax(-1)[:, :-1].gather(-1, x[:, 1:, None])[..., 0]
        rest = np.where(ids[rows, 1:width] == PAD, NO_LABEL, 1)  # prompt and tags: nothing to find there
        in_step = self.solutions.within[rows, 1:width] >= 0
        self.expected[rows, 1:width] = np.where(in_step, (seen > EXPECTED).numpy(), rest)
        for i, row in enumerate(rows):
            self.packed[self.offset[row] : self.offset[row + 1]] = h[i, : length[row]].to(torch.bfloat16)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """States [rows, tokens, hidden] float32; labels [rows, tokens]: step, so far, expected."""
        length = self.solutions.length
        width = int(length[rows].max())
        h = torch.zeros((len(rows), width, self.hidden))
        for i, row in enumerate(rows):
            h[i, : length[row]] = self.packed[self.offset[row] : self.offset[row + 1]].float()
        labels = (self.solutions.step, self.so_far, self.expected)
        step, so_far, expected = (torch.from_numpy(y[rows, :width]) for y in labels)
        return h, step, so_far, expected


@torch.no_grad()
def start_first_layer(top: Top, embed: torch.Tensor, states: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Heads that look one token back and write the LM's prediction there into the quiet directions.

    Returns the directions of the residual stream as columns, least variance first, and its standard deviation.
    """
    norm, attention = top.norm, top.layers[0].self_attn
    head_dim = attention.head_dim
    x = states[torch.randperm(len(states))[:60_000]].float()
    quiet = torch.linalg.eigh(torch.cov(x.T))[1]
    predicts = torch.linalg.eigh(torch.cov((norm(x) @ embed.T).T))[1][:, -PREDICTION:]
    basis = torch.linalg.qr(embed.T @ predicts)[0]  # [hidden, PREDICTION]: where the LM's prediction lives
    for layer in top.layers:
        nn.init.normal_(layer.mlp.gate_proj.weight, std=0.08)
        nn.init.normal_(layer.mlp.up_proj.weight, std=0.08)
        nn.init.normal_(layer.mlp.down_proj.weight, std=0.02)
    angle = 10000.0 ** (-torch.arange(head_dim // 2) / (head_dim // 2))  # RoPE's, per token
    for head in range(COPY_HEADS):  # constant query and key whose rotations agree at a distance of one token
        rows = slice(head * head_dim, (head + 1) * head_dim)
        attention.q_proj.weight[rows], attention.k_proj.weight[rows] = 0, 0
        attention.q_proj.bias[rows] = 8.2 * torch.cat([torch.cos(angle), -torch.sin(angle)])
        attention.k_proj.bias[rows] = 8.2 * torch.cat([torch.ones_like(angle), torch.zeros_like(angle)])
    attention.v_proj.weight[:PREDICTION] = (norm.weight[:, None] * basis).T
    attention.v_proj.bias.zero_()
    attention.o_proj.weight.zero_()
    spread = float(x.std())
    attention.o_proj.weight[:, :PREDICTION] = quiet[:, :PREDICTION] * spread * 1.5 / float((norm(x) @ basis).std())
    return quiet, spread


def train_first_layer(top: Top, states: States, rows: Iterator[np.ndarray], steps: int) -> None:
    """Stage 1: expected tokens from unexpected ones."""
    trained = [*top.layers[0].parameters(), *top.local.parameters(), *top.local_norm.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=2e-3, betas=(0.9, 0.95), weight_decay=0.0)
    for i in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (i + 1) / 40) * (0.05 + 0.95 * (1 - i / steps))
        h, _, _, expected = states.batch(next(rows))
        with torch.autocast("cpu", torch.bfloat16):
            local = top.local_logits(h)
        known = expected >= 0
        loss = F.cross_entropy(local[known].float(), expected[known], weight=torch.tensor([3.0, 1.0]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if i % 25 == 0:
            print(f"stage 1, {i}: {loss.item():.4f}", flush=True)


@torch.no_grad()
def start_second_layer(top: Top, quiet: torch.Tensor, spread: float) -> None:
    """A head that picks the most unexpected token so far, and a score that reads what it found."""
    unexpected = top.local.weight[0] - top.local.weight[1]
    bias = top.local.bias[0] - top.local.bias[1]
    layer = top.layers[1]
    attention, verdict = layer.self_attn, quiet[:, VERDICT]
    layer.input_layernorm.weight.copy_(top.local_norm.weight)
    for proj in (attention.q_proj, attention.k_proj, attention.v_proj):
        proj.weight[: attention.head_dim], proj.bias[: attention.head_dim] = 0, 0
    for j in range(11, 16):  # RoPE's slow dimensions: distance hardly matters there
        attention.q_proj.bias[j], attention.k_proj.weight[j], attention.k_proj.bias[j] = 1.5, unexpected, bias
    attention.v_proj.weight[0], attention.v_proj.bias[0] = unexpected, bias
    attention.o_proj.weight.zero_()
    attention.o_proj.weight[:, 0] = verdict * spread * 2
    layer.mlp.down_proj.weight.zero_()
    top.norm.weight.fill_(1.0)
    top.score[0].weight.mul_(0.5)
    top.score[0].weight[0], top.score[0].weight[1] = verdict * 2, -verdict * 2
    top.score[0].bias[:2] = 0
    top.score[2].weight[:, :2] = torch.tensor([[0.5, -0.5], [-0.5, 0.5]])


def train_both_layers(top: Top, states: States, rows: Iterator[np.ndarray], steps: int) -> None:
    """Stage 2: the step labels, with the labels of the tokens on the way as further losses."""
    optimizer = torch.optim.AdamW(top.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    for i in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (i + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * i / steps)))
        h, *labels = states.batch(next(rows))
        with torch.autocast("cpu", torch.bfloat16):
            logits, local = top(h)
        step, so_far, expected = (
            F.cross_entropy(out[y >= 0].float(), y[y >= 0])
            for out, y in zip((logits, logits, local), labels, strict=True)
        )
        loss = step + 2 * so_far + 4 * expected
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(top.parameters(), 1.0)
        optimizer.step()
        if i % 50 == 0:
            print(f"stage 2, {i}: step {step:.4f}, so far {so_far:.4f}, expected {expected:.4f}", flush=True)


@torch.no_grad()
def measure(top: Top, states: States) -> str:
    """How well steps labelled right and wrong are told apart: the AUC, and the shares that score 0.7 or more."""
    top.eval()
    scores, labels = [], []
    for rows in np.array_split(np.arange(len(states.solutions)), 8):
        h, step, *_ = states.batch(rows)
        scores.append(top(h)[0].softmax(-1)[..., 1][step >= 0])
        labels.append(step[step >= 0])
    score, label = torch.cat(scores).numpy(), torch.cat(labels).numpy()
    right, wrong = score[label == 1], np.sort(score[label == 0])
    auc = (np.searchsorted(wrong, right) / len(wrong)).mean()
    return f"AUC {auc:.3f}, right >= 0.7 {(right >= 0.7).mean():.3f}, wrong >= 0.7 {(wrong >= 0.7).mean():.3f}"


def save(prm: Prm, out: Path) -> None:
    """Write a checkpoint in the layout of Qwen2.5-Math-PRM, in bfloat16."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in prm.to(torch.bfloat16).state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    about = {"architectures": ["Qwen2ForProcessRewardModel"], "num_labels": 2, "dtype": "bfloat16"}
    config = prm.model.config.to_dict() | about
    del config["_name_or_path"]
    (out / "config.json").write_text(json.dumps(config, indent=2, default=str))
    repeat_rope_theta(out / "config.json")
    TOK.save_pretrained(out)


def train_prm(data: Path, out: Path, strong: Path, local_steps: int, steps: int) -> None:
    torch.manual_seed(0)
    train, held = load_solutions(data, "train", SOLUTIONS), load_solutions(data, "test", HELD)
    full = grow(strong)
    model, norm = full.model, full.model.norm
    layers, below = model.layers, len(model.layers) - EXTRA
    # While the PRM is trained, `model` is the LM alone, without its norm, and the new layers are `top`'s.
    model.layers, model.norm, model.config.num_hidden_layers = layers[:below], nn.Identity(), below
    states = States(model, norm, train)
    prm = Prm(model)
    top = Top(layers[below:], norm, prm.score, model.rotary_emb, model.config.hidden_size)
    quiet, spread = start_first_layer(top, model.embed_tokens.weight, states.packed)
    rows = batches(train.length, BATCH, np.random.default_rng(2))
    train_first_layer(top, states, rows, local_steps)
    start_second_layer(top, quiet, spread)
    train_both_layers(top, states, rows, steps)
    print("against the labels of the test split:", measure(top, States(model, norm, held)))
    model.layers, model.norm, model.config.num_hidden_layers = layers, norm, below + EXTRA
    save(prm, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="directory of the dataset, with the splits train and test")
    parser.add_argument("out", type=Path, help="where the PRM goes")
    parser.add_argument("--strong", type=Path, default=STRONG, help="the LM under the PRM (the one bundled here)")
    parser.add_argument("--local-steps", type=int, default=LOCAL_STEPS, help="optimizer steps of stage 1")
    parser.add_argument("--steps", type=int, default=STEPS, help="of stage 2")
    given = parser.parse_args()
    train_prm(given.data, given.out, given.strong, given.local_steps, given.steps)
