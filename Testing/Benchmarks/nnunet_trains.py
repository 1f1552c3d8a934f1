"""nnU-Net's side of `against_nnunet_training.py`; runs in nnU-Net's own environment, without MISFM.

    python nnunet_trains.py WORK DATASET STEPS

Plans and preprocesses a data set in nnU-Net's raw format, trains a narrow network on fold 0 with
nnU-Net's trainer and lets it predict and score its validation cases.
"""

# ruff: noqa: E402, SIM112 (nnU-Net reads these variables when it is imported)

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

WORK, DATASET, STEPS = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for name in ("raw", "preprocessed", "results"):
    os.environ[f"nnUNet_{name}"] = str(WORK / name)
os.environ |= {"nnUNet_compile": "f", "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

FEATURES = [8, 16, 32, 64, 64, 64]
EPOCHS = 4


def main() -> None:
    """Train and validate."""
    number = int(DATASET[7:10])
    extract_fingerprints([number], num_processes=1, verbose=False)
    plan_experiments([number])
    preprocess([number], configurations=("3d_fullres",), num_processes=(1,), verbose=False)
    os.environ["nnUNet_n_proc_DA"] = "0"  # samples are made in this process; planning fails with 0
    torch.set_num_threads(1)
    torch.manual_seed(1)
    np.random.seed(1)
    folder = WORK / "preprocessed" / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text("utf-8"))
    configuration = plans["configurations"]["3d_fullres"]
    arguments = configuration["architecture"]["arch_kwargs"]
    arguments["features_per_stage"] = FEATURES[: arguments["n_stages"]]
    configuration["batch_size"] = 2
    plans["continue_training"] = False  # 2.8.1's trainer takes this from the plans
    dataset = json.loads((folder / "dataset.json").read_text("utf-8"))
    trainer = nnUNetTrainer(plans, "3d_fullres", 0, dataset, device=torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch = EPOCHS, STEPS // EPOCHS
    trainer.num_val_iterations_per_epoch = 2

    def optimizer() -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """Return one that learns something in so few steps, other than nnU-Net's."""
        adam = torch.optim.AdamW(trainer.network.parameters(), 3e-3)
        return adam, PolyLRScheduler(adam, 3e-3, EPOCHS)

    trainer.configure_optimizers = optimizer
    trainer.run_training()
    trainer.perform_actual_validation()


if __name__ == "__main__":
    main()
