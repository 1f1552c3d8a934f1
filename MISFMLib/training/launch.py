"""Where a training computes: device, number format and processes, through Lightning Fabric.

Several processes are started either by the one that the user has started, on the devices of one
machine, or all together by torchrun or SLURM (``srun``), on any number of machines.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeAlias

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.utilities.warnings import PossibleUserWarning
from torch.multiprocessing.spawn import ProcessRaisedException

from MISFMLib.configs import TrainingConfig
from MISFMLib.device import resolve_precision, select_device
from MISFMLib.errors import ConfigError, MISFMError
from MISFMLib.events import Event, EventSink, ignore_events
from MISFMLib.training.stop import stop_requests

Training = Callable[..., None]
"""Called with a launched Fabric, the arguments, and an event sink."""

_Queue: TypeAlias = "SimpleQueue[Event | _Failure | None]"
_PRECISIONS = {torch.float32: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}
_PATIENCE = timedelta(hours=12)
"""How long processes wait for the first one, which may have many volumes to prepare."""


class Processes:
    """The processes of a training. One of them leads: it alone plans, writes and reports.

    Used as a context. Without torchrun and SLURM the only process there leads, and starts the
    others once it knows what to compute::

        with Processes.of(config) as processes:
            if processes.leads:
                processes.run(train, make_plan(), events=events)
            else:
                processes.follow(train)
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, devices: int = 1) -> None:
        """Find out which processes there are.

        Args:
            device: Device of a single process; several take the first ones of its kind.
            dtype: Number format of the computation.
            devices: Number of processes to start; 1 where torchrun or SLURM has done that.

        Raises:
            ConfigError: A machine has fewer devices than processes, or `devices` is set although
                torchrun or SLURM has started the processes.
        """
        self._starter = _starter()
        self.count = self._starter.world_size() if self._starter else devices
        self.leads = self._starter is None or self._starter.global_rank() == 0
        self._has_begun = False
        if self._starter and devices > 1:
            raise ConfigError(
                f"{devices} devices were asked for, {self.count} processes were started already.",
                code="devices-twice",
                remedy="Leave out --devices: torchrun or SLURM says how many there are.",
            )
        machines = _machines() if self._starter else 1
        _check_devices(device, self.count // machines)
        is_one_gpu = device.type == "cuda" and self.count == 1
        with _only_warnings():
            self._fabric = Fabric(
                accelerator=device.type,
                devices=[device.index or 0] if is_one_gpu else self.count // machines,
                num_nodes=machines,
                strategy=self._strategy(),
                precision=_PRECISIONS[dtype],
                plugins=self._starter or LightningEnvironment(),
            )

    @classmethod
    def of(cls, config: TrainingConfig) -> Processes:
        """Take device, number format and number of processes from the settings of a training.

        Raises:
            ConfigError: The batch cannot be shared, or there is a contradiction, see above.
            DeviceError: The device is absent, or cannot compute in the number format.
        """
        starter, name = _starter(), config.device
        if starter and name in ("auto", "cuda") and torch.cuda.is_available():
            name = f"cuda:{starter.local_rank()}"
        device = select_device(name)
        processes = cls(device, resolve_precision(config.precision, device), config.devices)
        if config.batch_size % (processes.count * config.accumulate):
            raise ConfigError(
                f"A batch of {config.batch_size} cannot be shared by {processes.count} processes, "
                f"each in {config.accumulate} parts.",
                code="bad-option",
                remedy="Make --batch-size a multiple of processes times parts.",
            )
        return processes

    def __enter__(self) -> Processes:
        """Meet the processes that torchrun or SLURM has started."""
        if self._starter:
            self._fabric.launch()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let the others go where the first has found nothing to compute."""
        if self._starter and self.leads and not self._has_begun:
            with contextlib.suppress(RuntimeError):  # They may be gone already.
                self._fabric.broadcast(None)

    def run(self, training: Training, *arguments: Any, events: EventSink) -> None:
        """Run a training in all processes.

        Args:
            training: With several processes it has to be importable by name.
            arguments: Passed on; with several processes they have to be picklable.
            events: Receives the events of the training, also from other processes.

        Raises:
            MISFMError: What the training raised.
            KeyboardInterrupt: The training was stopped.
        """
        self._has_begun = True
        if self._starter:
            self._fabric.broadcast(arguments)
            training(self._fabric, *arguments, events)
        elif self.count == 1:
            self._fabric.launch(training, *arguments, events)
        else:
            self._spawn(training, arguments, events)

    def follow(self, training: Training) -> None:
        """Take part in what the first process runs, if it comes to that."""
        arguments = self._fabric.broadcast(None)
        if arguments is not None:
            training(self._fabric, *arguments, ignore_events)

    def _strategy(self) -> DDPStrategy | str:
        if self._starter:
            return DDPStrategy(timeout=_PATIENCE)
        return "ddp_spawn" if self.count > 1 else "auto"

    def _spawn(self, training: Training, arguments: Sequence[Any], events: EventSink) -> None:
        # The processes hear Ctrl-C themselves; this one has to outlive their last checkpoint.
        with stop_requests(), _Relay(events) as relay:
            try:
                # Packed, since Lightning looks into arguments and fails on frozen dataclasses.
                self._fabric.launch(partial(_child, training, arguments, relay.queue))
            except ProcessRaisedException:
                relay.raise_failure()
                raise
            relay.raise_failure()


def _check_devices(device: torch.device, wanted: int) -> None:
    if device.type == "cuda" and wanted > torch.cuda.device_count():
        raise ConfigError(
            f"{wanted} devices were asked for, this machine has {torch.cuda.device_count()}.",
            code="too-few-devices",
            remedy="Ask for fewer, or let every process see all devices of its machine.",
        )


@contextlib.contextmanager
def _only_warnings() -> Iterator[None]:
    """Keep Fabric's remarks, in no words of ours, out of what the user reads."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _starter() -> ClusterEnvironment | None:
    """Return what has started this process together with others, if anything has."""
    with warnings.catch_warnings():
        # Lightning asks for srun wherever there is one, for a training of a single process too.
        warnings.simplefilter("ignore", PossibleUserWarning)
        for kind in (TorchElasticEnvironment, SLURMEnvironment):
            if kind.detect() and kind().world_size() > 1:
                return kind()
    return None


def _machines() -> int:
    """Return the number of machines that torchrun, or else SLURM, has started processes on."""
    return int(os.environ.get("GROUP_WORLD_SIZE") or os.environ["SLURM_NNODES"])


# ------------------------------------------------------------------ processes started by this one


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
