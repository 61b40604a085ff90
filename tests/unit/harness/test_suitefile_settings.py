"""What the systems under test refuse is found when the suite is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedbench.errors import ConfigError
from harness.stacks.registry import check_settings, stack_names
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue

MISSPELT = {"poll_intervall_s": 1}


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        (lambda d: d["arms"]["push"].update(settings={"a": 1}), "arms.push.settings", "has no settings"),
        (lambda d: d["arms"]["poll"].update(settings=MISSPELT), "arms.poll.settings", "did you mean"),
    ],
)
def test_settings_that_a_stack_refuses_are_found_when_the_suite_is_read(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], path: str, message: str
) -> None:
    data = {
        "workloads": {"rpc_ping": {}},
        "arms": {"push": {"stack": "push"}, "poll": {"stack": "polling"}},
    }
    change(data)
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as wrong:
        load_suite(str(file), catalogue(), stack_names(), check=check_settings)
    assert any(p.path == path and message in p.message for p in wrong.value.problems), wrong.value.problems


def test_what_every_point_of_a_sweep_shares_is_read(tmp_path: Path) -> None:
    data = {
        "workloads": {"rpc_ping": {}},
        "arms": {"poll": {"stack": "polling", "settings": {"warn_on_timeout": True}}},
        "sweep": {"base": "poll", "values": [0.5], "settings": {"warn_on_timeout": False}},
    }
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(data))
    swept = load_suite(str(file), catalogue(), stack_names(), check=check_settings).arms["poll@0.5"]
    assert swept.settings == {"warn_on_timeout": False, "poll_interval_s": 0.5}
