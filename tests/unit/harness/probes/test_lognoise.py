import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.probes.lognoise import CONTINUATION, FORMAT, RAW, LogCapture, LogCounts

PLAIN = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
TAILS = ["", f"{CONTINUATION}more\n", f"{CONTINUATION}\n{CONTINUATION}ERROR x\n"]
entries = st.lists(st.tuples(st.sampled_from([*PLAIN, RAW]), st.sampled_from(TAILS)), max_size=20)


def run(capture: LogCapture, code: str) -> None:
    setup = (
        "import logging, os\nfrom fedbench import childlog\n"
        f"childlog.configure(childlog.LogSetup(10, {FORMAT!r}, continuation={CONTINUATION!r}), 'n')\n"
        "log = logging.getLogger()\n"
    )
    command = [sys.executable, "-c", setup + textwrap.dedent(code)]
    subprocess.run(command, stdout=capture, stderr=capture, check=False)


def write(capture: LogCapture, text: str) -> None:
    os.write(capture.fileno(), text.encode())


def render(items: list[tuple[str, str]]) -> str:
    return "".join(
        "native line\n" if level == RAW else f"{level} a.b node-1 message\n{tail}" for level, tail in items
    )


@pytest.fixture
def capture(tmp_path: Path):
    with LogCapture(tmp_path) as opened:
        yield opened


def test_records_of_a_real_process_are_counted_by_level(capture: LogCapture) -> None:
    run(
        capture,
        """
        log.info("n up")
        log.warning("n slow")
        log.error("n lost")
        log.critical("n dead")
        log.debug("n detail")
        """,
    )
    counts = capture.count()
    assert counts.by_level == {"INFO": 1, "WARNING": 1, "ERROR": 1, "CRITICAL": 1, "DEBUG": 1}
    assert (counts.records, counts.warnings, counts.errors) == (5, 1, 2)
    assert counts.bytes == os.path.getsize(capture.path)


def test_chained_tracebacks_and_stacks_belong_to_their_record(capture: LogCapture) -> None:
    run(
        capture,
        """
        try:
            try:
                try:
                    1 / 0
                except ZeroDivisionError as error:
                    raise KeyError("k") from error
            except KeyError:
                raise ExceptionGroup("both", [ValueError("v"), TypeError("t")])
        except ExceptionGroup:
            log.exception("n failed")
        log.info("n where", stack_info=True)
        log.info("n lines\\n  of one\\n\\n  record")
        log.warning("n says\\nWARNING it is\\nE0000 one record\\n")
        try:
            raise ValueError("one\\ntwo\\nthree")
        except ValueError:
            log.exception("n failed")
        """,
    )
    assert capture.count().by_level == {"ERROR": 2, "INFO": 2, "WARNING": 1}


def test_native_output_is_not_free_even_behind_a_record(capture: LogCapture) -> None:
    run(
        capture,
        """
        log.info("n up")
        os.write(1, b"E0000 native\\n  more\\n")
        log.info("n up")
        os.system("echo from a shell")
        """,
    )
    assert capture.count().by_level == {"INFO": 2, RAW: 3}


def test_uncaught_exceptions_warnings_and_look_alikes_are_raw(capture: LogCapture) -> None:
    run(capture, "os.write(2, b'ERROR: x\\nINFORMATION y\\nINFO\\ninfo z\\nValueError: v\\n\\n')")
    assert capture.count().by_level == {RAW: 6}


def test_native_lines_are_not_free_because_they_are_indented_or_empty(capture: LogCapture) -> None:
    write(
        capture, "INFO a n\n  native\n\n\ttoo\nTraceback (most recent call last):\n  File\nValueError: one\n"
    )
    assert capture.count().by_level == {"INFO": 1, RAW: 6}


def test_a_record_that_began_before_the_stretch_is_none_of_it(capture: LogCapture) -> None:
    write(capture, "INFO a n\n")
    mark = capture.mark()
    write(capture, f"{CONTINUATION}more\nINFO a n\n")
    assert capture.count(mark).by_level == {"INFO": 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries, entries)
def test_stretches_between_marks_add_up(tmp_path: Path, first: list, second: list) -> None:
    with LogCapture(tmp_path) as capture:
        write(capture, render(first))
        mark = capture.mark()
        write(capture, render(second))
        parts = capture.count(0, mark), capture.count(mark)
        whole = capture.count()
    for part, items in zip(parts, (first, second), strict=True):
        levels = [level for level, _ in items]
        assert part.by_level == {level: levels.count(level) for level in set(levels)}
        assert part.bytes == len(render(items))
    assert whole.records == parts[0].records + parts[1].records == len(first) + len(second)


def test_an_unfinished_line_belongs_to_the_next_stretch_and_is_counted_at_the_end(
    capture: LogCapture,
) -> None:
    write(capture, "INFO a n\nWARN")
    mark = capture.mark()
    assert mark == len("INFO a n\n")
    assert capture.count(0, mark).by_level == {"INFO": 1}
    assert capture.count(mark) == LogCounts(1, 0, 0, 4, {RAW: 1})
    write(capture, "ING a n")
    assert capture.count(mark).by_level == {"WARNING": 1}


def test_marks_are_found_behind_long_unfinished_lines(capture: LogCapture) -> None:
    write(capture, "x" * 200_000)
    assert capture.mark() == 0
    write(capture, "\n" + "y" * 200_000)
    assert capture.mark() == 200_001
    assert capture.count().by_level == {RAW: 2}


def test_an_empty_log_has_no_records(capture: LogCapture) -> None:
    assert capture.mark() == 0
    assert capture.count() == LogCounts(0, 0, 0, 0, {})


@pytest.mark.parametrize(("since", "until"), [(-1, None), (9, None), (0, 9), (4, 2)])
def test_stretches_outside_of_the_file_are_refused(
    capture: LogCapture, since: int, until: int | None
) -> None:
    write(capture, "12345678")
    with pytest.raises(ValueError, match="no stretch"):
        capture.count(since, until)


def test_writers_that_open_the_file_by_themselves_are_not_overwritten(capture: LogCapture) -> None:
    write(capture, "INFO a n\n")
    with open(capture.path, "a") as other:
        other.write("INFO b n\n")
    write(capture, "INFO a n\n")
    assert Path(capture.path).read_text() == "INFO a n\nINFO b n\nINFO a n\n"


def test_many_processes_write_whole_lines(capture: LogCapture) -> None:
    code = "import os\nfor _ in range(200): os.write(1, b'INFO a n\\n')"
    writers = [subprocess.Popen([sys.executable, "-S", "-c", code], stdout=capture) for _ in range(3)]
    for writer in writers:
        writer.wait()
    assert capture.count().by_level == {"INFO": 600}


def test_a_closed_capture_can_be_counted_but_not_written(tmp_path: Path) -> None:
    with LogCapture(tmp_path) as capture:
        fd = capture.fileno()
        write(capture, "INFO a n\n")
    capture.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with pytest.raises(ValueError, match="is closed"):
        capture.fileno()
    assert capture.count().records == 1
    assert capture.mark() == 9
    assert Path(capture.path).parent == tmp_path


def test_the_format_is_what_logging_writes() -> None:
    record = logging.LogRecord("fedbench.rpc", logging.WARNING, __file__, 1, "node-1 lost", None, None)
    assert logging.Formatter(FORMAT).format(record) == "WARNING fedbench.rpc node-1 lost"
