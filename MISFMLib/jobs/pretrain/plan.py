"""Plan of a pretraining: which volumes, brought into model space, and which network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from MISFMLib.configs import (
    NetworkConfig,
    PreprocessingConfig,
    PretrainConfig,
    ResolutionMode,
    Size,
    encode,
)
from MISFMLib.data.nnunet_rules import plan_stages
from MISFMLib.data.plan import plan_patch, plan_spacing
from MISFMLib.data.unlabelled import (
    Preparation,
    PreparedFile,
    UnlabelledFile,
    find_unlabelled,
    prepare_file,
)
from MISFMLib.errors import DataError
from MISFMLib.events import EventSink, Notice
from MISFMLib.files import write_json
from MISFMLib.jobs.pretrain.methods import with_outputs
from MISFMLib.jobs.pretrain.store import stored_volumes, uses_stores, with_settings_of_stores
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.train.run_folder import RunFolder, read_listing
from MISFMLib.jobs.train.start import preset_network
from MISFMLib.jobs.train.training_run import check_patience
from MISFMLib.networks import choose_resolution_mode, stride_dhw
from MISFMLib.networks.resolution import check_patch, fitting_patch
from MISFMLib.volumes.volume import case_name
from MISFMLib.volumes.volume_types import by

_UNIT = (1.0, 1.0, 1.0)
_LISTING = "volumes.json"
_SKIPPED_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class PretrainJob:
    """All that one process of a pretraining has to know; picklable."""

    config: PretrainConfig
    folder: RunFolder
    network: NetworkConfig
    preprocessing: PreprocessingConfig
    """Model space of most volumes, which fine-tuning takes over."""
    train: tuple[Path, ...]
    """Folders of the prepared volumes to learn from, or arrays of a training store."""
    validation: tuple[Path, ...]
    """Folders of those on which the task is judged."""
    validation_names: tuple[str, ...]
    """Names of the files that these come from."""
    skipped: tuple[PreparedFile, ...]
    """Volumes that are of no use, with the reason."""


def plan_pretraining(config: PretrainConfig, folder: RunFolder, events: EventSink) -> PretrainJob:
    """Choose the volumes, prepare them, plan the network, and write that down.

    Raises:
        DataError: No volume is of use.
    """
    if uses_stores(config):
        settings = with_settings_of_stores(config)
        known = stored_volumes(config.data, folder.path / _LISTING)
        held_out, others = _draw(config, list(known))
        prepared = {place: known[place] for place in (*held_out, *others)}
    else:
        settings, files = config, _find_files(config, folder)
        held_out, others = _draw(config, list(files))
        chosen = {place: files[place] for place in (*held_out, *others)}
        prepared = _prepare_volumes(config, chosen, events)
    usable, skipped = _usable(prepared, events)
    train, validation = _split(held_out, usable)
    check_patience(config, validation)
    if not validation:
        events(Notice("No volume is held out, so nothing tells how well the task is learnt."))
    network, patch_size = _plan_network(config, list(usable.values()))
    job = PretrainJob(
        config=config,
        folder=folder,
        network=network,
        preprocessing=_model_space(settings, list(usable.values()), patch_size),
        train=train,
        validation=validation,
        validation_names=tuple(_name(usable[place]) for place in validation),
        skipped=skipped,
    )
    _write_down(job, events)
    return job


def _name(file: PreparedFile) -> str:
    return case_name(Path(file.source) if file.source else file.path)


def _write_down(job: PretrainJob, events: EventSink) -> None:
    network, space = job.network, job.preprocessing
    plan = {"network": encode(network), "preprocessing": encode(space)}
    split = {"train": [path.name for path in job.train]}
    split["validation"] = [path.name for path in job.validation]
    write_json(job.folder.path / "plan.json", plan, overwrite=True)
    write_json(job.folder.path / "split.json", split, overwrite=True)
    channels = ", ".join(map(str, network.level_channels))
    lines = (
        f"Plan\nmethod      {job.config.method}",
        f"network     {network.architecture}, levels of {channels} channels, "
        f"resolution mode {network.resolution_mode}",
        f"patch       {by(space.patch_size)} voxels, {job.config.batch_size} a step",
        f"volumes     {len(job.train)} to learn from, {len(job.validation)} held out, "
        f"modality {space.modality}",
    )
    events(Notice("\n".join(lines), level="info"))


# ------------------------------------------------------------------------------------ the volumes


def _find_files(config: PretrainConfig, folder: RunFolder) -> dict[Path, UnlabelledFile]:
    """List the volumes by the folder that each is prepared in.

    A run that goes on keeps its list, whatever was added to the data since.
    """
    listing = folder.path / _LISTING
    if listing.exists():
        files = read_listing(listing, UnlabelledFile)
    else:
        files = find_unlabelled(config.data)
        write_json(listing, [encode(file) for file in files])
    return {
        folder.cases / f"{index:06d}-{case_name(file.path)}": file
        for index, file in enumerate(files)
    }


def _draw(config: PretrainConfig, volumes: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Draw the volumes that are held out, and from the others the fraction to learn from.

    The volumes held out are the same for every fraction, and a smaller fraction is part of a
    larger one, so that trainings on more and less data can be compared.
    """
    order = np.random.default_rng(config.seed).permutation(len(volumes)).tolist()
    count = round(config.validation_fraction * len(volumes))
    if config.validation_fraction > 0 and len(volumes) > 1:
        count = max(count, 1)
    held_out, rest = order[:count], order[count:]
    chosen = rest[: max(1, round(config.fraction * len(rest)))]
    return [volumes[index] for index in sorted(held_out)], [
        volumes[index] for index in sorted(chosen)
    ]


