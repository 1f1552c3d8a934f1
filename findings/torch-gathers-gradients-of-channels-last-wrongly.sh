#!/usr/bin/env bash
# The gradient through PyTorch's differentiable all_gather is silently wrong where the loss hands
# back a tensor in the memory format channels_last_3d.
#
# Seen with torch 2.13.0 (CPU, gloo), torch.distributed.nn.functional.all_gather, which Lightning
# Fabric 2.6.6's all_gather(sync_grads=True) uses too, 29 November 2026. Two processes gather a volume
# of each and weight the voxels. The gathered volumes are right in both formats. The gradient should
# be twice the weights, one for the loss of each process, and is in the usual format (error 0.0). In
# channels_last_3d, which convolutions of volumes run faster in, each gradient arrives in another
# order of its voxels: errors of 8.9 and 10.3 with weights of a normal distribution. Nothing is raised,
# and the length of the gradient is plausible, so that a training with Dice over the batch of all
# processes only learns worse. Calling contiguous() on the gradient, in a hook, cures it.
#
# Why it matters here: training/loop.py gathers the outputs of all processes for the loss, and trains
# in channels_last_3d; the hook is there.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0 numpy==2.4.6 2>/dev/null
cat >"$folder/gather.py" <<'PYTHON'
import os
import warnings

import torch
import torch.distributed as dist
from torch import multiprocessing

warnings.simplefilter("ignore", FutureWarning)


def work(rank, folder):
    from torch.distributed.nn.functional import all_gather

    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    volumes, weights = torch.randn(2, 2, 3, 2, 4, 5)
    for form in (torch.contiguous_format, torch.channels_last_3d):
        for is_cured in (False, True):
            mine = volumes[rank : rank + 1].to(memory_format=form).requires_grad_()
            gathered = all_gather(mine)
            if is_cured:
                for part in gathered:
                    part.register_hook(torch.Tensor.contiguous)
            joined = torch.cat(list(gathered))
            assert joined.equal(volumes)
            (joined * weights.to(memory_format=form)).sum().backward()
            error = float((mine.grad - 2 * weights[rank : rank + 1]).abs().max())
            print(f"process {rank}, {form}, {is_cured=}: error of the gradient {error:.1f}", flush=True)
            is_wrong = form == torch.channels_last_3d and not is_cured
            assert (error > 1) == is_wrong, "PyTorch behaves otherwise now"
    dist.destroy_process_group()


if __name__ == "__main__":
    multiprocessing.spawn(work, (os.path.dirname(os.path.abspath(__file__)),), 2)
PYTHON
"$folder/venv/bin/python" "$folder/gather.py"
