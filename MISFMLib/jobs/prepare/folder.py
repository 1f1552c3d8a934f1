"""Folder of a training store while it is made: settings, what is done so far, the final table.

``journal.jsonl`` gets a line for every source that is done, so that a kill loses only what was
under way. At the end the lines are merged into ``index.csv`` and the journal is emptied.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from MISFMLib.configs import encode
from MISFMLib.data.store_building import STORE_FORMAT, Recipe, read_recipe
from MISFMLib.data.store_index import (
    ARRAYS,
    HELD_OUT,
    INDEX,
    SETTINGS,
    StoreEntry,
    from_row,
    read_index,
    to_row,
    write_index,
)
from MISFMLib.data.store_sources import Source
from MISFMLib.errors import ConfigError, OutputError
from MISFMLib.events import EventSink, Notice
from MISFMLib.files import parse_json, write_json
from MISFMLib.locks import lock

_JOURNAL = "journal.jsonl"

Entries = list[StoreEntry]


@dataclass
class StoreFolder:
    """A store that is being made, by one run at a time."""

    path: Path
    finished: dict[str, Entries]
    """Entries of earlier runs that came to their end, by source."""
    done: dict[str, Entries]
    """Entries since then."""
    journal: IO[str]

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, recipe: Recipe, events: EventSink) -> Iterator[StoreFolder]:
        """Open a store, a new one or one to go on with.

        Raises:
            ConfigError: It was begun with another recipe.
            OutputError: The folder is something else, or another run works on it.
        """
        _check_settings(path, recipe)
        with (path / _JOURNAL).open(
            "a+", encoding="utf-8", errors="surrogateescape", newline="\n"
        ) as journal:
            lock(journal, _busy(path), events)
            index = read_index(str(path)) if (path / INDEX).exists() else []
            done, problem = _read_journal(journal)
            if problem:
                events(Notice(f"{path / _JOURNAL}, {problem}: what it said is prepared again."))
            yield cls(path, _by_source(index), done, journal)

    def entries_of(self, source: Source) -> Entries:
        """Return what is known of a source; nothing if it is new, has changed or lost an array."""
        entries = self._known(source.name)
        is_same = all(entry.signature == source.signature for entry in entries)
        is_whole = all(entry.is_whole(self.path) for entry in entries if entry.array)
        return entries if is_same and is_whole else []

    def changed(self, sources: Sequence[Source]) -> list[str]:
        """Return which of these the store has by their names, from other files."""
        return [
            source.name
            for source in sources
            if any(entry.signature != source.signature for entry in self._known(source.name))
        ]

    def gone(self, sources: Sequence[Source]) -> list[str]:
        """Return which sources of the store are not in the folders any more that these are in."""
        names = {source.name for source in sources}
        roots = {name.partition("/")[0] for name in names}
        known = (self.finished.keys() | self.done.keys()) - names
        return sorted(name for name in known if name.partition("/")[0] in roots)

    def _known(self, name: str) -> Entries:
        return self.done.get(name) or self.finished.get(name) or []

    def add(self, source: Source, entries: Sequence[StoreEntry]) -> None:
        """Write down the entries of a source that is done."""
        line = {"path": source.name, "entries": [to_row(entry) for entry in entries]}
        self.journal.write(json.dumps(line) + "\n")
        self.journal.flush()
        self.done[source.name] = list(entries)

    def finish(self) -> Entries:
        """Write the table, remove what it does not name, and return its rows."""
        kept = {key: rows for key, rows in self.finished.items() if key not in self.done}
        entries = _without_duplicates(_flat(kept), _flat(self.done))
        write_index(entries, self.path)
        _remove_strays(self.path, {entry.array for entry in entries})
        if self.done:
            self.journal.truncate(0)
        return entries


def _check_settings(path: Path, recipe: Recipe) -> None:
    if not (path / SETTINGS).exists():
        if path.exists() and any(path.iterdir()):
            raise OutputError(
                f"{path} is in the way: it is no training store, and not empty.",
                code="output-exists",
                remedy="Choose another output folder.",
            )
        write_json(path / SETTINGS, {"format": STORE_FORMAT, **encode(recipe)})
    now, earlier = _settings(recipe), _settings(read_recipe(str(path)))
    changed = [
        f"{name} was {earlier[name]} and is {value}"
        for name, value in now.items()
        if value != earlier[name]
    ]
    if changed:
        raise ConfigError(
            f"The store {path} was begun with other settings: {'; '.join(changed)}.",
            code="store-settings",
            remedy="Use the same settings, or another output folder.",
        )


def _settings(recipe: Recipe) -> dict[str, Any]:
    return {**encode(recipe.preparation), **encode(recipe.limits)}


def _busy(path: Path) -> OutputError:
    return OutputError(
        f"Another run is preparing the store {path}.",
        code="store-busy",
        remedy="Wait for it, or choose another output folder.",
    )


def _read_journal(journal: IO[str]) -> tuple[dict[str, Entries], str]:
    """Read the lines of a run that was killed; where it was writing one, that one is cut off.

    Returns:
        Entries by source, and what is wrong with lines that were damaged since.
    """
    journal.seek(0)
    whole, _, torn = journal.read().rpartition("\n")
    if torn:
        journal.truncate(len((whole + "\n" if whole else "").encode("utf-8", "surrogateescape")))
    found: dict[str, Entries] = {}
    problem = ""
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            content = parse_json(line)
            found[str(content["path"])] = [from_row(row) for row in content["entries"]]
        except (ValueError, TypeError, KeyError, AttributeError):
            problem = f"line {number}, is damaged"
    return found, problem


# ------------------------------------------------------------------------------------------ the end


def _by_source(entries: Iterable[StoreEntry]) -> dict[str, Entries]:
    found: dict[str, Entries] = {}
    for entry in entries:
        found.setdefault(entry.path, []).append(entry)
    return found


def _flat(found: dict[str, Entries]) -> Entries:
    return sorted((entry for rows in found.values() for entry in rows), key=lambda row: row.key)


def _without_duplicates(earlier: Entries, new: Entries) -> Entries:
    """Let one entry per content count: one that did so before, else the first by its name.

    So the table does not depend on the order in which the sources were done. Content that is held
    out does not count at all.
    """
    entries = sorted((*earlier, *new), key=lambda entry: entry.key)
    before = {entry.key for entry in earlier if entry.status == "ok"}
    chosen: dict[str, StoreEntry] = {}
    for entry in sorted(entries, key=lambda entry: (bool(entry.array), entry.key not in before)):
        if entry.array or entry.reason == HELD_OUT:
            chosen.setdefault(entry.sha256, entry)
    return [_judged(entry, chosen[entry.sha256]) if entry.array else entry for entry in entries]


def _judged(entry: StoreEntry, chosen: StoreEntry) -> StoreEntry:
    if chosen.key == entry.key:
        return replace(entry, status="ok", reason="", message="")
    message = f"Its voxels are those of {' '.join(chosen.key).strip()}"
    if not chosen.array:
        message += ", which its data set keeps for validation."
        return replace(entry, status="quarantined", reason=HELD_OUT, message=message)
    return replace(entry, status="duplicate", reason="same-voxels", message=f"{message}.")


def _remove_strays(folder: Path, arrays: set[str]) -> None:
    """Remove arrays of sources that have changed, and what killed runs left half-written."""
    for file in (folder / ARRAYS).rglob("*.b2nd"):
        if file.is_file() and file.relative_to(folder).as_posix() not in arrays:
            file.unlink()
