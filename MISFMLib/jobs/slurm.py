"""The script that runs a command as a job array under SLURM."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from MISFMLib.configs.spread import SpreadConfig

_SHARDS = 16
"""Size of the array where no --shard says it."""
_ELSEWHERE = ("shard", "merge", "scheduler")
"""What the script decides itself."""


def slurm_script(job: str, config: SpreadConfig, positional: Sequence[str]) -> str:
    """Return a script for `sbatch`: an array whose tasks share one output folder.

    A task that is preempted, or near the end of its time, is told by SIGTERM, ends with 130 and is
    put back; one that is killed for memory is started again by submitting the script again.

    Args:
        job: Command of `misfm`.
        config: Its settings; N of ``shard`` is the size of the array.
        positional: Names of the settings that the command takes without their names.
    """
    total = int(config.shard.partition("/")[2])
    count = total if total > 1 else _SHARDS
    words = shlex.join(["misfm", job, *_words(config, positional)])
    gpus = (config.workers or 1) if _needs_gpu(config) else 0
    cores = (config.workers or 1) * (getattr(config, "threads", None) or 1)
    gres = f"\n#SBATCH --gres=gpu:{gpus}" if gpus else ""
    return f"""#!/bin/bash
#SBATCH --job-name=misfm-{job}
#SBATCH --array=1-{count}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cores}
#SBATCH --mem=8G{gres}
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@60
# A minute before the end of its time, and when it is preempted, a task is told to stop and ends
# with 130: it is put back and goes on later. After failures submit this script again: what is done
# stays, and only the rest is tried.
srun --kill-on-bad-exit=1 {words} --shard "$SLURM_ARRAY_TASK_ID/{count}"
code=$?
if [ "$code" -eq 130 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
"""


def _needs_gpu(config: SpreadConfig) -> bool:
    return str(getattr(config, "device", "")).startswith("cuda")


def _words(config: SpreadConfig, positional: Sequence[str]) -> Iterator[str]:
    """Yield the words of a command line: settings that are not the default's, paths absolute."""
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    for name in positional:
        yield from _texts(name, getattr(config, name))
    for name, default in fields.items():
        value = getattr(config, name)
        if name in (*_ELSEWHERE, *positional) or value == default:
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{option}" if value else f"--no-{option}"
        else:
            yield from (f"--{option}", *_texts(name, value))


def _texts(name: str, value: Any) -> list[str]:
    return [_text(name, item) for item in (value if isinstance(value, tuple) else (value,))]


def _text(name: str, value: Any) -> str:
    if isinstance(value, Path):
        # One path, also if it has a comma and is not there yet; or the channels of a case.
        are_channels = name == "images" and not value.exists()
        parts = map(Path, str(value).split(",")) if are_channels else [value]
        return ",".join(str(part.absolute()) for part in parts)
    return str(value)
