"""`misfm benchmark`: folds, resumption, shards, tables and statistics."""

from __future__ import annotations

import itertools
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from MISFMLib.configs import BenchmarkConfig
from MISFMLib.data import label_check
from MISFMLib.data.cases import Case, LabelledSet, Split, find_cases
from MISFMLib.data.phantom import draw_phantom
from MISFMLib.device import chip_name
from MISFMLib.errors import BatchError, ConfigError, DataError, OutputError
from MISFMLib.events import CaseDone
from MISFMLib.jobs.benchmark import benchmark as benchmark_job
from MISFMLib.jobs.benchmark import carry_out
from MISFMLib.jobs.benchmark.benchmark import run_benchmark
from MISFMLib.jobs.benchmark.plan import Parts, draw_folds, plan_runs
from MISFMLib.jobs.benchmark.report import RowResult, latex, markdown, table_cells
from MISFMLib.jobs.benchmark.statistics import compare_rows, holm, interval
from MISFMLib.jobs.evaluate.comparison import LabelScore
from MISFMLib.metrics import Agreement
from MISFMLib.models.bundle import read_bundle
from MISFMLib.volumes.volume import write_label_map, write_volume

NAMES = [f"case{number:02}" for number in range(10)]
FOUND = LabelledSet(
    cases=tuple(Case(name, (Path(name),), Path(name)) for name in NAMES), label_names={}
)


def a_config(**options):
    return BenchmarkConfig(data=Path("data"), output=Path("out"), **options)


# ------------------------------------------------------------------------------------------ plan


def test_folds_judge_every_case_once_by_trainings_that_did_not_see_it():
    folds = draw_folds(a_config(folds=4), FOUND)
    assert sorted(case for parts in folds for case in parts.test) == NAMES
    for parts in folds:
        everything = [*parts.train, *parts.validation, *parts.test]
        assert sorted(everything) == NAMES


def test_the_cases_that_a_data_set_holds_out_are_the_judged_ones():
    own = LabelledSet(
        cases=FOUND.cases, label_names={}, split=Split(tuple(NAMES[:7]), tuple(NAMES[7:]))
    )
    (parts,) = draw_folds(a_config(), own)
    assert parts.test == tuple(NAMES[7:])
    assert sorted([*parts.train, *parts.validation]) == NAMES[:7]


def test_without_a_split_a_part_is_held_out_that_is_the_same_for_all_seeds():
    runs = plan_runs(a_config(seeds=(1, 2), networks=("small", "unet3d-small")), FOUND)
    assert len(runs) == 4
    assert len({run.parts for run in runs}) == 1
    assert len({run.folder for run in runs}) == 4


def test_too_few_cases_are_refused():
    few = LabelledSet(cases=FOUND.cases[:2], label_names={})
    with pytest.raises(DataError) as caught:
        draw_folds(a_config(), few)
    assert caught.value.code == "too-few-cases"


@pytest.mark.parametrize(
    "options",
    [
        {"networks": ()},
        {"networks": ("small", "small")},
        {"seeds": ()},
        {"folds": 0},
        {"test_fraction": 1.0},
        {"shard": "3/2"},
        {"shard": "a/b"},
        {"tolerance_mm": float("inf")},
    ],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(ConfigError):
        a_config(**options)


# ------------------------------------------------------------------------------------ statistics


def test_holm_corrects_as_its_definition_says():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    corrected = holm([np.nan, 0.02])
    assert np.isnan(corrected[0])
    assert corrected[1] == 0.02


def test_the_interval_holds_the_mean_and_narrows_with_more_cases():
    values = np.random.default_rng(0).normal(1, 1, 400)
    low, high = interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(400), rel=0.15)
    assert interval(values) == (low, high)


def test_wilcoxon_of_six_equal_signs_is_two_of_all_sign_patterns():
    first = {str(case): 0.5 for case in range(6)}
    second = {str(case): 0.5 + 0.01 * (case + 1) for case in range(6)}
    found = compare_rows({"first": first, "second": second}, "first")["second"]
    patterns = list(itertools.product((-1, 1), repeat=6))
    assert found.p == pytest.approx(2 / len(patterns))
    assert found.mean == pytest.approx(0.035)
    assert found.cases == 6


def test_with_few_pairs_there_is_no_p_value():
    rows = {"a": {"x": 0.5, "y": 0.4}, "b": {"x": 0.6, "y": 0.4, "z": 1.0}}
    found = compare_rows(rows, "a")["b"]
    assert found.cases == 2
    assert np.isnan(found.p)


def test_tables_escape_what_their_languages_reserve():
    cells = [["", "Dice - a_b (95 %)"], ["a_b", "1.0 ± 0.1"]]
    assert "| --- | --- |" in markdown(cells, ["note"])
    assert r"a\_b & 1.0 $\pm$ 0.1 \\" in latex(cells)


