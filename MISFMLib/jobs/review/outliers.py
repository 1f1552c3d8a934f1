"""Which cases of a cohort are not like the others, and in what.

Every measure of a structure is compared with the cohort by its robust z-score: the distance from
the median in median absolute deviations (times 1.4826, as of a normal distribution). A case counts
as much as its most deviating measure, and a little for each further one above 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from MISFMLib.jobs.review.measures import Measures

_FEWEST = 5
"""Cases that a structure needs for a comparison."""
_FROM = 3.0
"""z-score from which a measure is a reason."""
_MISSING = 12.0
"""Counts as z-score of a structure that is not there but in nearly all others."""
_USUAL = 0.8
"""Part of the cases that have a structure which is missed in the others."""
_HIGHEST = 50.0

Cohort = Mapping[str, Mapping[str, Measures]]


@dataclass(frozen=True)
class Finding:
    """How unusual a case is, and why."""

    score: float
    reasons: tuple[str, ...]
    """Sentences, the strongest first."""


@dataclass(frozen=True)
class _Measure:
    """One number of a structure that is compared over the cohort."""

    title: str
    get: Callable[[Measures], float | None]
    floor: float
    """Least deviation that counts as one, in the unit of the number."""
    say: Callable[[Measures, float, float], str]
    """Sentence, from the measures and the 10th and 90th percentile of the cohort."""


def _axis(name: str, index: int) -> Callable[[Measures], float | None]:
    def get(measures: Measures) -> float | None:
        values = getattr(measures, name)
        return None if values is None else float(values[index])

    return get


def _logarithm(name: str) -> Callable[[Measures], float | None]:
    return lambda measures: math.log(getattr(measures, name))


_DIRECTIONS = ("towards head or feet", "towards front or back", "towards left or right")
_ALONG = ("high", "deep", "wide")


def _extent(axis: int, measures: Measures, low: float, high: float) -> str:
    edge = measures.extent_mm[axis]
    return f"{edge:.0f} mm {_ALONG[axis]}, most others {low:.0f} to {high:.0f} mm"


def _text(sentence: str) -> Callable[[Measures, float, float], str]:
    return lambda _measures, _low, _high: sentence


def _along(axis: int) -> tuple[_Measure, ...]:
    """Return what is compared along one axis of the patient."""
    where = _DIRECTIONS[axis]
    elsewhere = f"lies elsewhere among the other structures, {where}"
    return (
        _Measure(f"extent {axis}", _axis("extent_mm", axis), 3.0, partial(_extent, axis)),
        _Measure(f"flat {axis}", _axis("flat", axis), 0.015, _text(f"ends in a plane, {where}")),
        _Measure(f"offset {axis}", _axis("offset_mm", axis), 3.0, _text(elsewhere)),
        _Measure(
            f"place {axis}",
            _axis("place", axis),
            0.03,
            _text(f"lies elsewhere in the image, {where}"),
        ),
    )


_MEASURES = (
    _Measure(
        "volume",
        # A structure that the image cuts off is named as that, not as small.
        lambda m: None if m.cut_by else math.log(m.volume_ml),
        0.08,
        lambda m, low, high: (
            f"{m.volume_ml:.3g} ml, most others {math.exp(low):.3g} to {math.exp(high):.3g} ml"
        ),
    ),
    _Measure(
        "pieces",
        lambda m: float(m.components),
        0.7,
        lambda m, low, high: f"in {m.components} pieces, most others in {low:.0f} to {high:.0f}",
    ),
    _Measure(
        "largest piece",
        lambda m: m.largest_share,
        0.02,
        lambda m, low, _high: (
            f"the largest piece has {m.largest_share:.0%} of it, of most others {low:.0%} or more"
        ),
    ),
    _Measure(
        "shape",
        _logarithm("roughness"),
        0.05,
        lambda m, _low, high: (
            f"{'rougher' if math.log(m.roughness) > high else 'smoother'} than most others"
        ),
    ),
    _Measure(
        "intensity",
        lambda m: m.intensity,
        0.1,
        lambda m, _low, high: (
            f"the image is {'brighter' if (m.intensity or 0) > high else 'darker'} in it than in "
            "most others"
        ),
    ),
    _Measure(
        "texture",
        lambda m: m.texture,
        0.1,
        lambda m, _low, high: (
            f"the image is {'less' if (m.texture or 0) > high else 'more'} even in it than in most "
            "others"
        ),
    ),
    *(measure for axis in range(3) for measure in _along(axis)),
)


def find_outliers(cohort: Cohort) -> dict[str, Finding]:
    """Judge every case of a cohort.

    Args:
        cohort: By case, then by structure, what was measured.
    """
    structures = sorted({name for measured in cohort.values() for name in measured})
    found: dict[str, list[tuple[float, str]]] = {case: [] for case in cohort}
    for structure in structures:
        for case, z, sentence in _of_structure(cohort, structure):
            found[case].append((z, f"{structure}: {sentence}"))
    for case, z, sentence in _sides(cohort, structures):
        found[case].append((z, sentence))
    return {case: _finding(reasons) for case, reasons in found.items()}


def _of_structure(cohort: Cohort, structure: str) -> Iterator[tuple[str, float, str]]:
    """Yield case, z-score and sentence for all that is unusual of one structure."""
    present = {case: found[structure] for case, found in cohort.items() if structure in found}
    if len(present) >= _USUAL * len(cohort) and len(cohort) >= _FEWEST:
        yield from ((case, _MISSING, "missing") for case in cohort.keys() - present.keys())
    for case, measures in present.items():
        if measures.cut_by:
            yield case, 0.0, f"cut off by the image's end ({measures.cut_by})"
    for measure in _MEASURES:
        for case, z, low, high in _deviating(present, measure):
            yield case, z, measure.say(present[case], low, high)


def _deviating(
    present: Mapping[str, Measures], measure: _Measure
) -> list[tuple[str, float, float, float]]:
    """Return case, z-score and the cohort's range, where a measure deviates."""
    values = {case: measure.get(measures) for case, measures in present.items()}
    numbers = {case: value for case, value in values.items() if value is not None}
    if len(numbers) < _FEWEST:
        return []
    array = np.array(list(numbers.values()))
    low, high = np.percentile(array, [10, 90])
    scores = robust_z(array, measure.floor)
    return [
        (case, float(z), float(low), float(high))
        for case, z in zip(numbers, scores, strict=True)
        if z > _FROM
    ]


