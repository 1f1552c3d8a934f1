"""The training loop: repeatable, resumable, stoppable, the same on several processes."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.data import ahead
from MISFMLib.data.datasets import Batch
from MISFMLib.errors import BundleError, ConfigError, DeviceError, TrainingError
from MISFMLib.events import Metric, Notice, Progress, ignore_events
from MISFMLib.networks import build_network
from MISFMLib.networks.base import recompute_levels
from MISFMLib.networks.trainable import choose_trainable
from MISFMLib.training import loop, parameters
from MISFMLib.training.checkpoint import read_result
from MISFMLib.training.launch import Processes, _child, _Relay
from MISFMLib.training.loop import fit
from MISFMLib.training.losses import SegmentationLoss
from MISFMLib.training.schedules import polynomial_decay
from MISFMLib.training.sealed_file import save_sealed
from MISFMLib.training.stop import stop_requests
from MISFMLib.training.task import FitSettings, Task, Validation

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SETTINGS = FitSettings(
    steps=4,
    minutes=None,
    patience=None,
    batch_size=2,
    accumulate=1,
    recompute_levels=0,
    learning_rate=1e-2,
    weight_decay=1e-3,
    optimizer="adamw",
    gradient_clip=1.0,
    validate_every=2,
    checkpoint_every=2,
    seed=3,
)


def batches(step, indices):
    """Make samples of noise and a rule that can be learnt."""
    images = []
    for index in indices:
        generator = torch.Generator().manual_seed(1000 * step + index)
        images.append(torch.randn(1, 8, 16, 16, generator=generator))
    image_BCDHW = torch.stack(images)
    return Batch(image_BCDHW, (image_BCDHW[:, 0] > 0).long())


def a_network():
    """A network with everything that could make a resumed training differ, and quick."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.PReLU(),
        nn.Dropout(0.3),
        nn.Conv3d(4, 2, 1),
    )


def a_pct_net():
    torch.manual_seed(5)
    return build_network(
        NetworkConfig(
            level_channels=(4, 4, 8, 8, 8),
            num_heads=(1, 1, 1),
            depths=(1, 1, 1),
            window_sizes=(2, 2, 2),
            dropout=(0.3,) * 5,
            deep_supervision=True,
        )
    )


def a_lora_net():
    network = a_pct_net()
    choose_trainable(network, "lora")
    return network


