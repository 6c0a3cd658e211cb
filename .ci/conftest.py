"""For the tests of the hub: one hub a session, in this process and in others.

Clients of the hub read its address when they are imported, so the environment is set here first.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from hub_server import Hub

PROJECT = Path(__file__).parent.parent
HOME = Path(tempfile.mkdtemp(prefix="semcoder-hub-"))
SERVER = Hub(HOME / "hub")


def user(home: Path) -> dict[str, str]:
    """The variables of a user of the hub: no token, and caches and runs below `home`."""
    return {
        "HF_ENDPOINT": SERVER.url,
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path]),
        "SEMCODER_HOME": str(home / "runs"),
        "TOKENIZERS_PARALLELISM": "false",
    }


for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
    del os.environ[name]
os.environ |= user(HOME)


@pytest.fixture(scope="session", autouse=True)
def served() -> Iterator[Hub]:
    """The hub of the session, with all repositories of make_repositories.py."""
    from make_repositories import make_repositories

    make_repositories(SERVER.root)
    threading.Thread(target=SERVER.serve_forever, daemon=True).start()
    yield SERVER
    SERVER.shutdown()
    shutil.rmtree(HOME)


@pytest.fixture
def hub(served: Hub) -> Hub:
    """The hub, and how it is asked: without a token."""
    return served


@pytest.fixture
def empty_hub(served: Hub, tmp_path: Path) -> Iterator[Hub]:
    """The same hub while it serves an empty folder."""
    before = served.root
    served.root = tmp_path / "hub"
    yield served
    served.root = before


@pytest.fixture
def new_user(served: Hub, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs Python as another user: `new_user("print(1)", HF_HUB_OFFLINE="1")`."""

    def run(code: str, **variables: str) -> subprocess.CompletedProcess:
        own = os.environ | user(tmp_path) | variables
        command = [sys.executable, "-c", dedent(code)]
        options = {"capture_output": True, "text": True, "timeout": 600, "check": True}
        return subprocess.run(command, env=own, **options)

    return run
