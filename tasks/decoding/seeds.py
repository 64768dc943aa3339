"""Seeds and coins that depend only on the run's seed and on what they are for."""

from __future__ import annotations

from hashlib import blake2b
from zlib import crc32


def derive(run_seed: int, problem_id: str, sample: int, step: int, role: str, candidate: int = 0) -> int:
    """A seed in [0, 2**63) for one role's candidate for one step."""
    who = f"{role}#{candidate}" if candidate else role  # the first has the seed of one that is alone
    text = f"{run_seed}\x1f{sample}\x1f{step}\x1f{who}\x1f{problem_id}"
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1


def affinity(problem_id: str) -> int:
    """A number in [0, 2**32) that depends on the problem alone."""
    return crc32(problem_id.encode("utf-8", "surrogatepass"))


def coin(run_seed: int, problem_id: str, sample: int, step: int) -> float:
    """A number in [0, 1), uniform over steps. A step is accepted if it is below the rule's probability."""
    return (derive(run_seed, problem_id, sample, step, "accept") >> 10) / 2**53
