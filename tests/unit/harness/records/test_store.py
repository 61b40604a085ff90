import errno
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from fedbench.errors import ConfigError
from harness.records.metrics import METRICS
from harness.records.schema import Observation, RunRecord
from harness.records.store import OBSERVATIONS, RUN, SAMPLES, Store, remove_unfinished, write_atomically
from harness.records.summary import summarise


def observation(block: int, **changes: object) -> Observation:
    known = {
        "block": block,
        "order": 1,
        "arm": "push",
        "stack": "push",
        "loop": "uvloop",
        "mode": "memory",
        "workload": "idle",
        "kind": "idle_federation",
        "params": {},
        "status": "ok",
        "metrics": {"cpu_cores": 0.5, "latency_p99_bound_s": None},
    }
    return Observation(**{**known, **changes})


def run_record(**changes: object) -> RunRecord:
    known = {
        "run_id": "r",
        "suite": "quick",
        "title": "t",
        "command": "c",
        "seed": 0,
        "blocks_planned": 1,
        "blocks_done": 1,
        "started_utc": "u",
        "duration_s": 1.0,
        "environment": {},
        "order": [],
        "cells": [],
        "criteria": [],
        "controls": [],
        "warnings": [],
        "not_measured": [],
        "ended": "complete",
        "verdict": "pass",
        "reason": "",
        "exit_code": 0,
    }
    return RunRecord(**{**known, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results" / "run")


def test_observations_come_back_in_the_order_kept(store: Store) -> None:
    kept = [observation(block) for block in (2, 1, 3)]
    for one in kept:
        store.append(one)
    assert Store(store.folder).observations() == kept


def test_a_torn_last_line_is_left_out(store: Store) -> None:
    store.append(observation(1))
    whole = (store.folder / OBSERVATIONS).read_bytes()
    for length in range(1, len(whole)):
        (store.folder / OBSERVATIONS).write_bytes(whole + whole[:length])
        assert store.observations() == [observation(1)]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_what_is_appended_after_a_torn_line_is_kept_whole(store: Store, before: int) -> None:
    kept = [observation(block) for block in range(before)]
    for one in kept:
        store.append(one)
    with (store.folder / OBSERVATIONS).open("ab") as file:
        file.write(msgspec.json.encode(observation(9))[:-1])
    store.append(observation(10))
    store.append(observation(11))
    assert store.observations() == [*kept, observation(10), observation(11)]


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"block": "one"}', b"\xff\xfe", b"", b"[" * 99_999])
def test_a_damaged_line_in_between_names_the_file(store: Store, line: bytes) -> None:
    store.append(observation(1))
    path = store.folder / OBSERVATIONS
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(ConfigError, match="holds something else") as caught:
        store.observations()
    assert caught.value.source == str(path)


def test_no_observations_are_none(store: Store) -> None:
    assert store.observations() == []


def test_unreadable_observations_name_the_file(store: Store) -> None:
    (store.folder / OBSERVATIONS).mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory") as caught:
        store.observations()
    assert caught.value.source == str(store.folder / OBSERVATIONS)


def test_a_run_comes_back(store: Store) -> None:
    run = run_record(environment={"cores": 2, "governor": None})
    store.write_run(run)
    assert Store(store.folder).read_run() == run
    store.write_run(run_record(verdict="fail"))
    assert store.read_run().verdict == "fail"


def test_run_json_is_for_people_too(store: Store) -> None:
    store.write_run(run_record())
    assert '\n "schema_version": 1,\n' in (store.folder / RUN).read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory; name the folder of a run"),
        (b"", "is damaged"),
        (b'{"schema_version": 1', "is damaged"),
        (b'{"schema_version": 1}', "is damaged: Object missing required field `run_id`"),
        (b'{"schema_version": 1, "run_id": "\xff"}', "is damaged"),
        (b'{"schema_version": 2}', "has schema version 2: this program reads version 1"),
        (b"{}", "has schema version None"),
        (b"[1]", "has schema version None"),
        (b"[" * 99_999, "is damaged"),
    ],
)
def test_a_run_that_cannot_be_read_names_its_file(store: Store, content: bytes | None, message: str) -> None:
    path = store.folder / RUN
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        store.read_run()
    assert caught.value.source == str(path)
    assert message in str(caught.value)


