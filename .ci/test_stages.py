"""What `semcoder reproduce` executes of a stage's notebook: definitions, parameters and work."""

import ast
import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from semcoder.core import Config
from semcoder.reproduce import stage_notebooks, without_lessons


def parameters(notebook: Path) -> dict[str, object]:
    """The names and values in the notebook's cell tagged `parameters`."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    [cell] = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    values = {}
    for statement in ast.parse("".join(cell["source"])).body:
        assert isinstance(statement, ast.Assign) and len(statement.targets) == 1
        values[ast.unparse(statement.targets[0])] = ast.literal_eval(statement.value)
    return values


def config_class(notebook: Path) -> type[Config]:
    """The configuration that the notebook's module defines."""
    stage = notebook.stem.partition("_")[2]
    return getattr(importlib.import_module(f"semcoder.{stage}"), f"{stage.capitalize()}Config")


@pytest.mark.parametrize("notebook", stage_notebooks(), ids=lambda path: path.stem)
def test_parameters_are_the_fields_of_the_configuration(notebook: Path):
    """The parameters cell names each field of the stage's configuration once, and `run`."""
    values, config = parameters(notebook), config_class(notebook)
    names = [field.name for field in dataclasses.fields(config)]
    assert sorted(name for name in values if name != "run") == sorted(names)
    config.from_params(values)


@pytest.mark.parametrize("notebook", stage_notebooks(), ids=lambda path: path.stem)
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
