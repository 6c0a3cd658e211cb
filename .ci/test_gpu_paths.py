"""What GPUs and several processes run, on a CPU: tiny models, and torch's fake process group."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from make_repositories import DEEPSEEK, write_adapter, write_model
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoConfig, LlamaForCausalLM, PreTrainedModel

from semcoder import samples as packing
from semcoder import training
from semcoder.core import EngineError, Sample
from semcoder.llm import load_model
from semcoder.samples import encode
from semcoder.training import FinetuneConfig, load_trainable, start, training_step

SAMPLES = [Sample("nl2code", "direct", f"Write {n}.\n", f"return {n}\n", "") for n in range(4)]
SENT = {"ACCELERATE_USE_FSDP": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}


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
def bare(base, tmp_path) -> Path:
    """The same model without its weights."""
    return Path(shutil.copytree(base, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safe*")))


@pytest.fixture
def second_process(monkeypatch) -> None:
    """The variables of a process that accelerate's FSDP sends its weights to."""
    for name, value in {**SENT, "RANK": "1"}.items():
        monkeypatch.setenv(name, value)


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


# Weights that the first process sends


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_unfilled_model_is_like_a_loaded_one(base, bare, dtype):
    """Without any file of weights: the same shapes, types and buffers, tied alike, in memory."""
    loaded, unfilled = load_model(base, dtype)[0], training._unfilled_model(str(bare), dtype)
    for tensors in ("named_parameters", "named_buffers"):
        expected, actual = (dict(getattr(m, tensors)()) for m in (loaded, unfilled))
        assert list(actual) == list(expected)
        for name, tensor in actual.items():
            assert tensor.shape == expected[name].shape
            assert (tensor.dtype, tensor.device) == (expected[name].dtype, expected[name].device)
    assert unfilled.get_output_embeddings().weight is unfilled.get_input_embeddings().weight
    for name, tensor in unfilled.named_buffers():
        assert torch.equal(tensor, loaded.get_buffer(name))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_second_process_reads_no_weights(bare, second_process, method):
    """A process that is sent its weights can do without the file; its model is wholly shaped."""
    model, tokenizer = load_trainable(FinetuneConfig(base=str(bare), method=method, lora_rank=2))
    assert tokenizer.eos_token
    assert not any(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("name", ["RANK", *SENT])
def test_other_processes_read_weights(bare, second_process, monkeypatch, name):
    """The first process, and each one where nothing is sent, cannot do without the file."""
    monkeypatch.setenv(name, "0" if name == "RANK" else "false")
    with pytest.raises(EngineError, match="cannot load model"):
        load_trainable(FinetuneConfig(base=str(bare)))


def test_every_process_reads_an_adapter(base, tmp_path, second_process):
    """An adapter is merged into its base wherever it is trained on."""
    write_adapter(tmp_path / "adapter", base, str(base))
    model, _ = load_trainable(FinetuneConfig(base=str(tmp_path / "adapter"), precision="float32"))
    merged = load_model(tmp_path / "adapter")[0]
    assert all(map(torch.equal, model.parameters(), merged.parameters()))


# Several processes


def test_gradients_are_added_up_once_a_step(base, two_processes):
    """Processes with a whole model each exchange gradients after the last row of a step alone."""
    config = FinetuneConfig(base=str(base), device="cpu", precision="float32", packed_length=1)
    accelerator = start(config)
    model, tokenizer = load_trainable(config)
    step = encode(SAMPLES, tokenizer, 1000).samples
    exchanged = []

    def count(_, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        exchanged.append(bucket.index())
        future = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    model = accelerator.prepare(model)
    model.register_comm_hook(None, count)
    training_step(model, step, config, accelerator)
    assert len(exchanged) == len(set(exchanged)) > 0


def started(monkeypatch, version: str, precision: str) -> Accelerator:
    """accelerate's view of a process of FSDP."""
    sends = dict.fromkeys(SENT, "false")
    for name, value in {**sends, "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": version}.items():
        monkeypatch.setenv(name, value)
    return start(FinetuneConfig(device="cpu", precision=precision))


def test_gradients_are_added_up_in_float32(two_processes, monkeypatch):
    """FSDP2 computes in bfloat16 and adds up in float32."""
    policy = started(monkeypatch, "2", "mixed").state.fsdp_plugin.mixed_precision_policy
    assert isinstance(policy, MixedPrecisionPolicy)
    dtypes = (policy.param_dtype, policy.reduce_dtype, policy.output_dtype)
    assert dtypes == (torch.bfloat16, torch.float32, torch.bfloat16)


@pytest.mark.parametrize(("version", "precision"), [("1", "mixed"), ("2", "float32")])
def test_policy_of_fsdp2_is_for_it_alone(two_processes, monkeypatch, version, precision):
    """Version 1 has another kind of policy, and float32 needs none."""
    plugin = started(monkeypatch, version, precision).state.fsdp_plugin
    assert not isinstance(plugin.mixed_precision_policy, MixedPrecisionPolicy)


# A GPU


@pytest.fixture
def old_gpu(monkeypatch) -> None:
    """torch's answers on a machine whose GPU has no instructions for bfloat16."""
    answers = {
        "is_available": lambda: True,
        "is_bf16_supported": lambda including_emulation=True: including_emulation,
        "get_device_name": lambda: "Tesla T4",
        "device": lambda _: torch.inference_mode(False),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)


@pytest.mark.parametrize("device", ["", "cuda"])
@pytest.mark.parametrize("precision", ["mixed", "bfloat16"])
def test_gpu_without_bfloat16(old_gpu, device, precision):
    """The line names the GPU and the precision that it can compute in."""
    line = f"^Tesla T4 .* bfloat16: use precision='float32' instead of '{precision}'$"
    with pytest.raises(EngineError, match=line):
        start(FinetuneConfig(device=device, precision=precision))


def test_cpu_beside_a_gpu_without_bfloat16(old_gpu):
    """The GPU is not asked for a training on the CPU."""
    assert start(FinetuneConfig(device="cpu", precision="mixed")).device.type == "cpu"


class OnGpu(torch.Tensor):
    """A tensor of the CPU that says it lies on a GPU."""

    device = torch.device("cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_groups_of_heads_on_a_gpu(monkeypatch, dtype):
    """Keys and values are repeated for their heads, which every fast kernel takes."""
    calls, compute = [], packing.scaled_dot_product_attention

    def attend(query, key, value, **options) -> torch.Tensor:
        calls.append((key.shape[1], value.shape[1]))
        return compute(query, key, value, **options)

    monkeypatch.setattr(packing, "scaled_dot_product_attention", attend)
    torch.manual_seed(0)
    tensors = [torch.randn(1, heads, 7, 8, dtype=dtype) for heads in (6, 2, 2)]
    result = packing._attention(*(x.as_subclass(OnGpu) for x in tensors), 8**-0.5)
    expected = packing._attention(*tensors, 8**-0.5)
    assert calls == [(6, 6)]
    torch.testing.assert_close(result.as_subclass(torch.Tensor), expected, atol=2e-2, rtol=0)


def test_weights_are_read_onto_their_device(base, monkeypatch):
    """A model is never whole in the host's memory before it goes to its device."""

    def move(*_, **__) -> None:
        raise AssertionError("the model was moved")

    monkeypatch.setattr(PreTrainedModel, "to", move)
    model, _ = load_model(base, "float32", "meta")
    assert all(parameter.is_meta for parameter in model.parameters())
