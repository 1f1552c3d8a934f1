"""Folder of a training: settings, split, plan, prepared cases, checkpoint, logs."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from MISFMLib.configs import FinetuneConfig, TrainingConfig, decode, encode
from MISFMLib.data.cases import Split
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.errors import ConfigError, DataError, OutputError
from MISFMLib.events import EventSink
from MISFMLib.files import output_error, read_json, read_json_object, write_json
from MISFMLib.locks import lock
from MISFMLib.replacing import TEMPORARY
from MISFMLib.training.checkpoint import has_checkpoint, previous

_FREE_TO_CHANGE = (
    *("resume", "overwrite", "device", "devices", "precision", "threads", "preview"),
    *("minutes", "patience", "recompute_levels", "output"),
)
"""Settings that a resumed training may change; all others would make it another training. The
output is what its folder was found by."""
_LOCK = "lock"
_CHECKPOINT = Path("checkpoint.pt")
_WATCH, _WATCHED = "watch", "watched.seg.nrrd"
_OF_NO_USE = (
    "cases",
    "draft",
    "control",
    _WATCH,
    _WATCHED,
    str(_CHECKPOINT),
    str(previous(_CHECKPOINT)),
)
"""What is of no use once the bundle is there."""
_OWN = (
    *_OF_NO_USE,
    *("settings.json", "plan.json", "split.json", "volumes.json", "log.jsonl"),
    *("before.csv", "validation.csv", "tensorboard"),
)
"""All that a training writes into its folder, but its lock."""

_DAMAGED, _ANEW = "run-damaged", "Start over with --overwrite and without --resume."

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class RunFolder:
    """Paths in the folder of one training."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """State to go on from."""
        return self.path / _CHECKPOINT

    @property
    def control(self) -> Path:
        """What the user asks of the training while it runs: ``pause`` or ``finish``."""
        return self.checkpoint.with_name("control")

    def watched_case(self) -> str:
        """Return the held-out case that somebody watches; empty when nobody does."""
        try:
            return (self.path / _WATCH).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    @property
    def watched(self) -> Path:
        """What the network sees in that case, renewed at every validation."""
        return self.path / _WATCHED

    @property
    def cases(self) -> Path:
        """Prepared cases; can be made again from the data set."""
        return self.path / "cases"

    @property
    def _settings(self) -> Path:
        return self.path / "settings.json"

    def _begun_with(self) -> dict[str, Any]:
        return read_json_object(self._settings, DataError, code=_DAMAGED, remedy=_ANEW)

    def other_place(self, config: FinetuneConfig) -> str:
        """Return where a training that goes on had its data set; empty where it has it still."""
        earlier = str(self._begun_with().get("data", ""))
        return "" if _is_same(earlier, str(config.data)) else earlier

    @property
    def _plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def _split(self) -> Path:
        return self.path / "split.json"

    @property
    def draft(self) -> Path:
        """The bundle before its evaluation."""
        return self.path / "draft"

    @property
    def scores(self) -> Path:
        """Table of the final validation, one line per case and label."""
        return self.path / "validation.csv"

    @property
    def scores_before(self) -> Path:
        """The same table of the model that the training started from."""
        return self.path / "before.csv"

    @classmethod
    def of(cls, config: TrainingConfig) -> RunFolder:
        """Return the folder of a run, which may not exist yet."""
        return cls(config.output.with_name(f"{config.output.name}.run"))

    @contextlib.contextmanager
    def alone(self, events: EventSink) -> Iterator[None]:
        """Keep every other training out of the folder.

        Raises:
            OutputError: Another training works in it, it is none of ours, or cannot be written.
        """
        self._check_ours()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / _LOCK).open("a")
        except OSError as error:
            raise output_error(error, self.path) from error
        with file:
            lock(file, self._busy(), events)
            yield

    def _busy(self) -> OutputError:
        return OutputError(
            f"Another training writes to {self.path}.",
            code="run-busy",
            remedy="Wait for it, or choose another output.",
        )

    def _check_ours(self) -> None:
        names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        # Programs of others call folders .run and files settings.json too.
        is_ours = "settings.json" in names and names & {_LOCK, "log.jsonl", "plan.json"}
        if (names - {_LOCK} and not is_ours) or (self.path.exists() and not self.path.is_dir()):
            raise OutputError(
                f"{self.path} is in the way: the files of the training shall go there.",
                code="run-folder-taken",
                remedy="Move it, or choose another output.",
            )

    @classmethod
    def open(cls, config: TrainingConfig) -> RunFolder:
        """Open the folder of a run, a new one or the one to resume.

        Raises:
            OutputError: An unfinished run is there, and neither resume nor overwrite is set; or a
                folder of that name is no run.
            ConfigError: The run to resume was started with other settings.
        """
        folder = cls.of(config)
        folder._check_ours()
        if folder._settings.exists() and config.resume:
            _check_same_settings(folder._begun_with(), config)
            folder.control.unlink(missing_ok=True)  # it was meant for the process that has ended
        elif has_checkpoint(folder.checkpoint) and not config.overwrite:
            raise OutputError(
                f"{folder.path} holds an unfinished training.",
                code="run-exists",
                remedy="Go on with --resume, or start over with --overwrite.",
            )
        else:
            folder._remove(_OWN)
            write_json(folder._settings, encode(config))
            (folder.path / _LOCK).touch()
        return folder

    def begun(self) -> tuple[TrainingPlan, Split] | None:
        """Return plan and split of the training that goes on; None where it begins.

        Raises:
            DataError: They were damaged since.
        """
        if has_checkpoint(self.checkpoint) and self._plan.exists() and self._split.exists():
            plan = _read(self._plan, partial(decode, TrainingPlan))
            return plan, _read(self._split, partial(decode, Split))
        return None

    def write_plan(self, plan: TrainingPlan, split: Split) -> None:
        """Write down what was planned and which cases were held out.

        Cases that were prepared by another plan, before a kill and a change of the data set, go.
        """
        earlier = None
        with contextlib.suppress(DataError):
            earlier = _read(self._plan, partial(decode, TrainingPlan))
        if earlier != plan:
            self._remove([self.cases.name])
        write_json(self._plan, encode(plan), overwrite=True)
        write_json(self._split, encode(split), overwrite=True)

    @property
    def log(self) -> Path:
        """Notices and numbers of the training, one JSON object in a line."""
        return self.path / "log.jsonl"

    def clean(self) -> None:
        """Remove what is of no use once the bundle is there: prepared cases, draft, checkpoint."""
        self._remove(_OF_NO_USE)

    def _remove(self, names: Iterable[str]) -> None:
        """Remove files and folders of these names, and what kills have left half-written."""
        for path in [*map(self.path.joinpath, names), *self.path.glob(f"{TEMPORARY}*")]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def read_listing(path: Path, item_class: type[ItemT]) -> list[ItemT]:
    """Read a list that a training has written into its folder.

    Raises:
        DataError: The file was damaged since.
    """
    return _read(path, lambda content: [decode(item_class, item) for item in content])


def _read(path: Path, make: Callable[[Any], ItemT]) -> ItemT:
    content = read_json(path, DataError, code=_DAMAGED, remedy=_ANEW)
    try:
        return make(content)
    except (ConfigError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error}", code=_DAMAGED, remedy=_ANEW) from error


def _check_same_settings(earlier: dict[str, Any], config: TrainingConfig) -> None:
    # What an earlier version did not know had the effect that is the default now.
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    earlier = defaults | earlier
    # Whether the cases of a data set elsewhere are the same is seen by their files: `going_on`.
    free = (*_FREE_TO_CHANGE, *(("data",) if isinstance(config, FinetuneConfig) else ()))
    changed = [
        f"{name} was {_said(earlier[name])} and is {_said(value)}"
        for name, value in encode(config).items()
        if name not in free and not _is_same(earlier[name], value)
    ]
    if changed:
        raise ConfigError(
            f"The run to resume was started with other settings: {'; '.join(changed)}.",
            code="resume-settings",
            remedy="Use the same settings, or start over with --overwrite and without --resume.",
        )


def _said(value: Any) -> str:
    return "not given" if value is None else str(value)


def _is_same(earlier: Any, value: Any) -> bool:
    """Tell whether a setting is the same; one path may be written in several ways."""
    if isinstance(earlier, list) and isinstance(value, list):
        return len(earlier) == len(value) and all(map(_is_same, earlier, value))
    if isinstance(earlier, str) and isinstance(value, str) and earlier != value:
        return Path(earlier).exists() and Path(value).exists() and Path(earlier).samefile(value)
    return bool(earlier == value)
