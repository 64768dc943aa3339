"""Bytes below one root, local or s3://, with faults ridden out: the only place that opens a path."""
