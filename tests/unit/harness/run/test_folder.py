import errno
import os
from pathlib import Path

import pytest

from fedbench.errors import ConfigError
from harness.run.folder import make_folder, saving


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device; .*: make room, then `fedbench run --resume"),
        (errno.EROFS, "Read-only file system; .*: make it writable, then"),
        (errno.EDQUOT, "quota exceeded; .*: make room within the quota, then"),
    ],
)
def test_a_write_that_fails_names_the_file_the_remedy_and_how_it_goes_on(
    tmp_path: Path, number: int, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=rf"run.json: cannot be written: .*{remedy}"), saving(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "run.json"))


def test_a_disk_that_is_full_is_told_whoever_notices(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(ConfigError, match="No space left on device"), saving(tmp_path):
        full.write_bytes(b"x")


def test_what_has_nothing_to_do_with_saving_passes(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), saving(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_a_folder_is_made_beside_those_that_are_there(tmp_path: Path) -> None:
    made = [make_folder(tmp_path / "in" / "run").name for _ in range(3)]
    assert made == ["run", "run-2", "run-3"]
