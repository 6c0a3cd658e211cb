"""The library beside a hub: real clients, and `hub_server.py` with what can go wrong."""

import importlib.util
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import HOME
from hub_server import commit_of
from make_repositories import ADAPTER, GATED, PINNED
from typer.testing import CliRunner

from semcoder.cli import app
from semcoder.core import DataError, EngineError, Sample, SemcoderError
from semcoder.evaluation import benchmark, judge
from semcoder.hub import hub_folder
from semcoder.llm import Sampling, load_engine, load_model, load_tokenizer, prompt_ids
from semcoder.reasoning import CRUXEVAL, rows_of
from semcoder.samples import Corpus, encode, ingredients, read_samples
from semcoder.training import FinetuneConfig, train

BASE = "deepseek-ai/deepseek-coder-1.3b-base"
WITHOUT_START = "bigcode/starcoder2-7b"
METASPACE = "codellama/CodeLlama-7b-Python-hf"
EVOL = "ise-uiuc/Magicoder-Evol-Instruct-110K"
DEAD = "http://127.0.0.1:9"

UNKNOWN = "is not on the hub, or is private: correct the name, or set HF_TOKEN"
NO_TOKEN = "is gated: accept its terms on its page, then set HF_TOKEN to a token of yours"
BARRED = "is gated, and this token is not on its list: ask for access on its page"
WRONG_TOKEN = "cannot be asked for with this token: set HF_TOKEN to a valid one, or unset it"
LIMITED = "is limited for now, the hub had too many requests: wait some minutes, or set HF_TOKEN"
BROKEN = "cannot be had, the hub itself failed (status 500): try again later"
CUT_OFF = "was cut off during the download: run the same again, it goes on where it was"
NO_REVISION = "has no such revision on the hub: correct what follows the @"
OFFLINE = "is not in the cache, and the hub is switched off: unset HF_HUB_OFFLINE, or give a folder"
NOT_THERE = f"cannot be had, {DEAD} does not answer: connect to the network, or give a folder"

FAULTS = {
    "faulty/gated": NO_TOKEN,
    "faulty/private": UNKNOWN,
    "faulty/nothing": UNKNOWN,
    "faulty/limited": LIMITED,
    "faulty/broken": BROKEN,
}
LOADERS = {
    "model": load_model,
    "tokenizer": load_tokenizer,
    "instruct": lambda name: read_samples("instruct", name),
    "benchmark": lambda name: rows_of("b", Path("hub"), replace(CRUXEVAL, hub=name)),
}
LINES = {
    "model": "EngineError: model '{name}' {reason}",
    "tokenizer": "EngineError: model '{name}' {reason}",
    "instruct": "DataError: data set '{name}' {reason}",
    "benchmark": "DataError: b: data set '{name}' {reason}",
}