def _prepare_volumes(
    config: PretrainConfig, files: Mapping[Path, UnlabelledFile], events: EventSink
) -> dict[Path, PreparedFile]:
    """Bring volumes into model space; return what became of each by its folder."""
    preparation = Preparation(
        modality=config.modality, scheme=config.intensity, spacing_dhw=config.spacing_dhw
    )
    prepared, count = {}, counter(events, "prepare", len(files))
    for place, file in files.items():
        prepared[place] = prepare_file(file, preparation, place)
        count(len(prepared))
    return prepared


def _usable(
    prepared: Mapping[Path, PreparedFile], events: EventSink
) -> tuple[dict[Path, PreparedFile], tuple[PreparedFile, ...]]:
    """Part the volumes that can be learnt from and those that are of no use, and name these.

    Raises:
        DataError: No volume is of use.
    """
    skipped = tuple(facts for facts in prepared.values() if facts.problem)
    if skipped:
        events(Notice(_describe_skipped(skipped, len(prepared))))
    if len(skipped) == len(prepared):
        raise DataError(
            f"None of the {len(prepared)} volumes can be used: {skipped[0].problem}",
            code="no-usable-volume",
            remedy="Look at the reasons above.",
        )
    return {place: facts for place, facts in prepared.items() if not facts.problem}, skipped


def _describe_skipped(skipped: Sequence[PreparedFile], total: int) -> str:
    lines = [f"- {file.path}: {file.problem}" for file in skipped[:_SKIPPED_SHOWN]]
    if len(skipped) > _SKIPPED_SHOWN:
        lines.append(f"- and {len(skipped) - _SKIPPED_SHOWN} more")
    return "\n".join([f"{len(skipped)} of {total} volumes are left out:", *lines])


def _split(
    held_out: Collection[Path], usable: Collection[Path]
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the volumes to learn from, and those on which the task is judged.

    Whatever was of no use, one is left to learn from, and of two volumes one to judge on.
    """
    places = list(usable)
    count = sum(place in usable for place in held_out)
    if held_out:
        count = min(max(count, 1), len(places) - 1)
    return tuple(places[count:]), tuple(places[:count])


# ------------------------------------------------------------------------------------ the network


def _plan_network(
    config: PretrainConfig, files: Sequence[PreparedFile]
) -> tuple[NetworkConfig, Size]:
    """Return the network and the patch it is trained with."""
    preset, max_voxels, rules = preset_network(config.network)
    network = with_outputs(config, preset)
    network = replace(network, resolution_mode=_resolution_mode(config, files))
    if rules is not None:
        extents = [replace(file, spacing_dhw=_UNIT) for file in files]
        network, patch = plan_stages(network, rules, extents, _UNIT, config.patch_size)
    else:
        planned = _patch(files, stride_dhw(network), max_voxels)
        patch = config.patch_size or fitting_patch(network, planned)
    network = replace(network, patch_size=patch)
    check_patch(network)
    return network, patch


def _resolution_mode(config: PretrainConfig, files: Sequence[PreparedFile]) -> ResolutionMode:
    if config.resolution_mode is not None:
        return config.resolution_mode
    return choose_resolution_mode(plan_spacing(files))


def _patch(files: Sequence[PreparedFile], stride: Size, max_voxels: int) -> Size:
    """Plan the patch in voxels alone, since the voxel sizes may differ from volume to volume."""
    extents = [replace(file, spacing_dhw=_UNIT) for file in files]
    return plan_patch(extents, _UNIT, stride, max_voxels)


def _model_space(
    config: PretrainConfig, files: Sequence[PreparedFile], patch_size: Size
) -> PreprocessingConfig:
    modalities = {file.modality for file in files}
    modality = modalities.pop() if len(modalities) == 1 else "other"
    ((orientation, _),) = Counter(file.orientation for file in files).most_common(1)
    preparation = Preparation(scheme=config.intensity, spacing_dhw=config.spacing_dhw)
    space = preparation.model_space(modality, orientation)
    return replace(space, patch_size=patch_size)
