"""The host answers what real Slicer answers: slicer_facts.tsv, but for deviations.tsv."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.standin_only("compares the stand-in with real Slicer's answers")
_HERE = Path(__file__).parent


def _rows(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    names = lines[0].split("\t")
    rows = (dict(zip(names, map(str.strip, line.split("\t")), strict=True)) for line in lines[1:])
    return {row["number"]: row for row in rows}


_FACTS = _rows(_HERE / "slicer_facts.tsv")
_DEVIATIONS = _rows(_HERE / "deviations.tsv")


@pytest.fixture(scope="session")  # of a module, a worker of pytest-xdist would ask several times
def answers(tmp_path_factory):
    """The host's answers, asked in a process of its own as `Slicer --python-script` would."""
    output = tmp_path_factory.mktemp("probe") / "answers.tsv"
    command = [
        sys.executable,
        "../Host/run.py",
        "--dialogs",
        f"--home={output.parent}",
        "ProbeMod/ProbeMod.py",
        "--python-script",
        "probe.py",
    ]
    environment = {**os.environ, "MISFM_PROBE_OUTPUT": str(output), "QT_QPA_PLATFORM": "offscreen"}
    run = subprocess.run(
        command, cwd=_HERE, env=environment, capture_output=True, text=True, timeout=180
    )
    assert run.returncode == 0, run.stderr
    return _rows(output)


@pytest.mark.parametrize("number", _FACTS, ids=lambda n: f"{n}-{_FACTS[n]['name']}")
def test_the_host_answers_as_real_slicer(answers, number):
    fact, answer = _FACTS[number], answers[number]
    assert answer["name"] == fact["name"]
    compared = _DEVIATIONS.get(number, {}).get("compared", "value and type")
    same_kind = answer["outcome"] == fact["outcome"] and fact["type"] in ("", answer["type"])
    same_value = answer["value"] == fact["value"]
    if compared == "differs":
        assert not (same_kind and same_value), "it conforms now: remove it from deviations.tsv"
    else:
        assert same_kind, (fact, answer)
        assert same_value or compared == "type", (fact, answer)


def test_every_deviation_has_a_reason():
    assert all(row["reason"] for row in _DEVIATIONS.values())
    assert {row["compared"] for row in _DEVIATIONS.values()} == {"type", "differs"}
