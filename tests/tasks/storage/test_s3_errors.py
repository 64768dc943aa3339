"""What an error of S3 means and what is said of it: which pass, which stay, and nothing of anybody's credentials."""

from __future__ import annotations

import errno

import pytest
from botocore import exceptions as boto

from tasks.errors import StoreError, UserError
from tasks.storage import faults, s3_errors, s3_requests
from tasks.storage.faults import Kind, Retry
from tasks.storage.store import Store


def answer(status: int, code: str, operation: str = "GetObject", **more: str) -> boto.ClientError:
    return boto.ClientError({"Error": {"Code": code} | more, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


@pytest.mark.parametrize(
    "error",
    [
        *(answer(status, "") for status in (408, 429, 500, 502, 503, 504, 507, 509)),
        answer(400, "RequestTimeout"),
        answer(400, "IncompleteBody"),
        answer(400, "BadDigest"),
        answer(409, "OperationAborted"),
        answer(409, "ConditionalRequestConflict"),
        answer(200, "InternalError"),
        answer(200, "SlowDown"),
        boto.ReadTimeoutError(endpoint_url="http://h", error="x"),
        boto.ConnectionClosedError(endpoint_url="http://h"),
        boto.ResponseStreamingError(error="x"),
        boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        boto.FlexibleChecksumError(error_msg="x"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError(),
        s3_errors.ResponseParserError("x"),
        s3_errors.HalfAnswer(),
    ],
    ids=str,
)
def test_faults_that_pass(error: Exception) -> None:
    fault = s3_errors.judge(error)
    assert fault is not None
    assert fault.kind is Kind.PASSING
    assert fault.reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (answer(403, "AccessDenied"), "permission denied (AccessDenied)"),
        (answer(403, "403"), "permission denied (403)"),
        (answer(400, "ExpiredToken"), "permission denied (ExpiredToken)"),
        (answer(501, "NotImplemented"), "the store refuses (501 NotImplemented)"),
        (answer(301, "PermanentRedirect"), "the store refuses (301 PermanentRedirect)"),
        (boto.NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
        (boto.ParamValidationError(report="Invalid bucket name"), "Invalid bucket name"),
        (boto.HTTPClientError(error=ValueError("http://me:secret@h")), "is no address"),
    ],
    ids=str,
)
def test_faults_that_stay(error: Exception, words: str) -> None:
    fault = s3_errors.judge(error)
    assert fault is not None
    assert fault.kind is Kind.LASTING
    assert words in fault.reason


def test_a_mistake_of_ours_is_no_fault() -> None:
    assert s3_errors.judge(KeyError("x")) is None
    with pytest.raises(KeyError):
        Retry(60)("a", lambda: {}["x"], s3_errors.judge)


@pytest.mark.parametrize("half", [{}, {"KeyCount": 3}, {"IsTruncated": True}], ids=str)
def test_half_a_listing_is_no_empty_folder(half: dict[str, object]) -> None:
    with pytest.raises(s3_errors.HalfAnswer):
        s3_requests.is_listing(half)
    s3_requests.is_listing({"IsTruncated": False})


def test_a_file_that_could_not_be_deleted_is_no_success() -> None:
    with pytest.raises(boto.ClientError) as caught:
        s3_requests.all_deleted({"Errors": [{"Key": "a", "Code": "NoSuchKey"}, {"Key": "b", "Code": "InternalError"}]})
    assert s3_errors.judge(caught.value) == faults.Fault(Kind.PASSING, "the store answers InternalError")


@pytest.mark.parametrize("status", [400, 403, 500])
def test_what_an_answer_holds_of_credentials_is_not_told(status: int) -> None:
    told = {
        "Message": "The AWS Access Key Id AKIASECRET you provided does not exist",
        "AWSAccessKeyId": "AKIASECRET",
        "StringToSign": "AWS4-HMAC-SHA256 SECRET",
        "SignatureProvided": "SECRET",
    }
    for code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "http://me:SECRET@h/"):
        with pytest.raises((UserError, StoreError)) as caught:
            Retry(0)("s3://b/a", lambda code=code: fail(answer(status, code, **told)), s3_errors.judge)
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("endpoint", ["http://me:SECRET@127.0.0.1:9", "http://127.0.0.1:9/?token=SECRET"])
def test_an_endpoint_with_credentials_is_refused_unseen(
    endpoint: str, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(UserError, match="endpoint holds credentials") as caught:
        Store(f"{s3}/x").read("a")
    assert "SECRET" not in str(caught.value)


def test_an_endpoint_that_is_no_address_is_told_without_credentials(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "me:SECRET@nonsense?SECRET")
    with pytest.raises(UserError, match="nonsense") as caught:
        Store(f"{s3}/x").read("a")
    assert "SECRET" not in str(caught.value)
