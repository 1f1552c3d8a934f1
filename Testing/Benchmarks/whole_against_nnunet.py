"""A CT of 300 mm from file to file, by nnU-Net and by us, in CPU seconds and peak memory.

    python -m venv NNUNET && NNUNET/bin/pip install nnunetv2==2.8.1
    python Testing/Benchmarks/whole_against_nnunet.py WORK --case plain --nnunet NNUNET/bin/python
    python Testing/Benchmarks/whole_against_nnunet.py WORK --case plain --sides bf16 fp32 int8
    python Testing/Benchmarks/whole_against_nnunet.py WORK --table

Networks have TotalSegmentator's size and random weights, but for the last block and layer: they are
trained for a minute to tell the few tissues of the volume, so that classes are as far apart as
those of a trained network and what is gained by a number format is not lost in ties. The same
folder and the same volume of 200^3 voxels of 1.5 mm (``--shape`` and ``--spacing`` change that) go
to both: nnU-Net's predictor (CPU, one thread, step 0.8, no mirroring) and ``misfm segment``. Every
side is a fresh process; ours runs twice, since the first run converts the network. Results gather
in ``WORK/CASE.json``; what is there is not measured again without ``--again``, so each side can
have a command of its own. ``int8`` makes its version first, from one window of the volume and
without the comparison of `misfm quantize`: random weights have no Dice.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from against_nnunet_inference import CASES, network_of

from MISFMLib.configs import (
    IntensityConfig,
    InterpolationConfig,
    LabelConfig,
    PreprocessingConfig,
)
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.inference import kept_conversions, openvino_conversion, quantization
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.patches import central_window
from MISFMLib.inference.windows import WindowConfig
from MISFMLib.jobs.imports.nnunet_export import export_nnunet
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.models.store import find_model
from MISFMLib.networks import weights_to_numpy
from MISFMLib.volumes.volume import read_volume

REPOSITORY = Path(__file__).resolve().parents[2]
MISFM = [sys.executable, "-m", "MISFMLib"]
TISSUES = (-1000.0, -100.0, 40.0, 160.0, 400.0)
"""Air, fat, soft tissue, contrast, bone, in HU."""
CLIP, MEAN, STD = (-900.0, 900.0), 50.0, 250.0
NNUNET = """
import sys, torch
torch.set_num_threads(1)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
predictor = nnUNetPredictor(tile_step_size=0.8, use_mirroring=False, device=torch.device("cpu"),
                            perform_everything_on_device=False, allow_tqdm=False)
