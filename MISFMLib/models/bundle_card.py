"""The texts of a bundle for people: the model card and the licence file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from MISFMLib.configs import Code, PreprocessingConfig
from MISFMLib.models.bundle_manifest import BundleManifest

_NOT_STATED = "Not stated."
_DISCLAIMER = (
    "This is a research model. It is not a medical device and not for clinical use; a person who "
    "can judge the volume must check every result."
)
_SPDX = re.compile(r"[A-Za-z0-9.+]+(-[A-Za-z0-9.+]+)+")


def card_text(manifest: BundleManifest) -> str:
    """Return the model card ``docs/README.md`` in Markdown."""
    sections = {
        "What it does": f"{manifest.description or _NOT_STATED}\n\n{_labels(manifest)}",
        "For what data": _input_data(manifest.preprocessing),
        "Intended use": manifest.intended_use or _NOT_STATED,
        "Limitations": f"{manifest.limitations}\n\n{_DISCLAIMER}".strip(),
        "Training data": manifest.training_data or _NOT_STATED,
        "Held-out results": _evaluation(manifest.evaluation),
        "How it was made": _facts(manifest.provenance) or _NOT_STATED,
        "How to use it": _usage(manifest),
        "Licence": f"Weights: {manifest.license or _NOT_STATED}\n\nAuthors: "
        f"{manifest.authors or _NOT_STATED}",
        "Weights": f"`models/model.safetensors`, SHA-256 `{manifest.weights_sha256}`",
    }
    parts = [f"# {manifest.title or manifest.name} ({manifest.version})"]
    parts += [f"## {heading}\n\n{text}" for heading, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def license_text(manifest: BundleManifest) -> str:
    """Return the content of the file ``LICENSE``: terms of the weights and of their source."""
    terms = manifest.license or "not stated: ask the authors before you use or pass on the weights"
    lines = [f"{manifest.title or manifest.name}", f"Authors: {manifest.authors or _NOT_STATED}"]
    lines += [f"Licence of the weights: {terms}"]
    if _SPDX.fullmatch(manifest.license):
        lines += [f"Text of the licence: https://spdx.org/licenses/{manifest.license}.html"]
    if manifest.training_data:
        lines += ["", f"Training data: {manifest.training_data}"]
    return "\n".join(lines) + "\n"


def _labels(manifest: BundleManifest) -> str:
    if manifest.kind == "pretrained":
        return "Weights to start a fine-tuning from; their own output has no anatomical meaning."
    rows = [
        [label.value, label.name, _code(label.type, label.modifier)] for label in manifest.labels
    ]
    return _table(["value", "label", "code"], rows)


def _code(code: Code, modifier: Code | None) -> str:
    parts = [f"{part.meaning} ({part.scheme} {part.value})" for part in (code, modifier) if part]
    return ", ".join(parts)


def _input_data(preprocessing: PreprocessingConfig) -> str:
    spacing = preprocessing.spacing_dhw
    facts = {
        "modality": preprocessing.modality,
        "channels": ", ".join(preprocessing.channels),
        "intensities": ", ".join(intensity.scheme for intensity in preprocessing.intensity),
        "voxels (depth, height, width)": (
            " x ".join(f"{edge:g}" for edge in spacing) + " mm" if spacing else "as scanned"
        ),
        "patch (depth, height, width)": " x ".join(map(str, preprocessing.patch_size)) + " voxels",
    }
    return _facts(facts)


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    """Tabulate the metrics of every label; list what is no label beneath."""
    if not evaluation:
        return "The model has not been evaluated on held-out cases."
    labels = {name: values for name, values in evaluation.items() if isinstance(values, Mapping)}
    metrics = list(dict.fromkeys(metric for values in labels.values() for metric in values))
    rows = [
        [name, *(_number(values.get(metric)) for metric in metrics)]
        for name, values in labels.items()
    ]
    facts = {name: value for name, value in evaluation.items() if name not in labels}
    parts = [_table(["label", *metrics], rows) if rows else "", _facts(facts)]
    return "\n\n".join(part for part in parts if part)


def _usage(manifest: BundleManifest) -> str:
    if manifest.kind == "pretrained":
        return f"```\nmisfm finetune FOLDER -o NEW_MODEL --init {manifest.name}\n```"
    names = (re.sub(r"\W+", "-", name).lower() for name in manifest.preprocessing.channels)
    image = ",".join(f"{name}.nii.gz" for name in names)
    return f"```\nmisfm segment {image} -m {manifest.name} -o result.seg.nrrd\n```"


def _facts(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {_number(value)}" for name, value in facts.items())


def _table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _number(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
