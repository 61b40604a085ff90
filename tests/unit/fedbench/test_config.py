import copy

import pytest

from fedbench.config import (
    MAX_CLIENTS,
    ClientConfig,
    ComponentConfig,
    FederationConfig,
    PollingConfig,
    ServerConfig,
    from_mapping,
    load,
)
from fedbench.errors import ConfigError
from fedbench.fleet.settings import FleetSettings

ARGS = {"rounds": 3, "fraction": 0.5, "quorum": 0.25, "deadline_s": 2.0}
FULL = {
    "seed": 7,
    "mode": "memory",
    "architecture": "polling",
    "loop": "asyncio",
    "server": {
        "server_id": "hub",
        "transport": {"type": "memory"},
        "trainer": {"type": "FedAvgTrainer", "args": {**ARGS, "deadline_s": 2}},
    },
    "clients": [
        {
            "client_id": "alice",
            "transport": {"type": "memory"},
            "learner": {"type": "SimpleLearner", "args": {"epochs": 2}},
            "rpc": {"allowed_methods": ["train", "own"]},
        },
        {"client_id": "bob"},
    ],
    "polling": {
        "server_ids": ["a", "b", "hub"],
        "poll_interval_s": 0.5,
        "receive_timeout_s": 1,
        "warn_on_timeout": False,
    },
}
TRAINER = {"rounds": 20, "fraction": 1.0, "quorum": 1.0, "deadline_s": 30.0}


def changed(path, value):
    """Return FULL with one value changed, at a dotted path whose numbers are indices."""
    data = copy.deepcopy(FULL)
    part, *rest = (int(key) if key.isdigit() else key for key in path.split("."))
    inner = data
    for key in rest:
        inner = inner[part] if isinstance(part, int) else inner.setdefault(part, {})
        part = key
    inner[part] = value
    return data


def problems_of(data, **options):
    with pytest.raises(ConfigError) as raised:
        from_mapping(data, **options)
    return [str(problem) for problem in raised.value.problems]


def test_every_value_is_read():
    assert from_mapping(FULL) == FederationConfig(
        seed=7,
        mode="memory",
        architecture="polling",
        loop="asyncio",
        server=ServerConfig("hub", ComponentConfig("FedAvgTrainer", ARGS)),
        clients=(
            ClientConfig("alice", ComponentConfig("SimpleLearner", {"epochs": 2}), ("train", "own")),
            ClientConfig("bob", ComponentConfig("SimpleLearner", {}), None),
        ),
        polling=PollingConfig(("a", "b", "hub"), 0.5, 1.0, False),
    )


def test_everything_but_the_clients_has_a_default():
    assert from_mapping({"clients": [{}]}) == FederationConfig(
        seed=0,
        mode="memory",
        architecture="push",
        loop="auto",
        server=ServerConfig("yaml_fed_server", ComponentConfig("FedAvgTrainer", TRAINER)),
        clients=(ClientConfig("yaml_client_1"),),
        polling=PollingConfig(("yaml_fed_server", "memory_server", "server"), 0.001, 0.010, True, True),
    )


def test_empty_values_are_defaults_too():
    empty = dict.fromkeys(FULL) | {"clients": [None]}
    assert from_mapping(empty) == from_mapping({"clients": [{}]})


def test_reading_changes_nothing():
    data = copy.deepcopy(FULL)
    from_mapping(data)
    assert data == FULL


def test_a_configuration_cannot_be_changed():
    config = from_mapping(FULL)
    with pytest.raises(AttributeError):
        config.seed = 8


