"""Which volumes a segmentation job is given, and what its cases are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from MISFMLib.configs import SegmentConfig
from MISFMLib.errors import ConfigError, DataError
from MISFMLib.files import real_path
from MISFMLib.jobs.segment.channels import channels_together, check_channels
from MISFMLib.volumes.case_names import distinct_names, without_channel
from MISFMLib.volumes.folders import find_volumes


def find_inputs(config: SegmentConfig, num_channels: int) -> Iterator[tuple[Path, ...]]:
    """Yield the files of each case, one for each channel or a single one.

    Raises:
        ConfigError: The results would lie among the inputs.
        DataError: The channels do not fit the model.
    """
    for image in config.images:
        # A path that is there may have a comma in its name.
        channels = (image,) if image.exists() else tuple(map(Path, str(image).split(",")))
        if len(channels) > 1:
            check_channels(channels, num_channels)
            yield channels
        elif image.is_dir():
            yield from channels_together(list(_volumes_in(image, config)), num_channels)
        else:
            yield channels


def _volumes_in(folder: Path, config: SegmentConfig) -> Iterator[Path]:
    """Yield the volumes below a folder; segmentations and results of an earlier run are none."""
    results = {real_path(path) for path in (config.output, config.uncertainty) if path is not None}
    if real_path(folder) in results:
        raise ConfigError(
            f"The results would lie among the inputs in {folder}.",
            code="output-is-input",
            remedy="Choose another output folder.",
        )
    below = [result for result in results if real_path(folder) in result.parents]
    for path in find_volumes(folder):
        is_result = any(real_path(path).is_relative_to(result) for result in below)
        if not is_result and not path.name.lower().endswith(".seg.nrrd"):
            yield path


def unique_names(inputs: Sequence[tuple[Path, ...]]) -> list[str]:
    """Name every case after its first file; where names repeat, put the folders that differ before.

    Raises:
        DataError: A volume was given twice, or two beside each other differ in suffix only.
    """
    names = without_channel(distinct_names([paths[0] for paths in inputs]))
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        files = [
            str(paths[0]) for paths, name in zip(inputs, names, strict=True) if name in repeated
        ]
        more = f" and {len(files) - 4} more" if len(files) > 4 else ""
        raise DataError(
            f"Several inputs would share a result ({', '.join(repeated[:4])}): "
            f"{', '.join(files[:4])}{more}.",
            code="same-name",
            remedy="Give each volume once. Of files that differ in their ending only keep one, or "
            "move the others to another folder.",
        )
    return names
