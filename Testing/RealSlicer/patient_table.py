"""Right in the patient: volumes of every kind through a real Slicer, every written voxel compared.

    python Testing/RealSlicer/patient_table.py --slicer KIT/run-slicer.sh [--keep FOLDER]

Needs highdicom, pydicom, SimpleITK and numpy here, and a Slicer that has dcmqi. Volumes that are
straight, oblique, permuted, left-handed, sheared, uneven, with missing slices and tilted go, under
no, a linear, a scaling, a non-linear and a hardened transform, through: segment, edit in Segment
Editor, segment again, undo there, restore. After each step NIfTI, .seg.nrrd, STL and DICOM SEG are
written, and at the end the scene is saved and opened again. Each file is read without Slicer. Each
voxel must lie within a tenth of a voxel of where it was drawn and each frame of a SEG on its
source, or the export is refused by name. Labels are found by thresholds, so that they are known.
The exit code is 1 when anything is off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import SimpleITK as sitk
from patient_series import write_sources

FOLDER = Path(__file__).resolve().parent
KINDS = ("no", "linear", "scaling", "non-linear", "hardened")
STEPS = ("segment", "edit", "again", "undo", "restore")
FORMATS = ("nifti", "nrrd", "stl", "seg")
TOLERANCE = 0.1
"""Voxels."""
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
LABELS = {"left hippocampus": (100.5, np.inf), "spleen": (50, 100)}
EDITED = {**LABELS, "spleen": (70, 90), "drawn": (20, 40)}
ALGORITHMS = {"left hippocampus": "AUTOMATIC", "spleen": "AUTOMATIC", "drawn": "MANUAL"}
EXPECTED = {
    "segment": LABELS,
    "edit": EDITED,
    "again": {**LABELS, "drawn": (20, 40)},
    "undo": EDITED,
    "restore": EDITED,
}


class WrongError(AssertionError):
    """What a file holds is not what was drawn."""


def expected_masks(folder: Path, step: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return the drawn voxels of each segment, the grid (ijk to RAS) and its transform."""
    volume = np.load(folder / "volume.npz")
    voxels = volume["voxels"]
    masks = {
        name: (voxels >= low) & (voxels <= high) for name, (low, high) in EXPECTED[step].items()
    }
    return masks, volume["grid"], volume["world"]


def check_places(found_kji: np.ndarray, found_to_ras: np.ndarray, mask, grid, what: str) -> None:
    """Compare voxels of a file, indices (n, 3) on the file's own grid, with those of a mask."""
    ijk1 = np.column_stack([found_kji[:, ::-1], np.ones(len(found_kji))])
    places = (ijk1 @ (np.linalg.inv(grid) @ found_to_ras).T)[:, 2::-1]
    if len(places) and np.abs(places - np.rint(places)).max() > TOLERANCE:
        off = np.abs(places - np.rint(places)).max()
        raise WrongError(f"{what}: voxels off the grid by {off:.2f}")
    found = {tuple(place) for place in np.rint(places).astype(int).tolist()}
    drawn = {tuple(place) for place in np.argwhere(mask).tolist()}
    if found != drawn:
        raise WrongError(f"{what}: {len(found - drawn)} too many, {len(drawn - found)} missing")


def to_ras(image: sitk.Image) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return LPS @ matrix


def check_nifti(folder: Path, masks, grid, _world) -> None:
    image = sitk.ReadImage(str(folder / "labels.nii.gz"))
    rows = (folder / "labels-labels.csv").read_text("utf-8").splitlines()[1:]
    values = {name: int(value) for value, name in (row.split(",") for row in rows)}
    check_names(values, masks)
    array = sitk.GetArrayFromImage(image)
    for name, mask in masks.items():
        check_places(np.argwhere(array == values[name]), to_ras(image), mask, grid, name)


def check_nrrd(folder: Path, masks, grid, _world) -> None:
    image = sitk.ReadImage(str(folder / "segmentation.seg.nrrd"))
    header = nrrd_header(folder / "segmentation.seg.nrrd")
    array = sitk.GetArrayFromImage(image)
    array = array[..., None] if array.ndim == 3 else array
    count = sum(key.endswith("_Name") and key.startswith("Segment") for key in header)
    segments = {header[f"Segment{index}_Name"]: index for index in range(count)}
    check_names(segments, masks)
    for name, mask in masks.items():
        index = segments[name]
        layer = array[..., int(header[f"Segment{index}_Layer"])]
        found = np.argwhere(layer == int(header[f"Segment{index}_LabelValue"]))
        check_places(found, nrrd_to_ras(header), mask, grid, name)


