"""What tests ask of a store's listing."""

from __future__ import annotations

from tasks.storage.store import Store


def sizes(store: Store, prefix: str) -> dict[str, int]:
    """Key to bytes, of the files below a folder."""
    return {key: stat.size for key, stat in store.stats(prefix).items()}
