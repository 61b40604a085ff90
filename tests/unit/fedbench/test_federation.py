import asyncio
import logging

import numpy as np
import pytest

from fedbench.config import ClientConfig, FederationConfig, PollingConfig, ServerConfig
from fedbench.errors import (
    ConfigError,
    FedbenchError,
    LocalProtocolError,
    QuorumNotReached,
    TensorStoreFull,
    TrainingError,
)
from fedbench.federation import Federation
from fedbench.ids import current_node
from fedbench.learning.learner import Learner
from fedbench.rpc.proxy import LearnerProxy
from fedbench.tensors.model import ModelState
from fedbench.values import TrainResult

WARNING = logging.WARNING


class Adder(Learner):
    """Adds the client's number to the model; ``faulty`` clients raise, ``refuses`` ones take no model."""

    def __init__(self, client, *, faulty=(), refuses=(), start=0.0):
        super().__init__(client)
        self.faulty, self.refuses, self.start = faulty, refuses, start
        self.versions = []
        self.nodes = []

    def initial_model(self):
        return ModelState.from_arrays({"w": np.full(2, self.start)})

    def train(self, model, round_info):
        self.nodes.append(current_node.get())
        if self.client.index in self.faulty:
            raise ZeroDivisionError("no data today")
        draft = model.draft()
        draft["w"] = model["w"] + self.client.index
        return TrainResult(draft.freeze(), 1, {"index": self.client.index})

    def evaluate(self, model):
        self.nodes.append(current_node.get())
        return {"sum": float(model["w"].sum())}

    async def on_model_update(self, model, version):
        if self.client.index in self.refuses:
            raise OSError("disk full")
        self.versions.append(version)


@pytest.fixture(params=["push", "polling"])
def make(request):
    def build(clients=3, rounds=2, quorum=1.0, deadline_s=5.0, **args):
        return Federation.from_mapping(
            {
                "architecture": request.param,
                "server": {
                    "trainer": {"args": {"rounds": rounds, "quorum": quorum, "deadline_s": deadline_s}}
                },
                "polling": {"warn_on_timeout": False},
                "clients": {"count": clients, "learner": {"type": f"{__name__}:Adder", "args": args}},
            }
        )

    return build


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= WARNING]


async def test_a_run_trains_every_round_and_hands_the_model_to_every_client(make, caplog):
    federation = make()
    told = []
    history = await federation.run(on_round=told.append)
    assert [record.number for record in history.rounds] == [1, 2]
    assert tuple(told) == history.rounds
    assert history.model == ModelState.from_arrays({"w": np.full(2, 2.0)})
    assert history.metrics == {"index": 1.0, "sum": 4.0}
    assert federation.global_model is history.model
    assert [learner.versions for learner in federation.learner_instances] == [[1, 2]] * 3
    assert warnings_of(caplog) == []


async def test_a_second_run_goes_on_with_newer_versions(make):
    async with make(rounds=1) as federation:
        first = await federation.run()
        second = await federation.run()
        assert (first.model.version, second.model.version) == (1, 2)
        assert [learner.versions for learner in federation.learner_instances] == [[1, 2]] * 3


async def test_a_model_that_is_not_newer_is_not_broadcast(make):
    async with make() as federation:
        model = ModelState.from_arrays({"w": np.zeros(2)}, 5)
        assert set((await federation.broadcast(model)).values()) == {None}
        for version in (5, 3):
            with pytest.raises(LocalProtocolError, match=f"version {version} is not newer .*, 5"):
                await federation.broadcast(model.with_version(version))
        assert federation.global_model is model


async def test_the_initial_model_is_the_global_one_in_round_one():
    federation = Federation.from_mapping({"clients": {"count": 1, "learner": {"type": f"{__name__}:Adder"}}})
    async with federation:
        remote, server = (
            federation.learners()[0],
            LearnerProxy(federation.nodes.clients["yaml_client_1"].comm, "yaml_fed_server"),
        )
        train, seen = remote.begin_train, []

        async def ask_first(model, round_info, **options):
            seen.append((await server.get_model()).version)
            return await train(model, round_info, **options)

        remote.begin_train = ask_first
        await federation.run()
    assert seen == list(range(20))


