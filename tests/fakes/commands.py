"""The command as processes that serve and join, beside the loop of a test."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.pace import limit_s

FEDBENCH = str(Path(sys.executable).with_name("fedbench"))
ROOT = Path(__file__).parents[2]


class Command:
    """A command that runs.

    Attributes:
        process: Its process.
        said: What it has said so far, errors too.
    """

    def __init__(self, process, file):
        self.process = process
        self._file = file

    @property
    def said(self):
        return self._file.read_text()

    async def says(self, text, timeout_s=15.0):
        """Return when it has said a text; it must not end before."""
        async with asyncio.timeout(limit_s(timeout_s)):
            while text not in self.said:
                assert self.process.poll() is None, self.said
                await asyncio.sleep(0.005)

    async def ends(self, timeout_s=15.0):
        """Return its exit code, when it has ended."""
        async with asyncio.timeout(limit_s(timeout_s)):
            while self.process.poll() is None:
                await asyncio.sleep(0.005)
        return self.process.returncode


@contextmanager
def started(folder, *words, descriptors=None):
    """Start the command and see that it ends; ``descriptors`` is how many it may have."""
    limit = [] if descriptors is None else ["prlimit", f"--nofile={descriptors}:{descriptors}"]
    file = folder / f"said-{len(list(folder.glob('said-*')))}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with file.open("w") as out:
        process = subprocess.Popen(
            [*limit, FEDBENCH, *map(str, words)], stdout=out, stderr=subprocess.STDOUT, env=environment
        )
    try:
        yield Command(process, file)
    finally:
        process.kill()
        process.wait()
