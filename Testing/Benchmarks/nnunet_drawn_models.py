"""Models and images drawn at random from what nnU-Net allows, a seed each."""

from __future__ import annotations

import json
import random
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import dynamic_network_architectures.architectures as architectures
import dynamic_network_architectures.architectures.unet as unet
import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

# Where plans of 2.0 to 2.2 have it; nnU-Net would search all of the package, timm included.
architectures.residual_unet = sys.modules[f"{architectures.__name__}.residual_unet"] = unet

READERS = ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient")
SCHEMES = ("CT", "ZScore", "ZScore", "No", "RescaleTo01", "RGBTo01")
REGIONS = {"w": [1, 2, 3], "c": [2, 3], "s": 3}
LABELS: dict[str, dict[str, Any]] = {
    "plain": {"background": 0, "a": 1, "b": 2, "c": 3},
    "gaps": {"a": 4, "background": 0, "b": 2, "c": 9},
    "ignore": {"background": 0, "a": 1, "b": 2, "c": 3, "ignore": 4},
    "order": {"c": 3, "a": 1, "background": 0, "b": [2]},
    "regions": {"background": 0, **REGIONS},
    "regions and ignore": {"s": [3], "background": 0, "w": [1, 2, 3], "c": [2, 3], "ignore": 4},
}
RESAMPLING = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack")


