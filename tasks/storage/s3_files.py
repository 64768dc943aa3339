"""Files below an s3:// address, one request at a time, each ridden out by itself.

S3 shows an object once it is whole. s3fs makes the sessions, and knows where their credentials and endpoints come from;
its ways to list, glob and remove are not used, since they pass over some errors, nor are its own retries.
"""

from __future__ import annotations

import contextlib
import email.utils
import errno
import functools
import io
import os
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any
from urllib.parse import urlsplit

import s3fs
from botocore.exceptions import ClientError
from fsspec.asyn import sync

from schemas.places import StorageConfig
from tasks.errors import StoreError, UserError
from tasks.storage.backend import Stat, Times
from tasks.storage.faults import Fault, Kind, Retry
from tasks.storage.s3_errors import HalfAnswer, answer_of, judge, without_credentials
from tasks.storage.s3_reader import S3Reader
from tasks.storage.s3_session import DirectSession

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
"""Seconds without a byte of the answer after which a request has failed."""
SLOWEST = 1 << 17
"""Bytes a second below which an upload counts as stuck."""
PART = 32 << 20
"""Bytes of one request of a large upload; S3 wants at least 5 MiB."""
PARTS_AT_ONCE = 4
UPLOADS = 3
"""Times a large upload is begun anew when the store does not know it any more."""
ABORT_PATIENCE = 5.0
"""Seconds for which the parts of a failed upload are tried to be removed."""
CONNECTIONS = 32
DELETE_AT_ONCE = 1000
"""Keys in one request, the most that S3 takes."""
READ_AHEAD = 1 << 20
"""Bytes read at once from an open file where less is asked for."""

ANSWERED: set[str] = set()
"""Endpoints that gave this process an answer."""


@functools.lru_cache(maxsize=8)
def _session(
    endpoint: str | None, region: str | None, anonymous: bool, timeouts: tuple[float, float], surroundings: Hashable
) -> s3fs.S3FileSystem:
    """A session that tries nothing again by itself; shared, since it takes a third of a second to make.

    `surroundings`: what else it is made from, so that nobody gets a session of another process or other credentials.
    """
    client = {"endpoint_url": endpoint, "region_name": region}
    return s3fs.S3FileSystem(
        anon=anonymous,
        client_kwargs={key: value for key, value in client.items() if value},
        config_kwargs={
            "retries": {"total_max_attempts": 1},
            "connect_timeout": timeouts[0],
            "read_timeout": timeouts[1],
            "max_pool_connections": CONNECTIONS,
            "http_session_cls": DirectSession,
        },
        skip_instance_cache=True,
    )


class _UploadGone(Exception):
    """The store knows nothing of a large upload."""


class S3Files:
    """Files below s3://bucket/prefix."""

    def __init__(self, root: str, storage: StorageConfig, retry: Retry) -> None:
        self.root = root.rstrip("/")
        self.retry = retry
        self.endpoint = storage.endpoint_url or ""
        """As far as it is known; of an open session, the one that is asked."""
        surroundings = (os.getpid(), *sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
        timeouts = (CONNECT_TIMEOUT, READ_TIMEOUT)
        self.fs = _session(storage.endpoint_url, storage.region, storage.anonymous, timeouts, surroundings)
        self.bucket, prefix, _ = self.fs.split_path(self.root)
        self.base = f"{prefix}/" if prefix else ""

    def path(self, key: str) -> str:
        """As `InputFiles.path`."""
        return f"{self.root}/{key}" if key else self.root

    def _at(self, key: str) -> str:
        """The object's name in the bucket."""
        return self.base + key

    # --- requests

    def _call(
        self,
        key: str,
        operation: str,
        request: dict[str, Any],
        check: Callable[[dict[str, Any]], None] = lambda answer: None,
        patience: float | None = None,
    ) -> dict[str, Any]:
        """The answer to a request, as botocore gives it; tried again until there is one that passes `check`."""
        # what is sent has no time limit of its own, as what comes back has
        limit = READ_TIMEOUT + len(request["Body"]) / SLOWEST if "Body" in request else None

        def act() -> dict[str, Any]:
            answer: dict[str, Any] = sync(self.fs.loop, self._request, operation, request, timeout=limit)
            ANSWERED.add(self.endpoint)
            check(answer)
            return answer

        return self.retry(self.path(key), act, self._judge, patience)

    async def _request(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        client = await self.fs.set_session()
        self.endpoint = client.meta.endpoint_url
        address = urlsplit(self.endpoint)
        if "@" in address.netloc or address.query:
            raise UserError(
                f"{self.root}: the address of the s3 endpoint holds credentials; give them in the environment "
                "(AWS_ACCESS_KEY_ID, ...) instead"
            )
        try:
            answer: dict[str, Any] = await getattr(client, operation)(Bucket=self.bucket, **request)
        except ClientError as error:
            found = answer_of(error)
            assert found is not None
            ANSWERED.add(self.endpoint)
            if found.code == "NoSuchUpload":
                raise _UploadGone from error
            if found.status == 404:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
            # of a first try as well: aiohttp sends a PUT again by itself where a connection breaks that was used before
            if found.status == 412 and "IfNoneMatch" in request:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            raise
        if operation == "get_object":
            async with answer["Body"] as body:
                answer["Body"] = await body.read()
        return answer

    def _judge(self, error: Exception) -> Fault | None:
        fault = judge(error)
        if fault is None or fault.kind is not Kind.SILENT:
            return fault
        words = f"the s3 endpoint {without_credentials(self.endpoint)} does not answer ({fault.reason})"
        if self.endpoint in ANSWERED:
            return Fault(Kind.PASSING, words)
        return Fault(Kind.SILENT, f"{words}; check storage.endpoint_url or AWS_ENDPOINT_URL_S3, and the network")

    # --- reading

    def read(self, key: str) -> bytes:
        """As `Files.read`."""
        return self._call(key, "get_object", {"Key": self._at(key)})["Body"]

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
            if self._call(key, "list_objects_v2", inside, check=_is_listing).get("Contents"):
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
            page = self._call(folder, "list_objects_v2", request, check=_is_listing)
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
            with contextlib.suppress(_UploadGone):
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
            return self._call(key, "complete_multipart_upload", request, check=_is_complete)
        except BaseException:
            # parts that stay are paid for, but do no harm; what brought us here matters more
            with contextlib.suppress(_UploadGone, FileNotFoundError, UserError, StoreError):
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
                    self._call(key, "delete_objects", {"Delete": names}, check=_all_deleted)


def _stat(answer: dict[str, Any], size: str | int) -> Stat:
    return Stat(int(answer[size] if isinstance(size, str) else size), answer.get("ETag", "").strip('"'))


def _is_listing(answer: dict[str, Any]) -> None:
    # an empty body would pass for an empty folder
    if "IsTruncated" not in answer or (answer["IsTruncated"] and "NextContinuationToken" not in answer):
        raise HalfAnswer


def _is_complete(answer: dict[str, Any]) -> None:
    if "ETag" not in answer:
        raise HalfAnswer


def _all_deleted(answer: dict[str, Any]) -> None:
    for error in answer.get("Errors", []):
        if error.get("Code") != "NoSuchKey":
            raise ClientError({"Error": error}, "DeleteObjects")
