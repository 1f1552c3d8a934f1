"""The ways to compute a network: PyTorch, the reference on every device, or OpenVINO on x86 CPUs.

On an NVIDIA GPU PyTorch records the kernels of a window as a CUDA graph as soon as that pays; where
the recording fails or is not accurate enough, they are launched one by one.

Unless a user chooses, OpenVINO computes on the CPU once a model was converted for it, and the
conversion is made as soon as it pays: when the windows that this process has computed with the
model, those of the volume at hand included, hold 8 million voxels. Until then, and wherever
OpenVINO is missing, fails or is not accurate enough, it is PyTorch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from MISFMLib.configs import WORTH_CONVERTING, EngineName, Precision, SegmentPrecision
from MISFMLib.device import inference_precisions
from MISFMLib.errors import DeviceError
from MISFMLib.inference import openvino_network
from MISFMLib.inference.conversions import Conversions
from MISFMLib.inference.cuda_network import CUDANetwork, record
from MISFMLib.inference.deviation import (
    SAME_LABELS,
    RefusedError,
    deviation_of_autocast,
    raise_for_other_labels,
)
from MISFMLib.inference.engine import Engine, UnavailableError, Work, attempt
from MISFMLib.inference.settled import Settled
from MISFMLib.models.bundle import Bundle, read_part, read_previous
from MISFMLib.networks import network_from_bundle
from MISFMLib.networks.folding import fold_norms

_log = logging.getLogger(__name__)

_WORTH_RECORDING = 16 * 2**20
"""Voxels in windows from which a CUDA graph is recorded: what the recording computes, twice."""


class Engines:
    """All ways to compute one network; keeps what was made for as long as it lives.

    A conversion takes 7 to 21 s of one core, once for a model. A million voxels then take 0.35 to
    1.9 s of it instead of 0.8 to 3.3 s (small and full PCT-Net in bfloat16): 15 million make up for
    it. It is made for half of that already, since a model that is used is used again.
    """

    def __init__(self, network: nn.Module, bundle: Bundle | None = None) -> None:
        """Take a network over.

        Args:
            network: In float32 and eval mode; it is moved to the devices it is computed on.
            bundle: Where it comes from; without, it is not converted.
        """
        # A fifth to a third faster on the CPU, and what tensor cores ask for.
        self._network: nn.Module = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._bundle = bundle
        self.previous: Engines | None = None
        """Network of the model before in a cascade."""
        self.parts: list[Engines] = []
        """Networks of the models that segment together with it."""
        self.conversions = Conversions(self._network, bundle)
        self._recorded: dict[tuple[str, str, tuple[int, ...]], CUDANetwork | Exception] = {}
        self._voxels = 0
        self._keeps_labels: bool | None = None
        """Whether PyTorch gives the same labels in the CPU's best number format, once tried."""

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Engines:
        """Load a bundle's network.

        Raises:
            BundleError: The bundle is damaged.
        """
        network = network_from_bundle(bundle)
        fold_norms(network)
        engines = cls(network, bundle)
        if bundle.manifest.preprocessing.previous_labels:
            engines.previous = cls.from_bundle(read_previous(bundle))
        for name in bundle.manifest.parts:
            engines.parts.append(cls.from_bundle(read_part(bundle, name)))
        return engines

    @property
    def bundle(self) -> Bundle | None:
        """Where the network comes from."""
        return self._bundle

    def choose(
        self,
        name: EngineName,
        precision: SegmentPrecision,
        work: Work,
        before_conversion: Callable[[], None] = lambda: None,
    ) -> Engine:
        """Return the engine for the windows of a volume.

        Args:
            name: What the user wants; OpenVINO falls back to PyTorch.
            precision: What the user wants; auto falls back to float32 where OpenVINO has found that
                the network does not bear bfloat16, int8 to auto where there is no such version.
            work: The windows.
            before_conversion: Called before a conversion, which takes some seconds; may raise.

        Raises:
            DeviceError: The device does not compute in the number format.
        """
        if precision == "int8":
            return self._int8_or_auto(name, work, before_conversion)
        self._voxels += work.windows * math.prod(work.window_shape[1:])
        reason = ""
        for chosen in inference_precisions(precision, work.device):
            try:
                pays = name == "openvino" or self._voxels >= WORTH_CONVERTING
                network = self.conversions.get(name, chosen, work, before_conversion, pays=pays)
                raise_for_other_labels(network.mean_dice, chosen, wanted=precision)
            except RefusedError as error:
                reason = str(error)  # a more exact number format may do
            except UnavailableError as error:
                reason = str(error)
                break
            else:
                return Engine(network, chosen, f"OpenVINO {openvino_network.version()}")
        _log.debug("OpenVINO is not used: %s", reason)
        if chosen != precision:
            chosen = self._exact_enough(chosen, work)
        program = f"PyTorch {torch.__version__}"
        try:
            graph = self._cuda_graph(chosen, work)
        except (RefusedError, UnavailableError) as error:
            _log.debug("No CUDA graph: %s", error)
            return Engine(self._network.to(work.device), chosen, program, reason)
        return Engine(graph, chosen, f"{program}, CUDA graph", reason)

    def again(
        self, settled: Settled, work: Work, before_conversion: Callable[[], None] = lambda: None
    ) -> Engine:
        """Return the engine that has computed other volumes of the same batch.

        Args:
            settled: What was chosen then.
            work: The windows.
            before_conversion: As in `choose`.

        Raises:
            DeviceError: It cannot be had here and now.
        """
        precision, program = settled.precision, f"PyTorch {torch.__version__}"
        try:
            if settled.program == "OpenVINO":
                network = self.conversions.get("openvino", precision, work, before_conversion)
                return Engine(network, precision, f"OpenVINO {openvino_network.version()}")
            if settled.program == "CUDA graph":
                graph = self._cuda_graph(precision, work, must_pay=False)
                return Engine(graph, precision, f"{program}, CUDA graph")
        except (RefusedError, UnavailableError) as error:
            raise DeviceError(
                f"The other cases of the batch were computed by {settled}, which is not possible "
                f"now: {error}",
                code="other-engine",
                remedy="Choose another output folder, or compute all again with --overwrite.",
            ) from error
        return Engine(self._network.to(work.device), precision, program)

    def free_recordings(self) -> None:
        """Give the memory that the CUDA graphs use back."""
        self._recorded.clear()

    def load_kept(
        self,
        name: EngineName,
        precision: SegmentPrecision,
        window_shape: tuple[int, int, int, int],
        device: torch.device,
    ) -> Engine:
        """Load and return what `choose` would find kept; nothing is converted or recorded.

        Args:
            name: As in `choose`.
            precision: As in `choose`.
            window_shape: Channels, depth, height, width of the windows.
            device: Where.
        """
        work = Work(device=device, windows=0, window_shape=window_shape, sample=torch.Tensor)
        return self.choose(name, precision, work, before_conversion=_not_now)

    @property
    def network(self) -> nn.Module:
        """The network in float32."""
        return self._network

    def _int8_or_auto(
        self, name: EngineName, work: Work, before_conversion: Callable[[], None]
    ) -> Engine:
        try:
            network = self.conversions.get(name, "int8", work, before_conversion)
        except (RefusedError, UnavailableError) as error:
            return replace(self.choose(name, "auto", work, before_conversion), reason=str(error))
        return Engine(network, "int8", f"OpenVINO {openvino_network.version()}")

    def _exact_enough(self, precision: Precision, work: Work) -> Precision:
        """Return a number format that nobody asked for, or float32 where PyTorch loses labels.

        What MISFM has trained was validated in it. For what was imported it is tried, once, on one
        window; where there are few, float32 takes less time than to find out.
        """
        if precision == "fp32" or work.device.type != "cpu" or self._bundle is None:
            return precision
        manifest = self._bundle.manifest
        if "imported_by" not in manifest.provenance:
            return precision
        if self._keeps_labels is None and self._voxels >= WORTH_CONVERTING:
            network, is_regional = self._network.to(work.device), manifest.preprocessing.is_regional
            deviation = deviation_of_autocast(network, work.sample(), precision, is_regional)
            self._keeps_labels = deviation.mean_dice >= SAME_LABELS
        return precision if self._keeps_labels else "fp32"

    def _cuda_graph(
        self, precision: SegmentPrecision, work: Work, *, must_pay: bool = True
    ) -> CUDANetwork:
        """Return the network recorded for a GPU: from this process, or made now."""
        key = (str(work.device), precision, work.window_shape)
        made = self._recorded.get(key)
        if made is None:
            if work.device.type != "cuda":
                raise UnavailableError(f"{work.device} is no NVIDIA GPU.")
            if must_pay and self._voxels < _WORTH_RECORDING:
                raise UnavailableError("A recording does not pay yet.")
            made = attempt(
                "The CUDA graph", record, self._network, work.device, precision, work.sample()
            )
            self._recorded[key] = made
        if isinstance(made, Exception):
            raise made
        return made


def _not_now() -> None:
    raise UnavailableError("No conversion to OpenVINO is kept.")