def test_a_configuration_made_by_hand_needs_no_trainer_arguments():
    config = FederationConfig(
        7, "memory", "push", "auto", ServerConfig(), (ClientConfig("c"),), PollingConfig(("yaml_fed_server",))
    )
    assert len(Federation(config).learner_instances) == 1


@pytest.mark.parametrize(
    ("learner", "path", "message"),
    [
        ({"args": {"alpha": -1}}, "learner.args", "ValueError: alpha is -1"),
        ({"args": {"epochs": "3"}}, "learner.args", "TypeError"),
        ({"type": "fedbench:Learner"}, "learner.type", "is abstract: write its methods evaluate"),
    ],
)
def test_a_learner_that_cannot_be_made_is_a_problem_of_the_configuration(learner, path, message):
    for clients, prefix in (
        ([{"learner": learner}], "clients[0]."),
        ({"count": 3, "learner": learner}, "clients."),
    ):
        with pytest.raises(ConfigError, match=message) as wrong:
            Federation.from_mapping({"clients": clients})
        assert [problem.path for problem in wrong.value.problems] == [prefix + path]


async def test_training_goes_on_from_a_given_model(make):
    given = ModelState.from_arrays({"w": np.array([10.0, 20.0])}, version=5)
    history = await make(rounds=1).run(initial_model=given)
    assert history.model["w"].tolist() == [11.0, 21.0]
    assert history.model.version == 6


async def test_a_model_that_does_not_fit_is_refused_by_name(make):
    wrong = ModelState.from_arrays({"v": np.zeros(3, np.float32)})
    with pytest.raises(TrainingError, match=r"holds v \(3,\) <f4, the learner needs w \(2,\) <f8"):
        await make().run(initial_model=wrong)


async def test_a_raising_client_leaves_one_warning_a_round_and_the_rest_goes_on(make, caplog):
    history = await make(quorum=0.5, faulty=[1]).run()
    assert [record.arrived for record in history.rounds] == [("yaml_client_1", "yaml_client_3")] * 2
    assert [list(record.failures) for record in history.rounds] == [["yaml_client_2"]] * 2
    server = [text for text in warnings_of(caplog) if "gave no update" in text]
    assert len(server) == 2
    for text in server:
        assert "yaml_client_2" in text
        assert "ZeroDivisionError: no data today" in text


async def test_a_missed_quorum_names_who_failed_and_why(make):
    with pytest.raises(QuorumNotReached, match="2 of the required 3 updates") as missed:
        await make(faulty=[0]).run()
    assert list(missed.value.failures) == ["yaml_client_1"]


async def test_a_client_that_is_lost_is_missed_and_the_rest_goes_on(make, caplog):
    federation = make(rounds=2, quorum=0.6, deadline_s=0.3)

    def lose(record):
        if record.number == 1:
            federation.nodes.lose("yaml_client_3")

    history = await federation.run(on_round=lose)
    assert [len(record.arrived) for record in history.rounds] == [3, 2]
    assert list(history.rounds[1].failures) == ["yaml_client_3"]
    assert any("yaml_client_3" in text for text in warnings_of(caplog))


async def test_a_client_that_does_not_take_the_model_is_named_and_the_others_take_it(make, caplog):
    federation = make(rounds=1, refuses=[1])
    await federation.run()
    assert [learner.versions for learner in federation.learner_instances] == [[1], [], [1]]
    (text,) = [text for text in warnings_of(caplog) if "did not apply model version 1" in text]
    assert "yaml_client_2" in text
    assert "disk full" in text


async def test_code_runs_as_its_node(make):
    federation = make(clients=2, rounds=1)
    await federation.run()
    assert [learner.nodes for learner in federation.learner_instances] == [
        ["yaml_client_1"],
        ["yaml_client_2"],
    ]
    assert federation._server_learner.learner.nodes == ["yaml_fed_server"]
    assert current_node.get() == ""


async def test_a_federation_starts_once(make):
    federation = make()
    async with federation:
        assert [proxy.client_id for proxy in federation.learners()] == [f"yaml_client_{n}" for n in (1, 2, 3)]
        with pytest.raises(FedbenchError, match="is running: make a new one"):
            await federation.start()
    await federation.stop()
    with pytest.raises(FedbenchError, match="is stopped: make a new one"):
        await federation.start()
    with pytest.raises(FedbenchError, match="is stopped: make a new one"):
        await federation.run()


