"""Resolve the versions again, where uv is installed: lock.py [--lock].

.ci/versions.txt is what all extras get together on Linux, so the newest versions that the pinned
vLLM allows, for each version of Python. requirements.lock is what the tests install of it; with
`--lock` only this file is written.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13")
HEAD = """\
# The versions that the tests run under: those of the GPU environment (all extras, vLLM included),
# written by .ci/lock.py. A constraints file:
#     pip install -c .ci/versions.txt -e '.[notebooks,seeds]'
# vLLM 0.32 is what keeps transformers below 5.20.
"""
LOCK_HEAD = """\
# What the tests install, for Python 3.11 and newer, written by .ci/lock.py --lock
# from the versions in .ci/versions.txt. It is used by `make reproduce LOCKED=1`, the Dockerfile and
# Binder:
#     pip install -r requirements.lock && pip install --no-deps -e .
# torch names its CUDA libraries by their exact versions, and its build for CPUs needs none, so they
# are left out here.
"""
TESTED = ("notebooks", "dev", "seeds", "cluster", "demo")  # the extras
CUDA = re.compile(r"(nvidia-|cuda-|triton\b)")


def versions(python: str, file: Path) -> dict[str, str]:
    """Package -> version of the environment with all extras under this Python.

    Versions that are in `file` are preferred.
    """
    what = ["setup.py", "--all-extras", "--refresh-package", "semcoder", "--output-file", str(file)]
    where = ["--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    subprocess.run(command + what + where, check=True, stdout=subprocess.DEVNULL)
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", file.read_text(), re.M))


def merged(resolved: dict[str, dict[str, str]]) -> list[str]:
    """The lines of a constraints file; a version that not every Python gets says which ones do."""
    lines = []
    for name in sorted(set().union(*resolved.values())):
        found = {
            python: packages[name] for python, packages in resolved.items() if name in packages
        }
        if len(set(found.values())) == 1:
            lines.append(f"{name}=={found.popitem()[1]}")
        else:
            lines += [
                f"{name}=={version} ; python_version == '{python}'"
                for python, version in found.items()
            ]
    return lines


def locked() -> list[str]:
    """The lines of requirements.lock: every package of the tested extras, on every platform."""
    command = ["uv", "pip", "compile", "setup.py", "--universal", "--python-version", "3.11"]
    command += ["--quiet", "--no-header", "--no-annotate", "-c", ".ci/versions.txt"]
    command += [f"--extra={name}" for name in TESTED]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if not CUDA.match(line)]


def write_versions() -> None:
    """Write .ci/versions.txt."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "versions.txt")
        versions(
            "3.12", file
        )  # a first choice, so that each Python departs from it only where it must
        lines = merged({python: versions(python, file) for python in PYTHONS})
    Path(".ci/versions.txt").write_text(HEAD + "\n".join(lines) + "\n")
    print(f"{len(lines)} versions in .ci/versions.txt", file=sys.stderr)


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    if "--lock" not in sys.argv:
        write_versions()
    lines = locked()
    Path("requirements.lock").write_text(LOCK_HEAD + "\n".join(lines) + "\n")
    print(f"{len(lines)} versions in requirements.lock", file=sys.stderr)
