"""FSDP 2: both views of a model that is spread over two processes, as on one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys

sys.path.insert(0, {tests!r})

import torch
from support.tiny_models import tiny_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.encoder_cotpd import encoder_layers

torch.distributed.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
whole, sharded = (tiny_model(CoTPDForTokenClassification, prompt_type={prompt_type!r}) for _ in range(2))
for layer in encoder_layers(sharded.cotpd.encoder):
    fully_shard(layer, mesh=mesh)
fully_shard(sharded, mesh=mesh)
random = torch.Generator().manual_seed(0)
text = torch.randint(5, 100, (2, 9), generator=random)
inputs = {{
    "input_ids": text,
    "knowledge_input_ids": torch.cat([text, torch.randint(5, 100, (2, 7), generator=random)], 1),
    "labels": torch.randint(0, 5, (2, 9), generator=random),
}}
outputs = [model(**inputs) for model in (whole, sharded)]
for output in outputs:
    (output.loss + output.nll.sum()).backward()
for name in ("logits", "knowledge_logits"):
    torch.testing.assert_close(outputs[1][name], outputs[0][name], atol=1e-6, rtol=1e-5)
compared = 0
for (name, given), (_, expected) in zip(sharded.named_parameters(), whole.named_parameters(), strict=True):
    assert (given.grad is None) == (expected.grad is None), name
    if given.grad is not None:
        torch.testing.assert_close(given.grad.full_tensor(), expected.grad, atol=1e-5, rtol=1e-4)
        compared += 1
assert compared > 20 and given.to_local().numel() <= given.numel()
torch.distributed.barrier()
torch.distributed.destroy_process_group()
# a thread of torch that asks for the interpreter while that ends may abort the process
os._exit(0)
"""


@pytest.mark.parametrize("prompt_type", ["conditional", "prefix"])
def test_a_sharded_model_equals_a_whole_one(tmp_path: Path, prompt_type: str):
    script = tmp_path / "sharded.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent), prompt_type=prompt_type))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
