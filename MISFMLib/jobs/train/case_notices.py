"""What a training has to say of its cases and their labels before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from MISFMLib.configs import FinetuneConfig
from MISFMLib.data.cases import LabelledSet, Split, listed
from MISFMLib.data.datasets import PreparedCase
from MISFMLib.data.known_cases import KnownCases
from MISFMLib.data.label_check import CaseFacts
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.events import EventSink, Notice
from MISFMLib.jobs.train.planning import sound_mirror_axes
from MISFMLib.jobs.train.start import Start, preset_network


def tell_of_cases(
    config: FinetuneConfig,
    found: LabelledSet,
    split: Split,
    facts: Mapping[str, CaseFacts],
    events: EventSink,
) -> None:
    """Say which cases take no part, hold no label, and which labels held-out cases can judge."""
    _tell_of_judging(config, found, split, facts, events)
    left_out = sorted({case.name for case in found.cases} - set(facts))
    if left_out:
        events(Notice(f"The split leaves {len(left_out)} cases out: {listed(left_out)}."))
    empty = [name for name, fact in facts.items() if not fact.label_values]
    if empty:
        events(
            Notice(
                f"{len(empty)} label maps are empty and taken as those of healthy cases: "
                f"{listed(empty)}. Leave out cases that nobody has labelled."
            )
        )


def _tell_of_judging(
    config: FinetuneConfig,
    found: LabelledSet,
    split: Split,
    facts: Mapping[str, CaseFacts],
    events: EventSink,
) -> None:
    """Say of which labels nobody will know how well they are found."""
    judged = {value for name in split.validation for value in facts[name].label_values}
    learnt = {value for name in split.train for value in facts[name].label_values}
    if not split.validation:
        is_given = config.split or found.split or not config.validation_fraction
        reason = "" if is_given else "Each case has a label that no other has: "
        events(Notice(f"{reason}No case is held out, so the model will not be evaluated."))
    elif not judged:
        events(Notice("The held-out cases have no label: how good the model is cannot be told."))
    elif learnt - judged:
        names = [found.label_names.get(value, f"label {value}") for value in learnt - judged]
        events(
            Notice(
                f"No held-out case has {listed(sorted(names))}: how well that is found cannot be "
                "told. Label it in more cases, or name held-out cases that have it with --split."
            )
        )


def tell_of_no_hounsfield(
    plan: TrainingPlan, facts: Mapping[str, CaseFacts], events: EventSink
) -> None:
    """Tell when volumes that are clipped as CT cannot be in HU, so that tissue would be cut off."""
    intensity = plan.preprocessing.intensity[0]
    shifted = [name for name, fact in facts.items() if fact.intensity_range[0] >= 0]
    if shifted and intensity.scheme == "ct-clip" and intensity.clip:
        events(
            Notice(
                f"No intensity of {listed(shifted)} is below 0, so they are not CT in Hounsfield "
                f"units, and all above {intensity.clip[1]:g} is cut off. Convert the original "
                "files again, or train with --modality other."
            )
        )


def tell_of_learnt_cases(split: Split, known: KnownCases, events: EventSink) -> None:
    """Tell when the start has learnt from cases that are held out now."""
    learnt = sorted(known.train.intersection(split.validation))
    if learnt:
        events(
            Notice(
                f"The start was trained on cases that are held out now: {listed(learnt)}. Their "
                "scores will be too good; hold out others with --split."
            )
        )


def tell_of_lost_labels(
    plan: TrainingPlan,
    facts: Mapping[str, CaseFacts],
    prepared: Sequence[PreparedCase],
    events: EventSink,
) -> None:
    """Say which labels are too small for the voxel size of a training, so that nothing is left."""
    classes = {case.name: case.classes() | set(case.not_drawn) for case in prepared}
    lost = []
    for index, label in enumerate(plan.labels, start=1):
        having = [name for name in classes if label.value in facts[name].label_values]
        count = sum(index not in classes[name] for name in having)
        if count:
            lost.append(f"{label.name} in {count} of {len(having)} cases")
    if lost:
        size = plan.summary()["voxel size"]
        events(
            Notice(
                f"At the voxel size of the training, {size}, no voxel is left of {listed(lost)}, "
                "and it cannot be learnt from these. Train at a smaller one with --spacing-dhw."
            )
        )


def warn_of_mirrored_labels(
    plan: TrainingPlan, facts: Sequence[CaseFacts], events: EventSink
) -> None:
    """Tell when mirrored patches would teach the network to confuse labels, such as sides."""
    sound = sound_mirror_axes(plan.labels, facts, plan.preprocessing)
    mirrored = plan.preprocessing.mirror_axes
    if not set(mirrored) <= set(sound):
        advice = " ".join(["--mirror-axes", *(str(axis) for axis in mirrored if axis in sound)])
        events(
            Notice(
                "Some labels differ in their side or end only, and patches are mirrored along that "
                f"axis, which makes them hard to tell apart. Use {advice} to keep them apart."
            )
        )


def tell_of_other_network(config: FinetuneConfig, start: Start, events: EventSink) -> None:
    """Tell when a network was asked for and the start is another one."""
    if start.source is None or config.network == FinetuneConfig.network:
        return
    asked, own = preset_network(config.network)[0], start.network
    if (asked.architecture, asked.level_channels) != (own.architecture, own.level_channels):
        message = f"The network is that of {config.init}; --network {config.network} has no effect."
        events(Notice(message))


def tell_of_other_channels(plan: TrainingPlan, start: Start, events: EventSink) -> None:
    """Tell when a start has the channels in another order: its weights know each as another."""
    ours = plan.preprocessing.channels
    if start.bundle is not None and start.reorders(ours):
        theirs = ", ".join(start.bundle.manifest.preprocessing.channels)
        events(
            Notice(
                f"The channels are {', '.join(ours)}, those of {start.bundle.manifest.name} are "
                f"{theirs}: what it knows of each would be used for another. Give them in that "
                "order, as in a CSV with the columns image_0, image_1."
            )
        )


def tell_of_other_labels(
    config: FinetuneConfig, plan: TrainingPlan, start: Start, events: EventSink
) -> None:
    """Tell when a start has as many labels, which nothing shows to be the same."""
    if start.bundle is None or config.init_parts != "all":
        return
    if start.segments(len(plan.labels)) and not start.knows(plan.labels):
        names = listed([label.name for label in start.bundle.manifest.own_labels])
        events(
            Notice(
                f"The labels of {config.init} are {names}: its class outputs are not taken over. "
                "If the labels mean the same, in this order, name them so with --labels, or use "
                "--same-labels."
            )
        )
