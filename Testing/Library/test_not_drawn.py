"""Labels that nobody has drawn in a case are neither learnt nor scored there."""

from __future__ import annotations

import csv
import json

import pytest

torch = pytest.importorskip("torch")

from MISFMLib.annotation.training_set import TrainingSet  # noqa: E402
from MISFMLib.configs import FinetuneConfig, PreprocessingConfig  # noqa: E402
from MISFMLib.data.augmentation import Augmentation  # noqa: E402
from MISFMLib.data.cases import find_cases  # noqa: E402
from MISFMLib.data.datasets import Batch, PatchSource, prepare_case  # noqa: E402
from MISFMLib.jobs.train.finetune import run_finetune  # noqa: E402
from MISFMLib.models.terminology import label_config  # noqa: E402
from MISFMLib.training.losses import SegmentationLoss  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def a_batch(label_BDHW, *not_drawn):
    mask_BK = torch.zeros(len(label_BDHW), 256, dtype=torch.bool)
    for row, classes in enumerate(not_drawn):
        mask_BK[row, list(classes)] = True
    return Batch(torch.zeros(len(label_BDHW), 1, 4, 4, 4), label_BDHW, mask_BK)


@pytest.fixture
def logits(seed):
    return torch.randn(2, 3, 4, 4, 4).requires_grad_()


@pytest.fixture
def labels():
    label_BDHW = torch.zeros(2, 4, 4, 4, dtype=torch.int64)
    label_BDHW[:, :2] = 1
    return label_BDHW


def gradient(logits, batch):
    (found,) = torch.autograd.grad(SegmentationLoss()(logits, batch), logits)
    return found


def test_how_background_and_a_class_not_drawn_share_their_probability_does_not_matter(
    logits, labels
):
    batch = a_batch(labels, (2,), (2,))
    before = SegmentationLoss()(logits, batch)
    probabilities = logits.softmax(1)
    moved = probabilities.clone()
    moved[:, 0] = 0.9 * (probabilities[:, 0] + probabilities[:, 2])
    moved[:, 2] = 0.1 * (probabilities[:, 0] + probabilities[:, 2])

    after = SegmentationLoss()(moved.log(), batch)

    assert after.item() == pytest.approx(before.item(), abs=1e-6)
    plain = Batch(batch.image_BCDHW, labels)
    assert SegmentationLoss()(moved.log(), plain).item() != pytest.approx(before.item(), abs=1e-3)


def test_only_the_cases_where_it_was_not_drawn_differ(logits, labels):
    plain = gradient(logits, Batch(torch.zeros(2, 1, 4, 4, 4), labels))
    none_missing = gradient(logits, a_batch(labels, (), ()))
    assert torch.allclose(plain, none_missing, atol=1e-7)


def test_voxels_of_a_class_that_is_said_not_to_be_drawn_count_as_background(logits, labels):
    stray = labels.clone()
    stray[:, 3] = 2
    missing = ((2,), (2,))
    first, second = (
        SegmentationLoss()(logits, a_batch(each, *missing)) for each in (stray, labels)
    )
    assert first.item() == pytest.approx(second.item(), abs=1e-6)


def test_deep_supervision_and_bfloat16_stay_finite(logits, labels):
    scales = [logits, torch.randn(2, 3, 2, 2, 2).requires_grad_()]
    loss = SegmentationLoss()([each.bfloat16() for each in scales], a_batch(labels, (2,), (1, 2)))
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each).all() for each in torch.autograd.grad(loss, scales))


@pytest.fixture
def a_set(tmp_path, write_case):
    """Four cases; b and d lack the second label."""
    made = TrainingSet.create(
        tmp_path / "set", [label_config(1, "liver"), label_config(2, "spleen")]
    )
    for index, name in enumerate("abcd"):
        image, label = tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-labels.nii.gz"
        partial = name in "bd"
        write_case(image, label, shape=(12 + index, 14, 16), values=(1,) if partial else (1, 2))
        made.add_case(name, lambda path, image=image: path.write_bytes(image.read_bytes()))
        made.save_labels(
            name,
            lambda path, label=label: path.write_bytes(label.read_bytes()),
            not_drawn=("spleen",) if partial else (),
        )
    return made


def test_batches_tell_what_was_not_drawn(a_set, tmp_path):
    found = find_cases(a_set.folder)
    assert [case.not_drawn for case in found.cases] == [(), (2,), (), (2,)]
    prepared = [
        prepare_case(case, PreprocessingConfig(patch_size=(8, 8, 8)), (1, 2), tmp_path / "prepared")
        for case in found.cases[:2]
    ]
    source = PatchSource(
        cases=prepared,
        patch_size=(8, 8, 8),
        batch_size=2,
        foreground_share=0.5,
        augmentation=Augmentation("none", (8, 8, 8), mirror_axes=(), resolution_mode=0),
        seed=1,
    )
    mask_BK = source.batch(0, range(2)).not_drawn_BK
    assert sorted(mask_BK[:, 2].tolist()) == [False, True]
    assert not mask_BK[:, :2].any()
    source = PatchSource(**{**vars(source), "cases": prepared[:1]})
    assert source.batch(0, range(2)).not_drawn_BK is None


@pytest.mark.slow
def test_a_training_neither_learns_nor_scores_it(a_set, tmp_path):
    description = json.loads((a_set.folder / "dataset.json").read_text())
    description["split"] = {"train": ["a", "b"], "validation": ["c", "d"]}
    (a_set.folder / "dataset.json").write_text(json.dumps(description))
    config = FinetuneConfig(
        data=a_set.folder,
        output=tmp_path / "model",
        network="unet3d-small",
        steps=2,
        batch_size=1,
        device="cpu",
    )
    run_finetune(config)
    with (tmp_path / "model.run/validation.csv").open() as file:
        rows = {(row["case"], row["label"]) for row in csv.DictReader(file)}
    assert rows == {("c", "liver"), ("c", "spleen"), ("d", "liver")}
