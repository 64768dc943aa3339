"""No process of ours imports from the directory in which a run is started, nor programs from a folder that others may
fill: the files there are data, whatever their names."""

import os
import sys


def apart() -> None:
    """Make this process, and all processes that it starts, import nothing from the working directory. Every entry point
    calls it first."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    os.environ["PYTHONSAFEPATH"] = "1"
    if found := os.environ.get("PYTHONPATH"):
        # an empty part, such as before a colon, means the working directory as well
        os.environ["PYTHONPATH"] = os.pathsep.join(part for part in found.split(os.pathsep) if not _is_here(part))
    sys.path[:] = [part for part in sys.path if not _is_here(part)]
    if root not in sys.path:
        sys.path.append(root)  # of a checkout that is not installed, started in its own root
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))
    from tasks.processes import kernels

    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ and (folder := kernels()):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder


def _is_here(part: str) -> bool:
    try:
        return os.path.realpath(part) == os.path.realpath(os.getcwd())
    except OSError:  # it is gone
        return not part
