"""Prefect's API on a port of this machine, in a process that ends when the run that started it does, however that ends.

    python -P serve.py PARENT PORT

Run as a file, so that nothing of ours is imported and no folder of the user's stands in for a package.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, port = (int(word) for word in sys.argv[1:])
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before this process could ask to be told
        os._exit(1)
    # SIGTERM to everything that a job runs is for the run, which tells the API how it ended; SIGINT from it ends this
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    migrate()

    import uvicorn

    app = "prefect.server.api.server:create_app"
    uvicorn.run(app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")


def migrate() -> None:
    """Bring Prefect's database up to date, one process at a time: several at once break it, or lock each other out."""
    from alembic.config import Config
    from prefect.server.database import provide_database_interface
    from prefect.settings import get_current_settings

    # Prefect's settings for it put the working directory, which is anybody's, first among the places of modules
    Config.get_prepend_sys_paths_list = lambda self: None  # type: ignore[method-assign]
    settings = get_current_settings()
    if not settings.server.database.migrate_on_start:
        return
    settings.home.mkdir(parents=True, exist_ok=True)
    with open(
        settings.home / ".stepwave-migration.lock", "w"
    ) as lock:  # let go of when this process ends, at the latest
        fcntl.flock(lock, fcntl.LOCK_EX)
        asyncio.run(provide_database_interface().create_db())


if __name__ == "__main__":
    main()
