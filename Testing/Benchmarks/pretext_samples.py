"""CPU time of one sample of every pretext task, one core, from a volume mapped into memory.

    python Testing/Benchmarks/pretext_samples.py [--patch D H W] [--count N]

The time is that of the process, so that other programs on the machine hardly change it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from MISFMLib.configs import NetworkConfig, PretrainConfig
from MISFMLib.data.pretext import PretextSource
from MISFMLib.data.unlabelled import PreparedVolumes
from MISFMLib.device import cpu_name
from MISFMLib.jobs.pretrain.methods import build_method

CASES = [
    ("volume-fusion", {"sampler": "grid"}),
    ("volume-fusion", {"sampler": "boxes"}),
    *((method, {}) for method in ("model-genesis", "patch-swapping", "masked-modelling")),
    *((method, {}) for method in ("rotation", "contrastive")),
]
VOLUME_SHAPE = (160, 256, 256)
NUM_VOLUMES = 2


def write_volumes(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    folders = [folder / str(index) for index in range(NUM_VOLUMES)]
    for place in folders:
        place.mkdir()
        image = rng.uniform(-1, 1, VOLUME_SHAPE).astype(np.float16)
        np.save(place / "image.npy", image)
    return folders


def milliseconds(source: PretextSource, count: int) -> float:
    source.sample(0, 0)
    started = time.process_time()
    for step in range(count):
        source.sample(step, 1)
    return 1000 * (time.process_time() - started) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 128, 128))
    parser.add_argument("--count", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    patch = tuple(options.patch)
    # The network is not run; it only has to be there.
    network = NetworkConfig(
        architecture="unet3d", level_channels=(1,) * 5, num_classes=5, patch_size=patch
    )
    print(f"{cpu_name()}, one thread, patch {' x '.join(map(str, patch))}")
    with tempfile.TemporaryDirectory() as folder:
        volumes = PreparedVolumes(write_volumes(Path(folder)))
        for method, settings in CASES:
            config = PretrainConfig(data=(Path(),), output=Path(), method=method, **settings)
            pretext = build_method(config, network).pretext
            source = PretextSource(source=volumes, pretext=pretext, batch_size=2, seed=1)
            name = " ".join([method, *settings.values()])
            print(f"{name:24}{milliseconds(source, options.count):6.1f} ms per sample")


if __name__ == "__main__":
    main()
