"""The shape of the tree: mirrored tests, small files."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT)
    for package in ("fedbench", "harness")
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__init__.py"
)
LIMIT_LINES = 400


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_mirror_test(module: Path) -> None:
    mirror = ROOT / "tests" / "unit" / module.parent / f"test_{module.name}"
    assert mirror.is_file(), f"{mirror.relative_to(ROOT)} is missing"


def test_no_mirror_test_is_left_behind() -> None:
    """A test belongs to a module by name, with a topic behind it where one file would be too long."""
    expected = [Path("tests/unit") / module.parent / f"test_{module.stem}" for module in MODULES]
    for path in (ROOT / "tests" / "unit").rglob("test_*.py"):
        found = path.relative_to(ROOT).with_suffix("")
        assert any(found == mirror or str(found).startswith(f"{mirror}_") for mirror in expected), found


def test_files_stay_small() -> None:
    files = [p for top in ("fedbench", "harness", "tests", "scripts") for p in (ROOT / top).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > LIMIT_LINES} == {}


def test_scripts_stay_thin() -> None:
    for name in ("bench", "check", "setup", "test"):
        assert len((ROOT / "scripts" / name).read_text().splitlines()) < 20
