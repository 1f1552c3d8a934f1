#!/usr/bin/env bash
# highdicom counts one segment too few in a DICOM segmentation of the kind LABELMAP.
#
# Seen with highdicom 0.28.2, pydicom 3.0.2, 28 November 2026: three segments, written once as BINARY
# and once as LABELMAP. `segment_numbers` is [1, 2, 3] for both. `number_of_segments` is 3 for BINARY
# and 2 for LABELMAP, although the object's SegmentSequence has four items: 0, the background, and 1
# to 3. A reader that loops over range(1, number_of_segments + 1) loses the last structure.
#
# Why it matters here: read `segment_numbers`, and leave 0 out, for either kind.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  highdicom==0.28.2 pydicom==3.0.2 numpy==2.4.6 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

STUDY, SERIES, FRAME = generate_uid(), generate_uid(), generate_uid()


def a_slice(index):
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, SERIES
    made.FrameOfReferenceUID, made.Modality = FRAME, "CT"
    made.PatientID, made.PatientName = "phantom", "Phantom"
    made.PatientBirthDate, made.PatientSex, made.ReferringPhysicianName = "", "O", ""
    made.StudyDate, made.StudyTime, made.StudyID = "20240102", "101112", ""
    made.AccessionNumber, made.SeriesNumber, made.InstanceNumber = "", 1, index + 1
    made.ImagePositionPatient = [0, 0, 2.0 * index]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.PixelSpacing, made.SliceThickness = [1, 1], 2
    made.Rows, made.Columns = 8, 8
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.PixelData = np.zeros((8, 8), np.int16).tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


labels = np.zeros((4, 8, 8), np.uint8)
labels[:, :2], labels[:, 3:5], labels[:, 6:] = 1, 2, 3
tissue = hd.sr.CodedConcept("85756007", "SCT", "Tissue")
manual = hd.seg.SegmentAlgorithmTypeValues.MANUAL
described = [
    hd.seg.SegmentDescription(number, f"part {number}", tissue, tissue, manual)
    for number in (1, 2, 3)
]
slices = [a_slice(index) for index in range(4)]
counts = {}
for kind in (hd.seg.SegmentationTypeValues.BINARY, hd.seg.SegmentationTypeValues.LABELMAP):
    made = hd.seg.Segmentation(
        slices, labels, kind, described, generate_uid(), 1, generate_uid(), 1, "m", "m", "1", "1"
    )
    items = [int(item.SegmentNumber) for item in made.SegmentSequence]
    numbers = list(made.segment_numbers)
    counts[kind.value] = made.number_of_segments
    print(f"{kind.value}: {made.number_of_segments} of the segments {numbers}, items {items}")
    assert numbers == [1, 2, 3]
assert counts == {"BINARY": 3, "LABELMAP": 2}, f"highdicom {hd.__version__} counts otherwise"
print(f"as described, with highdicom {hd.__version__}")
PYTHON
