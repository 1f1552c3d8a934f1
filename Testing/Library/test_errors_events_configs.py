"""The contract between the command, the jobs and Slicer: errors, events and settings."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from MISFMLib import errors, events
from MISFMLib.configs import (
    Code,
    FinetuneConfig,
    IntensityConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    SegmentConfig,
    decode,
    encode,
)
from MISFMLib.errors import ConfigError, JobCancelled, MISFMError

CHILDREN = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, MISFMError) and value is not JobCancelled
]

# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("error_class", CHILDREN)
def test_an_error_tells_cause_code_and_remedy(error_class):
    error = error_class("Three channels were given, one was expected.", code="c", remedy="Do this.")
    assert error.message == "Three channels were given, one was expected."
    assert (error.code, error.remedy) == ("c", "Do this.")
    assert str(error) == "Three channels were given, one was expected. Do this."


def test_every_kind_of_error_has_its_own_exit_code():
    codes = [error_class.exit_code for error_class in (*CHILDREN, JobCancelled)]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 256 for code in codes)


def test_a_cancel_needs_no_remedy_and_exits_as_an_interrupt_does():
    error = JobCancelled()
    assert str(error) == "Cancelled."
    assert error.code == "cancelled"
    assert error.exit_code == 128 + 2


# ------------------------------------------------------------------------------------------ events

EVENTS = [
    events.Progress("segment", 0.5),
    events.Progress("读取", 1.0, "Größe\nzweite Zeile", eta_s=2.5),
    events.Metric(10, {"loss": 0.25, "dice/left atrium": 0.9}),
    events.Notice("The GPU is full; the CPU goes on."),
    events.Notice("Reading.", level="info"),
    events.Measured("liver", "cpu", "PyTorch 2.13.0", 0.5, 400_000_000, can_convert=True),
    events.CaseDone("case 1", "done", outputs=("a.nrrd", "b.csv")),
    events.CaseDone("case 2", "failed", message="It is 2D."),
    events.Finished({"labels": [{"name": "Liver", "ml": 1500.5}], "device": None}),
    events.Finished(),
    events.Failed("It is 2D.", "not-3d", remedy="Give a volume.", traceback="Traceback …"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_its_way_as_one_line_of_ascii(event):
    line = events.event_to_json(event)
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line)["event"] == type(event).__name__
    assert events.event_from_json(line) == event


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Epoch 1 of 10",
        "[1, 2]",
        '"Progress"',
        "{}",
        '{"event": "Explosion"}',
        '{"event": "Progress"}',
        '{"event": "Finished", "surprise": 1}',
        '{"event": "CaseDone", "case": "a", "status": "done", "outputs": 3}',
        '{"event": ["Progress"]}',
    ],
)
def test_a_line_that_is_no_event_is_refused(line):
    with pytest.raises(ValueError, match=r"Not a|Expecting value"):
        events.event_from_json(line)


def test_ignored_events_leave_no_trace():
    assert events.ignore_events(EVENTS[0]) is None


# ----------------------------------------------------------------------------------- configs: JSON


@dataclasses.dataclass(frozen=True)
class Everything:
    """One field for each kind of value that settings hold."""

    number: float
    count: int = 1
    name: str = "a"
    on: bool = False
    place: Path = Path("a")
    label: LabelConfig | None = None
    labels: tuple[LabelConfig, ...] = ()
    size: tuple[int, int, int] = (1, 2, 3)
    limits: tuple[float, ...] | None = None
    table: dict[str, Any] = dataclasses.field(default_factory=dict)
    anything: Any = None


FULL_CONFIGS = [
    NetworkConfig(patch_size=(16, 32, 48), level_channels=(8, 16, 32, 64, 128)),
    PreprocessingConfig(
        modality="MR",
        channels=("T1", "FLAIR"),
        intensity=(IntensityConfig(), IntensityConfig(scheme="mr-percentile", clip=(0.5, 99.5))),
        spacing_dhw=(3.0, 1.0, 1.0),
    ),
    LabelConfig(value=2, name="Niere", modifier=Code("7771000", "SCT", "Left")),
    SegmentConfig(images=(Path("a.nrrd"), Path("b")), model="m", output=Path("o"), threads=2),
    FinetuneConfig(data=Path("d"), output=Path("o"), resolution_mode=2, patch_size=(8, 16, 16)),
    Everything(
        0.5,
        label=LabelConfig(value=1, name="Liver"),
        labels=(LabelConfig(value=3, name="Milz"),),
        limits=(0.25,),
        table={"nested": {"list": [1, "x", None]}},
        anything=["x"],
    ),
]


@pytest.mark.parametrize("config", FULL_CONFIGS, ids=lambda config: type(config).__name__)
def test_settings_survive_their_way_through_json(config):
    values = json.loads(json.dumps(encode(config)))
    assert decode(type(config), values) == config


def test_missing_values_take_the_defaults():
    assert decode(Everything, {"number": 1}) == Everything(1.0)
    assert decode(NetworkConfig, {}) == NetworkConfig()


def test_a_whole_number_is_accepted_for_a_float_and_becomes_one():
    number = decode(Everything, {"number": 2}).number
    assert isinstance(number, float)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"number": 1.0, "colour": 1}, "no setting 'colour'"),
        ({}, "needs number"),
        ({"number": "much"}, "number is 'much', expected float"),
        ({"number": True}, "number is True, expected float"),
        ({"number": 1.0, "count": 1.5}, "count is 1.5, expected int"),
        ({"number": 1.0, "count": True}, "count is True, expected int"),
        ({"number": 1.0, "name": 3}, "name is 3, expected str"),
        ({"number": 1.0, "on": 1}, "on is 1, expected bool"),
        ({"number": 1.0, "place": 1}, "place is 1, expected Path"),
        ({"number": 1.0, "label": "Liver"}, "label is 'Liver', a JSON object was expected"),
        ({"number": 1.0, "label": {"value": 1}}, "LabelConfig needs name"),
        ({"number": 1.0, "labels": {}}, "labels is {}, a list was expected"),
        ({"number": 1.0, "labels": [1]}, "labels is 1, a JSON object was expected"),
        ({"number": 1.0, "size": [1, 2]}, "it needs 3 values"),
        ({"number": 1.0, "size": [1, 2, "3"]}, "size is '3', expected int"),
        ({"number": 1.0, "limits": [None]}, "limits is None, expected float"),
        ({"number": 1.0, "table": [1]}, "table is [1], a JSON object was expected"),
    ],
)
def test_a_wrong_value_is_named(values, words):
    with pytest.raises(ConfigError) as caught:
        decode(Everything, values)
    assert words in caught.value.message
    assert caught.value.code == "bad-option"
    assert caught.value.remedy


def test_a_choice_outside_the_list_is_answered_with_the_list():
    with pytest.raises(ConfigError, match="allowed are pctnet, fmunet, unet3d"):
        decode(NetworkConfig, {"architecture": "resnet"})


def test_all_unknown_and_missing_names_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        decode(SegmentConfig, {"image": "a", "net": "b"})
    for word in ("'image'", "'net'", "needs images", "needs model", "needs output"):
        assert word in caught.value.message


# --------------------------------------------------------------------------------- configs: limits


def segment(**changes: Any) -> SegmentConfig:
    given = {"images": (Path("a"),), "model": "m", "output": Path("o")}
    return SegmentConfig(**given | changes)


def finetune(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig(data=Path("d"), output=Path("o"), **changes)


@pytest.mark.parametrize(
    ("make", "changes", "words"),
    [
        (NetworkConfig, {"in_channels": 0}, "in_channels is 0"),
        (NetworkConfig, {"num_classes": 0}, "num_classes is 0"),
        (NetworkConfig, {"level_channels": (8, 16)}, "level_channels needs 5 values"),
        (NetworkConfig, {"dropout": (0.0,)}, "dropout needs 5 values"),
        (NetworkConfig, {"depths": (2, 2)}, "depths needs 3 values"),
        (NetworkConfig, {"num_heads": (4, 8)}, "num_heads needs 3 values"),
        (NetworkConfig, {"window_sizes": ()}, "window_sizes needs 3 values"),
        (NetworkConfig, {"num_heads": (5, 8, 16)}, "128 channels cannot be shared by 5"),
        (NetworkConfig, {"num_heads": (0, 8, 16)}, "128 channels cannot be shared by 0"),
        (NetworkConfig, {"resolution_mode": 3}, "resolution_mode is 3"),
        (PreprocessingConfig, {"channels": ("a", "b")}, "1 intensity schemes for 2 channels"),
        (PreprocessingConfig, {"patch_size": (0, 8, 8)}, "patch_size is (0, 8, 8)"),
        (PreprocessingConfig, {"spacing_dhw": (0.0, 1.0, 1.0)}, "spacing_dhw is (0.0, 1.0, 1.0)"),
        (segment, {"images": ()}, "no image was given"),
        (segment, {"overlap": 1.0}, "overlap is 1.0"),
        (segment, {"overlap": -0.1}, "overlap is -0.1"),
        (segment, {"batch_size": 0}, "batch_size is 0"),
        (segment, {"threads": 0}, "threads is 0"),
        (finetune, {"trainable": "head"}, "head needs trained weights to start from: init"),
        (finetune, {"trainable": "decoder"}, "decoder needs trained weights to start from: init"),
        (finetune, {"trainable": "lora"}, "lora needs trained weights to start from: init"),
        (finetune, {"init_parts": "encoder"}, "init_parts encoder needs init"),
        (finetune, {"layer_decay": 0.0}, "layer_decay is 0.0"),
        (finetune, {"layer_decay": 1.1}, "layer_decay is 1.1"),
        (
            finetune,
            {"layer_decay": 0.5, "trainable": "decoder", "init": "a"},
            "layer_decay does nothing with trainable decoder",
        ),
        (finetune, {"minutes": 0.0}, "minutes is 0.0"),
        (finetune, {"patience": 0}, "patience is 0"),
        (finetune, {"accumulate": 0}, "accumulate is 0"),
        (finetune, {"threads": 0}, "threads is 0"),
        (finetune, {"steps": 0}, "steps is 0"),
        (finetune, {"batch_size": 0}, "batch_size is 0"),
        (finetune, {"validate_every": 0}, "validate_every is 0"),
        (finetune, {"checkpoint_every": 0}, "checkpoint_every is 0"),
        (finetune, {"devices": 0}, "devices is 0"),
        (finetune, {"validation_fraction": 1.5}, "validation_fraction is 1.5"),
        (finetune, {"foreground_share": -0.5}, "foreground_share is -0.5"),
        (finetune, {"learning_rate": 0.0}, "learning_rate is 0.0"),
        (finetune, {"gradient_clip": 0.0}, "gradient_clip is 0.0"),
        (finetune, {"mirror_axes": (0, 3)}, "mirror_axes is (0, 3)"),
    ],
)
def test_a_value_outside_its_limits_is_refused(make, changes, words):
    with pytest.raises(ConfigError) as caught:
        make(**changes)
    assert words in caught.value.message


def test_values_at_their_limits_are_accepted():
    assert segment(overlap=0.0, batch_size=1, threads=1).overlap == 0
    assert finetune(validation_fraction=0.0, foreground_share=1.0, mirror_axes=()).mirror_axes == ()


def test_attention_settings_are_not_asked_of_other_networks():
    config = NetworkConfig(architecture="unet3d", depths=(), num_heads=(), window_sizes=())
    assert config.num_heads == ()


def test_all_problems_of_a_config_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        segment(images=(), overlap=2.0, batch_size=0, threads=0)
    assert caught.value.message.count(";") == 3


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NetworkConfig().num_classes = 3


def test_numbers_that_json_does_not_know_become_null():
    line = events.event_to_json(events.Metric(3, {"loss": float("nan"), "dice": 0.5}))
    assert json.loads(line)["values"] == {"loss": None, "dice": 0.5}
