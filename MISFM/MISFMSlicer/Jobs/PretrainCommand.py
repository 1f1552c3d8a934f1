"""The commands that pretrain elsewhere, for as long as it takes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from MISFMLib.resources import read_preset

_SCRIPT = """#!/bin/bash
#SBATCH --job-name=misfm-pretrain
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
# Submit with sbatch. At the end of its time the run is saved; requeued, it goes on.
{prepare}
exec {pretrain} --resume
"""


def pretrainCommands(folders: Sequence[str], network: str) -> str:
    """Return the commands for a terminal and a SLURM script, with the folder to copy.

    Args:
        folders: Folders with volumes; to be copied to where the commands run.
        network: Name of a preset, such as small or full.
    """
    prepare = shlex.join(["misfm", "prepare", *folders, "-o", "volumes.store"])
    method = read_preset("pretrain-laptop")["method"]  # what the tab itself does
    words = ["misfm", "pretrain", "volumes.store", "-o", "my-start", "--method", method]
    pretrain = shlex.join([*words, "--network", network])
    script = _SCRIPT.format(prepare=prepare, pretrain=pretrain)
    return (
        f"# In a terminal, from a folder with room for the volumes:\n{prepare}\n{pretrain}\n\n"
        "# On a cluster: copy volumes.store there, install misfm, save this as pretrain.sh:\n"
        f"{script}\n# Then copy the folder my-start back and import it in Models.\n"
    )
