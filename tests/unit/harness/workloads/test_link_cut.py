from typing import Any

import pytest

from harness.records.derive import of_the_log, of_the_window
from harness.stacks.base import Unsupported
from harness.stacks.federation import FederationStack

pytestmark = pytest.mark.slow
SMALL = {"clients": 2, "operations": 40, "rate_per_s": 200.0, "cut_s": 0.1}


async def test_everything_arrives_once_and_in_order_across_a_cut(drive) -> None:
    outcome = await drive("link_cut", FederationStack("push", "network", {}), **SMALL)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (40, 2, [])
    assert outcome.values["clients"] == 2.0
    assert 0 < outcome.values["recovery_s"] < 60
    why = "its window holds a cut, and the process of the link"
    assert outcome.missing == of_the_window(why) | of_the_log(why)


async def test_what_a_cut_loses_or_does_not_cut_is_found(drive) -> None:
    class Leaky(FederationStack):
        async def cut(self, for_s: float) -> int:
            await super().cut(for_s)
            return 1

        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            if data != 25:
                super().notify(client, data, intended_ns=intended_ns)

    outcome = await drive("link_cut", Leaky("push", "network", {}), **SMALL)
    assert outcome.values["clients"] == 1.0
    assert outcome.wrong == [
        "only 1 connections of 2 clients were cut",
        "client 1 was sent 20 and handled 19: 1 lost, 0 twice, or order",
    ]


@pytest.mark.parametrize("mode", ["memory", "process"])
async def test_there_is_nothing_to_cut_without_a_network(mode: str, drive) -> None:
    with pytest.raises(Unsupported, match="no link"):
        await drive("link_cut", FederationStack("push", mode, {}), **SMALL)
