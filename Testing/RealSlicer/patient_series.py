"""Volumes of known content on grids of every kind: DICOM series, and voxels with a matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE_KJI = (14, 20, 24)
SPACING = (1.5, 1.25, 2.5)
TILT = 0.3
"""Millimetres that each slice of a tilted gantry is shifted by, for each millimetre of depth."""


def phantom() -> np.ndarray:
    """Return voxels without any symmetry; the model of the test finds labels by thresholds.

    200 the first label, 60 and 80 the second, 30 what the edit draws, a lone voxel of 300.
    """
    array = np.full(SHAPE_KJI, -100, np.int16)
    k, j, i = np.indices(SHAPE_KJI)
    array[((k - 5) / 3) ** 2 + ((j - 7) / 5) ** 2 + ((i - 8) / 6) ** 2 < 1] = 200
    array[3:9, 14:18, 3:9] = 60
    array[3:6, 14:18, 3:9] = 80
    array[8:12, 3:6, 16:22] = 30
    array[1, 1, 1] = 300
    return array


def turned(*degrees: float) -> np.ndarray:
    """Return a rotation about x, y and z."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        step = np.eye(3)
        rows = [each for each in range(3) if each != axis]
        step[np.ix_(rows, rows)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        rotation = step @ rotation
    return rotation


def write_series(folder: Path, axes: np.ndarray, depths: np.ndarray, shear: float = 0.0) -> str:
    """Write a CT series.

    Args:
        folder: Gets one file per slice.
        axes: Directions of row, column and normal as columns, LPS.
        depths: Distance of each slice from the first in mm.
        shear: How far a slice is shifted along its columns per mm.

    Returns:
        The UID of the series.
    """
    folder.mkdir(parents=True)
    array, study, series, frame = phantom(), generate_uid(), generate_uid(), generate_uid()
    for index, depth in enumerate(depths):
        data = pydicom.Dataset()
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series
        data.FrameOfReferenceUID, data.Modality = frame, "CT"
        data.PatientID = data.PatientName = folder.name
        data.PatientBirthDate = data.PatientSex = data.StudyID = data.AccessionNumber = ""
        data.StudyDate, data.StudyTime = "20260102", "101112"
        data.SeriesNumber, data.InstanceNumber = 3, index + 1
        data.SeriesDescription = folder.name
        place = np.array([-20.5, 31.25, 107.0]) + axes[:, 2] * depth + axes[:, 1] * depth * shear
        data.ImagePositionPatient = [f"{value:.9g}" for value in place]
        data.ImageOrientationPatient = [f"{value:.9g}" for value in axes[:, :2].T.ravel()]
        data.PixelSpacing, data.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
        data.Rows, data.Columns = SHAPE_KJI[1:]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = array[index].tobytes()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / f"{index:03}.dcm", enforce_file_format=True)
    return series


def write_sources(folder: Path) -> dict[str, dict]:
    """Write volumes of every kind into a folder; return how to load each."""
    even = np.arange(SHAPE_KJI[0]) * SPACING[2]
    uneven = even + np.where(np.arange(SHAPE_KJI[0]) % 3 == 1, 0.9, 0)
    gap = even + np.where(np.arange(SHAPE_KJI[0]) > 8, 2 * SPACING[2], 0)
    oblique = turned(12, -25, 8)
    sagittal = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0.0]])
    series = {
        "straight": (np.eye(3), even),
        "oblique": (oblique, even),
        "permuted": (sagittal, even),
        "uneven": (np.eye(3), uneven),
        "missing": (oblique, gap),
        "tilted": (np.eye(3), even, TILT),
        "hardly tilted": (oblique, even, 0.004),
    }
    sources = {
        name: {"dicom": str(folder / name), "series": write_series(folder / name, *grid)}
        for name, grid in series.items()
    }
    np.save(folder / "voxels.npy", phantom())
    left_handed, sheared = np.eye(4), np.eye(4)
    left_handed[:3, :3] = oblique * [-SPACING[0], SPACING[1], SPACING[2]]
    sheared[:3, :3] = oblique @ np.diag(SPACING)
    sheared[:3, 2] += 0.3 * sheared[:3, 1]
    for name, matrix in (("left-handed", left_handed), ("sheared", sheared)):
        matrix[:3, 3] = (-10, 20, 5)
        sources[name] = {"voxels": str(folder / "voxels.npy"), "matrix": matrix.tolist()}
    return sources
