import msgspec
import pytest

from harness.records.derive import Outcome
from harness.run.protocol import (
    GO,
    Begin,
    Cell,
    CellJob,
    End,
    Event,
    Finished,
    Hold,
    Job,
    Sample,
    encode,
    event_decoder,
    job_decoder,
)
from harness.stats.histogram import Histogram


def outcome() -> Outcome:
    histogram = Histogram()
    histogram.record(1234)
    return Outcome(
        operations=3,
        clients=2,
        histograms={"latency": histogram.to_dict()},
        values={"accuracy": 0.9},
        texts={"model_digest": "ab"},
        wrong=["two\nlines"],
        logged=4,
    )


@pytest.mark.parametrize(
    "event",
    [
        Cell("rpc_ping"),
        Begin(),
        Begin(memory=True),
        Hold(0.25),
        Sample(),
        End(),
        Finished("rpc_ping", "failed", ["it broke\nbadly"], outcome()),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_is_one_line_and_comes_back(event: Event) -> None:
    line = encode(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert event_decoder.decode(line) == event


def test_a_job_is_one_line_and_comes_back() -> None:
    params = {"clients": 3, "idle_s": 0.5, "operation": "a\nb"}
    job = Job(
        "polling@1", "polling", "memory", "uvloop", {"poll_interval_s": 1.0}, [CellJob("i", "idle", params)]
    )
    line = encode(job)
    assert line.count(b"\n") == 1
    assert job_decoder.decode(line) == job


def test_the_answer_is_one_line_that_is_no_event() -> None:
    assert GO.endswith(b"\n")
    with pytest.raises(msgspec.DecodeError):
        event_decoder.decode(GO)


@pytest.mark.parametrize("line", [b'{"type":"jump"}', b'{"type":"hold"}', b'{"type":"hold","seconds":"x"}'])
def test_a_message_of_another_kind_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        event_decoder.decode(line)
