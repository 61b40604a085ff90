"""Control groups as kernels and containers show them, recorded; only the folders are made up."""

import os
from pathlib import Path

import pytest

from harness.records.cgroup import (
    groups,
    groups_of,
    memory_limit_bytes,
    mounts,
    narrowest_quota,
    throttled_s,
)

V2 = "34 24 0:30 / {point} rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 {root} {point} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"


def made(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_version_2_is_read_from_the_own_group_up_to_the_root(tmp_path: Path) -> None:
    found = groups("0::/user.slice/user-1000.slice/session-2.scope\n", V2.format(point=tmp_path), "cpu")
    slices = tmp_path / "user.slice"
    assert found == [
        slices / "user-1000.slice/session-2.scope",
        slices / "user-1000.slice",
        slices,
        tmp_path,
    ]


def test_in_a_namespace_of_its_own_a_container_is_at_the_root(tmp_path: Path) -> None:
    assert groups("0::/\n", V2.format(point=tmp_path), "cpu") == [tmp_path]


def test_version_1_shows_a_container_its_own_group_at_the_mount_point(tmp_path: Path) -> None:
    cgroup = "12:pids:/docker/0a1b\n4:cpu,cpuacct:/docker/0a1b\n1:name=systemd:/docker/0a1b\n"
    mountinfo = V1.format(root="/docker/0a1b", point=tmp_path)
    assert groups(cgroup, mountinfo, "cpu") == [tmp_path]
    assert groups(cgroup.replace("0a1b\n1:", "0a1b/inner\n1:"), mountinfo, "cpu") == [
        tmp_path / "inner",
        tmp_path,
    ]


@pytest.mark.parametrize("path", ["/elsewhere", "/docker/0a1bc", "/../sibling"])
def test_a_group_outside_of_the_mount_is_looked_for_at_its_top(tmp_path: Path, path: str) -> None:
    mountinfo = V1.format(root="/docker/0a1b" if path != "/../sibling" else "/", point=tmp_path)
    assert groups(f"4:cpu,cpuacct:{path}\n", mountinfo, "cpu") == [tmp_path]


def test_both_versions_are_read_side_by_side(tmp_path: Path) -> None:
    mountinfo = V1.format(root="/", point=tmp_path / "cpu") + V2.format(point=tmp_path / "unified")
    found = groups("1:cpu,cpuacct:/a\n0::/b\n", mountinfo, "cpu")
    assert found == [
        tmp_path / "cpu/a",
        tmp_path / "cpu",
        tmp_path / "unified/b",
        tmp_path / "unified",
    ]


def test_a_hierarchy_that_is_not_mounted_or_has_another_controller_has_no_groups() -> None:
    assert groups("4:memory:/a\n0::/b\n", "", "cpu") == []
    assert groups("", V2.format(point="/sys/fs/cgroup"), "cpu") == []


def test_other_mounts_are_left_out_and_spaces_are_read() -> None:
    text = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + V2.format(point=r"/mnt/c\040g") + "\n23 damaged\n"
    assert [mount.point for mount in mounts(text)] == ["/mnt/c g"]


def test_the_narrowest_quota_of_any_level_holds(tmp_path: Path) -> None:
    outer = made(tmp_path / "outer", cpu__max="150000 100000")
    inner = made(outer / "inner", cpu__max="max 100000")
    old = made(tmp_path / "old", cpu__cfs_quota_us="25000", cpu__cfs_period_us="50000")
    assert narrowest_quota([inner, outer]) == (1.5, "150000 100000", outer)
    assert narrowest_quota([inner, outer, old]) == (0.5, "25000 50000", old)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu__max": "max 100000"},
        {"cpu__max": ""},
        {"cpu__max": "50000 0"},
        {"cpu__cfs_quota_us": "-1", "cpu__cfs_period_us": "100000"},
        {"cpu__cfs_quota_us": "50000"},
    ],
)
def test_without_a_quota_there_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    assert narrowest_quota([made(tmp_path / "group", **files), tmp_path / "gone"]) is None


def test_the_narrowest_limit_on_memory_holds(tmp_path: Path) -> None:
    new = made(tmp_path / "new", memory__max="max")
    old = made(tmp_path / "old", memory__limit_in_bytes="9223372036854771712")
    limited = made(tmp_path / "limited", memory__max="1073741824")
    assert memory_limit_bytes([new, old]) is None
    assert memory_limit_bytes([new, limited, old]) == 1 << 30


def test_throttling_is_in_seconds_in_both_versions(tmp_path: Path) -> None:
    new = made(tmp_path / "new", cpu__stat="usage_usec 9\nnr_throttled 3\nthrottled_usec 1500000\n")
    old = made(tmp_path / "old", cpu__stat="nr_periods 9\nnr_throttled 3\nthrottled_time 2500000000\n")
    assert throttled_s(new) == pytest.approx(1.5)
    assert throttled_s(old) == pytest.approx(2.5)


def test_a_group_without_a_quota_was_never_throttled_and_one_that_is_gone_is_unknown(tmp_path: Path) -> None:
    assert throttled_s(made(tmp_path / "root", cpu__stat="usage_usec 9\nuser_usec 5\n")) == 0.0
    assert throttled_s(tmp_path / "gone") is None


def test_this_process_has_groups_that_exist_where_the_controller_is_mounted() -> None:
    found = groups_of("self", "cpu")
    assert all(folder.is_dir() for folder in found)
    assert groups_of(os.getpid(), "cpu") == found
    assert groups_of("self", "cpu", proc="/nowhere") == []
