"""Walk through the annotation loop as a user does, with reference labels as the annotator.

    MISFM_PYTHON=.venv/bin/python .venv-slicer/bin/python Testing/Benchmarks/loop_walk.py DATA \
        [--labels 1 2] [--start 4] [--loop 9] [--after 3] [--minutes 3] [--held-out 6] \
        [--order "least sure"] [--kills 0] [--json FILE]

The panel in the stand-in for Slicer is driven by its own buttons: a training set with a few
labelled cases, a first fine-tuning, then Next case, the reference labels in place of what was
proposed, Done; after some corrections the training goes on by itself. After every training a round
ends: the model is compared with the references of cases that are in no training set. Told are the
Dice of each proposal, the voxels that the annotator had to change, and the time from Done to the
next proposal. ``--kills`` ends the training that many times with SIGKILL and lets it go on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "Host"), str(REPOSITORY / "MISFM")]

import numpy as np  # noqa: E402
from misfm_host.host import Host, start  # noqa: E402

from MISFMLib.annotation.training_set import TrainingSet  # noqa: E402
from MISFMLib.models import store  # noqa: E402
from MISFMLib.models.terminology import label_config  # noqa: E402

_JUDGE = """
import json, sys
from pathlib import Path
import numpy as np
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
_LONG_S = 3600.0


