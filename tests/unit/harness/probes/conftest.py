import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest


class Child:
    """A real process that is told what to do by lines on its standard input, and answers by lines."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", textwrap.dedent(code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.pid = self.process.pid

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the child ended without an answer"
        return line.strip()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")

    def end(self) -> None:
        """Kill and reap."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def spawn() -> Iterator[Callable[[str], Child]]:
    """Start children that are reaped at the end of the test; each must print a line when it is ready."""
    children = []

    def start(code: str) -> Child:
        child = Child(code)
        children.append(child)
        child.hear()
        return child

    yield start
    for child in children:
        if child.process.returncode is None:
            child.end()
