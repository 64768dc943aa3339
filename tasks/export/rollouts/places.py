"""Where roll-outs come from and go to: two places, each apart from the other."""

from __future__ import annotations

import os

from tasks.configuration.placeholders import fill_path
from tasks.errors import UserError


def check_places(out: str, dest: str) -> None:
    """UserError, by the command's own names for them, where OUT or DEST is no place, or one lies in the other."""
    for name, place in (("OUT", out), ("DEST", dest)):
        if not place:
            raise UserError(f"{name}: the directory's name is empty")
        fill_path(place, None, name)
    source, ours = _folder(out), _folder(dest)
    if source == ours:
        raise UserError(f"DEST: {dest} is OUT; give roll-outs a place of their own")
    if ours.startswith(source):
        raise UserError(f"DEST: {dest} lies in OUT ({out}); give roll-outs a place of their own")
    if source.startswith(ours):
        raise UserError(f"DEST: {dest} is around OUT ({out}); give roll-outs a place of their own")


def _folder(place: str) -> str:
    """A place's address with a slash at its end, the same however a local path is written."""
    whole = place if "://" in place else os.path.realpath(os.path.expanduser(place))
    return whole.rstrip("/") + "/"
