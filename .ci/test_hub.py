"""The library beside a hub: real clients, and `hub_server.py` with what can go wrong."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import Hub, commit_of, serving
from make_repositories import ADAPTER, GATED, PINNED

BASE = "deepseek-ai/deepseek-coder-1.3b-base"
WITHOUT_START = "bigcode/starcoder2-7b"
METASPACE = "codellama/CodeLlama-7b-Python-hf"
CRUXEVAL = "cruxeval-org/cruxeval"
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
    "faulty/truncated": CUT_OFF,
}
ENVIRONMENTS = {
    "barred token": ({"HF_TOKEN": "barred"}, "faulty/gated", BARRED),
    "wrong token": ({"HF_TOKEN": "wrong"}, BASE, WRONG_TOKEN),
    "offline": ({"HF_HUB_OFFLINE": "1"}, BASE, OFFLINE),
    "dead hub": ({"HF_ENDPOINT": DEAD}, BASE, NOT_THERE),
}


@pytest.fixture
def own_hub(hub: Hub, tmp_path: Path) -> Iterator[Callable[[str, str, str], Hub]]:
    """A hub with one repository of the session's hub and a fault: `own_hub(kind, name, fault)`."""
    servers = []

    def start(kind: str, name: str, fault: str) -> Hub:
        root = tmp_path / "own"
        shutil.copytree(hub.root / kind / name, root / kind / name)
        (root / kind / name / ".fault").write_text(fault)
        servers.append(serving(root))
        return servers[-1].__enter__()

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def served_commit(hub: Hub, name: str, kind: str = "models") -> str:
    """The commit that the hub gives for a repository, or for one of its revisions."""
    return commit_of(hub.root / kind / name)


# The benchmarks


SIZES = {
    "humaneval+ hub": 4,
    "mbpp hub": 8,
    "mbpp hub:sanitized": 8,
    "mbpp+ hub": 8,
    "cruxeval-o hub": 8,
    "cruxeval-i hub": 8,
    "lcb-exec hub": 8,
    "lcb-lite hub": 2,
}


def test_every_benchmark_from_the_hub(python):
    """Each loads by the word `hub`, asks a question, and gets its own solution right or judged."""
    code = """
        import json, sys
        from semcoder.judging import benchmark, judge
        sizes = {}
        for text in sys.argv[1:]:
            name, path = text.split()
            bench = benchmark(name, path)
            assert bench.prompt(bench.items[0], bench.style)
            [verdict] = judge(bench, {bench.items[0].item_id: ["no answer"]})
            assert not verdict.passed
            sizes[text] = len(bench.items)
        print(json.dumps(sizes))
    """
    assert json.loads(python(code, *SIZES).stdout) == SIZES


def test_pinned_benchmark(python, hub):
    """A data set is had at a commit, and one that there is not is refused in a line."""
    code = """
        import sys
        from semcoder.judging import benchmark
        print(len(benchmark("cruxeval-o", sys.argv[1]).items))
    """
    commit = served_commit(hub, CRUXEVAL, "datasets")
    assert python(code, f"hub@{commit}").stdout == "8\n"
    line = python(code, f"hub@{'0' * 40}").line
    assert line == f"cruxeval-o: data set {CRUXEVAL!r} {NO_REVISION}"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("gated", NO_TOKEN), ("limited", LIMITED), ("broken", BROKEN), ("short *", CUT_OFF)],
)
def test_faulty_benchmark(semcoder, own_hub, fault, reason):
    """`evaluate` ends with one line about the data, before a model is loaded."""
    faulty = own_hub("datasets", CRUXEVAL, fault)
    arguments = ["evaluate", BASE, "cruxeval-o", "--path", "hub"]
    ended = semcoder(*arguments, HF_ENDPOINT=faulty.url)
    assert ended.status == 1
    assert ended.line == f"cruxeval-o: data set {CRUXEVAL!r} {reason}"


def test_corrupt_benchmark(semcoder, own_hub, hub):
    """A damaged file is named, and a second try with a sound hub works as the line says."""
    faulty = own_hub("datasets", CRUXEVAL, "flipped *.jsonl")
    arguments = ["evaluate", BASE, "cruxeval-o", "--path", "hub", "--limit", "1"]
    line = semcoder(*arguments, HF_ENDPOINT=faulty.url).line
    assert "test.jsonl" in line and "cache" in line


# Models: what each error says


ATTEMPTS = """
    import json, sys
    from concurrent.futures import ThreadPoolExecutor
    from semcoder.core import SemcoderError
    from semcoder.generation import load_model, load_tokenizer
    from semcoder.mixture import instructions
    LOADERS = {"model": load_model, "tokenizer": load_tokenizer, "instruct": instructions}
    def attempt(text):
        kind, name = text.split()
        try:
            LOADERS[kind](name)
        except SemcoderError as error:
            return f"{type(error).__name__}: {error}"
        return "no error"
    with ThreadPoolExecutor(16) as pool:
        print(json.dumps(dict(zip(sys.argv[1:], pool.map(attempt, sys.argv[1:])))))
"""
KINDS = ("model", "tokenizer", "instruct")


