"""Children log as their parent does, or as its handler says."""

from __future__ import annotations

import contextvars
import logging
import subprocess
import sys

import pytest

from fedbench import childlog
from fedbench.childlog import LineFormatter, LogSetup

CODE = """
import logging, sys
from fedbench import childlog
from fedbench.ids import current_node
logging.basicConfig(format="wrong %(message)s")
childlog.configure(childlog.LogSetup({level}, {format!r}, {file!r}, {{"fedbench.x": 10}}), "node_7")
logging.getLogger("other").info("hello from %s", current_node.get())
logging.getLogger("fedbench.x").debug("deep")
"""


@pytest.fixture
def root():
    """The root logger without handlers, put back afterwards."""
    logger = logging.getLogger()
    before = logger.level, list(logger.handlers)
    yield logger
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]


def configured(level, form, file=None):
    code = CODE.format(level=level, format=form, file=file)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr


def test_a_child_writes_the_parents_format_to_standard_error():
    assert configured(logging.INFO, "%(levelname)s|%(message)s") == "INFO|hello from node_7\nDEBUG|deep\n"
    assert configured(logging.WARNING, "%(levelname)s|%(message)s") == "DEBUG|deep\n"
    assert configured(logging.INFO, None) == ""


def test_a_child_writes_to_a_file_of_its_own(tmp_path):
    assert configured(logging.INFO, "%(message)s", f"{tmp_path}/{{node}}.log") == ""
    assert (tmp_path / "node_7.log").read_text() == "hello from node_7\ndeep\n"


def test_the_parents_first_stream_is_described(root):
    root.handlers.clear()
    assert childlog.describe().format is None
    stream = logging.StreamHandler()
    stream.setFormatter(logging.Formatter("%(message)s!"))
    root.addHandler(stream)
    root.setLevel(logging.ERROR)
    logging.getLogger("fedbench.described").setLevel(5)
    setup = childlog.describe()
    assert (setup.level, setup.format, setup.file) == (logging.ERROR, "%(message)s!", None)
    assert setup.levels["fedbench.described"] == 5
    logging.getLogger("fedbench.described").setLevel(logging.NOTSET)


def test_a_handler_may_say_how_children_log(root):
    class Sorter(logging.Handler):
        def for_children(self):
            return LogSetup(7, "x", "y")

    root.handlers[:] = [Sorter()]
    assert childlog.describe() == LogSetup(7, "x", "y")


def test_further_lines_are_marked_here_and_in_children(root):
    formatter = LineFormatter("%(levelname)s %(message)s", "+ ")
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "one\ntwo\n\nthree", None, None)
    assert formatter.format(record) == "INFO one\n+ two\n+ \n+ three"
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    assert all(line.startswith("+ ") for line in formatter.format(record).splitlines()[1:])
    stream = logging.StreamHandler()
    stream.setFormatter(formatter)
    root.handlers[:] = [stream]
    setup = childlog.describe()
    assert (setup.format, setup.continuation) == ("%(levelname)s %(message)s", "+ ")
    contextvars.copy_context().run(childlog.configure, setup, "node_7")  # it says which node this is
    assert root.handlers[0].format(record) == formatter.format(record)
