"""Features that are computed again for the gradient instead of being kept: less memory, more time.

Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run(module: nn.Module, *inputs: Tensor, again: bool) -> Tensor:
    """Run a module; with `again` its inner features are forgotten, and computed again if needed.

    Output, gradients, dropout and the statistics of BatchNorm are the same in both ways.
    """
    if again and torch.is_grad_enabled():
        recomputed: Tensor = checkpoint(
            module,
            *inputs,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), _kept_statistics(module)),
        )
        return recomputed
    output: Tensor = module(*inputs)
    return output


@contextlib.contextmanager
def _kept_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise by the batch as before, but do not count it a second time."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
