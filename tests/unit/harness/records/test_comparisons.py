import msgspec
import pytest

from fedbench.errors import ConfigError
from harness.records.comparisons import read_comparison
from tests.fakes.comparisons import fake_comparison

WHOLE = msgspec.json.encode(fake_comparison())


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "comparison.json"
    path.write_bytes(WHOLE)
    assert read_comparison(path) == fake_comparison()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no comparison, or damaged"),
        (WHOLE[:-20], "is no comparison, or damaged"),
        (b"\xff\xfe", "is no comparison, or damaged"),
        (b"[" * 99_999, "is no comparison, or damaged"),
        (b"[1]", "has schema version None: this program reads version 1"),
        (WHOLE.replace(b'"schema_version":1', b'"schema_version":2'), "has schema version 2"),
        (WHOLE.replace(b'"regressed"', b'"worse"'), "damaged: Invalid enum value 'worse'"),
        (WHOLE.replace(b'"ratio":1.23', b'"ratio":-1.23'), r"changes\[5\]: was edited"),
        (WHOLE.replace(b'"margin":0.001', b'"margin":-1'), r"changes\[3\]: was edited"),
    ],
)
def test_anything_else_is_named(tmp_path, data, message):
    path = tmp_path / "comparison.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=message) as caught:
        read_comparison(path)
    assert caught.value.source == str(path)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_comparison(tmp_path / "missing.json")
