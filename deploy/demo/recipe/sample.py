"""Sample solutions with vLLM for the PRM to learn from, for example: sample.py WORK 7000

Reads WORK/draft and WORK/target, writes WORK/samples.json: problems, and texts as reward-guided decoding meets them. A
third are the draft's at temperature 1, a third the draft's at 0.7, a sixth the draft's after a true prefix, a sixth the
target's at 1.3.
"""

import argparse
import json
import os
import random
from pathlib import Path

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # two engines take turns in this one process

from problems import chat_prompt, make_problem
from vllm import LLM, SamplingParams

ENGINE = {
    "max_model_len": 1024,
    "enforce_eager": True,
    "dtype": "bfloat16",
    "block_size": 32,
    "kv_cache_memory_bytes": 1 << 30,
    "max_num_batched_tokens": 8192,
    "max_num_seqs": 256,
}


def complete(engine: LLM, prompts: list[str], temperature: float) -> list[str]:
    outputs = engine.generate(prompts, SamplingParams(temperature=temperature, max_tokens=280), use_tqdm=False)
    return [output.outputs[0].text for output in outputs]


def sample(work: Path, count: int) -> None:
    rng = random.Random(777)
    problems = [make_problem(rng) for _ in range(count)]
    prompts = [chat_prompt(p["problem"]) for p in problems]
    draft, target = LLM(str(work / "draft"), **ENGINE), LLM(str(work / "target"), **ENGINE)
    a, b, c = count // 3, 2 * count // 3, 5 * count // 6
    prefixes = ["\n\n".join(p["steps"][: rng.randint(1, len(p["steps"]) - 1)]) + "\n\n" for p in problems[b:c]]
    texts = complete(draft, prompts[:a], 1.0) + complete(draft, prompts[a:b], 0.7)
    begun = [prompt + prefix for prompt, prefix in zip(prompts[b:c], prefixes, strict=True)]
    texts += [prefix + rest for prefix, rest in zip(prefixes, complete(draft, begun, 1.0), strict=True)]
    texts += complete(target, prompts[c:], 1.3)
    (work / "samples.json").write_text(json.dumps({"ps": problems, "texts": texts}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("count", type=int, help="solutions; train_prm.py uses up to 6500, and needs 2500")
    given = parser.parse_args()
    sample(given.work, given.count)
