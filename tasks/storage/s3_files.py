"""Files below an s3:// address."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import functools
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from schemas.places import StorageConfig
from tasks.errors import StoreError, UserError
from tasks.storage.backend import Stat, Times
from tasks.storage.faults import Retry
from tasks.storage.s3_errors import HalfAnswer
from tasks.storage.s3_reader import S3Reader
from tasks.storage.s3_requests import Requests, UploadGone, all_deleted, is_complete, is_listing

PART = 32 << 20
"""Bytes of one request of a large upload; S3 wants at least 5 MiB."""
PARTS_AT_ONCE = 4
UPLOADS = 3
"""Times a large upload is begun anew when the store does not know it any more."""
ABORT_PATIENCE = 5.0
"""Seconds for which the parts of a failed upload are tried to be removed."""
DELETE_AT_ONCE = 1000
"""Keys in one request, the most that S3 takes."""
READ_AHEAD = 1 << 20
"""Bytes read at once from an open file where less is asked for."""


class S3Files:
    """Files below s3://bucket/prefix."""

    def __init__(self, root: str, storage: StorageConfig, retry: Retry) -> None:
        self._call = Requests(root, storage, retry)
        self.base = f"{self._call.prefix}/" if self._call.prefix else ""

    def path(self, key: str) -> str:
        """As `InputFiles.path`."""
        return self._call.path(key)

    def _at(self, key: str) -> str:
        """The object's name in the bucket."""
        return self.base + key

    # --- reading

    def read(self, key: str, most: int | None = None) -> bytes:
        """As `Files.read`."""
        return self._call(key, "get_object", {"Key": self._at(key)}, most=most)["Body"]

    def open(self, key: str) -> IO[bytes]:
        """As `InputFiles.open`."""
        found = self.stat(key)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path(key))
        return io.BufferedReader(
            S3Reader(self.path(key), found.size, found.version, functools.partial(self._range, key, found)), READ_AHEAD
        )

    def _range(self, key: str, found: Stat, start: int, stop: int) -> bytes:
        """The bytes from start to before stop of the version found."""

        def whole(answer: dict[str, Any]) -> None:
            if len(answer["Body"]) != stop - start:
                raise HalfAnswer

        request = {"Key": self._at(key), "Range": f"bytes={start}-{stop - 1}"}
        same = {"IfMatch": f'"{found.version}"'} if found.version else {}
        try:
            return self._call(key, "get_object", request | same, check=whole)["Body"]
        except FileNotFoundError:  # told here: to a reader of Parquet it is a fault of the content
            raise UserError(f"{self.path(key)}: was removed while it was read") from None

    def stat(self, key: str) -> Stat | None:
        """As `InputFiles.stat`."""
        with contextlib.suppress(FileNotFoundError):
            if key:
                return _stat(self._call(key, "head_object", {"Key": self._at(key)}), "ContentLength")
        with contextlib.suppress(FileNotFoundError):
            inside = {"Prefix": self._at(f"{key}/") if key else self.base, "MaxKeys": 1}
            if self._call(key, "list_objects_v2", inside, check=is_listing).get("Contents"):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path(key))
        return None

    def stats(self, prefix: str) -> dict[str, Stat]:
        """As `Files.stats`."""
        return {key: _stat(entry, "Size") for page in self._listed(prefix) for key, entry in page[1].items()}

    def times(self, prefix: str) -> Times:
        """As `Files.times`."""
        now: float | None = None
        written: dict[str, float] = {}
        for answer, entries in self._listed(prefix):
            with contextlib.suppress(LookupError, TypeError, ValueError):
                date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
                now = email.utils.parsedate_to_datetime(date).timestamp()
            written |= {key: at.timestamp() for key, entry in entries.items() if (at := entry.get("LastModified"))}
        return Times(now, written)

    def _listed(self, prefix: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each page of the listing of a file or folder, and its entries by key."""
        # an empty object whose name ends in / is how some tools mark a folder
        below = f"{prefix}/" if prefix else ""
        with contextlib.suppress(FileNotFoundError):  # no such bucket
            for page in self._pages(prefix, Prefix=self._at(prefix)):
                found = {entry["Key"][len(self.base) :]: entry for entry in page.get("Contents", [])}
                yield (
                    page,
                    {
                        key: entry
                        for key, entry in found.items()
                        if (key == prefix or key.startswith(below)) and key and not key.endswith("/")
                    },
                )

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """As `InputFiles.children`."""
        at = self._at(f"{folder}/") if folder else self.base
        files: list[str] = []
        folders: list[str] = []
        with contextlib.suppress(FileNotFoundError):  # no such bucket
            for page in self._pages(folder, Prefix=at, Delimiter="/"):
                files += (entry["Key"][len(at) :] for entry in page.get("Contents", []))
                folders += (entry["Prefix"][len(at) : -1] for entry in page.get("CommonPrefixes", []))
        return sorted(name for name in files if name), sorted(name for name in folders if name)

    def _pages(self, folder: str, **request: Any) -> Iterator[dict[str, Any]]:
        while True:
            page = self._call(folder, "list_objects_v2", request, check=is_listing)
            yield page
            if not page["IsTruncated"]:
                return
            request = request | {"ContinuationToken": page["NextContinuationToken"]}

    # --- writing

    def write(self, key: str, data: bytes) -> Stat:
        """As `Files.write`."""
        return self._put(key, data)

    def create(self, key: str, data: bytes) -> Stat | None:
        """As `Files.create`."""
        with contextlib.suppress(FileExistsError):
            return self._put(key, data, IfNoneMatch="*")
        return None

    def _put(self, key: str, data: bytes, **condition: str) -> Stat:
        if len(data) < 2 * PART:
            return _stat(self._call(key, "put_object", {"Key": self._at(key), "Body": data} | condition), len(data))
        for _ in range(UPLOADS):
            with contextlib.suppress(UploadGone):
                return _stat(self._upload(key, data, **condition), len(data))
            # either it was completed, and only the answer was lost, or another ended it
            with contextlib.suppress(FileNotFoundError):
                found = self._call(key, "get_object", {"Key": self._at(key)})
                if found["Body"] == data:
                    return _stat(found, len(data))
        raise StoreError(f"{self.path(key)}: the store forgot {UPLOADS} uploads of it before their end")

    def _upload(self, key: str, data: bytes, **condition: str) -> dict[str, Any]:
        """Write a large object in parts: there is nothing to be seen of it before the last request."""
        begun = self._call(key, "create_multipart_upload", {"Key": self._at(key)})
        upload: dict[str, Any] = {"Key": self._at(key), "UploadId": begun["UploadId"]}

        def part(number: int) -> dict[str, Any]:
            content = data[(number - 1) * PART : number * PART]
            answer = self._call(key, "upload_part", upload | {"PartNumber": number, "Body": content})
            return {"PartNumber": number, "ETag": answer["ETag"]}

        try:
            with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
                parts = list(pool.map(part, range(1, -(-len(data) // PART) + 1)))
            request = upload | {"MultipartUpload": {"Parts": parts}} | condition
            return self._call(key, "complete_multipart_upload", request, check=is_complete)
        except BaseException:
            # parts that stay are paid for, but do no harm; what brought us here matters more
            with contextlib.suppress(UploadGone, FileNotFoundError, UserError, StoreError):
                self._call(key, "abort_multipart_upload", upload, patience=ABORT_PATIENCE)
            raise

    def delete(self, keys: list[str]) -> None:
        """As `Files.delete`."""
        self._delete([self._at(key) for key in keys])

    def delete_folder(self, prefix: str) -> None:
        """As `Files.delete_folder`."""
        at = self._at(f"{prefix}/") if prefix else self.base
        with contextlib.suppress(FileNotFoundError):
            self._delete([e["Key"] for page in self._pages(prefix, Prefix=at) for e in page.get("Contents", [])])

    def sweep(self, prefix: str = "") -> None:
        """Uploads that were cut off are no objects: a lifecycle rule of the bucket ends them."""

    def _delete(self, objects: list[str]) -> None:
        """Remove objects by their names in the bucket."""
        for start in range(0, len(objects), DELETE_AT_ONCE):
            some = objects[start : start + DELETE_AT_ONCE]
            key = some[0][len(self.base) :]
            with contextlib.suppress(FileNotFoundError):
                if len(some) == 1:
                    self._call(key, "delete_object", {"Key": some[0]})
                else:
                    names = {"Objects": [{"Key": name} for name in some], "Quiet": True}
                    self._call(key, "delete_objects", {"Delete": names}, check=all_deleted)


def _stat(answer: dict[str, Any], size: str | int) -> Stat:
    return Stat(int(answer[size] if isinstance(size, str) else size), answer.get("ETag", "").strip('"'))
