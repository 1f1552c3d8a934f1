"""Which model proposes labels for which training set, and after how many cases it was trained."""

from __future__ import annotations

import json
from typing import Any

import slicer

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import MISFMError
from MISFMLib.models import store

_MODELS = "MISFM/proposingModels"


class ProposingModels:
    """Values in Slicer's settings, by the folder of the set."""

    def __init__(self) -> None:
        """Use the settings of this computer."""
        self._store = slicer.app.userSettings()

    def of(self, trainingSet: TrainingSet, otherwise: str) -> str:
        """Return the model that proposes for a set; empty when there is none.

        Args:
            trainingSet: The set.
            otherwise: A model to take when none was chosen, if it knows a label of the set.
        """
        chosen = str(self._read().get(str(trainingSet.folder), {}).get("model", ""))
        installed = {entry.name for entry in store.list_models() if not entry.problem}
        return chosen if chosen in installed else _knowing(otherwise, trainingSet)

    def choose(self, folder: str, name: str) -> None:
        """Let a model propose for the set in a folder."""
        self._change(folder, model=name)

    def labelledAt(self, trainingSet: TrainingSet) -> int:
        """Return how many cases had labels when the last training for a set ended."""
        return int(self._read().get(str(trainingSet.folder), {}).get("labelled", 0))

    def trained(self, folder: str, labelled: int) -> None:
        """Remember how many cases a training had."""
        self._change(folder, labelled=labelled)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self._store.value(_MODELS, "{}"))
        except (TypeError, ValueError):  # somebody has edited the file
            return {}
        return content if isinstance(content, dict) else {}

    def _change(self, folder: str, **values: Any) -> None:
        content = self._read()
        content[folder] = {**content.get(folder, {}), **values}
        self._store.setValue(_MODELS, json.dumps(content))


def _knowing(name: str, trainingSet: TrainingSet) -> str:
    """Return a model if it segments a label of the set from such volumes; else an empty text."""
    try:
        bundle = store.find_model(name) if name else None
    except MISFMError:
        return ""
    if bundle is None:
        return ""
    theirs = {label.name for label in bundle.manifest.labels}
    hasChannels = len(bundle.manifest.preprocessing.channels) == len(trainingSet.channels)
    isOfUse = hasChannels and theirs & {label.name for label in trainingSet.labels}
    return name if isOfUse else ""