def nrrd_header(path: Path) -> dict[str, str]:
    lines = path.read_bytes().partition(b"\n\n")[0].decode("utf-8").splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {key: value.removeprefix("=").strip() for key, _, value in pairs}


def nrrd_to_ras(header: dict[str, str]) -> np.ndarray:
    """Return the grid as the file states it: SimpleITK makes sheared axes orthogonal."""
    vectors = [each for each in header["space directions"].split() if each != "none"]
    matrix = np.eye(4)
    for axis, vector in enumerate(vectors):
        matrix[:3, axis] = [float(value) for value in vector.strip("()").split(",")]
    matrix[:3, 3] = [float(value) for value in header["space origin"].strip("()").split(",")]
    return LPS @ matrix if header["space"].startswith("left-posterior") else matrix


def check_stl(folder: Path, masks, grid, world) -> None:
    """Compare volume and centre of each surface, in voxels; it is in the world, as in 3D."""
    files = {path.stem: path for path in folder.glob("*.stl")}
    check_names(files, masks)
    back = np.linalg.inv(LPS @ world @ grid)
    for name, mask in masks.items():
        raw = np.frombuffer(files[name].read_bytes()[84:], np.dtype("<12f4, <u2"))["f0"]
        corners = raw.reshape(-1, 4, 3)[:, 1:].astype(float)
        corners = corners @ back[:3, :3].T + back[:3, 3]
        a, b, c = np.moveaxis(corners - corners.mean(axis=(0, 1)), 1, 0)
        tetrahedra = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
        volume = tetrahedra.sum()
        centre = (tetrahedra[:, None] * (a + b + c) / 4).sum(axis=0) / volume
        drawn = np.argwhere(mask)[:, ::-1].mean(axis=0)
        off = np.abs(centre + corners.mean(axis=(0, 1)) - drawn).max()
        kept = abs(volume) / mask.sum()
        if off > TOLERANCE or not 0.95 <= kept <= 1.05:
            raise WrongError(f"{name}: centre off by {off:.2f} voxels, {100 * kept:.0f} % kept")


def check_seg(folder: Path, masks, grid, _world, series: str) -> None:
    """Read the SEG with highdicom, source by source."""
    (path,) = folder.glob("*DICOM SEG/*.dcm")
    seg = highdicom.seg.segread(path)
    numbers = {seg.get_segment_description(n).segment_label: n for n in seg.segment_numbers}
    check_names(numbers, masks)
    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in Path(series).iterdir()]
    to_ijk = np.linalg.inv(LPS @ grid)
    places = [(to_ijk @ [*map(float, each.ImagePositionPatient), 1])[:3] for each in sources]
    depths = np.rint(places)[:, 2].astype(int)
    by_source = seg.get_pixels_by_source_instance(
        [each.SOPInstanceUID for each in sources],
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,  # dcmqi does not state it; `check_frames` compares places
    )
    for name, mask in masks.items():
        found = by_source[..., list(seg.segment_numbers).index(numbers[name])]
        if not np.array_equal(found.astype(bool), mask[depths]):
            raise WrongError(f"{name}: frames differ from what was drawn on their sources")
    check_frames(seg, {each.SOPInstanceUID: each for each in sources})
    isEdited = folder.name in ("edit", "undo", "restore")
    expected = ALGORITHMS | ({"spleen": "SEMIAUTOMATIC"} if isEdited else {})
    for each in seg.SegmentSequence:
        kind, name = str(each.SegmentAlgorithmType), each.get("SegmentAlgorithmName", "")
        if kind != expected[each.SegmentLabel] or (kind == "MANUAL") == ("fake 1.2.3" in name):
            raise WrongError(f"{each.SegmentLabel} is {kind} by {name!r}")


