"""Mistakes that the user can mend."""


class UserError(Exception):
    """Told in a line or two that name the file, field or row and what to do; the command ends with exit code 2."""


class EngineError(Exception):
    """An engine died; the message holds the engine's own last words."""