predictor.initialize_from_trained_model_folder(sys.argv[1], (0,), "checkpoint_final.pth")
predictor.predict_from_files_sequential([[sys.argv[2]]], [sys.argv[3]], False, True, None)
"""


def write_volume(path: Path, shape: tuple[int, int, int], spacing: float) -> None:
    """Write a body of lumps of several tissues in air, with noise, in HU."""
    random = np.random.default_rng(0)
    z, y, x = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in shape)]
    is_body = np.broadcast_to((y / 0.85) ** 2 + (x / 0.95) ** 2 + 0 * z < 1, shape)
    edge = 128  # a block that repeats: noise for a large volume would take minutes
    block = random.normal(size=(edge,) * 3).astype(np.float32)
    smooth = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(block), 8)
    block = sitk.GetArrayFromImage(smooth)
    lumps = np.digitize(block, np.quantile(block, (0.3, 0.6, 0.8))) + 1
    block = np.array(TISSUES, np.float32)[lumps]
    array = np.full(shape, -1000, np.int16)
    for start in np.ndindex(*(-(-size // edge) for size in shape)):
        box = tuple(slice(i * edge, (i + 1) * edge) for i in start)
        part = array[box]
        tissue = block[tuple(slice(n) for n in part.shape)]
        part[...] = np.where(is_body[box], tissue, -1000) + random.normal(0, 10, part.shape)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((spacing,) * 3)
    sitk.WriteImage(image, str(path))


def train_last(network: torch.nn.Module, path: Path, edge: int = 64, steps: int = 40) -> None:
    """Train the last block and layer to tell the tissues in the middle of a volume."""
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    # From the middle to the side, where there is air too.
    starts = [(n - edge) // 2 for n in array.shape[:2]]
    units = torch.from_numpy(
        array[starts[0] :, starts[1] :][:edge, :edge, :edge].astype(np.float32)
    )
    image = ((units.clip(*CLIP) - MEAN) / STD)[None, None]
    levels = (torch.tensor(TISSUES).clip(*CLIP) - MEAN) / STD
    classes = torch.bucketize(image[:, 0], (levels[1:] + levels[:-1]) / 2)
    last = torch.nn.Sequential(network.decoder.blocks[0], network.heads[0])
    seen: list[torch.Tensor] = []
    hook = last[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        network(image)
    hook.remove()
    optimizer = torch.optim.Adam(last.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(last(seen[0]), classes)
        loss.backward()
        optimizer.step()
    print(f"cross-entropy after {steps} steps: {loss.item():.3f}", flush=True)


def manifest_of(case: str, network: torch.nn.Module) -> BundleManifest:
    """Describe a case's network as one that came from nnU-Net."""
    spacing = 3.0 if case == "classes" else 1.5
    return BundleManifest(
        name=case,
        network=network.config,
        preprocessing=PreprocessingConfig(
            modality="CT",
            intensity=(IntensityConfig(scheme="ct-percentile", clip=CLIP, mean=MEAN, std=STD),),
            patch_size=CASES[case][3],
            spacing_dhw=(spacing,) * 3,
            orientation="",
            crop="nonzero",
            crop_margin=0,
            resampling=InterpolationConfig(order=3, separate="anisotropic"),
            restoring=InterpolationConfig(separate="anisotropic"),
            padding="zero",
            windows="even",
            skips_air=False,
            overlap=0.2,
        ),
        labels=tuple(
            LabelConfig(value=value, name=f"s{value}") for value in range(1, CASES[case][2])
        ),
    )


def write_model(case: str, work: Path) -> Path:
    """Write a case's network as a bundle and as a results folder; return the latter."""
    folder = work / f"{case}-nnunet"
    if folder.exists():
        return next(folder.iterdir())
    network = network_of(case)
    train_last(network, work / "volume.nii.gz")
    manifest = manifest_of(case, network)
    bundle = write_bundle(work / f"{case}-bundle", manifest, weights_to_numpy(network))
    return export_nnunet(bundle, folder)


def apart(work: Callable[..., Any], *words: Any) -> Any:
    """Work in a process of its own: what this one holds would count as the peak of its children."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *words).result()


def make_int8(case: str, image: Path) -> None:
    """Keep an 8-bit version of an imported model, made from the window in a volume's middle."""
    bundle = find_model(case)
    engines, preprocessing = Engines.from_bundle(bundle), bundle.manifest.preprocessing
    windows = WindowConfig(patch_size=preprocessing.patch_size, padding=preprocessing.padding)
    window = central_window(prepare_volume(read_volume(image), preprocessing), windows)
    recipe = engines.conversions.recipe("int8", tuple(window.shape[1:]))
    if recipe.is_kept():
        return
    model = openvino_conversion.convert(engines.network, window)
    model = quantization.quantize(model, [window], accurate=False)
    kept_conversions.keep(recipe, model, {"made_by": "whole_against_nnunet.py"}, "")


