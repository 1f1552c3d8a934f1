"""What `pretraining_evidence.py` compares: labelled sets, starts, and the tables of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

SEEDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True)
class LabelledData:
    """A labelled set and how every network is fine-tuned on it."""

    title: str
    settings: dict[str, Any]
    """Settings of `FinetuneConfig`."""
    more_held_out: int = 0
    """Training cases that are held out too, where the set's own validation is small."""
    most_held_out: int | None = None
    """Held-out cases that are segmented, where all would take longer than the training."""


SETS = {
    "hippocampus_mr": LabelledData(
        title="hippocampus MR",
        # Shorter patches do not show which end of the hippocampus they are at.
        settings={"steps": 240, "patch_size": (32, 48, 32)},
    ),
    "left_atrium_mr": LabelledData(
        title="left atrium MR, 2 mm",
        settings={"steps": 300, "patch_size": (32, 48, 48), "spacing_dhw": (2.0, 2.0, 2.0)},
        more_held_out=16,
    ),
    "headneck_ct": LabelledData(
        title="head-neck CT, 4 mm",
        settings={"steps": 500, "patch_size": (48, 48, 48), "spacing_dhw": (4.0, 4.0, 4.0)},
        most_held_out=12,
    ),
}
UNLABELLED = {
    "ct": ("headneck_ct", "sarcoma_ct_mr/CT"),
    "mr": ("hippocampus_mr", "left_atrium_mr", "sarcoma_ct_mr/MR_T1"),
}


@dataclass(frozen=True)
class Start:
    """Weights that a fine-tuning starts from; fresh ones without settings."""

    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of `PretrainConfig`."""
    stores: tuple[str, ...] = ("ct", "mr")
    """Unlabelled volumes."""
    init_parts: str = "all"
    """What fine-tuning takes over."""

    def key(self, network: str) -> str:
        """Name of the weights; the same for equal settings, whatever the title."""
        if not self.settings:
            return f"{network}-scratch"
        return "-".join(map(str, (network, *self.settings.values(), *self.stores)))


@dataclass(frozen=True)
class Comparison:
    """One table."""

    title: str
    starts: Sequence[Start]
    sets: Sequence[str]
    case_counts: Sequence[int]
    network: str = "unet3d-small"
    looks: int = 4
    """Validations, evenly over the fine-tuning."""


def fusion(title: str, stores: tuple[str, ...] = ("ct", "mr"), **settings: Any) -> Start:
    """Volume Fusion with the blocks of 2025, unless told otherwise."""
    return Start(title, {"method": "volume-fusion", "sampler": "grid", **settings}, stores)


SCRATCH = Start("scratch")
GRID, BOXES = fusion("Volume Fusion, grid"), fusion("Volume Fusion, boxes", sampler="boxes")
RESTORING = ("patch-swapping", "model-genesis", "masked-modelling")
ENCODING = ("rotation", "contrastive")
GRID_ENCODER = replace(GRID, title="Volume Fusion, grid, encoder", init_parts="encoder")
METHODS = [
    SCRATCH,
    GRID,
    GRID_ENCODER,
    BOXES,
    *(Start(f"{name}, encoder", {"method": name}, init_parts="encoder") for name in RESTORING),
    *(Start(name, {"method": name}) for name in ENCODING),
]
LEVELS = [
    fusion(f"K = {count}", **({} if count == 4 else {"num_levels": count}))
    for count in (1, 2, 4, 6, 8)
]
AMOUNTS = [fusion("a tenth", fraction=0.1), fusion("a half", fraction=0.5), fusion("all volumes")]
MODALITIES = [fusion("CT only", ("ct",)), fusion("MR only", ("mr",)), fusion("CT and MR")]
HIPPOCAMPUS, ATRIUM, HEAD_NECK = SETS

TABLES = {
    "methods": Comparison("Methods", METHODS, (HIPPOCAMPUS, HEAD_NECK), (4, 16)),
    "levels": Comparison("Fusion levels K", [SCRATCH, *LEVELS], (HEAD_NECK,), (16,)),
    "amount": Comparison("Amount of unlabelled volumes", [SCRATCH, *AMOUNTS], (HEAD_NECK,), (16,)),
    "modality": Comparison("Across modalities", [SCRATCH, *MODALITIES], (HEAD_NECK,), (16,)),
    "networks": Comparison(
        "PCT-Net", [SCRATCH, GRID], (HIPPOCAMPUS, HEAD_NECK), (16,), network="small"
    ),
    "convergence": Comparison("Convergence", [SCRATCH, GRID, BOXES], (ATRIUM,), (4,), looks=20),
}


def rows_of(comparison: Comparison) -> Iterator[tuple[str, int, int, Start]]:
    """Yield every fine-tuning of a table, one seed of all rows before the next."""
    for count in comparison.case_counts:
        for seed in SEEDS:
            for set_name in comparison.sets:
                for start in comparison.starts:
                    yield set_name, count, seed, start
