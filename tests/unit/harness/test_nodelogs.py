import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedbench import childlog
from fedbench.ids import current_node
from harness.nodelogs import NodeLogs

log = logging.getLogger("tests.nodelogs")


@pytest.fixture(autouse=True)
def outside_any_node() -> Iterator[None]:
    token = current_node.set("")
    yield
    current_node.reset(token)


def say(node_id: str, level: int, message: str) -> None:
    token = current_node.set(node_id)
    log.log(level, message)
    current_node.reset(token)


def test_each_client_has_a_file_and_the_rest_goes_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with NodeLogs(tmp_path / "logs", ["a", "b", "c"], logging.WARNING) as logs:
        say("a", logging.INFO, "a begins")
        say("b", logging.WARNING, "b begins")
        say("a", logging.INFO, "a ends")
        say("a", logging.DEBUG, "a detail")
        say("server", logging.WARNING, "the server warns")
        say("server", logging.INFO, "the server informs")
        assert logs.written == ["a", "b"]
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"a.log", "b.log"}
    lines = (tmp_path / "logs" / "a.log").read_text().splitlines()
    assert [line.split(" tests.nodelogs ")[1] for line in lines] == ["a begins", "a ends"]
    assert " WARNING tests.nodelogs b begins" in (tmp_path / "logs" / "b.log").read_text()
    stderr = capsys.readouterr().err
    assert "the server warns" in stderr
    assert "informs" not in stderr
    assert "begins" not in stderr


@pytest.mark.parametrize(
    ("level", "shown", "kept"),
    [
        (logging.WARNING, {"WARNING"}, {"INFO", "WARNING"}),
        (logging.INFO, {"INFO", "WARNING"}, {"INFO", "WARNING"}),
        (logging.DEBUG, {"DEBUG", "INFO", "WARNING"}, {"DEBUG", "INFO", "WARNING"}),
    ],
)
def test_the_level_is_that_of_stderr_and_files_have_at_least_info(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], level: int, shown: set[str], kept: set[str]
) -> None:
    with NodeLogs(tmp_path, ["a"], level):
        for node in ("a", ""):
            for name in ("DEBUG", "INFO", "WARNING"):
                say(node, logging.getLevelName(name), f"said {name}")
    stderr, file = capsys.readouterr().err, (tmp_path / "a.log").read_text()
    assert {name for name in ("DEBUG", "INFO", "WARNING") if f"said {name}" in stderr} == shown
    assert {name for name in ("DEBUG", "INFO", "WARNING") if f"said {name}" in file} == kept


async def test_a_thread_that_works_for_a_client_logs_to_its_file(tmp_path: Path) -> None:
    with NodeLogs(tmp_path, ["a"], logging.WARNING):
        token = current_node.set("a")
        await asyncio.to_thread(log.info, "from the thread")
        current_node.reset(token)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert "from the thread" in (tmp_path / "a.log").read_text()


def test_handlers_and_level_are_restored_whatever_happens(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with pytest.raises(RuntimeError), NodeLogs(tmp_path, ["a"], logging.DEBUG):  # noqa: PT012
        assert isinstance(root.handlers[0], NodeLogs)
        assert (len(root.handlers), root.level) == (1, logging.DEBUG)
        raise RuntimeError
    assert (root.level, root.handlers) == before


def test_silence_makes_no_folder(tmp_path: Path) -> None:
    with NodeLogs(tmp_path / "logs", ["a"], logging.WARNING) as logs:
        assert logs.written == []
    assert not (tmp_path / "logs").exists()


def test_a_file_of_an_earlier_run_is_replaced_and_lines_are_there_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("long ago\n")
    with NodeLogs(tmp_path, ["a"], logging.WARNING):
        say("a", logging.INFO, "now")
        assert (tmp_path / "a.log").read_text().endswith("INFO tests.nodelogs now\n")
        assert "long ago" not in (tmp_path / "a.log").read_text()


def test_a_file_that_cannot_be_written_stops_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("in the way")
    with NodeLogs(tmp_path / "logs", ["a"], logging.WARNING) as logs:
        say("a", logging.INFO, "lost")
        assert logs.written == []
    assert "Logging error" in capsys.readouterr().err


def test_markup_in_a_message_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with NodeLogs(tmp_path, [], logging.WARNING):
        say("", logging.WARNING, "[red]not red[/red]")
    assert "[red]not red[/red]" in capsys.readouterr().err


def test_processes_of_clients_log_to_the_same_files_and_old_ones_go(tmp_path: Path) -> None:
    folder = tmp_path / "lo{g}s"
    folder.mkdir()
    (folder / "a.log").write_text("of an earlier run")
    with NodeLogs(folder, ["a", "b"], logging.WARNING) as logs:
        setup = childlog.describe()
        assert setup.level == logging.INFO
        assert setup.file is not None
        assert logs.written == []
        Path(setup.file.format(node="b")).write_text("hello")
        assert logs.written == ["b"]
    assert not (folder / "a.log").exists()


def test_without_a_terminal_a_record_is_one_line_with_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "a word or two " * 20 + "at the end"
    with NodeLogs(tmp_path, [], logging.WARNING):
        say("", logging.WARNING, long)
        say("", logging.WARNING, "at the same second")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" WARNING tests.nodelogs ")[1] for line in lines] == [long, "at the same second"]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", line) for line in lines)


def test_at_a_terminal_every_record_has_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with NodeLogs(tmp_path, [], logging.WARNING):
        say("", logging.WARNING, "first")
        say("", logging.WARNING, "second")
    assert len(re.findall(r"\[\d\d/\d\d/\d\d \d\d:\d\d:\d\d\]", capsys.readouterr().err)) == 2
