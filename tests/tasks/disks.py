"""A store in memory whose operations can be the last ones of a process, and that two processes use in turns."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from tasks.errors import StoreError
from tasks.storage.backend import Times
from tasks.storage.store import Stat, Store


class Crash(BaseException):
    """The process is gone: whatever it still does has no effect."""


class Clock:
    """Tells and gives what differs from run to run elsewhere, alike in every example."""

    now = 1e9
    tokens = 0

    def set_back(self) -> None:
        self.now, self.tokens = 1e9, 0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - 1e9

    def token_hex(self, size: int) -> str:
        self.tokens += 1
        return hashlib.sha256(str(self.tokens).encode()).hexdigest()[: 2 * size]


CLOCK = Clock()


@dataclass
class Disk:
    """What outlives processes."""

    files: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    writes: int = 0
    watch: Callable[[str], None] = lambda key: None
    """Called with the key after every single change."""

    def put(self, key: str, data: bytes) -> None:
        self.writes += 1
        self.files[key], self.versions[key] = data, self.writes
        self.watch(key)

    def remove(self, key: str) -> None:
        if key in self.files:
            del self.files[key], self.versions[key]
            self.watch(key)

    def stat(self, key: str) -> Stat:
        return Stat(len(self.files[key]), str(self.versions[key]))

    def below(self, prefix: str) -> list[str]:
        """The file of that name, and those in the folder."""
        return sorted(k for k in self.files if not prefix or k == prefix or k.startswith(f"{prefix}/"))


@dataclass(frozen=True)
class Event:
    """What befalls a process at one of its operations."""

    kind: Literal["crash", "fault", "interrupt", "unsure"]
    """The process ends at once; gets a StoreError; is told to stop; or is told that a file was there which it made."""
    at: int
    """Number of the operation, among those that change something or among those that only look."""
    done: int = 0
    """Of an operation on several files, how many are dealt with before it happens."""
    looking: bool = False


class Turns:
    """Lets processes, each a thread here, act one at a time: so many operations each in turn."""

    def __init__(self, runs: Iterable[int] = ()) -> None:
        self.runs = iter(runs)
        self.places: dict[str, threading.Semaphore] = {}
        self.current = ""
        self.left: int | None = None
        self.handed_over: Callable[[str], None] = lambda name: None
        self.alone = 0
        """Times that one which waits for another goes on waiting, as the other sleeps."""

    def enter(self, name: str) -> None:
        self.places[name] = threading.Semaphore(0)

    def start(self) -> None:
        self._hand_to(next(iter(self.places)))

    def begin(self, name: str) -> None:
        """Wait for the first turn."""
        self.places[name].acquire()

    def step(self, name: str) -> None:
        """Before every operation."""
        if name not in self.places:
            return
        if self.left == 0:
            self.give_way(name)
        if self.left is not None:
            self.left -= 1

    def give_way(self, name: str) -> bool:
        """Let another act; False where there is none."""
        if len(self.places) < 2:
            return False
        names = list(self.places)
        self._hand_to(names[(names.index(name) + 1) % len(names)])
        self.places[name].acquire()
        return True

    def leave(self, name: str) -> None:
        names = list(self.places)
        after = names[(names.index(name) + 1) % len(names)]
        del self.places[name]
        if self.places:
            self._hand_to(after)

    def _hand_to(self, name: str) -> None:
        self.current, self.left = name, next(self.runs, None)
        self.handed_over(name)
        self.places[name].release()


class MemoryFiles:
    """One process's way to a disk: the files that a store stands on."""

    def __init__(self, disk: Disk, events: Iterable[Event] = (), turns: Turns | None = None, name: str = "") -> None:
        self.disk, self.turns, self.name = disk, turns or Turns(), name
        self.events = {(e.looking, e.at): e for e in events}
        self.count = {True: 0, False: 0}
        """Operations so far: those that only looked, and the others."""
        self.changes: list[tuple[str, int]] = []
        """Name of each operation that changes something, and the number of files that it deals with."""
        self.dead = False
        self.met: list[Event] = []
        """Events that happened."""
        self.interrupt: Callable[[], None] = lambda: None
        self.beside = False
        """Is what is done now beside the schedule."""

    def _operation(self, name: str, *effects: Callable[[], None]) -> Event | None:
        """One operation, with its effects on single files; none where it only looks. Returns what befell it."""
        if self.dead:
            raise Crash
        if self.beside:
            for effect in effects:
                effect()
            return None
        looking = not effects
        self.turns.step(self.name)
        event = self.events.get((looking, self.count[looking]))
        self.count[looking] += 1
        if not looking:
            self.changes.append((name, len(effects)))
        if event:
            self.met.append(event)
        stopped = event and event.kind in ("crash", "fault")
        for effect in effects[: event.done] if event and stopped else effects:
            effect()
        if event and event.kind == "crash":
            self.dead = True
            raise Crash
        if event and event.kind == "fault":
            raise StoreError("a fault of the store")
        if event and event.kind == "interrupt":
            self.interrupt()
        return event

    def read(self, key: str, most: int | None = None) -> bytes:
        self._operation("read")
        if key not in self.disk.files:
            raise FileNotFoundError(key)
        return self.disk.files[key]

    def write(self, key: str, data: bytes) -> Stat:
        self._operation("write", lambda: self.disk.put(key, data))
        return self.disk.stat(key)

    def create(self, key: str, data: bytes) -> Stat | None:
        made: list[Stat] = []

        def put() -> None:
            if key not in self.disk.files:
                self.disk.put(key, data)
                made.append(self.disk.stat(key))

        befell = self._operation("create", put)
        return made[0] if made and not (befell and befell.kind == "unsure") else None

    def stats(self, prefix: str) -> dict[str, Stat]:
        self._operation("stats")
        return {key: self.disk.stat(key) for key in self.disk.below(prefix)}

    def times(self, prefix: str) -> Times:
        """A disk has no clock."""
        return Times(None, {})

    def delete(self, keys: list[str]) -> None:
        effects = [lambda key=key: self.disk.remove(key) for key in keys]  # type: ignore[misc]
        if self.turns.places:  # another process may act while this one is at it
            for effect in effects:
                self._operation("delete", effect)
        elif effects:
            self._operation("delete", *effects)

    def delete_folder(self, prefix: str) -> None:
        self.delete(list(self.stats(prefix)))

    def sweep(self, prefix: str = "") -> None:
        """Nothing is left of a write that was cut off."""


class MemoryStore(Store):
    def __init__(self, disk: Disk, events: Iterable[Event] = (), turns: Turns | None = None, name: str = "") -> None:
        self.memory = MemoryFiles(disk, events, turns, name)
        super().__init__("memory", files=self.memory)

    def read_many(self, keys: list[str]) -> dict[str, bytes]:
        """One after another, so that the schedule decides everything."""
        found = {key: self.read_or_none(key) for key in keys}
        return {key: content for key, content in found.items() if content is not None}