def expected(kind: str, name: str, reason: str) -> str:
    """The line about a model, a tokenizer or instruction data."""
    if kind == "instruct":
        return f"DataError: data set {name!r} {reason}"
    return f"EngineError: model {name!r} {reason}"


def test_each_fault_has_its_line(python):
    """What a user without a token reads about each kind of failure, word by word."""
    cases = [f"{kind} {name}" for kind in KINDS for name in FAULTS]
    lines = json.loads(python(ATTEMPTS, *cases).stdout)
    wanted = {case: expected(*case.split(), FAULTS[case.split()[1]]) for case in cases}
    assert lines == wanted


@pytest.mark.parametrize("which", ENVIRONMENTS)
def test_each_environment_has_its_line(python, which):
    """The same for a token or a hub that is no good."""
    variables, name, reason = ENVIRONMENTS[which]
    data = name if name.startswith("faulty") else "ise-uiuc/Magicoder-Evol-Instruct-110K"
    cases = {f"model {name}": name, f"tokenizer {name}": name, f"instruct {data}": data}
    lines = json.loads(python(ATTEMPTS, *cases, **variables).stdout)
    assert lines == {case: expected(case.split()[0], cases[case], reason) for case in cases}


@pytest.mark.parametrize(
    ("fault", "file"),
    [
        ("flipped *.safetensors", "model.safetensors"),
        ("flipped tokenizer.json", "tokenizer.json"),
        ("flipped config.json", "config.json"),
    ],
)
def test_damaged_file_of_a_model(python, own_hub, hub, fault, file):
    """The line names the file, which is then had again."""
    faulty = own_hub("models", BASE, fault)
    line = python(ATTEMPTS, f"model {BASE}", HF_ENDPOINT=faulty.url).stdout
    assert "EngineError" in line and f"{file} arrived damaged" in line
    assert "no error" in python(ATTEMPTS, f"model {BASE}").stdout


def test_evaluate_says_it_too(semcoder):
    """The command line gives the same line and no traceback."""
    ended = semcoder("evaluate", "faulty/gated", "humaneval", "--limit", "1")
    assert (ended.status, ended.line) == (1, f"model 'faulty/gated' {NO_TOKEN}")
    assert "Traceback" not in ended.stderr


def test_gated_model_with_a_good_token(python):
    """A token on the list opens a gated model."""
    assert "no error" in python(ATTEMPTS, f"model {GATED}", HF_TOKEN="good").stdout


def test_cached_model_offline(python):
    """What was had once is had again without a hub."""
    assert "no error" in python(ATTEMPTS, f"model {BASE}").stdout
    assert "no error" in python(ATTEMPTS, f"model {BASE}", HF_HUB_OFFLINE="1").stdout
    assert "no error" in python(ATTEMPTS, f"model {BASE}", HF_ENDPOINT=DEAD).stdout


# Models: which weights they are


ASKED = """
    import json, sys
    from semcoder.generation import Sampling
    from semcoder.llm import load_engine
    answers = {}
    for name in sys.argv[1:]:
        with load_engine(name, dtype="float32") as engine:
            [[text]] = engine.generate(["def f(x):"], Sampling(max_tokens=8))
            answers[name] = [engine.revision, text]
    print(json.dumps(answers))
"""


def test_revisions_and_adapter(python, hub):
    """Main, a label, a commit and an adapter answer, each with the commit of its weights."""
    main, first = served_commit(hub, PINNED), served_commit(hub, f"{PINNED}@first")
    names = [PINNED, f"{PINNED}@first", f"{PINNED}@{first}", ADAPTER]
    answers = json.loads(python(ASKED, *names).stdout)
    assert [answers[name][0] for name in names[:3]] == [main, first, first]
    assert answers[ADAPTER][0].startswith(f"{main} + ")
    texts = [text for _, text in answers.values()]
    assert texts[1] == texts[2]
    assert len({texts[0], texts[1], texts[3]}) == 3


def test_revision_that_is_not_there(python):
    """A revision that the hub does not have is one line."""
    name = f"{PINNED}@nowhere"
    assert expected("model", name, NO_REVISION) in python(ATTEMPTS, f"model {name}").stdout


# Tokenizers


