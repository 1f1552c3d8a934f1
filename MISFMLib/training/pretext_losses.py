"""What the networks of pretext tasks are trained to make small; Volume Fusion uses `losses`.

Axes: B batch, D depth, H height, W width, E embedding, K class, N voxel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISFMLib.data.datasets import Batch
from MISFMLib.training.losses import SegmentationLoss

_TEMPERATURE = 0.1


def restored(outputs_B1DHW: Tensor) -> Tensor:
    """Turn the outputs of a restoring network into intensities from -1 to 1, (B, D, H, W)."""
    return outputs_B1DHW[:, 0].float().tanh()


def restoration_loss(outputs_B1DHW: Tensor, batch: Batch) -> Tensor:
    """Return the mean absolute difference to the target, where that is not NaN."""
    target_BDHW = batch.label_BDHW
    counts_BDHW = target_BDHW.isfinite()
    return F.l1_loss(restored(outputs_B1DHW)[counts_BDHW], target_BDHW[counts_BDHW])


def fusion_part(outputs: Tensor | Sequence[Tensor], batch: Batch) -> tuple[list[Tensor], Batch]:
    """Take from fusion-masking the logits of the levels at every scale, and the levels."""
    scales = [outputs] if isinstance(outputs, Tensor) else outputs
    return [logits_BKDHW[:, :-1] for logits_BKDHW in scales], fusion_levels(batch)


def fusion_levels(batch: Batch) -> Batch:
    """Take the levels from a batch of fusion-masking."""
    return Batch(batch.image_BCDHW, batch.label_BDHW[:, 0].long())


def masking_part(outputs: Tensor | Sequence[Tensor], batch: Batch) -> tuple[Tensor, Batch]:
    """Take from fusion-masking the restored intensities of the finest scale, and the true ones."""
    finest = outputs if isinstance(outputs, Tensor) else outputs[0]
    return finest[:, -1:], Batch(batch.image_BCDHW, batch.label_BDHW[:, 1])


class FusionMaskingLoss(nn.Module):
    """The loss of Volume Fusion plus that of restoring what was hidden.

    The last output of the network is the restored intensity, those before it the levels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fusion = SegmentationLoss()

    def forward(self, outputs: Tensor | Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the loss as a scalar; the batch's labels are those of `FusionMasking`."""
        told: Tensor = self.fusion(*fusion_part(outputs, batch))
        return told + restoration_loss(*masking_part(outputs, batch))


def rotation_loss(logits_BK: Tensor, batch: Batch) -> Tensor:
    """Return the cross-entropy with the number of quarter turns (B)."""
    return F.cross_entropy(logits_BK.float(), batch.label_BDHW)


def contrastive_loss(embeddings_BEDHW: Tensor, batch: Batch) -> Tensor:
    """Compare the embeddings of the same voxels in both views of every pair.

    Args:
        embeddings_BEDHW: Of all views, on a coarser grid than the images; views 2 i and 2 i + 1
            form a pair.
        batch: Its labels are the voxels (B, N, 3) of each view, rows (d, h, w), same order in both.
    """
    voxels_BN3 = batch.label_BDHW
    grid, size = (
        torch.tensor(tensor.shape[2:], device=voxels_BN3.device)
        for tensor in (embeddings_BEDHW, batch.image_BCDHW)
    )
    d, h, w = (voxels_BN3 * grid // size).unbind(-1)
    views_B1 = torch.arange(len(voxels_BN3), device=grid.device)[:, None]
    chosen_BNE = embeddings_BEDHW.movedim(1, -1)[views_B1, d, h, w].float()
    return nt_xent(chosen_BNE[0::2].flatten(0, 1), chosen_BNE[1::2].flatten(0, 1))


def nt_xent(first_NE: Tensor, second_NE: Tensor, temperature: float = _TEMPERATURE) -> Tensor:
    """Return the contrastive loss of SimCLR (Chen et al., ICML 2020).

    Each of the 2 N embeddings has to be more similar (by cosine) to its partner than to all others.

    Args:
        first_NE: Embeddings.
        second_NE: Their partners, in the same order.
        temperature: Divides the similarities.
    """
    all_NE = F.normalize(torch.cat([first_NE, second_NE]), dim=1)
    similarity = all_NE @ all_NE.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    count = len(first_NE)
    partner = torch.arange(2 * count, device=similarity.device).roll(count)
    return F.cross_entropy(similarity, partner)
