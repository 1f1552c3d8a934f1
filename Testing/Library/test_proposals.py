"""Proposals for the cases of a training set, computed ahead."""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path

import pytest

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.events import Failed, Finished, Progress
from MISFMLib.foreground import claims_folder, is_claimed
from MISFMLib.models import store
from MISFMLib.models.terminology import label_config

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))

from MISFMSlicer.Jobs import Proposals as module
from MISFMSlicer.Jobs import Unpacking as unpacking
from MISFMSlicer.Jobs.Proposals import Proposals, toDo


class Runner:
    """Makes a proposal at the second poll, or fails for the cases in `broken`."""

    def __init__(self):
        self.started, self.broken, self.job, self.cancelled = [], set(), None, 0

    def start(self, jobFile):
        self.job = json.loads(jobFile.read_text())["config"]
        self.started.append(Path(self.job["images"][0]).name.removesuffix(".nii.gz"))
        self.polls = 0

    def poll(self):
        self.polls += 1
        if self.polls == 1:
            return [Progress("segment", 0.5)]
        if self.started[-1] in self.broken:
            return [Failed("No", "bad")]
        Path(self.job["output"]).write_text(self.started[-1])
        Path(self.job["uncertainty"]).write_text("u")
        Path(self.job["report"]).write_text(json.dumps({"certainty": 0.25}))
        return [Finished({})]

    def cancel(self):
        self.cancelled += 1

    def close(self):
        pass


@pytest.fixture
def a_set(tmp_path):
    made = TrainingSet.create(tmp_path / "set", [label_config(1, "liver")])
    for name in "abc":
        made.add_case(name, lambda path: path.write_text("image"))
    return made


@pytest.fixture
def proposals(a_set, monkeypatch):
    monkeypatch.setattr(module, "_weights", lambda model: model and f"sha of {model}")
    made = Proposals(Runner())
    made.heard = []
    made.ready.connect(lambda name: made.heard.append(name))
    made.failed.connect(lambda name, failure: made.heard.append((name, failure.code)))
    made.use(a_set, "m", {"device": "cpu"})
    return made


def poll(proposals, times=20):
    for _ in range(times):
        proposals.poll()


def test_cases_get_proposals_in_the_wanted_order(proposals, a_set):
    proposals.want(["c", "a"])
    poll(proposals)
    assert proposals.heard == ["c", "a"]
    row = a_set.case("c")
    assert (row.status, row.certainty, row.model) == ("proposed", 0.25, "sha of m")
    assert a_set.proposal("c").read_text() == "c"
    assert proposals.report("c") == {"certainty": 0.25}
    assert proposals.isCurrent(row)
    assert [each.name for each in toDo(a_set.cases())] == ["a", "b", "c"]
    assert proposals._runner.job["device"] == "cpu"


def test_one_that_the_user_waits_for_goes_first_and_claims_the_cores(proposals):
    folder = claims_folder(store.home())
    proposals.want(["a", "b"], waitedFor="b")
    proposals.poll()
    assert proposals._runner.started == ["b"]
    assert is_claimed(folder)
    poll(proposals)
    assert proposals.heard == ["b", "a"]
    assert not is_claimed(folder)


def test_what_is_there_is_not_computed_again_until_the_model_changes(proposals, a_set):
    proposals.want(["a"])
    poll(proposals)
    poll(proposals)
    assert proposals._runner.started == ["a"]
    proposals.use(a_set, "better", {})
    poll(proposals)
    assert proposals._runner.started == ["a", "a"]
    assert a_set.case("a").model == "sha of better"


def test_another_model_ends_what_is_under_way(proposals, a_set):
    proposals.want(["a"])
    proposals.poll()
    proposals.use(a_set, "better", {})
    assert proposals._runner.cancelled == 1
    poll(proposals)
    assert a_set.case("a").model == "sha of better"


def test_a_case_that_fails_is_told_once_and_the_others_go_on(proposals):
    proposals._runner.broken = {"a"}
    proposals.want(["a", "b"])
    poll(proposals)
    assert proposals.heard == [("a", "bad"), "b"]


def test_labels_that_came_meanwhile_are_not_undone(proposals, a_set):
    proposals.want(["a"])
    proposals.poll()
    a_set.save_labels("a", lambda path: path.write_text("labels"))
    poll(proposals)
    assert a_set.case("a").status == "corrected"


def test_without_a_model_nothing_is_computed(proposals, a_set):
    proposals.use(a_set, "", {})
    proposals.want(["a"])
    poll(proposals)
    assert proposals._runner.started == []


def test_the_next_volume_is_unpacked_ahead_and_only_whole_files_are_given(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_SMALL", 0)
    source = tmp_path / "case.nii.gz"
    source.write_bytes(gzip.compress(b"voxels" * 100_000))
    ahead = unpacking.Unpacking()
    assert ahead.ready(source) is None
    ahead.want([source])
    deadline = time.monotonic() + 30
    while (file := ahead.ready(source)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert file.name == "case.nii"
    assert file.read_bytes() == b"voxels" * 100_000
    ahead.want([tmp_path / "gone.nii.gz"])
    assert not file.exists()
    assert ahead.ready(source) is None
    ahead.want([source])
    ahead.close()
    assert ahead.ready(source) is None


def test_a_small_volume_is_left_packed(tmp_path):
    source = tmp_path / "case.nii.gz"
    source.write_bytes(gzip.compress(b"voxels"))
    ahead = unpacking.Unpacking()
    ahead.want([source])
    time.sleep(0.2)
    assert ahead.ready(source) is None
