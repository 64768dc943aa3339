"""What the weights of a checkpoint are, by some of their bytes.

The tensors' names, types and shapes count, and bytes of each: all of them where the checkpoint has at most WHOLE bytes,
else at most MOST pieces of PIECE bytes, at places that follow from the tensors' names. Training moves tensors
everywhere, so that pieces tell; they do not tell a checkpoint in which somebody changed a few numbers by hand. How
tensors are shared out among files does not count.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice, zip_longest

from tasks.models.checkpoint_files import read_json, tensors_of

WHOLE = 32 << 20
"""Bytes up to which weights are read whole."""
MOST = 1024
"""Pieces that are read of larger ones."""
PIECE = 16 << 10
"""Bytes of a piece."""
AT_ONCE = 32
"""Reads at the same time: a network's file system takes milliseconds for each."""
OLD_WEIGHTS = (".bin", ".pt", ".pth")
NO_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state).*")


def digest(*contents: bytes) -> str:
    """16 hexadecimal digits of SHA-256 over the contents, each with its length."""
    whole = hashlib.sha256()
    for content in contents:
        whole.update(len(content).to_bytes(8, "little") + content)
    return whole.hexdigest()[:16]


@dataclass(frozen=True)
class Stretch:
    """Bytes of one tensor, or of a file whose tensors are not known."""

    name: str
    """With type and shape."""
    path: str
    start: int
    size: int

    def pieces(self, most: int | None) -> list[tuple[int, int]]:
        """Start and length of what is read of it: all (None), or so many pieces, each somewhere in its own part."""
        if most is None or self.size <= most * PIECE:
            return [(self.start, self.size)] if self.size else []
        part = self.size // most
        found = []
        for number in range(most):
            drawn = int.from_bytes(hashlib.sha256(f"{number}:{self.name}".encode()).digest()[:8], "little")
            found.append((self.start + number * part + drawn % (part - PIECE + 1), PIECE))
        return found


def weight_files(folder: str) -> list[str]:
    """Names of the files that an engine loads the weights from."""
    names = os.listdir(folder)
    tensors = sorted(name for name in names if name.endswith(".safetensors"))
    if tensors:
        try:
            index = read_json(os.path.join(folder, "model.safetensors.index.json"))
            return sorted(set(map(str, index["weight_map"].values()))) or tensors
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return tensors
    return sorted(name for name in names if name.endswith(OLD_WEIGHTS) and not NO_WEIGHTS.match(name))


def weights(folder: str) -> str | None:
    """Digest of a checkpoint's weights; None where they are not here, or cannot be read."""
    try:
        files = weight_files(folder)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            of_files = list(pool.map(lambda name: _stretches(os.path.join(folder, name)), files))
            stretches = sorted((one for some in of_files for one in some), key=lambda one: one.name)
            if not stretches:
                return None
            wanted = _pieces(stretches)
            contents = list(pool.map(lambda of: _sampled(*of), wanted))
    except (OSError, ValueError):
        return None
    return digest(*(one.name.encode("utf-8", "surrogatepass") for one in stretches), *contents)


def _pieces(stretches: list[Stretch]) -> list[tuple[str, list[tuple[int, int]]]]:
    """What is read of which file, in the order of the tensors' names."""
    if sum(one.size for one in stretches) <= WHOLE:
        return [(one.path, one.pieces(None)) for one in stretches]
    if len(stretches) > MOST:
        stretches = _drawn(stretches)
    most = max(1, MOST // len(stretches))
    return [(one.path, one.pieces(most)) for one in stretches]


def _drawn(stretches: list[Stretch]) -> list[Stretch]:
    """MOST of the tensors, where experts come by the ten thousand: of each kind as many, drawn by their names."""
    kinds: dict[str, list[Stretch]] = {}
    for one in sorted(stretches, key=lambda one: hashlib.sha256(one.name.encode("utf-8", "surrogatepass")).digest()):
        kinds.setdefault(re.sub(r"\d+", "", one.name.partition(" ")[0]), []).append(one)
    in_turn = (one for row in zip_longest(*kinds.values()) for one in row if one is not None)
    return sorted(islice(in_turn, MOST), key=lambda one: one.name)


def _sampled(path: str, pieces: Iterable[tuple[int, int]]) -> bytes:
    with open(path, "rb", buffering=0) as f:
        read = partial(os.pread, f.fileno())
        return b"".join(read(size, start) for start, size in pieces)


def file_digest(path: str) -> str:
    """Of any file, in the same way."""
    return digest(*(_sampled(path, of) for _, of in _pieces([_as_a_whole(path)])))


def _as_a_whole(path: str) -> Stretch:
    size = os.path.getsize(path)
    return Stretch(f"{os.path.basename(path)} of {size} bytes", path, 0, size)


def _stretches(path: str) -> list[Stretch]:
    """The tensors of a safetensors file, from its header; of another the file as a whole."""
    if not path.endswith(".safetensors"):
        return [_as_a_whole(path)]
    data, tensors = tensors_of(path)
    found = []
    for name, tensor in tensors.items():
        start, end = tensor["data_offsets"]
        shape = "x".join(map(str, tensor["shape"]))
        found.append(Stretch(f"{name} {tensor['dtype']} {shape}", path, data + start, end - start))
    return found
