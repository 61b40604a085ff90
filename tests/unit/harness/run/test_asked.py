from pathlib import Path

import pytest

from fedbench.errors import ConfigError
from harness.run.asked import ASKED, Asked, digest_of_asked, read_asked, write_asked
from harness.stacks.registry import stack_names
from harness.suitefile import load_suite, suite_names
from harness.workloads.registry import catalogue


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    suite = load_suite(name, catalogue(), stack_names()).select("push|polling").limit(12.5)
    write_asked(tmp_path, Asked(suite=suite, seed=7))
    assert read_asked(tmp_path) == Asked(suite=suite, seed=7)
    assert [path.name for path in tmp_path.iterdir()] == [ASKED]


def test_the_digest_tells_an_edited_suite_from_the_one_that_was_written(tmp_path: Path) -> None:
    asked = Asked(suite=load_suite("smoke", catalogue(), stack_names()), seed=7)
    write_asked(tmp_path, asked)
    digest = digest_of_asked(tmp_path)
    write_asked(tmp_path, asked)
    assert digest_of_asked(tmp_path) == digest
    path = tmp_path / ASKED
    path.write_bytes(path.read_bytes().replace(b'"seed": 7', b'"seed": 8'))
    assert digest_of_asked(tmp_path) != digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no suite.json: it is no run, or one of an earlier version, which cannot be resumed"),
        (b"", "is damaged"),
        (b"[" * 99_999, "is damaged"),
        (b"{}", "is damaged: Object missing required field"),
        (b"\xff", "is damaged"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / ASKED).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_asked(tmp_path)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    write_asked(
        tmp_path, Asked(schema_version=2, suite=load_suite("smoke", catalogue(), stack_names()), seed=0)
    )
    with pytest.raises(ConfigError, match="has schema version 2: this program reads version 1"):
        read_asked(tmp_path)


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / ASKED).mkdir()
    with pytest.raises(ConfigError, match=r"suite.json: cannot be read: Is a directory"):
        read_asked(tmp_path)