class Walk:
    """The panel, the data, and what happened."""

    def __init__(self, host: Host, options: argparse.Namespace, folder: Path) -> None:
        self.host, self.options, self.folder = host, options, folder
        self.description = json.loads((options.data / "dataset.json").read_text("utf-8"))
        names = sorted(self.description["split"]["train"])
        self.names = names[: options.start + options.loop]
        self.held_out = sorted(self.description["split"]["validation"])[: options.held_out]
        self.rounds: list[dict[str, Any]] = []
        self.kills_left = options.kills
        self.corrected = 0

    def make_set(self) -> TrainingSet:
        """Make the set with the first labelled cases and the images of the others."""
        import slicer
        from MISFMSlicer.Scene.Export import writeLabelMap

        labels = [label_config(v, self.description["labels"][str(v)]) for v in self.options.labels]
        made = TrainingSet.create(self.folder / "set", labels)
        for index, name in enumerate(self.names):
            image = self.options.data / f"imagesTr/{name}.nii.gz"
            made.add_case(name, lambda path, image=image: shutil.copyfile(image, path))
            if index < self.options.start:
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

        path = self.options.data / f"labelsTr/{name}.nii.gz"
        node = slicer.util.loadLabelVolume(str(path), {"show": False})
        array = slicer.util.arrayFromVolume(node).copy()
        slicer.mrmlScene.RemoveNode(node)
        array[~np.isin(array, self.options.labels)] = 0
        return array.astype(np.uint8)

    def open_panel(self, made: TrainingSet) -> None:
        """Open the module on the set."""
        self.host.load_module(REPOSITORY / "MISFM" / "MISFM.py")
        self.widget = self.host.select_module("MISFM")
        self.tab = self.widget.finetuneTab
        self.ui = self.tab._ui
        self.tab._installMissing = lambda: True
        self.tab.setView._use(made)
        self.ui.minutesSlider.value = self.options.minutes
        self.ui.afterBox.value = self.options.after
        index = self.ui.orderSelector.findData(self.options.order)
        self.ui.orderSelector.setCurrentIndex(index)

    def train_first(self) -> None:
        """Press Fine-tune and Keep."""
        began = time.monotonic()
        self.ui.trainButton.click()
        self.wait_for_training()
        self.wait(lambda: not self.ui.outcomeFrame.isHidden())
        self.ui.keepButton.click()
        self.end_round(time.monotonic() - began)

    def wait_for_training(self) -> None:
        """Wait for the end of a training; kill it on the way if that is asked for."""
        while self.tab.isTraining or self.tab.train.canGoOn:
            self.host.process_events(0.2)
            training = self.tab.train.training
            steps = len(training.metrics) if training is not None else 0
            if self.kills_left and steps >= 2 and self.tab.isTraining:
                self.kills_left -= 1
                training.kill()
                self.wait(lambda: self.tab.train.canGoOn)
                print(f"killed at step {max(training.metrics)}, going on", flush=True)
                self.ui.trainButton.click()
                self.wait(lambda: self.tab.isTraining)

    def correct_next(self) -> None:
        """Put the reference in place of the proposal and press Done."""
        import slicer

        if self.tab.loop.case is None:
            self.ui.nextCaseButton.click()
            self.wait(lambda: self.tab.loop.case is not None)
        case, reference = self.tab.loop.case, self.reference(self.tab.loop.case.name)
        keys = case.values(self.tab.setView.current.labels)
        for key, value in keys.items():
            array = (reference == value).astype(np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(
                array, case.segmentation, key, case.volume
            )
        self.wait_for_proposals()
        began = time.monotonic()
        self.ui.doneButton.click()
        waited = time.monotonic() - began
        row = self.tab.setView.current.case(case.name)
        self.corrected += 1
        self.rounds[-1]["corrections"].append(
            {
                "case": row.name,
                "dice": row.dice,
                "changed_voxels": row.changed_voxels,
                "certainty": row.certainty,
                "done_to_next_s": round(waited, 2),
            }
        )
        print(json.dumps(self.rounds[-1]["corrections"][-1]), flush=True)

    def wait_for_proposals(self) -> None:
        """A person takes minutes for a correction: by then the next proposals are there."""
        rows = self.tab.setView.rows
        self.wait(lambda: all(self.is_proposed(row.name) for row in rows))

    def is_proposed(self, name: str) -> bool:
        """Tell whether a case has labels, or is proposed by the model in use."""
        row = self.tab.setView.current.case(name)
        return row.status not in ("unlabelled", "proposed") or self.tab._proposals.isCurrent(row)

    def end_round(self, seconds: float) -> None:
        """Judge the model that proposes now."""
        made = self.tab.setView.current
        model = self.tab._models.of(made, "")
        words = [
            model,
            str(self.options.data),
            *map(json.dumps, (self.options.labels, self.held_out)),
        ]
        done = subprocess.run(
            [os.environ["MISFM_PYTHON"], "-c", _JUDGE, *words],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
        scores = json.loads(done.stdout.splitlines()[-1])
        labelled = sum(row.is_labelled for row in made.cases())
        self.rounds.append(
            {
                "labelled": labelled,
                "dice": float(np.nanmean([np.nanmean(each) for each in scores.values()])),
                "training_s": round(seconds, 1),
                "note": self.ui.trainLabel.text,
                "corrections": [],
            }
        )
        print(json.dumps(self.rounds[-1]), flush=True)

    def run(self) -> None:
        """Walk."""
        self.open_panel(self.make_set())
        self.train_first()
        while any(row.status in ("unlabelled", "proposed") for row in self.tab.setView.rows):
            self.correct_next()
            if self.tab.isTraining:
                began = time.monotonic()
                self.wait_for_training()
                self.wait(lambda: self.tab.train.training is None)
                self.end_round(time.monotonic() - began)

    def wait(self, condition: Any) -> None:
        """Let the application work until a condition holds."""
        self.host.wait_until(condition, _LONG_S)


def main() -> None:
    """Walk, and print what happened round by round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--start", type=int, default=4)
    parser.add_argument("--loop", type=int, default=20)
    parser.add_argument("--after", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--held-out", type=int, default=20)
    parser.add_argument("--order", default="least sure")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="misfm-loop-"))
    os.environ["MISFM_HOME"] = str(folder / "home")
    walk = Walk(start(folder / "host"), options, folder)
    began = time.monotonic()
    try:
        walk.run()
    finally:
        result = {"rounds": walk.rounds, "seconds": round(time.monotonic() - began)}
        if options.json:
            options.json.write_text(json.dumps(result, indent=1), "utf-8")
        walk.tab.close()
        shutil.rmtree(store.home(), ignore_errors=True)
    print(f"\n{'labelled':>8} {'Dice':>6} {'proposals':>9} {'changed voxels':>14}")
    for each in walk.rounds:
        rows = [row for row in each["corrections"] if row["dice"] is not None]
        dice = f"{np.mean([row['dice'] for row in rows]):.3f}" if rows else "-"
        voxels = f"{np.mean([row['changed_voxels'] for row in rows]):.0f}" if rows else "-"
        print(f"{each['labelled']:>8} {each['dice']:>6.3f} {dice:>9} {voxels:>14}")


if __name__ == "__main__":
    main()
