"""LearnerDispatcher: runs a learner's methods for whoever calls them, in the loop or in the node's thread."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fedbench.errors import LocalProtocolError
from fedbench.learning.learner import Learner
from fedbench.tensors.model import ModelState
from fedbench.values import TrainResult, result_to_body, round_from_body

Answer = tuple[Any, ModelState | None]

DEFAULT_METHODS = ("train", "evaluate", "get_model", "set_model", "ping")


class LearnerDispatcher:
    """One node's learner, callable by method name with plain data and a model.

    ``async def`` methods run in the caller's task, plain ``def`` methods in the node's one worker thread, one
    at a time in order of call and in a copy of the caller's context. Cancelling a call ends an ``async def``;
    a plain ``def`` that has begun runs to its end, one that still waits for the thread never begins.

    Args:
        learner: The learner.
        node_id: Its node, for messages and the thread's name.
        allowed_methods: What may be called; None for :data:`DEFAULT_METHODS`. Names beyond those are public
            methods of the learner's own.

    Attributes:
        learner: As given.
        current_model: The newest model pushed or set, None before the first.
        at_once: The allowed methods that run nothing of the learner: name to what gives the answer.
        stale: Pushed models that were dropped because they were not newer than the current one.

    Raises:
        ValueError: An allowed method begins with an underscore, or the learner has no such method.
    """

    def __init__(self, learner: Learner, node_id: str, allowed_methods: Iterable[str] | None = None) -> None:
        self.learner = learner
        self.current_model: ModelState | None = None
        self.stale = 0
        self._node_id = node_id
        self._allowed = tuple(DEFAULT_METHODS if allowed_methods is None else allowed_methods)
        self._allowed_set = frozenset(self._allowed)
        self._handlers: dict[str, Callable[[Any, ModelState | None], Awaitable[Answer]]] = {
            "train": self._train,
            "evaluate": self._evaluate,
        }
        own: dict[str, Callable[[Any, ModelState | None], Answer]] = {
            "ping": lambda body, tensors: (body, tensors),
            "get_model": self._get_model,
            "set_model": self._set_model,
        }
        self.at_once = {method: run for method, run in own.items() if method in self._allowed_set}
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False
        self._hears_of_models = type(learner).on_model_update is not Learner.on_model_update
        check_methods(type(learner), self._allowed)

    def call(self, method: str, body: Any, tensors: ModelState | None) -> Awaitable[Answer]:
        """Run a method; await its result as plain data and a model.

        ====================  ==========================  =========  =====================================
        method                body                        tensors    answer
        ====================  ==========================  =========  =====================================
        ``train``             number, total, seed         the model  num_examples and metrics; the update
        ``evaluate``          ignored                     the model  metrics by name
        ``get_model``         ignored                     ignored    the current model
        ``set_model``         ignored                     the model  nothing; whatever the model's version
        ``ping``              anything                    anything   the same; no task, no thread
        one of the learner's  ``args``, ``kwargs``, None  a keyword  what it returned
        ====================  ==========================  =========  =====================================

        A model that comes with a call of the learner's own method is handed to it as keyword ``model``.

        Raises:
            PermissionError: The method is not allowed on this node.
            ValueError: The body or the model that the method needs is missing or malformed.
            TypeError: The learner returned something else than its contract says.
            LookupError: ``get_model`` before there was a model.
            LocalProtocolError: The dispatcher is closed.
            Exception: Whatever the learner raises.
        """
        if method not in self._allowed_set:
            raise PermissionError(
                f"{self._node_id} does not allow {method!r}: its rpc.allowed_methods are "
                f"{', '.join(self._allowed) or 'empty'}"
            )
        handler = self._handlers.get(method)
        if handler is not None:
            return handler(body, tensors)
        at_once = self.at_once.get(method)
        if at_once is not None:
            return _later(at_once, body, tensors)
        return self._call_own(method, body, tensors)

    def model_update(self, model: ModelState) -> Awaitable[None] | None:
        """Take a pushed model; one that is not newer than the current one is counted in ``stale`` only.

        Returns:
            What is to be awaited until the learner's ``on_model_update`` has returned, None if it has none.

        Raises (when awaited):
            Exception: Whatever the learner raises; the current model is then what it was before.
        """
        previous = self.current_model
        if previous is not None and model.version <= previous.version:
            self.stale += 1
            return None
        self.current_model = model
        if not self._hears_of_models:
            return None
        return self._hand_on(model, previous)

    async def _hand_on(self, model: ModelState, previous: ModelState | None) -> None:
        try:
            await self._run(self.learner.on_model_update, model, model.version)
        except BaseException:
            if self.current_model is model:
                self.current_model = previous
            raise

    async def event(self, event_type: str, data: Any) -> None:
        """Hand a notification to the learner's ``on_event``.

        Raises:
            Exception: Whatever the learner raises.
        """
        if type(self.learner).on_event is not Learner.on_event:
            await self._run(self.learner.on_event, event_type, data)

    async def close(self) -> None:
        """Cancel calls that wait for the thread, wait for the one that runs, end the thread; idempotent.

        Cancelling stops the waiting only.
        """
        self._closed = True
        executor, self._executor = self._executor, None
        if executor is None:
            return
        with_a_wait = functools.partial(executor.shutdown, cancel_futures=True)
        closer = ThreadPoolExecutor(1, f"{self._node_id}-close")
        try:
            await asyncio.get_running_loop().run_in_executor(closer, with_a_wait)
        finally:
            closer.shutdown(wait=False)

    # Methods -------------------------------------------------------------------------------------------

    async def _train(self, body: Any, tensors: ModelState | None) -> Answer:
        round_info = round_from_body(body)
        if tensors is None:
            tensors = _needed(tensors, "train")
        result = await self._run(self.learner.train, tensors, round_info)
        if not isinstance(result, TrainResult):
            raise TypeError(f"train returned {_kind(result)}: return a TrainResult")
        metrics = _numbers(result.metrics, "train")
        return result_to_body(int(result.num_examples), metrics), result.model

    async def _evaluate(self, body: Any, tensors: ModelState | None) -> Answer:
        metrics = await self._run(self.learner.evaluate, _needed(tensors, "evaluate"))
        return _numbers(metrics, "evaluate"), None

    def _get_model(self, body: Any, tensors: ModelState | None) -> Answer:
        if self.current_model is None:
            raise LookupError(f"{self._node_id} has no model yet: push or set one first")
        return None, self.current_model

    def _set_model(self, body: Any, tensors: ModelState | None) -> Answer:
        self.current_model = _needed(tensors, "set_model")
        return None, None

    async def _call_own(self, method: str, body: Any, tensors: ModelState | None) -> Answer:
        try:
            args, kwargs = ([], {}) if body is None else (list(body["args"]), dict(body["kwargs"]))
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(
                f"{body!r} does not hold the arguments of {method}: args and kwargs are needed"
            ) from error
        if tensors is not None:
            kwargs["model"] = tensors
        result = await self._run(getattr(self.learner, method), *args, **kwargs)
        return (None, result) if isinstance(result, ModelState) else (result, None)

    # Running -------------------------------------------------------------------------------------------

    def _run(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Begin to run a method of the learner; await the result."""
        if self._closed:
            raise LocalProtocolError(f"{self._node_id} is closed: it runs no methods any more")
        if _is_coroutine_function(getattr(method, "__func__", method)):
            result: Awaitable[Any] = method(*args, **kwargs)
            return result
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, f"{self._node_id}-learner")
        work = functools.partial(contextvars.copy_context().run, method, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._executor, work)


