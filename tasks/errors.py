"""What ends a run, told in a line or two without a traceback."""


class UserError(Exception):
    """A mistake that the user can mend: names the file, field or row and what to do; exit code 2."""


class EngineError(Exception):
    """An engine died and could not be brought back; the message holds the engine's own last words; exit code 1."""


class StoreError(Exception):
    """A store failed or stayed away for longer than the run waits, or a disk is full; exit code 1."""