def test_a_mean_distance_says_over_how_many_labels_it_goes():
    """A network that misses the hard cases has the smaller distances."""
    easy, hard, missed = (
        Agreement(0.9, 2.0, 0.9, 1.0),
        Agreement(0.5, 20.0, 0.5, 10.0),
        Agreement(0.0, float("nan"), 0.0, float("nan")),
    )
    rows = [
        RowResult(
            name,
            (tuple(LabelScore(c, "liver", a, 1.0, 1.0) for c, a in zip("ab", of, strict=True)),),
            (),
        )
        for name, of in (("finds", (easy, hard)), ("misses", (easy, missed)))
    ]
    _, finds, misses = table_cells(rows)
    assert finds[3:5] == ["11.00 ± 12.73", "5.50 ± 6.36"]
    assert misses[1:5] == ["45.0 ± 63.6", "45.0 ± 63.6", "2.00 (1 of 2)", "1.00 (1 of 2)"]


# ----------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed in range(4):
        volume, label_map = draw_phantom(seed)
        for name, write, item in (
            ("images", write_volume, volume),
            ("labels", write_label_map, label_map),
        ):
            (folder / name).mkdir(exist_ok=True)
            write(item, folder / name / f"p{seed}.nii.gz")
    settings = {"steps": 2, "patch_size": [16, 16, 16], "validate_every": 2}
    (folder / "options.json").write_text(json.dumps(settings), "utf-8")
    return folder


def benchmark(data, output, events=lambda _event: None, **options):
    settings = {"networks": ("unet3d-small", "small"), "options": data / "options.json"}
    config = BenchmarkConfig(data=data, output=output, threads=1, **settings | options)
    return run_benchmark(config, events)


@pytest.mark.parametrize(
    "content", ["{", "[]", "[" * 100_000, '{"scores": 3}', '{"scores": [{"of": 1}]}']
)
def test_damaged_scores_count_for_none(tmp_path, content):
    (tmp_path / "scores.json").write_text(content, "utf-8")
    assert carry_out.read_scores(SimpleNamespace(folder=tmp_path)) is None


@pytest.mark.slow
def test_a_benchmark_that_was_stopped_ends_with_the_same_table(data, tmp_path, monkeypatch):
    whole = benchmark(data, tmp_path / "whole")
    original, calls = carry_out.score_labels, []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(carry_out, "score_labels", stopped)
    with pytest.raises(KeyboardInterrupt):
        benchmark(data, tmp_path / "stopped")
    monkeypatch.undo()
    heard = []
    (tmp_path / "stopped" / "runs" / "small-1-1" / "scores.json").write_text("{", "utf-8")
    benchmark(data, tmp_path / "stopped", heard.append)
    assert next(e.status for e in heard if isinstance(e, CaseDone)) == "skipped"
    for name in ("table.csv", "cases.csv"):
        expected = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "stopped" / name).read_bytes() == expected
    assert [line[0] for line in whole["table"]] == ["", "unet3d-small", "small"]
    assert all(line[-2] != "-" for line in whole["table"]), "what the trainings cost is told"
    assert (tmp_path / "whole" / "boxes.png").stat().st_size > 5000
    pictures = sorted(path.parent.name for path in (tmp_path / "whole").glob("worst/*/*.png"))
    assert pictures == ["small-1-1", "unet3d-small-1-1"], "one case is judged"
    assert len(list((tmp_path / "whole" / "runs" / "small-1-1" / "labels").iterdir())) == 1


def test_a_label_that_few_cases_have_is_learnt_and_not_only_chosen_by(tmp_path, write_case):
    for name, values in {"a": (2, 5), "b": (2,), "c": (2,), "d": (2,)}.items():
        write_case(
            tmp_path / f"images/{name}.nii.gz", tmp_path / f"labels/{name}.nii.gz", values=values
        )
    found = find_cases(tmp_path)
    runs = plan_runs(BenchmarkConfig(data=tmp_path, output=tmp_path / "out"), found)
    parts = Parts(train=("b", "c"), validation=("a",), test=("d",))
    labels_of = benchmark_job._labels_of(runs, found, lambda _event: None)
    assert carry_out._split(parts, labels_of) == {"train": ["a", "c"], "validation": ["b"]}
    (tmp_path / "labels" / "c.nii.gz").write_bytes(b"no")
    labels_of = benchmark_job._labels_of(runs, found, lambda _event: None)
    assert "a" in carry_out._split(parts, labels_of)["train"]


def test_cases_are_read_once_for_all_trainings(data, tmp_path, monkeypatch):
    read = []
    examine = label_check.examine_case
    monkeypatch.setattr(label_check, "examine_case", lambda case: read.append(1) or examine(case))
    seen = []
    monkeypatch.setattr(
        "MISFMLib.jobs.benchmark.benchmark.carry_out",
        lambda _run, _found, labels_of, *_rest: seen.append(labels_of),
    )
    benchmark(data, tmp_path / "out", folds=2)
    assert (len(seen), len(read)) == (4, 4)
    assert len(seen[-1]) == 4


