"""The one way to open a path, local or s3://, as a configuration says."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from schemas.places import StorageConfig
from tasks.errors import UserError
from tasks.storage.backend import InputFiles
from tasks.storage.faults import PATIENCE, Retry, Say
from tasks.storage.local_files import LocalFiles
from tasks.storage.store import Store, files_below, refuse_credentials

if TYPE_CHECKING:
    from schemas.config import Config
    from schemas.evaluation import EvaluationConfig

WAITED_FOR = 15.0
"""Seconds of patience where a person waits for the answer."""


@dataclass(frozen=True)
class Stores:
    """Opens stores and input files."""

    storage: StorageConfig = field(default_factory=StorageConfig)
    patience: float = PATIENCE
    """Seconds for which a store that fails is tried again."""
    say: Say | None = None
    """Is given a line when that begins, now and then while it lasts, and when it ends."""

    @classmethod
    def of(cls, config: Config | EvaluationConfig, say: Say | None = None) -> Stores:
        """As a run's or an evaluation's configuration says."""
        return cls(config.storage, config.run.store_patience, say)

    def store(self, root: str) -> Store:
        """The files below a root. Raises UserError for an address that nobody serves, or that holds credentials."""
        return Store(root, self.storage, self.patience, self.say)

    def locate(self, path: str) -> tuple[InputFiles, str]:
        """The disk or bucket that a path lies in, and the path's key there. Raises UserError as `store`."""
        refuse_credentials(path)
        retry = Retry(self.patience, self.say)
        protocol, separator, rest = path.partition("://")
        if not separator:
            return LocalFiles("/", retry), os.path.abspath(os.path.expanduser(path)).lstrip("/")
        bucket, _, key = rest.partition("/")
        return files_below(f"{protocol}://{bucket}", self.storage, retry), key.rstrip("/")

    def open_input(self, path: str) -> IO[bytes]:
        """Open one file for reading at random; FileNotFoundError, IsADirectoryError. UserError for a pipe or a device,
        which might never end.

        On S3 every read rides out the store's faults, and none mixes versions of the file: it raises UserError or
        StoreError instead. A local file is a plain one.
        """
        files, key = self.locate(path)
        if "://" not in path:
            with contextlib.suppress(OSError, ValueError):  # told when it is opened
                mode = os.stat(os.path.expanduser(path)).st_mode
                if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                    raise UserError(f"{path}: is a pipe, a device or a socket, not a file")
        return files.open(key)
