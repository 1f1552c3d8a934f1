"""``misfm quantize``: a model in 8-bit integers for this CPU, kept if it segments as well."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from MISFMLib.configs import LabelConfig, PreprocessingConfig, QuantizeConfig
from MISFMLib.data.case_reading import read_case, without_unlabelled
from MISFMLib.data.cases import Case, LabelledSet, find_cases, with_label_names
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.data.split import choose_split
from MISFMLib.device import set_threads
from MISFMLib.errors import ConfigError, DataError
from MISFMLib.events import EventSink, Progress, ignore_events
from MISFMLib.inference import kept_conversions, openvino_conversion, quantization
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.openvino_network import OpenVINONetwork
from MISFMLib.inference.patches import central_window
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.inference.windows import WindowConfig
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.segment.segment import check_segments
from MISFMLib.metrics import dice
from MISFMLib.models.bundle import Bundle
from MISFMLib.models.store import find_model
from MISFMLib.volumes.volume import read_volume

MOST_LOSS = 0.002
"""Mean Dice that a label may lose."""
_EXACT = SegmenterOptions(device="cpu", precision="fp32")


def run_quantize(config: QuantizeConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Make the int8 version of a model, compare it with float32, and keep it for `misfm segment`.

    Args:
        config: The job.
        events: Hears progress.

    Returns:
        Report: whether the version is used from now on, and the mean Dice of every label in both.

    Raises:
        MISFMError: The model or the cases cannot be used, or a package is missing.
    """
    problem = quantization.why_unavailable()
    if problem:
        raise ConfigError(problem, code="int8-unavailable", remedy="Segment with --precision auto.")
    bundle = find_model(config.model)
    check_segments(bundle)
    to_calibrate, to_compare = _cases(config, bundle)
    set_threads(config.threads)
    engines, manifest = Engines.from_bundle(bundle), bundle.manifest
    network, model = _quantized(engines.network, to_calibrate, manifest.preprocessing, events)
    window_shape = (len(manifest.preprocessing.channels), *manifest.preprocessing.patch_size)
    engines.conversions.add_int8(window_shape, network)
    exact, int8 = (
        Segmenter(engines, manifest.preprocessing, manifest.labels, options)
        for options in (_EXACT, replace(_EXACT, precision="int8"))
    )
    segmenters = {"float32": exact, "int8": int8}
    count = counter(events, "compare", len(to_compare))
    dices = dice_by_label(to_compare, segmenters, manifest.labels, count)
    scores = {
        label: {name: statistics.fmean(values) for name, values in formats.items()}
        for label, formats in dices.items()
    }
    losses = {label: means["float32"] - means["int8"] for label, means in scores.items()}
    worst = max(losses, key=lambda label: losses[label])
    refused = ""
    if losses[worst] >= MOST_LOSS:
        refused = f"In int8 the Dice of {worst} falls by {losses[worst]:.4f}."
    recipe = engines.conversions.recipe("int8", window_shape)
    kept_conversions.keep(recipe, model, {"dice": scores, "cases": len(to_compare)}, refused)
    lines = [
        f"{name}: Dice {d['float32']:.4f}, in int8 {d['int8']:.4f}" for name, d in scores.items()
    ]
    verdict = refused or "Segment with --precision int8 to use it."
    return {
        "accepted": not refused,
        "dice": scores,
        "cases": len(to_compare),
        "exit_code": int(bool(refused)),
        "text": "\n".join([*lines, verdict]),
    }


def _cases(config: QuantizeConfig, bundle: Bundle) -> tuple[list[Case], list[Case]]:
    """Return the cases to find ranges with and those to compare on."""
    found = _numbered_as(find_cases(config.data), bundle)
    split = choose_split(
        found, config.split, validation_fraction=config.validation_fraction, seed=config.seed
    )
    if not split.validation:
        raise DataError(
            f"{config.data} holds out no case to compare on.",
            code="no-validation-case",
            remedy="Give a --split with cases in validation.",
        )
    by_name = {case.name: case for case in found.cases}
    spread = split.train[:: max(1, len(split.train) // config.calibration_cases)]
    chosen = spread[: config.calibration_cases]
    return [by_name[name] for name in chosen], [by_name[name] for name in split.validation]


def _numbered_as(found: LabelledSet, bundle: Bundle) -> LabelledSet:
    """Return the cases with the labels numbered as in the model; segments are matched by name."""
    ours = {label.value: label.name for label in bundle.manifest.labels}
    theirs = dict(found.label_names)
    if theirs and found.names_of_segments and set(theirs.values()) <= set(ours.values()):
        return with_label_names(found, [f"{value}={name}" for value, name in ours.items()])
    if theirs and theirs != ours:
        raise DataError(
            f"The labels of the cases are {theirs}, those of {bundle.manifest.name} are {ours}.",
            code="labels-differ",
            remedy="Give cases with the labels of the model.",
        )
    return found


def _quantized(
    network: nn.Module,
    cases: Sequence[Case],
    preprocessing: PreprocessingConfig,
    events: EventSink,
) -> tuple[OpenVINONetwork, Any]:
    """Quantise a network with the windows in the middle of the cases."""
    config = WindowConfig(patch_size=preprocessing.patch_size, padding=preprocessing.padding)
    windows = []
    for case in cases:
        prepared = prepare_volume(
            read_volume(case.images, num_channels=case.num_channels), preprocessing
        )
        windows.append(central_window(prepared, config))
        events(Progress("quantize", 0.0, f"reading {len(windows)} of {len(cases)} cases"))
    events(Progress("quantize", 0.0, "quantising, which takes some minutes"))
    with torch.inference_mode():
        network(windows[0])
    model = quantization.quantize(openvino_conversion.convert(network, windows[0]), windows)
    return OpenVINONetwork(model, "int8", torch.get_num_threads()), model


def dice_by_label(
    cases: Sequence[Case],
    segmenters: Mapping[str, Segmenter],
    labels: Sequence[LabelConfig],
    on_case: Callable[[int], None] = lambda _done: None,
) -> dict[str, dict[str, list[float]]]:
    """Segment cases in several ways.

    Args:
        cases: Cases with label maps.
        segmenters: The ways by their names.
        labels: What is compared.
        on_case: Hears the number of cases done.

    Returns:
        By label and way the Dice of every case, 1 where the label is rightly missing.
    """
    dices: dict[str, dict[str, list[float]]] = {
        label.name: {name: [] for name in segmenters} for label in labels
    }
    for done, case in enumerate(cases, start=1):
        volume, reference = read_case(case)
        known_DHW = reference.array_DHW
        for name, segmenter in segmenters.items():
            found_DHW = segmenter.segment(volume).label_map.array_DHW
            found_DHW = without_unlabelled(found_DHW, known_DHW, case.unlabelled)
            for label in labels:
                score = dice(found_DHW == label.value, known_DHW == label.value)
                dices[label.name][name].append(1.0 if math.isnan(score) else score)
        on_case(done)
    return dices
