"""Every recipe for GPUs, whole and small, on CPUs: its stages, its engine, its launcher's twin.

    python .ci/rehearse.py [RECIPE ...] [--first-day] [--home FOLDER]

Models and data come from a hub on this machine (`hub_server.py`, `make_repositories.py`). Each
recipe is the real one with other sizes, limits and devices; every change is printed. Recipes that
go on from the run `paper` make that run first. Run it where vLLM is: `make rehearse` does so.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import yaml
from hub_server import Hub, serving
from make_repositories import make_repositories

from semcoder.prompts import TEMPLATE

PROJECT = Path(__file__).parent.parent
RECIPES = PROJECT / "nbs" / "recipes"

# What the sizes in a recipe become, and what a stage has in addition because its default is large.
SMALL = {
    "synthesis": {
        "programs": 24,
        "inputs_per_program": 2,
        "teacher": "smollm2-135m-instruct",
        "teacher_programs": 2,
        "retries": 0,
        "max_new_tokens": 32,
        "input_model": "smollm2-135m-instruct",
        "engine": "transformers",
    },
    "monologue": {"per_problem": 1},
    "training": {"global_batch_size": 6, "packed_length": 2048, "max_length": 1024},
    "evaluation": {
        "limit": 2,
        "humaneval_limit": 2,
        "max_new_tokens": 16,
        "code_max_new_tokens": 16,
        "inference_batch_size": 4,
    },
    "refinement": {
        "limit": 2,
        "rounds": 2,
        "num_self_checks": 1,
        "max_new_tokens": 16,
        "check_max_new_tokens": 16,
        "inference_batch_size": 4,
    },
    "ablations": {
        "limit": 2,
        "cruxeval_limit": 2,
        "seeds": "0",
        "global_batch_size": 4,
        "packed_length": 2048,
        "token_budget": 4000,
        "samples": 4,
        "max_new_tokens": 8,
        "inference_batch_size": 4,
    },
}
LIMITS = {"synthesis": 40, "debugging": 8, "training": 12}
TWINS = {"fsdp8": "fsdp2_cpu", "one_gpu": "one_cpu"}
CHAT_TEMPLATE = "### A question\n{question}\n### Its answer\n{start}\n"


class Failure(Exception):
    """A command that failed; the text is the last line that it printed."""


@dataclass(frozen=True)
class Step:
    """One call of `semcoder reproduce`: a recipe, by default in a run of its name."""

    recipe: str
    run: str = ""
    only: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """The steps of a recipe. `source` is the run whose rows it takes, `runs` what must be there."""

    steps: tuple[Step, ...]
    source: str = ""
    needs: tuple[str, ...] = ()


def _fine_tune(name: str) -> Rehearsal:
    """A recipe that trains the checkpoint of `paper` further, and asks what came of it."""
    steps = (Step(name, only="training"), Step(name, only="evaluation"))
    return Rehearsal(steps, source="paper", needs=("paper",))


def _refinement(name: str, run: str) -> Rehearsal:
    return Rehearsal((Step(name, run, "refinement"),), needs=(run,))


TABLE1 = tuple(Step("table1", only=stage) for stage in ("synthesis", "monologue", "evaluation"))
REHEARSALS = {
    "gpu": Rehearsal((Step("gpu"),)),
    "paper": Rehearsal((Step("paper"),)),
    "refine": _refinement("refine", "paper"),
    "refine-self-check": _refinement("refine-self-check", "paper"),
    "pyxr": _fine_tune("pyxr"),
    "refine-pyxr": _refinement("refine-pyxr", "pyxr"),
    "pyxr-traces": _fine_tune("pyxr-traces"),
    "refine-traces": _refinement("refine-traces", "pyxr-traces"),
    "table1": Rehearsal(TABLE1),
}


@dataclass
class Stage:
    """The folder of a rehearsal, its hub, and what has been played so far."""

    home: Path
    hub: Hub
    played: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.home / "runs"

    def environment(self) -> dict[str, str]:
        """The variables of a user of this hub, without a token but for the gated model."""
        own = {key: text for key, text in os.environ.items() if not key.startswith("HF_")}
        return own | {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.home / "huggingface"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "good",
            "PYTHONPATH": os.pathsep.join([str(PROJECT), *own.get("PYTHONPATH", "").split()]),
            "SEMCODER_HOME": str(self.runs),
            "TOKENIZERS_PARALLELISM": "false",
        }

    def semcoder(self, *arguments: str) -> None:
        """Call the command line and show what it prints. `Failure` with its last line."""
        print("$ semcoder", *arguments)
        command = [sys.executable, "-c", "from semcoder.cli import app; app()", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        last = ""
        with subprocess.Popen(command, env=self.environment(), **pipes) as child:
            for line in child.stdout:
                print(line, end="")
                last = line.strip() or last
        if child.returncode:
            raise Failure(last)


def changes(stage: str, section: dict, home: Path) -> Iterator[tuple[str, object]]:
    """What a section of a recipe gets instead of its own values."""
    for key, value in SMALL.get(stage, {}).items():
        if key in section:
            yield key, value
    if stage in LIMITS:
        yield "limit", LIMITS[stage]
    if section.get("device") == "cuda":
        yield "device", "cpu"
    if "accelerate_config" in section:
        twin = TWINS[section["accelerate_config"]]
        known = PROJECT / "nbs" / "accelerate" / f"{twin}.yaml"
        yield "accelerate_config", twin if known.is_file() else str(home / f"{twin}.yaml")
    if section.get("templates") == "":
        yield "templates", str(home / "templates")
    if section.get("accelerate_config") == "fsdp8" and "factors" in section:
        yield "factors", "direction"  # three variants; the recipe `gpu` makes those of all factors


def small(recipe: str, home: Path) -> Path:
    """Write the small recipe of a real one, and print what was changed; its path."""
    sections = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())
    if "training" in sections and "synthesis" in sections:
        sections.setdefault("debugging", {})
    for stage, section in sorted(sections.items()):
        for key, value in changes(stage, dict(section), home):
            if section.get(key) != value:
                print(f"  {recipe}: {stage}.{key}: {section.get(key, 'the default')} -> {value}")
            section[key] = value
    path = home / "recipes" / f"{recipe}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(sections))
    return path


def prepare(home: Path) -> None:
    """Write what a user brings along: words of two models, and a launcher for one CPU."""
    one = yaml.safe_load((PROJECT / "nbs" / "accelerate" / "one_gpu.yaml").read_text())
    (home / "one_cpu.yaml").write_text(yaml.safe_dump(one | {"use_cpu": True}))
    (home / "templates").mkdir(exist_ok=True)
    words = replace(TEMPLATE, name="rehearsal")
    for name, turns in {"magicoder": CHAT_TEMPLATE, "semcoder": ""}.items():
        content = asdict(replace(words, chat_template=turns))
        (home / "templates" / f"{name}.yaml").write_text(yaml.safe_dump(content))


def copy_rows(runs: Path, source: str, target: str) -> None:
    """Copy the finished stages of a run to another, all before training."""
    for stage in ("synthesis", "monologue", "debugging"):
        if not (runs / target / stage).exists():
            shutil.copytree(runs / source / stage, runs / target / stage)


def play(stage: Stage, name: str) -> None:
    """Play a recipe, after those that it needs; note what it took, or why it failed."""
    if name in stage.played:
        return
    rehearsal = REHEARSALS[name]
    for needed in rehearsal.needs:
        play(stage, needed)
    print(f"\n== {name}")
    began = time.monotonic()
    try:
        perform(stage, name, rehearsal)
        stage.played[name] = f"{time.monotonic() - began:.0f} seconds"
    except (Failure, OSError) as error:
        stage.played[name] = f"FAILED after {time.monotonic() - began:.0f} seconds: {error}"


def perform(stage: Stage, name: str, rehearsal: Rehearsal) -> None:
    """All steps of a recipe, to its tables and figures. `Failure` names the first that fails."""
    for needed in rehearsal.needs:
        if stage.played[needed].startswith("FAILED"):
            raise Failure(f"it goes on from {needed}, which failed")
    if rehearsal.source:
        copy_rows(stage.runs, rehearsal.source, name)
    for step in rehearsal.steps:
        reproduce(stage, step)
    stage.semcoder("figures", "--run", rehearsal.steps[0].run or name)


def reproduce(stage: Stage, step: Step) -> None:
    """Reproduce a small recipe."""
    path = small(step.recipe, stage.home)
    options = [
        *(["--run", step.run] if step.run else []),
        *(["--only", step.only] if step.only else []),
    ]
    stage.semcoder("reproduce", str(path), *options)


def first_day(stage: Stage) -> None:
    """The commands of a new user, who has installed the library: doctor, plan, reproduce."""
    print("\n== a first day")
    began = time.monotonic()
    try:
        stage.semcoder("doctor")
        stage.semcoder("plan", "gpu")
        stage.played["a first day"] = f"{time.monotonic() - began:.0f} seconds, and then gpu"
    except Failure as error:
        stage.played["a first day"] = f"FAILED: {error}"
    play(stage, "gpu")


@contextmanager
def standing(home: Path | None) -> Iterator[Stage]:
    """A rehearsal's folder with its hub; a temporary one unless `home` names it."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as spare:
        folder = home or Path(spare)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder)
        if not (folder / "hub").is_dir():
            make_repositories(folder / "hub")
        with serving(folder / "hub") as hub:
            yield Stage(folder, hub)


def main(names: list[str], home: Path | None, newcomer: bool) -> int:
    """Play recipes, print what each took, and count the failures."""
    began = time.monotonic()
    with standing(home) as stage:
        if newcomer:
            first_day(stage)
        for name in names:
            play(stage, name)
    print(f"\n== {time.monotonic() - began:.0f} seconds")
    for name, result in stage.played.items():
        print(f"{name:18} {result}")
    return sum(result.startswith("FAILED") for result in stage.played.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=", ".join(REHEARSALS))
    parser.add_argument("--first-day", action="store_true", help="a new user's first commands")
    parser.add_argument("--home", type=Path, help="keep the runs here, and go on from those there")
    given = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    unknown = [name for name in given.recipes if name not in REHEARSALS]
    if unknown:
        sys.exit(f"no recipe {unknown[0]!r}: use {', '.join(REHEARSALS)}")
    chosen = given.recipes or list(REHEARSALS)
    sys.exit(min(1, main(chosen, given.home, given.first_day)))
