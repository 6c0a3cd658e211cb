"""Kills a run at random moments until it has died often enough, and compares it with one that nobody disturbed: kills.py [--kills 20] [--seed 0] [--home FOLDER]

Each stage gets its share of the kills. Four of five kill every process of the run at once with signal 9, the fifth kills the runner alone, whose kernels and
sandboxes must then end themselves. Three times the run's folder is moved elsewhere, as to another machine, and goes on there, the second time while a model is
evaluated, the third while variants are made. In the end every Parquet file of both runs must be the same, byte for byte.
"""
import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

RECIPE = Path(__file__).with_name("kills.yaml")
STAGES = 8


def start(home: Path, run: str) -> subprocess.Popen:
    command = ["-c", "from semcoder.cli import app; app()", "reproduce", str(RECIPE), "--run", run, "--home", str(home)]
    return subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stage_of(line: str) -> int:
    "The number of the stage that a line of the runner announces as begun; 0 for other lines."
    return int(line[1 : line.index("/")]) if line.startswith("[") and "done before" not in line else 0


def kill(runner: subprocess.Popen, alone: bool) -> int:
    "Kill the runner, and all below it unless `alone`; how many processes that were."
    family = [psutil.Process(runner.pid), *psutil.Process(runner.pid).children(recursive=True)]
    for process in family[:1] if alone else family:
        try: process.kill()
        except psutil.NoSuchProcess: pass
    runner.wait()
    _, left = psutil.wait_procs(family, timeout=30)
    assert not left, f"these outlived the runner: {left}"
    return 1 if alone else len(family)


def undisturbed(home: Path) -> list[float]:
    "Run everything once; the seconds of each stage."
    runner, began, said = start(home, "whole"), [], []
    for line in runner.stdout:
        said.append(line)
        if stage_of(line): began.append(time.monotonic())
    assert runner.wait() == 0 and len(began) == STAGES, "".join(said)
    return [b - a for a, b in zip(began, [*began[1:], time.monotonic()])]


def disturb(home: Path, stage: int, wait: float, alone: bool) -> str:
    "Go on with the disturbed run, and kill it `wait` seconds after `stage` (or a later one) has begun."
    runner = start(home, "killed")
    reached = next((found for line in runner.stdout if (found := stage_of(line)) >= stage), 0)
    assert reached, f"the disturbed run ended by itself with {runner.wait()}"
    time.sleep(wait)
    if runner.poll() is not None: return f"stage {reached}, {wait:.1f} s: it was through already"
    return f"stage {reached}, {wait:.1f} s: {kill(runner, alone)} processes killed"


def tables(run: Path) -> dict[str, bytes]:
    "The Parquet files of a run by their paths in it, in which the run's own name is left out."
    return {str(path.relative_to(run)).replace(run.name, "*"): path.read_bytes() for path in sorted(run.rglob("*.parquet"))}


def main(kills: int, seed: int, home: Path) -> None:
    seconds, rng, died, moments, there = undisturbed(home), random.Random(seed), 0, 0, home
    moves = [round(kills * share) for share in (0.2, 0.55, 0.8)]
    print(f"undisturbed: {sum(seconds):.0f} s, stages {' '.join(f'{s:.0f}' for s in seconds)}; seed {seed}", flush=True)
    while died < kills:
        stage, moments = 1 + moments * STAGES // kills % STAGES, moments + 1
        if moves and died >= moves[0] and (there / "killed").exists():
            there = Path(shutil.move(there / "killed", home / f"elsewhere{moves.pop(0)}" / "killed")).parent
        said = disturb(there, stage, rng.uniform(0, 0.9 * seconds[stage - 1]), alone=died % 5 == 4)
        died += "killed" in said
        print(said, flush=True)
        if "through" in said: shutil.rmtree(there / "killed")
    last = start(there, "killed")
    assert last.wait() == 0, last.stdout.read()
    whole, killed = tables(home / "whole"), tables(there / "killed")
    assert whole.keys() == killed.keys(), f"other files: {whole.keys() ^ killed.keys()}"
    differing = [name for name in whole if whole[name] != killed[name]]
    assert not differing, f"these differ: {differing}"
    print(f"{died} kills and three moves, and {len(whole)} Parquet files are the same byte for byte")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    home = given.home or Path(tempfile.mkdtemp())
    try: main(given.kills, given.seed, home)
    finally:
        if not given.home: shutil.rmtree(home, ignore_errors=True)
