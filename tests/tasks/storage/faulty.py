"""What lies in a bucket, and faults that are mixed."""

from __future__ import annotations

from typing import Any

from proxy import Fault

MIXED = dict.fromkeys(Fault, 0.3 / 7) | {Fault.HANG: 0.005}


def objects(direct: Any, bucket: str) -> dict[str, bytes]:
    """What is in a bucket, read without the proxy."""
    keys = [entry["Key"] for entry in direct.list_objects_v2(Bucket=bucket[5:]).get("Contents", [])]
    return {key: direct.get_object(Bucket=bucket[5:], Key=key)["Body"].read() for key in keys}
