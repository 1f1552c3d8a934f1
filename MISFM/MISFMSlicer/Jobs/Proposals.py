"""What a model proposes for the unlabelled cases of a training set, computed ahead of the user.

Plain Python, without Slicer and Qt. A worker of its own stays warm and segments case after case,
the one that is waited for first. What it makes lies in the set's folder, so that it is there after
a restart too: the labels, and a report with where to look and how sure the model is.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import MISFMError
from MISFMLib.events import Failed, Finished, Progress
from MISFMLib.foreground import Claim, claims_folder
from MISFMLib.models import store

from ..Signal import Signal
from ..TemporaryFolder import makeFolder
from .JobRunner import JobRunner

_REPORT, _UNCERTAINTY = ".json", ".uncertainty.nrrd"
_TO_DO = ("unlabelled", "proposed")


class Proposals:
    """Computes proposals one by one; `poll` a few times a second.

    Signals: ``ready(name)``, ``failed(name, Failed)``, ``progressed(name, Progress)``.
    """

    def __init__(self, runner: JobRunner | None = None) -> None:
        """Start no process; `runner` can be a stand-in with the methods of `JobRunner`."""
        self.ready = Signal()
        self.failed = Signal()
        self.progressed = Signal()
        self._runner = runner or JobRunner()
        self._claim = Claim(claims_folder(store.home()))
        self._set: TrainingSet | None = None
        self._model, self._sha = "", ""
        self._options: dict[str, Any] = {}
        self._wanted: list[str] = []
        self._waitedFor = ""
        self._current = ""
        self._failures: set[str] = set()
        self._folder: Path | None = None

    def use(self, trainingSet: TrainingSet | None, model: str, options: Mapping[str, Any]) -> None:
        """Propose for a set with a model; what is under way for another is ended.

        Args:
            trainingSet: The set; None for nothing.
            model: Name or path of a model.
            options: Fields of `MISFMLib.configs.SegmentConfig` of this computer.
        """
        sha = _weights(model)
        if (trainingSet, sha) != (self._set, self._sha):
            self._stop()
            self._failures.clear()
        self._set, self._model, self._sha = trainingSet, model, sha
        self._options = dict(options)

    def isCurrent(self, row: CaseRow) -> bool:
        """Tell whether the proposal of a case is there and by the model in use."""
        return (
            self._set is not None
            and row.model == self._sha != ""
            and self._set.proposal(row.name).exists()
        )

    def want(self, names: Iterable[str], waitedFor: str = "") -> None:
        """Say which cases shall have a proposal, the most urgent first.

        Args:
            names: The cases.
            waitedFor: One that the user waits for: a training yields meanwhile.
        """
        self._waitedFor = waitedFor
        first = [waitedFor] if waitedFor else []
        self._wanted = [*first, *(name for name in names if name != waitedFor)]

    def poll(self) -> None:
        """Tell what happened since the last time, and go on with the next case."""
        for event in self._runner.poll() if self._current else ():
            self._take(event)
        if not self._current:
            self._startNext()
        if self._current and self._current == self._waitedFor:
            self._claim.renew()
        else:
            self._claim.release()

    def report(self, name: str) -> dict[str, Any]:
        """Return the library's report of a proposal; empty when there is none."""
        if self._set is None:
            return {}
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(self._set.proposal(name, _REPORT).read_text("utf-8"))
            return content if isinstance(content, dict) else {}
        return {}

    def close(self) -> None:
        """End the worker."""
        self._stop()
        self._runner.close()

    # ------------------------------------------------------------------------------- one by one

    def _startNext(self) -> None:
        if self._set is None or not self._sha:
            return
        wanted, self._wanted = self._wanted, []  # should the set be gone, that is told once
        rows = {row.name: row for row in self._set.cases()} if wanted else {}
        self._wanted = wanted
        for name in wanted:
            row = rows.get(name)
            if row is None or row.status not in _TO_DO or name in self._failures:
                continue
            if not self.isCurrent(row):
                self._start(name)
                return

    def _start(self, name: str) -> None:
        self._folder = makeFolder("proposal")
        config = {
            **self._options,
            "images": [",".join(map(str, self._set.images(name)))],
            "model": self._model,
            "output": str(self._folder / "labels.seg.nrrd"),
            "uncertainty": str(self._folder / "uncertainty.nrrd"),
            "report": str(self._folder / "report.json"),
        }
        jobFile = self._folder / "job.json"
        jobFile.write_text(json.dumps({"job": "segment", "config": config}), "utf-8")
        self._current = name
        self._runner.start(jobFile)

    def _take(self, event: Any) -> None:
        name = self._current
        if isinstance(event, Progress):
            self.progressed.emit(name, event)
        elif isinstance(event, Finished):
            try:
                self._keep(name)
            except (MISFMError, OSError) as error:
                self._end(name, Failed(str(error), code="proposal-not-kept"))
            else:
                self._end(name, None)
        elif isinstance(event, Failed):
            self._end(name, event)

    def _end(self, name: str, failure: Failed | None) -> None:
        self._current = ""
        self._removeFiles()
        if failure is None:
            self.ready.emit(name)
        else:
            self._failures.add(name)
            self.failed.emit(name, failure)

    def _keep(self, name: str) -> None:
        """Move what was made into the set, the labels last, and write down whose it is."""
        row = self._set.case(name)
        target = self._set.proposal(name)
        target.parent.mkdir(exist_ok=True)
        report = self._folder / "report.json"
        certainty = json.loads(report.read_text("utf-8")).get("certainty")
        for file, suffix in ((report, _REPORT), (self._folder / "uncertainty.nrrd", _UNCERTAINTY)):
            shutil.move(file, self._set.proposal(name, suffix))
        shutil.move(self._folder / "labels.seg.nrrd", target)
        if row.status in _TO_DO:  # nobody has labelled it meanwhile
            self._set.update(name, status="proposed", certainty=certainty, model=self._sha)

    def _stop(self) -> None:
        if self._current:
            self._runner.cancel()
            self._current = ""
        self._claim.release()
        self._removeFiles()

    def _removeFiles(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _weights(model: str) -> str:
    """Return the SHA-256 of a model's weights; empty when it cannot be used."""
    try:
        return store.find_model(model).manifest.weights_sha256 if model else ""
    except MISFMError:
        return ""


def toDo(rows: Iterable[CaseRow]) -> list[CaseRow]:
    """Return the cases that wait for their labels."""
    return [row for row in rows if row.status in _TO_DO]
