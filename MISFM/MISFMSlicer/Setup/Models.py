"""The models that can segment, as the panel lists them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from typing import Any

from slicer.i18n import tr as _

from MISFMLib.errors import MISFMError
from MISFMLib.models import store
from MISFMLib.models.bundle import Bundle, BundleManifest, read_bundle, read_part

from .. import Messages
from ..LibraryMessages import forPanel


@dataclass(frozen=True)
class Model:
    """An installed model."""

    entry: store.ModelEntry
    manifest: BundleManifest | None
    """None when it is damaged; `entry.problem` says why."""
    networks: tuple[frozenset[str], ...] = ()
    """What each of the networks segments that belong together; one for most models."""

    def networksFor(self, only: str) -> tuple[frozenset[str], ...]:
        """Return those that are run for some structures, joined by commas; all for none."""
        wanted = set(filter(None, only.split(",")))
        needed = tuple(names for names in self.networks if not wanted or names & wanted)
        return needed or self.networks[:1]

    @property
    def name(self) -> str:
        """Name to call it by."""
        return self.entry.name

    @property
    def title(self) -> str:
        """Name for people."""
        return self.entry.title or self.entry.name

    @property
    def isMine(self) -> bool:
        """Whether the user made or imported it."""
        return self.entry.origin == "mine"

    @property
    def modality(self) -> str:
        """CT, MR, or empty for any other."""
        modality = self.manifest.preprocessing.modality if self.manifest else "other"
        return "" if modality == "other" else modality

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the volumes it needs."""
        return self.manifest.preprocessing.channels if self.manifest else ("",)

    @property
    def hasInt8(self) -> bool:
        """Whether `misfm quantize` has made a quicker version for this computer."""
        return self.manifest is not None and store.has_int8(self.manifest.weights_sha256)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what it segments."""
        return tuple(label.name for label in self.manifest.labels) if self.manifest else ()

    def matches(self, search: str, chips: Collection[str]) -> bool:
        """Tell whether it has all words of a search and one of the modalities in `chips`.

        Args:
            search: Words, in any order.
            chips: CT, MR or ``mine``; none lets all pass.
        """
        words = [self.name, self.title, self.modality, *self.labels]
        if self.manifest is not None:
            words.append(self.manifest.description)
        text = " ".join(words).lower()
        modalities = set(chips) - {"mine"}
        return (
            all(word in text for word in search.lower().split())
            and (not modalities or self.modality in modalities)
            and ("mine" not in chips or self.isMine)
        )

    def summary(self) -> str:
        """Return the line under the title in the list."""
        if self.entry.problem:
            return _("damaged")
        parts = [
            _("mine") if self.isMine else "",
            self.modality,
            ", ".join(self.labels[:3]) + (" …" if len(self.labels) > 3 else ""),
        ]
        return " · ".join(part for part in parts if part)


def segmentationModels(entries: Iterable[store.ModelEntry]) -> list[Model]:
    """Return those of `store.list_models` that are here and segment; damaged ones too."""
    models = []
    for entry in entries:
        if entry.origin != "available" and entry.kind in ("segmentation", ""):
            bundle = None if entry.problem else read_bundle(entry.path)
            models.append(
                Model(entry, bundle.manifest, _networks(bundle)) if bundle else Model(entry, None)
            )
    return models


def _networks(bundle: Bundle) -> tuple[frozenset[str], ...]:
    labels = [bundle.manifest.own_labels]
    with suppress(MISFMError):  # a damaged part is told when the model is run
        labels += [read_part(bundle, name).manifest.labels for name in bundle.manifest.parts]
    return tuple(frozenset(label.name for label in group) for group in labels)


# ------------------------------------------------------------------------------------- model card


def cardHtml(model: Model) -> str:
    """Return what a model segments, for what data, how well, and under which licence."""
    manifest = model.manifest
    if manifest is None:
        facts = {_("Problem"): forPanel(model.entry.problem)}
    else:
        facts = {
            "": manifest.description,
            _("Segments"): ", ".join(model.labels),
            _("For"): _data(model),
            _("Held-out Dice"): _dice(manifest.evaluation),
            _("Limits"): manifest.limitations,
            _("Trained on"): manifest.training_data,
            _("Licence"): manifest.license or _("not stated: ask its authors"),
            _("Version"): manifest.version,
        }
    lines = [f"<b>{escape(model.title)}</b>"]
    lines += [_fact(title, text) for title, text in facts.items() if text]
    return "<br>".join(lines)


def _fact(title: str, text: str) -> str:
    return f"<i>{escape(title)}:</i> {escape(text)}" if title else escape(text)


def _data(model: Model) -> str:
    preprocessing = model.manifest.preprocessing
    lengths = Messages.lengths(preprocessing.spacing_dhw[::-1]) if preprocessing.spacing_dhw else ""
    parts = [
        _("{modality} volumes").format(modality=model.modality) if model.modality else "",
        ", ".join(model.channels) if len(model.channels) > 1 else "",
        _("voxels of about {lengths}").format(lengths=lengths) if lengths else "",
    ]
    return ", ".join(part for part in parts if part)


def _dice(evaluation: Mapping[str, Any]) -> str:
    scores = [
        f"{name} {values['dice']:.2f}"
        for name, values in evaluation.items()
        if isinstance(values, Mapping) and "dice" in values
    ]
    if not scores:
        return _("not evaluated")
    cases = evaluation.get("held-out cases")
    text = ", ".join(scores)
    return _("{scores} ({count} cases)").format(scores=text, count=cases) if cases else text
