"""From a finished pretraining to a bundle that fine-tuning starts from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import MISFMLib
from MISFMLib.jobs.pretrain.methods import is_encoder_only
from MISFMLib.jobs.pretrain.plan import PretrainJob
from MISFMLib.jobs.provenance import command_line
from MISFMLib.models.bundle import write_bundle
from MISFMLib.models.bundle_manifest import BundleManifest, model_name
from MISFMLib.networks import build_network, load_weights, weights_to_numpy
from MISFMLib.networks.pretext_heads import BACKBONE
from MISFMLib.training.checkpoint import TrainResult

_TASKS = {
    "volume-fusion": "telling how much of either of two fused crops is in a voxel (Volume Fusion)",
    "model-genesis": "undoing shuffling, changes of intensity and painting (Model Genesis)",
    "patch-swapping": "putting swapped blocks back (context restoration)",
    "fusion-masking": "telling by how much two crops are fused, and filling in hidden blocks",
    "masked-modelling": "filling in hidden blocks (masked image modelling)",
    "rotation": "telling by how many quarter turns a crop was turned",
    "contrastive": "recognising the same voxels in two views (contrastive learning)",
}


def write_pretrained_bundle(job: PretrainJob, result: TrainResult) -> dict[str, Any]:
    """Write the weights as a bundle of the kind pretrained.

    Args:
        job: The training.
        result: What came out of it.

    Returns:
        The report of the job.
    """
    config = job.config
    bundle = write_bundle(
        config.output, _manifest(job, result), _weights(job, result), overwrite=config.overwrite
    )
    job.folder.clean()
    return {
        "bundle": str(bundle.path),
        "method": config.method,
        "score": result.score,
        "volumes": len(job.train),
        "held_out_volumes": len(job.validation),
        "skipped": [{"path": str(file.path), "reason": file.problem} for file in job.skipped],
        "weights_sha256": bundle.manifest.weights_sha256,
        **result.summary(),
    }


def _weights(job: PretrainJob, result: TrainResult) -> dict[str, np.ndarray[Any, Any]]:
    """Return what fine-tuning can use: the whole network or its encoder."""
    weights, encoder_only = result.weights, is_encoder_only(job.config)
    if encoder_only:
        weights = {
            name.removeprefix(BACKBONE): value
            for name, value in weights.items()
            if name.startswith(BACKBONE)
        }
    network = build_network(job.network)
    load_weights(network, weights)
    return {
        name: array
        for name, array in weights_to_numpy(network).items()
        if not encoder_only or name.startswith(network.encoder_parts)
    }


def _manifest(job: PretrainJob, result: TrainResult) -> BundleManifest:
    config, space = job.config, job.preprocessing
    title = config.name or config.output.name
    part = "The encoder of a network" if is_encoder_only(config) else "A network"
    modality = space.modality if space.modality in ("CT", "MR") else "CT and other"
    return BundleManifest(
        name=model_name(config.output.name),
        kind="pretrained",
        title=title,
        description=(
            f"{part} pretrained without labels on {len(job.train)} volumes by "
            f"{_TASKS[config.method]}."
        ),
        intended_use=(
            "Start for fine-tuning on own labels; the class outputs are new there. Intensities lay "
            "between -1 and 1 during the pretraining; `--intensity ct-clip` (CT) and `--intensity "
            "mr-percentile` (others) give this range."
        ),
        limitations=(
            f"It has seen {modality} volumes only. How much it helps depends on how "
            "similar they are to the labelled ones; compare with a training from scratch."
        ),
        authors=config.authors,
        license=config.license,
        training_data=config.training_data,
        network=job.network,
        preprocessing=space,
        evaluation=_evaluation(job, result),
        provenance=_provenance(job, result),
    )


def _evaluation(job: PretrainJob, result: TrainResult) -> dict[str, Any]:
    if result.score is None:
        return {}
    score = (
        {"mean Dice of the fusion levels": result.score}
        if job.config.tells_levels
        else {"loss of the pretext task": -result.score}
    )
    return score | {"held-out volumes": len(job.validation)}


def _provenance(job: PretrainJob, result: TrainResult) -> dict[str, Any]:
    config = job.config
    facts: dict[str, Any] = {
        "command": command_line("pretrain", config),
        "method": config.method,
    }
    if config.tells_levels:
        facts |= {"sampler": config.sampler, "levels above background": config.num_levels}
    return facts | {
        "volumes": len(job.train),
        "held-out volumes": len(job.validation),
        "volumes left out as unusable": len(job.skipped),
        "seed": config.seed,
        "steps": result.steps,
        "samples per step": config.batch_size,
        "step of the weights": result.step,
        "training time in seconds": round(result.seconds),
        "MISFM": MISFMLib.__version__,
        "PyTorch": torch.__version__,
    }
