"""Kills a run at random moments until it has died often enough, and compares it with one that
nobody disturbed: kills.py [--kills 20] [--seed 0] [--home FOLDER]

Each stage gets its share of the kills. Four of five kill every process of the run at once with
signal 9, the fifth kills the runner alone, whose kernels and sandboxes must then end themselves.
Three times the home with its store and its run is moved elsewhere, as to another machine, and goes
on there, the second time while a model is evaluated, the third while variants are made. In the end
both runs must lead to folders of the same names, and every Parquet file of both must be the same,
byte for byte.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

RECIPE = Path(__file__).with_name("kills.yaml")
STAGES = 9


def start(home: Path) -> subprocess.Popen:
    """Start the run of a home. Each run has a home of its own, else they would share all rows."""
    arguments = ["reproduce", str(RECIPE), "--run", "small", "--home", str(home)]
    command = [sys.executable, "-c", "from semcoder.cli import app; app()", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stage_of(line: str) -> int:
    """The number of the stage that a line of the runner announces as begun; 0 for other lines."""
    if not line.startswith("[") or "done before" in line:
        return 0
    return int(line[1 : line.index("/")])


def kill(runner: subprocess.Popen, alone: bool) -> int:
    """Kill the runner, and all below it unless `alone`; how many processes that were."""
    family = [psutil.Process(runner.pid), *psutil.Process(runner.pid).children(recursive=True)]
    for process in family[:1] if alone else family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    runner.wait()
    _, left = psutil.wait_procs(family, timeout=30)
    assert not left, f"these outlived the runner: {left}"
    return 1 if alone else len(family)


def undisturbed(home: Path) -> list[float]:
    """Run everything once; the seconds of each stage."""
    runner, began, lines = start(home), [], []
    for line in runner.stdout:
        lines.append(line)
        if stage_of(line):
            began.append(time.monotonic())
    assert runner.wait() == 0 and len(began) == STAGES, "".join(lines)
    return [b - a for a, b in zip(began, [*began[1:], time.monotonic()])]


def disturb(home: Path, stage: int, wait: float, alone: bool) -> str:
    """Go on with the run, and kill it `wait` seconds after `stage` (or a later one) has begun."""
    runner = start(home)
    reached = next((begun for line in runner.stdout if (begun := stage_of(line)) >= stage), 0)
    assert reached, f"the disturbed run ended by itself with {runner.wait()}"
    time.sleep(wait)
    if runner.poll() is not None:
        return f"stage {reached}, {wait:.1f} s: it was through already"
    return f"stage {reached}, {wait:.1f} s: {kill(runner, alone)} processes killed"


def tables(home: Path) -> dict[str, bytes]:
    """The Parquet files that the run leads to, by the folder in the store and the path in it."""
    content = {}
    for entry in sorted((home / "small").iterdir()):
        folder = entry.resolve()
        for path in sorted(folder.rglob("*.parquet")):
            content[f"{folder.name}/{path.relative_to(folder)}"] = path.read_bytes()
    return content


def main(kills: int, seed: int, home: Path) -> None:
    """Disturb a run until it has died `kills` times, and compare it with the undisturbed one."""
    seconds, rng, died, moments = undisturbed(home / "whole"), random.Random(seed), 0, 0
    there = home / "disturbed"
    moves = [round(kills * share) for share in (0.2, 0.55, 0.8)]
    each = " ".join(f"{s:.0f}" for s in seconds)
    print(f"undisturbed: {sum(seconds):.0f} s, stages {each}; seed {seed}", flush=True)
    while died < kills:
        stage, moments = 1 + moments * STAGES // kills % STAGES, moments + 1
        if moves and died >= moves[0] and there.exists():
            there = Path(shutil.move(there, home / f"elsewhere{moves.pop(0)}"))
        event = disturb(there, stage, rng.uniform(0, 0.9 * seconds[stage - 1]), died % 5 == 4)
        died += "killed" in event
        print(event, flush=True)
        if "through" in event:
            shutil.rmtree(there)
    last = start(there)
    assert last.wait() == 0, last.stdout.read()
    whole, killed = tables(home / "whole"), tables(there)
    assert whole.keys() == killed.keys(), f"other files: {whole.keys() ^ killed.keys()}"
    differing = [name for name in whole if whole[name] != killed[name]]
    assert not differing, f"these differ: {differing}"
    folders = [sorted(os.listdir(place / "store")) for place in (home / "whole", there)]
    assert folders[0] == folders[1], f"other folders: {folders}"
    print(
        f"{died} kills and three moves, and {len(whole)} Parquet files are the same byte for byte"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--home", type=Path)
    arguments = parser.parse_args()
    home = arguments.home or Path(tempfile.mkdtemp())
    try:
        main(arguments.kills, arguments.seed, home)
    finally:
        if not arguments.home:
            shutil.rmtree(home, ignore_errors=True)