_is_coroutine_function = functools.lru_cache(maxsize=256)(inspect.iscoroutinefunction)
"""Asked for every call, and slow to tell."""


async def _later(
    method: Callable[[Any, ModelState | None], Answer], body: Any, tensors: ModelState | None
) -> Answer:
    return method(body, tensors)


def check_methods(learner: type[Learner], names: Iterable[str]) -> None:
    """Check that a learner's methods may be allowed by name.

    Raises:
        ValueError: One begins with an underscore, or the learner has no such method.
    """
    for name in names:
        if name.startswith("_"):
            raise ValueError(f"method {name!r} cannot be allowed: it is private to the learner")
        if name not in DEFAULT_METHODS and not callable(getattr(learner, name, None)):
            raise ValueError(f"method {name!r} cannot be allowed: {learner.__name__} has no such method")


def _needed(tensors: ModelState | None, method: str) -> ModelState:
    if tensors is None:
        raise ValueError(f"{method} needs a model and got none")
    return tensors


def _numbers(metrics: Any, method: str) -> dict[str, float]:
    """Return metrics as plain data: numpy's scalars do not travel."""
    if type(metrics) is not dict and not isinstance(metrics, Mapping):
        raise TypeError(f"{method} returned {_kind(metrics)} as metrics: return a dict of names and numbers")
    numbers = {}
    for name, value in metrics.items():
        numbers[str(name)] = float(value)
    return numbers


def _kind(value: Any) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}"
