"""The terminal that the command line is used on."""

from __future__ import annotations

import os
import shlex
import sys

from rich.console import Console


class Terminal(Console):
    """Falls silent when its reader has gone (``fedbench run | head``); the work is done all the same."""

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        self.quiet = True
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())


out = Terminal()
err = Terminal(stderr=True)


def command_line() -> str:
    """Return how this program was called."""
    return shlex.join(["fedbench", *sys.argv[1:]])
