"""Judging a network while it learns, and a finished model on held-out cases."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch

from MISFMLib.configs import LabelConfig
from MISFMLib.data.cases import Case
from MISFMLib.data.datasets import PreparedCase
from MISFMLib.inference.sliding_window import Placement
from MISFMLib.inference.windows import WindowConfig
from MISFMLib.jobs.train import validation
from MISFMLib.jobs.train.validation import choose_cases, evaluate, subset, validate
from MISFMLib.volumes.volume import LabelMap, read_label_map

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = (LabelConfig(value=3, name="first"), LabelConfig(value=7, name="second"))


def prepared(folder, label):
    """Write a prepared case whose image is its label map."""
    folder.mkdir()
    centres = [np.argwhere(label == index) for index in np.unique(label[label > 0])]
    np.savez(folder / "centres.npz", *centres)
    np.save(folder / "image.npy", label[None].astype(np.float16))
    np.save(folder / "label.npy", label.astype(np.uint8))
    return PreparedCase(folder.name, folder)


class ReadsTheLabel(torch.nn.Module):
    """Gives the class that stands in the image, except that class 2 becomes class 1."""

    def forward(self, image_BCDHW):
        classes = image_BCDHW[:, 0].round().long().clamp(max=1)
        fine = torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
        return [fine, fine[..., ::2, ::2, ::2]]


def test_the_score_is_the_mean_over_labels_of_the_mean_over_cases(tmp_path):
    only_first, both = np.zeros((2, 6, 6, 6))
    only_first[:3] = 1
    both[:2], both[4:] = 1, 2
    cases = [prepared(tmp_path / "a", only_first), prepared(tmp_path / "b", both)]
    windows = WindowConfig(patch_size=(4, 4, 4), overlap=0.25)

    found = validate(ReadsTheLabel(), cases, LABELS, windows, Placement())

    first = (1 + 2 * 2 / (2 + 4)) / 2  # in the second case class 2 is taken for class 1
    expected = {"dice/first": first, "dice/second": 0.0, "labels": 2, "labels found": 1}
    assert found.values == pytest.approx(expected)
    assert found.score == pytest.approx(first / 2)
    assert found.missing == ("second",)


def test_a_label_in_no_held_out_case_does_not_lower_the_score(tmp_path):
    label = np.zeros((4, 4, 4))
    label[:2] = 1
    windows = WindowConfig(patch_size=(4, 4, 4))

    found = validate(
        ReadsTheLabel(), [prepared(tmp_path / "a", label)], LABELS, windows, Placement()
    )

    assert found.values == {"dice/first": 1.0, "labels": 1, "labels found": 1}
    assert found.score == 1.0
    assert found.missing == ()


class FindsEverywhere(torch.nn.Module):
    """Takes half of every patch for class 1 and the rest for class 2, whatever is there."""

    def forward(self, image_BCDHW):
        logits = torch.zeros(len(image_BCDHW), 3, *image_BCDHW.shape[2:])
        logits[:, 1, :2] = logits[:, 2, 2:] = 1
        return logits


def test_what_no_held_out_case_has_is_not_missing_for_what_is_found_of_it(tmp_path):
    """Nor is it a score: the first weights would be kept, since nothing could be better than 0."""
    label = np.zeros((4, 4, 4))
    windows = WindowConfig(patch_size=(4, 4, 4))
    healthy = [prepared(tmp_path / name, label) for name in "ab"]

    found = validate(FindsEverywhere(), healthy, LABELS, windows, Placement())
    assert (found.score, found.missing) == (None, ())
    assert found.numbers() == {"labels": 0, "labels found": 0}

    label[:2] = 1
    cases = [*healthy, *healthy * 10, prepared(tmp_path / "c", label)]
    found = validate(FindsEverywhere(), cases, LABELS, windows, Placement())
    assert found.score == pytest.approx(1 / 23)
    assert found.missing == ()


def test_a_validation_takes_evenly_spread_cases_within_its_budget(tmp_path, monkeypatch):
    cases = [prepared(tmp_path / str(index), np.ones((4, 5, 5))) for index in range(9)]
    names = [case.name for case in cases]

    assert subset(cases) == cases
    monkeypatch.setattr(validation, "_MAX_VOXELS", 500)
    assert [case.name for case in subset(cases)] == [names[index] for index in (0, 2, 4, 6, 8)]
    monkeypatch.setattr(validation, "_MAX_VOXELS", 1)
    assert len(subset(cases)) == 4
    assert subset(cases[:2]) == cases[:2]


def test_every_label_is_looked_at_in_a_case_that_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "_MAX_VOXELS", 1)
    label = np.zeros((4, 5, 5))
    label[0] = 1
    held_out = [prepared(tmp_path / str(index), label) for index in range(9)]
    label[1] = 2
    rare = prepared(tmp_path / "rare", label)
    label[2] = 3
    training = [prepared(tmp_path / "t", label * (label < 3)), prepared(tmp_path / "u", label)]

    short, learnt_from = choose_cases([*held_out[:4], rare, *held_out[4:]], training)
    assert [case.name for case in short] == ["0", "3", "5", "8", "rare"]
    assert [case.name for case in learnt_from] == ["u"]
    assert choose_cases([], training) == ([], [training[1]])


def test_a_training_case_tells_only_whether_a_label_is_found(tmp_path):
    label = np.zeros((4, 4, 4))
    label[:2] = 1
    held_out = prepared(tmp_path / "held-out", label)
    label[2:] = 2
    learnt_from = [prepared(tmp_path / "training", label)]
    windows = WindowConfig(patch_size=(4, 4, 4))

    found = validate(ReadsTheLabel(), [held_out], LABELS, windows, Placement(), learnt_from)
    assert (found.score, found.missing) == (1.0, ("second",))
    assert found.values == {"dice/first": 1.0, "labels": 2, "labels found": 1}

    found = validate(FindsEverywhere(), [], LABELS, windows, Placement(), learnt_from)
    assert (found.score, found.missing) == (None, ())


def test_held_out_cases_are_compared_on_their_own_grid(tmp_path, write_case):
    cases = []
    for name, values in (("a", (3, 7)), ("b", (3,))):
        image, label = tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-label.nii.gz"
        write_case(image, label, values=values, spacing_xyz=(1.0, 1.0, 2.0))
        cases.append(Case(name, (image,), label))

    def shifted(volume):
        label_map = read_label_map(tmp_path / f"{volume.name}-label.nii.gz")
        return LabelMap(np.roll(label_map.array_DHW, 1, axis=0), label_map.geometry)

    done = []
    summary = evaluate(cases, shifted, LABELS, tmp_path / "scores.csv", done.append)

    assert done == [1, 2]
    assert summary["first"]["dice"] == pytest.approx(2 * 5 / 12)
    assert summary["first"]["dice_sd"] == pytest.approx(0)
    assert summary["first"]["hausdorff95_mm"] == pytest.approx(2.0)
    assert summary["second"]["dice_sd"] is None
    assert summary["mean Dice of the labels"] == pytest.approx(2 * 5 / 12)
    assert summary["held-out cases"] == 2
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert [(row["case"], row["label"]) for row in rows] == [
        ("a", "first"),
        ("a", "second"),
        ("b", "first"),
        ("b", "second"),
    ]
    assert math.isnan(float(rows[3]["dice"]))


def test_mean_distances_say_over_how_many_cases_they_go(tmp_path, write_case):
    """A model that misses the hard cases would have the smaller distances on its card."""
    cases = []
    for name in ("easy", "hard"):
        image, label = tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-label.nii.gz"
        write_case(image, label, values=(3, 7), spacing_xyz=(1.0, 1.0, 2.0))
        cases.append(Case(name, (image,), label))

    def misses_the_second(volume):
        label_map = read_label_map(tmp_path / f"{volume.name}-label.nii.gz")
        if volume.name == "hard":
            label_map.array_DHW[label_map.array_DHW == 7] = 0
        return label_map

    summary = evaluate(cases, misses_the_second, LABELS, tmp_path / "s.csv", lambda _done: None)
    assert summary["first"]["distance_cases"] == 2
    assert (summary["second"]["dice"], summary["second"]["hausdorff95_mm"]) == (0.5, 0.0)
    assert summary["second"]["distance_cases"] == 1
