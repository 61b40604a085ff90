"""LearnerProxy: the other end of a connection, as an object with methods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fedbench.connection.communication import CommunicationManager
from fedbench.errors import DeadlineExceeded
from fedbench.learning.dispatch import decode_train_result, encode_round
from fedbench.messages import Kind, Message
from fedbench.rpc.endpoint import RpcEndpoint
from fedbench.tensors.model import ModelState
from fedbench.values import RoundInfo, TrainResult

PushHandler = Callable[[str, ModelState], Awaitable[None] | None]
