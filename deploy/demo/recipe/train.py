"""Train one of the demo's language models on a CPU, for example: train.py WORK draft

A causal LM learns the solutions that problems.py writes; the result is WORK/NAME, a checkpoint in bfloat16 with its
tokenizer. Training is bounded by CPU seconds, and its cosine schedule ends with them. WORK/NAME.pt (a state dict), if
it is there, is where training starts.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from problems import CHAT_TEMPLATE, boxed, chat_prompt, make_problem
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM


@dataclass(frozen=True)
class Shape:
    """A model's size and how it is trained."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    learning_rate: float
    batch: int  # sequences
    seconds: float  # of CPU time, all threads together


SHAPES = {
    "draft": Shape(96, 4, 3, 256, 3e-3, 24, 1800),
    "target": Shape(160, 4, 5, 640, 2e-3, 32, 3000),
    "strong": Shape(160, 4, 5, 640, 2e-3, 32, 5000),
}
PARTS, PART = 241, 1000  # examples come in parts, part i from seed 1000 + i
MAX_TOKENS = 440  # of an example
SHORT = 190  # tokens; the draft starts on examples shorter than that


def load_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(Path(__file__).resolve().parent / "tokenizer.json"),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<extra_0>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


TOK = load_tokenizer()
EOS, PAD, TAG = (TOK.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>", "<extra_0>"))


def new_lm(shape: Shape) -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=len(TOK),
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=PAD,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    lm = Qwen2ForCausalLM(config)
    lm.generation_config.eos_token_id = [EOS, PAD]
    return lm


def make_examples(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids [count, MAX_TOKENS] int16, and (prompt length, total length) [count, 2] int16, for one seed."""
    rng = random.Random(seed)
    problems = [make_problem(rng) for _ in range(count)]
    prompts = TOK([chat_prompt(p["problem"]) for p in problems])["input_ids"]
    solutions = TOK(["\n\n".join(p["steps"]) + "<|im_end|>" for p in problems])["input_ids"]
    ids, lengths = np.zeros((count, MAX_TOKENS), np.int16), np.zeros((count, 2), np.int16)
    for i, (prompt, solution) in enumerate(zip(prompts, solutions, strict=True)):
        tokens = (prompt + solution)[:MAX_TOKENS]
        ids[i, : len(tokens)] = tokens
        lengths[i] = len(prompt), len(tokens)
    return ids, lengths


def batches(lengths: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Index batches of like length, for ever: shuffle, sort within pools of 32 batches, shuffle the batches."""
    if len(lengths) < 32 * size:
        raise ValueError(f"{len(lengths)} examples are too few: a pool is 32 batches of {size}")
    while True:
        order = rng.permutation(len(lengths))
        for k in range(0, len(order) - 32 * size + 1, 32 * size):
            pool = order[k : k + 32 * size]
            pool = pool[np.argsort(lengths[pool], kind="stable")].reshape(-1, size)
            yield from pool[rng.permutation(32)]


def lm_loss(lm: Qwen2ForCausalLM, ids: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
    """Mean cross-entropy of the solutions' tokens (the prompts' do not count) in a batch of examples."""
    width = int(lengths[:, 1].max())
    x = torch.from_numpy(ids[:, :width].astype(np.int64))
    first, end = (torch.from_numpy(lengths[:, j].astype(np.int64))[:, None] for j in (0, 1))
    at = torch.arange(width)[None]
    predicts = (at >= first - 1) & (at < end - 1)  # positions whose next token belongs to the solution
    with torch.autocast("cpu", torch.bfloat16):
        logits = lm.lm_head(lm.model(input_ids=x).last_hidden_state[predicts])
    return F.cross_entropy(logits.float(), torch.roll(x, -1, 1)[predicts])


def train_lm(work: Path, name: str, seconds: float | None = None, parts: int = PARTS) -> None:
    """Train `name` for so many CPU seconds (its shape's own when None) and write it to WORK/NAME."""
    shape = SHAPES[name]
    seconds = seconds or shape.seconds
    with ProcessPoolExecutor() as pool:
        made = list(pool.map(make_examples, range(1000, 1000 + parts), [PART] * parts))
    ids, lengths = (np.concatenate(arrays) for arrays in zip(*made, strict=True))
    torch.manual_seed(0)
    lm = new_lm(shape)
    if (begin := work / f"{name}.pt").exists():
        lm.load_state_dict(torch.load(begin))
    optimizer = torch.optim.AdamW(lm.parameters(), lr=shape.learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    every = batches(lengths[:, 1], shape.batch, np.random.default_rng(1))
    short = np.flatnonzero(lengths[:, 1] < SHORT)  # a small model learns to copy on short problems first
    easy = (short[b] for b in batches(lengths[short, 1], shape.batch, np.random.default_rng(2)))
    step, start = 0, time.process_time()
    while (done := (time.process_time() - start) / seconds) < 1:
        schedule = min(1, (step + 1) / 200) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = shape.learning_rate * schedule
        batch = next(easy if name == "draft" and done < 0.35 else every)
        loss = lm_loss(lm, ids[batch], lengths[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        optimizer.step()
        if step % 300 == 0:
            print(f"{name} {step}: loss {loss.item():.4f}, solved {solved(lm):.2f}, {done:.0%}", flush=True)
        step += 1
    lm.to(torch.bfloat16).save_pretrained(work / name)
    TOK.save_pretrained(work / name)
    repeat_rope_theta(work / name / "config.json")


def repeat_rope_theta(path: Path) -> None:
    """Put a configuration's rope_theta also where loaders from before transformers 5 look for it."""
    config = json.loads(path.read_text())
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    path.write_text(json.dumps(config, indent=2) + "\n")


@torch.no_grad()
def complete(lm: Qwen2ForCausalLM, prompts: list[str]) -> list[str]:
    """Greedy continuations of up to 280 tokens."""
    batch = TOK(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    out = lm.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        max_new_tokens=280,
        pad_token_id=PAD,
        do_sample=False,
    )
    return TOK.batch_decode(out[:, batch.input_ids.shape[1] :], skip_special_tokens=True)


def solved(lm: Qwen2ForCausalLM) -> float:
    """Share of 60 fixed problems that the model solves."""
    rng = random.Random(31)
    problems = [make_problem(rng) for _ in range(60)]
    lm.eval()
    texts = complete(lm, [chat_prompt(p["problem"]) for p in problems])
    lm.train()
    return float(np.mean([boxed(text) == p["answer"] for text, p in zip(texts, problems, strict=True)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--seconds", type=float, help="CPU seconds, instead of the model's own")
    parser.add_argument("--parts", type=int, default=PARTS, help="thousands of examples to draw from (fewer: a trial)")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    train_lm(given.work, given.name, given.seconds, given.parts)
