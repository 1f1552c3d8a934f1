"""``misfm quantize``: a model in 8-bit integers, kept if it segments as well and faster here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from MISFMLib.configs import LabelConfig, PreprocessingConfig, QuantizeConfig
from MISFMLib.data.case_reading import read_case, without_unlabelled
from MISFMLib.data.cases import Case, LabelledSet, find_cases, with_label_names
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.data.split import choose_split
from MISFMLib.device import set_threads
from MISFMLib.errors import BundleError, ConfigError, DataError
from MISFMLib.events import EventSink, Progress, ignore_events
from MISFMLib.inference import kept_conversions, openvino_conversion, quantization
from MISFMLib.inference.engine import Work
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
LEAST_GAIN = 1.1
"""A window must be this many times as fast; without instructions for int8 it may not be."""
_USUAL = SegmenterOptions(device="cpu", engine="openvino")
"""What is computed where nothing is asked for, as soon as that pays."""
_EXACT = SegmenterOptions(device="cpu", precision="fp32")


def run_quantize(config: QuantizeConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Make a model's int8 version, kept for `misfm segment` if it is faster and as good.

    Args:
        config: The job.
        events: Hears progress.

    Returns:
        Report: whether the version is used from now on, seconds for a window as usual and in int8,
        and, where int8 is faster, the mean Dice of every label in float32 and int8.

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
    windows = _windows(to_calibrate, manifest.preprocessing, events)
    events(Progress("quantize", 0.0, "quantising, which takes some minutes"))
    window_shape = (len(manifest.preprocessing.channels), *manifest.preprocessing.patch_size)
    model = _convert(engines, windows, window_shape)
    usual, exact, int8 = (
        Segmenter(engines, manifest.preprocessing, manifest.labels, options)
        for options in (_USUAL, _EXACT, replace(_EXACT, precision="int8"))
    )
    seconds = seconds_of_a_window({"usual": usual, "int8": int8})
    refused, scores = _why_no_gain(seconds), {}
    if not refused:
        count = counter(events, "compare", len(to_compare))
        segmenters = {"float32": exact, "int8": int8}
        scores = _means(dice_by_label(to_compare, segmenters, manifest.labels, count))
        refused = _why_worse(scores)
    facts = {"dice": scores, "cases": len(to_compare), "seconds": seconds}
    kept_conversions.keep(engines.conversions.recipe("int8", window_shape), model, facts, refused)
    lines = [
        f"{name}: Dice {d['float32']:.4f}, in int8 {d['int8']:.4f}" for name, d in scores.items()
    ]
    verdict = refused or f"Segment with --precision int8 to use it: {_speeds(seconds)}."
    return {
        **facts,
        "accepted": not refused,
        "exit_code": BundleError.exit_code if refused else 0,
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


def _windows(
    cases: Sequence[Case], preprocessing: PreprocessingConfig, events: EventSink
) -> list[torch.Tensor]:
    """Cut the windows in the middle of the cases."""
    config = WindowConfig(patch_size=preprocessing.patch_size, padding=preprocessing.padding)
    windows = []
    for case in cases:
        prepared = prepare_volume(
            read_volume(case.images, num_channels=case.num_channels), preprocessing
        )
        windows.append(central_window(prepared, config))
        events(Progress("quantize", 0.0, f"reading {len(windows)} of {len(cases)} cases"))
    return windows


def _convert(
    engines: Engines, windows: Sequence[torch.Tensor], shape: tuple[int, int, int, int]
) -> Any:
    """Quantise a network and convert it as usual; return the quantised model."""
    network = engines.network
    with torch.inference_mode():
        network(windows[0])
    model = quantization.quantize(openvino_conversion.convert(network, windows[0]), windows)
    int8 = OpenVINONetwork(model, "int8", torch.get_num_threads())
    engines.conversions.add_int8(shape, int8)
    work = Work(
        device=torch.device("cpu"), windows=1, window_shape=shape, sample=lambda: windows[0]
    )
    engines.choose(_USUAL.engine, _USUAL.precision, work)
    return model


def seconds_of_a_window(segmenters: Mapping[str, Segmenter]) -> dict[str, float]:
    """Return the shortest of some measured times of each; in turn, so that all have one load."""
    times: dict[str, list[float]] = {name: [] for name in segmenters}
    for _ in range(3):
        for name, segmenter in segmenters.items():
            times[name].append(segmenter.measure_window(lambda: False).seconds)
    return {name: min(seconds) for name, seconds in times.items()}


def _speeds(seconds: Mapping[str, float]) -> str:
    return f"a window takes {seconds['int8']:.3g} s instead of {seconds['usual']:.3g} s"


def _why_no_gain(seconds: Mapping[str, float]) -> str:
    """Return why int8 is not worth its rounding here, as a sentence, or nothing."""
    if seconds["int8"] * LEAST_GAIN <= seconds["usual"]:
        return ""
    return f"In int8 {_speeds(seconds)} on this CPU, which does not pay."


def _means(dices: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    return {
        label: {name: statistics.fmean(values) for name, values in ways.items()}
        for label, ways in dices.items()
    }


def _why_worse(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Return which label int8 costs too much, as a sentence, or nothing."""
    losses = {label: means["float32"] - means["int8"] for label, means in scores.items()}
    worst = max(losses, key=lambda label: losses[label])
    if losses[worst] < MOST_LOSS:
        return ""
    return f"In int8 the Dice of {worst} falls by {losses[worst]:.4f}."


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
