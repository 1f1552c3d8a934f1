"""How many spoiled results of a cohort stand at the beginning of `misfm review`'s list.

    python Testing/Benchmarks/review_outliers.py LABELS [--images FOLDER] [--repeats 20]

Takes a folder of label maps, spoils 5 % of them, each in one way (a structure missing, left and
right exchanged, shifted, cut, leaked, the labels of another case), and counts how many of those are
among the first 10 % of the list. Repeats with other cases.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from MISFMLib.data.descriptions import label_names_beside
from MISFMLib.jobs.review.measures import measure
from MISFMLib.jobs.review.outliers import find_outliers
from MISFMLib.volumes.volume import LabelMap, case_name, find_volumes, read_label_map, read_volume


def missing(labels: np.ndarray, names: dict[int, str], rng: np.random.Generator) -> np.ndarray:
    value = rng.choice([v for v in names if (labels == v).any()])
    return np.where(labels == value, 0, labels)


def exchanged(labels: np.ndarray, names: dict[int, str], rng: np.random.Generator) -> np.ndarray:
    by_name = {name: value for value, name in names.items()}
    pairs = [
        (value, by_name[name.replace("left", "right")])
        for name, value in by_name.items()
        if "left" in name and name.replace("left", "right") in by_name
    ]
    # Without sides the two largest structures change places.
    a, b = pairs[rng.integers(len(pairs))] if pairs else sorted(names)[:2]
    return np.where(labels == a, b, np.where(labels == b, a, labels))


def shifted(labels: np.ndarray, _names: dict[int, str], rng: np.random.Generator) -> np.ndarray:
    axis = int(rng.integers(3))
    step = max(3, labels.shape[axis] // 8)
    moved = np.roll(labels, step, axis)
    moved[tuple(slice(0, step) if a == axis else slice(None) for a in range(3))] = 0
    return moved


def cut(labels: np.ndarray, names: dict[int, str], rng: np.random.Generator) -> np.ndarray:
    value = rng.choice([v for v in names if (labels == v).any()])
    where = np.argwhere(labels == value)
    axis = int(np.ptp(where, axis=0).argmax())
    middle = int(np.median(where[:, axis]))
    beyond = np.arange(labels.shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
    return np.where((labels == value) & (beyond > middle), 0, labels)


def leaked(labels: np.ndarray, names: dict[int, str], rng: np.random.Generator) -> np.ndarray:
    value = rng.choice([v for v in names if (labels == v).any()])
    centre = rng.permutation(np.argwhere(labels == value))[0]
    distance = sum(
        (g - c) ** 2 for g, c in zip(np.indices(labels.shape, sparse=True), centre, strict=True)
    )
    radius = 1.3 * np.cbrt((labels == value).sum() * 3 / (4 * np.pi))
    return np.where((distance < radius**2) & (labels == 0), value, labels)


def of_another(labels: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Put the labels of another case at the same corner of this one's grid."""
    result = np.zeros_like(labels)
    part = tuple(slice(0, min(a, b)) for a, b in zip(labels.shape, other.shape, strict=True))
    result[part] = other[part]
    return result


SPOILERS = {
    "missing": missing,
    "exchanged": exchanged,
    "shifted": shifted,
    "cut": cut,
    "leaked": leaked,
}


def spoil(kind: str, labels: np.ndarray, names: dict[int, str], rng, other: np.ndarray):
    if kind == "another case":
        return of_another(labels, other)
    return SPOILERS[kind](labels, names, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--values", type=int, nargs="*", help="labels that are complete")
    parser.add_argument("--most", type=int, default=200, help="cases that are taken at most")
    options = parser.parse_args()
    names = label_names_beside(options.labels)
    maps = {case_name(p): read_label_map(p) for p in find_volumes(options.labels)[: options.most]}
    if not names:
        names = {int(v): f"label {v}" for v in np.unique(next(iter(maps.values())).array_DHW) if v}
    if options.values:
        names = {value: names[value] for value in options.values}
        for case, label_map in maps.items():
            kept = np.isin(label_map.array_DHW, options.values)
            maps[case] = replace(label_map, array_DHW=np.where(kept, label_map.array_DHW, 0))
    images = {}
    if options.images:
        paths = {case_name(p).removesuffix("_0000"): p for p in find_volumes(options.images)}
        images = {case: read_volume(paths[case]) for case in maps if case in paths}
    clean = {case: measure(m, names, images.get(case)) for case, m in maps.items()}
    kinds = [*SPOILERS, "another case"]
    tried, first, ranks = Counter(), Counter(), []
    rng = np.random.default_rng(0)
    for _ in range(options.repeats):
        cases = sorted(maps)
        chosen = rng.permutation(len(cases))[: max(1, round(0.05 * len(cases)))]
        cohort = dict(clean)
        kind_of = {}
        for number, index in enumerate(chosen):
            case, kind = cases[index], kinds[number % len(kinds)]
            other = maps[cases[(index + 7) % len(cases)]].array_DHW
            array = spoil(kind, maps[case].array_DHW, names, rng, other)
            spoiled = LabelMap(np.ascontiguousarray(array, np.uint8), maps[case].geometry)
            cohort[case] = measure(spoiled, names, images.get(case))
            kind_of[case] = kind
        found = find_outliers(cohort)
        ordered = sorted(found, key=lambda case: -found[case].score)
        top = set(ordered[: round(0.1 * len(ordered))])
        for case, kind in kind_of.items():
            tried[kind] += 1
            first[kind] += case in top
            ranks.append(ordered.index(case) / len(ordered))
    print(f"{len(maps)} cases, {options.repeats} repeats, images: {bool(images)}")
    for kind in kinds:
        print(f"{kind:14} {first[kind]:4} of {tried[kind]:4} in the first 10 %")
    share = sum(first.values()) / sum(tried.values())
    print(f"{'all':14} {share:.1%}; median place {np.median(ranks):.1%} of the list")


if __name__ == "__main__":
    main()