INDENTED = "def f(x):\n    if x > 1:\n        return [x,  'a']\n    return None\n"
TOKENS = """
    import json, sys
    from pathlib import Path
    from semcoder.core import Sample
    from semcoder.generation import Sampling, load_tokenizer, prompt_ids
    from semcoder.hub import hub_folder
    from semcoder.llm import load_engine
    from semcoder.packing import encode
    engines, code = sys.argv[1].split(), sys.argv[2]
    sample = Sample("nl2code", "direct", code, " pass", "")
    results = {}
    for name in sys.argv[3:]:
        name = hub_folder(name.removeprefix("folder:")) if "folder:" in name else name
        tokenizer = load_tokenizer(name)
        ids = prompt_ids(tokenizer, code)
        [trained] = encode([sample], tokenizer, 1000).samples
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        asked = {}
        for engine in engines:
            with load_engine(name, engine, dtype="float32") as loaded:
                [[output]] = loaded.sample([code], Sampling(max_tokens=16))
                asked[engine] = [output.prompt_tokens, output.text]
        results[str(name)] = {
            "starts": ids[0] == tokenizer.bos_token_id and tokenizer.bos_token_id is not None,
            "text": tokenizer.decode(ids, **options),
            "equal": list(trained.ids[: trained.prompt]) == ids,
            "length": len(ids),
            "asked": asked,
        }
    print(json.dumps(results))
"""
NAMES = {BASE: True, f"folder:{BASE}": True, METASPACE: True, WITHOUT_START: False, ADAPTER: True}


@pytest.fixture(scope="module")
def tokens(module_python) -> dict[str, dict]:
    """How each tokenizer reads indented code, in training and in every engine that is here."""
    try:
        import vllm  # noqa: F401
    except ImportError:
        engines = "transformers"
    else:
        engines = "transformers vllm"
    ended = module_python(TOKENS, engines, INDENTED, *NAMES)
    assert ended.status == 0, ended.stderr
    return dict(zip(NAMES, json.loads(ended.stdout).values(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_tokenizer_keeps_code(tokens, name):
    """Code comes back as it was; a model's own first token is there, in training too."""
    facts = tokens[name]
    assert facts["text"] == INDENTED
    assert facts["starts"] == NAMES[name]
    assert facts["equal"]


@pytest.mark.parametrize("name", NAMES)
def test_engines_read_and_write_alike(tokens, name):
    """Every engine reads as many tokens, and they write the same text, without marks of bytes."""
    facts = tokens[name]
    assert {count for count, _ in facts["asked"].values()} == {facts["length"]}
    texts = {text for _, text in facts["asked"].values()}
    assert len(texts) == 1
    assert not any(mark in texts.pop() for mark in "ĠĊ▁")


# Training


TRAINED = """
    import json, sys
    from pathlib import Path
    from semcoder.core import Sample
    from semcoder.generation import Sampling
    from semcoder.llm import load_engine
    from semcoder.training import Training, train
    base, method, launch, home = sys.argv[1:]
    samples = [
        Sample("nl2code", "direct", f"Write {n}.\\n", f"def f():\\n    return {n}\\n", str(n))
        for n in range(4)
    ]
    root = Path(home) / "run"
    config = Training(
        base=base, method=method, launch=launch, epochs=1, batch_size=2, row_tokens=256,
        max_length=256, warmup=1, lora_rank=2, device="cpu",
    )
    *losses, checkpoint = train(samples, config, root / "tuned", root)
    with load_engine(str(root / "tuned")) as engine:
        [[text]] = engine.generate(["Write 1."], Sampling(max_tokens=4))
    facts = json.loads((root / "tuned" / "training.json").read_text())
    print(json.dumps([len(losses), facts["base revision"], len(text) > 0]))
"""


@pytest.mark.parametrize(
    ("method", "launch"), [("full", ""), ("lora", ""), ("full", "fsdp2_cpu"), ("lora", "fsdp2_cpu")]
)
def test_training_a_base_of_the_hub(python, hub, tmp_path, method, launch):
    """Two steps from a hub's base, alone and sharded; the checkpoint knows its base, and answers."""
    ended = python(TRAINED, BASE, method, launch, str(tmp_path))
    assert ended.status == 0, ended.stderr
    steps, revision, answered = json.loads(ended.stdout)
    assert (steps, revision, answered) == (2, served_commit(hub, BASE), True)


# Instruction data, and the published data of the paper


def test_ingredients_of_the_hub(python):
    """Instruction data, PyX and PyX-R become samples; the two published sets bring their tasks."""
    code = """
        import json, sys
        from semcoder.mixture import Corpus, ingredients
        empty = Corpus({}, {}, [], [], [])
        print(json.dumps({
            part.entry: [len(part.samples), sorted({sample.task for sample in part.samples})]
            for part in ingredients(empty, ",".join(sys.argv[1:]))
        }))
    """
    wanted = {
        "instruct:ise-uiuc/Magicoder-OSS-Instruct-75K": ["instruct"],
        "instruct:ise-uiuc/Magicoder-Evol-Instruct-110K": ["instruct"],
        "pyx:semcoder/PyX": ["backward", "forward", "nl2code"],
        "pyx-r:semcoder/PyX-R": ["refine"],
    }
    ended = python(code, *wanted)
    assert ended.status == 0, ended.stderr
    parts = json.loads(ended.stdout)
    assert {entry: tasks for entry, (_, tasks) in parts.items()} == wanted
    assert all(count > 0 for count, _ in parts.values())
