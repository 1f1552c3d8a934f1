"""What options change on held-out cases: Dice by overlap, and errors near the places to look at.

    python Testing/Benchmarks/held_out.py DATA [--model hippocampus-mr] [--cases N] [--json FILE]

DATA is a folder in the layout of the Medical Segmentation Decathlon whose dataset.json has the list
``split/validation``. Every case is segmented at each overlap, and once with mirror images. Then the
places that the report lists under ``where_to_look`` are compared with random voxels of the
boundaries between the predicted labels: how much of the ball of 3 mm around them is wrong, and how
much of the gross errors (a predicted label more than 1.5 mm from where it should be) lies within
4 mm of them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import torch

from MISFMLib.device import cpu_name
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions, SegmentResult
from MISFMLib.metrics import dice
from MISFMLib.models.bundle import Bundle
from MISFMLib.models.store import find_model
from MISFMLib.volumes.volume import LabelMap, Volume, read_label_map, read_volume

OVERLAPS = (0.5, 0.25, 0.0)
WITH_MIRRORS = "0.5 and mirror images"
BALL_MM, GROSS_MM, NEAR_MM = 3.0, 1.5, 4.0
RANDOM_POINTS = 200

Index = tuple[int, int, int]


@dataclass
class Points:
    """What was found around some points of all cases."""

    error_shares: list[float] = field(default_factory=list)
    covered: list[float] = field(default_factory=list)

    def add(self, points: Sequence[Index], wrong: Wrong) -> None:
        """Add the points of one case."""
        self.error_shares += [float(wrong.share_DHW[point]) for point in points]
        if wrong.is_gross_DHW.any():
            self.covered.append(wrong.covered_by(points))


class Wrong:
    """The errors of one label map."""

    def __init__(self, found: LabelMap, expected: LabelMap) -> None:
        self._spacing = found.geometry.spacing_dhw
        is_wrong_DHW = found.array_DHW != expected.array_DHW
        ball = self._ball()
        self.share_DHW = scipy.ndimage.convolve(
            is_wrong_DHW.astype(float), ball / ball.sum(), mode="nearest"
        )
        self.is_gross_DHW = np.zeros_like(is_wrong_DHW)
        for value in np.unique(found.array_DHW):
            far_DHW = self._distance(expected.array_DHW == value) > GROSS_MM
            self.is_gross_DHW |= far_DHW & (found.array_DHW == value)

    def covered_by(self, points: Sequence[Index]) -> float:
        """Return the part of the gross errors near one of the points."""
        is_point_DHW = np.zeros_like(self.is_gross_DHW)
        for point in points:
            is_point_DHW[point] = True
        is_near_DHW = self._distance(is_point_DHW) <= NEAR_MM
        return float(is_near_DHW[self.is_gross_DHW].mean())

    def _ball(self) -> np.ndarray:
        reach = [math.floor(BALL_MM / size) for size in self._spacing]
        index = np.mgrid[tuple(slice(-steps, steps + 1) for steps in reach)]
        steps_mm = index * np.reshape(self._spacing, (3, 1, 1, 1))
        return (np.square(steps_mm).sum(0) <= BALL_MM**2).astype(float)

    def _distance(self, mask_DHW: np.ndarray) -> np.ndarray:
        """Return the distance of every voxel from a mask in mm; infinite where there is none."""
        if not mask_DHW.any():
            return np.full(mask_DHW.shape, np.inf)
        return scipy.ndimage.distance_transform_edt(~mask_DHW, sampling=self._spacing)


def boundary_points(label_map: LabelMap, count: int, rng: np.random.Generator) -> list[Index]:
    """Return random voxels that have a neighbour of another label."""
    array = label_map.array_DHW
    lowest = scipy.ndimage.minimum_filter(array, footprint=_CROSS)
    is_boundary_DHW = lowest != scipy.ndimage.maximum_filter(array, footprint=_CROSS)
    points = np.argwhere(is_boundary_DHW)
    return [tuple(point) for point in points[rng.integers(0, len(points), count)].tolist()]


_CROSS = scipy.ndimage.generate_binary_structure(3, 1)


def segmenters_of(bundle: Bundle) -> dict[str, Segmenter]:
    """Return the model with each set of options."""
    options = {str(overlap): SegmenterOptions(overlap=overlap) for overlap in OVERLAPS}
    options["0.5"] = SegmenterOptions(overlap=0.5, uncertainty=True)
    options[WITH_MIRRORS] = SegmenterOptions(overlap=0.5, mirroring=True)
    return {name: Segmenter.from_bundle(bundle, chosen) for name, chosen in options.items()}


class Comparison:
    """Collects what is measured case by case."""

    def __init__(self, bundle: Bundle) -> None:
        self._segmenters = segmenters_of(bundle)
        self._values = [label.value for label in bundle.manifest.labels]
        self._rng = np.random.default_rng(0)
        self._rows: dict[str, dict[str, list[float]]] = {
            name: {"dice": [], "windows": [], "cpu_s": []} for name in self._segmenters
        }
        names = ("first 3 places", "all places", "random, 3 a case", "random, as many as places")
        self._points = {name: Points() for name in names}

    def add(self, volume: Volume, expected: LabelMap) -> None:
        """Measure one case."""
        for name, segmenter in self._segmenters.items():
            start = time.process_time()
            result = segmenter.segment(volume)
            scores = [
                dice(result.label_map.array_DHW == value, expected.array_DHW == value)
                for value in self._values
            ]
            row = self._rows[name]
            row["cpu_s"].append(time.process_time() - start)
            row["windows"].append(result.windows)
            row["dice"].append(float(np.nanmean(scores)))
            if result.uncertainty is not None:
                self._look(result, expected)

    def _look(self, result: SegmentResult, expected: LabelMap) -> None:
        wrong = Wrong(result.label_map, expected)
        places = [place.index_ijk[::-1] for place in result.places]
        self._points["first 3 places"].add(places[:3], wrong)
        self._points["all places"].add(places, wrong)
        for _ in range(20):
            points = boundary_points(result.label_map, len(places), self._rng)
            self._points["random, 3 a case"].add(points[:3], wrong)
            self._points["random, as many as places"].add(points, wrong)

    def report(self) -> dict[str, Any]:
        """Return all results."""
        return {
            "dice": self._rows,
            "places": {
                name: {
                    "points": len(points.error_shares),
                    "error_share": statistics.mean(points.error_shares),
                    "over_a_fifth_wrong": float(np.mean(np.array(points.error_shares) > 0.2)),
                    "gross_errors_covered": statistics.mean(points.covered or [math.nan]),
                }
                for name, points in self._points.items()
            },
        }


def print_tables(report: dict[str, Any]) -> None:
    """Print what was measured."""
    reference = np.array(report["dice"]["0.5"]["dice"])
    print(f"{cpu_name()}, {len(reference)} cases")
    print(f"{'overlap':24}{'windows':>9}{'CPU s':>8}{'Dice':>8}   difference, 95 % interval")
    for name, row in report["dice"].items():
        gains = np.array(row["dice"]) - reference
        spread = 1.96 * gains.std(ddof=1) / len(gains) ** 0.5
        windows, seconds = sum(row["windows"]), sum(row["cpu_s"])
        mean = statistics.mean(row["dice"])
        print(
            f"{name:24}{windows:9}{seconds:8.1f}{mean:8.4f}   {gains.mean():+.4f} +- {spread:.4f}"
        )
    print(f"{'around':28}{'points':>8}{'wrong':>8}{'> 1/5 wrong':>13}{'gross errors near':>19}")
    for name, row in report["places"].items():
        print(
            f"{name:28}{row['points']:8}{row['error_share']:8.1%}"
            f"{row['over_a_fifth_wrong']:13.1%}{row['gross_errors_covered']:19.1%}"
        )


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with dataset.json")
    parser.add_argument("--model", default="hippocampus-mr", help="name or path of a model")
    parser.add_argument("--cases", type=int, help="only so many cases")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    content = json.loads((arguments.data / "dataset.json").read_text("utf-8"))
    comparison = Comparison(find_model(arguments.model))
    for name in content["split"]["validation"][: arguments.cases]:
        comparison.add(
            read_volume(arguments.data / "imagesTr" / f"{name}.nii.gz"),
            read_label_map(arguments.data / "labelsTr" / f"{name}.nii.gz"),
        )
    report = comparison.report()
    print_tables(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2), "utf-8")


if __name__ == "__main__":
    main()
