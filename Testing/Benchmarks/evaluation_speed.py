"""How fast label maps of a whole body are compared, beside MONAI's metrics on the same maps.

    python Testing/Benchmarks/evaluation_speed.py [--maps 3] [--edge 160] [--labels 117]

Draws label maps of ellipsoids at 1.5 mm, a prediction for each by moving every ellipsoid by up to
two voxels, and computes Dice, HD95, surface Dice and ASSD of all labels with one thread. MONAI gets
one label at a time, as its metrics want, and cuts it to its box by itself.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from MISFMLib.metrics import compare_label_maps

SPACING = (1.5, 1.5, 1.5)


def draw(edge: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a reference and a prediction."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((2, edge, edge, edge), np.uint8)
    for value in range(1, count + 1):
        radii = np.exp(rng.uniform(np.log(4), np.log(edge / 8), 3))
        centre = rng.uniform(radii, edge - radii)
        for labels_DHW, offset in zip(maps, (np.zeros(3), rng.uniform(-2, 2, 3)), strict=True):
            put(labels_DHW, centre + offset, radii, value)
    return maps[0], maps[1]


def put(labels_DHW: np.ndarray, centre: np.ndarray, radii: np.ndarray, value: int) -> None:
    low = np.maximum(np.floor(centre - radii), 0).astype(int)
    high = np.minimum(np.ceil(centre + radii) + 1, labels_DHW.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grid = np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij")
    inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1
    labels_DHW[box][inside] = value


def monai_metrics(prediction: np.ndarray, reference: np.ndarray, value: int) -> list[float]:
    pair = [torch.from_numpy(labels == value)[None, None] for labels in (prediction, reference)]
    found = [
        compute_dice(*pair),
        compute_hausdorff_distance(*pair, percentile=95, spacing=SPACING),
        compute_surface_dice(*pair, class_thresholds=[1.0], spacing=SPACING),
        compute_average_surface_distance(*pair, symmetric=True, spacing=SPACING),
    ]
    return [float(metric) for metric in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--maps", type=int, default=3)
    parser.add_argument("--edge", type=int, default=160)
    parser.add_argument("--labels", type=int, default=117)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for seed in range(options.maps):
        reference, prediction = draw(options.edge, options.labels, seed)
        values = [int(value) for value in np.unique(reference)[1:] if (prediction == value).any()]
        start = time.process_time()
        ours = compare_label_maps(prediction, reference, values, SPACING)
        middle = time.process_time()
        theirs = {value: monai_metrics(prediction, reference, value) for value in values}
        ours_s, theirs_s = middle - start, time.process_time() - middle
        difference = max(
            abs(a - b)
            for value in values
            for a, b in zip(vars(ours[value]).values(), theirs[value], strict=True)
        )
        print(
            f"map {seed}: {len(values)} labels, ours {ours_s:.1f} s, MONAI {theirs_s:.1f} s, "
            f"{theirs_s / ours_s:.1f}x, largest difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