async def test_a_start_that_fails_leaves_nothing_behind(make, monkeypatch):
    federation = make()

    async def fail():
        raise OSError("no room")

    monkeypatch.setattr(federation.nodes, "start", fail)
    with pytest.raises(OSError, match="no room"):
        await federation.run()
    with pytest.raises(FedbenchError, match="is stopped"):
        await federation.start()


async def test_cancelling_a_run_leaves_nothing_behind(make):
    federation = make(rounds=100_000)
    first = asyncio.Event()
    task = asyncio.create_task(federation.run(on_round=lambda record: first.set()))
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert federation.global_model is not None


async def test_a_learner_that_returns_no_model_is_named(make):
    federation = make()
    federation._server_learner.learner.initial_model = lambda: "nothing"
    with pytest.raises(TrainingError, match=r"^Adder\.initial_model returned no ModelState$"):
        await federation.run()


@pytest.mark.parametrize("method", ["initial_model", "evaluate"])
async def test_a_learner_that_raises_at_the_server_is_named(make, method):
    federation = make()

    def fail(*_):
        raise ZeroDivisionError("no data today")

    setattr(federation._server_learner.learner, method, fail)
    with pytest.raises(TrainingError, match=rf"^Adder\.{method} raised ZeroDivisionError: no data") as raised:
        await federation.run()
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


async def test_an_error_of_the_runtime_in_the_learner_of_the_server_stays_what_it_is(make):
    federation = make()

    def fail(*_):
        raise TensorStoreFull("no room")

    federation._server_learner.learner.evaluate = fail
    with pytest.raises(TensorStoreFull, match=r"^no room$"):
        await federation.run()


def test_a_wrong_learner_is_reported_with_its_path_before_anything_is_made():
    with pytest.raises(ConfigError) as wrong:
        Federation.from_mapping(
            {
                "clients": [
                    {"learner": {"type": "nowhere:Nothing"}},
                    {"learner": {"args": {"alpah": 1}}, "rpc": {"allowed_methods": ["_secret"]}},
                ]
            },
            source="mine",
        )
    assert wrong.value.source == "mine"
    assert [problem.path for problem in wrong.value.problems] == [
        "clients[0].learner.type",
        "clients[1].learner.args",
        "clients[1].rpc.allowed_methods",
    ]


def test_a_file_is_read_by_path(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("clients: {count: 2}\n")
    assert len(Federation.from_yaml(path).learner_instances) == 2


@pytest.mark.parametrize("architecture", ["push", "polling"])
async def test_both_architectures_send_a_model_once_a_round(architecture, caplog):
    """Counted: clients x rounds calls with the model, and pushes of the last model, which no call follows."""
    clients, rounds = 3, 4
    federation = Federation.from_mapping(
        {
            "architecture": architecture,
            "server": {"trainer": {"args": {"rounds": rounds}}},
            "polling": {"warn_on_timeout": False},
            "clients": {"count": clients, "learner": {"type": "harness.workloads.learners:EchoLearner"}},
        }
    )
    caplog.set_level(logging.DEBUG, "fedbench")
    async with federation:
        await federation.run()
    sent = [r.getMessage() for r in caplog.records if " -> " in r.getMessage()]
    from_server = [text for text in sent if "yaml_fed_server -> " in text]
    assert sum("rpc_request" in text for text in from_server) == clients * rounds
    assert sum("model_push" in text for text in from_server) == clients


async def test_a_learner_notifies_its_server(make):
    heard = []
    federation = make(clients=2)
    with pytest.raises(LocalProtocolError, match="yaml_client_1 has not joined its server yet"):
        federation.learner_instances[0].notify_server("early")
    async with federation:
        federation.on_notify(lambda event, data: heard.append((event, data)))
        for number in range(2):
            federation.learner_instances[1].notify_server("phase", {"n": number})
        async with asyncio.timeout(20):
            while len(heard) < 2:
                await asyncio.sleep(0.001)
    assert heard == [("phase", {"n": 0}), ("phase", {"n": 1})]
