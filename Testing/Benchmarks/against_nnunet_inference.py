"""What a window, a conversion and the way back cost beside nnU-Net, in CPU seconds of one thread.

Networks have the size of TotalSegmentator's and random weights. nnU-Net's side is its own network
(dynamic-network-architectures) and its own resampling (scikit-image), where they are installed.
Both sides are measured in turns, so that whatever else the machine does meets both.

    python Testing/Benchmarks/against_nnunet_inference.py --case plain --rounds 2
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from MISFMLib.configs import NetworkConfig, StagesConfig
from MISFMLib.data.label_resampling import LabelResampler
from MISFMLib.inference import openvino_conversion
from MISFMLib.inference.openvino_network import OpenVINONetwork
from MISFMLib.networks import build_network

CASES = {
    "plain": ("plainconvunet", (32, 64, 128, 256, 320, 320), 25, (128, 128, 128)),
    "classes": ("plainconvunet", (32, 64, 128, 256, 320), 118, (112, 112, 128)),
    "many": ("plainconvunet", (32, 64, 128, 256, 320, 320), 118, (128, 128, 128)),
    "resenc": ("resencunet", (32, 64, 128, 256, 320, 320), 25, (128, 128, 128)),
    "small": ("plainconvunet", (8, 16), 5, (32, 32, 32)),
}


def network_of(case: str) -> torch.nn.Module:
    """Build our network of a case, with a background that wins most voxels."""
    name, channels, classes, _ = CASES[case]
    count = len(channels)
    is_plain = name == "plainconvunet"
    torch.manual_seed(0)
    network = build_network(
        NetworkConfig(
            architecture=name,
            num_classes=classes,
            level_channels=channels,
            stages=StagesConfig(
                kernels=((3, 3, 3),) * count,
                strides=((1, 1, 1), *((2, 2, 2),) * (count - 1)),
                blocks=(2,) * count if is_plain else (1, 3, 4, 6, 6, 6)[:count],
                decoder_blocks=(2 if is_plain else 1,) * (count - 1),
            ),
        )
    )
    with torch.no_grad():
        network.heads[0].conv.bias[0] += 1.0
    return network.eval()


def theirs_of(case: str) -> torch.nn.Module | None:
    """Build nnU-Net's network of a case, if its package is there."""
    try:
        from dynamic_network_architectures.architectures import unet
    except ImportError:
        return None
    name, channels, classes, _ = CASES[case]
    count = len(channels)
    settings = {
        "n_stages": count,
        "features_per_stage": channels,
        "conv_op": torch.nn.Conv3d,
        "kernel_sizes": 3,
        "strides": [1, *[2] * (count - 1)],
        "num_classes": classes,
        "conv_bias": True,
        "norm_op": torch.nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": torch.nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }
    if name == "plainconvunet":
        return unet.PlainConvUNet(
            1, n_conv_per_stage=2, n_conv_per_stage_decoder=2, **settings
        ).eval()
    blocks = (1, 3, 4, 6, 6, 6)[:count]
    return unet.ResidualEncoderUNet(
        1, n_blocks_per_stage=blocks, n_conv_per_stage_decoder=1, **settings
    ).eval()


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return what a call takes of the CPU."""
    start = time.process_time()
    work()
    return time.process_time() - start


def peak_mib() -> int:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def windows(case: str, rounds: int) -> dict[str, object]:
    """Measure the conversion and windows of all engines in turns."""
    image = torch.randn(1, 1, *CASES[case][3])
    network, theirs = network_of(case), theirs_of(case)
    before = peak_mib()
    model: list[object] = []
    with torch.inference_mode():
        convert_s = cpu_seconds(lambda: model.append(openvino_conversion.convert(network, image)))
        result: dict[str, object] = {
            "convert_cpu_s": convert_s,
            "convert_peak_mib": peak_mib(),
            "before_mib": before,
        }
        engines: dict[str, torch.nn.Module] = {
            f"openvino {precision}": OpenVINONetwork(model[0], precision, 1)
            for precision in ("fp32", "bf16")
        }
        if theirs is not None:
            engines["nnunet"] = theirs
        for _ in range(rounds):
            for name, engine in engines.items():
                seconds = cpu_seconds(lambda engine=engine: engine(image))
                result[name] = min(seconds, result.get(name, np.inf))  # type: ignore[type-var]
    return result


def way_back(classes: int, edge: int, rounds: int) -> dict[str, object]:
    """Measure logits of `edge`^3 that go to twice the edge and become labels."""
    logits = torch.randn(classes, edge, edge, edge)
    output = np.zeros((2 * edge,) * 3, np.uint8)
    result: dict[str, object] = {"classes": classes}

    def ours() -> None:
        resampler = LabelResampler((edge,) * 3, output, np.arange(classes).astype(np.uint8))
        resampler.add(logits)

    for _ in range(rounds):
        result["ours"] = min(cpu_seconds(ours), result.get("ours", np.inf))  # type: ignore[type-var]
        try:
            from skimage.transform import resize
        except ImportError:
            continue
        one = logits[0].numpy().astype(float)
        seconds = classes * cpu_seconds(
            lambda one=one: resize(one, output.shape, 1, mode="edge", anti_aliasing=False)
        )
        result["nnunet, of one class"] = min(seconds, result.get("nnunet, of one class", np.inf))  # type: ignore[type-var]
    return result


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=[*CASES, "way-back"], default="plain")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.case == "way-back":
        print(json.dumps(way_back(118, 100, options.rounds), indent=1))
    else:
        print(json.dumps(windows(options.case, options.rounds), indent=1))


if __name__ == "__main__":
    main()