def run(folder, settings=SETTINGS, events=ignore_events, **task_parts):
    """Train in this process and return what the checkpoint holds."""
    folder.mkdir(exist_ok=True)
    defaults = {
        "network": a_network(),
        "batches": batches,
        "loss": SegmentationLoss(),
        "schedule": partial(polynomial_decay, steps=4),
    }
    task = Task(**defaults | task_parts)

    def training(fabric, events):
        fit(fabric, task, settings, folder / "checkpoint.pt", events)

    with Processes(CPU, torch.float32) as processes:
        processes.run(training, events=events)
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def assert_same(first, second):
    """Compare two checkpoints bit for bit, apart from the time they took."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first.keys() - {"seconds", "speed"}:
            assert_same(first[key], second[key])
    elif isinstance(first, list):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


@pytest.mark.parametrize("levels", [1, 5])
def test_recomputed_levels_change_nothing(tmp_path, levels):
    kept = run(tmp_path / "kept", network=a_pct_net())
    settings = replace(SETTINGS, recompute_levels=levels)
    assert_same(run(tmp_path / "recomputed", settings, network=a_pct_net()), kept)


def test_recomputed_levels_keep_less():
    kept_bytes = []
    for levels in range(6):
        network, kept = a_pct_net(), []
        recompute_levels(network, levels)
        with torch.autograd.graph.saved_tensors_hooks(kept.append, id):
            network(torch.randn(1, 1, 16, 32, 32))
        kept_bytes.append(sum(tensor.nbytes for tensor in kept))
    assert kept_bytes == sorted(kept_bytes, reverse=True)
    assert kept_bytes[2] < kept_bytes[0] / 2


def test_too_little_memory_is_told_with_what_helps(tmp_path):
    def loss(_outputs, _batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")

    with pytest.raises(DeviceError, match=r"2\.00 GiB\. Take") as caught:
        run(tmp_path / "run", loss=loss)
    assert caught.value.code == "out-of-memory"
    assert "--recompute-levels" in caught.value.remedy


def scoring(scores):
    """Return a validation that gives these scores in turn."""
    remaining = iter(scores)
    return lambda: Validation(next(remaining), {"dice/a": 0.5})


# ------------------------------------------------------------------------------------------ resume


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (a_pct_net, {}),
        (a_lora_net, {}),
        (a_network, {}),
        (a_network, {"optimizer": "adam"}),
        (a_network, {"accumulate": 2}),
    ],
)
def test_four_steps_are_two_and_two_bit_for_bit(tmp_path, make, options):
    settings = replace(SETTINGS, **options)
    task = {"rate": lambda name: 0.5 if "weight" in name else 1.0}
    whole = run(tmp_path / "whole", settings, network=make(), **task)

    half = run(tmp_path / "half", replace(settings, steps=2), network=make(), **task)
    assert half["step"] == 2
    resumed = run(tmp_path / "half", settings, network=make(), **task)

    assert_same(whole, resumed)
    with pytest.raises(AssertionError):
        assert_same(whole, half)


def test_the_best_weights_survive_a_resume(tmp_path):
    scores = [0.9, 0.1]
    whole = run(tmp_path / "whole", validate=scoring(scores))

    run(tmp_path / "half", replace(SETTINGS, steps=2), validate=scoring(scores[:1]))
    resumed = run(tmp_path / "half", validate=scoring(scores[1:]))

    assert_same(whole, resumed)
    result = read_result(tmp_path / "half" / "checkpoint.pt")
    assert (result.step, result.score) == (2, 0.9)
    assert result.seconds > 0


SCRIPT = """
import sys, time
from dataclasses import replace
from pathlib import Path
import torch
sys.path.insert(0, {folder!r})
import test_loop
torch.set_num_threads(1)

def slowly(step):
    time.sleep(0.3)
    return test_loop.polynomial_decay(step, 4)