def test_numbers_that_nothing_measures_name_their_file_and_place(store: Store) -> None:
    """They would end a report where it draws."""
    store.append(observation(1))
    cells = summarise(store.observations())
    huge = msgspec.structs.replace(cells[0].metrics["cpu_cores"], value=1e308)
    edited = msgspec.structs.replace(cells[0], metrics={"cpu_cores": huge})
    store.write_record(run_record(cells=[edited]))
    with pytest.raises(
        ConfigError, match=r"run.json: cell push .*: cpu_cores.value is 1e\+308, which nothing"
    ):
        store.read_run()
    store.append(observation(2, metrics={"cpu_cores": -1e300}))
    with pytest.raises(
        ConfigError, match=r"observations.jsonl: line 2: cpu_cores is -1e\+300, which nothing"
    ):
        store.observations()


def test_samples_are_one_row_a_metric_with_its_unit(store: Store) -> None:
    store.append(observation(1))
    store.append(observation(2, arm="polling", metrics={"memory_peak_bytes": 1e9}))
    store.write_run(run_record())
    table = pd.read_csv(store.folder / SAMPLES)
    assert list(table.columns) == [
        "block",
        "order",
        "arm",
        "stack",
        "loop",
        "mode",
        "workload",
        "metric",
        "unit",
        "value",
    ]
    assert table["metric"].tolist() == ["cpu_cores", "latency_p99_bound_s", "memory_peak_bytes"]
    assert table["unit"].tolist() == [METRICS[name].unit for name in table["metric"]]
    assert table["value"].isna().tolist() == [False, True, False]
    assert table["value"].tolist()[2] == 1e9
    assert table["block"].tolist() == [1, 1, 2]


def test_samples_without_observations_are_a_header(store: Store) -> None:
    store.write_run(run_record())
    assert len(pd.read_csv(store.folder / SAMPLES)) == 0


def test_the_same_run_is_written_byte_for_byte_alike(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    for one in (store, other):
        one.append(observation(1))
        one.write_run(run_record())
    for name in (RUN, SAMPLES):
        first = (store.folder / name).read_bytes()
        os.utime(store.folder / name, (0, 0))
        store.write_run(run_record())
        assert first == (store.folder / name).read_bytes() == (other.folder / name).read_bytes()


def test_nothing_but_the_files_of_a_run_is_left(store: Store) -> None:
    store.append(observation(1))
    store.write_run(run_record())
    assert {path.name for path in store.folder.iterdir()} == {OBSERVATIONS, RUN, SAMPLES}


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([65 + i]) * 300_000 for i in range(2)]
    write_atomically(path, contents[0])
    done = threading.Event()

    def write() -> None:
        for i in range(50):
            write_atomically(path, contents[i % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            assert path.read_bytes() in contents
    finally:
        writer.join()


def test_a_write_that_fails_says_where_and_leaves_nothing(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as failed:
            write_atomically(tmp_path / "run.json", b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.filename == str(tmp_path / "run.json")
    assert list(tmp_path.iterdir()) == []


# what else may lie where a file is written


def test_no_other_file_is_destroyed(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET=1")
    write_atomically(tmp_path / "env", b"x")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {".env": "SECRET=1", "env": "x"}


def test_a_link_stays_and_its_target_is_written_with_the_mode_it_had(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "in" / "link"
    link.parent.mkdir()
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    missing = tmp_path / "missing"
    missing.symlink_to(tmp_path / "made")
    write_atomically(missing, b"new")
    assert (missing.is_symlink(), (tmp_path / "made").read_text()) == (True, "new")


def test_a_new_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, b"x")
        assert os.read(reader, 9) == b"x"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    write_atomically(Path(os.devnull), b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_file_in_shared_memory_is_replaced_like_any_other() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "file"
        for text in (b"one", b"two"):
            write_atomically(path, text)
            assert path.read_bytes() == text


def test_a_file_system_without_modes_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.fchmod", refuse)
    for text in (b"one", b"two"):
        write_atomically(tmp_path / "file", text)
        assert (tmp_path / "file").read_bytes() == text


def test_standard_output_keeps_what_it_has(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from harness.records.store import write_atomically\n"
        "print('before', flush=True); write_atomically(Path('/dev/stdout'), b'written\\n'); print('after')"
    )
    with (tmp_path / "out").open("ab") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True)
    assert (tmp_path / "out").read_text().splitlines() == ["before", "written", "after"]


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Is a directory") as failed:
        write_atomically(tmp_path, b"x")
    assert failed.value.filename == str(tmp_path)


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".fedbench-0123456789abcdef").write_text("half")
    (tmp_path / "run.json").write_text("{}")
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
