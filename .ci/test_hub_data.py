"""Data sets of the hub: mixtures, pinned commits, benchmarks, and what is pushed."""

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from semcoder.cli import app
from semcoder.core import DataError, open_run
from semcoder.dataset import named_items
from semcoder.hub import dataset_commit, dataset_rows
from semcoder.samples import Corpus, ingredients, read_samples

DOUBLE = "def f(x): # [L5]\n    return 2 * x # [L6]"
FORWARD = {
    "nl": "",
    "fwd_mnl": f"[PYTHON]\n{DOUBLE}\nassert f(21) == ??\n[/PYTHON]",
    "bwd_mnl": "",
    "response": "[MONOLOGUE]\n[L6] doubles 21.\n[/MONOLOGUE]\n"
    "[ANSWER]\nassert f(21) == 42\n[/ANSWER]",
    "id": "1",
}
BACKWARD = {
    "nl": "",
    "fwd_mnl": "",
    "bwd_mnl": "PYTHON]\ndef g(s):\n    return s * 2\nassert g(??) == 'abab'\n[/PYTHON]",
    "response": "[MONOLOGUE]\nHalf.\n[/MONOLOGUE]\n[ANSWER]\nassert g('ab') == 'abab'\n[/ANSWER]",
    "id": "2",
}
SOLVED = {
    "nl": "Halve a number.",
    "fwd_mnl": "",
    "bwd_mnl": "",
    "response": "Divide it.\n```python\ndef half(x):\n    return x / 2\n```",
    "id": "3",
}
CUT_OFF = {**FORWARD, "fwd_mnl": "[PYTHON]\ndef f(x:\nassert f(1) == ??\n[/PYTHON]", "id": "4"}
EMPTY = {**SOLVED, "response": "", "id": "5"}
FAULT = {
    "fault": "### Problem\nDouble it.\n\n### Buggy Solution\ndef f(x): return x\n\n"
    "### Failed Test\nassert f(4) == 8",
    "response": "[MONOLOGUE]\nIt returns x.\n[/MONOLOGUE]\n"
    "[Refined]\ndef f(x): return 2 * x\n[/Refined]",
}
CRUX = {
    "id": "sample_0",
    "code": "def f(a):\n    return a + a",
    "input": "'ab'",
    "output": "'abab'",
}


def put(hub, name: str, file: str, rows: list[dict]) -> Path:
    """Put a data set with one file of JSON lines on the hub; its folder."""
    folder = hub.root / "datasets" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_mixture_of_the_released_data_names_its_commits_and_its_losses(empty_hub):
    put(empty_hub, "semcoder/PyX", "pyx.jsonl", [FORWARD, BACKWARD, SOLVED, SOLVED, CUT_OFF, EMPTY])
    put(empty_hub, "semcoder/PyX-R", "pyx_r.jsonl", [FAULT])
    corpus = Corpus.load(open_run("demo"))
    pyx, repairs = ingredients(corpus, "pyx:semcoder/PyX,pyx-r:semcoder/PyX-R*2")
    assert [s.task for s in pyx.samples] == ["forward", "backward", "nl2code"]
    assert pyx.row["lost"] == {"repeated": 1, "the program is no Python": 1, "empty": 1}
    assert pyx.row["commit"] == dataset_commit("semcoder/PyX") and len(pyx.row["commit"]) == 40
    assert [s.task for s in repairs.samples] == ["refine", "refine"]
    assert "[L2] doubles 21." in pyx.samples[0].response


