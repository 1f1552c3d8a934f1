"""Models built at random from what nnU-Net allows: its labels beside ours, voxel by voxel.

    python -m venv NNUNET && NNUNET/bin/pip install nnunetv2==2.8.1 . openvino
    NNUNET/bin/python Testing/Benchmarks/nnunet_random_models.py WORK --seeds 200 235

Of every seed there is a results folder with random weights, in a folder or a zip, and an image. Its
predictor is run as it is, in half precision, and with float32 in place of half, which tells its
rounding from what would be a fault of ours. ``misfm`` imports and segments the same in float32.
"""

# ruff: noqa: E402 (nnU-Net reads these variables when it is imported)

from __future__ import annotations

import argparse
import contextlib
import functools
import inspect
import io
import os
import types
from pathlib import Path
from typing import Any

for _name in ("raw", "results", "preprocessed"):
    os.environ.setdefault(f"nnUNet_{_name}", os.curdir)

import numpy as np
import SimpleITK as sitk
import torch
from nnunet_drawn_models import Drawn
from nnunetv2.inference import predict_from_raw_data as predictors
from nnunetv2.inference.sliding_window_prediction import compute_gaussian

from MISFMLib.cli import main as misfm


def in_float32() -> types.ModuleType:
    """Return nnU-Net's predictor with float32 in place of half."""
    source = inspect.getsource(predictors).replace("torch.half", "torch.float32")
    module = types.ModuleType("in_float32")
    exec(
        compile(source.split("\ndef predict_entry_point_modelfolder")[0], "f32", "exec"),
        vars(module),
    )

    @functools.lru_cache
    def gaussian(*words: Any, **more: Any) -> torch.Tensor:
        return compute_gaussian(*words, **{**more, "dtype": torch.float32})

    module.compute_gaussian = gaussian
    return module


def predicted(module: Any, model: Drawn, places: list[Path], files: list[str]) -> np.ndarray:
    """Return the labels of nnU-Net."""
    previous = None
    for place in places:
        predictor = module.nnUNetPredictor(
            use_mirroring=model.mirroring, device=torch.device("cpu"), allow_tqdm=False
        )
        folds = tuple(range(model.folds))
        predictor.initialize_from_trained_model_folder(str(place), folds, "checkpoint_final.pth")
        output = model.work / f"{module.__name__}-{place.name}"
        output.mkdir(exist_ok=True)
        file = output / str(model.seed)
        predictor.predict_from_files_sequential([files], [str(file)], False, True, previous)
        previous = str(output)
    return sitk.GetArrayFromImage(sitk.ReadImage(f"{file}.nii.gz"))


def compare(model: Drawn, float32: types.ModuleType) -> str:
    """Run all and return the line to print."""
    places, files = model.write_model(), model.write_images()
    output, name = model.work / f"{model.seed}-ours.nii.gz", f"random-{model.seed}"
    words = ["models", "import", str(model.source(places)), "--name", name, "--overwrite"]
    command = ["segment", ",".join(files), "-m", name, "-o", str(output), "--overwrite"]
    command += ["--precision", "fp32", "--engine", "torch", "--threads", "1"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        theirs, exact = (predicted(m, model, places, files) for m in (predictors, float32))
        failed = misfm([*words, "--configuration", model.kind])
        failed = failed or misfm([*command, *["--mirroring"] * model.mirroring])
    if failed:
        return f"FAILED {model}"
    ours = sitk.GetArrayFromImage(sitk.ReadImage(str(output)))
    shares = [np.mean(ours == theirs), np.mean(ours == exact), np.mean(theirs == exact)]
    told = "equal to nnU-Net {:.5f}, to it in float32 {:.5f}; it to itself {:.5f}"
    return f"{told.format(*shares)}  {len(np.unique(theirs))} labels  {model}"


def main() -> None:
    """Compare all seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs=2, default=(200, 235))
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["MISFM_HOME"] = str(work / "home")
    torch.set_num_threads(1)
    float32 = in_float32()
    for seed in range(*options.seeds):
        print(compare(Drawn(seed, work), float32), flush=True)


if __name__ == "__main__":
    main()
