"""From which volumes the results of a batch were made: one name may be that of two patients."""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections.abc import Sequence
from pathlib import Path

from MISFMLib.configs import SegmentConfig
from MISFMLib.errors import OutputError
from MISFMLib.events import EventSink, Notice
from MISFMLib.files import real_path
from MISFMLib.jobs.segment.plan import SegmentCase
from MISFMLib.volumes.suffixes import volume_suffix

_WITHOUT_VOXELS = (".mhd", ".nhdr")
_OPTIONS = ("mirroring", "overlap", "postprocessing", "style")
"""Options that labels depend on, besides the model and what computes it, which the table tells."""
_USUAL = "as usual"


class Origins:
    """Compares the volumes of a batch with those that earlier results in its folder are of."""

    def __init__(self, folder: Path, config: SegmentConfig) -> None:
        """Take the folder of the results and the options of the batch."""
        self._folder = real_path(folder)
        self.series = config.series or ""
        self.options = _described(config)
        self._places: dict[str, str] = {}
        self._changed: list[str] = []
        self._moved: list[str] = []
        self._bare: list[str] = []

    def of(self, case: SegmentCase) -> str:
        """Return where the volume of a case lies, as seen from its result."""
        folder, name = os.path.split(case.inputs[0])
        if folder not in self._places:  # of which there are few
            path = os.path.abspath(folder)  # noqa: PTH100 links stay what they are
            with contextlib.suppress(ValueError):  # another drive
                path = os.path.relpath(path, self._folder)
            self._places[folder] = Path(path).as_posix()
        return f"{self._places[folder]}/{name}"

    def compare(self, case: SegmentCase, told: Sequence[str], made_ns: int) -> None:
        """Compare a case with what its result was made from, as far as the table tells.

        Args:
            case: Whose result is to be kept.
            told: What `of`, `series` and `options` were then; empty where nobody wrote it down.
            made_ns: When the result was made.

        Raises:
            OutputError: It was another volume, which is still there, another series, or other
                options.
        """
        origin, series, options = told
        if origin and series != self.series:
            then, now = (each or "none" for each in (series, self.series))
            raise _other(case, f"with the series {then}", f"with {now}")
        if options and options != self.options:
            raise _other(case, options, self.options)
        if not all(os.path.exists(path) for path in case.results[1:]):  # noqa: PTH110 many times
            self._bare.append(case.name)
        with contextlib.suppress(OSError):
            if any(os.stat(path).st_mtime_ns > made_ns for path in case.inputs):  # noqa: PTH116
                self._changed.append(case.name)
            if origin and origin != self.of(case):
                self._compare_places(case, self._folder / origin)

    def _compare_places(self, case: SegmentCase, before: Path) -> None:
        if not before.exists():
            self._moved.append(case.name)
        elif not _are_same(before, case.inputs[0]):
            raise _other(case, f"from {before.resolve()}", f"from {case.inputs[0]}")

    def tell(self, events: EventSink) -> None:
        """Tell which results are kept though their volumes or what is asked for have changed."""
        from MISFMLib.data.case_files import listed  # needs SimpleITK

        for what, names in (
            ("Changed since their results were made", self._changed),
            ("No longer where they were when their results were made", self._moved),
            ("Without the pictures, reports or uncertainty that are asked for now", self._bare),
        ):
            if names:
                message = f"{what}: {listed(names)}. The results are kept; remove them to have "
                events(Notice(message + "them made anew."))


def _described(config: SegmentConfig) -> str:
    """Describe the options that labels depend on, for people."""
    chosen = {name: getattr(config, name) for name in _OPTIONS}
    usual = {name: getattr(SegmentConfig, name) for name in _OPTIONS}
    texts = [
        name if value is True else f"{name}={value}"
        for name, value in chosen.items()
        if value != usual[name]
    ]
    return f"with {' '.join(texts)}" if texts else _USUAL


def _are_same(before: Path, now: Path) -> bool:
    """Tell whether one volume is the other or a copy of it; of a DICOM series its first file."""
    if before.samefile(now):
        return True
    if before.is_dir() and now.is_dir():
        names = [sorted(path.name for path in folder.iterdir()) for folder in (before, now)]
        if names[0] != names[1] or not names[0]:
            return False
        before, now = before / names[0][0], now / names[0][0]
    is_whole = volume_suffix(now) not in _WITHOUT_VOXELS
    return is_whole and filecmp.cmp(before, now, shallow=False)


def _other(case: SegmentCase, then: str, now: str) -> OutputError:
    return OutputError(
        f"The result {case.output} was made {then}, not {now}.",
        code="other-volume",
        remedy="Choose another output folder; or give all volumes in one command, which puts the "
        "folders that differ into their names; or replace the results with --overwrite.",
    )
