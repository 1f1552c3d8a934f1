"""PReLU with one slope, whose gradient costs a CPU no more than that of a leaky ReLU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class PReLU(nn.PReLU):
    """PReLU as torch has it; only its gradient on the CPU is computed in another way.

    torch makes the slope's gradient for every single value and adds them up afterwards.
    """

    def __init__(self) -> None:
        super().__init__(num_parameters=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        if x.device.type != "cpu" or not torch.is_grad_enabled() or is_traced():
            return super().forward(x)
        activated: Tensor = _OneSlope.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return activated


def is_traced() -> bool:
    """Tell whether a network is recorded, to be computed by something else."""
    if torch.compiler.is_compiling():
        return True
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined,no-untyped-call]


class _OneSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.leaky_relu(x, slope.item())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, slope = ctx.saved_tensors
        needs_x, needs_slope = ctx.needs_input_grad
        of_x = of_slope = None
        if needs_x:
            of_x = torch.ops.aten.leaky_relu_backward(gradient, x, slope.item(), False)
        if needs_slope:
            total = (gradient * x.clamp(max=0)).sum(dtype=torch.float32)
            of_slope = total.to(slope.dtype).view_as(slope)
        return of_x, of_slope
