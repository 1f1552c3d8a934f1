"""From a finished training to a bundle that says how good it is and how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

import MISFMLib
from MISFMLib.configs import LabelConfig
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.provenance import command_line, without_folder
from MISFMLib.jobs.train.cautions import license_of, limitations
from MISFMLib.jobs.train.comparison import compare_with_start, compared
from MISFMLib.jobs.train.finetune_job import FinetuneJob
from MISFMLib.jobs.train.start import trains_on
from MISFMLib.jobs.train.validation import evaluate
from MISFMLib.memory import peak_memory_bytes
from MISFMLib.models.bundle import Bundle, write_bundle
from MISFMLib.models.bundle_manifest import UNKNOWN_IMAGES, BundleManifest, model_name
from MISFMLib.networks import build_network, load_weights, weights_to_numpy
from MISFMLib.networks.low_rank import merged
from MISFMLib.training.checkpoint import TrainResult
from MISFMLib.training.stop import yielding_events


def write_trained_bundle(
    job: FinetuneJob, result: TrainResult, events: EventSink
) -> dict[str, Any]:
    """Write the weights as a bundle, segment the held-out cases with it, and add the results.

    Args:
        job: The training.
        result: What came out of it.
        events: Receives the progress of the evaluation and its outcome.

    Returns:
        The report of the job.
    """
    config, folder = job.config, job.folder
    network = build_network(job.plan.network)
    trained = merged(result.weights)
    auxiliary = set(trained) - set(network.state_dict())
    load_weights(network, trained, allow_unused=dict.fromkeys(auxiliary, "training only"))
    weights = weights_to_numpy(network)
    manifest = _manifest(job, result)
    draft = write_bundle(folder.draft, manifest, weights, overwrite=True)
    evaluation = _evaluate(job, draft, events)
    bundle = write_bundle(
        config.output, replace(manifest, evaluation=evaluation), weights, overwrite=config.overwrite
    )
    comparison = compare_with_start(job, events)
    folder.clean()
    outcome = [_outcome(bundle, job.plan.labels), *compared(config.init, comparison)]
    events(Notice("\n".join(outcome), level="info"))
    return {
        "bundle": str(bundle.path),
        "evaluation": evaluation,
        "scores": str(folder.scores) if job.validation else "",
        **({"comparison": comparison} if comparison else {}),
        "weights_sha256": bundle.manifest.weights_sha256,
        "peak_memory_bytes": peak_memory_bytes(),
        **result.summary(),
    }


def _outcome(bundle: Bundle, labels: Sequence[LabelConfig]) -> str:
    results = bundle.manifest.evaluation
    dice = ((label.name, results[label.name]["dice"]) for label in labels if results)
    lines = [f"{name}: Dice {value:.3f}" for name, value in dice if value is not None]
    return "\n".join([f"The model is in {bundle.path}", *lines])


def _evaluate(job: FinetuneJob, draft: Bundle, events: EventSink) -> dict[str, Any]:
    if not job.validation:
        return {}
    config = job.config
    options = SegmenterOptions(device=config.device, precision=config.precision)
    segmenter = Segmenter.from_bundle(draft, options)
    return evaluate(
        job.validation,
        lambda volume: segmenter.segment(volume, yielding_events(ignore_events)).label_map,
        job.plan.labels,
        job.folder.scores,
        counter(events, "evaluate", len(job.validation)),
    )


def _manifest(job: FinetuneJob, result: TrainResult) -> BundleManifest:
    config, plan = job.config, job.plan
    title = config.name or config.output.name
    names = ", ".join(label.name for label in plan.labels)
    learnt, judged = _images_learnt_from(job), {job.images[case.name] for case in job.validation}
    modality = {"CT": "CT", "MR": "MR"}.get(plan.preprocessing.modality, "")
    return BundleManifest(
        name=model_name(config.output.name),
        title=title,
        description=f"Segments {names} in {modality} volumes.".replace("  ", " "),
        intended_use=(
            f"Research on {modality} volumes that show what the training volumes show, at a "
            "similar voxel size and with similar protocols."
        ).replace("  ", " "),
        limitations=limitations(job, result),
        authors=config.authors,
        license=license_of(job),
        training_data=config.training_data,
        network=plan.network,
        preprocessing=plan.preprocessing,
        labels=plan.labels,
        training_images=tuple(sorted(learnt)),
        held_out_images=tuple(sorted(judged - learnt)),
        provenance=_provenance(job, result),
    )


def _images_learnt_from(job: FinetuneJob) -> set[str]:
    """Return digests of all images that the weights have seen with these labels."""
    learnt = {job.images[case.name] for case in job.train}
    if job.start.bundle and trains_on(job.config, job.start, job.plan.labels):
        learnt.update(job.start.bundle.manifest.training_images or [UNKNOWN_IMAGES])
    return learnt


def _provenance(job: FinetuneJob, result: TrainResult) -> dict[str, Any]:
    config = job.config
    facts = {
        "command": command_line("finetune", config),
        "start": without_folder(config.init) if config.init else "fresh weights",
        "SHA-256 of the start": job.start.sha256(),
        "seed": config.seed,
        "training cases": len(job.train),
        "held-out cases": len(job.validation),
        "steps": result.steps,
        "ended early by": result.ended_early,
        "step of the weights": result.step,
        "training time in seconds": round(result.seconds),
        "MISFM": MISFMLib.__version__,
        "PyTorch": torch.__version__,
    }
    facts |= {f"plan: {topic}": text for topic, text in job.plan.summary().items()}
    return {name: value for name, value in facts.items() if value != ""}
