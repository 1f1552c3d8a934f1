"""``misfm prepare``: folders of volumes become a training store, from which crops are read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from MISFMLib.configs import PrepareConfig
from MISFMLib.cores import usable_cores
from MISFMLib.data.cases import listed
from MISFMLib.data.manifest import check_copy, read_manifest
from MISFMLib.data.store_building import Recipe, build_source, quarantined
from MISFMLib.data.store_index import HELD_OUT, INDEX, StoreEntry
from MISFMLib.data.store_sources import Source, find_sources
from MISFMLib.data.unlabelled import Preparation
from MISFMLib.data.volume_checks import Limits
from MISFMLib.errors import DataError, DependencyError, OutputError
from MISFMLib.events import CaseDone, EventSink, Notice, Progress, ignore_events
from MISFMLib.jobs.prepare.folder import StoreFolder
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.workers import open_workers

_FEW = 4


def run_prepare(config: PrepareConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Find volumes, check each, and write those of use into a store.

    A volume that fails is quarantined: the table says why, and the others go on. A run that was
    stopped or killed goes on from there when it is started again; run again with nothing changed,
    it changes nothing.

    Args:
        config: The job.
        events: Hears progress, notices and every volume that is quarantined.

    Returns:
        Counts of the whole store and of this run; the key ``text`` holds a summary for people.

    Raises:
        ConfigError: Settings contradict each other or those of the store, or the scheduler is not
            there.
        DataError: There is no volume, or none that can be used.
        OutputError: The store cannot be written, or another run works on it.
        DependencyError: A package is missing on a worker.
    """
    started = time.monotonic()
    events(Progress("find", 0.0, "looking for volumes"))
    sources = find_sources(config.data)
    events(Progress("find", 1.0, f"{len(sources)} found"))
    if config.check_only:
        return _check(config, [source.name for source in sources])
    recipe = _recipe(config)
    with StoreFolder.open(config.output.absolute(), recipe, events) as folder:
        known = [(source, folder.entries_of(source)) for source in sources]
        todo = [source for source, entries in known if _is_open(entries, config)]
        if len(todo) < len(sources):
            events(Notice(f"{len(sources) - len(todo)} were prepared already.", "info"))
        _tell_differences(sources, folder, events)
        _build(todo, config, recipe, folder, events)
        entries = folder.finish()
    report = _report(config, entries, folder.path)
    return {"prepared": len(todo), "seconds": round(time.monotonic() - started, 1), **report}


def _recipe(config: PrepareConfig) -> Recipe:
    return Recipe(
        preparation=Preparation(
            modality=config.modality, scheme=config.intensity, spacing_dhw=config.spacing_dhw
        ),
        limits=Limits(min_edge=config.min_edge, max_spacing_mm=config.max_spacing_mm),
    )


def _tell_differences(sources: Sequence[Source], folder: StoreFolder, events: EventSink) -> None:
    """Tell what the folders hold otherwise than the store has it, which may be a slip.

    Only the names of the folders are known, which data sets share: imagesTr, scans.
    """
    changed, gone = folder.changed(sources), folder.gone(sources)
    if changed:
        events(
            Notice(
                f"{len(changed)} volumes are others than those of these names in the store, and "
                f"take their place: {listed(changed, _FEW)}. If they are of other patients, give "
                "the folder another name."
            )
        )
    if gone:
        roots = sorted({name.partition("/")[0] for name in gone})
        events(
            Notice(
                f"{len(gone)} volumes of the store are no longer in {', '.join(roots)}: "
                f"{listed(gone, _FEW)}. They are still learnt from; a store without them is made "
                "in a new folder."
            )
        )


def _is_open(entries: Sequence[StoreEntry], config: PrepareConfig) -> bool:
    """Tell whether a source is still to be prepared, or once more."""
    failed = any(entry.status == "quarantined" for entry in entries)
    return not entries or (failed and config.retry_quarantined)


def _build(
    sources: Sequence[Source],
    config: PrepareConfig,
    recipe: Recipe,
    folder: StoreFolder,
    events: EventSink,
) -> None:
    if not sources:
        return
    count = counter(events, "prepare", len(sources))
    work = partial(build_source, recipe=recipe, folder=folder.path)
    num_workers = usable_cores() if config.workers is None else config.workers
    with open_workers(num_workers, config.scheduler) as workers:
        for done, (source, future) in enumerate(workers.results(work, sources), 1):
            entries = _entries(source, future)
            folder.add(source, entries)
            for entry in entries:
                if entry.status == "quarantined":
                    status = "skipped" if entry.reason == HELD_OUT else "failed"
                    message = f"{entry.reason}: {entry.message}"
                    events(CaseDone(" ".join(entry.key).strip(), status, message))
            count(done)


def _entries(source: Source, future: Future[list[StoreEntry]]) -> list[StoreEntry]:
    """Return what became of a source, whatever the work on it ended with."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, OutputError | DependencyError | ModuleNotFoundError):
        raise error  # It is not the volume's fault: it would be so for all.
    if isinstance(error, BrokenProcessPool):
        error = DataError(
            "The process that worked on it died, most likely because the memory was full.",
            code="worker-died",
            remedy="Use fewer --workers and --retry-quarantined.",
        )
    return [quarantined(source, error)]


# -------------------------------------------------------------------------------------- the report


def _report(config: PrepareConfig, entries: Sequence[StoreEntry], store: Path) -> dict[str, Any]:
    usable = [entry for entry in entries if entry.status == "ok"]
    if not usable:
        raise DataError(
            f"None of the {len(entries)} volumes can be used "
            f"({_listed(_counts(entry.reason for entry in entries))}).",
            code="no-usable-volume",
            remedy=f"See {store / INDEX}.",
        )
    num_bytes = sum((store / entry.array).stat().st_size for entry in usable)
    duplicates = sum(entry.status == "duplicate" for entry in entries)
    reasons = _counts(entry.reason for entry in entries if entry.status == "quarantined")
    lines = [
        f"{store}: {len(usable)} volumes to learn from, {num_bytes / 1e6:.1f} MB",
        f"{duplicates} duplicates, {sum(reasons.values())} quarantined: {_listed(reasons)}",
        f"Table: {store / INDEX}",
    ]
    checked = _check(config, [entry.path for entry in entries if entry.status != "quarantined"])
    text = "\n".join([*lines, *filter(None, [checked.get("text")])])
    return {
        "store": str(store),
        "usable": len(usable),
        "modalities": _counts(entry.modality for entry in usable),
        "bytes": num_bytes,
        "duplicates": duplicates,
        "quarantined": reasons,
        **checked,
        "text": text,
    }


def _check(config: PrepareConfig, names: Sequence[str]) -> dict[str, Any]:
    """Compare with the manifest, if one was asked for."""
    if config.manifest is None:
        return {}
    manifest = read_manifest(config.manifest)
    checks = check_copy(manifest, names)
    missing = {check.source.name: check.missing for check in checks if check.missing}
    lines = [f"{manifest.name}: {manifest.note}", *(check.line() for check in checks)]
    return {
        "manifest": {
            "name": manifest.name,
            "found": {check.source.name: check.found for check in checks},
            "missing": missing,
        },
        "text": "\n".join(lines),
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
