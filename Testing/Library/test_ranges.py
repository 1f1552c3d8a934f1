"""No parser and no option lets a value through, or falls over it, that no machine can work with."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import typing
from pathlib import Path
from typing import Any

import pytest

from MISFMLib import cli
from MISFMLib.commands import base
from MISFMLib.commands.jobs import (
    Convert,
    Demo,
    Doctor,
    Finetune,
    Prepare,
    Pretrain,
    Quantize,
    Run,
    Segment,
    Serve,
)
from MISFMLib.configs import (
    Code,
    FinetuneConfig,
    IntensityConfig,
    LabelConfig,
    NetworkConfig,
    PrepareConfig,
    PreprocessingConfig,
    PretrainConfig,
    QuantizeConfig,
    SegmentConfig,
    decode,
    encode,
)
from MISFMLib.configs.ranges import RANGES, numeric_fields
from MISFMLib.data.cases import find_cases
from MISFMLib.data.descriptions import read_split
from MISFMLib.data.store_building import read_recipe
from MISFMLib.data.store_index import StoreEntry, from_row, read_index, to_row
from MISFMLib.errors import ConfigError, MISFMError
from MISFMLib.events import event_from_json
from MISFMLib.models.bundle import read_bundle, write_bundle
from MISFMLib.models.bundle_manifest import BundleManifest

np = pytest.importorskip("numpy")
NAN, INFINITY = float("nan"), float("inf")
NUMBERS = (NAN, INFINITY, -INFINITY, -1, -(2**70), 2**70, 10**400, 1e300, -1e-9)
OTHERS = (
    *(None, True, "", "nan", "\ud800", "a\0b", "x" * 10_000),
    *([], {}, [[]], [NAN], [1] * 3, [1] * 10_000, {"a": {}}),
)
DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]
VALUES = (*NUMBERS, *OTHERS, DEEP)
GOOD = {
    NetworkConfig: {},
    IntensityConfig: {},
    PreprocessingConfig: {},
    LabelConfig: {"value": 1, "name": "liver"},
    Code: {"value": "1", "scheme": "SCT", "meaning": "Liver"},
    SegmentConfig: {"images": ["a"], "model": "m", "output": "o"},
    FinetuneConfig: {"data": "d", "output": "o"},
    PretrainConfig: {"data": ["d"], "output": "o"},
    PrepareConfig: {"data": ["d"], "output": "o"},
    QuantizeConfig: {"data": "d", "model": "m"},
}
COMMANDS = (
    *(Segment, Finetune, Pretrain, Prepare, Quantize),
    *(Convert, Demo, Doctor, Run, Serve),
)


def all_numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return all_numbers(list(value.values()))
    if isinstance(value, list | tuple):
        return [number for item in value for number in all_numbers(item)]
    return [value] if isinstance(value, int | float) else []


# ---------------------------------------------------------------------------------- one range each


@pytest.mark.parametrize("config_class", [*GOOD, *COMMANDS], ids=lambda kind: kind.__name__)
def test_every_number_of_a_setting_has_its_range(config_class):
    assert set(numeric_fields(config_class)) <= set(RANGES)


@pytest.mark.parametrize("config_class", GOOD, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("number", NUMBERS)
def test_no_setting_takes_a_number_beyond_any_machine(config_class, number):
    hints = typing.get_type_hints(config_class)
    for name in numeric_fields(config_class):
        if RANGES[name].holds(number) if number == number else False:
            continue
        for value in (number, [number] * 3, [number] * 5, [1, number]):
            with pytest.raises(ConfigError):
                decode(config_class, {**GOOD[config_class], name: value})
        assert hints[name]


@pytest.mark.parametrize("config_class", GOOD, ids=lambda kind: kind.__name__)
def test_every_setting_takes_any_value_or_says_why_not(config_class):
    for field in dataclasses.fields(config_class):
        for value in VALUES:
            with contextlib.suppress(ConfigError):
                config = decode(config_class, {**GOOD[config_class], field.name: value})
                assert all(abs(number) < 2**63 for number in all_numbers(encode(config)))


@pytest.mark.parametrize("value", [*VALUES, {"a": 1}, {"\ud800": 1}], ids=lambda _value: "")
def test_settings_that_are_no_settings_are_refused(value):
    for config_class in GOOD:
        if value == {} and config_class in (NetworkConfig, IntensityConfig, PreprocessingConfig):
            continue
        with pytest.raises(ConfigError) as caught:
            decode(config_class, value)
        assert len(caught.value.message) < 3000


# -------------------------------------------------------------------------------- the command line


def words_of(command: type) -> list[str]:
    """The least words of a command."""
    positional = {
        Segment: ["a.nrrd", "-m", "m", "-o", "o"],
        Finetune: ["d", "-o", "o"],
        Pretrain: ["d", "-o", "o"],
        Prepare: ["d", "-o", "o"],
        Quantize: ["m", "d"],
        Convert: ["c.pt", "o"],
        Run: ["job.json"],
    }
    return [command.__name__.lower(), *positional.get(command, [])]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e400", "9" * 5000, "", "\udcff", "{}"])
def test_every_option_takes_any_text_or_says_why_not(command, text, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "run", lambda self, _events: vars(self).clear() or {})
    for field in dataclasses.fields(command):
        option = f"--{field.name.replace('_', '-')}"
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = cli.main([*words_of(command), option, text])
            except SystemExit as stop:  # of tyro, which has said what is wrong
                code = stop.code
        assert code in (0, 2), (option, errors.getvalue())
        is_refused = code == 2 or field.name not in numeric_fields(command)
        assert is_refused or (text == "-1" and RANGES[field.name].holds(-1)), (option, text)


# ------------------------------------------------------------------------------------- other files


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000, b"null", b"[]", b'"x"', b"{", b"NaN"),
        *(b'{"job": [], "config": 1}', b'{"job": "segment"}', b'{"job": "segment", "config": []}'),
        *(b'{"job": {"a": 1}, "config": {}}', b'{"labels": 1}', b'{"labels": {"a": []}}'),
        *(b'{"train": 1, "validation": {}}', b'{"training": 3}', b'{"format": 1e999}'),
        b'{"labels": {"0": "b", "1e999": "a"}, "channel_names": 3, "training": [{"image": 1}]}',
    ],
    ids=lambda content: content[:24].decode("latin-1"),
)
def test_every_reader_of_json_takes_any_content_or_says_why_not(content, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("job.json", "dataset.json", "split.json", "store.json", "index.csv"):
        (folder / name).write_bytes(content)
    readers = (
        lambda: base.read_job(folder / "job.json"),
        lambda: find_cases(folder),
        lambda: find_cases(folder / "dataset.json"),
        lambda: read_split(folder / "split.json"),
        lambda: read_recipe(str(folder)),
        lambda: read_index(str(folder)),
    )
    for read in readers:
        with contextlib.suppress(MISFMError):
            read()
    with contextlib.suppress(ValueError):
        event_from_json(content.decode("utf-8", "replace"))


def test_every_column_of_a_store_takes_any_text_or_says_why_not():
    row = to_row(StoreEntry(path="a"))
    for name in row:
        for text in ("nan nan nan", "inf", "-1", "9" * 5000, "1 2", "\0", "", "1e400 1 1"):
            with contextlib.suppress(ValueError):
                entry = from_row({**row, name: text})
                assert all(abs(number) < 2**63 for number in all_numbers(vars(entry)))


@pytest.fixture
def bundle(tmp_path):
    manifest = BundleManifest(
        name="tiny",
        network=NetworkConfig(),
        preprocessing=PreprocessingConfig(),
        labels=(LabelConfig(value=1, name="liver"),),
    )
    write_bundle(tmp_path / "tiny", manifest, {"weight": np.ones(1, np.float32)})
    return tmp_path / "tiny"


def test_every_entry_of_a_manifest_takes_any_value_or_says_why_not(bundle):
    path = bundle / "configs" / "metadata.json"
    good = json.loads(path.read_text("utf-8"))
    own = good["misfm"]
    places = [(own, key) for key in own]
    places += [(own[part], key) for part in ("network", "preprocessing") for key in own[part]]
    places += [(own["labels"][0], key) for key in own["labels"][0]]
    for place, key in places:
        before = place[key]
        for value in VALUES:
            place[key] = value
            path.write_text(json.dumps(good), "utf-8")
            with contextlib.suppress(MISFMError):
                manifest = read_bundle(bundle).manifest
                assert all(abs(number) < 2**63 for number in all_numbers(encode(manifest)))
        place[key] = before
    path.write_text(json.dumps(good), "utf-8")
    assert read_bundle(bundle).manifest.name == "tiny"


def test_files_that_are_no_files_are_refused(tmp_path):
    for path in (tmp_path, Path("\udcff"), tmp_path / ("n" * 300), tmp_path / "missing.json"):
        with pytest.raises(ConfigError):
            base.read_job(path)