settings = replace(test_loop.SETTINGS, checkpoint_every=1)
test_loop.run(Path({run!r}), settings, schedule=slowly)
"""


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_bit_for_bit(tmp_path):
    settings = replace(SETTINGS, checkpoint_every=1)
    whole = run(tmp_path / "whole", settings)
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    script = SCRIPT.format(folder=str(Path(__file__).parent), run=str(tmp_path / "killed"))
    child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script])

    while not checkpoint.exists() and child.poll() is None:
        time.sleep(0.01)
    child.kill()
    child.wait()

    assert child.returncode == -signal.SIGKILL
    assert 1 <= torch.load(checkpoint, weights_only=True)["step"] < 4
    assert_same(whole, run(tmp_path / "killed", settings))


def test_a_checkpoint_that_is_complete_stays_valid_while_the_next_is_written(tmp_path, monkeypatch):
    run(tmp_path / "a", replace(SETTINGS, steps=2))
    before = (tmp_path / "a" / "checkpoint.pt").read_bytes()

    def fail(*_arguments):
        raise OSError("killed")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Exception, match="killed"):
        run(tmp_path / "a")
    assert (tmp_path / "a" / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_an_error(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(BundleError, match="cannot be used"):
        run(tmp_path)


def flip_one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_one_changed_bit_is_noticed_and_the_checkpoint_before_goes_on_bit_for_bit(tmp_path):
    settings = replace(SETTINGS, checkpoint_every=1)
    whole = run(tmp_path / "whole", settings)
    run(tmp_path / "a", replace(settings, steps=3))
    flip_one_bit(tmp_path / "a" / "checkpoint.pt")
    events = []

    assert_same(whole, run(tmp_path / "a", settings, events.append))

    (notice,) = [event.message for event in events if isinstance(event, Notice)]
    assert "its checksum is wrong" in notice
    assert "the checkpoint before, step 2." in notice


def test_a_damaged_checkpoint_never_becomes_the_one_before(tmp_path):
    settings = replace(SETTINGS, checkpoint_every=1)
    run(tmp_path, replace(settings, steps=3))
    flip_one_bit(tmp_path / "checkpoint.pt")
    before = (tmp_path / "checkpoint.previous.pt").read_bytes()

    with pytest.raises(ZeroDivisionError):
        run(tmp_path, settings, stop_at(4))
    assert (tmp_path / "checkpoint.previous.pt").read_bytes() == before

    flip_one_bit(tmp_path / "checkpoint.previous.pt")
    flip_one_bit(tmp_path / "checkpoint.pt")
    with pytest.raises(BundleError, match="checksum is wrong"):
        run(tmp_path, settings)


def stop_at(step):
    def events(event):
        if isinstance(event, Progress) and f"step {step} " in event.message:
            raise ZeroDivisionError

    return events


def test_a_checkpoint_of_another_format_or_network_is_an_error(tmp_path):
    save_sealed({"format": 0}, tmp_path / "checkpoint.pt")
    with pytest.raises(BundleError, match="another version"):
        run(tmp_path)

    run(tmp_path / "a", replace(SETTINGS, steps=2))
    with pytest.raises(BundleError, match="cannot be used"):
        run(tmp_path / "a", network=nn.Conv3d(1, 2, 1))


# ---------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(("scores", "step", "score"), [([0.0, 0.0], 4, 0.0), ([None] * 2, 4, None)])
def test_without_a_score_that_tells_the_newest_weights_are_kept(tmp_path, scores, step, score):
    """Of held-out cases without a label, or as long as nothing is found: not the first weights."""
    content = run(tmp_path, replace(SETTINGS, patience=1), validate=scoring(scores))
    assert content["scores"] == [each for each in scores if each is not None]
    result = read_result(tmp_path / "checkpoint.pt")
    assert (result.step, result.score) == (step, score)


def test_the_loss_falls_and_a_much_higher_score_decides_which_weights_are_kept(tmp_path):
    events = []
    settings = replace(SETTINGS, steps=60, validate_every=20, checkpoint_every=60)

    content = run(
        tmp_path,
        settings,
        events.append,
        schedule=partial(polynomial_decay, steps=60),
        validate=scoring([0.5, 0.8, 0.6]),
    )

    metrics = [event for event in events if isinstance(event, Metric)]
    losses = [event.values["loss"] for event in metrics if "loss" in event.values]
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]
    assert (content["best"]["step"], content["best"]["score"]) == (40, 0.8)
    scores = [event for event in metrics if "score" in event.values]
    assert [event.values["score"] for event in scores] == [0.5, 0.8, 0.6]
    assert scores[0].values["dice/a"] == 0.5
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].fraction == 1
    assert progress[-1].eta_s == 0
    assert progress[0].eta_s > 0


@pytest.mark.parametrize(
    ("change", "later", "kept"),
    [
        ({}, Validation(0.76), (4, 0.76)),
        ({"minutes": 0.75}, Validation(0.76), (3, 0.76)),
        ({}, Validation(0.7), (2, 0.81)),
        ({}, Validation(0.76, missing=("a",)), (2, 0.81)),
    ],
    ids=["steps", "minutes", "far worse", "a label is missing"],
)
def test_at_its_end_a_training_keeps_the_last_weights_unless_they_are_far_worse(
    tmp_path, clock, change, later, kept
):
    """One held-out case cannot tell weights of like scores apart, and the last are the best."""
    first = iter([Validation(0.5), Validation(0.81)][-2 if change else -1 :])
    run(tmp_path, replace(SETTINGS, **change), validate=lambda: next(first, later))
    result = read_result(tmp_path / "checkpoint.pt")
    assert (result.step, result.score) == kept


@pytest.mark.parametrize(
    ("looks", "kept"),
    [
        ([Validation(0.8), Validation(0.7, missing=("a",))], (2, ())),
        ([Validation(0.8, missing=("a",)), Validation(0.6)], (2, ("a",))),
        ([Validation(0.6), Validation(0.7, missing=("a",))], (4, ("a",))),
    ],
    ids=["lost again", "found too late", "lost, and better all the same"],
)
def test_the_labels_that_are_not_found_are_those_of_the_weights_that_are_kept(
    tmp_path, looks, kept
):
    looks = iter(looks)
    run(tmp_path, validate=lambda: next(looks))
    result = read_result(tmp_path / "checkpoint.pt")
    assert (result.step, result.missing) == kept
    assert result.summary().get("not_found", []) == list(kept[1])


def test_a_training_that_is_asked_to_end_keeps_the_weights_of_the_highest_score(tmp_path):
    """Its rate has not come down yet, so that the last weights have no advantage."""
    settings = replace(SETTINGS, steps=100, validate_every=2)
    (tmp_path / "run").mkdir()

    def end(event):
        if isinstance(event, Metric) and event.values.get("score") == 0.81:
            (tmp_path / "run" / "control").write_text("finish")

    run(tmp_path / "run", settings, end, validate=scoring([0.81, 0.76]))
    result = read_result(tmp_path / "run" / "checkpoint.pt")
    assert (result.steps, result.step, result.score) == (3, 2, 0.81)


def test_without_validation_the_newest_weights_are_the_result(tmp_path):
    content = run(tmp_path)
    result = read_result(tmp_path / "checkpoint.pt")
    assert result.score is None
    assert_same(result.weights, content["network"])


def test_validation_sees_the_network_in_evaluation_mode_and_training_goes_on(tmp_path):
    network = a_pct_net()
    modes = []

    def validate():
        modes.append(network.training)
        with torch.inference_mode():
            network(batches(0, [0]).image_BCDHW)
        return Validation(0.5)

    run(tmp_path, network=network, validate=validate)

    assert modes == [False, False]
    assert network.training is False


def test_the_learning_rate_follows_the_schedule(tmp_path):
    events = []
    run(tmp_path, events=events.append, schedule=lambda step: 0.5 if step == 3 else 1.0)
    (metric,) = [event for event in events if isinstance(event, Metric)]
    assert metric.values["learning_rate"] == pytest.approx(0.5 * SETTINGS.learning_rate)


def test_the_rate_rises_over_steps_even_where_the_clock_runs_ahead(tmp_path, clock):
    events = []
    settings = replace(SETTINGS, steps=10**5, minutes=2, validate_every=10**5)
    options = {"schedule": lambda _step: 1.0, "rise": lambda step: min(1, (step + 1) / 100)}
    result = run(tmp_path, settings, events.append, **options)
    rates = [event.values["learning_rate"] for event in events if isinstance(event, Metric)]
    assert result["step"] < 10  # of 100 over which the rate rises, though the time is over
    assert rates[-1] == pytest.approx(SETTINGS.learning_rate * result["step"] / 100)


def test_long_gradients_are_shortened(tmp_path):
    network = nn.Conv3d(1, 2, 1)
    plain = replace(SETTINGS, steps=1, optimizer="adam", weight_decay=0.0, gradient_clip=1e-3)

    content = run(
        tmp_path, plain, network=network, loss=lambda logits, batch: 1e6 * logits.square().mean()
    )

    moments = content["optimizer"]["state"].values()
    norm = torch.cat([10 * state["exp_avg"].flatten() for state in moments]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits, batch: logits.mean() * float("nan"),
        lambda logits, batch: (logits - logits).abs().sqrt().sum(),
    ],
    ids=["loss", "gradient"],
)
def test_a_loss_or_gradient_that_is_not_finite_stops_with_its_step(tmp_path, loss):
    good = SegmentationLoss()
    calls = []

    def breaking(logits, batch):
        calls.append(0)
        return loss(logits[0], batch) if len(calls) == 3 else good(logits, batch)

    with pytest.raises(TrainingError, match="Step 3 ") as error:
        run(tmp_path, loss=breaking)
    assert error.value.code == "loss-not-finite"
    assert "--resume" in error.value.remedy
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2


def test_bfloat16_computes_the_network_in_bfloat16(tmp_path):
    seen = []

    def loss(logits, batch):
        seen.append(logits.dtype)
        return SegmentationLoss()(logits, batch)

    network = nn.Conv3d(1, 2, 3, padding=1)
    task = Task(network=network, batches=batches, loss=loss, schedule=lambda step: 1.0)

    def training(fabric, events):
        fit(fabric, task, replace(SETTINGS, steps=1), tmp_path / "checkpoint.pt", events)

    with Processes(CPU, torch.bfloat16) as processes:
        processes.run(training, events=ignore_events)

    # Fabric hands the outputs of its wrapped network back in float32.
    assert seen == [torch.float32]
    assert network.weight.dtype == torch.float32


# ---------------------------------------------------------------------- parts, rates and batches


def test_frozen_parts_stay_exactly_as_they_are(tmp_path):
    network = nn.Sequential(a_network(), nn.BatchNorm3d(2), nn.Conv3d(2, 2, 1))
    network[0].requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = []
    network[0][3].register_forward_hook(lambda module, *_: modes.append(module.training))

    content = run(tmp_path, network=network)

    changed = {name for name, value in content["network"].items() if (value != before[name]).any()}
    assert changed == {name for name in before if not name.startswith("0.")}
    assert modes == [False] * 4  # nothing is dropped either
    assert all(weight.grad is None for weight in network[0].parameters())
    assert len(content["optimizer"]["state"]) == 4


def test_each_parameter_moves_at_its_own_rate(tmp_path):
    network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Conv3d(4, 2, 1))
    before = [layer.weight.detach().clone() for layer in network]
    settings = replace(SETTINGS, steps=1, optimizer="adam", weight_decay=0.0)
    events = []

    run(
        tmp_path,
        settings,
        events.append,
        network=network,
        rate=lambda name: 0.1 if name.startswith("0.") else 1.0,
    )

    # The first step of Adam moves every number by the rate.
    moved = [
        (layer.weight.detach() - old).abs() for layer, old in zip(network, before, strict=True)
    ]
    torch.testing.assert_close(moved[0], torch.full_like(moved[0], 1e-3), rtol=0.01, atol=0)
    torch.testing.assert_close(moved[1], torch.full_like(moved[1], 1e-2), rtol=0.01, atol=0)
    (metric,) = [event for event in events if isinstance(event, Metric)]
    assert metric.values["learning_rate"] == pytest.approx(1e-2)


def a_plain_network():
    """A network in which no sample sees another."""
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.GELU(), nn.Conv3d(4, 2, 1))


def test_parts_of_a_step_give_the_gradient_of_the_whole_for_a_mean_over_samples(tmp_path):
    asked = []

    def remembered(step, indices):
        asked.append((step, list(indices)))
        return batches(step, indices)

    def loss(logits, batch):
        return nn.functional.cross_entropy(logits, batch.label_BDHW)

    results = [
        run(
            tmp_path / str(parts),
            replace(SETTINGS, batch_size=4, accumulate=parts, steps=2),
            network=a_plain_network(),
            batches=remembered,
            loss=loss,
        )
        for parts in (1, 2)
    ]

    assert asked == [
        *((step, [0, 1, 2, 3]) for step in (0, 1)),
        *((step, part) for step in (0, 1) for part in ([0, 1], [2, 3])),
    ]
    whole, in_parts = (content["network"] for content in results)
    torch.testing.assert_close(in_parts, whole, rtol=1e-5, atol=1e-6)
    assert [content["speed"]["seen"] for content in results] == [8, 8]


def test_parts_of_a_step_give_the_mean_of_their_gradients_and_losses(tmp_path):
    loss, network = SegmentationLoss(), a_plain_network()
    losses = [
        loss(network(batch.image_BCDHW), batch) for batch in (batches(0, [0]), batches(0, [1]))
    ]
    mean = torch.stack(losses).mean()
    mean.backward()
    expected = [weight.grad.clone() for weight in network.parameters()]
    events = []

    content = run(
        tmp_path,
        replace(
            SETTINGS,
            steps=1,
            accumulate=2,
            optimizer="adam",
            weight_decay=0.0,
            gradient_clip=1e9,
        ),
        events.append,
        network=a_plain_network(),
    )

    moments = content["optimizer"]["state"].values()
    for state, gradient in zip(moments, expected, strict=True):
        torch.testing.assert_close(10 * state["exp_avg"], gradient, rtol=1e-4, atol=1e-6)
    (metric,) = [event for event in events if isinstance(event, Metric)]
    assert metric.values["loss"] == pytest.approx(mean.item(), rel=1e-5)


def test_the_checkpoint_tells_how_fast_loader_and_network_are(tmp_path):
    run(tmp_path, replace(SETTINGS, steps=2))
    run(tmp_path, SETTINGS)
    result = read_result(tmp_path / "checkpoint.pt")
    assert (result.speed.steps, result.speed.seen, result.speed.made) == (4, 8, 8)
    assert min(result.summary()["speed"].values()) > 0


def test_several_threads_make_the_samples_for_a_gpu_and_change_nothing(tmp_path, monkeypatch):
    one = run(tmp_path / "one")
    makers = set()

    def seen_batches(step, indices):
        makers.add(threading.get_ident())
        time.sleep(0.05)
        return batches(step, indices)

    monkeypatch.setattr(loop, "makers_for", lambda _device: 3)
    three = run(tmp_path / "three", batches=seen_batches)
    assert len(makers) == 3
    assert three["speed"]["makers"] == 3
    assert_same(three, one)


@pytest.mark.parametrize(
    ("device", "cores", "makers"), [("cpu", 8, 1), ("cuda", 8, 4), ("cuda", 1, 1)]
)
def test_a_gpu_is_fed_by_as_many_threads_as_there_are_cores_to_spare(
    monkeypatch, device, cores, makers
):
    monkeypatch.setattr(ahead, "usable_cores", lambda: cores)
    assert ahead.makers_for(torch.device(device)) == makers


def test_the_optimizer_is_fused_on_the_cpu_whatever_the_checkpoint_says(tmp_path, monkeypatch):
    kinds = []

    class Remembering(torch.optim.Adam):
        def step(self, *arguments):
            kinds.append(self.param_groups[0]["fused"])
            return super().step(*arguments)

    monkeypatch.setitem(parameters._KINDS, "adam", Remembering)
    settings = replace(SETTINGS, optimizer="adam")
    run(tmp_path, replace(settings, steps=2))
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    content["optimizer"]["param_groups"][0]["fused"] = None
    torch.save(content, tmp_path / "checkpoint.pt")

    run(tmp_path, settings)

    assert kinds == [True] * 4


def test_a_checkpoint_of_an_earlier_version_can_be_resumed(tmp_path):
    whole = run(tmp_path / "whole")
    run(tmp_path, replace(SETTINGS, steps=2))
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for name in ("speed", "scores", "ended_early", "missing", "stalled_at"):
        del content[name]
    torch.save(content, tmp_path / "checkpoint.pt")
    assert read_result(tmp_path / "checkpoint.pt").ended_early == ""
    assert_same(run(tmp_path), whole)


# -------------------------------------------------------------------------------------- early ends


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by fifteen seconds each time it is read."""
    readings = itertools.count(0, 15)
    clock = SimpleNamespace(monotonic=lambda: next(readings))
    monkeypatch.setattr("MISFMLib.training.loop.time", clock)


