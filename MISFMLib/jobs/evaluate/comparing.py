"""All cases of an evaluation: here, on workers, or in shards; what was compared is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from MISFMLib.configs import EvaluateConfig
from MISFMLib.cores import usable_cores
from MISFMLib.errors import DependencyError, MISFMError
from MISFMLib.events import CaseDone, EventSink
from MISFMLib.jobs.evaluate.comparison import LabelScore, compare_pair
from MISFMLib.jobs.evaluate.pairs import Pair
from MISFMLib.jobs.journal import Journal, Journals, nothing_to_merge
from MISFMLib.jobs.progress import Pace
from MISFMLib.jobs.workers import open_workers
from MISFMLib.metrics import Agreement
from MISFMLib.volumes.formats.text_headers import data_files

_FEW = 4
"""Cases for fewer of which no process is started unasked."""
_DIED = "Its process died each time, most likely because the memory was full. Use fewer --workers."

Result = list[LabelScore] | str
"""Scores of a case, or why it has none."""


def compare_all(
    pairs: Sequence[Pair], names: Mapping[int, str], config: EvaluateConfig, events: EventSink
) -> dict[str, Result]:
    """Compare the cases of this shard that no earlier run has compared.

    Args:
        pairs: Cases of all shards.
        names: Value and name of the labels.
        config: The job.
        events: Hears of every case.

    Returns:
        What is known of the cases of all shards, in their order.

    Raises:
        ConfigError: They shall be merged, and no shard has compared any.
        DependencyError: A package is missing.
        OutputError: The output folder cannot be written to.
    """
    keys = {pair.name: _key(pair, names, config.tolerance_mm) for pair in pairs}
    known = _known(config.output, keys)
    if config.merge and not known:
        raise nothing_to_merge(config.output)
    mine = () if config.merge else pairs[config.part]
    todo = [pair for pair in mine if isinstance(known.get(pair.name, ""), str)]
    pace = Pace(len(todo))
    with contextlib.closing(Journal(config.output, events)) as journal:
        for name, result in _results(todo, names, config):
            known[name] = result
            if isinstance(result, str):
                row: dict[str, Any] = {"failed": result}
            else:
                row = {"scores": [asdict(score) for score in result]}
            journal.add({"case": name, "key": keys[name], **row}, flush=False)
            events(CaseDone(name, "failed" if "failed" in row else "done", row.get("failed", "")))
            pace.add("error" if "failed" in row else "")
            events(pace.progress("evaluate"))
    known = _known(config.output, keys)
    return {pair.name: known[pair.name] for pair in pairs if pair.name in known}


def _key(pair: Pair, names: Mapping[int, str], tolerance_mm: float) -> list[Any]:
    """Return what the scores of a case depend on, as it comes back from JSON."""
    key: list[Any] = [tolerance_mm, sorted([value, name] for value, name in names.items())]
    key += [pair.unlabelled, list(pair.not_drawn), [list(named) for named in pair.model_names]]
    for path in (pair.prediction, pair.reference):
        with contextlib.suppress(OSError):
            for stat in (file.stat() for file in (path, *data_files(path))):
                key += [stat.st_size, stat.st_mtime_ns]
    return key


def _known(folder: Path, keys: Mapping[str, list[Any]]) -> dict[str, Result]:
    """Return what runs have written down about cases that are as they were."""
    known: dict[str, Result] = {}
    for row in Journals(folder).rows():
        if row.get("key") == keys.get(row.get("case", ""), ()):
            known[row["case"]] = row["failed"] if "failed" in row else _scores(row["scores"])
    return known


def _scores(rows: Sequence[dict[str, Any]]) -> list[LabelScore]:
    return [LabelScore(**{**row, "agreement": Agreement(**row["agreement"])}) for row in rows]


def _results(
    pairs: Sequence[Pair], names: Mapping[int, str], config: EvaluateConfig
) -> Iterator[tuple[str, Result]]:
    """Yield the result of every case as it comes."""
    compare = partial(_compare, names=names, tolerance_mm=config.tolerance_mm)
    count = min(usable_cores() if config.workers is None else config.workers, len(pairs))
    is_small = count < 2 or (config.workers is None and len(pairs) < _FEW)
    if config.scheduler is None and is_small:
        yield from ((pair.name, compare(pair)) for pair in pairs)
        return
    with open_workers(count, config.scheduler) as workers:
        for pair, future in workers.results(compare, pairs):
            yield pair.name, _result_of(future)


def _result_of(future: Future[Result]) -> Result:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return _DIED
    return future.result()


def _compare(pair: Pair, names: Mapping[int, str], tolerance_mm: float) -> Result:
    """Compare a case; what is wrong with it does not stop the others."""
    try:
        return compare_pair(pair, names, tolerance_mm)
    except DependencyError:
        raise
    except (MISFMError, OSError, MemoryError) as error:
        return str(error)
