import os

import pytest

from harness.terminal import Terminal, command_line


def test_a_console_without_a_reader_falls_silent() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as file:
        console = Terminal(file=file)
        console.print("anybody there?")
        console.print("nobody")
        assert console.quiet


def test_how_it_was_called_can_be_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/fedbench", "run", "a suite.yaml"])
    assert command_line() == "fedbench run 'a suite.yaml'"
