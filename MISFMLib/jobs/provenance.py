"""How a model was made: the command that makes it again, without names of folders or persons."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from MISFMLib.configs import FinetuneConfig, PretrainConfig

_NO_PART_OF_IT = ("data", "output", "resume", "overwrite", "preview")


def command_line(verb: str, config: FinetuneConfig | PretrainConfig) -> str:
    """Return the command that gives this training.

    Args:
        verb: Command of ``misfm``.
        config: Its settings; those with their default are left out.
    """
    data = config.data if isinstance(config.data, tuple) else (config.data,)
    words = ["misfm", verb, *(path.name for path in data), "-o", config.output.name]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in _NO_PART_OF_IT or value == field.default:
            continue
        option = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{option}", *(without_folder(part) for part in values)]
    return shlex.join(words)


def without_folder(value: Any) -> str:
    """Keep of a path only its last part: folders say nothing elsewhere and may name persons."""
    text = str(value)
    return Path(text).name if isinstance(value, Path) or Path(text).exists() else text
