"""A folder of a store as a store of its own."""

from __future__ import annotations

from tasks.storage.backend import Files, Stat, Times
from tasks.storage.store import Store


class FilesBelow:
    """The files below a folder of others."""

    def __init__(self, files: Files, folder: str) -> None:
        self.files = files
        self.folder = folder.strip("/") + "/"

    def read(self, key: str, most: int | None = None) -> bytes:
        """As `Files.read`."""
        return self.files.read(self.folder + key, most)

    def write(self, key: str, data: bytes) -> Stat:
        """As `Files.write`."""
        return self.files.write(self.folder + key, data)

    def create(self, key: str, data: bytes) -> Stat | None:
        """As `Files.create`."""
        return self.files.create(self.folder + key, data)

    def stats(self, prefix: str) -> dict[str, Stat]:
        """As `Files.stats`."""
        found = self.files.stats((self.folder + prefix).rstrip("/"))
        return {key.removeprefix(self.folder): stat for key, stat in found.items()}

    def times(self, prefix: str) -> Times:
        """As `Files.times`."""
        found = self.files.times((self.folder + prefix).rstrip("/"))
        return Times(found.now, {key.removeprefix(self.folder): at for key, at in found.written.items()})

    def delete(self, keys: list[str]) -> None:
        """As `Files.delete`."""
        self.files.delete([self.folder + key for key in keys])

    def delete_folder(self, prefix: str) -> None:
        """As `Files.delete_folder`."""
        self.files.delete_folder((self.folder + prefix).rstrip("/"))

    def sweep(self, prefix: str = "") -> None:
        """Nothing: what others write beside the folder is theirs."""


def below(store: Store, folder: str) -> Store:
    """The files below a folder of a store, with the store's patience."""
    return Store(store.path(folder), patience=store.retry.patience, files=FilesBelow(store.files, folder))
