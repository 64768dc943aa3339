"""One way to open a path: local directories and s3:// through fsspec.

Every write is whole or absent to a reader: S3 shows an object once it is complete, and locally a file is written under
a temporary name, synced and renamed.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import fsspec

from schemas.config import StorageConfig
from tasks.errors import UserError


class Store:
    """Files below one root. `root` is a local path or an s3:// address; keys are relative, '/'-separated."""

    def __init__(self, root: str, storage: StorageConfig | None = None) -> None:
        self.root = root.rstrip("/") or "/"
        self.local = "://" not in root
        self.fs, base = open_filesystem(self.root, storage or StorageConfig())
        self.base = base.rstrip("/")

    def path(self, key: str = "") -> str:
        """The address a user would type for `key`."""
        return f"{self.root}/{key}" if key else self.root

    def _at(self, key: str) -> str:
        return f"{self.base}/{key}" if key else self.base

    def read(self, key: str) -> bytes:
        """Content of a file; FileNotFoundError where there is none."""
        with told(self.path(key), missing_ok=True):
            return self.fs.cat_file(self._at(key))

    def read_or_none(self, key: str) -> bytes | None:
        try:
            return self.read(key)
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a file, durably."""
        with told(self.path(key)):
            if self.local:
                self._write_local(self._at(key), data, replace=True)
            else:
                self.fs.pipe_file(self._at(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Create a file unless it exists; of several that try at once, one gets True."""
        with told(self.path(key)):
            try:
                if self.local:
                    self._write_local(self._at(key), data, replace=False)
                else:
                    self.fs.pipe_file(self._at(key), data, mode="create")
            except FileExistsError:
                return False
            return True

    @staticmethod
    def _write_local(path: str, data: bytes, *, replace: bool) -> None:
        folder = os.path.dirname(path)
        _make_folder(folder)
        temporary = f"{path}.{secrets.token_hex(4)}.tmp"
        try:
            with open(temporary, "xb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            if replace:
                os.replace(temporary, path)
            else:
                os.link(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
        _sync_folder(folder)  # the name as well as the content

    def keys(self, prefix: str) -> list[str]:
        """Keys of the files below a folder, sorted; [] where there is none. Unfinished local writes do not count."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key to bytes, of the files below a folder."""
        with told(self.path(prefix)):
            try:
                self.fs.invalidate_cache()
                found = self.fs.find(self._at(prefix), detail=True)
            except FileNotFoundError:
                return {}
        start = len(self.base) + 1
        # an empty object whose name ends in / is how some tools mark a folder
        files = {path: about for path, about in found.items() if path[start:] and not path.endswith((".tmp", "/"))}
        return {path[start:]: int(about["size"]) for path, about in files.items()}

    def delete(self, keys: list[str]) -> None:
        """Remove files; those that are gone already do not matter."""
        for key in keys:
            with told(self.path(key)):
                try:
                    self.fs.rm_file(self._at(key))
                except FileNotFoundError:
                    continue

    def delete_folder(self, prefix: str) -> None:
        """Remove a folder with all its files."""
        with told(self.path(prefix)):
            try:
                self.fs.invalidate_cache()
                self.fs.rm(self._at(prefix), recursive=True)
            except FileNotFoundError:
                return


def _make_folder(folder: str) -> None:
    """Make a local folder and those above it, durably. Others may make them at the same time."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
    _sync_folder(above)


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_filesystem(path: str, storage: StorageConfig) -> tuple[Any, str]:
    """The fsspec file system of a path, and the path as that file system names it."""
    protocol, separator, rest = path.partition("://")
    if not separator:
        return fsspec.filesystem("file"), os.path.abspath(os.path.expanduser(path))
    if protocol != "s3":
        raise UserError(f"{path}: only local paths and s3:// are supported, not {protocol}://")
    if not rest.partition("/")[0]:
        raise UserError(f"{path}: names no bucket")
    options: dict[str, Any] = {"anon": storage.anonymous, "use_listings_cache": False, "skip_instance_cache": True}
    client = {
        key: value for key, value in (("endpoint_url", storage.endpoint_url), ("region_name", storage.region)) if value
    }
    try:
        return fsspec.filesystem("s3", client_kwargs=client, **options), rest
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


@contextmanager
def told(path: str, *, missing_ok: bool = False) -> Iterator[None]:
    """Turn the faults of a store into a UserError that names the path; FileExistsError stays what it is, and so does
    FileNotFoundError where a missing file is no mistake."""
    try:
        yield
    except (UserError, FileExistsError):
        raise
    except FileNotFoundError as error:
        if missing_ok:
            raise
        raise UserError(f"{path}: no such file or bucket") from error
    except PermissionError as error:
        raise UserError(f"{path}: permission denied ({_reason(error)})") from error
    except Exception as error:
        name = type(error).__name__
        if name in _CREDENTIAL_ERRORS:
            raise UserError(
                f"{path}: no usable credentials for s3 ({name}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "AWS_PROFILE or another source of the AWS chain"
            ) from error
        if name in ("EndpointConnectionError", "ConnectTimeoutError"):
            raise UserError(f"{path}: the s3 endpoint does not answer ({_reason(error)})") from error
        # botocore has errors of its own for names and endpoints that are none
        if isinstance(error, OSError | ValueError) or "://" in path:
            raise UserError(f"{path}: {getattr(error, 'strerror', None) or _reason(error)}") from error
        raise


_CREDENTIAL_ERRORS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def open_input(path: str, storage: StorageConfig) -> IO[bytes]:
    """Open one file for reading at random."""
    fs, at = open_filesystem(path, storage)
    with told(path, missing_ok=True):
        return fs.open(at, "rb")
