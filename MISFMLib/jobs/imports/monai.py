"""Bundles in the form of MONAI's Model Zoo become bundles of ours, where their parts are plain."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from MISFMLib import __version__
from MISFMLib.configs import NetworkConfig, PreprocessingConfig
from MISFMLib.errors import BundleError
from MISFMLib.jobs.imports.monai_config import MonaiConfig, Unknown
from MISFMLib.jobs.imports.monai_labels import labels_of, overlap_note, unique
from MISFMLib.jobs.imports.monai_outputs import decision_of, windows_of
from MISFMLib.jobs.imports.monai_transforms import listed, preparation_of, short_name
from MISFMLib.jobs.imports.sources import (
    opened,
    read_json,
    read_yaml,
    refused,
    understood,
    within,
)
from MISFMLib.models.bundle import Bundle, BundleManifest, check_bundle_output, write_bundle
from MISFMLib.models.bundle_files import METADATA, file_sha256
from MISFMLib.models.bundle_manifest import model_name
from MISFMLib.networks import build_network, weights_to_numpy
from MISFMLib.networks.monai_network import NAMES
from MISFMLib.networks.safe_reading import read_state

_WANTED = (".json", ".pt", ".pth", ".yaml", ".yml", ".ts")
_CONFIGS = ("inference.json", "inference.yaml", "inference.yml", "evaluate.json", "evaluate.yaml")
_NEW_MERGING = (1, 5)


def import_monai(
    source: Path, folder: Path, *, name: str | None = None, overwrite: bool = False
) -> Bundle:
    """Turn a bundle in MONAI's form into one of ours; nothing of it is run.

    Args:
        source: Bundle folder, or a zip that holds one.
        folder: Folder of the models; the bundle becomes one in it.
        name: Name of the model; that of the bundle when not given.
        overwrite: Replace a bundle that is already there.

    Raises:
        BundleError: A part of it cannot be read without running code, or is not known.
        DependencyError: MONAI is not installed.
        OutputError: The bundle exists already or cannot be written.
    """
    with opened(source, _WANTED) as place:
        root = _root(place)
        with understood("configs/metadata.json and the config of the bundle"):
            reading = _Reading(root, source)
            manifest = replace(reading.manifest(), name=name or reading.name())
        check_bundle_output(folder / manifest.name, overwrite=overwrite)
        network = build_network(manifest.network).eval()
        _load(network.network, reading.weights())  # type: ignore[arg-type]
        weights = weights_to_numpy(network, half=False)
        return write_bundle(folder / manifest.name, manifest, weights, overwrite=overwrite)


def _root(place: Path) -> Path:
    found = sorted(place.rglob(METADATA.rsplit("/", 1)[-1]), key=lambda path: len(path.parts))
    for path in found:
        if path.parent.name == "configs":
            return path.parent.parent
    raise refused("There is no configs/metadata.json.")


class _Reading:
    """One bundle while it is read."""

    def __init__(self, root: Path, source: Path) -> None:
        self._root, self._source = root, source
        self._metadata = read_json(root / METADATA)
        files = [root / "configs" / name for name in _CONFIGS]
        found = [file for file in files if file.is_file()]
        if not found:
            raise refused(f"The bundle has none of configs/{', configs/'.join(_CONFIGS)}.")
        content = read_json(found[0]) if found[0].suffix == ".json" else read_yaml(found[0])
        self._config = MonaiConfig(content, root)
        numbers = re.findall(r"\d+", str(self._metadata.get("monai_version", "")))[:2]
        self._version = tuple(map(int, numbers)) or (0,)

    def name(self) -> str:
        """Return a name for the model."""
        given = self._root.name if self._source.is_dir() else self._source.stem
        return model_name(re.sub(r"_v[\d.]+$", "", given), "monai-bundle")

    def manifest(self) -> BundleManifest:
        """Return what the bundle says."""
        network, channels, classes = self._network()
        decision = decision_of(listed(self._part("postprocessing")))
        preparation = preparation_of(listed(self._part("preprocessing")), self._version)
        names = self._channel_names(channels)
        prediction, is_regional = self._format("outputs", "pred"), decision.is_regional
        labels, network = labels_of(prediction, network, decision.painted, is_regional=is_regional)
        notes = [decision.notes, overlap_note(labels) if is_regional else ""]
        if decision.components is not None:
            if is_regional and classes > 1:
                raise refused("The bundle keeps the largest component of regions that may overlap.")
            chosen = decision.components
            labels = tuple(
                replace(label, keep_largest=not chosen or label.value in chosen) for label in labels
            )
        space = PreprocessingConfig(
            modality=self._modality(),
            channels=names,
            intensity=tuple(PreprocessingConfig().intensity * channels),
            spacing_dhw=preparation.spacing,
            orientation=preparation.orientation,
            transpose=(2, 1, 0),
            monai_steps=tuple(preparation.steps) or ({"step": "scale-range", **_UNCHANGED},),
            decision="regions" if is_regional else "highest",
            scores=decision.scores,  # type: ignore[arg-type]
            decides_first=decision.decides_first,
            skips_air=False,
            mirror_axes=(),
            **windows_of(self._component("inferer")),
        )
        text = self._metadata.get
        return BundleManifest(
            name="imported",
            version=str(text("version") or "1.0.0"),
            title=str(text("name") or text("task") or self.name()),
            description=str(text("description") or ""),
            intended_use=str(text("intended_use") or ""),
            limitations=" ".join(filter(None, notes)),
            authors=str(text("authors") or ""),
            license=self._license(),
            training_data=str(text("data_source") or ""),
            network=network,
            preprocessing=space,
            labels=labels,
            evaluation=_numbers(text("eval_metrics")),
            provenance={
                "bundle": self._source.name,
                "weights_sha256": file_sha256(self._weights_file()),
                "imported_by": f"MISFM {__version__}",
            },
        )

    def weights(self) -> dict[str, Tensor]:
        """Return the weights by MONAI's names."""
        return read_state(self._weights_file())

    def _weights_file(self) -> Path:
        path = self._load_path() or "models/model.pt"
        file = within(self._root, path)
        if file is None:
            raise refused(f"The bundle takes its weights from {path}, outside of itself.")
        if not file.is_file():
            file = self._root / "models" / file.name
        if not file.is_file():
            raise BundleError(
                f"The weights {path} are not in the bundle.",
                code="bundle-incomplete",
                remedy="Get the released zip; the repository holds only their address.",
            )
        if file.suffix == ".ts":
            raise refused(f"The weights {path} are TorchScript, which is code.")
        return file

    def _load_path(self) -> str:
        """Return the path of the weights that a CheckpointLoader names."""
        candidates = [
            self._config.get(key) for key in ("checkpointloader",) if self._config.has(key)
        ]
        for key in ("handlers", "evaluator#val_handlers"):
            if self._config.has(key):
                given = self._config.get(key)
                candidates += given if isinstance(given, list) else []
        for item in candidates:
            if isinstance(item, Mapping) and short_name(item) == "CheckpointLoader":
                path = item.get("load_path")
                if isinstance(path, Unknown):
                    raise refused(f"The path of the weights cannot be read: {path.why}.")
                return str(path)
        return ""

    def _component(self, name: str) -> Mapping[str, Any]:
        found = self._part(name)
        if not isinstance(found, Mapping) or "_target_" not in found:
            raise refused(f"The {name} of the bundle cannot be read.")
        return found

    def _part(self, name: str) -> Any:
        """Return a part of the config by the names that bundles use."""
        for path in _PLACES[name]:
            if self._config.has(path):
                found = self._config.get(path)
                if isinstance(found, Unknown):
                    raise refused(f"{path} cannot be read: {found.why}.")
                return found
        raise refused(f"The bundle has no {name}; looked for {', '.join(_PLACES[name])}.")

    def _network(self) -> tuple[NetworkConfig, int, int]:
        component = self._component("network")
        target, name = str(component["_target_"]), short_name(component)
        name = _ALIASES.get(name, name)
        if name not in NAMES:
            raise refused(f"The network is {target}, known are {', '.join(NAMES)} of MONAI.")
        arguments = {key: v for key, v in component.items() if not key.startswith("_")}
        for key, value in arguments.items():
            if isinstance(value, Unknown):
                raise refused(f"{key} of {name} cannot be read: {value.why}.")
        if arguments.get("spatial_dims", 3) != 3:
            raise refused(f"{name} is a network of slices.")
        described: dict[str, Any] = {"name": name, "arguments": arguments}
        if name == "SwinUNETR":
            arguments.pop("img_size", None)
            if self._version < _NEW_MERGING:
                described["merging"] = "before-1.5"
        if name == "DynUNet":
            arguments |= {"deep_supervision": False}
        channels, classes = int(arguments["in_channels"]), int(arguments["out_channels"])
        config = NetworkConfig(
            architecture="monai",
            in_channels=channels,
            num_classes=classes,
            monai=json.dumps(described, sort_keys=True),
        )
        return config, channels, classes

    def _channel_names(self, channels: int) -> tuple[str, ...]:
        given = self._format("inputs", "image").get("channel_def") or {}
        names = [str(given.get(str(number), "image")) for number in range(channels)]
        return tuple(unique(names))

    def _format(self, side: str, name: str) -> Mapping[str, Any]:
        formats = self._metadata.get("network_data_format", {}).get(side, {})
        found: Any = formats.get(name) or next(iter(formats.values()), {})
        return found if isinstance(found, Mapping) else {}

    def _modality(self) -> Any:
        modality = str(self._format("inputs", "image").get("modality", "")).upper()
        return {"CT": "CT", "MR": "MR", "MRI": "MR"}.get(modality, "other")

    def _license(self) -> str:
        file = self._root / "LICENSE"
        first = file.read_text("utf-8", "replace").strip()[:200] if file.is_file() else ""
        if "Apache License" in first:
            return "Apache-2.0"
        return str(self._metadata.get("license") or self._metadata.get("copyright") or "")


