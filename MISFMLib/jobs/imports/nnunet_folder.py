"""What lies in the results folders of nnU-Net v2: trained configurations and their folds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from MISFMLib.errors import BundleError, ConfigError
from MISFMLib.jobs.imports.sources import refused
from MISFMLib.models.recognise import NNUNET_CHECKPOINTS, files_below, is_of_nnunet_1
from MISFMLib.networks.safe_reading import read_nnunet

WANTED = (
    "plans.json",
    "dataset.json",
    *NNUNET_CHECKPOINTS,
    "summary.json",
    "postprocessing.json",
)
"""Ends of the names of the files that an import may read; pickles other than checkpoints are none.
"""
_BEST_FIRST = ("3d_cascade_fullres", "3d_fullres", "3d_lowres", "2d")
_NAME_PARTS = 3


@dataclass(frozen=True)
class Fold:
    """One trained network."""

    name: str
    """Number of the fold, or ``all``."""
    checkpoint: Path
    """Its file."""


@dataclass(frozen=True)
class TrainedModel:
    """A results folder ``Trainer__Plans__configuration``."""

    path: Path
    """The folder."""
    folds: tuple[Fold, ...]
    """In the order of their numbers."""
    configuration: str
    """Configuration by the folder's name; of a renamed folder by its checkpoint."""

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Folds trained less far than those that are used; they take no part."""
        used = NNUNET_CHECKPOINTS.index(self.folds[0].checkpoint.name)
        less, enough = (
            {file.parent for kind in kinds for file in self.path.glob(f"fold_*/{kind}")}
            for kinds in (NNUNET_CHECKPOINTS[used + 1 :], NNUNET_CHECKPOINTS[: used + 1])
        )
        names = {folder.name.removeprefix("fold_") for folder in less - enough}
        return tuple(sorted(names - {"all"}))

    @property
    def name_parts(self) -> tuple[str, str, str]:
        """Trainer, plans and configuration by the folder's name; empty if renamed."""
        return _name_parts(self.path)

    def of_folds(self, wanted: Sequence[str]) -> TrainedModel:
        """Return the model of some of its folds, all of one kind of checkpoint; as it is of none.

        Raises:
            ConfigError: One of them is not there.
        """
        if not wanted:
            return self
        there = {kind: _checkpoints(self.path, kind) for kind in NNUNET_CHECKPOINTS}
        for folds in there.values():
            if set(wanted) <= set(folds):
                return replace(self, folds=tuple(folds[name] for name in dict.fromkeys(wanted)))
        listed = (f"{', '.join(sorted(folds))} ({kind})" for kind, folds in there.items() if folds)
        raise ConfigError(
            f"{self.path.name} has no trained folds {', '.join(wanted)}; there are "
            f"{'; '.join(listed)}.",
            code="which-folds",
            remedy="Give some of these, or none for all.",
        )


def find_trained(folder: Path) -> list[TrainedModel]:
    """Return all trained configurations in a folder or below it, the most accurate kind first."""
    found = [
        TrainedModel(place, folds, _name_parts(place)[2] or _trained_configuration(folds[0]))
        for place in sorted({f.parent for f in files_below(folder) if f.name == "plans.json"})
        if (place / "dataset.json").is_file() and (folds := _folds(place))
    ]
    return sorted(found, key=lambda model: (_rank(model.configuration), str(model.path)))


def choose(models: list[TrainedModel], source: Path, configuration: str | None) -> TrainedModel:
    """Return the model to import.

    Args:
        models: All there are.
        source: Where they were found, for messages.
        configuration: The one that is wanted; the most accurate kind when None.

    Raises:
        BundleError: There is none.
        ConfigError: None has this configuration, or several results have it.
    """
    if not models and is_of_nnunet_1(source):
        raise refused(
            f"{source} is of nnU-Net v1, whose models are pickled code; only those of v2 can be "
            "imported.",
            "Train it again with nnU-Net v2; nnUNetv2_convert_old_nnUNet_dataset takes its data.",
        )
    if not models:
        raise BundleError(
            f"{source} holds no trained model of nnU-Net v2: a folder with plans.json, "
            "dataset.json and fold_0/checkpoint_final.pth was expected.",
            code="not-a-bundle",
            remedy="Give the folder Trainer__Plans__configuration, or the zip of nnU-Net's export.",
        )
    wanted = configuration or models[0].configuration
    fitting = [model for model in models if model.configuration == wanted]
    if len(fitting) != 1:
        listed = ", ".join(
            f"{_below(model.path, source)} ({model.configuration})" for model in models
        )
        raise ConfigError(
            f"{len(fitting)} models in {source} have the configuration {wanted!r}; there are: "
            f"{listed}.",
            code="which-model",
            remedy="Give the folder of one of them, or another --configuration.",
        )
    return fitting[0]


def previous_stage(model: TrainedModel, configuration: str) -> TrainedModel:
    """Return the first stage of a cascade, which lies beside the second.

    Raises:
        BundleError: It is missing.
    """
    trainer, plans, _ = model.name_parts
    beside = [other for other in find_trained(model.path.parent) if other != model]
    fitting = [other for other in beside if other.configuration == configuration]
    same = [other for other in fitting if other.name_parts[:2] == (trainer, plans)]
    if not (same or fitting):
        raise BundleError(
            f"{model.path.name} is the second stage of a cascade, the first one "
            f"({trainer}__{plans}__{configuration}) does not lie beside it.",
            code="nnunet-previous-stage",
            remedy="Put both results folders into one folder, as nnU-Net does.",
        )
    return (same or fitting)[0]


def _below(path: Path, source: Path) -> str:
    is_below = path != source.absolute() and path.is_relative_to(source.absolute())
    return str(path.relative_to(source.absolute())) if is_below else path.name


def _name_parts(place: Path) -> tuple[str, str, str]:
    parts = place.name.split("__")
    if len(parts) != _NAME_PARTS:
        return "", "", ""
    return parts[0], parts[1], parts[2]


def _trained_configuration(fold: Fold) -> str:
    arguments = read_nnunet(fold.checkpoint).get("init_args")
    return str(arguments.get("configuration", "")) if isinstance(arguments, dict) else ""


def _rank(configuration: str) -> int:
    known = configuration in _BEST_FIRST
    return _BEST_FIRST.index(configuration) if known else 1


def _folds(place: Path) -> tuple[Fold, ...]:
    """Return the numbered folds, or else the one that was trained on all cases.

    As in nnU-Net folds with a final checkpoint only; where none has one, those with the next kind.
    """
    for kind in NNUNET_CHECKPOINTS:
        folds = _checkpoints(place, kind)
        numbered = sorted(folds.keys() - {"all"}, key=int)
        if folds:
            return tuple(folds[name] for name in numbered or folds)
    return ()


def _checkpoints(place: Path, kind: str) -> dict[str, Fold]:
    """Return the folds that have a checkpoint of a kind, by their names."""
    return {
        match[1]: Fold(match[1], folder / kind)
        for folder in place.glob("fold_*")
        if (match := re.fullmatch(r"fold_(\d+|all)", folder.name)) and (folder / kind).is_file()
    }
