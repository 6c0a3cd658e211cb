"""What GPUs and several processes run, on a CPU: tiny models, and torch's fake process group."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from make_repositories import DEEPSEEK, write_model
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoConfig, LlamaForCausalLM, PreTrainedModel

from semcoder import samples as packing
from semcoder.llm import load_model
from semcoder.training import FinetuneConfig, start


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A model of two layers with tied embeddings, and a tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "base"
    write_model(folder, DEEPSEEK, seed=0)
    config = AutoConfig.from_pretrained(folder)
    config.tie_word_embeddings = True
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def two_processes(monkeypatch) -> Iterator[None]:
    """This process as the first of two on the CPU; nothing is sent, and no other is there."""
    sizes = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    for name, value in {**sizes, **address, **threads, "ACCELERATE_USE_CPU": "true"}.items():
        monkeypatch.setenv(name, value)
    AcceleratorState._reset_state(reset_partial_state=True)
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)


# Several processes


def started(monkeypatch, precision: str) -> Accelerator:
    """accelerate's view of a process of FSDP."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    return start(FinetuneConfig(device="cpu", precision=precision))


def test_gradients_are_added_up_in_float32(two_processes, monkeypatch):
    """FSDP2 computes in bfloat16 and adds up in float32."""
    policy = started(monkeypatch, "mixed").state.fsdp_plugin.mixed_precision_policy
    assert isinstance(policy, MixedPrecisionPolicy)
    dtypes = (policy.param_dtype, policy.reduce_dtype, policy.output_dtype)
    assert dtypes == (torch.bfloat16, torch.float32, torch.bfloat16)


def test_float32_needs_no_policy(two_processes, monkeypatch):
    """In float32 FSDP2 computes as the weights are."""
    assert started(monkeypatch, "float32").state.fsdp_plugin.mixed_precision_policy is None


# A GPU


class OnGpu(torch.Tensor):
    """A tensor of the CPU that says it lies on a GPU."""

    device = torch.device("cuda")


@pytest.mark.parametrize("window", [7, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_groups_of_heads_on_a_gpu(monkeypatch, dtype, window):
    """Keys and values are repeated for their heads, which every fast kernel takes."""
    calls, compute = [], packing.scaled_dot_product_attention

    def attend(query, key, value, **options) -> torch.Tensor:
        calls.append((key.shape[1], value.shape[1]))
        return compute(query, key, value, **options)

    monkeypatch.setattr(packing, "scaled_dot_product_attention", attend)
    torch.manual_seed(0)
    tensors = [torch.randn(1, heads, 7, 8, dtype=dtype) for heads in (6, 2, 2)]
    result = packing._attention(*(x.as_subclass(OnGpu) for x in tensors), 8**-0.5, window)
    expected = packing._attention(*tensors, 8**-0.5, window)
    assert calls == [(6, 6)]
    torch.testing.assert_close(result.as_subclass(torch.Tensor), expected, atol=2e-2, rtol=0)


def test_weights_are_read_onto_their_device(base, monkeypatch):
    """A model is never whole in the host's memory before it goes to its device."""

    def move(*_, **__) -> None:
        raise AssertionError("the model was moved")

    monkeypatch.setattr(PreTrainedModel, "to", move)
    model, _ = load_model(base, "float32", "meta")
    assert all(parameter.is_meta for parameter in model.parameters())