_ALIASES = {"Unet": "UNet", "DynUnet": "DynUNet", "Dynunet": "DynUNet"}
_UNCHANGED = {"a_min": 0.0, "a_max": 1.0}
_PLACES = {
    "network": ("network_def", "net", "evaluator#network", "network"),
    "preprocessing": ("preprocessing", "dataset#transform", "dataloader#dataset#transform"),
    "inferer": ("inferer", "evaluator#inferer"),
    "postprocessing": ("postprocessing", "evaluator#postprocessing"),
}


def _load(network: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load MONAI's weights; buffers without any and heads of deep supervision may be missing."""
    state = network.state_dict()
    missing = [name for name in state if name not in weights and not _is_table(name)]
    wrong = [n for n in state if n in weights and weights[n].shape != state[n].shape]
    unused = [n for n in weights if n not in state and not re.search(r"supervision|super_head", n)]
    if missing or wrong or unused:
        raise refused(
            f"The weights are not those of the network: {len(missing)} are missing, {len(wrong)} "
            f"have another shape, {len(unused)} are left over "
            f"({', '.join([*missing, *wrong, *unused][:4])})."
        )
    network.load_state_dict({n: t for n, t in weights.items() if n in state}, strict=False)


def _is_table(name: str) -> bool:
    return name.endswith("relative_position_index")


def _numbers(values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {}
    return {str(k): float(v) for k, v in values.items() if isinstance(v, int | float)}
