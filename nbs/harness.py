"""Measures contestants, each in a fresh interpreter, turn by turn; for the notebooks of chapter 9.

A contestant is a function that gets ready and returns the work; only the work is measured. Its
source is sent to a fresh interpreter, which runs this file, so its imports are inside it.
"""

import ctypes
import json
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from glob import glob
from typing import TYPE_CHECKING, Any

# The interpreter of a contestant should be small. What only a notebook needs is imported where it
# is used.
if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image
    from matplotlib.figure import Figure

MEASURES = ("seconds", "cpu", "faults", "MB")
ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # a thread that waits sleeps
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def alone(contestant: partial, python: str = sys.executable) -> tuple[Any, dict[str, float]]:
    """What a contestant's work returned in a fresh interpreter, and what it took.

    That is: seconds, CPU seconds, page faults, and the largest resident memory of the interpreter
    and its living children in MB, imports included. Raises RuntimeError where the contestant fails.
    """
    import inspect
    import subprocess
    import tempfile

    name = contestant.func.__name__
    job = {
        "source": inspect.getsource(contestant.func),
        "name": name,
        "options": contestant.keywords,
    }
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-P", __file__],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | QUIET,
        )
    if done.returncode or not done.stdout:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-1500:]}")
    answer, *used = json.loads(done.stdout.splitlines()[-1])
    return answer, dict(zip(MEASURES, used))


def take_turns(
    contestants: dict[str, partial], rounds: Iterable[int], pythons: dict[str, str] | None = None
) -> list[dict]:
    """A row a round and contestant, in the order in which they ran: the answer and what it took.

    `pythons` names the interpreters of contestants that have an environment of their own.
    """
    rows = []
    for number in rounds:
        for name, contestant in contestants.items():
            answer, used = alone(contestant, (pythons or {}).get(name, sys.executable))
            rows.append({"contestant": name, "round": number, "answer": answer, **used})
    return rows


def by_round(rows: list[dict], measure: str) -> "pd.DataFrame":
    """A line a round, a column a contestant, in the contestants' order."""
    import pandas as pd

    names = list(dict.fromkeys(row["contestant"] for row in rows))
    return pd.DataFrame(rows).pivot(index="round", columns="contestant", values=measure)[names]


def ratios(table: "pd.DataFrame", base: str = "") -> "pd.DataFrame":
    """Each round's values over those of the contestant `base`, by default the first."""
    return table.div(table[base or table.columns[0]], axis=0)


def spread(table: "pd.DataFrame") -> "pd.Series":
    """The median of the rounds with the smallest and the largest, as text."""
    if len(table) == 1:
        return table.iloc[0].map("{:.3g}, one round".format)
    return table.apply(lambda c: f"{c.median():.3g} ({c.min():.3g} to {c.max():.3g})")


def version(package: str) -> str:
    """The installed version of a package, or 'missing'."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(package)
    except PackageNotFoundError:
        return "missing"


def machine(*packages: str, **facts: Any) -> "pd.Series":
    """`facts` of a measurement, the machine, its load as the measurement begins, and versions."""
    import platform
    from pathlib import Path

    import pandas as pd

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return pd.Series(
        facts
        | {
            "processor": [*names, platform.machine()][0],
            "cores": len(os.sched_getaffinity(0)),
            "load at start": round(os.getloadavg()[0], 1),
            "kernel": platform.release(),
            "Python": platform.python_version(),
        }
        | {package: version(package) for package in packages},
        dtype=object,
    )


@contextmanager
def canvas(height: float) -> "Iterator[Figure]":
    """An empty figure of column width, `height` inches high; it is drawn on inside the block."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from semcoder.figures import STYLE

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        figure = Figure(figsize=(3.4, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def small(png: bytes, width: int = 680) -> "Image":
    """A picture in 64 colours, which keeps a notebook small."""
    import io

    from IPython.display import Image
    from PIL import Image as Picture

    data = io.BytesIO()
    picture = Picture.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(64).save(data, "png", optimize=True)
    return Image(data.getvalue(), width=min(width, picture.width))


def keep(out: str, contents: dict[str, bytes | str]) -> str:
    """Writes files into the folder `out` of the project, none where it is empty; says so."""
    from semcoder.core import project_dir, write_atomic

    if not out:
        return "not kept"
    for name, content in contents.items():
        write_atomic(project_dir() / out / name, content)
    return f"kept in {out}/"


def _descendants(pid: int) -> list[int]:
    """The process and all living ones below it."""
    pids = [pid]
    for parent in pids:
        for task in glob(f"/proc/{parent}/task/*/children"):
            pids += map(int, _read(task).split())
    return pids


def _read(path: str) -> str:
    """A file of /proc; empty when its process has just ended."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _usage() -> tuple[float, int]:
    """CPU seconds and page faults of this process, of its ended and of its living children."""
    own, ended = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    faults = own.ru_minflt + ended.ru_minflt
    for pid in _descendants(os.getpid())[1:]:
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        faults += sum(map(int, fields[7:9]))
        cpu += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return cpu, faults


def _peak_mb() -> float:
    """The peaks of the processes together; memory that they share is counted for each."""
    kilobytes = 0
    for pid in _descendants(os.getpid()):
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith("VmHWM"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024


def _wait_for_children(seconds: float) -> None:
    """A process is credited with what a child used only when it waits for it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return
    sys.exit("it left processes behind that do not end")


def _measure() -> None:
    """Reads a contestant, lets it work, writes what `alone` returns.

    Orphans are adopted, so that the children of a killed worker count as well.
    """
    import signal

    ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    job = json.load(sys.stdin)
    names: dict[str, Any] = {}
    exec(job["source"], names)
    work = names[job["name"]](**job["options"])
    (cpu, faults), start = _usage(), time.monotonic()
    answer = work()
    seconds = time.monotonic() - start
    if not getattr(work, "keeps_processes", False):  # vLLM's stay alive until they are killed
        _wait_for_children(20)
    cpu_after, faults_after = _usage()
    used = [seconds, cpu_after - cpu, faults_after - faults, _peak_mb()]
    print(json.dumps([answer, *used]), flush=True)
    for pid in reversed(_descendants(os.getpid())[1:]):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    _measure()
