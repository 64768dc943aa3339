"""Bytes changed as disks, networks and careless hands change them. The same seed makes the same change."""

from __future__ import annotations

import random
from collections.abc import Callable

ODD = [b"\0", b"\xff", b"\n", b"\r", b'"', b"{", b"}", b"[", b":", b"-", b"\x7f", b"9" * 400, b"1e999"]
ODD += [b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8", b"\\ud800"]
"""What readers of text and of numbers stumble over."""


def mutated(data: bytes, seed: int, others: list[bytes] | None = None) -> bytes:
    """`data` with one to four changes; `others`: what parts are taken from beside `data` itself."""
    draw = random.Random(seed)
    content = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        draw.choice(CHANGES)(content, draw, draw.choice([data, *(others or [])]))
    return bytes(content)


def _place(content: bytearray, draw: random.Random) -> int:
    """Anywhere, and as often near the end, where Parquet keeps what it says of itself, or near the start."""
    n = max(1, len(content))
    return draw.choice([draw.randrange(n), max(0, n - 1 - draw.randrange(min(n, 600))), draw.randrange(min(n, 200))])


def _length(draw: random.Random) -> int:
    return int(2 ** draw.uniform(0, 10))


def flip_bit(content: bytearray, draw: random.Random, _: bytes) -> None:
    if content:
        content[_place(content, draw)] ^= 1 << draw.randrange(8)


def change_byte(content: bytearray, draw: random.Random, _: bytes) -> None:
    if content:
        content[_place(content, draw)] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])


def change_digit(content: bytearray, draw: random.Random, _: bytes) -> None:
    """Of a number as text, so that what reads it finds nothing amiss."""
    at = _place(content, draw)
    digits = [i for i in range(at, min(len(content), at + 200)) if content[i] in b"0123456789"]
    if digits:
        content[draw.choice(digits)] = draw.choice(b"0123456789")


def delete(content: bytearray, draw: random.Random, _: bytes) -> None:
    at = _place(content, draw)
    del content[at : at + draw.choice([1, _length(draw)])]


def insert(content: bytearray, draw: random.Random, _: bytes) -> None:
    at = _place(content, draw)
    content[at:at] = draw.choice([draw.randbytes(_length(draw)), draw.choice(ODD), draw.choice(ODD) * _length(draw)])


def truncate(content: bytearray, draw: random.Random, _: bytes) -> None:
    del content[_place(content, draw) :]


def behead(content: bytearray, draw: random.Random, _: bytes) -> None:
    del content[: _place(content, draw)]


def splice(content: bytearray, draw: random.Random, other: bytes) -> None:
    start, at, length = draw.randrange(max(1, len(other))), _place(content, draw), _length(draw)
    content[at : at + draw.choice([0, length])] = other[start : start + length]


def repeat(content: bytearray, draw: random.Random, _: bytes) -> None:
    at, length = _place(content, draw), _length(draw)
    content[at:at] = content[at : at + length] * draw.choice([1, 2, 50])


def blank(content: bytearray, draw: random.Random, _: bytes) -> None:
    """A sector that was never written."""
    at, length = _place(content, draw), draw.choice([_length(draw), 512, 4096])
    content[at : at + length] = bytes(len(content[at : at + length]))


CHANGES: list[Callable[[bytearray, random.Random, bytes], None]] = [
    flip_bit,
    flip_bit,
    change_byte,
    change_byte,
    change_digit,
    delete,
    insert,
    truncate,
    behead,
    splice,
    repeat,
    blank,
]