def test_a_time_budget_ends_the_training_with_a_validation(tmp_path, clock):
    events = []
    settings = replace(SETTINGS, steps=10, minutes=0.75, validate_every=100)
    options = {
        "validate": scoring([0.1, 0.2, 0.5]),
        "schedule": partial(polynomial_decay, steps=10, power=1),
    }

    run(tmp_path, settings, events.append, **options)

    result = read_result(tmp_path / "checkpoint.pt")
    assert (result.steps, result.ended_early, result.step, result.score) == (3, "minutes", 3, 0.5)
    metrics = [event for event in events if isinstance(event, Metric)]
    # The last step began when two thirds of the time were over.
    assert metrics[-1].values["learning_rate"] == pytest.approx(SETTINGS.learning_rate / 3)
    (progress,) = [event for event in events if isinstance(event, Progress)]
    assert (progress.fraction, progress.eta_s) == (1, 0)


def test_a_training_by_the_clock_is_judged_after_each_quarter_of_its_time(tmp_path, clock):
    """However few steps fit into it: what is not found then has time to be learnt."""
    events = []
    settings = replace(SETTINGS, steps=100, minutes=4, validate_every=100)
    run(tmp_path, settings, events.append, validate=scoring([0.1, 0.2, 0.3, 0.4]))
    metrics = [event for event in events if isinstance(event, Metric)]
    assert [metric.step for metric in metrics if "score" in metric.values] == [4, 8, 12, 16]


