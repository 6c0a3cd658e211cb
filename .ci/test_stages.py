"""What `semcoder reproduce` executes of a stage's notebook: its definitions and its work."""

import subprocess
import sys
from pathlib import Path

import pytest

from semcoder.reproduce import chain, without_lessons


@pytest.mark.parametrize("notebook", chain(), ids=lambda path: path.stem)
def test_stage_defines_what_it_uses(notebook: Path, tmp_path: Path):
    """No cell that is executed takes a name from a lesson that is left out."""
    cells = without_lessons(notebook)["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    script = tmp_path / f"{notebook.stem}.py"
    script.write_text("\n".join(texts))
    options = ["--isolated", "--no-cache", "--select", "F821", "--config", 'builtins = ["display"]']
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *options, str(script)],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
