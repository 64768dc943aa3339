"""An index of rows by which near duplicates are found.

Signatures of two rows are compared in full if they agree in a band of places (locality-sensitive hashing, Indyk and
Motwani 1998). So no row is left out that is less alike than was asked for, as far as signatures tell. Of the rows that
are just as alike as asked for, about every second pair is found; of more alike ones nearly all. Where very many rows
agree in a band, as in problems made by one pattern, a row is compared with the first of them only. What is found does
not depend on how rows are divided into batches.

A row takes 8 bytes of memory for each of some ten bands. Signatures are kept in a file.
"""

from __future__ import annotations

import tempfile

import numpy as np

from tasks.export.grams import FACTOR
from tasks.export.likeness import HASHES

MOST = 128
"""Rows of one band that others are compared with."""
HALF = np.uint64(32)
ROW = np.uint64(0xFFFFFFFF)


class NearDuplicateIndex:
    """Rows, none of which is a near duplicate of another. `likeness`: the share of equal places of two signatures from
    which on one is a near duplicate."""

    def __init__(self, likeness: float) -> None:
        self.likeness = likeness
        self.bands = next((n for n in range(HASHES, 0, -1) if (1 / n) ** (1 / (HASHES // n)) >= likeness), 1)
        """The most bands with which two texts of this likeness share one about every second time."""
        self.entries = Entries()
        self.file = tempfile.TemporaryFile(prefix="stepwave-export-")  # noqa: SIM115  (gone with this object)
        self.count = 0

    def add(self, keys: np.ndarray, verdicts: np.ndarray, marks: np.ndarray) -> np.ndarray:
        """Enter the rows that are no near duplicates of earlier ones; returns which these are (bool). Rows with one key
        come in one call and are not compared with each other; nor are rows of different verdicts (uint64).

        marks: signatures, uint32 [rows, HASHES].
        """
        hashes = self._hashes(verdicts, marks)
        known, owners = self.entries.find(hashes.ravel())
        known, bounds = known.reshape(hashes.shape), np.concatenate([[0], np.cumsum(known)])
        _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        inverse = inverse.reshape(hashes.shape)
        shared = (counts[inverse] > 1) | (known > 0)
        earlier = self._marks()
        fresh, entered = np.ones(len(keys), bool), np.ones(hashes.shape, bool)
        here: dict[int, list[int]] = {}
        for row in np.flatnonzero(shared.any(axis=1)).tolist():
            bands = np.flatnonzero(shared[row]).tolist()
            start = row * self.bands
            before = np.unique(np.concatenate([owners[bounds[start + b] : bounds[start + b + 1]] for b in bands]))
            beside = sorted({other for b in bands for other in here.get(int(inverse[row, b]), [])})
            beside = [other for other in beside if keys[other] != keys[row]]
            alike = (np.concatenate([earlier[before], marks[beside]]) == marks[row]).mean(axis=1)
            if len(alike) and alike.max() >= self.likeness:
                fresh[row] = False
                continue
            for b in bands:
                others = here.setdefault(int(inverse[row, b]), [])
                entered[row, b] = known[row, b] + len(others) < MOST
                if entered[row, b]:
                    others.append(row)
        numbers = self.count + np.cumsum(fresh, dtype=np.uint64) - np.uint64(1)
        self.entries.add((hashes | numbers[:, None])[entered & fresh[:, None]])
        self.file.write(np.ascontiguousarray(marks[fresh]).data)
        self.count += int(fresh.sum())
        return fresh

    def _marks(self) -> np.ndarray:
        """Signatures of the rows in the index, uint32 [count, HASHES]."""
        if not self.count:
            return np.zeros((0, HASHES), np.uint32)
        self.file.flush()
        return np.memmap(self.file, np.uint32, "r", shape=(self.count, HASHES))

    def _hashes(self, verdicts: np.ndarray, marks: np.ndarray) -> np.ndarray:
        """A hash of every band, in the upper half of uint64 [rows, bands]."""
        width = HASHES // self.bands
        bands = marks[:, : self.bands * width].reshape(len(marks), self.bands, width)
        hashes = np.arange(self.bands, dtype=np.uint64)[None, :] * np.uint64(3) + verdicts[:, None]
        for place in range(width):
            hashes = (hashes ^ (hashes >> np.uint64(29))) * FACTOR + bands[:, :, place]
        return (hashes ^ (hashes >> np.uint64(29))) * FACTOR >> HALF << HALF


class Entries:
    """Hashes and the rows that have them, one uint64 for both (hash above, row below), in sorted arrays, each more than
    twice as long as the next."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many rows have each hash (int64), and these rows (int64), one hash after the other."""
        of, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for part in self.parts:
            starts = np.searchsorted(part, hashes)
            there = np.flatnonzero((part[np.minimum(starts, len(part) - 1)] | ROW) == (hashes | ROW))  # few
            found = np.zeros(len(hashes), np.int64)
            found[there] = np.searchsorted(part, hashes[there] | ROW, side="right") - starts[there]
            ends = np.cumsum(found)
            places = np.repeat(starts - (ends - found), found) + np.arange(ends[-1] if len(ends) else 0)
            of.append(np.repeat(np.arange(len(hashes)), found))
            rows.append((part[places] & ROW).astype(np.int64))
        whose = np.concatenate(of)
        return np.bincount(whose, minlength=len(hashes)), np.concatenate(rows)[np.argsort(whose, kind="stable")]

    def add(self, entries: np.ndarray) -> None:
        """Add entries of further solutions."""
        if not len(entries):
            return
        self.parts.append(np.sort(entries))
        while len(self.parts) > 1 and len(self.parts[-2]) <= 2 * len(self.parts[-1]):
            merged = np.concatenate([self.parts.pop(), self.parts.pop()])
            merged.sort()
            self.parts.append(merged)
