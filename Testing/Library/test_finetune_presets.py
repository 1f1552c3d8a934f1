"""Presets of `misfm finetune`, and the networks that it knows by name."""

from __future__ import annotations

import typing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from MISFMLib import cli
from MISFMLib.commands.jobs import FinetunePreset
from MISFMLib.configs import (
    FinetuneConfig,
)
from MISFMLib.jobs.train import start as training_start
from MISFMLib.jobs.train.finetune import run_finetune
from MISFMLib.networks import build_network
from MISFMLib.resources import read_preset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", typing.get_args(FinetunePreset))
def test_a_preset_takes_the_place_of_the_defaults_but_not_of_own_options(name, a_job):
    words = ["finetune", "data", "-o", "model", "--init", "start"]
    assert cli.main([*words, "--preset", name]) == 0
    assert cli.main([*words, f"--preset={name}", "--steps", "7", "--augmentation", "none"]) == 0
    assert cli.main(words) == 0

    preset, own, plain = a_job
    assert (preset.data, preset.output, preset.init) == (Path("data"), Path("model"), "start")
    assert preset.augmentation == "strong"
    assert preset.steps is not None
    assert plain.steps is None
    assert own == replace(preset, steps=7, augmentation="none")
    assert plain == FinetuneConfig(data=Path("data"), output=Path("model"), init="start")


def test_one_shot_learns_from_all_cases_and_few_shot_ends_early(a_job):
    for name in ("one-shot", "few-shot"):
        cli.main(["finetune", "data", "-o", "model", "--preset", name])
    one, few = a_job
    assert (one.validation_fraction, one.patience) == (0, None)
    assert few.validation_fraction > 0
    assert few.patience * few.validate_every < few.steps


def test_a_preset_of_another_command_is_refused(a_job, capsys):
    with pytest.raises(SystemExit):
        cli.main(["finetune", "data", "-o", "model", "--preset", "laptop"])
    assert "few-shot" in capsys.readouterr().err
    assert not a_job


def test_one_case_is_enough_for_one_shot(config, a_set, a_job):
    for name in "bcd":
        (a_set / f"labelsTr/{name}.nii.gz").unlink()
        (a_set / f"imagesTr/{name}.nii.gz").unlink()
    cli.main(["finetune", str(a_set), "-o", "model", "--preset", "one-shot"])
    preset = {name: getattr(a_job[0], name) for name in read_preset("finetune-one-shot")}

    report = run_finetune(config(**preset | {"steps": 1}))

    assert (report["steps"], report["evaluation"]) == (1, {})


@pytest.mark.parametrize("network", ["small", "full", "fmunet", "unet3d"])
def test_every_preset_builds_its_network(network):
    start = training_start.find_start(FinetuneConfig(data="x", output="y", network=network))

    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in build_network(start.network).parameters())

    assert start.source is None
    largest = {"small": 3.9e6, "full": 45e6}.get(network, 12e6)
    assert 0.6 * largest * (network in ("small", "full")) < weights <= largest
