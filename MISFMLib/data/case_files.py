"""Which files belong to one case: entries of lists, and folders of images and label maps."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from MISFMLib.data.case_reading import masks_in, plain
from MISFMLib.data.descriptions import Description, describe, read_json, with_channels
from MISFMLib.data.labelled_set import Case, LabelledSet, Split
from MISFMLib.errors import DataError
from MISFMLib.files import real_path
from MISFMLib.volumes.volume import case_name, count_frames, distinct_names, find_volumes

_FOLDER_PAIRS = (
    ("images", "labels"),
    ("imagesTr", "labelsTr"),
    ("images", "masks"),
    ("images", "segmentations"),
)
_MASK_FOLDERS = ("segmentations", "masks", "labels")
_CHANNEL_SUFFIX = re.compile(r"_(\d{4})$")


# ----------------------------------------------------------------------------------------- entries


def entry_cases(
    entries: Sequence[tuple[Sequence[str], str]], root: Path, names: Sequence[str] = ()
) -> list[Case]:
    """Return the cases of a list.

    Args:
        entries: Images and label map of each case; an image may be several joined by commas.
        root: Folder that relative paths start at.
        names: Name of each case; where it is empty, the label map gives it.
    """
    labels = [_file(label, root) for _, label in entries]
    of_files = distinct_names(labels)
    return [
        Case(
            (names[index] if names else "") or of_files[index],
            tuple(file for image in images for file in _image_files(image, root)),
            labels[index],
        )
        for index, (images, _) in enumerate(entries)
    ]


def _image_files(text: str, root: Path) -> list[Path]:
    """Return the files of an entry; nnU-Net 1 leaves the number of the channel out of the names."""
    if (root / text.strip()).exists():
        return [root / text.strip()]
    files = [_file(part, root) for part in text.split(",")]
    if len(files) == 1 and not files[0].exists():
        name = case_name(files[0])
        suffix = files[0].name[len(name) :]
        channels = sorted(files[0].parent.glob(f"{_escaped(name)}_[0-9][0-9][0-9][0-9]{suffix}"))
        return channels or files
    return files


def _file(text: str, root: Path) -> Path:
    """Return the file of an entry; lists made on Windows part folders by backslashes."""
    file = root / text.strip()
    other = root / text.strip().replace("\\", "/")
    return other if other.exists() and not file.exists() else file


def _escaped(name: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", name)


def complete(
    cases: Sequence[Case],
    description: Description,
    *,
    split: Split | None = None,
    unpaired: Sequence[Path] = (),
    notices: Sequence[str] = (),
) -> LabelledSet:
    """Put cases and description together.

    Raises:
        DataError: Some cases have fewer channels than others.
    """
    counts = {len(case.images) for case in cases} or {1}
    if len(counts) > 1:
        few = [case.name for case in cases if len(case.images) < max(counts)]
        raise DataError(
            f"Some cases have {max(counts)} channels, others fewer: {listed(few)}.",
            code="channels-differ",
            remedy="Give every case the same channels in the same order.",
        )
    num_channels = counts.pop()
    if num_channels == 1 and description.num_channels > 1 and cases:
        # The Decathlon keeps the channels of a case as the fourth axis of one file.
        frames = count_frames(cases[0].images[0])
        num_channels = frames if frames == description.num_channels else 1
    found = with_channels(description.found, num_channels)
    return replace(
        found,
        cases=tuple(
            replace(
                case,
                num_channels=num_channels,
                unlabelled=description.unlabelled,
                not_drawn=description.not_drawn.get(real_path(case.label), ()),
            )
            for case in cases
        ),
        split=split or found.split,
        unpaired=tuple(sorted(unpaired)),
        notices=(*found.notices, *notices),
    )


# ----------------------------------------------------------------------------------------- folders


def from_folders(path: Path) -> LabelledSet:
    """Find the cases of a folder with images and label maps.

    Raises:
        DataError: There are no such folders, or several files stand for one image or label map.
    """
    description = describe(path, read_json(path / "dataset.json"))
    folders = {entry.name.casefold(): entry for entry in path.iterdir() if entry.is_dir()}
    for pair in _FOLDER_PAIRS:
        images, labels = (folders.get(name.casefold()) for name in pair)
        if images is not None and labels is not None:
            return _from_pair(images, labels, description)
    masked = _from_subjects(path)
    if masked:
        return _with_masks(masked, description)
    raise DataError(
        f"{path} has neither images/ and labels/ nor imagesTr/ and labelsTr/.",
        code="dataset-not-found",
        remedy="Put the volumes into images/ and the label maps into labels/; or, wherever they "
        "are, as in BIDS, list them in a CSV with the columns image and label.",
    )


def _from_pair(images: Path, labels: Path, description: Description) -> LabelledSet:
    image_files, label_files = find_volumes(images), find_volumes(labels)
    problem: DataError | None = None
    for scheme in (_by_stem, _by_path, _by_mask_folder, _by_first_folder):
        label_keys = _grouped(label_files, partial(scheme, root=labels, is_label=True))
        image_keys = _grouped_images(image_files, images, scheme, set(label_keys))
        paired = sorted(set(image_keys) & set(label_keys))
        problem = problem or _repeated(image_keys, label_keys, scheme is _by_mask_folder)
        if not paired or _repeated(image_keys, label_keys, scheme is _by_mask_folder, paired):
            continue
        is_masks = scheme is _by_mask_folder
        cases = [
            Case(name, tuple(image_keys[name]), labels / name if is_masks else label_keys[name][0])
            for name in paired
        ]
        unpaired = [
            file
            for keys in (image_keys, label_keys)
            for name in set(keys) - set(paired)
            for file in keys[name]
        ]
        if is_masks:
            return replace(_with_masks(cases, description), unpaired=tuple(sorted(unpaired)))
        return complete(cases, description, unpaired=unpaired)
    if problem:
        raise problem
    return complete([], description)


_Scheme = Callable[[Path, Path, bool], str]


def _by_stem(file: Path, root: Path, is_label: bool) -> str:  # noqa: ARG001 one of four schemes
    return case_name(file)


def _by_path(file: Path, root: Path, is_label: bool) -> str:  # noqa: ARG001
    return "_".join([*file.relative_to(root).parts[:-1], case_name(file)])


def _by_mask_folder(file: Path, root: Path, is_label: bool) -> str:
    """Name label maps by the folder they lie in, one mask for each structure; images by name."""
    parts = file.relative_to(root).parts
    if is_label:
        return parts[0] if len(parts) > 1 else ""
    return parts[0] if len(parts) > 1 else case_name(file)


def _by_first_folder(file: Path, root: Path, is_label: bool) -> str:  # noqa: ARG001
    first = file.relative_to(root).parts[0]
    return case_name(Path(first))


def _grouped(files: Iterable[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        groups[key(file)].append(file)
    return dict(groups)


def _grouped_images(
    files: Sequence[Path], root: Path, scheme: _Scheme, label_keys: set[str]
) -> dict[str, list[Path]]:
    def key(file: Path) -> str:
        name = scheme(file, root, False)
        return name if name in label_keys else _CHANNEL_SUFFIX.sub("", name)

    return _grouped(files, key)


def _repeated(
    images: Mapping[str, Sequence[Path]],
    labels: Mapping[str, Sequence[Path]],
    is_masks: bool,
    names: Iterable[str] | None = None,
) -> DataError | None:
    """Describe files that would stand for one image, or for one label map."""
    for name in sorted(set(images) | set(labels)) if names is None else names:
        of_image, of_label = images.get(name, ()), labels.get(name, ())
        channels = [_CHANNEL_SUFFIX.search(case_name(file)) for file in of_image]
        numbers = [channel[1] for channel in channels if channel]
        is_channels = len(set(numbers)) == len(of_image)
        if len(of_image) > 1 and not is_channels:
            return _two_files("images", name, of_image)
        if len(of_label) > 1 and not is_masks:
            return _two_files("label maps", name, of_label)
    return None


def _two_files(what: str, name: str, files: Sequence[Path]) -> DataError:
    return DataError(
        f"The case {name} has several {what}: {files[0]} and {files[1]}.",
        code="case-files-repeated",
        remedy="Keep one of them in the folder, or give a CSV that names the files of each case. "
        "The channels of an image end in _0000, _0001.",
    )


# ------------------------------------------------------------------------- one mask for each class


def _from_subjects(path: Path) -> list[Case]:
    """Find folders of subjects that hold images and a folder of masks (TotalSegmentator's layout).

    The images of a subject are its channels, in the order of their names.
    """
    cases = []
    for subject in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        masks = next((subject / name for name in _MASK_FOLDERS if (subject / name).is_dir()), None)
        if masks is None or subject.name.startswith("."):
            continue
        images = [file for file in find_volumes(subject) if masks not in file.parents]
        images = [file for file in images if file != masks]
        if images:
            cases.append(Case(subject.name, tuple(images), masks))
    return cases


def _with_masks(cases: Sequence[Case], description: Description) -> LabelledSet:
    """Number the structures in the order of their names, unless the data set names its labels."""
    of_cases = [masks_in(case.label) for case in cases]
    found = complete(cases, description)
    names = sorted({name for masks in of_cases for name in masks})
    if not found.label_names:
        numbered = dict(enumerate(names, start=1))
        return replace(found, label_names=numbered, names_of_segments=True)
    known = {plain(name) for name in found.label_names.values()}
    unknown = [name for name in names if plain(name) not in known]
    if not unknown:
        return found
    notice = f"Masks that the data set does not name are left out: {listed(unknown)}."
    return replace(found, notices=(*found.notices, notice))


def listed(items: Sequence[object], limit: int = 10) -> str:
    """Join the first items of a list for a message, and tell how many more there are."""
    shown = ", ".join(str(item) for item in items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