def test_load_reads_a_file(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("clients: {count: 2, learner: {type: 'mine:Own'}}\n")
    seen = []
    config = load(path, check_learner=lambda client: seen.append(client) or ())
    assert [client.client_id for client in config.clients] == ["yaml_client_1", "yaml_client_2"]
    assert [client.learner.type for client in seen] == ["mine:Own"]


def test_load_names_the_file(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("clients: []\n")
    with pytest.raises(ConfigError, match=r"f\.yaml: clients: at least one client is needed"):
        load(path)


@pytest.mark.parametrize("text", ["- a list\n", "text\n", "", "5\n"])
def test_a_file_that_holds_no_mapping_has_one_problem(tmp_path, text):
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(path)
    (problem,) = raised.value.problems
    assert problem.path == ""
    assert problem.message.startswith("expected a mapping, found ")


DIFFERS = "differs from the federation's mode 'memory': all nodes must share one"
MISTAKES = [
    ("seed", -1, "-1 is below 0"),
    ("seed", "x", "expected a whole number, found text ('x')"),
    ("mode", "memry", "unknown value 'memry'; did you mean 'memory'?"),
    ("architecture", "pull", "unknown value 'pull'; known: polling, push"),
    ("loop", "trio", "unknown value 'trio'; known: asyncio, auto, uvloop"),
    ("sede", 7, "unknown key; did you mean 'seed'?"),
    ("server.sever_id", "x", "unknown key; did you mean 'server_id'?"),
    ("server.transport.port", 1, "unknown key; known: type"),
    ("server.transport.type", "tcp", "unknown value 'tcp'; known: memory, network, process"),
    ("server.transport.type", "process", f"'process' {DIFFERS}"),
    ("server.trainer.type", "FedAvg", "unknown value 'FedAvg'; did you mean 'FedAvgTrainer'?"),
    ("server.trainer.arg", {}, "unknown key; did you mean 'args'?"),
    ("server.trainer.args.rounds", 0, "0 is below 1"),
    ("server.trainer.args.rounds", 1.5, "expected a whole number, found a number (1.5)"),
    ("server.trainer.args.fraction", 0, "0 is out of range: more than 0 and at most 1 is needed"),
    ("server.trainer.args.fraction", 1.01, "1.01 is out of range: more than 0 and at most 1 is needed"),
    ("server.trainer.args.quorum", -1, "-1 is out of range: more than 0 and at most 1 is needed"),
    ("server.trainer.args.deadline_s", 0, "0 is out of range: more than 0 and at most 1e+09 is needed"),
    ("server.trainer.args.deadline", 1, "unknown key; did you mean 'deadline_s'?"),
    ("clients.1", "bob", "expected a mapping, found text ('bob')"),
    ("clients.1.client", "x", "unknown key; did you mean 'client_id'?"),
    ("clients.1.client_id", 5, "expected a text, found a number (5)"),
    ("clients.1.client_id", "alice", "'alice' is taken by clients[0] already: ids must differ"),
    ("clients.1.count", 2, "unknown key; known: client_id, learner, rpc, transport"),
    ("clients.1.transport.type", "network", f"'network' {DIFFERS}"),
    ("clients.1.transport.type", "pigeon", "unknown value 'pigeon'; known: memory, network, process"),
    ("clients.1.transport.hots", 1, "unknown key; known: type"),
    ("clients.1.learner.type", 5, "expected a text, found a number (5)"),
    ("clients.1.learner.args", [1], "expected a mapping, found a list"),
    ("clients.1.learner.name", 1, "unknown key; known: args, type"),
    ("clients.1.rpc", [1], "expected a mapping, found a list"),
    ("clients.1.rpc.allowed", [], "unknown key; did you mean 'allowed_methods'?"),
    ("clients.1.rpc.allowed_methods", "train", "expected a list of texts, found text ('train')"),
    ("polling.server_ids", ["a"], "the server's own id 'hub' is missing: no client would find it"),
    ("polling.poll_interval_s", 0, "0 is out of range: more than 0 is needed"),
    ("polling.receive_timeout_s", "1 s", "expected a number, found text ('1 s')"),
    ("polling.warn_on_timeout", 1, "expected true or false, found a number (1)"),
    ("polling.interval", 1, "unknown key; did you mean 'poll_interval_s'?"),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES)
def test_each_mistake_is_reported_where_it_is(path, value, message):
    assert problems_of(changed(path, value)) == [f"{path.replace('.1', '[1]')}: {message}"]


def test_the_server_is_told_that_a_client_has_its_id():
    data = changed("clients.1.client_id", "hub")
    assert problems_of(data) == ["server.server_id: 'hub' is also the id of a client"]


def test_a_section_that_is_no_mapping():
    data = {"server": [], "clients": [{}], "polling": 5}
    assert problems_of(data) == [
        "server: expected a mapping, found a list",
        "polling: expected a mapping, found a number (5)",
    ]


@pytest.mark.parametrize("value", [None, [], {}, "all", 3])
def test_clients_are_needed(value):
    (problem,) = problems_of(FULL | {"clients": value})
    assert problem.startswith("clients")
    assert "needed" in problem or "is missing" in problem


def test_an_id_that_names_no_node():
    (problem,) = problems_of(changed("server.server_id", "a hub") | {"polling": None})
    assert problem.startswith("server.server_id: 'a hub' cannot name a node")


def test_all_problems_are_reported_in_document_order():
    data = {
        "polling": {"poll_interval_s": -1},
        "clients": [
            {"learner": {"args": 5}, "client_id": "same"},
            {"client_id": "same", "what": 1, "transport": {"type": "process"}},
        ],
        "nonsense": 1,
        "server": {"trainer": {"args": {"quorum": 2, "rounds": "many", "extra": 1}}, "server_id": ""},
        "mode": "telepathy",
        "seed": 0.5,
    }
    assert " ".join(problem.partition(": ")[0] for problem in problems_of(data)) == (
        "polling.poll_interval_s clients[0].learner.args clients[1].client_id clients[1].what "
        "clients[1].transport.type nonsense server.trainer.args.quorum server.trainer.args.rounds "
        "server.trainer.args.extra server.server_id mode seed"
    )


# Modes -----------------------------------------------------------------------------------------------------


def test_the_servers_transport_decides_the_mode_where_nothing_else_does():
    data = {"server": {"transport": {"type": "memory"}}, "clients": [{}]}
    assert from_mapping(data).mode == "memory"
    data = {"mode": None, "server": {"transport": {"type": "process"}}, "clients": [{}]}
    assert from_mapping(data).mode == "process"
    data = {"server": {"transport": {"type": "network", "port": 5}}, "clients": [{}]}
    assert from_mapping(data).server.network.port == 5


def test_a_client_is_measured_by_the_mode():
    data = {"mode": "network", "clients": [{"transport": {"type": "network"}}]}
    assert from_mapping(data).mode == "network"
    data["clients"].append({"transport": {"type": "memory"}})
    assert problems_of(data)[0] == (
        "clients[1].transport.type: 'memory' differs from the federation's mode 'network': "
        "all nodes must share one"
    )


def test_process_mode_needs_shared_memory_and_polls_less_often():
    config = from_mapping({"mode": "process", "clients": [{}]})
    assert (config.store, config.fleet) == ("shared", FleetSettings("forkserver", "never", 3))
    assert config.polling.poll_interval_s == 0.010
    assert from_mapping({"store": "shared", "clients": [{}]}).store == "shared"
    assert problems_of({"mode": "process", "store": "heap", "clients": [{}]}) == [
        "store: clients of other processes cannot read the heap: use 'shared'"
    ]


def test_how_processes_are_started_is_read_and_only_where_there_are_any():
    fleet = {"start_method": "spawn", "restart": "on_failure", "max_restarts": 0}
    config = from_mapping({"mode": "process", "fleet": fleet, "clients": [{}]})
    assert config.fleet == FleetSettings("spawn", "on_failure", 0)
    assert problems_of({"fleet": fleet, "clients": [{}]}) == [
        "fleet: there are no processes to start in memory mode: remove it"
    ]
    wrong = {
        "mode": "process",
        "fleet": {"start_method": "fork", "max_restarts": -1, "x": 1},
        "clients": [{}],
    }
    assert [problem.split(":")[0] for problem in problems_of(wrong)] == [
        "fleet.start_method",
        "fleet.max_restarts",
        "fleet.x",
    ]


# Clients ---------------------------------------------------------------------------------------------------


def test_a_count_makes_clients_alike():
    data = {
        "clients": {
            "count": 3,
            "learner": {"type": "mine:Own", "args": {"a": 1}},
            "rpc": {"allowed_methods": []},
            "transport": {"type": "memory"},
        }
    }
    assert from_mapping(data).clients == tuple(
        ClientConfig(f"yaml_client_{n}", ComponentConfig("mine:Own", {"a": 1}), ()) for n in (1, 2, 3)
    )


@pytest.mark.parametrize(
    ("clients", "expected"),
    [
        ({"count": 0}, "clients.count: 0 is below 1"),
        ({"count": "3"}, "clients.count: expected a whole number, found text ('3')"),
        ({"count": 10**15}, f"clients.count: {10**15} is above {MAX_CLIENTS}"),
        ({"learner": {}}, "clients.count: is missing: give a whole number of at least 1"),
        (
            {"count": 2, "client_id": "x"},
            "clients.client_id: unknown key; known: count, learner, rpc, transport",
        ),
        (
            {"count": 2, "learner": {"args": 1}},
            "clients.learner.args: expected a mapping, found a number (1)",
        ),
    ],
)
def test_mistakes_in_a_count(clients, expected):
    assert problems_of({"clients": clients}) == [expected]


def test_a_counted_client_may_not_have_the_servers_id():
    data = {"server": {"server_id": "yaml_client_2"}, "clients": {"count": 2}}
    assert problems_of(data) == ["server.server_id: 'yaml_client_2' is also the id of a client"]


def test_every_duplicate_id_is_reported():
    data = {"clients": [{"client_id": "a"}, {"client_id": "b"}, {"client_id": "a"}, {"client_id": "a"}]}
    assert problems_of(data) == [
        f"clients[{n}].client_id: 'a' is taken by clients[0] already: ids must differ" for n in (2, 3)
    ]


def test_an_id_given_by_default_can_be_a_duplicate_too():
    assert problems_of({"clients": [{"client_id": "yaml_client_2"}, {}]}) == [
        "clients[1].client_id: 'yaml_client_2' is taken by clients[0] already: ids must differ"
    ]


def test_learners_are_checked_by_whoever_knows_them():
    def check(client):
        if client.learner.type != "SimpleLearner":
            yield "learner.type", "no such learner"
        if client.learner.args:
            yield "learner.args", "not these"
        if client.allowed_methods:
            yield "rpc.allowed_methods", "nor those"

    assert from_mapping({"clients": [{}]}, check_learner=check).clients[0].client_id == "yaml_client_1"
    data = {
        "clients": [{}, {"learner": {"type": "m:C", "args": {"x": 1}}, "rpc": {"allowed_methods": ["m"]}}]
    }
    assert problems_of(data, check_learner=check) == [
        "clients[1].learner.type: no such learner",
        "clients[1].learner.args: not these",
        "clients[1].rpc.allowed_methods: nor those",
    ]
    assert problems_of({"clients": {"count": 3, "learner": {"type": "m:C"}}}, check_learner=check) == [
        "clients.learner.type: no such learner"
    ]


# Polling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server_id", "expected"),
    [
        ("yaml_fed_server", ("yaml_fed_server", "memory_server", "server")),
        ("memory_server", ("memory_server", "yaml_fed_server", "server")),
        ("server", ("server", "yaml_fed_server", "memory_server")),
        ("mine", ("mine", "memory_server", "server")),
    ],
)
def test_by_default_three_ids_are_polled_and_the_real_one_first(server_id, expected):
    config = from_mapping({"server": {"server_id": server_id}, "clients": [{}]})
    assert config.polling.server_ids == expected
