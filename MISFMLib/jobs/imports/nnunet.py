"""Results folders and exported zips of nnU-Net v2 become bundles."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from MISFMLib import __version__
from MISFMLib.configs import NetworkConfig
from MISFMLib.errors import BundleError
from MISFMLib.jobs.imports.nnunet_folder import (
    WANTED,
    Fold,
    TrainedModel,
    choose,
    find_trained,
    previous_stage,
)
from MISFMLib.jobs.imports.nnunet_labels import Outputs, outputs_of
from MISFMLib.jobs.imports.nnunet_network import network_config
from MISFMLib.jobs.imports.nnunet_plans import (
    interpolation,
    preprocessing_config,
    previous_choice,
    resolved,
)
from MISFMLib.jobs.imports.sources import opened, read_json, refused, understood
from MISFMLib.models.bundle import Bundle, BundleManifest, check_bundle_output, write_bundle
from MISFMLib.models.bundle_files import file_sha256
from MISFMLib.models.bundle_manifest import model_name
from MISFMLib.models.terminology import label_config
from MISFMLib.networks import build_network, load_weights, weights_to_numpy
from MISFMLib.networks.nnunet_names import from_nnunet
from MISFMLib.networks.safe_reading import read_nnunet

logger = logging.getLogger(__name__)

_DESCRIPTION = "plans.json, dataset.json and the checkpoint of the model"

Content = tuple[BundleManifest, dict[str, np.ndarray[Any, Any]]]


def import_nnunet(
    source: Path,
    folder: Path,
    *,
    name: str | None = None,
    configuration: str | None = None,
    folds: Sequence[str] = (),
    overwrite: bool = False,
) -> Bundle:
    """Turn trained networks of nnU-Net v2 into a bundle; nothing of the source is run.

    The folds become one network that averages their logits, as nnU-Net does. A cascade becomes one
    bundle with its first stage.

    Args:
        source: Results folder, one that holds some, or the zip that nnU-Net exports.
        folder: Folder of the models; the bundle becomes one in it.
        name: Name of the model; data set and configuration when not given.
        configuration: Which one, such as ``3d_fullres``; the most accurate kind when not given.
        folds: Their numbers, or ``all``; all numbered ones when not given.
        overwrite: Replace a bundle that is already there.

    Raises:
        BundleError: There is no model, or something about it is not known.
        ConfigError: The configuration or a fold is not there, or there are several configurations.
        OutputError: The bundle exists already or cannot be written.
    """
    with opened(source, WANTED) as place:
        model = choose(find_trained(place), source, configuration)
        return write_imported(model, folder, name=name, folds=folds, overwrite=overwrite)


def write_imported(
    model: TrainedModel,
    folder: Path,
    *,
    name: str | None = None,
    folds: Sequence[str] = (),
    overwrite: bool = False,
) -> Bundle:
    """Write a trained model as a bundle; arguments and errors are those of `import_nnunet`."""
    model = model.of_folds(folds)
    if unfinished := _training(model):
        logger.warning("%s: %s", model.path.name, unfinished.strip())
    reading = _Reading(model)
    first_stage = reading.configuration.get("previous_stage")
    previous = None
    if first_stage:
        previous = _Reading(previous_stage(model, str(first_stage)).of_folds(folds)).content()
    manifest, weights = reading.content(previous[0] if previous else None)
    manifest = replace(manifest, name=name or manifest.name)
    check_bundle_output(folder / manifest.name, overwrite=overwrite)
    return write_bundle(
        folder / manifest.name, manifest, weights, previous=previous, overwrite=overwrite
    )


def read_trained(model: TrainedModel) -> Content:
    """Return manifest and weights of a trained model that needs no other.

    Raises:
        BundleError: Something about it is not known.
    """
    return _Reading(model).content()


class _Reading:
    """One results folder while it is read."""

    def __init__(self, model: TrainedModel) -> None:
        self._model = model
        self._plans = read_json(model.path / "plans.json")
        self._dataset = read_json(model.path / "dataset.json")
        self._checkpoint = read_nnunet(model.folds[0].checkpoint)
        arguments = self._checkpoint.get("init_args") or {}
        with understood(_DESCRIPTION):
            # The checkpoint knows better than a folder that may have been renamed.
            self.configuration_name = str(arguments.get("configuration") or model.configuration)
            self.configuration = resolved(self._plans, self.configuration_name)

    def content(self, previous: BundleManifest | None = None) -> Content:
        """Return manifest and weights.

        Args:
            previous: The first stage of a cascade.

        Raises:
            BundleError: Something about the model is missing or not known.
        """
        with understood(_DESCRIPTION):
            return self._content(previous)

    def _content(self, previous: BundleManifest | None) -> Content:
        outputs = outputs_of(self._dataset)
        axes = self._checkpoint.get("inference_allowed_mirroring_axes") or ()
        space = preprocessing_config(
            self._plans, self.configuration, self._dataset, tuple(map(int, axes))
        )
        if previous is not None:
            space = replace(
                space,
                previous_labels=outputs.foreground,
                previous_resampling=interpolation(self.configuration, "seg", 1),
                previous_choice=previous_choice(self.configuration),
            )
        if outputs.is_regional:
            space = replace(space, decision="regions")
        weights = self._checkpoint["network_weights"]
        network = network_config(
            self.configuration,
            space.input_channels,
            outputs.count,
            is_batch_norm=any(key.endswith(".running_mean") for key in weights),
        )
        arrays = self._averaged_weights(network)
        members = len(self._model.folds)
        manifest = BundleManifest(
            network=replace(network, members=members),
            preprocessing=space,
            labels=tuple(
                label_config(value, name)
                for name, value in zip(outputs.painted, outputs.values, strict=True)
            ),
            **self._texts(outputs),
        )
        return manifest, arrays

    def _averaged_weights(self, network: NetworkConfig) -> dict[str, np.ndarray[Any, Any]]:
        """Return the weights of all folds, by the names of one network or of an ensemble."""
        folds = self._model.folds
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        for number, fold in enumerate(folds):
            checkpoint = self._checkpoint if number == 0 else read_nnunet(fold.checkpoint)
            member = self._member(network, fold, checkpoint["network_weights"])
            prefix = f"members.{number}." if len(folds) > 1 else ""
            arrays |= {f"{prefix}{name}": array for name, array in member.items()}
        return arrays

    def _member(
        self, config: NetworkConfig, fold: Fold, weights: Mapping[str, Tensor]
    ) -> dict[str, np.ndarray[Any, Any]]:
        network = build_network(config)
        try:
            load_weights(network, from_nnunet(weights, config))
        except BundleError as error:
            trainer = self._checkpoint.get("trainer_name", "the trainer")
            raise refused(
                f"The weights of fold {fold.name} are not those of the network in the plans: "
                f"{error.message} {trainer} may build another network."
            ) from error
        return weights_to_numpy(network, half=False)

    def _texts(self, outputs: Outputs) -> dict[str, Any]:
        """Return what the folder tells people."""
        data, dataset = self._plans.get("dataset_name", ""), self._dataset
        structures = ", ".join(outputs.names[:12]) + (" ..." if len(outputs.names) > 12 else "")
        cases = dataset.get("numTraining")
        about = [str(dataset.get("name") or data), f"{cases} training cases" if cases else ""]
        about += [str(dataset.get(key) or "") for key in ("description", "reference")]
        notes = _training(self._model) + _cleaning(self._model, outputs)
        if outputs.declared != outputs.values:
            notes += (
                f"dataset.json numbers the labels {', '.join(map(str, outputs.declared))}; as in "
                "nnU-Net's own predictions they are numbered by their order instead. "
            )
        folds = [fold.name for fold in self._model.folds]
        return {
            "name": model_name(f"{data}-{self.configuration_name}", "nnunet"),
            "title": f"{_words(data)} ({self.configuration_name}, nnU-Net)",
            "description": f"Segments {structures}. Imported from nnU-Net v2.",
            "limitations": notes.strip(),
            "license": str(dataset.get("licence") or dataset.get("license") or ""),
            "training_data": "; ".join(part for part in about if part),
            "evaluation": _evaluation(self._model, outputs),
            "provenance": {
                "trainer": str(self._checkpoint.get("trainer_name", "")),
                "plans": str(self._plans.get("plans_name", "")),
                "configuration": self.configuration_name,
                "folds": ", ".join(folds),
                "checkpoint": self._model.folds[0].checkpoint.name,
                "checkpoint_sha256": file_sha256(self._model.folds[0].checkpoint),
                "imported_by": f"MISFM {__version__}",
            },
        }


def _evaluation(model: TrainedModel, outputs: Outputs) -> dict[str, Any]:
    """Return the mean Dice of every label over the validation cases of the folds."""
    found: dict[str, list[float]] = {name: [] for name in outputs.names}
    for fold in model.folds:
        file = fold.checkpoint.parent / "validation" / "summary.json"
        means = read_json(file).get("mean", {}) if file.is_file() else {}
        if outputs.is_regional:  # the keys are the regions, in their order
            metrics_of = dict(zip(outputs.names, means.values(), strict=False))
        else:
            values = map(str, outputs.declared)
            metrics_of = {n: means.get(v, {}) for n, v in zip(outputs.names, values, strict=True)}
        for name, metrics in metrics_of.items():
            dice = metrics.get("Dice")
            if isinstance(dice, int | float) and np.isfinite(dice):  # NaN where no case has it
                found[name].append(float(dice))
    scores = {name: {"Dice": float(np.mean(values))} for name, values in found.items() if values}
    return {**scores, "cases": "validation cases of the folds"} if scores else {}


def _training(model: TrainedModel) -> str:
    """Say which folds nnU-Net had not trained to their end when they were imported."""
    kind, notes = model.folds[0].checkpoint.name, ""
    if kind != "checkpoint_final.pth":
        notes = f"Not trained to the end; the weights are those of {kind}. "
    if model.unfinished:
        notes += f"Not trained to the end, and left out: fold {', '.join(model.unfinished)}. "
    return notes


def _cleaning(model: TrainedModel, outputs: Outputs) -> str:
    """Say what nnU-Net found out to be worth cleaning; its predictor does not do it by itself."""
    files = sorted(model.path.glob("crossval_results_folds_*/postprocessing.json"))
    if not files:
        return ""
    names = dict(zip(outputs.declared, outputs.names, strict=True))
    chosen = [
        " and ".join(names.get(value, str(value)) for value in given)
        for arguments in read_json(files[-1]).get("postprocessing_kwargs", [])
        if (given := _listed(arguments.get("labels_or_regions")))
    ]
    if not chosen:
        return ""
    return (
        f"In nnU-Net's cross-validation it helped to keep the largest component only of "
        f"{', of '.join(chosen)} (postprocessing.json). As in nnUNetv2_predict that is not done. "
    )


def _listed(values: Any) -> list[Any]:
    """Return the labels of a label, of several, or of regions."""
    if not isinstance(values, list | tuple):
        return [] if values is None else [values]
    return [label for value in values for label in _listed(value)]


def _words(dataset_name: str) -> str:
    return re.sub(r"^Dataset\d+_", "", dataset_name).replace("_", " ") or dataset_name