def attempt(case: tuple[str, str]) -> str:
    """The kind and the text of the error with which a loader ends."""
    kind, name = case
    try:
        LOADERS[kind](name)
    except SemcoderError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def attempts(cases: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The same for many at once, for clients wait before they try again."""
    with ThreadPoolExecutor(len(cases)) as pool:
        return dict(zip(cases, pool.map(attempt, cases), strict=True))


def line_of(kind: str, name: str, reason: str) -> str:
    """The error that is due."""
    return LINES[kind].format(name=name, reason=reason)


# What each error says


def test_each_fault_has_its_line(hub):
    """What a user without a token reads about each kind of failure, word by word."""
    cases = [(kind, name) for kind in LOADERS for name in FAULTS]
    wanted = {case: line_of(*case, FAULTS[case[1]]) for case in cases}
    name = "faulty/truncated"
    for kind in ("model", "tokenizer", "benchmark"):
        by_hand = f"; 'hf download {name} --repo-type dataset --local-dir FOLDER' fetches it"
        wanted[kind, name] = line_of(kind, name, CUT_OFF) + by_hand * (kind == "benchmark")
    assert attempts([*wanted]) == wanted


@pytest.mark.parametrize(
    ("token", "name", "reason"),
    [("barred", "faulty/gated", BARRED), ("wrong", "faulty/gated", WRONG_TOKEN)],
)
def test_each_token_has_its_line(hub, monkeypatch, token, name, reason):
    """The same for a token that may not read, and for one that is none."""
    monkeypatch.setenv("HF_TOKEN", token)
    cases = [(kind, name) for kind in LOADERS]
    assert attempts(cases) == {case: line_of(*case, reason) for case in cases}


@pytest.mark.parametrize(
    ("variables", "reason"),
    [({"HF_HUB_OFFLINE": "1"}, OFFLINE), ({"HF_ENDPOINT": DEAD}, NOT_THERE)],
)
def test_without_a_hub(hub, new_user, variables, reason):
    """A model that was had before is had again; another, and a data set, end in a line each."""
    hub_folder(WITHOUT_START)
    code = f"""
        from semcoder.core import SemcoderError
        from semcoder.llm import load_model
        from semcoder.samples import read_samples
        print(type(load_model({WITHOUT_START!r})[0]).__name__)
        read = lambda name: read_samples("instruct", name)
        for load, name in ((load_model, "tiny/not-had"), (read, {EVOL!r})):
            try:
                load(name)
            except SemcoderError as error:
                print(error)
    """
    loaded, model, data = new_user(
        code, HF_HOME=str(HOME / "huggingface"), **variables
    ).stdout.splitlines()
    assert loaded == "Starcoder2ForCausalLM"
    assert model == f"model 'tiny/not-had' {reason}"
    assert data.startswith(f"data set {EVOL!r} {reason}")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("faulty/corrupt-weights", "model.safetensors"),
        ("faulty/corrupt-tokenizer", "tokenizer.json"),
        ("faulty/corrupt-config", "config.json"),
    ],
)
def test_damaged_file_of_a_model(hub, name, file):
    """The line names the file, which is then had again."""
    with pytest.raises(EngineError, match=f"^{file} arrived damaged .*: run the same again$"):
        load_model(name)
    (hub.root / "models" / name / ".fault").unlink()
    assert load_model(name)


def test_damaged_file_of_a_benchmark(hub):
    """The line names the data set."""
    reason = "^b: data set 'faulty/corrupt-rows' cannot be read \\("
    with pytest.raises(DataError, match=reason) as caught:
        LOADERS["benchmark"]("faulty/corrupt-rows")
    assert "\n" not in str(caught.value)


def test_command_line_says_it_too(hub):
    """`evaluate` prints the same line and no traceback."""
    ended = CliRunner().invoke(app, ["evaluate", "faulty/gated", "humaneval", "--limit", "1"])
    assert ended.exit_code == 1
    assert ended.output.splitlines()[-1] == f"error: model 'faulty/gated' {NO_TOKEN}"


def test_command_line_evaluates(hub):
    """Model and benchmark by their names on the hub give a score."""
    arguments = ["evaluate", BASE, "cruxeval-o", "--path", "hub", "--limit", "2"]
    ended = CliRunner().invoke(app, [*arguments, "--max-tokens", "4"])
    assert ended.exit_code == 0, ended.output
    assert "2 items of cruxeval-o" in ended.output


def test_gated_model_with_a_good_token(hub, monkeypatch):
    """A token on the list opens a gated model, which is closed without it."""
    with pytest.raises(EngineError, match=f"{GATED}' is gated"):
        load_tokenizer(GATED)
    monkeypatch.setenv("HF_TOKEN", "good")
    assert load_tokenizer(GATED)


# Benchmarks


SIZES = {
    "humaneval+ hub": 4,
    "mbpp hub": 8,
    "mbpp hub:sanitized": 8,
    "mbpp+ hub": 8,
    "cruxeval-o hub": 8,
    "cruxeval-i hub": 8,
    "lcb-exec hub": 8,
    "lcb-lite hub": 2,
    "lcb-lite hub:release_v2": 4,
}


@pytest.mark.parametrize("name", SIZES)
def test_benchmark_of_the_hub(hub, name):
    """It loads by the word `hub`, has a question, and refuses an answer that is none."""
    bench = benchmark(*name.split())
    assert len(bench.items) == SIZES[name]
    assert bench.prompt(bench.items[0], bench.style)
    [verdict] = judge(bench, {bench.items[0].item_id: ["no answer"]})
    assert not verdict.passed


def test_contests_of_the_copy_in_tables(empty_hub):
    """Where the hub lacks LiveCodeBench's own files, the copy in Parquet has the questions."""
    name = "datasets/lighteval/code_generation_lite"
    shutil.copytree(HOME / "hub" / name, empty_hub.root / name)
    assert len(benchmark("lcb-lite", "hub").items) == 2


def test_pinned_benchmark(hub):
    """A data set is had at a commit, and one that there is not is refused in a line."""
    commit = commit_of(hub.root / "datasets" / CRUXEVAL.hub)
    assert len(benchmark("cruxeval-o", f"hub@{commit}").items) == 8
    with pytest.raises(DataError, match=NO_REVISION):
        benchmark("cruxeval-o", f"hub@{'0' * 40}")


# Which weights answer


def asked(name: str) -> tuple[str, str]:
    """The revision of a model and what it writes."""
    with load_engine(name, dtype="float32") as engine:
        [[text]] = engine.generate(["def f(x):"], Sampling(max_tokens=8))
        return engine.revision, text


def test_revisions_and_adapter(hub):
    """Main, a label, a commit and an adapter answer, each with the commit of its weights."""
    main, first = (commit_of(hub.root / "models" / name) for name in (PINNED, f"{PINNED}@first"))
    usual, labelled, pinned, adapted = map(
        asked, (PINNED, f"{PINNED}@first", f"{PINNED}@{first}", ADAPTER)
    )
    assert (usual[0], labelled[0]) == (main, first)
    assert labelled == pinned
    assert adapted[0].startswith(f"{main} + ")
    assert len({usual[1], labelled[1], adapted[1]}) == 3


def test_revision_that_is_not_there(hub):
    """A revision that the hub does not have is one line."""
    name = f"{PINNED}@nowhere"
    assert attempt(("model", name)) == line_of("model", name, NO_REVISION)


# Tokenizers: the same in training and in every engine


CODE = "def f(x):\n    if x > 1:\n        return [x,  'a']\n    return None\n"
STARTS = {BASE: True, METASPACE: True, WITHOUT_START: False, ADAPTER: True}
ENGINES = ["transformers", *(["vllm"] if importlib.util.find_spec("vllm") else [])]


def local(name: str, tmp_path: Path) -> str:
    """A copy of a model of the hub in a folder of one's own."""
    return shutil.copytree(hub_folder(name), tmp_path / "copy")


@pytest.mark.parametrize("where", ["hub", "folder"])
@pytest.mark.parametrize("name", STARTS)
def test_tokenizer_keeps_code(hub, tmp_path, name, where):
    """Code comes back as it was; a model's own first token is there, in training too."""
    tokenizer = load_tokenizer(local(name, tmp_path) if where == "folder" else name)
    ids = prompt_ids(tokenizer, CODE)
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    assert tokenizer.decode(ids, **options) == CODE
    assert (ids[0] == tokenizer.bos_token_id) == STARTS[name]
    [trained] = encode([Sample("nl2code", "direct", CODE, " pass", "")], tokenizer, 1000).samples
    assert list(trained.ids[: trained.prompt]) == ids


def generated(name: str, prompt: str, tokens: int) -> tuple[int, str]:
    """How many tokens a prompt has, and the text that transformers' own `generate` adds to it."""
    model, tokenizer = load_model(name)
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    [written] = model.generate(ids, max_new_tokens=tokens, do_sample=False)
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    before, whole = (tokenizer.decode(part, **options) for part in (ids[0], written))
    return len(ids[0]), whole.removeprefix(before)


@pytest.mark.parametrize("name", STARTS)
def test_engines_read_and_write_alike(hub, name):
    """Every engine reads and writes what plain transformers do, without marks of bytes.

    The prompt ends in a word: a last token of one byte could form a character with the answer.
    """
    prompt = CODE.rstrip()
    expected = generated(name, prompt, 16)
    assert expected[1]
    for engine in ENGINES:
        with load_engine(name, engine, dtype="float32") as loaded:
            [[output]] = loaded.sample([prompt], Sampling(max_tokens=16))
            assert (output.prompt_tokens, output.text) == expected
    assert not any(mark in expected[1] for mark in "ĠĊ▁")


# Training


SAMPLES = [
    Sample("nl2code", "direct", f"Write {number}.\n", f"def f():\n    return {number}\n", "")
    for number in range(4)
]


@pytest.mark.parametrize(
    ("method", "accelerate_config"),
    [("full", ""), ("lora", ""), ("full", "fsdp2_cpu"), ("lora", "fsdp2_cpu")],
)
def test_training_a_base_of_the_hub(hub, tmp_path, method, accelerate_config):
    """Two steps from a base of the hub, alone and sharded; the checkpoint knows it, and answers."""
    config = FinetuneConfig(
        base=BASE,
        method=method,
        accelerate_config=accelerate_config,
        device="cpu",
        epochs=1,
        warmup_steps=1,
        global_batch_size=2,
        packed_length=256,
        max_length=256,
        lora_rank=2,
    )
    *losses, _ = train(SAMPLES, config, tmp_path / "tuned", tmp_path)
    assert len(losses) == 2
    facts = json.loads((tmp_path / "tuned" / "training.json").read_text())
    assert facts["base revision"] == commit_of(hub.root / "models" / BASE)
    assert asked(str(tmp_path / "tuned"))[1]


def test_two_whole_models_learn_like_one(hub, tmp_path):
    """Two processes with a whole model each, and two rows a step each, have the losses of one."""
    sizes = {"packed_length": 1, "epochs": 3, "warmup_steps": 0, "lr": 1e-2}
    config = FinetuneConfig(base=BASE, device="cpu", precision="float32", **sizes)
    losses = []
    for name in ("", "ddp2_cpu"):
        folder = tmp_path / f"tuned{name}"
        *rows, _ = train(SAMPLES, replace(config, accelerate_config=name), folder, tmp_path)
        losses.append([row.loss for row in rows])
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert losses[0][-1] < losses[0][0] - 0.1


# Instruction data, and the published data of the paper


@pytest.mark.parametrize(
    ("entry", "tasks"),
    [
        ("instruct:ise-uiuc/Magicoder-OSS-Instruct-75K", {"instruct"}),
        ("instruct:ise-uiuc/Magicoder-Evol-Instruct-110K:train*0.5", {"instruct"}),
        ("pyx:semcoder/PyX", {"backward", "forward", "nl2code"}),
        ("pyx-r:semcoder/PyX-R", {"refine"}),
    ],
)
def test_ingredient_of_the_hub(hub, entry, tasks):
    """Instruction data, PyX and PyX-R become samples of their tasks."""
    [part] = ingredients(Corpus({}, {}, [], [], []), entry)
    assert {sample.task for sample in part.samples} == tasks