def robust_z(values: np.ndarray, floor: float) -> np.ndarray:
    """Return how many deviations each value lies from the median, without sign.

    Args:
        values: Numbers of a cohort.
        floor: Least deviation, where all values are nearly the same.
    """
    middle = np.median(values)
    deviation = max(1.4826 * float(np.median(np.abs(values - middle))), floor)
    scores: np.ndarray = np.minimum(np.abs(values - middle) / deviation, _HIGHEST)
    return scores


def _sides(cohort: Cohort, structures: Sequence[str]) -> list[tuple[str, float, str]]:
    """Compare left with right: their volumes, and which lies on which side."""
    found = []
    for left, right in _pairs(structures):
        both = {c: (m[left], m[right]) for c, m in cohort.items() if left in m and right in m}
        if len(both) < _FEWEST:
            continue
        ratios = np.array([math.log(a.volume_ml / b.volume_ml) for a, b in both.values()])
        sides = np.array([a.place[2] - b.place[2] for a, b in both.values()])
        usual = np.sign(np.median(sides))
        for case, z, ratio, side in zip(both, robust_z(ratios, 0.08), ratios, sides, strict=True):
            if z > _FROM:
                found.append((case, float(z), f"{left} is {math.exp(ratio):.2g} times {right}"))
            if usual and np.sign(side) == -usual:
                found.append((case, _MISSING, f"{left} and {right}: on each other's side"))
    return found


def _pairs(structures: Sequence[str]) -> list[tuple[str, str]]:
    """Return the structures that differ by left and right only."""
    pairs = []
    for name in structures:
        for left, right in (("left", "right"), ("Left", "Right"), ("_L", "_R")):
            other = name.replace(left, right)
            if other != name and other in structures:
                pairs.append((name, other))
    return pairs


def _finding(reasons: Sequence[tuple[float, str]]) -> Finding:
    ordered = sorted(reasons, key=lambda reason: -reason[0])
    scores = [z for z, _ in ordered if z > _FROM]
    score = scores[0] + 0.1 * sum(scores[1:]) if scores else 0.0
    return Finding(round(score, 2), tuple(sentence for _, sentence in ordered))
