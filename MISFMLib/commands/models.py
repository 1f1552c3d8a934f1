"""Commands that list, show, import, export, combine, verify, remove and download models."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from MISFMLib.commands.base import Command, Report
from MISFMLib.configs import ResolutionMode
from MISFMLib.events import EventSink
from MISFMLib.models import store
from MISFMLib.models.bundle import Bundle, read_card
from MISFMLib.models.recognise import kind_of
from MISFMLib.models.totalsegmentator import find_task


@dataclass(frozen=True, kw_only=True)
class ListModels(Command):
    """List the bundled, your own, and the downloadable models."""

    def run(self, events: EventSink) -> Report:
        """List the models."""
        entries = store.list_models()
        lines = [
            f"{entry.name:28} {entry.origin:10} {entry.problem or entry.title}" for entry in entries
        ]
        return {
            "models": [dataclasses.asdict(entry) for entry in entries],
            "text": "\n".join(lines) or "No model is installed.",
        }


@dataclass(frozen=True, kw_only=True)
class ModelInfo(Command):
    """Show the card of a model: what it segments, for what data, held-out results, licence."""

    model: Positional[str]
    """Installed name, or path of a bundle."""

    def run(self, events: EventSink) -> Report:
        """Show the card."""
        bundle = store.find_model(self.model)
        return {"path": str(bundle.path), "text": read_card(bundle).rstrip()}


@dataclass(frozen=True, kw_only=True)
class ImportModel(Command):
    """Add a model to your models: a bundle, results of nnU-Net v2, or a published checkpoint."""

    file: Positional[Path]
    """Bundle folder or zip, results folder of nnU-Net v2 or the zip it exports, or a PyMIC
    checkpoint (.pt)."""
    name: str | None = None
    """Name to install it under; the model's own name when not given."""
    configuration: str | None = None
    """Of several configurations of nnU-Net the one to take, such as 3d_fullres; the most accurate
    kind when not given: the cascade, then full resolution."""
    folds: tuple[str, ...] = ()
    """Of a model of nnU-Net the folds to take, such as 0 2, or all for that of all cases; all
    numbered ones when not given, of which each computes every window."""
    resolution_mode: ResolutionMode = 1
    """Resolution mode of a PCT-Net checkpoint."""
    overwrite: bool = False
    """Replace a model of the same name."""

    def run(self, events: EventSink) -> Report:
        """Import the model."""
        kind = kind_of(self.file)
        if kind == "checkpoint":
            return _imported(self._import_checkpoint())
        if kind == "nnunet":
            return _imported(self._import_nnunet())
        if kind == "monai":
            return _imported(self._import_monai())
        return _imported(store.import_model(self.file, name=self.name, overwrite=self.overwrite))

    def _import_monai(self) -> Bundle:
        from MISFMLib.jobs.imports.monai import import_monai

        return import_monai(
            self.file, store.models_folder(), name=self.name, overwrite=self.overwrite
        )

    def _import_nnunet(self) -> Bundle:
        from MISFMLib.jobs.imports.nnunet import import_nnunet

        return import_nnunet(
            self.file,
            store.models_folder(),
            name=self.name,
            configuration=self.configuration,
            folds=self.folds,
            overwrite=self.overwrite,
        )

    def _import_checkpoint(self) -> Bundle:
        from MISFMLib.jobs.convert import convert_checkpoint

        bundle, _ = convert_checkpoint(
            self.file,
            store.models_folder() / (self.name or self.file.stem),
            resolution_mode=self.resolution_mode,
            overwrite=self.overwrite,
        )
        return bundle


def _imported(bundle: Bundle) -> Report:
    return {"path": str(bundle.path), "text": f"{bundle.manifest.name} is in {bundle.path}"}


