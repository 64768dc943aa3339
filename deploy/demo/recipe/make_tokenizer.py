"""Train the demo family's tokenizer: byte-level BPE with Qwen2's split rule, for example: make_tokenizer.py new.json

Digits stand alone, and '.\\n\\n' is one token. The tokenizer.json here was made this way on an earlier wording of the
problems. A new one takes its place only together with models that are all trained anew.
"""

import random
import sys
from collections.abc import Iterator

from problems import SYSTEM, chat_prompt, make_problem
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPLIT = (  # Qwen2's
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"]
PROBLEMS, VOCABULARY, SEED = 20_000, 1020, 5


def texts(rng: random.Random, count: int) -> Iterator[str]:
    """Prompts and solutions, without the special tokens."""
    for _ in range(count):
        p = make_problem(rng)
        yield f"system\n{SYSTEM}user\n{p['problem']}assistant\n" + "\n\n".join(p["steps"]) + "\n"


def train_tokenizer(rng: random.Random, count: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts(rng, count), trainer)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    rng = random.Random(SEED)
    tokenizer = train_tokenizer(rng, PROBLEMS)
    tokenizer.save(sys.argv[1])
    p = make_problem(rng)
    example = tokenizer.encode(chat_prompt(p["problem"]) + "\n\n".join(p["steps"]) + "<|im_end|>")
    print(f"{tokenizer.get_vocab_size()} tokens; a problem and its solution take {len(example.ids)}:", example.tokens)