def print_table(work: Path) -> None:
    """Print what was measured as a table of Markdown."""
    print("| network | side | CPU s | s | peak | to nnU-Net | same voxels |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        record = work / f"{case}.json"
        known = json.loads(record.read_text("utf-8")) if record.exists() else {}
        theirs = known.get("nnunet", {}).get("cpu_s")
        for side, row in known.items():
            ratio = f"{theirs / row['cpu_s']:.1f}x" if theirs and "run" in side else ""
            equal = f"{row['equal_voxels']:.3%}" if "equal_voxels" in row else ""
            name = f"{side} ({row['engine']})" if "engine" in row else side
            cells = [case, name, row["cpu_s"], row["s"], f"{row['peak_mib']} MiB", ratio, equal]
            print("|", " | ".join(map(str, cells)), "|")


def measured(command: list[str], work: Path) -> dict[str, float]:
    """Run a process; return its CPU seconds, seconds and peak memory."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "MISFM_HOME": str(work / "home"),
        **{f"nnUNet_{name}": str(work) for name in ("raw", "results", "preprocessed")},
    }
    start = os.times().elapsed
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return {
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "s": round(os.times().elapsed - start, 1),
        "peak_mib": used.ru_maxrss // 1024,
    }


def run_ours(
    side: str, case: str, work: Path, image: Path, options: argparse.Namespace
) -> dict[str, dict[str, object]]:
    """Run `misfm segment` in one number format, as often as asked for."""
    output, report = work / f"{case}-{side}.nii.gz", work / f"{case}-{side}.json"
    if side == "int8":
        measured([sys.executable, __file__, str(work), "--case", case, "--make-int8"], work)
    words = ["segment", str(image), "-m", case, "-o", str(output), "--overlap", "0.2"]
    words += ["--precision", side, "--threads", options.threads, "--overwrite"]
    words += ["--engine", "openvino", "--report", str(report)]
    rows: dict[str, dict[str, object]] = {
        f"{side}, {turn} run": measured([*MISFM, *words], work) for turn in options.turns
    }
    told = json.loads(report.read_text("utf-8"))
    last = rows[f"{side}, {options.turns[-1]} run"]
    last["engine"] = f"{told['engine']}, {told['precision']}"
    last["timings_s"] = told["timings_s"]
    theirs = work / f"{case}.nii.gz"
    if theirs.exists():
        a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(f))) for f in (theirs, output))
        last["equal_voxels"] = float(np.mean(a == b))
    return rows


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--case", choices=CASES, default="plain")
    parser.add_argument("--sides", nargs="*", default=["nnunet", "bf16"])
    parser.add_argument("--again", action="store_true", help="measure what is known once more")
    parser.add_argument("--table", action="store_true", help="only print what is known")
    parser.add_argument("--nnunet", type=Path, help="Python that has nnunetv2")
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 200, 200))
    parser.add_argument("--spacing", type=float, default=1.5)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--turns", nargs="+", default=["first", "second"], help="runs of ours")
    parser.add_argument("--make-int8", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure the sides asked for and add them to what is known."""
    options = parse()
    work, case = options.work.absolute(), options.case
    if options.table:
        print_table(work)
        return
    work.mkdir(parents=True, exist_ok=True)
    image = work / "volume.nii.gz"
    if options.make_int8:
        make_int8(case, image)
        return
    if not image.exists():
        apart(write_volume, image, tuple(options.shape), options.spacing)
    model = apart(write_model, case, work)
    record = work / f"{case}.json"
    known = json.loads(record.read_text("utf-8")) if record.exists() else {}
    sides = [] if set(options.sides) == {"nnunet"} else ["import"]
    for side in [*sides, *options.sides]:
        runs = {f"{side}, {turn} run" for turn in options.turns}
        if (side in known or runs <= known.keys()) and not options.again:
            continue
        if side == "nnunet":
            # Its launcher may be a link into the environment: resolved it would leave it.
            words = [str(options.nnunet.absolute()), "-c", NNUNET, str(model), str(image)]
            known[side] = measured([*words, str(work / case)], work)
        elif side == "import":
            words = ["models", "import", str(model), "--name", case, "--overwrite"]
            known[side] = measured([*MISFM, *words], work)
        else:
            known |= run_ours(side, case, work, image, options)
        record.write_text(json.dumps(known, indent=1), "utf-8")
    print_table(work)


if __name__ == "__main__":
    main()
