"""Cases of a data set for `loop_walk.py`: references of the annotator, and what judges a model."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.models.terminology import label_config

REPOSITORY = Path(__file__).resolve().parents[2]
_JUDGE = """
import json, sys
from pathlib import Path
from MISFMLib import metrics
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.models.store import find_model
from MISFMLib.volumes.volume import read_label_map, read_volume
model, data, values, names = sys.argv[1], Path(sys.argv[2]), *map(json.loads, sys.argv[3:5])
segmenter = Segmenter.from_bundle(find_model(model), SegmenterOptions(device="cpu"))
scores = {}
for name in names:
    found = segmenter.segment(read_volume([data / f"imagesTr/{name}.nii.gz"])).label_map.array_DHW
    reference = read_label_map(data / f"labelsTr/{name}.nii.gz").array_DHW
    scores[name] = [metrics.dice(found == v, reference == v) for v in values]
print(json.dumps(scores))
"""


class LoopData:
    """A data set in the Decathlon layout with a split, as a seed draws from it."""

    def __init__(self, folder: Path, labels: Sequence[int], seed: int) -> None:
        self.folder, self.labels, self.seed = folder, list(labels), seed
        self.description = json.loads((folder / "dataset.json").read_text("utf-8"))

    def drawn(self, count: int) -> list[str]:
        """Return names of cases to learn from, in an order that the seed gives."""
        names = sorted(self.description["split"]["train"])
        return random.Random(self.seed).sample(names, count)

    def make_set(self, folder: Path, names: Sequence[str], labelled: int) -> TrainingSet:
        """Make a training set, in Slicer, whose first cases have their reference labels."""
        import slicer
        from MISFMSlicer.Scene.Export import writeLabelMap

        labels = [label_config(v, self.description["labels"][str(v)]) for v in self.labels]
        shutil.rmtree(folder, ignore_errors=True)
        made = TrainingSet.create(folder, labels, name=f"walk {self.seed}")
        for index, name in enumerate(names):
            image = self.folder / f"imagesTr/{name}.nii.gz"
            made.add_case(name, lambda path, image=image: shutil.copyfile(image, path))
            if index < labelled:
                node = slicer.util.loadVolume(str(image), {"show": False})
                array = self.reference(name)
                made.save_labels(
                    name,
                    lambda path, array=array, node=node: writeLabelMap(array, node, path),
                    status="checked",
                )
                slicer.mrmlScene.RemoveNode(node)
        return made

    def reference(self, name: str) -> np.ndarray:
        """Return the reference labels (k, j, i) of a case, those that are asked for."""
        import slicer

        path = self.folder / f"labelsTr/{name}.nii.gz"
        node = slicer.util.loadLabelVolume(str(path), {"show": False})
        array = slicer.util.arrayFromVolume(node).copy()
        slicer.mrmlScene.RemoveNode(node)
        array[~np.isin(array, self.labels)] = 0
        return array.astype(np.uint8)

    def judge(self, model: str, most: int) -> dict[str, list[float]]:
        """Return the Dice of each label in held-out cases, by the name of the case."""
        names = sorted(self.description["split"]["validation"])[:most]
        words = [str(self.folder), json.dumps(self.labels), json.dumps(names)]
        done = subprocess.run(
            [os.environ["MISFM_PYTHON"], "-c", _JUDGE, model, *words],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))
