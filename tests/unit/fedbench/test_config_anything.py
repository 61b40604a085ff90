"""Whatever a configuration holds, it is read or refused as one."""

from hypothesis import given
from hypothesis import strategies as st

from fedbench.config import from_mapping
from fedbench.errors import ConfigError
from fedbench.ids import MODES

# Anything --------------------------------------------------------------------------------------------------

KEYS_OF = """
    seed mode architecture loop server clients polling server_id transport trainer type args rounds fraction
    quorum deadline_s client_id learner rpc allowed_methods count server_ids poll_interval_s receive_timeout_s
    warn_on_timeout copy host port tls cert token_file insecure heartbeat_s resume_window_s
"""
VALUES = "memory process network push auto FedAvgTrainer SimpleLearner yaml_client_1"
WORDS = st.sampled_from(f"{KEYS_OF} {VALUES}".split())
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | WORDS
    | st.just(10**400)
    | st.dates()
)
KEYS = WORDS | st.integers() | st.none() | st.text(max_size=3)
ANYTHING = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "seed": ANYTHING,
        "mode": ANYTHING,
        "server": st.fixed_dictionaries(
            {},
            optional={"server_id": ATOMS, "transport": ANYTHING, "trainer": st.dictionaries(KEYS, ANYTHING)},
        ),
        "clients": st.lists(st.dictionaries(KEYS, ANYTHING, max_size=3), max_size=3)
        | st.fixed_dictionaries({"count": st.integers() | ATOMS}, optional={"learner": ANYTHING}),
        "polling": st.dictionaries(KEYS, ANYTHING, max_size=4),
    },
)


@given(ANYTHING | SHAPED)
def test_anything_is_a_configuration_or_a_config_error(data):
    try:
        config = from_mapping(data)
    except ConfigError as error:
        assert all(problem.message for problem in error.problems)  # noqa: PT017  # the data decides if it raises
        return
    assert config.mode in MODES
    assert config.clients
    assert len({client.client_id for client in config.clients}) == len(config.clients)
    assert config.server.server_id in config.polling.server_ids
