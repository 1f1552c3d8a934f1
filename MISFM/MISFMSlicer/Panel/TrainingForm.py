"""What a training is started with: from what, which part, how long, and what is to be expected."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.memory import free_bytes
from MISFMLib.models import store
from MISFMLib.models.bundle_manifest import model_name
from MISFMLib.resources import read_preset

from .. import Messages
from ..Guard import guarded
from ..Setup.Settings import Settings

_FRESH, _FILE = "", "…"
_TRAINABLE = ("all", "decoder", "head", "lora")
_SPEEDS, _MEMORY = "MISFM/TrainingSpeeds", "MISFM/TrainingMemory"
_MANY_STEPS = 100_000
"""More than fit in the minutes: the clock ends the training."""
_FEW_CASES = 20
"""Up to so many the preset for few cases is used."""
_VALIDATIONS = 10
_FIRST_INTERVAL = 25
"""Steps between validations while nothing was trained on the set here."""
_ENOUGH_STEPS = 300
"""Below, small labels are often not found yet."""


class TrainingForm:
    """The form of the section Fine-tune."""

    def __init__(self, ui: Any, settings: Settings, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            settings: Of this computer.
            report: Shows an error to the user.
        """
        self.report = report
        self.changed: Callable[[], None] = lambda: None
        self._ui = ui
        self._settings = settings
        self._store = slicer.app.userSettings()
        self._checkpoints: list[Path] = []
        for value, text in zip(_TRAINABLE, _trainableTexts(), strict=True):
            ui.trainableSelector.addItem(text, value)
        ui.startSelector.activated.connect(self._onStartChosen)
        ui.trainableSelector.activated.connect(self._onChange)
        ui.minutesSlider.valueChanged.connect(self._onChange)

    @property
    def start(self) -> str:
        """Name or path of what the training starts from; empty for fresh weights."""
        return str(self._ui.startSelector.currentData or "")

    @property
    def minutes(self) -> float:
        """How long it trains."""
        return float(self._ui.minutesSlider.value)

    def readModels(self) -> None:
        """Offer what is installed now; what was chosen stays, if it is still there."""
        selector, chosen = self._ui.startSelector, self.start
        isFirst = selector.count == 0
        entries = [
            each for each in store.list_models() if each.origin != "available" and not each.problem
        ]
        entries.sort(key=lambda each: (each.kind != "pretrained", each.origin != "mine"))
        selector.blockSignals(True)
        selector.clear()
        for entry in entries:
            selector.addItem(_modelText(entry), entry.name)
            selector.setItemData(selector.count - 1, entry.title, qt.Qt.ToolTipRole)
        for path in self._checkpoints:
            selector.addItem(path.name, str(path))
        selector.addItem(_("nothing (fresh weights)"), _FRESH)
        selector.addItem(_("a published checkpoint…"), _FILE)
        index = 0 if isFirst else selector.findData(chosen)
        selector.setCurrentIndex(max(0, index))
        selector.blockSignals(False)

    def chooseStart(self, name: str) -> None:
        """Start the next training from a model, if it is installed."""
        index = self._ui.startSelector.findData(name)
        if index >= 0:
            self._ui.startSelector.setCurrentIndex(index)

    def problem(self, trainingSet: TrainingSet | None, rows: Sequence[CaseRow]) -> str:
        """Return why no training can start; empty when one can."""
        if trainingSet is None:
            return _("Choose or make a training set first.")
        if not any(row.is_labelled and row.split == "train" for row in rows):
            return _("No case has labels yet: add a segmentation, or correct a proposal.")
        if not self.start and self._trainable() != "all":
            return _("Fresh weights have to be trained as a whole.")
        return ""

    def config(self, trainingSet: TrainingSet, rows: Sequence[CaseRow]) -> dict[str, Any]:
        """Return the settings of `misfm finetune`, without the output."""
        labelled = sum(row.is_labelled for row in rows)
        few = read_preset("finetune-few-shot") if labelled <= _FEW_CASES else {}
        interval = self._interval(str(trainingSet.folder))
        return {
            **{name: few[name] for name in ("augmentation", "foreground_share") if name in few},
            **self._settings.options(),
            "data": str(trainingSet.folder),
            "init": self.start or None,
            "trainable": self._trainable(),
            "minutes": self.minutes,
            "steps": _MANY_STEPS,
            "validate_every": interval,
            "checkpoint_every": interval,
            "warm_up_steps": min(100, 2 * interval),
        }

    def job(
        self, trainingSet: TrainingSet, rows: Sequence[CaseRow], *, init: str = ""
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the settings of a training, and what the panel wants to find again of it.

        Args:
            trainingSet: The set.
            rows: Its cases.
            init: What it starts from; what is chosen when not given.
        """
        config = {**self.config(trainingSet, rows), "name": trainingSet.name}
        config["init"] = init or config["init"]
        return config, {
            "set": str(trainingSet.folder),
            "start": config["init"] or "",
            "name": model_name(trainingSet.name, "my-model"),
            "labelled": sum(row.is_labelled for row in rows),
        }

    def forecast(self, folder: str) -> str:
        """Say what is to be expected of the minutes, learnt from earlier trainings on a set."""
        seconds = self._secondsPerStep(folder)
        if not seconds:
            return _(
                "Ready. The first training on this training set will tell how many steps fit into"
                " the time."
            )
        steps = int(60 * self.minutes / seconds)
        text = _("About {steps} steps in {time} on this computer.").format(
            steps=steps, time=Messages.duration(60 * self.minutes)
        )
        text += self._memoryText(folder)
        if steps < _ENOUGH_STEPS:
            text += " " + _("Small labels are often found only after some hundred steps.")
        return text

    def learn(self, about: Mapping[str, Any], report: Mapping[str, Any]) -> None:
        """Remember how fast a training was, and how much memory it took.

        A step on another set, of larger images, may take ten times as long with the same start.

        Args:
            about: What `job` has given.
            report: Of the training.
        """
        steps, seconds = report.get("steps"), report.get("training_seconds")
        if steps and seconds:
            self._remember(_SPEEDS, about, seconds / steps)
        if report.get("peak_memory_bytes"):
            self._remember(_MEMORY, about, report["peak_memory_bytes"])

    def _remember(self, setting: str, about: Mapping[str, Any], value: float) -> None:
        starts = about.get("start"), about.get("name")  # what is trained on from it is as fast
        new = {_key(str(about.get("set")), start or ""): value for start in starts}
        self._store.setValue(setting, json.dumps({**self._learnt(setting), **new}))

    def _memoryText(self, folder: str) -> str:
        """Say how much memory the training will take, and whether that much is free."""
        needed = self._learnt(_MEMORY).get(_key(folder, self.start))
        if not needed:
            return ""
        fields = {"memory": Messages.memory(needed), "free": Messages.memory(free_bytes())}
        if needed > free_bytes():
            text = _("It needs about {memory} of memory, and only {free} are free.")
        else:
            text = _("It needs about {memory} of memory.")
        return " " + text.format(**fields)

    def _trainable(self) -> str:
        return str(self._ui.trainableSelector.currentData or "all")

    def _interval(self, folder: str) -> int:
        seconds = self._secondsPerStep(folder)
        if not seconds:
            return _FIRST_INTERVAL
        return max(10, int(60 * self.minutes / seconds / _VALIDATIONS))

    def _secondsPerStep(self, folder: str) -> float:
        return float(self._learnt(_SPEEDS).get(_key(folder, self.start), 0.0))

    def _learnt(self, setting: str) -> dict[str, float]:
        """Return what was learnt from earlier trainings, by their starts and sets."""
        try:
            values = json.loads(self._store.value(setting, "{}"))
        except (TypeError, ValueError):  # somebody has edited the file
            return {}
        return values if isinstance(values, dict) else {}

    @guarded
    def _onStartChosen(self, *_arguments: Any) -> None:
        if self._ui.startSelector.currentData == _FILE:
            path = qt.QFileDialog.getOpenFileName(
                self._ui.startSelector,
                _("Published checkpoint"),
                "",
                _("Checkpoints (*.pt *.pth)"),
            )
            if path and Path(path) not in self._checkpoints:
                self._checkpoints.append(Path(path))
            self.readModels()
            self.chooseStart(path or _FRESH)
        self.changed()

    @guarded
    def _onChange(self, *_arguments: Any) -> None:
        self.changed()


def _key(folder: str, start: str) -> str:
    return f"{Path(start).name or 'fresh'} {folder}"


def _modelText(entry: store.ModelEntry) -> str:
    title = entry.title or entry.name
    if entry.kind == "pretrained":  # the whole title is wider than the panel
        return _("{title} (pretrained)").format(title=title.partition(", ")[0])
    return _("{title} (mine)").format(title=title) if entry.origin == "mine" else title


def _trainableTexts() -> tuple[str, ...]:
    return (
        _("all of it"),
        _("the decoder"),
        _("the class outputs only"),
        _("small changes (LoRA)"),
    )
