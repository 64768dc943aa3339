"""The process that engines are forked from takes pickled orders at a socket: nobody else may reach that."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
START = """
import os
from multiprocessing import forkserver
from tasks.engines import forked_from, vllm
os.umask(0)
forked_from.PRELOAD[:] = []
vllm.prepare()
print(forkserver._forkserver._forkserver_address, flush=True)
input()
"""
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def test_its_socket_is_the_users_own(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    words = [sys.executable, "-c", START]
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        place = process.stdout.readline().strip()
        assert place.startswith("/"), "an abstract socket, which any user may connect to"
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(place)).st_mode) == 0o700
        try:
            if os.geteuid() or not shutil.which("setpriv"):
                pytest.skip("only root can be another user")
            other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", CONNECT]
            done = subprocess.run([*other, place], capture_output=True, text=True, cwd="/")
            assert "PermissionError" in done.stderr
        finally:
            process.stdin.close()
