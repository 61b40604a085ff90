"""Open loops: every call ends up in one count, and no call waits for another."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import DeadlineExceeded, Overloaded, PeerLost, RemoteError
from harness.workloads.openloop import Caller, arrivals_at, is_refusal
from tests.fakes import virtual

Answer = Callable[[int, Any], Awaitable[Any]]


class Answering:
    """Clients that answer as they are told; notes who was called in order."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.called: list[int] = []
        self.open = self.most = 0

    async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
        self.called.append(client)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            return await self.answer(int.from_bytes(payload[:8], "little"), payload)
        finally:
            self.open -= 1


async def echo(number: int, payload: Any) -> Any:
    await asyncio.sleep(0)
    return payload


def caller(answer: Answer, **changed: Any) -> Caller:
    options = {"clients": 3, "payload_bytes": 16, "late_s": 1.0} | changed
    return Caller(Answering(answer), *options.values())


OVERLOADED = RemoteError("yaml_client_1", "Overloaded", "it runs 4096 calls already")
ENDS: dict[str, Any] = {
    "in_time": None,
    "late": DeadlineExceeded("too late"),
    "refused": Overloaded("full"),
    "failed": PeerLost("yaml_client_1", "it died"),
    "foreign": ConnectionResetError("gone"),
}
COUNTS = ("in_time", "late", "refused", "failed")


@pytest.mark.slow
@given(st.lists(st.sampled_from(list(ENDS)), min_size=1, max_size=30))
def test_every_call_ends_up_in_exactly_one_count(ends: list[str]) -> None:
    async def answer(number: int, payload: Any) -> Any:
        if ENDS[ends[number]] is not None:
            raise ENDS[ends[number]].with_traceback(None)
        return payload

    async def make() -> Caller:
        made = caller(answer)
        for _ in ends:
            await made.begin(time.monotonic_ns())
        return made

    made = asyncio.run(make())
    counted = ["failed" if end == "foreign" else end for end in ends]
    assert {name: getattr(made, name) for name in COUNTS} == {name: counted.count(name) for name in COUNTS}
    assert made.total == made.begun == len(ends)
    assert made.latency.count == made.intended.count == ends.count("in_time")
    assert len(made.wrong) == min(counted.count("failed"), 20)


async def test_calls_go_to_the_clients_in_turn_and_are_all_waited_for() -> None:
    made = caller(echo)
    begun = await made.offer(arrivals_at(1e6, 1), 10.0, 7)
    assert (begun, made.in_time, made.total) == (7, 7, 7)
    assert made._stack.called == [0, 1, 2, 0, 1, 2, 0]


async def test_no_call_waits_for_an_earlier_one() -> None:
    all_open = asyncio.Event()

    async def answer(number: int, payload: Any) -> Any:
        if number == 9:
            all_open.set()
        await all_open.wait()
        return payload

    made = caller(answer)
    await made.offer(arrivals_at(1e5, 1), 10.0, 10)
    assert made._stack.most == 10


async def test_calls_are_offered_until_the_time_is_up() -> None:
    made = caller(echo)
    begun = await made.offer(arrivals_at(1000.0, 2), 0.1)
    assert 50 < begun < 160  # 100 are expected
    assert made.in_time + made.late == begun


async def test_an_answer_counts_as_late_by_the_intended_time_of_its_call() -> None:
    made = caller(echo, late_s=5.0)
    await made.begin(time.monotonic_ns() - 6_000_000_000)
    await made.begin(time.monotonic_ns())
    assert (made.in_time, made.late) == (1, 1)
    assert made.intended.percentile(1.0) > 6e9 > 10 * made.latency.percentile(1.0)


async def test_a_wrong_answer_fails_its_call_and_is_told() -> None:
    async def answer(number: int, payload: Any) -> Any:
        return b"?" if number == 1 else payload

    made = caller(answer)
    await made.offer(arrivals_at(1e6, 1), 10.0, 3)
    assert (made.in_time, made.failed) == (2, 1)
    assert made.wrong == ["call 1 was answered with another payload"]


async def test_a_lost_client_fails_its_calls_and_stops_nothing() -> None:
    async def answer(number: int, payload: Any) -> Any:
        raise PeerLost("yaml_client_1", "it died")

    made = caller(answer)
    assert await made.offer(arrivals_at(1e6, 1), 10.0, 2) == 2
    assert (made.failed, made.wrong[0]) == (2, "call 0 raised PeerLost: lost yaml_client_1: it died")


