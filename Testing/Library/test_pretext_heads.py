"""Encoder-only tasks use the encoder, all of it, and nothing else."""

from __future__ import annotations

import pytest
import torch

from MISFMLib.configs import NetworkConfig
from MISFMLib.networks import build_network
from MISFMLib.networks.pretext_heads import (
    BACKBONE,
    EmbeddingHead,
    EncoderTask,
    RotationHead,
)

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS = (2, 4, 6, 8, 12)


def a_network(architecture):
    torch.manual_seed(0)
    return build_network(
        NetworkConfig(
            architecture=architecture,
            level_channels=CHANNELS,
            num_heads=(2, 2, 3),
            window_sizes=(3, 2, 2),
            num_classes=1,
        )
    )


@pytest.mark.parametrize("architecture", ["pctnet", "fmunet", "unet3d"])
@pytest.mark.parametrize("head", [RotationHead, EmbeddingHead])
def test_exactly_encoder_and_head_are_trained(architecture, head):
    task = EncoderTask(a_network(architecture), head(CHANNELS))
    task(torch.randn(2, 1, 16, 32, 32)).square().mean().backward()
    for name, parameter in task.named_parameters():
        part = name.removeprefix(BACKBONE)
        trains = name.startswith("head.") or part.startswith(("project.", "encoder.", "bottom."))
        assert (parameter.grad is not None) == trains, name
        assert parameter.requires_grad == trains, name


def test_the_rotation_head_gives_four_classes():
    task = EncoderTask(a_network("pctnet"), RotationHead(CHANNELS))
    assert task(torch.randn(2, 1, 10, 20, 20)).shape == (2, 4)


@pytest.mark.parametrize("size", [(16, 32, 32), (10, 20, 21)])
def test_embeddings_lie_on_the_grid_of_level_2(size):
    network = a_network("unet3d")
    image = torch.randn(2, 1, *size)
    embeddings = EncoderTask(network, EmbeddingHead(CHANNELS, size=5))(image)
    assert embeddings.shape == (2, 5, *network.encoder_features(image)[2].shape[2:])


@pytest.mark.parametrize("architecture", ["pctnet", "fmunet", "unet3d"])
def test_encoder_features_are_what_the_decoder_starts_from(architecture):
    network = a_network(architecture).eval()
    image = torch.randn(1, 1, 16, 32, 32)
    with torch.no_grad():
        levels = network.encoder_features(image)
        decoded = network.decoder(levels)
        assert torch.equal(decoded[0], network.features(image)[0])
    assert [level.shape[1] for level in levels] == list(CHANNELS)
