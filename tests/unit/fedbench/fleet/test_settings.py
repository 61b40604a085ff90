"""Settings: safe defaults."""

from __future__ import annotations

from fedbench.fleet.settings import RESTARTS, START_METHODS, FleetSettings


def test_the_defaults_fork_and_bring_nobody_back():
    assert FleetSettings() == FleetSettings("forkserver", "never", 3)
    assert START_METHODS == ("forkserver", "spawn")
    assert RESTARTS == ("never", "on_failure")
