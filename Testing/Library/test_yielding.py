"""A training gives way to a segmentation: between steps, windows of a validation, and cases."""

from __future__ import annotations

import os
import threading
import time

import pytest

from MISFMLib.events import Notice, ignore_events
from MISFMLib.foreground import Claim, claimed, claims_folder, is_claimed
from MISFMLib.models import store

torch = pytest.importorskip("torch")

from MISFMLib.data.datasets import Batch  # noqa: E402
from MISFMLib.training.launch import Processes  # noqa: E402
from MISFMLib.training.loop import fit  # noqa: E402
from MISFMLib.training.stop import yielding, yielding_events  # noqa: E402
from MISFMLib.training.task import FitSettings, Task, Validation  # noqa: E402

HELD_S = 0.4


@pytest.fixture
def segmentation():
    """A segmentation that somebody waits for, which ends by itself."""
    claim = Claim(claims_folder(store.home()))

    def begin():
        claim.renew()
        threading.Timer(HELD_S, claim.release).start()

    return begin


def seconds_of(function, *arguments):
    began = time.monotonic()
    function(*arguments)
    return time.monotonic() - began


def test_a_claim_that_nobody_renews_any_more_holds_nothing_up():
    folder = claims_folder(store.home())
    Claim(folder).renew()
    assert is_claimed(folder)
    (file,) = folder.iterdir()
    os.utime(file, (0, time.time() - 60))
    assert not is_claimed(folder)
    assert not list(folder.iterdir())


def test_claims_say_what_they_are_for(tmp_path):
    mine, theirs = Claim(tmp_path, "case 1.5"), Claim(tmp_path, "b")
    mine.renew()
    theirs.renew()
    assert sorted(claimed(tmp_path)) == ["b", "case 1.5"]
    mine.release()
    assert claimed(tmp_path) == ["b"]


def test_a_claim_on_what_was_moved_leaves_no_empty_folder(tmp_path):
    """Whoever renamed a shared training set while a case was open found one of the old name."""
    claim = Claim(tmp_path / "set" / "open", "case")
    claim.renew()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "set").mkdir()
    Claim(tmp_path / "set" / "open", "case").renew()
    assert claimed(tmp_path / "set" / "open") == ["case"]


def test_a_validation_waits_between_its_windows(segmentation):
    network = torch.nn.Identity()
    with yielding(network, lambda: "") as waited_s:
        segmentation()
        assert seconds_of(network, torch.zeros(1)) >= HELD_S
        assert seconds_of(network, torch.zeros(1)) < HELD_S
    assert sum(waited_s) == pytest.approx(HELD_S, abs=0.3)
    segmentation()
    assert seconds_of(network, torch.zeros(1)) < HELD_S


def test_a_pause_that_is_asked_for_ends_the_waiting(segmentation):
    network = torch.nn.Identity()
    with yielding(network, lambda: "pause"):
        segmentation()
        assert seconds_of(network, torch.zeros(1)) < HELD_S


def test_work_outside_of_the_steps_waits_after_each_event(segmentation):
    heard = []
    events = yielding_events(heard.append)
    segmentation()
    assert seconds_of(events, Notice("a case is read")) >= HELD_S
    assert len(heard) == 1


def test_the_time_in_which_a_validation_waits_is_not_the_trainings(segmentation, tmp_path):
    network = torch.nn.Conv3d(1, 2, 1)

    def batches(_step, indices):
        image_BCDHW = torch.zeros(len(indices), 1, 2, 2, 2)
        return Batch(image_BCDHW, torch.zeros(len(indices), 2, 2, 2, dtype=torch.long))

    def validate():
        segmentation()
        network(torch.zeros(1, 1, 2, 2, 2))
        return Validation(0.5)

    task = Task(
        network=network,
        batches=batches,
        loss=lambda logits, batch: torch.nn.functional.cross_entropy(logits, batch.label_BDHW),
        schedule=lambda _step: 1.0,
        validate=validate,
    )
    settings = FitSettings(
        steps=3,
        minutes=None,
        patience=None,
        batch_size=1,
        accumulate=1,
        recompute_levels=0,
        learning_rate=1e-3,
        weight_decay=0.0,
        optimizer="adamw",
        gradient_clip=1.0,
        validate_every=1,
        checkpoint_every=3,
        seed=1,
    )
    states = []
    began = time.monotonic()
    with Processes(torch.device("cpu"), torch.float32) as processes:
        processes.run(
            lambda fabric, events: states.append(
                fit(fabric, task, settings, tmp_path / "checkpoint.pt", events)
            ),
            events=ignore_events,
        )
    elapsed = time.monotonic() - began
    assert elapsed >= 3 * HELD_S
    assert states[0].seconds < elapsed - 2 * HELD_S + 0.1
