"""Options, job files and lines for the worker that no machine can work with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from cases import Case

from MISFMLib.commands.jobs import Demo, Finetune, Prepare, Pretrain, Quantize, Segment, Serve
from MISFMLib.configs.ranges import numeric_fields

_LEAST_WORDS = {
    Segment: ["segment", "a.nrrd", "-m", "m", "-o", "o"],
    Finetune: ["finetune", "d", "-o", "o"],
    Pretrain: ["pretrain", "d", "-o", "o"],
    Prepare: ["prepare", "d", "-o", "o"],
    Quantize: ["quantize", "m", "d"],
    Demo: ["demo"],
    Serve: ["serve"],
}
_VALUES = ("nan", "-inf", "1e400", "-99999999999999999999", "ten")
_CONTENTS = (
    *("", "{", "null", "[]", "3", '"x"', "NaN", "[" * 50_000, "\udcff\udcfe", "{}"),
    *('{"job": 3, "config": {}}', '{"job": "dance", "config": {}}', '{"job": "segment"}'),
)
_CONFIGS = (
    *("[]", "null", "3", '{"images": 3}', '{"images": ["a\\u0000b"], "model": "m", "output": "o"}'),
    *('{"images": ["a"], "model": "m", "output": "o", "threads": 1e999}', '{"output": {"a": 1}}'),
    *('{"images": [], "model": "\\ud800", "output": "o"}', '{"data": NaN, "output": "o"}'),
)


def _words(words: list[str], _folder: Path) -> list[str]:
    return words


def options() -> Iterator[Case]:
    """Every numeric option with values that are none."""
    for command, words in _LEAST_WORDS.items():
        for field in numeric_fields(command):
            option = f"--{field.replace('_', '-')}"
            for value in _VALUES:
                given = [*words, option, *([value] * 3), "--events", "json"]
                given = [*words, option, value, "--events", "json"]
                yield Case("options", f"{words[0]} {option} {value}", partial(_words, given))


def _write(content: str, folder: Path) -> list[str]:
    (folder / "job.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    return ["run", "job.json", "--events", "json"]


def job_files() -> Iterator[Case]:
    """Job files of any content."""
    for content in _CONTENTS:
        yield Case("jobs", content[:30], partial(_write, content))
    for job in ("segment", "finetune", "pretrain", "prepare", "quantize"):
        for config in _CONFIGS:
            content = f'{{"job": "{job}", "config": {config}}}'
            yield Case("jobs", content[:60], partial(_write, content))
    for path in ("missing.json", ".", "/dev/null", "n" * 300, "\udcff"):
        yield Case("jobs", path[:20], partial(_words, ["run", path, "--events", "json"]))


def _all_answered(_folder: Path) -> bool:
    return True


def lines() -> Iterator[Case]:
    """Lines for the worker of any form; it goes on and ends with the input."""
    wrong = (
        *(
            "",
            "{",
            "null",
            "[]",
            "x" * 50_000,
            "[" * 50_000,
            "\udcff\udcfe",
            "\0",
            '{"command": 3}',
        ),
        *('{"command": "run"}', '{"command": "run", "file": 3}', '{"command": "load"}'),
        *('{"command": "run", "file": "a\\u0000"}', '{"command": "load", "config": {"model": 3}}'),
        json.dumps({"command": "run", "file": "missing/job.json"}),
    )
    words = ["serve", "--events", "json", "--idle-minutes", "0.05"]
    for line in wrong:
        check: Callable[[Path], bool] = _all_answered
        yield Case("lines", line[:30], partial(_words, words), "either", check, lines=f"{line}\n")