async def test_whatever_a_call_raises_fails_it_and_is_told() -> None:
    async def answer(number: int, payload: Any) -> Any:
        raise ConnectionResetError("gone")

    made = caller(answer)
    assert await made.offer(arrivals_at(1e6, 1), 10.0, 2) == 2
    assert (made.failed, made.wrong[1]) == (2, "call 1 raised ConnectionResetError: gone")


async def test_a_call_that_somebody_ends_is_missed() -> None:
    async def answer(number: int, payload: Any) -> Any:
        if number:
            raise asyncio.CancelledError
        return payload

    made = caller(answer)
    assert await made.offer(arrivals_at(1e6, 1), 10.0, 3) == 3
    assert (made.in_time, made.failed) == (1, 2)
    assert made.wrong == ["of 3 calls 2 ended without answer or error"]


def test_a_refusal_is_one_on_either_side() -> None:
    assert is_refusal(Overloaded("full"))
    assert is_refusal(OVERLOADED)
    assert not is_refusal(RemoteError("yaml_client_1", "ValueError", "no"))
    assert not is_refusal(DeadlineExceeded("late"))
    assert not is_refusal(OSError("no"))


def each(takes_s: float) -> Answer:
    async def answer(number: int, payload: Any) -> Any:
        await asyncio.sleep(takes_s)
        return payload

    return answer


def test_the_capacity_is_what_so_many_callers_get_through() -> None:
    made = caller(each(0.01))
    capacity = virtual.run(made.capacity(5, 0.4))
    assert made._stack.most == 5
    assert capacity.per_s == pytest.approx(500, rel=0.05)  # five of 10 ms each
    assert 0 <= capacity.spread_share < 0.05
    assert capacity.values().keys() == {"capacity_ops_per_s", "capacity_spread_share"}


def test_the_capacity_is_that_of_the_better_window_and_the_worse_one_is_told() -> None:
    """The first calls are slow, then half of a window warms up, one is fast, and one is half as fast."""

    async def answer(number: int, payload: Any) -> Any:
        gone_s = time.monotonic() - virtual.START_S
        await asyncio.sleep(0.05 if gone_s < 0.15 else 0.005 if gone_s < 0.45 else 0.01)
        return payload

    capacity = virtual.run(caller(answer).capacity(4, 0.3))
    assert capacity.per_s == pytest.approx(800, rel=0.07)  # four of 5 ms each
    assert capacity.spread_share == pytest.approx(0.5, abs=0.05)


def test_the_end_in_which_fewer_are_open_does_not_count() -> None:
    async def answer(number: int, payload: Any) -> Any:
        await asyncio.sleep(0.01 if number < 180 else 1.0)
        return payload

    capacity = virtual.run(caller(answer).capacity(4, 0.2))
    assert capacity.per_s == pytest.approx(400, rel=0.05)  # not 184 in 1.45 s


def test_a_stack_too_slow_for_the_time_has_a_capacity_all_the_same() -> None:
    capacity = virtual.run(caller(each(0.05)).capacity(2, 0.01))
    assert capacity.per_s == pytest.approx(40, rel=0.05)
    assert capacity.values().keys() == {"capacity_ops_per_s"}  # two windows without an answer have no spread


def test_answers_that_come_many_at_once_are_no_rate_of_the_window_that_has_them() -> None:
    """A poller that answers eight callers every 0.09 s does so once in each of two windows of 0.05 s."""

    async def answer(number: int, payload: Any) -> Any:
        gone_s = time.monotonic() - virtual.START_S
        await asyncio.sleep(0.09 - (gone_s + 0.06) % 0.09)  # at 0.03 s and at 0.12 s
        return payload

    capacity = virtual.run(caller(answer).capacity(8, 0.05))  # the windows end at 0.075 s and at 0.125 s
    assert capacity.per_s == pytest.approx(24 / 0.21, rel=0.05)  # not 8 in 0.05 s
    assert capacity.spread_share is None


@pytest.mark.parametrize(("rounds", "told"), [(9, False), (11, True)])
def test_ten_answers_of_each_caller_make_a_window_tell(rounds: int, told: bool) -> None:
    capacity = virtual.run(caller(each(0.1 / rounds)).capacity(4, 0.1))
    assert (capacity.spread_share is not None) is told


def test_a_capacity_of_nothing_is_an_error_that_says_why() -> None:
    async def answer(number: int, payload: Any) -> Any:
        await asyncio.sleep(0.001)
        raise PeerLost("yaml_client_1", "it died")

    with pytest.raises(RuntimeError, match=r"no call was answered within 0\.025 s: .*PeerLost"):
        virtual.run(caller(answer).capacity(1, 0.01))


def test_a_payload_that_cannot_tell_calls_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="payload_bytes is 7: at least 8 tell the calls apart"):
        caller(echo, payload_bytes=7)
