"""A dataset as a repository on the hub."""

from __future__ import annotations

import os

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from tasks.errors import StoreError, UserError, on_one_line
from tasks.export.destination import CARD, DATA, RECORD


def check(repository: str) -> None:
    """UserError where the repository's name is none, or there is no token."""
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"--push: {on_one_line(str(error))}") from None
    if "/" not in repository:
        raise UserError(f"--push: {repository} must read owner/name")
    if not os.environ.get("HF_TOKEN"):
        raise UserError("--push: the environment variable HF_TOKEN, the hub's token, is not set")


def push(repository: str, public: bool, files: dict[str, str], card: str, record: bytes) -> str:
    """Put a dataset in the place of what the repository has, in one commit; returns its address.

    A repository that is not there is made, a private one unless `public`. UserError where the hub refuses, StoreError
    where it is away.
    """
    api = HfApi(token=os.environ["HF_TOKEN"])
    try:
        api.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        there = api.list_repo_files(repository, repo_type="dataset")
        changes: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(name, path) for name, path in files.items()
        ]
        changes += [CommitOperationAdd(CARD, card.encode()), CommitOperationAdd(RECORD, record)]
        changes += [CommitOperationDelete(name) for name in there if DATA.fullmatch(name) and name not in files]
        api.create_commit(repository, changes, commit_message="Export of stepwave", repo_type="dataset")
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        told = f"--push: the hub did not take {repository} ({on_one_line(str(error).splitlines()[0])})"
        raise (UserError(told) if 400 <= status < 500 else StoreError(told)) from None
    except Exception as error:  # the network's faults have other classes in every release of the library
        raise StoreError(f"--push: {repository} could not be written ({on_one_line(str(error))})") from error
    return f"{api.endpoint}/datasets/{repository}"