@dataclass(frozen=True, kw_only=True)
class ExportModel(Command):
    """Write a model as one zip file to give away, or as a results folder of nnU-Net."""

    model: Positional[str]
    """Installed name, or path of a bundle."""
    file: Positional[Path]
    """Zip file, or with --format nnunet folder, to write."""
    format: Literal["zip", "nnunet"] = "zip"
    """zip: for MISFM and MONAI. nnunet: a results folder that nnU-Net v2 runs, for its networks."""
    overwrite: bool = False
    """Replace a file that is already there."""

    def run(self, events: EventSink) -> Report:
        """Write the zip or the folder."""
        if self.format == "nnunet":
            from MISFMLib.jobs.imports.nnunet_export import export_nnunet

            bundle = store.find_model(self.model)
            place = export_nnunet(bundle, self.file, overwrite=self.overwrite)
            text = f"{self.model} is in {place}; run it with: nnUNetv2_predict_from_modelfolder"
            return {"path": str(place), "text": text}
        store.export_model(self.model, self.file, overwrite=self.overwrite)
        return {"path": str(self.file), "text": f"{self.model} is in {self.file}"}


@dataclass(frozen=True, kw_only=True)
class VerifyModel(Command):
    """Check that a model is complete and its weights have the recorded SHA-256."""

    model: Positional[str]
    """Installed name, or path of a bundle."""

    def run(self, events: EventSink) -> Report:
        """Check the model."""
        bundle = store.verify_model(self.model)
        digest = bundle.manifest.weights_sha256
        return {"sha256": digest, "text": f"{bundle.manifest.name} is intact: SHA-256 {digest}"}


@dataclass(frozen=True, kw_only=True)
class RemoveModel(Command):
    """Delete one of your models from the model store."""

    model: Positional[str]
    """Installed name."""

    def run(self, events: EventSink) -> Report:
        """Delete the model."""
        store.remove_model(self.model)
        return {"text": f"{self.model} is removed."}


@dataclass(frozen=True, kw_only=True)
class FetchModel(Command):
    """Download a model of the catalogue; goes on where an earlier download stopped."""

    model: Positional[str]
    """Name in the catalogue."""

    def run(self, events: EventSink) -> Report:
        """Download, check and install the model."""
        task = find_task(self.model)
        if task is None or store.is_installed(self.model):
            return _imported(store.fetch_model(self.model, events))
        from MISFMLib.jobs.imports.totalsegmentator import fetch_task

        return _imported(fetch_task(task, events))


@dataclass(frozen=True, kw_only=True)
class CombineModels(Command):
    """Make one model of several that find the same labels: their mean."""

    models: Positional[tuple[str, ...]]
    """Installed names, or paths of bundles, such as the folds of a cross-validation."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """Bundle folder to write."""
    mean_of: Literal["probabilities", "weights"] = "probabilities"
    """The probabilities of any models, each of which is computed; or the weights of models that
    were trained on from the same one, which gives one network, as fast as each of them."""
    overwrite: bool = False
    """Replace a bundle that is there."""

    def run(self, events: EventSink) -> Report:
        """Write the model."""
        from MISFMLib.jobs.combine import combine_models

        made = combine_models(
            self.models, self.output, mean_of=self.mean_of, overwrite=self.overwrite
        )
        return _imported(made)


@dataclass(frozen=True)
class Models:
    """List, show, import, export, combine, verify, remove and download models."""

    action: OmitSubcommandPrefixes[
        Annotated[ListModels, subcommand("list")]
        | Annotated[ModelInfo, subcommand("info")]
        | Annotated[ImportModel, subcommand("import")]
        | Annotated[ExportModel, subcommand("export")]
        | Annotated[CombineModels, subcommand("combine")]
        | Annotated[VerifyModel, subcommand("verify")]
        | Annotated[RemoveModel, subcommand("remove")]
        | Annotated[FetchModel, subcommand("fetch")]
    ]

    def run(self, events: EventSink) -> Report:
        """Run the chosen action."""
        return self.action.run(events)
