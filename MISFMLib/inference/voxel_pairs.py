"""Narrow convolutions of an OpenVINO model, made to compute two voxels at a time.

A vector of the CPU holds output channels of one voxel: 24 channels fill one and a half vectors of
AVX-512, and 8 fill a half. Two neighbours along the width fill three, or one. So they are computed
as one voxel of twice the channels, by a kernel that is one wider, moves on by two, and has zeros
where only the other neighbour looks. Where the channels of a voxel lie together in memory, as they
do here, its output lies as that of the plain convolution: nothing is copied.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_WIDTH = 3
"""Of the kernels."""


def pair_voxels(model: Any, lanes: int) -> None:
    """Change the narrow convolutions of a model of OpenVINO where that pays; the results stay.

    Args:
        model: The model; norms behind convolutions are folded into them.
        lanes: float32 numbers in a vector of the CPU.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convolution" and _pays(node, lanes):
            _pair(node)


def _pays(convolution: Any, lanes: int) -> bool:
    weight = convolution.input_value(1)
    if weight.get_node().get_type_name() != "Constant" or weight.get_shape()[-1] != _WIDTH:
        return False
    settings = convolution.get_attributes()
    keeps_width = settings["pads_begin"][-1] == settings["pads_end"][-1] == _WIDTH // 2
    is_plain = settings["strides"] == settings["dilations"] == [1, 1, 1]
    _, channels, *size = map(int, convolution.get_output_shape(0))
    if not (is_plain and keeps_width and size[-1] % 2 == 0):
        return False
    # OpenVINO would copy the output for all other users, and for several.
    if _type_of(_only_user(_with_fused(convolution)[-1])) != "Convolution":
        return False
    # Of as many products, those of pairs are faster: no vector is partly filled.
    products = (_WIDTH + 1) * -(-2 * channels // lanes)
    return products <= 2 * _WIDTH * -(-channels // lanes)


def _with_fused(convolution: Any) -> list[Any]:
    """Return a convolution and, if they come next, its bias and a PReLU with one slope."""
    nodes = [convolution]
    for kind, count in (("Add", convolution.get_output_shape(0)[1]), ("PRelu", 1)):
        user = _only_user(nodes[-1])
        if _type_of(user) == kind and _is_constant(user.input_value(1), count):
            nodes.append(user)
    return nodes


def _pair(convolution: Any) -> None:
    from openvino import opset13 as ops

    nodes = _with_fused(convolution)
    settings = convolution.get_attributes()
    weight = convolution.input_value(1).get_node().data
    left, right = (
        np.pad(weight, [(0, 0)] * (weight.ndim - 1) + [zeros]) for zeros in ((0, 1), (1, 0))
    )
    x = ops.convolution(
        convolution.input_value(0),
        np.concatenate([left, right]),
        strides=[1, 1, 2],
        pads_begin=settings["pads_begin"],
        pads_end=settings["pads_end"],
        dilations=settings["dilations"],
    )
    for node in nodes[1:]:
        constant = node.input_value(1).get_node().data
        is_bias = node.get_type_name() == "Add"
        x = ops.add(x, np.concatenate([constant] * 2, 1)) if is_bias else ops.prelu(x, constant)
    batch, channels, *size = convolution.get_output_shape(0)
    x = ops.transpose(x, [0, 2, 3, 4, 1])
    x = ops.reshape(x, [batch, *size, channels], special_zero=False)
    x = ops.transpose(x, [0, 4, 1, 2, 3])
    nodes[-1].output(0).replace(x.output(0))


def _only_user(node: Any) -> Any:
    users = list(node.output(0).get_target_inputs()) if node is not None else []
    return users[0].get_node() if len(users) == 1 else None


def _type_of(node: Any) -> str:
    return "" if node is None else str(node.get_type_name())


def _is_constant(value: Any, count: int) -> bool:
    return _type_of(value.get_node()) == "Constant" and math.prod(value.get_shape()) == count
