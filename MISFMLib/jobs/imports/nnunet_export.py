"""A bundle becomes a results folder that ``nnUNetv2_predict_from_modelfolder`` runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from MISFMLib.configs import (
    IntensityConfig,
    InterpolationConfig,
    NetworkConfig,
    PreprocessingConfig,
)
from MISFMLib.errors import BundleError
from MISFMLib.files import written_atomically
from MISFMLib.jobs.imports.nnunet_labels import names_of_regions
from MISFMLib.models.bundle import Bundle, BundleManifest, read_weights
from MISFMLib.networks.nnunet_names import is_for_slices, to_nnunet

_CLASSES = {"plainconvunet": "PlainConvUNet", "resencunet": "ResidualEncoderUNet"}
_SCHEMES = {
    "ct-percentile": "CTNormalization",
    "ct-clip": "CTNormalization",
    "zscore": "ZScoreNormalization",
    "zscore-inside": "ZScoreNormalization",
    "none": "NoNormalization",
    "unit-range": "RescaleTo01Normalization",
    "divide-255": "RGBTo01Normalization",
}
_RESAMPLING = "resample_data_or_seg_to_shape"


def export_nnunet(bundle: Bundle, folder: Path, *, overwrite: bool = False) -> Path:
    """Write a model as a results folder of nnU-Net v2.

    Args:
        bundle: A model whose network and preparation nnU-Net knows.
        folder: Folder to write; the results folder ``Trainer__Plans__configuration`` lies in it.
        overwrite: Replace a folder that is already there.

    Returns:
        The results folder.

    Raises:
        BundleError: nnU-Net does not know the network or a step of the preparation.
        OutputError: The folder exists already or cannot be written.
    """
    manifest = bundle.manifest
    _check(manifest)
    name = "2d" if is_for_slices(manifest.network) else "3d_fullres"
    plans, dataset = _plans(manifest, name), _dataset(manifest)
    results = f"nnUNetTrainer__{plans['plans_name']}__{name}"
    with written_atomically(folder, overwrite=overwrite) as temporary:
        place = temporary / results
        place.mkdir(parents=True)
        (place / "plans.json").write_text(json.dumps(plans, indent=2), "utf-8")
        (place / "dataset.json").write_text(json.dumps(dataset, indent=2), "utf-8")
        for fold, weights in enumerate(_members(bundle)):
            (place / f"fold_{fold}").mkdir()
            checkpoint = _checkpoint(manifest, weights, (plans, dataset, name, fold))
            torch.save(checkpoint, place / f"fold_{fold}" / "checkpoint_final.pth")
    return folder / results


def _check(manifest: BundleManifest) -> None:
    space = manifest.preprocessing
    problems = []
    if manifest.network.architecture not in _CLASSES:
        problems.append(f"the network {manifest.network.architecture}")
    problems += [
        f"the intensity scheme {config.scheme}"
        for config in space.intensity
        if config.scheme not in _SCHEMES
    ]
    if manifest.kind != "segmentation" or space.monai_steps or manifest.parts:
        problems.append("what it is: several models, one of MONAI, or one that does not segment")
    if space.previous_labels:
        problems.append("a cascade as one model")
    if space.orientation not in ("", "RAS") or space.crop == "body":
        problems.append(f"the orientation {space.orientation} or the crop {space.crop}")
    if problems:
        raise BundleError(
            f"{manifest.name} cannot be written for nnU-Net, which does not know "
            f"{'; '.join(problems)}.",
            code="not-for-nnunet",
            remedy="Export it as a zip for MISFM and MONAI.",
        )


def _members(bundle: Bundle) -> list[dict[str, Tensor]]:
    config = bundle.manifest.network
    weights = {n: torch.tensor(a).float() for n, a in read_weights(bundle).items()}
    if config.members == 1:
        return [to_nnunet(weights, config)]
    members = []
    for number in range(config.members):
        prefix = f"members.{number}."
        own = {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
        members.append(to_nnunet(own, config))
    return members


def _checkpoint(
    manifest: BundleManifest,
    weights: dict[str, Tensor],
    made_from: tuple[dict[str, Any], dict[str, Any], str, int],
) -> dict[str, Any]:
    plans, dataset, name, fold = made_from
    shift = 1 if name == "2d" else 0
    axes = tuple(axis - shift for axis in manifest.preprocessing.mirror_axes if axis >= shift)
    return {
        "network_weights": weights,
        "optimizer_state": {"state": {}, "param_groups": []},
        "grad_scaler_state": None,
        "logging": {},
        "_best_ema": None,
        "current_epoch": 0,
        "init_args": {
            "plans": plans,
            "configuration": name,
            "fold": fold,
            "dataset_json": dataset,
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": axes or None,
    }


def _plans(manifest: BundleManifest, name: str) -> dict[str, Any]:
    space = manifest.preprocessing
    forward = list(space.transpose)
    spacing = list(space.spacing_dhw or (1.0, 1.0, 1.0))
    patch = list(space.patch_size)
    is_flat = name == "2d"
    configuration = {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch[1:] if is_flat else patch,
        "median_image_size_in_voxels": patch[1:] if is_flat else patch,
        "spacing": spacing[1:] if is_flat else spacing,
        "normalization_schemes": [_SCHEMES[config.scheme] for config in space.intensity],
        "use_mask_for_norm": [config.scheme == "zscore-inside" for config in space.intensity],
        **_resampling("data", space, space.resampling),
        **_resampling("seg", space, InterpolationConfig(separate=space.resampling.separate)),
        **_resampling("probabilities", space, space.restoring),
        "batch_dice": False,
        "architecture": _architecture(manifest.network, is_flat=is_flat),
    }
    return {
        "dataset_name": manifest.provenance.get("dataset", f"Dataset999_{manifest.name}"),
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": spacing,
        "original_median_shape_after_transp": patch,
        "image_reader_writer": "NibabelIOWithReorient" if space.orientation else "SimpleITKIO",
        "transpose_forward": forward,
        "transpose_backward": [forward.index(axis) for axis in range(3)],
        "configurations": {name: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(channel): _properties(config) for channel, config in enumerate(space.intensity)
        },
    }


def _resampling(
    what: str, space: PreprocessingConfig, config: InterpolationConfig
) -> dict[str, Any]:
    separate = {"anisotropic": None, "always": True, "never": False}[config.separate]
    return {
        f"resampling_fn_{what}": _RESAMPLING if space.spacing_dhw else "no_resampling_hack",
        f"resampling_fn_{what}_kwargs": {
            "is_seg": what == "seg",
            "order": config.order,
            "order_z": config.order_across,
            "force_separate_z": separate,
        },
    }


def _properties(config: IntensityConfig) -> dict[str, float]:
    low, high = config.clip or (-1000.0, 1000.0)
    mean, std = config.mean, config.std
    if config.scheme == "ct-clip":  # to -1..1
        mean, std = (low + high) / 2, (high - low) / 2
    return {
        "mean": mean,
        "median": mean,
        "std": std,
        "min": low,
        "max": high,
        "percentile_00_5": low,
        "percentile_99_5": high,
    }


def _architecture(network: NetworkConfig, *, is_flat: bool) -> dict[str, Any]:
    stages = network.stages
    assert stages is not None, "_check has looked at it"
    first = 1 if is_flat else 0
    number = 2 if is_flat else 3
    is_plain = network.architecture == "plainconvunet"
    norms = {"instance": "instancenorm.InstanceNorm", "batch": "batchnorm.BatchNorm"}
    norm = f"torch.nn.modules.{norms[stages.norm]}{number}d" if stages.norm in norms else None
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet."
        + _CLASSES[network.architecture],
        "arch_kwargs": {
            "n_stages": len(stages.blocks),
            "features_per_stage": list(network.level_channels),
            "conv_op": f"torch.nn.modules.conv.Conv{number}d",
            "kernel_sizes": [list(size[first:]) for size in stages.kernels],
            "strides": [list(size[first:]) for size in stages.strides],
            "n_conv_per_stage" if is_plain else "n_blocks_per_stage": list(stages.blocks),
            "n_conv_per_stage_decoder": list(stages.decoder_blocks),
            "conv_bias": stages.conv_bias,
            "norm_op": norm,
            "norm_op_kwargs": {"eps": stages.norm_eps, "affine": stages.norm_affine},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU" if stages.slope else "torch.nn.ReLU",
            "nonlin_kwargs": {"negative_slope": stages.slope} if stages.slope else {},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _dataset(manifest: BundleManifest) -> dict[str, Any]:
    space = manifest.preprocessing
    labels: dict[str, Any] = {"background": 0}
    order = [label.value for label in manifest.labels]
    more: dict[str, Any] = {}
    if space.is_regional:
        # Which labels a region joined is not known any more; predictions need the order only.
        names = names_of_regions([label.name for label in manifest.labels])
        labels |= {name: order[number:] for number, name in enumerate(names)}
        more["regions_class_order"] = order
    else:
        labels |= {label.name: number for number, label in enumerate(manifest.labels, start=1)}
    return {
        "channel_names": {str(number): name for number, name in enumerate(space.channels)},
        "labels": labels,
        "numTraining": 1,
        "file_ending": ".nii.gz",
        **more,
    }
