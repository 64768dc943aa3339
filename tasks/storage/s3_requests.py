"""Requests to S3, one at a time, each ridden out by itself.

S3 shows an object once it is whole. s3fs makes the sessions, and knows where their credentials and endpoints come from;
its ways to list, glob and remove are not used, since they pass over some errors, nor are its own retries.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Hashable
from typing import Any
from urllib.parse import urlsplit

import s3fs
from botocore.exceptions import ClientError
from fsspec.asyn import sync

from schemas.places import StorageConfig
from tasks.errors import UserError
from tasks.storage.backend import too_long
from tasks.storage.faults import Fault, Kind, Retry
from tasks.storage.s3_errors import HalfAnswer, answer_of, judge, without_credentials
from tasks.storage.s3_session import DirectSession

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
"""Seconds without a byte of the answer after which a request has failed."""
SLOWEST = 1 << 17
"""Bytes a second below which an upload counts as stuck."""
CONNECTIONS = 32

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


class UploadGone(Exception):
    """The store knows nothing of a large upload."""


class Requests:
    """Asks the store about the objects of one bucket."""

    def __init__(self, root: str, storage: StorageConfig, retry: Retry) -> None:
        self.root = root.rstrip("/")
        self.retry = retry
        self.endpoint = storage.endpoint_url or ""
        """As far as it is known; of an open session, the one that is asked."""
        surroundings = (os.getpid(), *sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
        timeouts = (CONNECT_TIMEOUT, READ_TIMEOUT)
        self.fs = _session(storage.endpoint_url, storage.region, storage.anonymous, timeouts, surroundings)
        self.bucket, self.prefix, _ = self.fs.split_path(self.root)

    def path(self, key: str) -> str:
        """The address that messages call an object by."""
        return f"{self.root}/{key}" if key else self.root

    def __call__(
        self,
        key: str,
        operation: str,
        request: dict[str, Any],
        check: Callable[[dict[str, Any]], None] = lambda answer: None,
        patience: float | None = None,
        most: int | None = None,
    ) -> dict[str, Any]:
        """The answer to a request, as botocore gives it; tried again until there is one that passes `check`. `most`: as
        of `Files.read`."""
        # what is sent has no time limit of its own, as what comes back has
        limit = READ_TIMEOUT + len(request["Body"]) / SLOWEST if "Body" in request else None

        def act() -> dict[str, Any]:
            answer: dict[str, Any] = sync(self.fs.loop, self._request, key, operation, request, most, timeout=limit)
            ANSWERED.add(self.endpoint)
            check(answer)
            return answer

        return self.retry(self.path(key), act, self._judge, patience)

    async def _request(self, key: str, operation: str, request: dict[str, Any], most: int | None) -> dict[str, Any]:
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
                raise UploadGone from error
            if found.status == 404:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
            # of a first try as well: aiohttp sends a PUT again by itself where a connection breaks that was used before
            if found.status == 412 and "IfNoneMatch" in request:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            raise
        if operation == "get_object":
            async with answer["Body"] as body:
                if most is not None and (answer.get("ContentLength") or 0) > most:
                    raise too_long(self.path(key), most)
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


def is_listing(answer: dict[str, Any]) -> None:
    """Raises HalfAnswer for a listing that was cut off."""
    # an empty body would pass for an empty folder
    if "IsTruncated" not in answer or (answer["IsTruncated"] and "NextContinuationToken" not in answer):
        raise HalfAnswer


def is_complete(answer: dict[str, Any]) -> None:
    """Raises HalfAnswer where an upload was not completed."""
    if "ETag" not in answer:
        raise HalfAnswer


def all_deleted(answer: dict[str, Any]) -> None:
    """Raises ClientError where one of several objects could not be deleted."""
    for error in answer.get("Errors", []):
        if error.get("Code") != "NoSuchKey":
            raise ClientError({"Error": error}, "DeleteObjects")
