"""Where a training computes: device, number format and processes, through Lightning Fabric."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeAlias

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessRaisedException

from MISFMLib.errors import ConfigError, MISFMError
from MISFMLib.events import Event, EventSink
from MISFMLib.training.stop import stop_requests

Training = Callable[..., None]
"""Called with a launched Fabric, the arguments, and an event sink."""

_Queue: TypeAlias = "SimpleQueue[Event | _Failure | None]"
_PRECISIONS = {torch.float32: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}


def launch(
    training: Training,
    *arguments: Any,
    events: EventSink,
    device: torch.device,
    dtype: torch.dtype,
    devices: int = 1,
) -> None:
    """Run a training, in several processes when asked for.

    Args:
        training: With several processes it has to be importable by name.
        arguments: Passed on; with several processes they have to be picklable.
        events: Receives the events of the training, also from other processes.
        device: Device of the only process; several take the first ones of its kind.
        dtype: Number format of the computation.
        devices: Number of processes.

    Raises:
        ConfigError: The machine has fewer devices than asked for.
        MISFMError: What the training raised.
        KeyboardInterrupt: The training was stopped.
    """
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(
            f"{devices} devices were asked for, this machine has {torch.cuda.device_count()}.",
            code="too-few-devices",
            remedy="Lower --devices.",
        )
    is_one_gpu = device.type == "cuda" and devices == 1
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if is_one_gpu else devices,
        strategy="ddp_spawn" if devices > 1 else "auto",
        precision=_PRECISIONS[dtype],
    )
    if devices == 1:
        fabric.launch(training, *arguments, events)
        return
    # The processes hear Ctrl-C themselves; this one has to outlive their last checkpoint.
    with stop_requests(), _Relay(events) as relay:
        try:
            # Packed, since Lightning looks into arguments and fails on frozen dataclasses.
            fabric.launch(partial(_child, training, arguments, relay.queue))
        except ProcessRaisedException:
            relay.raise_failure()
            raise
        relay.raise_failure()


@dataclass(frozen=True)
class _Failure:
    """Why the training in another process ended early."""

    cause: type[BaseException]
    arguments: dict[str, Any]


def _child(training: Training, arguments: Sequence[Any], queue: _Queue, fabric: Fabric) -> None:
    """Run one process of a training; what ends it goes to the parent beside the events."""
    try:
        training(fabric, *arguments, queue.put)
    except MISFMError as error:
        details = {"message": error.message, "code": error.code, "remedy": error.remedy}
        queue.put(_Failure(type(error), details))
        raise
    except KeyboardInterrupt:
        # Not raised again: torch would end the process in silence, and Lightning wait for ever.
        queue.put(_Failure(KeyboardInterrupt, {}))


class _Relay:
    """Passes on the events of other processes from a thread, and keeps the first failure."""

    def __init__(self, events: EventSink) -> None:
        self.queue: _Queue = multiprocessing.get_context("spawn").SimpleQueue()
        self._events = events
        self._failure: _Failure | None = None
        self._thread = threading.Thread(target=self._forward, name="misfm-events", daemon=True)

    def __enter__(self) -> _Relay:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._finish()

    def raise_failure(self) -> None:
        """Raise what ended a process early, if anything did."""
        self._finish()
        if self._failure:
            raise self._failure.cause(**self._failure.arguments)

    def _finish(self) -> None:
        if self._thread.is_alive():
            self.queue.put(None)
            self._thread.join()

    def _forward(self) -> None:
        while (item := self.queue.get()) is not None:
            if not isinstance(item, _Failure):
                self._events(item)
            elif self._failure is None:
                self._failure = item