def test_a_label_that_the_judged_cases_alone_have_is_not_learnt_there(tmp_path, write_case):
    data = tmp_path / "data"
    for number, name in enumerate("abcd"):
        files = (data / f"images/{name}.nii.gz", data / f"labels/{name}.nii.gz")
        write_case(*files, shape=(10, 12, 14 + number), values=(2,) if number else (2, 5))
    (data / "labels.json").write_text('{"2": "liver", "5": "cyst"}', "utf-8")
    (data / "options.json").write_text('{"steps": 1, "patch_size": [16, 16, 16]}', "utf-8")
    report = benchmark(data, tmp_path / "out", networks=("unet3d-small",), folds=2)
    assert "for want of cases to learn them from: cyst." in report["text"]
    judged = (tmp_path / "out" / "table.csv").read_text("utf-8")
    assert "liver" in judged
    (knows,) = [
        read_bundle(model).manifest.labels
        for model in (tmp_path / "out" / "runs").glob("*/model")
        if len(read_bundle(model).manifest.labels) == 2
    ]
    assert [label.name for label in knows] == ["liver", "cyst"]


@pytest.mark.slow
def test_shards_share_the_work_and_the_last_one_writes_the_table(data, tmp_path):
    first = benchmark(data, tmp_path / "shards", shard="1/2", device="cpu")
    assert first["missing"] == ["small-1-1"]
    scores = tmp_path / "shards" / "runs" / "unet3d-small-1-1" / "scores.json"
    content = json.loads(scores.read_text("utf-8"))
    assert content["cost"]["chip"] == chip_name("cpu")
    content["cost"]["chip"] = "Some GPU"
    scores.write_text(json.dumps(content), "utf-8")
    second = benchmark(data, tmp_path / "shards", shard="2/2", device="cpu")
    assert "1 on Some GPU" in second["text"]
    assert "seconds cannot be compared" in second["text"]


def test_merging_where_no_shard_has_trained_is_refused(data, tmp_path):
    with pytest.raises(ConfigError) as caught:
        benchmark(data, tmp_path / "shards", merge=True)
    assert caught.value.code == "nothing-to-merge"
    assert not (tmp_path / "shards").exists()


def test_the_table_of_a_training_set_is_not_replaced(data, tmp_path):
    (tmp_path / "cases.csv").write_text("name,status\n")
    with pytest.raises(OutputError):
        benchmark(data, tmp_path)
    assert (tmp_path / "cases.csv").read_text() == "name,status\n"


def test_a_benchmark_of_other_settings_is_not_mixed_in(data, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    content = {"folds": 3}
    (output / "benchmark.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(ConfigError) as caught:
        benchmark(data, output)
    assert caught.value.code == "other-benchmark"


def test_only_what_was_drawn_is_scored():
    label_map, reference = draw_phantom(0)[1], draw_phantom(0)[1]
    first, second, *_ = (int(value) for value in np.unique(reference.array_DHW)[1:])
    unlabelled = 99
    reference.array_DHW[:, :, ::2] = unlabelled
    case = Case("a", (Path("a"),), Path("a"), not_drawn=(second,), unlabelled=unlabelled)
    names = {first: "first", second: "second"}
    (score,) = carry_out._score(case, label_map, reference, names, 1.0)
    assert score.label == "first"
    assert score.agreement.dice == 1


@pytest.mark.parametrize("content", ["[]", "{", '{"seed": 3}', '{"stepss": 3}'])
def test_options_that_cannot_be_used_are_refused_before_anything_is_trained(
    data, tmp_path, content
):
    options = tmp_path / "options.json"
    options.write_text(content, "utf-8")
    with pytest.raises(ConfigError):
        benchmark(data, tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000], ids=["list", "half", "deep"])
def test_a_damaged_record_of_the_first_time_is_named(data, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "benchmark.json").write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=r"benchmark\.json"):
        benchmark(data, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "devices", "expected"),
    [({}, 1, "auto"), ({"shard": "1/2"}, 1, "cuda:1"), ({"shard": "1/2"}, 2, "auto")],
)
def test_a_training_beside_others_has_a_gpu_of_its_own(
    data, tmp_path, monkeypatch, settings, devices, expected
):
    """Not one that takes several."""
    options = tmp_path / "options.json"
    options.write_text(json.dumps({"steps": 2, "devices": devices}), "utf-8")
    monkeypatch.setattr(
        "MISFMLib.jobs.benchmark.benchmark.own_gpu", lambda _name: nullcontext("cuda:1")
    )
    seen = []
    monkeypatch.setattr(
        "MISFMLib.jobs.benchmark.benchmark.carry_out",
        lambda _run, _found, _labels_of, config, *_rest: seen.append(config.device),
    )
    benchmark(data, tmp_path / "out", options=options, **settings)
    assert set(seen) == {expected}


def test_a_training_that_fails_does_not_stop_the_others(data, tmp_path, monkeypatch):
    def failing(run, *_arguments):
        if run.row.name == "small":
            raise DataError("Bad.", code="bad", remedy="Mend it.")

    monkeypatch.setattr("MISFMLib.jobs.benchmark.benchmark.carry_out", failing)
    heard = []
    with pytest.raises(BatchError, match="small-1-1"):
        benchmark(data, tmp_path / "out", heard.append)
    assert [e.status for e in heard if isinstance(e, CaseDone)] == ["done", "failed"]
