"""A network converted to OpenVINO: from this process, from the disk, or made when asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from MISFMLib.configs import EngineName
from MISFMLib.inference import kept_conversions, openvino_network
from MISFMLib.inference.engine import UnavailableError, Work, attempt
from MISFMLib.inference.kept_conversions import Recipe
from MISFMLib.inference.openvino_network import OpenVINONetwork
from MISFMLib.models.bundle import Bundle


class Conversions:
    """Converts one network for number formats, shapes of windows and numbers of threads."""

    def __init__(self, network: nn.Module, bundle: Bundle | None) -> None:
        """Remember the network.

        Args:
            network: In float32 and eval mode.
            bundle: Where it comes from; without, it is not converted.
        """
        self._network, self._bundle = network, bundle
        self._made: dict[tuple[Recipe, int], OpenVINONetwork | Exception] = {}

    def are_possible(self, device: torch.device) -> bool:
        """Tell whether the network can be converted for a device."""
        is_possible = self._bundle is not None and device.type == "cpu"
        return is_possible and not openvino_network.why_unavailable()

    def recipe(self, precision: str, window_shape: tuple[int, int, int, int]) -> Recipe:
        """Describe the converted network for windows of a shape (C, d, h, w).

        Raises:
            UnavailableError: The network is of no bundle.
        """
        if self._bundle is None:
            raise UnavailableError("Only networks of bundles are converted to OpenVINO.")
        manifest = self._bundle.manifest
        return Recipe(manifest.weights_sha256, manifest.network, window_shape, precision)

    def add_int8(self, window_shape: tuple[int, int, int, int], network: OpenVINONetwork) -> None:
        """Use a network as the int8 version for windows of a shape (C, d, h, w)."""
        recipe = self.recipe("int8", window_shape)
        self._made[(recipe, torch.get_num_threads())] = network

    def get(
        self,
        name: EngineName,
        precision: str,
        work: Work,
        before_conversion: Callable[[], None],
        *,
        pays: bool = True,
    ) -> OpenVINONetwork:
        """Return the converted network.

        Args:
            name: What the user wants.
            precision: Number format; of int8 only what was made before is returned.
            work: The windows.
            before_conversion: Called before a conversion, which takes some seconds; may raise.
            pays: Convert it if it is not kept.

        Raises:
            RefusedError: It is not accurate enough.
            UnavailableError: There is none.
        """
        recipe, threads = self._wanted(name, precision, work), torch.get_num_threads()
        made = self._made.get((recipe, threads))
        if made is None:
            if not (pays or recipe.is_kept()):
                raise UnavailableError("A conversion to OpenVINO does not pay yet.")
            made = attempt("OpenVINO", kept_conversions.load, recipe, threads)
        if made is None and precision == "int8":
            raise UnavailableError(
                "This computer has no int8 version of the model; `misfm quantize` makes one."
            )
        if made is None:
            before_conversion()
            made = self._convert(recipe, threads, work)
        # Nobody goes back to another number of threads, and a compiled network is large.
        kept = {key: value for key, value in self._made.items() if key[1] == threads}
        self._made = {**kept, (recipe, threads): made}
        if isinstance(made, Exception):
            raise made
        return made

    def _convert(self, recipe: Recipe, threads: int, work: Work) -> OpenVINONetwork | Exception:
        network, sample = self._network.to(work.device), work.sample()
        is_regional = self._bundle is not None and self._bundle.manifest.preprocessing.is_regional
        build = kept_conversions.build
        made: OpenVINONetwork | Exception = attempt(
            "OpenVINO", build, recipe, threads, network, sample, is_regional
        )
        return made

    def _wanted(self, name: EngineName, precision: str, work: Work) -> Recipe:
        """Describe the converted network, if there can be one."""
        if name == "torch":
            raise UnavailableError("PyTorch was asked for.")
        if work.device.type != "cpu":
            raise UnavailableError(f"OpenVINO is used on CPUs only, not on {work.device}.")
        recipe = self.recipe(precision, work.window_shape)
        problem = openvino_network.why_unavailable()
        if problem:
            raise UnavailableError(problem)
        return recipe
