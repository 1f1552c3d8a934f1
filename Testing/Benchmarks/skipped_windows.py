"""Which windows of real CTs need not be computed, and that no label changes without them.

    python Testing/Benchmarks/skipped_windows.py MODEL VOLUME... [--patch D H W] [--no-crop]
        [--json FILE]

MODEL is a bundle for CT, each VOLUME a file or a folder of files. Every volume is segmented twice,
as ``misfm segment`` does it: with and without the shortcuts for windows of one intensity and for
those in the air around the patient. Exits with an error if any label differs. ``--patch`` takes
windows of other voxels than the model's, such as 16 32 32 in a CT of 2 x 2 x 5 mm, which are as
large as those of 64 x 128 x 128 voxels in a fine one; ``--no-crop`` segments what lies around the
box of the body too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rounds import headline, machine
from torch import nn

from MISFMLib.device import set_threads
from MISFMLib.inference import window_predictor
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.models.bundle import read_bundle
from MISFMLib.volumes.volume import Volume, find_volumes, read_volume


class Counted(nn.Module):
    """Counts the windows that a network computes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.windows = 0

    def forward(self, image):
        """Return the network's logits."""
        self.windows += len(image)
        return self.network(image)


def segmented(segmenter: Segmenter, network: Counted, volume: Volume) -> dict[str, Any]:
    """Segment and count."""
    network.windows = 0
    result = segmenter.segment(volume)
    return {
        "labels": result.label_map.array_DHW,
        "windows": result.windows,
        "computed": network.windows,
        "network_s": result.timings_s["network"],
    }


def compare(segmenter: Segmenter, network: Counted, volume: Volume) -> dict[str, Any]:
    """Segment a volume with and without the shortcuts."""
    quick = segmented(segmenter, network, volume)
    with patch.object(window_predictor.WindowPredictor, "_shortcut", lambda *_: None):
        full = segmented(segmenter, network, volume)
    assert full["computed"] == full["windows"]
    return {
        "volume": volume.name,
        "voxels": volume.geometry.shape_dhw,
        "windows": full["windows"],
        "computed": quick["computed"],
        "labelled_voxels": int(np.count_nonzero(full["labels"])),
        "different_labels": int(np.count_nonzero(quick["labels"] != full["labels"])),
        "network_s": quick["network_s"],
        "network_s_without_shortcuts": full["network_s"],
    }


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("volumes", type=Path, nargs="+")
    parser.add_argument("--patch", type=int, nargs=3, help="voxels of the windows")
    parser.add_argument("--no-crop", action="store_true", help="take all of the volume")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    set_threads(1)
    bundle = read_bundle(arguments.model)
    network = Counted(Engines.from_bundle(bundle).network)
    manifest, preprocessing = bundle.manifest, bundle.manifest.preprocessing
    if arguments.patch:
        preprocessing = dataclasses.replace(preprocessing, patch_size=tuple(arguments.patch))
    if arguments.no_crop:
        preprocessing = dataclasses.replace(preprocessing, crop="none")
    options = SegmenterOptions(device="cpu", postprocessing=False)
    segmenter = Segmenter(Engines(network), preprocessing, manifest.labels, options)
    print(headline())
    print(f"{'':28}{'windows':>8}{'computed':>10}{'labelled':>10}{'different':>10}{'seconds':>16}")
    rows = []
    for given in arguments.volumes:
        for path in find_volumes(given) if given.is_dir() else [given]:
            row = compare(segmenter, network, read_volume(path))
            rows.append(row)
            seconds = f"{row['network_s']:.1f} of {row['network_s_without_shortcuts']:.1f}"
            print(
                f"{row['volume'][:28]:28}{row['windows']:8}{row['computed']:10}"
                f"{row['labelled_voxels']:10}{row['different_labels']:10}{seconds:>16}"
            )
    windows, computed = (sum(row[key] for row in rows) for key in ("windows", "computed"))
    different = sum(row["different_labels"] for row in rows)
    print(
        f"{len(rows)} volumes: {computed} of {windows} windows computed, {different} labels differ"
    )
    if arguments.json:
        content = {"machine": machine(), "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")
    if different:
        sys.exit(1)


if __name__ == "__main__":
    main()