class Drawn:
    """A model and an image that a seed stands for."""

    def __init__(self, seed: int, work: Path) -> None:
        self.draw = random.Random(seed)
        self.noise = np.random.default_rng(seed)
        torch.manual_seed(seed)
        draw = self.draw
        self.seed, self.work = seed, work
        self.kind = draw.choice(["3d_fullres", "3d_fullres", "2d", "3d_cascade_fullres"])
        self.dim = 2 if self.kind == "2d" else 3
        self.is_old = draw.random() < 0.25
        self.network = draw.choice(["PlainConvUNet", "ResidualEncoderUNet"])
        self.folds = draw.choice([1, 1, 2, 3])
        self.channels = draw.choice([1, 1, 2, 3])
        self.labels = draw.choice(list(LABELS))
        self.order = draw.choice([[1, 2, 3], [3, 1, 2], [1, 3, 2]])
        self.mirroring = draw.random() < 0.4
        self.plans, self.dataset = self._plans(), self._dataset()
        self.folder = work / self.plans["dataset_name"]

    def _dataset(self) -> dict[str, Any]:
        names = "modality" if self.is_old and self.draw.random() < 0.5 else "channel_names"
        dataset = {
            names: {str(channel): f"ch{channel}" for channel in range(self.channels)},
            "labels": LABELS[self.labels],
            "numTraining": 3,
            "file_ending": ".nii.gz",
        }
        return dataset | ({"regions_class_order": self.order} if self.is_regional else {})

    @property
    def is_regional(self) -> bool:
        """Whether the outputs are regions."""
        return self.labels.startswith("regions")

    def _plans(self) -> dict[str, Any]:
        draw = self.draw
        spacing = [round(draw.uniform(1, 3), 2) for _ in range(3)]
        spacing[0] *= 3 if draw.random() < 0.4 else 1
        order = draw.choice([[0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 1, 0], [0, 2, 1], [1, 2, 0]])
        fine = self._configuration(spacing)
        configurations = {"2d" if self.dim == 2 else "3d_fullres": fine}
        if self.kind == "3d_cascade_fullres":
            coarse = {**fine, "spacing": [round(edge * 1.6, 3) for edge in spacing]}
            configurations["3d_lowres"] = {**coarse, "next_stage": self.kind}
            configurations[self.kind] = {
                "inherits_from": "3d_fullres",
                "previous_stage": "3d_lowres",
            }
        spread = {"mean": 110.0, "percentile_00_5": 20.0, "percentile_99_5": 230.0, "std": 40.0}
        return {
            "dataset_name": f"Dataset{self.seed:03d}_Random",
            "plans_name": "nnUNetPlans",
            "original_median_spacing_after_transp": spacing,
            "original_median_shape_after_transp": [30] * 3,
            "image_reader_writer": draw.choice(READERS),
            "transpose_forward": order,
            "transpose_backward": [order.index(axis) for axis in range(3)],
            "configurations": configurations,
            "experiment_planner_used": "ExperimentPlanner",
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {
                str(channel): spread for channel in range(self.channels)
            },
        }

    def _configuration(self, spacing: list[float]) -> dict[str, Any]:
        draw, dim = self.draw, self.dim
        schemes = [draw.choice(SCHEMES) for _ in range(self.channels)]
        count = draw.choice([3, 3, 4])
        last = [2] * dim if draw.random() < 0.6 else [1] + [2] * (dim - 1)
        strides = [[1] * dim, [2] * dim, last, [1] * dim][:count]
        total = np.prod(strides, axis=0).tolist()
        edges = [draw.choice([8, 12, 16, 20, 24]) for _ in range(dim)]
        function = RESAMPLING[0] if self.dim == 2 else draw.choice(RESAMPLING)
        force = draw.choice([None, None, None, True, False])

        def arguments(order: int, is_seg: bool) -> dict[str, Any]:
            own = {"order": order, "order_z": 0} if function == RESAMPLING[0] else {}
            common = {"is_seg": is_seg, "force_separate_z": force, **own}
            return {} if function == RESAMPLING[2] else common

        resampling: dict[str, Any] = {}
        for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
            resampling[f"resampling_fn_{what}"] = function
            resampling[f"resampling_fn_{what}_kwargs"] = arguments(order, what == "seg")
        return {
            "preprocessor_name": "DefaultPreprocessor",
            "patch_size": [max(2 * t, e // t * t) for t, e in zip(total, edges, strict=True)],
            "spacing": spacing[3 - dim :],
            "normalization_schemes": [f"{scheme}Normalization" for scheme in schemes],
            "use_mask_for_norm": [s == "ZScore" and draw.random() < 0.5 for s in schemes],
            **resampling,
            **self._network(strides),
        }

    def _network(self, strides: list[list[int]]) -> dict[str, Any]:
        draw, dim, count = self.draw, self.dim, len(strides)
        kernels = [[3] * dim if draw.random() < 0.7 else [1] + [3] * (dim - 1) for _ in strides]
        norm = "batchnorm.BatchNorm" if draw.random() < 0.2 else "instancenorm.InstanceNorm"
        blocks = "n_conv_per_stage" if self.network == "PlainConvUNet" else "n_blocks_per_stage"
        self.arguments = {
            "n_stages": count,
            "features_per_stage": [6, 12, 24, 24][:count],
            "conv_op": f"torch.nn.modules.conv.Conv{dim}d",
            "kernel_sizes": kernels,
            "strides": strides,
            blocks: [2, 1, 2, 1][:count],
            "n_conv_per_stage_decoder": [1, 2, 1][: count - 1],
            "conv_bias": self.is_old or draw.random() < 0.8,
            "norm_op": f"torch.nn.modules.{norm}{dim}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }
        if self.is_old:  # which know no other norm
            self.arguments["norm_op"] = f"torch.nn.modules.instancenorm.InstanceNorm{dim}d"
            return {
                "UNet_class_name": self.network,
                "UNet_base_num_features": 6,
                "unet_max_num_features": 24,
                "n_conv_per_stage_encoder": self.arguments[blocks],
                "n_conv_per_stage_decoder": self.arguments["n_conv_per_stage_decoder"],
                "num_pool_per_axis": [2] * dim,
                "pool_op_kernel_sizes": strides,
                "conv_kernel_sizes": kernels,
            }
        return {
            "architecture": {
                "network_class_name": f"{unet.__name__}.{self.network}",
                "arch_kwargs": self.arguments,
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            }
        }

    def write_model(self) -> list[Path]:
        """Write the results folders, the first stage of a cascade first."""
        stages = ["3d_lowres", self.kind] if "cascade" in self.kind else [self.kind]
        shutil.rmtree(self.folder, ignore_errors=True)
        places = [self.folder / f"nnUNetTrainer__nnUNetPlans__{stage}" for stage in stages]
        for place, stage in zip(places, stages, strict=True):
            place.mkdir(parents=True)
            (place / "plans.json").write_text(json.dumps(self.plans))
            (place / "dataset.json").write_text(json.dumps(self.dataset))
            for fold in range(self.folds):
                self._write_fold(place, stage, fold)
        return places

    def _write_fold(self, place: Path, stage: str, fold: int) -> None:
        network = get_network_from_plans(
            f"{unet.__name__}.{self.network}",
            self.arguments,
            ["conv_op", "norm_op", "dropout_op", "nonlin"],
            self.channels + (3 if "cascade" in stage else 0),
            3 if self.is_regional else 4,
            allow_init=True,
            deep_supervision=True,
        )
        for weight in network.parameters():
            if weight.ndim == 1:
                nn.init.normal_(weight, 0.3, 0.3)
        (place / f"fold_{fold}").mkdir()
        checkpoint = {
            "network_weights": network.state_dict(),
            "init_args": {"plans": self.plans, "configuration": stage, "fold": fold},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": tuple(range(self.dim)),
        }
        torch.save(checkpoint, place / f"fold_{fold}" / "checkpoint_final.pth")

    def source(self, places: list[Path]) -> Path:
        """Return what is imported: the folder, one above it, or a zip."""
        draw = self.draw
        if draw.random() < 0.6:
            return draw.choice([places[-1], self.folder])
        path, above = self.work / f"{self.seed}.zip", draw.choice(["", "a/b/c/"])
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in self.folder.rglob("*"):
                archive.write(file, above + str(file.relative_to(self.work)))
        return path

    def write_images(self) -> list[str]:
        """Write the channels of an image, oblique and mirrored or not, with zeros around or not."""
        draw = self.draw
        shape = [draw.randint(12, 40) for _ in range(3)]
        spacing = [round(draw.uniform(0.9, 3), 3) for _ in range(3)]
        if draw.random() < 0.3:
            spacing[draw.randint(0, 2)] *= 4
        angles = [draw.uniform(-0.3, 0.3) if draw.random() < 0.5 else 0 for _ in range(3)]
        turn = np.reshape(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix(), (3, 3))
        axes = np.eye(3)[:, draw.sample(range(3), 3)] * [draw.choice([1, -1]) for _ in range(3)]
        inside = np.ones(shape, bool)
        if draw.random() < 0.5:
            inside[:] = False
            inside[2:-3, 3:-1, 1:-2] = True
            middle = tuple(slice(size // 2 - 2, size // 2 + 2) for size in shape)
            inside[middle] = False  # a hole, which nnU-Net fills
        files = []
        for channel in range(self.channels):
            noise = sitk.GetImageFromArray(self.noise.normal(size=shape).astype(np.float32))
            smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(noise, 1.3))
            values = np.clip(smooth / smooth.std() * 45 + 115, 1, 254)
            image = sitk.GetImageFromArray(np.where(inside, values, 0).astype(np.float32))
            image.SetSpacing(spacing)
            image.SetDirection((turn @ axes).ravel())
            image.SetOrigin((3, -7, 11))
            files.append(str(self.work / f"{self.seed}_{channel:04d}.nii.gz"))
            sitk.WriteImage(image, files[-1])
        return files

    def __str__(self) -> str:
        words = [self.kind, self.network, f"{self.folds} fold(s)", f"{self.channels} channel(s)"]
        words += [self.labels, str(self.plans["transpose_forward"])]
        words += [self.plans["image_reader_writer"]]
        words += ["old plans"] * self.is_old + ["mirroring"] * self.mirroring
        return f"{self.seed}: {', '.join(words)}"
