"""What a segmentation job will read and write, settled and checked before anything is computed."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from MISFMLib.configs import SegmentConfig
from MISFMLib.errors import ConfigError, DataError, DependencyError
from MISFMLib.files import check_output
from MISFMLib.jobs.segment.inputs import find_inputs, unique_names
from MISFMLib.volumes.dicom_seg import is_dicom_seg
from MISFMLib.volumes.series_choice import SeriesChoice
from MISFMLib.volumes.suffixes import volume_suffix

_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".dcm")
_VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class SegmentCase:
    """One volume to segment and where its results go."""

    name: str
    """Unique in the job."""
    inputs: tuple[Path, ...]
    """Volume file or DICOM folder, or one for each channel."""
    output: Path
    """Label map; written last, so it stands for a case that is done."""
    overview: Path | None
    """Picture."""
    report: Path | None
    """Report of the run."""
    uncertainty: Path | None = None
    """Volume of the uncertainty."""

    @property
    def results(self) -> tuple[Path, ...]:
        """All files to be written."""
        paths = (self.output, self.overview, self.report, self.uncertainty)
        return tuple(path for path in paths if path is not None)


class Cases(Sequence[SegmentCase]):
    """Cases of a job, made when they are asked for: of 100 000 only the names are kept."""

    def __init__(
        self,
        config: SegmentConfig,
        names: Sequence[str],
        inputs: Sequence[tuple[str, ...]],
        *,
        is_file: bool,
    ) -> None:
        """Take names and inputs; `is_file` says that the output is the result of the only case."""
        self._config = config
        self.names = names
        self._inputs = inputs
        self._is_file = is_file

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> SegmentCase: ...
    @overload
    def __getitem__(self, index: slice) -> Cases: ...
    def __getitem__(self, index: int | slice) -> SegmentCase | Cases:
        """Make a case, or return some of them."""
        config, names, inputs = self._config, self.names[index], self._inputs[index]
        if not isinstance(names, str):
            return Cases(config, names, inputs, is_file=self._is_file)  # type: ignore[arg-type]
        paths = tuple(map(Path, inputs))  # type: ignore[arg-type]
        output = config.output / f"{names}.{_format(config, paths[0])}"
        count = len(self)
        return SegmentCase(
            names,
            paths,
            config.output if self._is_file else output,
            _beside(config.overview, names, (".png",), count),
            _beside(config.report, names, (".json",), count),
            _beside(config.uncertainty, names, _VOLUME_SUFFIXES, count),
        )

    def keep(self, indices: Sequence[int]) -> Cases:
        """Return the cases of these numbers."""
        names = [self.names[index] for index in indices]
        inputs = [self._inputs[index] for index in indices]
        return Cases(self._config, names, inputs, is_file=self._is_file)


@dataclass(frozen=True)
class SegmentPlan:
    """All cases of a job."""

    cases: Cases
    folder: Path | None
    """Folder of the results of a batch, which can be resumed; None for one case to one file."""


def plan_cases(config: SegmentConfig, num_channels: int) -> SegmentPlan:
    """Find the cases, name their results, and refuse what cannot work.

    Args:
        config: The job.
        num_channels: Channels of the model.

    Raises:
        ConfigError: The output does not fit the inputs, or would replace one of them.
        DataError: No volume is there, two are the same, or the channels do not fit the model.
        DependencyError: An output needs a package that is not installed.
        OutputError: A result of a single case is there already and may not be replaced.
    """
    SeriesChoice.parse(config.series)
    inputs = list(find_inputs(config, num_channels))
    if not inputs:
        raise DataError(
            f"There is no volume in {', '.join(map(str, config.images))}.",
            code="no-volume",
            remedy="Give volume files, DICOM folders, or a folder that holds them.",
        )
    is_file = _is_file_output(config.output, len(inputs))
    names = unique_names(inputs)
    cases = Cases(config, names, [tuple(map(str, paths)) for paths in inputs], is_file=is_file)
    del inputs
    _check_packages(config, cases)
    _check_results(config, cases)
    if is_file:
        _check_absent(config, cases[0])
    else:
        for folder in {path.parent for path in cases[0].results}:  # the same of all cases
            check_output(folder / "cases.csv", overwrite=True)
    return SegmentPlan(cases, None if is_file else config.output)


# --------------------------------------------------------------------------------------- outputs


def _format(config: SegmentConfig, image: Path) -> str:
    """Return the format of a result in a folder: as asked for, else that of its image."""
    own = {".nii.gz": "nii.gz", ".nii": "nii", ".nhdr": "nrrd", ".mha": "mha", ".mhd": "mha"}
    own[".nrrd"] = "nrrd"
    return config.format or own.get(volume_suffix(image), "seg.nrrd")


def _is_file_output(output: Path, num_cases: int) -> bool:
    """Tell whether the output is a file (or else a folder)."""
    if output.is_dir():
        return False
    is_volume = output.name.endswith(_SUFFIXES)
    if num_cases > 1 and is_volume:
        raise ConfigError(
            f"{num_cases} volumes cannot go to the one file {output}.",
            code="output-is-file",
            remedy="Give a folder as output, and choose the file type with --format.",
        )
    if num_cases == 1 and output.suffix and not is_volume:
        raise ConfigError(
            f"{output.name} has an ending that label maps cannot be written in.",
            code="output-format",
            remedy=f"Use one of {', '.join(_SUFFIXES)}, or an existing folder.",
        )
    return is_volume


def _beside(option: Path | None, name: str, suffixes: Sequence[str], num_cases: int) -> Path | None:
    """Return the path of a result beside the label map, which is in a folder when there are many.

    Args:
        option: What the user gave: a file, or a folder.
        name: The case.
        suffixes: Endings that such a file may have; the first is taken in a folder.
        num_cases: Cases of the job.
    """
    if option is None:
        return None
    if option.is_dir() or not option.suffix:
        return option / f"{name}{suffixes[0]}"
    if not option.name.endswith(tuple(suffixes)) or option.name.endswith(".seg.nrrd"):
        raise _wrong_ending(option, " or ".join(suffixes))
    if num_cases > 1:
        raise ConfigError(
            f"{num_cases} cases cannot share the one file {option}.",
            code="output-is-file",
            remedy="Give a folder.",
        )
    return option


def _check_packages(config: SegmentConfig, cases: Sequence[SegmentCase]) -> None:
    pictures = ("matplotlib",) if config.overview is not None else ()
    page = ("PIL", "scipy") if config.review is not None else ()
    seg = ("highdicom",) if is_dicom_seg(cases[0].output) else ()  # as all of them
    for extra, packages in (("dicom", seg), ("report", (*pictures, *page))):
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            raise DependencyError(
                f"This needs {' and '.join(missing)}, which is not installed.",
                code="package-missing",
                remedy=f"pip install 'misfm[{extra}]'",
            )


def _wrong_ending(path: Path, suffix: str) -> ConfigError:
    return ConfigError(
        f"{path} was given for a result that ends in {suffix}.",
        code="output-format",
        remedy=f"Use a name that ends in {suffix}.",
    )


def _check_results(config: SegmentConfig, cases: Sequence[SegmentCase]) -> None:
    """Refuse results that would replace an input or each other, or lie among DICOM files."""
    if config.statistics is not None and config.statistics.suffix != ".csv":
        raise _wrong_ending(config.statistics, ".csv")
    real = _RealNames()
    inputs = {real.of(path) for case in cases for path in case.inputs}
    seen: set[str] = set()
    results = (path for case in cases for path in case.results)
    for path in itertools.chain(results, [config.statistics] if config.statistics else []):
        name = real.of(path)
        # The files of a series need no ending, so that any file in its folder may be a slice.
        if name in inputs or os.path.dirname(name) in inputs:  # noqa: PTH120 text, many times
            raise ConfigError(
                f"The result {path} would replace an input, or lie among the files of one.",
                code="output-is-input",
                remedy="Choose another output folder or file type.",
            )
        if name in seen:
            raise ConfigError(
                f"Several results would go to the one file {path}.",
                code="same-result",
                remedy="Give every result a name of its own.",
            )
        seen.add(name)


class _RealNames:
    """Names of paths without links, for many paths in few folders."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: Path) -> str:
        """Return what `real_path` does, as text."""
        folder, name = os.path.split(path)
        if os.path.islink(path) or name in ("", ".", ".."):  # noqa: PTH114 many times
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)  # noqa: PTH118 many times


def _check_absent(config: SegmentConfig, case: SegmentCase) -> None:
    for path in (*case.results, config.statistics):
        if path is not None:
            check_output(path, overwrite=config.overwrite)
