"""What a bundle says about its model, as one frozen dataclass."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig, raise_problems

UNKNOWN_IMAGES = "unknown"
"""Stands for the digests of what a model has learnt from that does not say so."""
MEAN_DICE, HELD_OUT = "mean Dice of the labels", "held-out cases"
TOLERANCE = "tolerance of the surface Dice in mm"
RESULTS_OF_ALL = (MEAN_DICE, HELD_OUT, TOLERANCE)
"""What an evaluation tells beside the results of each label; no label is called so."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_model_name(name: str) -> bool:
    """Tell whether a name can be a folder on every system: letters, digits, '.', '-' and '_'."""
    return bool(_NAME.fullmatch(name))


def model_name(title: str, otherwise: str = "model") -> str:
    """Turn a title into a name that bundles allow; one that has none of its letters is another."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-._") or otherwise


@dataclass(frozen=True, kw_only=True)
class BundleManifest:
    """Everything about a model except its weights."""

    name: str
    """Short name: letters, digits, dot, hyphen, underscore."""
    version: str = "1.0.0"
    """Version of the model."""
    kind: Literal["segmentation", "pretrained"] = "segmentation"
    """segmentation: ready for use. pretrained: a start for fine-tuning; its output has no use."""
    title: str = ""
    """Name for people."""
    description: str = ""
    """What the model does, in one or two sentences."""
    intended_use: str = ""
    """For which volumes and which purpose."""
    limitations: str = ""
    """What it has not been shown to do."""
    authors: str = ""
    """Who made it."""
    license: str = ""
    """Licence of the weights: an SPDX identifier such as CC-BY-SA-4.0, or words."""
    training_data: str = ""
    """Origin of the training data, with its licence and attribution."""
    network: NetworkConfig
    """Network that the weights belong to."""
    preprocessing: PreprocessingConfig
    """From a volume to the network's input."""
    labels: tuple[LabelConfig, ...] = ()
    """Foreground classes in the network's order: class k of the logits is labels[k - 1]. Those of
    the parts follow."""
    parts: tuple[str, ...] = ()
    """Further models that segment together with this one, each a bundle in a folder of this name
    in ``parts``; their labels go over this model's, later ones over earlier ones."""
    evaluation: dict[str, Any] = field(default_factory=dict)
    """Held-out results: metrics by label name, and facts such as the number of cases."""
    training_images: tuple[str, ...] = ()
    """Digests of the images that the model has learnt from: they tell cases that it knows, and
    nothing about anybody who has not the images."""
    held_out_images: tuple[str, ...] = ()
    """Digests of the images that its training was judged on."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """How the weights were made: command, seed, versions, source files."""
    weights_sha256: str = ""
    """SHA-256 of models/model.safetensors; `write_bundle` fills it in."""

    def __post_init__(self) -> None:
        names = [label.name for label in self.labels]
        values = [label.value for label in self.labels]
        channels = self.preprocessing.input_channels
        is_regional = self.preprocessing.is_regional
        classes = self.network.num_classes - (0 if is_regional else 1)
        checks = {
            f"name is {self.name!r}, allowed are letters, digits, '.', '-' and '_'": (
                is_model_name(self.name)
            ),
            f"label names are not unique: {names}": len(set(names)) == len(names),
            f"label values are not unique and at least 1: {values}": (
                len(set(values)) == len(values) and min(values, default=1) >= 1
            ),
            f"{channels} channels do not fit a network for {self.network.in_channels}": (
                channels == self.network.in_channels
            ),
            f"{len(names)} labels do not fit a network of {self.network.num_classes} classes": (
                self.kind == "pretrained"
                or len(names) == classes
                or (bool(self.parts) and len(names) > classes)
            ),
        }
        problems = [problem for problem, passed in checks.items() if not passed]
        if not all(map(is_model_name, self.parts)):
            problems.append(f"parts are {self.parts}, allowed are names of folders")
        raise_problems(problems, "Correct the description of the model.")

    @property
    def own_labels(self) -> tuple[LabelConfig, ...]:
        """Labels of this model's network, without those of its parts."""
        is_regional = self.preprocessing.is_regional
        return self.labels[: self.network.num_classes - (0 if is_regional else 1)]
