"""Why bfloat16 changes labels: how far the first class is ahead, beside the error of the logits.

    python Testing/Benchmarks/bf16_margins.py MODEL IMAGE [IMAGE ...]

MODEL is the name or folder of an installed model or bundle, of one network and not of a cascade.
Both number formats are computed by PyTorch. An error matters where the second class is closer than
that, which in models that were hardly trained is the case at many more voxels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from MISFMLib.configs import SegmentPrecision
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.inference.sliding_window import predict_logits
from MISFMLib.inference.window_predictor import Placement
from MISFMLib.inference.windows import WindowConfig
from MISFMLib.models.bundle import Bundle
from MISFMLib.models.store import find_model
from MISFMLib.networks import network_from_bundle
from MISFMLib.volumes.volume import read_volume


def logits_of(bundle: Bundle, image: Path, precision: SegmentPrecision) -> torch.Tensor:
    """Return the logits (K, D, H, W) of a volume on the model's grid."""
    space = bundle.manifest.preprocessing
    windows = WindowConfig(
        patch_size=space.patch_size,
        overlap=space.overlap,
        placing=space.windows,
        padding=space.padding,
        weights=space.window_weights,
    )
    prepared = prepare_volume(read_volume(image), space)
    network = network_from_bundle(bundle).eval()
    with torch.inference_mode():
        return predict_logits(network, prepared, windows, Placement(precision=precision))


def compare(bundle: Bundle, image: Path) -> str:
    """Return the line to print of one volume."""
    exact, rounded = (logits_of(bundle, image, precision) for precision in ("fp32", "bf16"))
    error = rounded - exact
    if bundle.manifest.preprocessing.decision == "regions":
        ahead = exact.abs().amin(0)
        masks, others = exact > 0, rounded > 0
    else:
        error -= error.mean(0)  # what all classes share moves no label
        first, second = exact.topk(2, 0).values
        ahead, numbers = first - second, torch.arange(1, len(exact))[:, None, None, None]
        masks, others = exact.argmax(0) == numbers, rounded.argmax(0) == numbers
    dice = [
        float(2 * (mask & other).sum() / (mask.sum() + other.sum()))
        for mask, other in zip(masks, others, strict=True)
        if mask.any()
    ]
    size = float(error.square().mean().sqrt())
    return (
        f"ahead by {float(ahead.median()):.2f} (median), error {size:.4f} (rms), "
        f"{100 * float((ahead < 2 * size).float().mean()):.3f} % within twice the error, "
        f"{100 * float((masks != others).any(0).float().mean()):.3f} % differ, "
        f"lowest Dice {min(dice, default=1):.4f}  {image.name}"
    )


def main() -> None:
    """Compare all volumes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("images", type=Path, nargs="+")
    options = parser.parse_args()
    bundle = find_model(options.model)
    for image in options.images:
        print(compare(bundle, image), flush=True)


if __name__ == "__main__":
    main()
