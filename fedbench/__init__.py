"""fedbench: federated learning by push over long-lived connections.

::

    from fedbench import Federation, Learner, ModelState, TrainResult

    federation = Federation.from_yaml("federation.yaml")
    history = await federation.run()

Importing it sets BLAS to one thread, whatever the environment says. That takes effect only where numpy has
not been imported before: import fedbench first.
"""

import os as _os

# One BLAS thread in every process, set before numpy loads: results must not depend on a machine's core count.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    _os.environ[_name] = "1"

from fedbench.config import FederationConfig  # noqa: E402  # numpy must load after the pins above
from fedbench.connection.communication import CommunicationManager  # noqa: E402
from fedbench.errors import (  # noqa: E402
    ConfigError,
    ConnectionBroken,
    ConnectionClosed,
    DeadlineExceeded,
    FedbenchError,
    LocalProtocolError,
    Overloaded,
    PeerLost,
    Problem,
    ProtocolError,
    QuorumNotReached,
    RegistrationError,
    RemoteError,
    RemoteProtocolError,
    RoutingError,
    RpcError,
    TensorStoreFull,
    TrainingError,
    TransportError,
    UnfitModel,
)
from fedbench.factories import (  # noqa: E402
    create_communication_manager,
    create_learner_proxy,
    create_transport,
    create_transport_with_ids,
)
from fedbench.federation import Federation  # noqa: E402
from fedbench.ids import IDMapper, generate_client_id, get_local_ip, parse  # noqa: E402
from fedbench.learning.learner import Learner  # noqa: E402
from fedbench.learning.simple import SimpleLearner  # noqa: E402
from fedbench.learning.trainer import FedAvgTrainer  # noqa: E402
from fedbench.loop import run  # noqa: E402
from fedbench.messages import Kind, Message  # noqa: E402
from fedbench.rpc.proxy import LearnerProxy  # noqa: E402
from fedbench.rpc.stub import LearnerStub  # noqa: E402
from fedbench.tensors.model import ModelDraft, ModelState  # noqa: E402
from fedbench.transport.base import TransportBase  # noqa: E402
from fedbench.transport.memory import Hub, MemoryTransport  # noqa: E402
from fedbench.values import ClientInfo, History, RoundInfo, RoundPhases, RoundRecord, TrainResult  # noqa: E402

__all__ = [
    # federations
    "Federation",
    "FederationConfig",
    "History",
    "RoundPhases",
    "RoundRecord",
    "run",
    # learning
    "ClientInfo",
    "FedAvgTrainer",
    "Learner",
    "ModelDraft",
    "ModelState",
    "RoundInfo",
    "SimpleLearner",
    "TrainResult",
    # nodes by hand
    "CommunicationManager",
    "Hub",
    "IDMapper",
    "Kind",
    "LearnerProxy",
    "LearnerStub",
    "MemoryTransport",
    "Message",
    "TransportBase",
    "create_communication_manager",
    "create_learner_proxy",
    "create_transport",
    "create_transport_with_ids",
    "generate_client_id",
    "get_local_ip",
    "parse",
    # errors
    "ConfigError",
    "ConnectionBroken",
    "ConnectionClosed",
    "DeadlineExceeded",
    "FedbenchError",
    "LocalProtocolError",
    "Overloaded",
    "PeerLost",
    "Problem",
    "ProtocolError",
    "QuorumNotReached",
    "RegistrationError",
    "RemoteError",
    "RemoteProtocolError",
    "RoutingError",
    "RpcError",
    "TensorStoreFull",
    "TrainingError",
    "UnfitModel",
    "TransportError",
]