def test_samples_are_the_same_from_a_file_and_from_the_hub(empty_hub, tmp_path):
    rows = [FORWARD, BACKWARD, SOLVED]
    put(empty_hub, "me/same", "pyx.jsonl", rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "pyx.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    served = read_samples("pyx", "me/same").samples
    assert served == read_samples("pyx", str(tmp_path / "pyx.jsonl.gz")).samples


def test_monologue_with_the_pair_of_a_hub_benchmark_is_left_out(empty_hub):
    put(empty_hub, "me/pairs", "pyx.jsonl", [FORWARD, BACKWARD])
    put(empty_hub, "cruxeval-org/cruxeval", "test.jsonl", [CRUX])
    items = named_items("cruxeval=hub")
    assert [(item.calls, item.values) for item in items] == [(["f('ab')"], ["'abab'"])]
    supply = read_samples("pyx", "me/pairs", items)
    assert [s.task for s in supply.samples] == ["forward"] and supply.lost == {"contaminated": 1}


def test_mbpp_plus_comes_from_the_hub(empty_hub):
    task = {"task_id": 2, "prompt": "Double it.", "code": "def d(x): return 2 * x"}
    test = "inputs = [[5]]\nassertion(d(*inputs[0]), 10, 0)"
    rows = [task | {"test_list": ["assert d(4) == 8"], "test": test}]
    put(empty_hub, "evalplus/mbppplus", "test.jsonl", rows)
    [item] = named_items("mbpp+=hub")
    assert (item.description, item.code) == ("Double it.", "def d(x):\n    return 2 * x")


def test_instruct_takes_a_pinned_commit_and_refuses_another(empty_hub):
    put(empty_hub, "me/evol", "train.jsonl", [{"instruction": "Add.", "output": "a + b"}])
    commit = dataset_commit("me/evol")
    corpus = Corpus.load(open_run("demo"))
    for where in ("me/evol", "me/evol:train", f"me/evol@{commit}", f"me/evol@{commit}:train"):
        [part] = ingredients(corpus, f"instruct:{where}")
        assert part.row["commit"] == commit and part.row["taken"] == 1
    with pytest.raises(DataError, match="has no such revision on the hub"):
        ingredients(corpus, "instruct:me/evol@" + "0" * 40)


def test_instruct_points_to_pyx(empty_hub):
    put(empty_hub, "me/points", "pyx_r.jsonl", [FAULT])
    with pytest.raises(DataError, match="the authors' data are pyx: and pyx-r:"):
        ingredients(Corpus.load(open_run("demo")), "instruct:me/points")


def test_nothing_readable_is_an_error_with_the_reasons(empty_hub):
    put(empty_hub, "me/bad", "pyx.jsonl", [CUT_OFF])
    with pytest.raises(DataError, match="no row that can be used: .*the program is no Python"):
        read_samples("pyx", "me/bad")


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("gated", "is gated: accept its terms on its page, then set HF_TOKEN"),
        ("private", "is not on the hub, or is private"),
        ("limited", "is limited for now"),
    ],
)
def test_faults_of_data_sets_are_one_line(empty_hub, fault, line, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    folder = put(
        empty_hub, f"me/{fault}", "train.jsonl", [{"instruction": "Add.", "output": "a + b"}]
    )
    (folder / ".fault").write_text(fault)
    for read in (dataset_commit, lambda name: list(dataset_rows(name))):
        with pytest.raises(DataError, match=line) as caught:
            read(f"me/{fault}")
        assert "\n" not in str(caught.value) and f"me/{fault}" in str(caught.value)


def test_offline_names_the_command(empty_hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError, match="'hf download me/none --repo-type dataset --local-dir FOLDER'"
    ):
        dataset_commit("me/none")


def test_pushed_data_set_loads_again(empty_hub, tmp_path, monkeypatch):
    from datasets import load_dataset

    monkeypatch.setenv("HF_TOKEN", "good")
    open_run("demo")
    runs = Path(open_run("demo").path).parent
    arguments = ["dataset", str(tmp_path / "pyx"), "--run", "demo", "--home", str(runs)]
    pushed = CliRunner().invoke(
        app, [*arguments, "--benchmarks", "", "--push", "me/pyx", "--private"]
    )
    assert pushed.exit_code == 0, pushed.output
    assert pushed.output.strip().endswith("/datasets/me/pyx")
    for config in ("pyx", "pyx-execution", "pyx-monologue", "pyx-r"):
        assert len(load_dataset("me/pyx", config, split="train")) > 0
    again = CliRunner().invoke(app, ["push", str(tmp_path / "pyx"), "me/pyx"])
    assert again.exit_code == 0, again.output


def test_pushed_checkpoint_loads_again(empty_hub, tmp_path, monkeypatch):
    from transformers import LlamaConfig, LlamaForCausalLM

    from semcoder.llm import load_model, load_tokenizer

    monkeypatch.setenv("HF_TOKEN", "good")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    tokenizer = load_tokenizer("smollm2-135m-instruct")
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape, **heads))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("---\nlibrary_name: transformers\n---\n# tiny\n")
    pushed = CliRunner().invoke(app, ["push", str(tmp_path), "me/tiny"])
    assert pushed.exit_code == 0, pushed.output
    loaded, _ = load_model("me/tiny")
    assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in model.parameters())


def test_card_is_valid_for_the_hub(empty_hub, tmp_path):
    from huggingface_hub import DatasetCard

    from semcoder.dataset import export

    card = DatasetCard.load(export(open_run("demo"), tmp_path / "pyx") / "README.md")
    assert card.data.license == "other"
    assert [config["config_name"] for config in card.data.to_dict()["configs"]] == [
        "pyx",
        "pyx-execution",
        "pyx-monologue",
        "pyx-r",
    ]
