"""``misfm recipes``: list the recipes, check a local copy file by file, convert it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MISFMLib.errors import BatchError, ConfigError, DataError, MISFMError
from MISFMLib.events import CaseDone, EventSink, ignore_events
from MISFMLib.files import check_output, write_json
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.recipes.cases import read_recipe_case
from MISFMLib.jobs.recipes.catalogue import Recipe, find_recipe, read_recipes
from MISFMLib.jobs.recipes.files import LocalCopy, recognise, sort_files
from MISFMLib.volumes.volume import write_label_map, write_volume

Report = dict[str, Any]


def list_recipes() -> Report:
    """Return all recipes, with the key ``text`` for people."""
    recipes = read_recipes().values()
    lines = [f"{r.name:18} {r.cases or '':>5} {r.modality:5} {r.title}" for r in recipes]
    return {"recipes": [recipe.name for recipe in recipes], "text": "\n".join(lines)}


def show_recipe(name: str) -> Report:
    """Return one recipe in words.

    Raises:
        ConfigError: There is none of this name.
    """
    recipe = find_recipe(name)
    lines = [recipe.title, f"From: {recipe.address}", f"Licence: {recipe.licence}"]
    lines += [f"  {value} {label}" for value, label in recipe.labels.items()]
    lines += [f"- {fact} ({source})" for fact, source in recipe.facts]
    for method, scores in recipe.published.items():
        listed = ", ".join(f"{label} {score:.2f}" for label, score in scores.items())
        lines.append(f"Published Dice of {method}: {listed}")
    return {"recipe": recipe.name, "text": "\n".join(lines)}


def check_copy(folder: Path, name: str | None, events: EventSink = ignore_events) -> Report:
    """Read every file of a local copy and tell what is missing, unexpected or damaged.

    Args:
        folder: The unpacked download.
        name: Recipe; recognised by the files when not given.
        events: Hears progress.

    Raises:
        ConfigError: There is no such recipe.
        DataError: The folder is not there, or is none that there is a recipe for.
    """
    recipe, copy, structures = _open(folder, name)
    problems = _incomplete(copy)
    complete = copy.complete()
    count = counter(events, "check", len(complete))
    for number, (case, files) in enumerate(complete.items(), start=1):
        try:
            read_recipe_case(case, files, recipe, structures)
        except MISFMError as error:
            problems.append(f"{case}: {error}")
        count(number)
    problems += [f"unexpected: {path.relative_to(folder)}" for path in copy.unexpected[:20]]
    if recipe.cases and len(complete) != recipe.cases:
        problems.append(f"{len(complete)} complete cases, the download has {recipe.cases}")
    text = "\n".join([*problems, f"{recipe.title}: {len(complete)} complete cases"])
    exit_code = DataError.exit_code if problems else 0
    return {"recipe": recipe.name, "problems": problems, "exit_code": exit_code, "text": text}


def convert_copy(
    folder: Path, output: Path, name: str | None, events: EventSink = ignore_events
) -> Report:
    """Write a local copy in the layout of the Medical Segmentation Decathlon.

    A conversion that was stopped goes on; dataset.json is written last.

    Args:
        folder: The unpacked download.
        output: Folder to write.
        name: Recipe; recognised by the files when not given.
        events: Hears progress and the end of every case.

    Raises:
        ConfigError: There is no such recipe, or the folder needs no conversion.
        DataError: The folder is not there, or is none that there is a recipe for.
        OutputError: The data set is there already.
        BatchError: Cases are damaged; the others were converted.
    """
    recipe, copy, structures = _open(folder, name)
    if output.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"The result {output} would lie in the download {folder}.",
            code="output-is-input",
            remedy="Choose another output folder.",
        )
    check_output(output / "dataset.json", overwrite=False)
    failures: dict[str, str] = {}
    complete = copy.complete()
    for case, files in complete.items():
        image, label = (output / f"{part}Tr" / f"{case}.nii.gz" for part in ("images", "labels"))
        if label.exists():
            events(CaseDone(case, "skipped", "It was there already."))
            continue
        try:
            volume, label_map = read_recipe_case(case, files, recipe, structures)
            write_volume(volume, image, overwrite=True)
            write_label_map(label_map, label)
        except DataError as error:
            failures[case] = str(error)
            events(CaseDone(case, "failed", str(error)))
            continue
        events(CaseDone(case, "done", outputs=(str(image), str(label))))
    done = [case for case in complete if case not in failures]
    if failures:
        listed = "; ".join(f"{case}: {why}" for case, why in list(failures.items())[:3])
        raise BatchError(
            f"{len(failures)} of {len(complete)} cases cannot be converted ({listed}).",
            code="cases-failed",
            remedy="Download them again, or move their files away; the same command goes on.",
        )
    write_json(output / "dataset.json", _description(recipe, done, structures))
    text = f"{len(done)} cases of {recipe.title} are in {output}"
    return {"recipe": recipe.name, "cases": len(done), "text": text}


def _open(folder: Path, name: str | None) -> tuple[Recipe, LocalCopy, dict[str, int]]:
    recipe = find_recipe(name) if name else recognise(folder)
    if recipe.layout == "decathlon":
        raise ConfigError(
            f"{recipe.title} needs no conversion.",
            code="nothing-to-convert",
            remedy=f"Use it as it is, and check it with `misfm finetune {folder} --check-only`.",
        )
    copy = sort_files(folder, recipe)
    if not copy.complete():
        raise DataError(
            f"{folder} has no case of {recipe.title} with image and labels.",
            code="no-case",
            remedy=f"Unpack the download of {recipe.address} there.",
        )
    structures = dict(recipe.structures)
    if recipe.layout == "masks" and not structures:
        names = sorted({name for case in copy.cases.values() for name in case.labels})
        structures = {name: value for value, name in enumerate(names, start=1)}
    return recipe, copy, structures


def _incomplete(copy: LocalCopy) -> list[str]:
    return [
        f"{name}: no {'image' if not case.images else 'labels'}"
        for name, case in copy.cases.items()
        if not (case.images and case.labels)
    ]


def _description(recipe: Recipe, cases: list[str], structures: Mapping[str, int]) -> dict[str, Any]:
    labels = dict(recipe.labels) or {
        value: name.replace("_", " ") for name, value in structures.items()
    }
    description: dict[str, Any] = {
        "name": recipe.title,
        "reference": recipe.address,
        "licence": recipe.licence,
        "modality": {"0": recipe.modality},
        "labels": {"0": "background", **{str(value): name for value, name in labels.items()}},
        "numTraining": len(cases),
        "training": [
            {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
            for case in cases
        ],
    }
    held_out = [case for case in recipe.validation if case in cases]
    if held_out:
        learnt = [case for case in cases if case not in held_out]
        description["split"] = {"train": learnt, "validation": held_out}
    return description
