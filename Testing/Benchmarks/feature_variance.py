"""How many different things a model hands to its class outputs.

    python Testing/Benchmarks/feature_variance.py VOLUME [MODEL ...]

Prints the eigenvalues of the covariance of the features that the finest output sees, largest first,
on the window in the middle of a volume that was prepared as the model wants it; and the same of the
network with fresh weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.inference.patches import central_window
from MISFMLib.inference.windows import WindowConfig
from MISFMLib.models.store import find_model
from MISFMLib.networks import build_network, network_from_bundle
from MISFMLib.volumes.volume import read_volume


def eigenvalues(network: nn.Module, image_BCDHW: torch.Tensor) -> list[float]:
    """Return the eigenvalues of the covariance of the features before the finest output."""
    (output, *_) = network.heads
    last = [module for module in output.modules() if isinstance(module, nn.Conv3d)][-1]
    seen: list[torch.Tensor] = []
    last.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.train()(image_BCDHW)  # fresh norms know no statistics yet
    features_CN = seen[0].transpose(0, 1).flatten(1)
    return torch.linalg.eigvalsh(torch.cov(features_CN)).flip(0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("volume", type=Path)
    parser.add_argument("models", nargs="*", default=["pretrained-general"])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    for name in arguments.models:
        bundle = find_model(name)
        space = bundle.manifest.preprocessing
        prepared = prepare_volume(read_volume((arguments.volume,)), space)
        window = central_window(prepared, WindowConfig(patch_size=space.patch_size))
        trained = network_from_bundle(bundle)
        for title, network in ((name, trained), ("fresh", build_network(trained.config))):
            print(title, *(f"{value:.3g}" for value in eigenvalues(network, window)))


if __name__ == "__main__":
    main()
