"""CUDA graphs: recorded once a size, checked, and never in the way. GPUs are pretended or real."""

from __future__ import annotations

import contextlib
from typing import ClassVar

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402 torch first

from MISFMLib.configs import NetworkConfig  # noqa: E402
from MISFMLib.inference import cuda_network  # noqa: E402
from MISFMLib.inference.cuda_network import CUDANetwork, record  # noqa: E402
from MISFMLib.inference.deviation import BOUNDS, Deviation, RefusedError  # noqa: E402
from MISFMLib.inference.engine import Work  # noqa: E402
from MISFMLib.inference.engines import Engines  # noqa: E402
from MISFMLib.networks import build_network  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread", "seed")
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
PATCH = (8, 16, 16)


def a_network(architecture="pctnet"):
    return build_network(
        NetworkConfig(
            architecture=architecture,
            num_classes=3,
            level_channels=(2, 4, 6, 8, 12),
            num_heads=(2, 2, 3),
            window_sizes=(3, 3, 2),
        )
    ).eval()


class Graph:
    """Does on replay what a network did while it was recorded, into the same tensor."""

    recorded: ClassVar[list] = []
    active = None

    def __init__(self):
        self.steps = []
        Graph.recorded.append(self)

    def replay(self):
        for network, image, logits in self.steps:
            logits.copy_(network.plain(image))


class Recordable(nn.Module):
    """Notes what it computes in the graph that is being recorded."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def plain(self, image):
        return self.network(image)

    def forward(self, image):
        logits = self.network(image)
        if Graph.active is not None:
            Graph.active.steps.append((self, image, logits))
        return logits


@pytest.fixture
def pretended_gpu(monkeypatch):
    """The calls that record a graph, on the CPU; a device that is asked for is the CPU."""
    Graph.recorded = []

    @contextlib.contextmanager
    def recording(graph, **options):
        assert options["capture_error_mode"] == "thread_local"
        assert torch.backends.cudnn.enabled
        assert torch.backends.cudnn.benchmark
        Graph.active = graph
        yield
        Graph.active = None

    class Stream:
        def __init__(self, *_):
            pass

        def wait_stream(self, _other):
            pass

    block = contextlib.nullcontext
    fakes = {
        "device": lambda _device: block(),
        "stream": lambda _stream: block(),
        "Stream": Stream,
        "current_stream": Stream,
        "graph_pool_handle": lambda: None,
        "CUDAGraph": Graph,
        "graph": recording,
        "empty_cache": lambda: None,
        "get_device_capability": lambda _device: (8, 0),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    for kind in (torch.Tensor, nn.Module):
        move = kind.to

        def stay(self, *places, move=move, **options):
            return move(self, *(CPU if place == CUDA else place for place in places), **options)

        monkeypatch.setattr(kind, "to", stay)


def test_each_size_is_recorded_once_and_no_answer_is_overwritten(pretended_gpu):
    network = a_network()
    graphed = CUDANetwork(Recordable(network), CUDA, "fp32")
    images = [torch.randn(count, 1, *PATCH) for count in (2, 1, 2, 1, 2)]
    with torch.inference_mode():
        answers = [graphed(image) for image in images]
        for image, answer in zip(images, answers, strict=True):
            assert torch.equal(answer, network(image))
    assert [len(graph.steps) for graph in Graph.recorded] == [1, 1]


@pytest.mark.parametrize("architecture", ["pctnet", "unet3d", "fmunet"])
def test_half_precision_is_that_of_all_weights_but_those_of_norms_with_statistics(
    pretended_gpu, monkeypatch, architecture
):
    monkeypatch.setitem(BOUNDS, "bf16", Deviation(1.0, 0.2, 0.0))  # random weights, few voxels
    network = a_network(architecture)
    with torch.inference_mode():
        network(torch.zeros(1, 1, *PATCH))  # what it keeps between calls is copied too
    graphed = record(Recordable(network), CUDA, "bf16", torch.randn(1, 1, *PATCH))
    logits = graphed(torch.randn(1, 1, *PATCH))
    assert logits.dtype == torch.float32
    norms = (nn.BatchNorm3d, nn.InstanceNorm3d)
    formats = {
        isinstance(module, norms): {weight.dtype for weight in module.parameters(recurse=False)}
        for module in graphed._network.modules()
        if any(True for _ in module.parameters(recurse=False))
    }
    assert formats == {True: {torch.float32}, False: {torch.bfloat16}}
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


def test_a_recording_off_the_reference_is_refused(pretended_gpu, monkeypatch):
    monkeypatch.setitem(BOUNDS, "bf16", Deviation(0.0, 0.0, 1.0))
    with pytest.raises(RefusedError, match="CUDA graph in bf16 is not accurate enough"):
        record(Recordable(a_network()), CUDA, "bf16", torch.randn(1, 1, *PATCH))


# ------------------------------------------------------------------------------------- the engine


@pytest.fixture
def engines(pretended_gpu, monkeypatch):
    monkeypatch.setattr(
        "MISFMLib.inference.engines.inference_precisions", lambda precision, _device: (precision,)
    )
    return Engines(Recordable(a_network()))


def some_work(windows, device=CUDA):
    return Work(
        device=device,
        windows=windows,
        window_shape=(1, *PATCH),
        sample=lambda: torch.randn(1, 1, *PATCH),
    )


MANY = 16 * 2**20 // (8 * 16 * 16)


def test_a_graph_is_recorded_once_the_windows_pay_for_it(engines):
    assert "graph" not in engines.choose("auto", "fp32", some_work(MANY // 2)).name
    assert Graph.recorded == []
    engine = engines.choose("auto", "fp32", some_work(MANY - MANY // 2))
    assert engine.name == f"PyTorch {torch.__version__}, CUDA graph"
    assert engines.choose("torch", "fp32", some_work(1)).network is engine.network
    assert engines.choose("auto", "bf16", some_work(1)).network is not engine.network
    assert len(Graph.recorded) == 2


def test_cpus_have_no_graph(engines):
    assert (
        engines.choose("auto", "fp32", some_work(MANY, CPU)).name == f"PyTorch {torch.__version__}"
    )


def test_what_cannot_be_recorded_is_computed_plainly(engines, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda_network.CUDANetwork, "_record", fail)
    for _ in range(2):
        engine = engines.choose("auto", "fp32", some_work(MANY))
        assert engine.name == f"PyTorch {torch.__version__}"
        assert engine.network is engines.network
    assert caplog.text.count("The CUDA graph failed") == 1


def test_freed_recordings_are_made_again(engines):
    first = engines.choose("auto", "fp32", some_work(MANY)).network
    engines.free_recordings()
    assert engines.choose("auto", "fp32", some_work(1)).network is not first


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("architecture", ["pctnet", "unet3d", "fmunet"])
def test_a_real_gpu_replays_what_it_computes(architecture, precision):
    network = a_network(architecture)
    graphed = record(network, CUDA, precision, torch.randn(1, 1, *PATCH))
    with torch.inference_mode():
        for count in (1, 2, 1):
            image = torch.randn(count, 1, *PATCH)
            expected = network(image)
            error = (graphed(image.to(CUDA)).cpu() - expected).abs().max() / expected.abs().max()
            assert error < (1e-2 if precision == "fp32" else 0.1)
