"""A training is paused, ended or held up from outside, between two steps."""

from __future__ import annotations

import os
import time

import pytest

from MISFMLib.foreground import Claim, claims_folder, is_claimed

torch = pytest.importorskip("torch")

from MISFMLib.configs import FinetuneConfig  # noqa: E402
from MISFMLib.data.datasets import Batch  # noqa: E402
from MISFMLib.events import Metric, ignore_events  # noqa: E402
from MISFMLib.jobs.train.training_run import fit_settings  # noqa: E402
from MISFMLib.models import store  # noqa: E402
from MISFMLib.training import stop  # noqa: E402
from MISFMLib.training.checkpoint import read_result  # noqa: E402
from MISFMLib.training.launch import Processes  # noqa: E402
from MISFMLib.training.loop import fit  # noqa: E402
from MISFMLib.training.task import Task, Validation  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def batches(step, indices):
    generator = torch.Generator().manual_seed(step)
    image_BCDHW = torch.randn(len(indices), 1, 4, 4, 4, generator=generator)
    return Batch(image_BCDHW, (image_BCDHW[:, 0] > 0).long())


def run(folder, events=ignore_events):
    """Train four steps with a validation at each, and return what the checkpoint holds."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    settings = {"steps": 4, "validate_every": 1, "learning_rate": 1e-3}
    config = FinetuneConfig(data=folder, output=folder, **settings)
    task = Task(
        network=torch.nn.Conv3d(1, 2, 1),
        batches=batches,
        loss=lambda logits, batch: torch.nn.functional.cross_entropy(logits, batch.label_BDHW),
        schedule=lambda _step: 1.0,
        validate=lambda: Validation(0.5),
    )
    with Processes(torch.device("cpu"), torch.float32) as processes:
        processes.run(
            lambda fabric, sink: fit(
                fabric, task, fit_settings(config), folder / "checkpoint.pt", sink
            ),
            events=events,
        )
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def asking(folder, word, after):
    """Return an event sink that writes a word once a step was reported."""

    def listen(event):
        if isinstance(event, Metric) and event.step >= after:
            (folder / "control").write_text(word)

    return listen


def test_a_paused_training_goes_on_to_the_same_weights(tmp_path):
    whole = run(tmp_path / "whole")
    folder = tmp_path / "paused"
    with pytest.raises(KeyboardInterrupt):
        run(folder, events=asking(folder, "pause", 2))
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == 3

    (folder / "control").unlink()
    resumed = run(folder)

    for name, value in whole["network"].items():
        assert torch.equal(value, resumed["network"][name])


def test_a_training_that_shall_finish_ends_after_the_step_and_keeps_its_best(tmp_path):
    run(tmp_path, events=asking(tmp_path, "finish", 2))

    result = read_result(tmp_path / "checkpoint.pt")
    assert (result.ended_early, result.steps, result.score) == ("request", 3, 0.5)


def test_other_words_and_no_file_ask_for_nothing(tmp_path):
    assert stop.StopRequest(tmp_path / "control").request() == ""
    (tmp_path / "control").write_text("sing")
    assert stop.StopRequest(tmp_path / "control").request() == ""
    assert stop.StopRequest().request() == ""


def test_a_training_waits_while_somebody_waits_for_a_segmentation(tmp_path, monkeypatch):
    monkeypatch.setattr(stop, "_LOOK_AGAIN_S", 0.01)
    claim = Claim(claims_folder(store.home()))
    claim.renew()
    looks = iter([""] * 5)

    def look():
        word = next(looks, None)
        if word is None:
            claim.release()
        return ""

    assert stop.yielded_s(look) > 0.05
    assert stop.yielded_s(look) == 0.0


def test_waiting_is_not_counted_as_training(tmp_path, monkeypatch):
    monkeypatch.setattr("MISFMLib.training.loop.yielded_s", lambda _stop: time.sleep(0.3) or 0.3)
    state = run(tmp_path)
    assert state["seconds"] < 0.3


def test_a_claim_that_nobody_renews_is_void(tmp_path):
    claim = Claim(tmp_path)
    assert not is_claimed(tmp_path)
    claim.renew()
    assert is_claimed(tmp_path)
    (file,) = tmp_path.iterdir()
    os.utime(file, (time.time() - 60, time.time() - 60))
    assert not is_claimed(tmp_path)
    assert list(tmp_path.iterdir()) == []
    claim.release()


def test_a_claim_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    claim = Claim(tmp_path / "file")
    claim.renew()
    claim.release()
