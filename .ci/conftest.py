"""For the tests of the hub: one hub a session, and processes with an environment of their own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

import pytest
from hub_server import Hub, serving
from make_repositories import make_repositories

PROJECT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Ended:
    """What a process left: its exit status, what it printed, and its errors."""

    status: int
    stdout: str
    stderr: str

    @property
    def line(self) -> str:
        """The one line of an error that the command line shows."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, f"not one line that says what is wrong:\n{self.stderr}"
        return lines[0].removeprefix("error: ")


@pytest.fixture(scope="session")
def hub(tmp_path_factory) -> Iterator[Hub]:
    """A hub with all repositories of make_repositories.py, for the whole session."""
    root = tmp_path_factory.mktemp("hub")
    make_repositories(root)
    with serving(root) as server:
        yield server


def environment(hub: Hub, home: Path) -> dict[str, str]:
    """The variables of a user of this hub: no token, and caches and runs below `home`."""
    own = {name: text for name, text in os.environ.items() if not name.startswith(("HF_", "HUG"))}
    return own | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": str(PROJECT),
        "SEMCODER_HOME": str(home / "runs"),
        "TOKENIZERS_PARALLELISM": "false",
    }


def _runner(hub: Hub, home: Path) -> Callable[..., Ended]:
    """Runs Python as a user of the hub whose files are below `home`.

    A `SemcoderError` of the code becomes `error: ` and its text, as on the command line.
    """

    def run(code: str, *arguments: str, **variables: str) -> Ended:
        script = home / "script.py"
        script.write_text(WRAPPED.format(code=indent(dedent(code), " " * 8)))
        return _run([str(script), *arguments], hub, home, variables)

    return run


@pytest.fixture
def python(hub: Hub, tmp_path: Path) -> Callable[..., Ended]:
    """Runs Python as a new user of the hub: `python(code, "argument", HF_TOKEN="good")`."""
    return _runner(hub, tmp_path)


@pytest.fixture(scope="module")
def module_python(hub: Hub, tmp_path_factory) -> Callable[..., Ended]:
    """The same for what several tests look at."""
    return _runner(hub, tmp_path_factory.mktemp("user"))


@pytest.fixture
def semcoder(hub: Hub, tmp_path: Path) -> Callable[..., Ended]:
    """Runs the command line as a new user of the hub: `semcoder("evaluate", ...)`."""

    def run(*arguments: str, **variables: str) -> Ended:
        command = ["-c", "from semcoder.cli import app; app()", *arguments]
        return _run(command, hub, tmp_path, variables)

    return run


WRAPPED = """import sys
from semcoder.core import SemcoderError

def main():
    try:
{code}
    except SemcoderError as error:
        print(f"error: {{error}}", file=sys.stderr)

if __name__ == "__main__":
    main()
"""


def _run(command: list[str], hub: Hub, home: Path, variables: dict[str, str]) -> Ended:
    """Run Python in an environment of its own, which `variables` change."""
    own = environment(hub, home) | variables
    command = [sys.executable, *command]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=600)
    return Ended(done.returncode, done.stdout, done.stderr)