def test_a_training_that_ended_early_does_not_go_on(tmp_path, clock):
    settings = replace(SETTINGS, steps=10, minutes=0.75)
    ended = run(tmp_path, settings)
    asked = []
    again = run(tmp_path, settings, batches=lambda *step: asked.append(step))
    assert_same(ended, again)
    assert not asked


def test_the_time_of_earlier_sessions_counts(tmp_path, clock):
    settings = replace(SETTINGS, steps=10, minutes=1)
    run(tmp_path, replace(settings, steps=2))
    assert run(tmp_path, settings)["step"] == 4


def test_a_budget_that_is_large_enough_changes_nothing(tmp_path):
    settings = replace(SETTINGS, minutes=1000)
    assert_same(run(tmp_path / "a", settings), run(tmp_path / "b"))


def test_steps_that_are_all_done_are_no_early_end(tmp_path, clock):
    assert run(tmp_path, replace(SETTINGS, steps=2, minutes=0.5))["ended_early"] == ""


def test_a_score_that_has_stopped_rising_lets_the_rate_fall_to_zero_and_ends(tmp_path):
    events = []
    settings = replace(SETTINGS, steps=60, patience=2)
    options = {"schedule": partial(polynomial_decay, steps=60, power=1)}
    looks = scoring([0.5, 0.6, 0.4, 0.5, 0.7])
    run(tmp_path, settings, events.append, validate=looks, **options)
    result = read_result(tmp_path / "checkpoint.pt")
    # Stalled after 8 steps, a short way down follows, of the length between two looks.
    assert (result.ended_early, result.steps, result.step, result.score) == (
        "patience",
        10,
        10,
        0.7,
    )
    rates = [
        e.values["learning_rate"] for e in events if isinstance(e, Metric) and "loss" in e.values
    ]
    assert rates[-1] == pytest.approx(SETTINGS.learning_rate * (1 - (8 + 52 / 2) / 60))
    assert [e for e in events if isinstance(e, Progress)][-1].fraction == 1


