import errno
import os
from pathlib import Path

import pytest

from fedbench.errors import ConfigError
from harness.records import lock
from harness.records.lock import held, is_held


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    other = pytest.raises(ConfigError, match="another process is measuring into it")
    with held(tmp_path), other, held(tmp_path):
        raise AssertionError("two hold it")
    with held(tmp_path):
        pass


def test_who_does_not_measure_can_see_whether_somebody_does(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with held(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_where_there_are_no_locks_a_folder_is_measured_into_all_the_same(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with held(tmp_path):
        assert not is_held(tmp_path)
