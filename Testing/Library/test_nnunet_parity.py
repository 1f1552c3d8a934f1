"""Labels of imported models against those that nnU-Net 2.8.1 wrote with the same weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.cli import main

SHARED = Path(os.environ.get("MISFM_SHARED", Path(__file__).resolve().parents[3] / "shared"))
FIXTURES = SHARED / "spec" / "nnunet"
MODELS = sorted(FIXTURES.glob("*/model/*/*")) if FIXTURES.is_dir() else []

pytestmark = pytest.mark.skipif(not MODELS, reason="the fixtures of ../shared are absent")


def cases(model, way):
    """Yield input files and expected labels of a fixture."""
    fixture, configuration = model.parents[2], model.name.split("__")[2]
    folders = [fixture / f"expected_{way}", fixture / f"expected_{configuration}_{way}"]
    for file in sorted(next(f for f in folders if f.is_dir()).glob("*.nii.gz")):
        case = file.name.removesuffix(".nii.gz")
        channels = sorted((fixture / "images").glob(f"{case}_[0-9][0-9][0-9][0-9].nii.gz"))
        yield ",".join(map(str, channels)), file


@pytest.mark.parametrize("way", ["nomirror", pytest.param("mirror", marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", MODELS, ids=lambda path: f"{path.parents[2].name}-{path.name}")
def test_labels_equal_those_of_nnunet(model, way, tmp_path, one_thread):
    assert main(["models", "import", str(model), "--name", "fixture"]) == 0
    options = ["--precision", "fp32", "--engine", "torch", "--threads", "1"]
    options += ["--mirroring"] if way == "mirror" else []
    for number, (image, expected) in enumerate(cases(model, way)):
        output = tmp_path / f"{number}.nii.gz"
        assert main(["segment", image, "-m", "fixture", "-o", str(output), *options]) == 0
        ours, theirs = (sitk.GetArrayFromImage(sitk.ReadImage(str(f))) for f in (output, expected))
        assert np.mean(ours == theirs) >= 0.999
