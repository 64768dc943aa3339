"""Which errors of S3 pass and which do not, and what is said of them: known short words, never what the endpoint, a
header or an address may hold of somebody's credentials."""

from __future__ import annotations

import os
import re
import ssl
from typing import NamedTuple

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from tasks.errors import UserError, in_brief
from tasks.storage.faults import Fault, Kind

PASSING = {
    "BadDigest",
    "BandwidthLimitExceeded",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}
"""Codes of answers that another try may do without, whatever their status."""
NEVER = {501, 505}
"""Server errors that stay: what is asked for is not there."""
REFUSED = {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
SKEWED = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
"""What is said of requests whose time is not the store's, give or take minutes."""
CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.LoginError,
)
UNREACHABLE = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.SSLError, boto.ProxyConnectionError)
WORDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    ((boto.ReadTimeoutError, TimeoutError), "no answer in time"),
    (boto.ConnectionClosedError, "the connection was closed"),
    (ResponseParserError, "an answer that is not S3's"),
    ((boto.IncompleteReadError, boto.ResponseStreamingError, aiohttp.ClientPayloadError), "half an answer"),
    ((boto.ChecksumError, boto.FlexibleChecksumError), "an answer with a wrong checksum"),
    ((boto.HTTPClientError, aiohttp.ClientError, OSError), "the connection broke"),
)


class HalfAnswer(Exception):
    """An answer that says success, but lacks what it must hold."""


class Answer(NamedTuple):
    """What an endpoint answered to a request that failed: HTTP status and S3 code."""

    status: int
    code: str


def answer_of(error: Exception) -> Answer | None:
    """The answer behind an error; None where none came."""
    if not isinstance(error, boto.ClientError):
        return None
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Answer(status, code if re.fullmatch(r"[A-Za-z][A-Za-z0-9.]{1,60}", code) else "")


def judge(error: Exception) -> Fault | None:
    """The fault of S3 behind an error; SILENT where the endpoint could not be reached at all."""
    if isinstance(error, FileNotFoundError | FileExistsError | IsADirectoryError | UserError):
        return None
    if answer := answer_of(error):
        return _judge_answer(answer)
    if isinstance(error, HalfAnswer):
        return Fault(Kind.PASSING, "half an answer")
    if isinstance(error, CREDENTIALS):
        return Fault(
            Kind.LASTING,
            f"no usable credentials for s3 ({type(error).__name__}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "AWS_PROFILE or another source of the AWS chain",
        )
    inner = error.kwargs.get("error") if isinstance(error, boto.BotoCoreError) else None
    if isinstance(error, UNREACHABLE):
        # a connection that broke while in use comes under the same name as one that was never made
        made = isinstance(error, boto.EndpointConnectionError) and not isinstance(inner, aiohttp.ClientConnectorError)
        return Fault(Kind.PASSING if made else Kind.SILENT, _words(inner) or "no connection")
    if isinstance(inner, ValueError):
        return Fault(Kind.LASTING, "the s3 endpoint is no address that can be asked")
    if isinstance(error, PermissionError):  # of a local file with credentials
        return Fault(Kind.LASTING, f"permission denied ({error.strerror})")
    for kinds, words in WORDS:
        if isinstance(error, kinds):
            return Fault(Kind.PASSING, _words(error) or words)
    if isinstance(error, boto.BotoCoreError | ValueError):  # names, endpoints and settings that are none
        return Fault(Kind.LASTING, without_credentials(str(error)))
    return None


def _judge_answer(answer: Answer) -> Fault:
    words = " ".join(str(part) for part in answer if part)
    passes = answer.status in (408, 429) or (answer.status >= 500 and answer.status not in NEVER)
    if passes or answer.code in PASSING:
        return Fault(Kind.PASSING, f"the store answers {words}")
    if answer.code in SKEWED:
        return Fault(Kind.LASTING, f"this machine's clock is too far from the store's ({answer.code}); set it right")
    if answer.status in (401, 403) or answer.code in REFUSED:
        return Fault(Kind.LASTING, f"permission denied ({answer.code or answer.status})")
    if answer.status == 412:  # of a read that asks for one version
        return Fault(Kind.LASTING, "changed while it was read")
    return Fault(Kind.LASTING, f"the store refuses ({words})")


def _words(error: object) -> str:
    """What the operating system or TLS says of a connection; "" where that is nothing."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(getattr(error.certificate_error, "verify_message", "")) or "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, ssl.SSLError):  # its numbers are not the system's
        return str(error.reason or "").replace("_", " ").lower()
    if not isinstance(error, OSError) or not error.errno:
        return ""
    return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # below 0: of the name resolution


def without_credentials(text: str) -> str:
    """A line without what stands before an @ or after a ? in any address of it."""
    return in_brief(re.sub(r"\?\S*", "", re.sub(r"[^\s/]*@", "", " ".join(text.split()))))
