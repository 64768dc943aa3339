"""A dataset as a repository on the hub."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from tasks.errors import StoreError, UserError, in_brief, on_one_line
from tasks.export.destination import CARD, DATA, RECORD, read_record

HEADER_ONLY = re.compile(r"\s*(---\n.*?\n---\s*)?", re.DOTALL)
"""A README.md in which nobody has written: the hub makes it for a repository with a licence."""


def check(repository: str, kind: str) -> None:
    """Raises UserError if the repository's name is none, there is no token, or it holds what is not an export of this
    kind."""
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"--push: {on_one_line(str(error))}") from None
    if "/" not in repository:
        raise UserError(f"--push: {repository} must read owner/name")
    if not os.environ.get("HF_TOKEN"):
        raise UserError("--push: the environment variable HF_TOKEN, the hub's token, is not set")
    with _told(repository):
        api = _api()
        if api.repo_exists(repository, repo_type="dataset"):
            _ours(api, repository, kind)


def push(repository: str, kind: str, public: bool, files: dict[str, str], card: str, record: bytes) -> str:
    """Put a dataset in the place of what the repository has, in one commit; returns its address.

    A repository that is not there is made, a private one unless `public`. Raises UserError if the hub refuses or the
    repository holds something else, StoreError if the hub is away.
    """
    with _told(repository):
        api = _api()
        api.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        there = _ours(api, repository, kind)
        changes: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(name, path) for name, path in files.items()
        ]
        changes += [CommitOperationAdd(CARD, card.encode()), CommitOperationAdd(RECORD, record)]
        changes += [CommitOperationDelete(name) for name in there if DATA.fullmatch(name) and name not in files]
        api.create_commit(repository, changes, commit_message="Export of stepwave", repo_type="dataset")
    return f"{api.endpoint}/datasets/{repository}"


def _api() -> HfApi:
    return HfApi(token=os.environ["HF_TOKEN"])


def _ours(api: HfApi, repository: str, kind: str) -> list[str]:
    """The files of a repository that is empty or holds an export of this kind; raises UserError for another."""
    there = api.list_repo_files(repository, repo_type="dataset")
    others = sorted(set(there) - {".gitattributes"})
    with tempfile.TemporaryDirectory(prefix="stepwave-export-") as folder:

        def read(name: str) -> bytes:
            return Path(api.hf_hub_download(repository, name, repo_type="dataset", local_dir=folder)).read_bytes()

        if RECORD in others:
            made = read_record(read(RECORD))
            if made is not None and made["kind"] == kind:
                return there
            if made is not None:
                raise UserError(f"--push: {repository} holds a dataset of kind {made['kind']}; name another repository")
        elif not others or (others == [CARD] and HEADER_ONLY.fullmatch(read(CARD).decode("utf-8", "replace"))):
            return there
    raise UserError(
        f"--push: {repository} holds files that are not an export's (such as {others[0]}); name another repository"
    )


@contextmanager
def _told(repository: str) -> Iterator[None]:
    """The hub's faults in a line."""
    try:
        yield
    except UserError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        message = f"--push: the hub did not take {repository} ({in_brief(error)})"
        raise (UserError(message) if 400 <= status < 500 else StoreError(message)) from None
    except Exception as error:  # the network's faults have other classes in every release of the library
        raise StoreError(f"--push: the hub cannot be reached for {repository} ({in_brief(error)})") from error
