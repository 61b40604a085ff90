import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import ConfigError
from harness.prune import STILL_RUNS_S, Stored, choose, parse_age, remove, started_of, stored_runs
from harness.records.lock import held

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def make(results: Path, name: str, ended: str = "complete", age_s: float = 0.0) -> Path:
    folder = results / name
    (folder / "plots").mkdir(parents=True)
    (folder / "plots" / "a.svg").write_text("12345")
    (folder / "run.json").write_text(json.dumps({"ended": ended}))
    then = (folder / "run.json").stat().st_mtime - age_s
    os.utime(folder / "run.json", (then, then))
    return folder


def run(days: float, *, going_on: bool = False) -> Stored:
    return Stored(Path(f"results/{days}"), NOW - timedelta(days=days), going_on, 1)


@pytest.mark.parametrize(
    ("text", "hours"), [("12h", 12), ("30d", 720), (" 2 w", 336), ("0d", 0), ("99999w", 99999 * 168)]
)
def test_an_age_is_hours_days_or_weeks(text, hours):
    assert parse_age(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 days", "999999w", "٣d"])
def test_what_is_no_age_is_explained(text):
    with pytest.raises(ConfigError, match="is no age: write 12h, 30d or 8w"):
        parse_age(text)


@pytest.mark.parametrize(
    "name", ["a", "20250102-quick", "20251302T030405Z-quick-0a1b2c3", "20250102T030405Z-"]
)
def test_only_the_name_of_a_run_says_when_it_began(name):
    assert started_of(name) is None
    assert started_of("20250102T030405Z-quick-0a1b2c3") == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_only_runs_are_found_oldest_first(tmp_path):
    newer = make(tmp_path, "20250202T030405Z-quick-0a1b2c3")
    older = make(tmp_path, "20250102T030405Z-my-suite-0a1b2c3")
    make(tmp_path / "baselines", "20240102T030405Z-quick-0a1b2c3")
    make(tmp_path, "baselines/main")
    make(tmp_path, "notes")
    (tmp_path / "20250103T030405Z-quick-0a1b2c3").mkdir()
    (tmp_path / "20250104T030405Z-quick-0a1b2c3").write_text("a file")
    elsewhere = make(tmp_path.parent / f"{tmp_path.name}-elsewhere", "20250105T030405Z-quick-0a1b2c3")
    (tmp_path / elsewhere.name).symlink_to(elsewhere, target_is_directory=True)
    linked = tmp_path / "20250106T030405Z-quick-0a1b2c3"
    linked.mkdir()
    (linked / "run.json").symlink_to(newer / "run.json")
    found = stored_runs(tmp_path)
    assert [stored.folder for stored in found] == [older, newer]
    assert found[0].size_bytes == 5 + len('{"ended": "complete"}')


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_place_without_runs_is_explained(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be read: .*; name the folder that holds runs"):
        stored_runs(tmp_path / name)


@pytest.mark.parametrize(
    ("ended", "age_s", "going_on"),
    [
        ("interrupted", 0.0, True),
        ("interrupted", STILL_RUNS_S + 60, False),
        ("complete", 0.0, False),
        ("budget", 0.0, False),
    ],
)
def test_a_run_that_may_go_on_is_told_from_one_that_ended(tmp_path, ended, age_s, going_on):
    make(tmp_path, "20250102T030405Z-quick-0a1b2c3", ended, age_s)
    assert [stored.going_on for stored in stored_runs(tmp_path)] == [going_on]


def test_a_damaged_run_may_go(tmp_path):
    folder = make(tmp_path, "20250102T030405Z-quick-0a1b2c3")
    (folder / "run.json").write_bytes(b'{"ended": \xff')
    assert [stored.going_on for stored in stored_runs(tmp_path)] == [False]


@pytest.mark.parametrize(
    ("keep", "older_than", "gone"),
    [
        (None, timedelta(days=15), [40, 20]),
        (2, None, [40, 20]),
        (0, None, [40, 20, 10, 1]),
        (9, None, []),
        (1, timedelta(days=15), [40, 20]),
        (3, timedelta(days=15), [40]),
        (2, timedelta(days=30), [40]),
    ],
)
def test_both_rules_must_let_a_run_go(keep, older_than, gone):
    runs = [run(days) for days in (40, 20, 10, 1)]
    pruning = choose(runs, keep, older_than, NOW)
    assert pruning.remove == [run(days) for days in gone]
    assert pruning.keep == [stored for stored in runs if stored not in pruning.remove]


@given(
    st.lists(st.tuples(st.integers(0, 99), st.booleans()), unique_by=lambda pair: pair[0]),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 99),
)
def test_the_newest_and_those_that_go_on_always_stay(ages, keep, older_days):
    runs = [run(days, going_on=going_on) for days, going_on in sorted(ages, reverse=True)]
    older_than = None if older_days is None else timedelta(days=older_days)
    pruning = choose(runs, keep, older_than, NOW)
    assert sorted([*pruning.remove, *pruning.keep], key=runs.index) == runs
    assert not any(stored.going_on for stored in pruning.remove)
    if keep:
        assert set(runs[-keep:]) <= set(pruning.keep)
    if older_than is not None:
        assert all(NOW - stored.started > older_than for stored in pruning.remove)


def test_removing_follows_no_link(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a").write_text("kept")
    folder = make(tmp_path / "results", "20250102T030405Z-quick-0a1b2c3")
    (folder / "link").symlink_to(precious, target_is_directory=True)
    (stored,) = stored_runs(tmp_path / "results")
    assert list(remove([stored])) == [stored]
    assert not folder.exists()
    assert (precious / "a").read_text() == "kept"


def test_what_became_a_link_meanwhile_is_left_alone(tmp_path):
    folder = make(tmp_path, "20250102T030405Z-quick-0a1b2c3")
    runs = stored_runs(tmp_path)
    moved = tmp_path / "moved"
    folder.rename(moved)
    folder.symlink_to(moved, target_is_directory=True)
    assert list(remove(runs)) == []
    assert (moved / "run.json").is_file()


def test_a_run_that_is_measured_stays_however_long_a_worker_takes(tmp_path):
    folder = make(tmp_path, "20250102T030405Z-soak-0a1b2c3", "interrupted", STILL_RUNS_S + 60)
    with held(folder):
        assert [stored.going_on for stored in stored_runs(tmp_path)] == [True]
    assert [stored.going_on for stored in stored_runs(tmp_path)] == [False]


def test_a_run_that_is_resumed_while_somebody_is_asked_stays(tmp_path):
    folder = make(tmp_path, "20250102T030405Z-quick-0a1b2c3")
    other = make(tmp_path, "20250103T030405Z-quick-0a1b2c3")
    runs = stored_runs(tmp_path)
    with held(folder):
        assert [stored.folder for stored in remove(runs)] == [other]
    assert folder.is_dir()


def test_a_file_that_goes_while_sizes_are_summed_counts_nothing(tmp_path, monkeypatch):
    folder = make(tmp_path, "20250102T030405Z-quick-0a1b2c3")
    real = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: [*real(path, pattern), path / ".run.json"])
    (stored,) = stored_runs(tmp_path)
    assert stored.folder == folder
    assert stored.size_bytes == 5 + len('{"ended": "complete"}')
