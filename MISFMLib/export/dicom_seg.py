"""DICOM SEG: a label map as a DICOM object that refers to the series it was made from.

One binary segment per label (DICOM PS3.3 A.51), with coded category and type, the colour, and the
model that made it. Patient and study come from the source series, so that the segmentation lands
beside it in an archive.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from MISFMLib import __version__
from MISFMLib.configs import Code, LabelConfig
from MISFMLib.errors import DataError, DependencyError, MISFMError
from MISFMLib.export.dicom_source import DicomSource, read_source, restore_references
from MISFMLib.files import check_output, write_bytes
from MISFMLib.models.bundle import BundleManifest
from MISFMLib.volumes.formats.dicom_header import patient_data_as_it_is
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume, check_same_grid

if TYPE_CHECKING:
    import highdicom
    from pydicom import Dataset

Numbers = npt.NDArray[np.unsignedinteger[Any]]

_SERIES_NUMBER = 300
_LONGEST_TEXT = 64
"""Characters of a DICOM long string (PS3.5, 6.2)."""


def write_dicom_seg(
    volume: Volume,
    label_map: LabelMap,
    manifest: BundleManifest,
    path: Path,
    *,
    source: DicomSource | None = None,
    overwrite: bool = False,
) -> None:
    """Write a label map as a DICOM SEG.

    Every label of the model becomes a segment, also one that is not in the map.

    Args:
        volume: The volume that was segmented, read from DICOM.
        label_map: Labels on the volume's grid, values of `manifest.labels` only.
        manifest: The model that made the labels.
        path: The .dcm file.
        source: What `check_dicom_source` has read of the volume's files, which saves reading them
            again.
        overwrite: Replace a file that is already there.

    Raises:
        DataError: The volume does not come from DICOM, or its files lack identifiers; the label map
            lies on another grid or has a value that is no label of the model.
        DependencyError: highdicom is not installed.
        OutputError: The file exists already, or its place is read-only or full.
    """
    check_output(path, overwrite=overwrite)
    check_same_grid(volume, label_map)
    numbers = _to_segment_numbers(label_map, manifest.labels)
    content = _written(
        _import_highdicom(), volume, numbers, manifest, source or read_source(volume)
    )
    write_bytes(path, content, overwrite=overwrite)


def check_dicom_source(volume: Volume, manifest: BundleManifest) -> DicomSource:
    """Refuse a volume that no DICOM SEG can refer to; cheap, so call it before segmenting.

    An empty segmentation is made as a trial, so that nothing is left to fail after the computation.

    Args:
        volume: The volume that will be segmented.
        manifest: The model that will make the labels.

    Returns:
        What was read of the files, for `write_dicom_seg`; it tells which attributes of the patient
        and study will be left empty or written in another form.

    Raises:
        DataError: The volume does not come from DICOM, or its files lack identifiers, share them or
            hold something else that a SEG cannot refer to.
        DependencyError: highdicom is not installed.
    """
    hd = _import_highdicom()
    source = read_source(volume)
    numbers = np.zeros(volume.geometry.shape_dhw, np.uint8)
    _written(hd, volume, numbers, manifest, source)
    return source


def _written(
    hd: Any, volume: Volume, numbers: Numbers, manifest: BundleManifest, source: DicomSource
) -> bytes:
    """Return the file; whatever highdicom objects to is an error of the series."""
    content = io.BytesIO()
    try:
        with patient_data_as_it_is():
            segmentation = _build(hd, volume, numbers, manifest, source.headers)
            restore_references(segmentation, source)
            segmentation.save_as(content)
    except (MISFMError, MemoryError):
        raise
    except Exception as error:
        raise DataError(
            f"No DICOM SEG can be made for the DICOM files of {volume.name}: "
            f"{type(error).__name__}: {error}.",
            code="dicom-incomplete",
            remedy="Choose another format, such as .seg.nrrd.",
        ) from error
    return content.getvalue()


def _build(
    hd: Any,
    volume: Volume,
    numbers: Numbers,
    manifest: BundleManifest,
    sources: Sequence[Dataset],
) -> highdicom.seg.Segmentation:
    # DICOM allows no image without frames: an empty map gets two, which also tell the spacing.
    is_empty = not numbers.any()
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=_place(
            hd,
            numbers[:2] if is_empty else numbers,
            volume.geometry,
            sources[0].FrameOfReferenceUID,
        ),
        segmentation_type="BINARY",
        segment_descriptions=_describe_segments(hd, manifest),
        series_instance_uid=hd.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="MISFM",
        manufacturer_model_name=manifest.name,
        software_versions=__version__,
        device_serial_number=manifest.weights_sha256[:_LONGEST_TEXT] or "unknown",
        omit_empty_frames=not is_empty,
        content_label="SEGMENTATION",
        content_description=to_text(f"{manifest.name} {manifest.version}"),
        series_description=to_text(manifest.title or manifest.name),
        specific_character_set="ISO_IR 192",
    )


def _import_highdicom() -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise DependencyError(
            "DICOM SEG needs highdicom, which is not installed.",
            code="missing-package",
            remedy="Install it: pip install 'misfm[dicom]'",
        ) from error
    return highdicom


def _to_segment_numbers(label_map: LabelMap, labels: Sequence[LabelConfig]) -> Numbers:
    """Number the labels 1, 2, ... in the order of the model, as DICOM asks."""
    array_DHW = label_map.array_DHW
    dtype = np.uint8 if len(labels) < 256 else np.uint16
    lookup = np.zeros(np.iinfo(array_DHW.dtype).max + 1, dtype)
    lookup[[label.value for label in labels]] = np.arange(1, len(labels) + 1)
    numbers: Numbers = lookup[array_DHW]
    if np.count_nonzero(numbers) != np.count_nonzero(array_DHW):
        unknown = sorted(set(np.unique(array_DHW).tolist()) - {label.value for label in labels})
        raise DataError(
            f"The label map has the values {unknown[1:]}, which are no labels of the model.",
            code="unknown-labels",
            remedy="Write it with the model it was made by.",
        )
    return numbers


def _place(
    hd: Any, numbers: Numbers, geometry: Geometry, frame_of_reference_uid: str
) -> highdicom.Volume:
    direction_xyz = np.reshape(geometry.direction, (3, 3))
    return hd.Volume.from_components(
        numbers,
        spacing=geometry.spacing_dhw,
        coordinate_system="PATIENT",
        position=geometry.origin_xyz,
        # The columns are the directions of the axes D, H, W.
        direction=direction_xyz[:, ::-1],
        frame_of_reference_uid=frame_of_reference_uid,
    )


def _describe_segments(hd: Any, manifest: BundleManifest) -> list[Dataset]:
    from pydicom.sr.codedict import codes

    parameters = {"model": f"{manifest.name} {manifest.version}"}
    if manifest.weights_sha256:
        parameters["SHA-256 of the weights"] = manifest.weights_sha256
    algorithm = hd.AlgorithmIdentificationSequence(
        name="MISFM",
        family=codes.DCM.ArtificialIntelligence,
        version=__version__,
        parameters=parameters,
    )
    return [
        _describe_segment(hd, number, label, algorithm)
        for number, label in enumerate(manifest.labels, 1)
    ]


def _describe_segment(
    hd: Any, number: int, label: LabelConfig, algorithm: Sequence[Dataset]
) -> Dataset:
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=to_text(label.name),
        segmented_property_category=_to_concept(hd, label.category),
        segmented_property_type=_to_concept(hd, label.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        display_color=hd.color.CIELabColor.from_rgb(*label.color),
    )
    if label.modifier is not None:
        (property_type,) = segment.SegmentedPropertyTypeCodeSequence
        modifier = _to_concept(hd, label.modifier)
        property_type.SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return segment


def _to_concept(hd: Any, code: Code) -> Dataset:
    return hd.sr.CodedConcept(code.value, code.scheme, to_text(code.meaning))


def to_text(text: str) -> str:
    """Shorten to a DICOM long string, in which a backslash would part two values."""
    return text.replace("\\", "/")[:_LONGEST_TEXT]