def test_a_training_that_was_stopped_on_its_way_down_resumes_bit_for_bit(tmp_path):
    settings = replace(SETTINGS, steps=60, patience=2, checkpoint_every=1)
    options = {"schedule": partial(polynomial_decay, steps=60)}
    scores = [0.5, 0.6, 0.4, 0.5, 0.7]
    whole = run(tmp_path / "whole", settings, validate=scoring(scores), **options)

    def stop_on_the_way(event):
        if isinstance(event, Metric) and event.step == 8:
            raise SystemExit

    looks = scoring(scores)
    with pytest.raises(SystemExit):
        run(
            tmp_path,
            replace(settings, validate_every=2),
            stop_on_the_way,
            validate=looks,
            **options,
        )
    assert_same(run(tmp_path, settings, validate=scoring(scores[3:]), **options), whole)


def test_patience_waits_until_all_that_is_to_be_learnt_has_begun_to_be(tmp_path):
    found = [False, False, True, False, *[True] * 4]
    missing = [() if is_found else ("small",) for is_found in found]
    looks = iter([Validation(0.3, missing=names) for names in missing])
    events, attended = [], []
    settings = replace(SETTINGS, steps=20, patience=2)
    run(tmp_path, settings, events.append, validate=lambda: next(looks), attend=attended.append)
    result = read_result(tmp_path / "checkpoint.pt")
    assert (result.ended_early, result.steps) == ("patience", 2 * len(found))
    assert attended == missing
    told = [event.message for event in events if isinstance(event, Notice)]
    assert [("small" in text, text.startswith("All")) for text in told] == [
        *[(True, False)] * 2,
        (False, True),
        (True, False),
        (False, True),
    ]


