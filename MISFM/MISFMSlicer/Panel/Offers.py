"""Models of the catalogue that are not on this computer yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from slicer.i18n import tr as _

from MISFMLib.models.catalogue import CatalogueEntry, read_catalogue
from MISFMLib.models.store import ModelEntry

from .. import Messages


@dataclass(frozen=True)
class Offer:
    """A model that can be had."""

    entry: CatalogueEntry

    @property
    def title(self) -> str:
        """Name for people."""
        return self.entry.title

    @property
    def canBeFetched(self) -> bool:
        """Whether a program can download it; else people have to, in a browser."""
        return bool(self.entry.url and (self.entry.sha256 or self.entry.kind == "nnunet"))

    @property
    def size(self) -> str:
        """Size of the file; empty when unknown."""
        return Messages.memory(self.entry.size_bytes) if self.entry.size_bytes else ""

    def matches(self, search: str) -> bool:
        """Tell whether it has all words of a search."""
        entry = self.entry
        text = " ".join((entry.name, entry.title, entry.description)).lower()
        return all(word in text for word in search.lower().split())

    def summary(self) -> str:
        """Return the line under the title in the list."""
        purpose = _("for training") if self.entry.kind == "checkpoint" else ""
        parts = [_("not on this computer"), purpose, self.size]
        return " · ".join(part for part in parts if part)

    def cardHtml(self) -> str:
        """Return what it is, its licence, and how to get it."""
        entry = self.entry
        facts = {
            _("Licence"): entry.license,
            _("Paper"): entry.paper,
            _("Size"): self.size,
        }
        lines = [f"<b>{escape(entry.title)}</b>", escape(entry.description)]
        lines += [f"<i>{escape(name)}:</i> {escape(text)}" for name, text in facts.items() if text]
        if not self.canBeFetched:
            how = escape(_("Download {file} from {link}, then add it with Import."))
            link = f'<a href="{escape(entry.page)}">{escape(entry.page)}</a>'
            lines.append(how.format(file=escape(entry.file), link=link))
        return "<br>".join(lines)


def offers(entries: Iterable[ModelEntry]) -> list[Offer]:
    """Return the models of `store.list_models` that are not on this computer."""
    available = {entry.name for entry in entries if entry.origin == "available"}
    return [Offer(entry) for entry in read_catalogue() if entry.name in available]
