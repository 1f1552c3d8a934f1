"""Cases of a folder whose channels are files of their own, named as nnU-Net names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from MISFMLib.errors import DataError
from MISFMLib.volumes.case_names import case_name
from MISFMLib.volumes.channel_files import channels_by_name

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def channels_together(paths: Sequence[Path], num_channels: int) -> Iterator[tuple[Path, ...]]:
    """Put the files case_0000, case_0001, … of a folder together; other files stay alone.

    So do those that hold all channels, whose number is that of the case.

    Args:
        paths: Volumes of one folder.
        num_channels: Channels of a case; with one every file is a case.

    Raises:
        DataError: A case has other channels.
    """
    if num_channels == 1:
        yield from ((path,) for path in paths)
        return
    known = set(paths)
    groups: dict[Path, list[tuple[int, Path]]] = {}
    for path in paths:
        match = _CHANNEL.fullmatch(case_name(path))
        case = path.with_name(match[1]) if match else path
        groups.setdefault(case, []).append((int(match[2]) if match else 0, path))
    wanted = list(range(num_channels))
    # To look into all files of 100 000 cases would take long; the first tells what they are.
    are_doubtful = any(_hold_all(files, num_channels) for files in [*groups.values()][:1])
    for case, files in groups.items():
        numbers = sorted(number for number, _ in files)
        is_doubtful = are_doubtful or numbers != wanted
        if (len(files) == 1 and case in known) or (is_doubtful and _hold_all(files, num_channels)):
            yield from ((path,) for _, path in files)
        elif numbers == wanted:
            yield tuple(path for _, path in sorted(files))
        else:
            raise DataError(
                f"{case.name} has the channels {', '.join(map(str, numbers))}; each of 0 to "
                f"{num_channels - 1} once was expected.",
                code="channel-count",
                remedy="Give every case one file per channel, named case_0000, case_0001, …",
            )


def _hold_all(files: Sequence[tuple[int, Path]], num_channels: int) -> bool:
    """Tell whether each file has all channels, so that its number is that of a case."""
    from MISFMLib.volumes.volume_files import count_frames  # needs SimpleITK

    return all(path.is_file() and count_frames(path) == num_channels for _, path in files)


def doubts_of_order(files: Sequence[Path], channels: Sequence[str]) -> str:
    """Return what is odd about the files of a case whose names tell another order, or nothing."""
    told = channels_by_name(files, channels)
    if told == sorted(told):
        return ""
    names = ", ".join(channels[index] for index in told)
    return (
        f"By their names the files are {names}; they are taken as {', '.join(channels)}, in the "
        "order of the model. If the names are right, give them in that order."
    )


def check_channels(channels: Sequence[Path], num_channels: int) -> None:
    """Refuse a case with another number of files than the model has channels.

    Raises:
        DataError: The numbers differ.
    """
    if len(channels) != num_channels:
        raise DataError(
            f"{len(channels)} channels were given, the model expects {num_channels}: "
            f"{', '.join(path.name for path in channels)}.",
            code="channel-count",
            remedy="Join one file per channel by commas, in the model's order.",
        )