def test_what_was_missing_is_attended_to_again_when_a_training_goes_on(tmp_path):
    look = Validation(0.1, missing=("small",))
    run(tmp_path, replace(SETTINGS, steps=2), validate=lambda: look)
    attended = []
    run(tmp_path, validate=lambda: look, attend=attended.append)
    assert attended[0] == ("small",)
    assert read_result(tmp_path / "checkpoint.pt").summary()["not_found"] == ["small"]


def test_patience_remembers_the_scores_of_earlier_sessions(tmp_path):
    settings = replace(SETTINGS, steps=20, patience=2)
    run(tmp_path, replace(settings, steps=4), validate=scoring([0.5, 0.5]))
    assert run(tmp_path, settings, validate=scoring([0.5, 0.5]))["step"] == 8


def test_without_patience_a_flat_score_ends_nothing(tmp_path):
    assert run(tmp_path, validate=scoring([0.5] * 2))["ended_early"] == ""


# ------------------------------------------------------------------------------------------- stop


@pytest.mark.signals
def test_a_stop_request_saves_at_the_next_step_and_ends(tmp_path):
    def loss(logits, batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return SegmentationLoss()(logits, batch)

    settings = replace(SETTINGS, checkpoint_every=100)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, settings, loss=loss)

    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 1
    assert_same(run(tmp_path / "whole", settings), run(tmp_path, settings))


