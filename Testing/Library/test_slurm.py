"""The scripts that `--print-slurm` prints."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from MISFMLib import cli
from MISFMLib.configs import EvaluateConfig, SegmentConfig
from MISFMLib.jobs.slurm import slurm_script


def command_of(script):
    (line,) = (line for line in script.splitlines() if line.startswith("srun "))
    return shlex.split(line)


def test_an_array_of_n_tasks_runs_the_same_command_on_its_shards(tmp_path):
    config = SegmentConfig(
        images=(tmp_path / "my scans",),
        model="hippocampus-mr",
        output=Path("out"),
        shard="1/4",
        workers=2,
        threads=3,
        mirroring=True,
    )
    script = slurm_script("segment", config, ["images"])
    assert "#SBATCH --array=1-4\n" in script
    assert "#SBATCH --cpus-per-task=6\n" in script
    words = command_of(script)
    assert words[2:6] == ["misfm", "segment", str(tmp_path / "my scans"), "--workers"]
    assert words[words.index("--output") + 1] == str(Path("out").absolute())
    assert "--mirroring" in words
    assert words[-2:] == ["--shard", "$SLURM_ARRAY_TASK_ID/4"]


@pytest.mark.parametrize(("device", "expected"), [("auto", False), ("cuda", True), ("cpu", False)])
def test_a_task_that_needs_gpus_asks_for_one_a_worker(tmp_path, device, expected):
    config = SegmentConfig(
        images=(tmp_path,), model="m", output=tmp_path, device=device, workers=2, shard="1/4"
    )
    script = slurm_script("segment", config, ["images"])
    assert ("\n#SBATCH --gres=gpu:2\n" in script) == expected


def test_channels_and_lists_keep_their_form(tmp_path):
    config = SegmentConfig(images=(Path("t1.nii,t2.nii"),), model="m", output=tmp_path)
    here = Path.cwd()
    assert f"{here}/t1.nii,{here}/t2.nii" in command_of(slurm_script("segment", config, ["images"]))
    config = SegmentConfig(images=(tmp_path,), model="m", output=Path("results, new"))
    words = command_of(slurm_script("segment", config, ["images"]))
    assert words[words.index("--output") + 1] == str(here / "results, new")
    config = EvaluateConfig(
        predictions=Path("p"), references=Path("r"), output=tmp_path, labels=("1=a", "2=b c")
    )
    words = command_of(slurm_script("evaluate", config, ["predictions", "references"]))
    assert words[words.index("--labels") + 1 :][:2] == ["1=a", "2=b c"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_command_line_prints_it_and_computes_nothing(tmp_path, capsys):
    words = ["segment", "absent", "-m", "nobody", "-o", str(tmp_path / "o"), "--print-slurm"]
    assert cli.main(words) == 0
    script = capsys.readouterr().out
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert not (tmp_path / "o").exists()
