from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.naming import LONGEST, wrong_name


@pytest.mark.parametrize("name", ["quick", "rpc_ping@64", "sweep@64,0.5", "v1.2-rc.1", "_", "a=b+c", "9"])
def test_a_name_is_a_name(name: str) -> None:
    assert wrong_name(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "/etc",
        "../x",
        "a..b",
        "a\0b",
        "a\nb",
        "a\n",
        "-rf",
        "--help",
        ".hidden",
        "a b",
        "é",
        "a\\b",
    ],
)
def test_a_name_that_plays_tricks_is_refused_by_name(name: str) -> None:
    assert wrong_name(name).startswith(f"{name!r} is no name: use letters")


def test_a_name_that_no_file_could_have_is_refused_in_short() -> None:
    assert wrong_name("a" * LONGEST) == ""
    refusal = wrong_name("a" * (LONGEST + 1))
    assert "is too long for a name: use at most 100 characters" in refusal
    assert len(refusal) < 100


@given(st.text())
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    if not wrong_name(name):
        path = PurePosixPath("folder") / name
        assert path.parent == PurePosixPath("folder")
        assert path.name == name
        assert not name.startswith("-")
        assert name.isprintable()