@pytest.mark.signals
def test_a_second_stop_request_ends_at_once():
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_outside_the_main_thread_signals_are_left_alone():
    handlers = []

    def enter():
        with stop_requests() as stop:
            handlers.append((signal.getsignal(signal.SIGINT), stop.requested))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [(signal.getsignal(signal.SIGINT), False)]


def test_signals_are_as_before_after_the_training(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(tmp_path, replace(SETTINGS, steps=1))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


# -------------------------------------------------------------------------------- several processes


def train_anywhere(fabric, folder, settings, events):
    """Train a network whose result does not depend on the samples that one process sees."""
    torch.set_num_threads(1)
    task = Task(
        network=a_plain_network(),
        batches=batches,
        loss=SegmentationLoss(),
        schedule=lambda step: 1.0,
        validate=lambda: Validation(0.5),
    )
    fit(fabric, task, settings, Path(folder) / "checkpoint.pt", events)


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Launch a training of this file by its name; new processes find it through PYTHONPATH."""
    folder = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", folder)
    monkeypatch.syspath_prepend(folder)
    module = importlib.import_module("test_loop")

    def launch_here(devices):
        events = []
        run_folder = tmp_path / str(devices)
        run_folder.mkdir()
        settings = replace(SETTINGS, batch_size=4, accumulate=2, minutes=60, patience=2, steps=9)
        with Processes(CPU, torch.float32, devices) as processes:
            processes.run(module.train_anywhere, str(run_folder), settings, events=events.append)
        return read_result(run_folder / "checkpoint.pt"), events

    return launch_here


@pytest.mark.slow
def test_two_processes_give_what_one_gives(launched):
    one, events_of_one = launched(1)
    two, events_of_two = launched(2)

    for name, value in one.weights.items():
        torch.testing.assert_close(two.weights[name], value, rtol=1e-5, atol=1e-6)
    numbers = [
        [(event.step, event.values) for event in events if isinstance(event, Metric)]
        for events in (events_of_one, events_of_two)
    ]
    assert len(numbers[0]) == len(numbers[1]) == 5
    assert (one.ended_early, one.steps) == (two.ended_early, two.steps) == ("patience", 8)
    for (step, values), (other_step, other_values) in zip(*numbers, strict=True):
        assert step == other_step
        assert values == pytest.approx(other_values, rel=1e-5)


@pytest.mark.parametrize(
    "error", [TrainingError("It failed.", code="failed", remedy="Try again."), KeyboardInterrupt()]
)
def test_what_ends_a_training_elsewhere_is_raised_here(error):
    def training(_fabric, events):
        events(Metric(1, {"loss": 0.5}))
        raise error

    received = []
    with _Relay(received.append) as relay:
        with contextlib.suppress(TrainingError):
            _child(training, (), relay.queue, None)
        with pytest.raises(type(error)) as raised:
            relay.raise_failure()
    assert str(raised.value) == str(error)
    assert received == [Metric(1, {"loss": 0.5})]


def test_more_devices_than_the_machine_has_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="2 devices were asked for, this machine has 1"):
        Processes(torch.device("cuda"), torch.float32, 2)


def test_what_lightning_remarks_is_not_told(caplog):
    caplog.set_level(logging.INFO)
    Processes(torch.device("cpu"), torch.bfloat16)
    assert not caplog.records