def check_frames(seg, sources) -> None:
    for groups in seg.PerFrameFunctionalGroupsSequence:
        place = groups.PlanePositionSequence[0].ImagePositionPatient
        (source,) = groups.DerivationImageSequence[0].SourceImageSequence
        there = sources[source.ReferencedSOPInstanceUID].ImagePositionPatient
        off = np.abs(np.subtract(place, there).astype(float)).max()
        if off > 0.01:
            raise WrongError(f"a frame lies {off:.2f} mm off its source")


def check_names(found, masks) -> None:
    if set(found) != set(masks):
        raise WrongError(f"segments {sorted(found)} instead of {sorted(masks)}")


def check_scene(folder: Path) -> None:
    masks, *_ = expected_masks(folder, "restore")
    reopened = np.load(folder / "reopened.npz")
    check_names(reopened.files, masks)
    for name, mask in masks.items():
        if not np.array_equal(reopened[name] > 0, mask):
            raise WrongError(f"{name}: another mask after reopening")


def check_table(folder: Path) -> None:
    masks, grid, world = expected_masks(folder / "again", "again")
    voxel_ml = abs(np.linalg.det((world @ grid)[:3, :3])) / 1000
    for name, millilitres in json.loads((folder / "table.json").read_text()).items():
        expected = masks[name].sum() * voxel_ml if name in masks else 0
        if abs(millilitres - expected) > 1e-3 * max(expected, 1e-3):
            raise WrongError(f"{name}: {millilitres:.4f} ml in the table for {expected:.4f}")


CHECKS = {"nifti": check_nifti, "nrrd": check_nrrd, "stl": check_stl, "seg": check_seg}


def judge(key: str, out: Path, refused: str, source: dict, problems: list[str]) -> list[str]:
    """Return a cell of the table for every step and for the scene."""
    folder = out / key
    if refused:
        return [f"refused: {refused.split(':')[0]}"]
    cells = [
        "".join(_mark(folder / step, step, each, source, key, problems) for each in FORMATS)
        for step in STEPS
    ]
    for check in (check_scene, check_table):
        cells.append(_tried(lambda check=check: check(folder), f"{key}/{check.__name__}", problems))
    return cells


def _mark(folder: Path, step: str, name: str, source: dict, key: str, problems: list[str]) -> str:
    refused = json.loads((folder / "refused.json").read_text())
    if name in refused:
        code = refused[name].split(":")[0]
        allowed = {"seg": ("not-dicom", "dicom-moved"), "nifti": ("sheared",)}.get(name, ())
        if code not in allowed:
            problems.append(f"{key}/{step}/{name}: {refused[name]}")
            return "X"
        return "r" if code != "not-dicom" else "-"
    more = (source["dicom"],) if name == "seg" else ()
    arguments = expected_masks(folder, step)
    return _tried(lambda: CHECKS[name](folder, *arguments, *more), f"{key}/{step}/{name}", problems)


def _tried(check, what: str, problems: list[str]) -> str:
    try:
        check()
    except WrongError as error:
        problems.append(f"{what}: {error}")
        return "X"
    return "="


def walk(slicer: str, out: Path) -> tuple[dict, dict]:
    sources = write_sources(out / "sources")
    listing = out / "sources.json"
    listing.write_text(json.dumps(sources))
    command = [slicer, "--no-main-window", "--python-script", str(FOLDER / "patient_walk.py")]
    with (out / "slicer.log").open("wb") as log:
        code = subprocess.run(
            [*command, "--", str(listing), str(out)], stdout=log, stderr=log, check=False
        ).returncode
    if code:
        sys.exit(f"Slicer ended with {code}: see {out / 'slicer.log'}")
    return sources, json.loads((out / "refused.json").read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slicer", required=True, help="program that starts Slicer")
    parser.add_argument("--keep", type=Path, help="new folder that keeps all files")
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        out = options.keep or Path(temporary)
        sources, refused = walk(options.slicer, out)
        problems: list[str] = []
        print("= every voxel where it was drawn   r refused by name   - not from DICOM   X wrong")
        print(f"each step: {', '.join(FORMATS)}")
        print(f"| volume | transform | {' | '.join(STEPS)} | scene | table |")
        print("| --- " * (len(STEPS) + 4) + "|")
        for key, why in refused.items():
            cells = judge(key, out, why, sources[key.split("/")[0]], problems)
            print(f"| {' | '.join([*key.split('/'), *cells])} |")
        print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
