"""MISFM from Python: load a model and segment, fine-tune, pretrain. Examples: Docs/python.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from MISFMLib.configs import (
    FinetuneConfig,
    LabelConfig,
    PretrainConfig,
    SegmentConfig,
    Spacing,
    decode,
)
from MISFMLib.errors import ConfigError
from MISFMLib.events import EventSink, log_notices
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions, SegmentResult
from MISFMLib.jobs import load_job
from MISFMLib.jobs.segment.region import RegionFirst
from MISFMLib.jobs.segment.segment import check_segments
from MISFMLib.models.bundle import Bundle
from MISFMLib.models.store import find_model
from MISFMLib.volumes.in_memory import Back, as_image, volume_of
from MISFMLib.volumes.volume import Volume, read_volume, write_label_map
from MISFMLib.volumes.volume_types import Array

Report = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A model that is loaded once and segments any number of images."""

    bundle: Bundle
    """Its files, settings and card."""
    segmenter: Segmenter
    """What computes it."""
    region_first: RegionFirst
    """What finds the region that a task of TotalSegmentator looks at."""

    @property
    def labels(self) -> tuple[LabelConfig, ...]:
        """Names, values, colours and codes of what it segments."""
        return tuple(self.bundle.manifest.labels)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the images it needs of a case, in order, such as ``T1``."""
        return self.bundle.manifest.preprocessing.channels

    def segment(
        self,
        image: Any,
        *,
        spacing: Spacing | None = None,
        affine: Array | None = None,
        output: str | Path | None = None,
        overwrite: bool = False,
        events: EventSink = log_notices,
    ) -> Any:
        """Segment an image and return its labels on the same grid, as uint8 or uint16.

        Args:
            image: A SimpleITK image; the path of a volume file or DICOM folder; an array (D, H, W)
                with `spacing`; or an array (X, Y, Z) with `affine`, as nibabel has them. A sequence
                of one of these kinds gives the channels of one case in the model's order.
            spacing: Voxel size of an array in mm along depth, height, width.
            affine: 4 x 4 matrix from voxel indices of an array to mm in RAS.
            output: Also write the labels to this file (.nii.gz .nrrd .mha .seg.nrrd).
            overwrite: Replace a file that is there.
            events: Hears progress and notices, which are else logged; may raise
                `MISFMLib.errors.JobCancelled`.

        Returns:
            An array with the axes of the array that was given; else a SimpleITK image.

        Raises:
            DataError: The image cannot be read or used.
            DeviceError: Memory does not suffice.
            OutputError: The output is there already or cannot be written.
        """
        images = list(image) if isinstance(image, list | tuple) else [image]
        if images and all(isinstance(one, str | Path) for one in images):
            paths, count = [Path(one) for one in images], len(self.channels)
            volume, back = read_volume(paths, num_channels=count), cast(Back, as_image)
        else:
            volume, back = volume_of(images, spacing, affine)
        label_map = self.segment_volume(volume, events).label_map
        if output is not None:
            write_label_map(label_map, Path(output), labels=self.labels, overwrite=overwrite)
        return back(label_map)

    def segment_volume(self, volume: Volume, events: EventSink = log_notices) -> SegmentResult:
        """Segment a volume and return all that is known about the result.

        Raises:
            DataError: The volume does not fit the model.
            DeviceError: Memory does not suffice.
        """
        name = self.bundle.manifest.name
        return self.region_first.segment(name, volume, self.segmenter.segment, events)


def load_model(model: str | Path, **options: Any) -> Model:
    """Load a model to segment with.

    Args:
        model: Name of an installed model (`misfm models list`), or path of a bundle folder or zip.
        options: device, precision, engine, overlap, batch_size, mirroring as of `misfm segment`,
            and postprocessing (True or False).

    Raises:
        BundleError: There is no such model, it is damaged, or only a start for fine-tuning.
        ConfigError: An option is unknown or not possible.
        DeviceError: The device is absent.
    """
    known = [field.name for field in dataclasses.fields(SegmenterOptions)]
    for name in options:
        if name not in known:
            raise ConfigError(
                f"load_model has no option {name!r}.",
                code="bad-option",
                remedy=f"It has {', '.join(known)}.",
            )
    bundle = find_model(model)
    check_segments(bundle)
    chosen = SegmenterOptions(**options)
    return Model(bundle, Segmenter.from_bundle(bundle, chosen), RegionFirst(chosen))


def segment(
    images: Any,
    model: str | Path,
    output: str | Path,
    events: EventSink = log_notices,
    **options: Any,
) -> Report:
    """Do what `misfm segment` does with files and folders, batches that resume included.

    Args:
        images: One path or several.
        model: Name or path of the model.
        output: File for one case, folder for many.
        events: Hears progress, notices and the end of every case.
        options: As of `misfm segment`, with ``_`` for ``-``.

    Returns:
        The report of the case or the batch.

    Raises:
        MISFMError: As the command would end.
    """
    settings = {"images": _listed(images), "model": str(model), "output": Path(output), **options}
    report: Report = load_job("segment")(decode(SegmentConfig, settings), events)
    return report


def finetune(
    data: str | Path, output: str | Path, events: EventSink = log_notices, **options: Any
) -> Report:
    """Do what `misfm finetune` does: train on labelled volumes and write the model.

    Args:
        data: Folder with images/ and labels/, dataset.json or CSV.
        output: Bundle folder to write.
        events: Hears progress, metrics and notices; may raise `MISFMLib.errors.JobCancelled`.
        options: As of `misfm finetune`, with ``_`` for ``-``.

    Returns:
        The report with the results on held-out cases; `load_model` takes its output.

    Raises:
        MISFMError: As the command would end.
    """
    settings = {"data": Path(data), "output": Path(output), **options}
    report: Report = load_job("finetune")(decode(FinetuneConfig, settings), events)
    return report


def pretrain(
    data: Any, output: str | Path, events: EventSink = log_notices, **options: Any
) -> Report:
    """Do what `misfm pretrain` does: learn from volumes without labels and write the start.

    Args:
        data: One path or several: volumes, folders, training stores.
        output: Bundle folder to write; `finetune` takes it as `init`.
        events: Hears progress, metrics and notices; may raise `MISFMLib.errors.JobCancelled`.
        options: As of `misfm pretrain`, with ``_`` for ``-``.

    Returns:
        The report of the run.

    Raises:
        MISFMError: As the command would end.
    """
    settings = {"data": _listed(data), "output": Path(output), **options}
    report: Report = load_job("pretrain")(decode(PretrainConfig, settings), events)
    return report


def _listed(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
