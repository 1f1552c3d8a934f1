"""nnU-Net's side of `against_nnunet.py`; runs in nnU-Net's own environment, without MISFM.

    python nnunet_worker.py JOB.json

The job names a data set in nnU-Net's raw format, a budget in CPU seconds, and a folder for the
predictions. Plans, preprocessing, augmentation, network, loss, optimizer and prediction are those
of nnunetv2; the training ends when the process has used its budget, and the learning rate falls
with the budget instead of the epochs. Only training counts. A training that was killed goes on from
its last checkpoint.
"""

# ruff: noqa: E402, SIM112 (nnU-Net reads these variables when it is imported)

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

JOB = json.loads(Path(sys.argv[1]).read_text("utf-8"))
for name in ("raw", "preprocessed", "results"):
    os.environ[f"nnUNet_{name}"] = str(Path(JOB["work"]) / name)
os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CONFIGURATION = "3d_fullres"
PARTS = 1000
CHECKPOINT = Path(JOB["work"]) / "checkpoint.pth"
CHECKPOINT_EVERY_S = 120


def plan() -> tuple[dict, dict]:
    """Let nnU-Net plan and preprocess; narrow its plan where the job asks for that."""
    folder = Path(os.environ["nnUNet_preprocessed"]) / JOB["dataset"]
    number = int(JOB["dataset"][7:10])
    if not (folder / "done").exists():
        extract_fingerprints([number], num_processes=1, verbose=False)
        plan_experiments([number])
        preprocess([number], configurations=(CONFIGURATION,), num_processes=(1,), verbose=False)
        (folder / "done").touch()
    plans = json.loads((folder / "nnUNetPlans.json").read_text("utf-8"))
    configuration = plans["configurations"][CONFIGURATION]
    if JOB["features"]:
        arguments = configuration["architecture"]["arch_kwargs"]
        most = 16 * JOB["features"]
        arguments["features_per_stage"] = [
            min(JOB["features"] * 2**stage, most) for stage in range(arguments["n_stages"])
        ]
        configuration["batch_size"] = JOB["batch_size"]
    return plans, json.loads((folder / "dataset.json").read_text("utf-8"))


def train(trainer: nnUNetTrainer) -> tuple[int, float]:
    """Train until the budget is used; return steps and CPU seconds."""
    trainer.num_epochs = PARTS
    trainer.on_train_start()
    steps, used = load(trainer)
    np.random.seed((JOB["seed"], steps))
    start, saved = time.process_time() - used, used
    while used < JOB["budget_s"]:
        trainer.lr_scheduler.step(int(PARTS * used / JOB["budget_s"]))
        trainer.network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=JOB["bfloat16"]):
            trainer.train_step(next(trainer.dataloader_train))
        steps += 1
        used = time.process_time() - start
        if used - saved >= CHECKPOINT_EVERY_S or used >= JOB["budget_s"]:
            save(trainer, steps, used)
            saved = used
    return steps, used


def load(trainer: nnUNetTrainer) -> tuple[int, float]:
    """Load network and optimizer if they were saved; return steps and CPU seconds so far."""
    if not CHECKPOINT.exists():
        return 0, 0.0
    saved = torch.load(CHECKPOINT, weights_only=True)
    trainer.network.load_state_dict(saved["network"])
    trainer.optimizer.load_state_dict(saved["optimizer"])
    return saved["steps"], saved["used"]


def save(trainer: nnUNetTrainer, steps: int, used: float) -> None:
    """Replace the checkpoint when the new one is complete."""
    new = CHECKPOINT.with_suffix(".new")
    states = {
        "network": trainer.network.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
    }
    torch.save({**states, "steps": steps, "used": used}, new)
    new.replace(CHECKPOINT)


def main() -> None:
    plans, dataset = plan()
    torch.set_num_threads(1)
    os.environ["nnUNet_n_proc_DA"] = "0"  # samples are made in this process; planning fails with 0
    torch.manual_seed(JOB["seed"])
    plans["continue_training"] = False  # 2.8.1's trainer takes this from the plans
    trainer = nnUNetTrainer(plans, CONFIGURATION, "all", dataset, device=torch.device("cpu"))
    trainer.initialize()
    weights = sum(weight.numel() for weight in trainer.network.parameters())
    steps, used = train(trainer)
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(
        device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        dataset,
        trainer.__class__.__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    predictor.predict_from_files_sequential(
        JOB["images"], JOB["predictions"], save_probabilities=False, overwrite=False
    )
    configuration = plans["configurations"][CONFIGURATION]
    facts = {
        "steps": steps,
        "cpu_seconds": used,
        "weights": weights,
        "patch": configuration["patch_size"],
        "batch_size": configuration["batch_size"],
    }
    Path(JOB["outcome"]).write_text(json.dumps(facts), "utf-8")


if __name__ == "__main__":
    main()
