"""`import semcoder` is light, and the names it offers are those of its modules."""

import subprocess
import sys

import pytest

import semcoder


@pytest.mark.parametrize("name", semcoder.__all__)
def test_name_is_that_of_its_module(name):
    thing = getattr(semcoder, name)
    assert thing.__name__ == name and thing.__module__.startswith("semcoder.")


def test_import_loads_nothing_else():
    listing = "import sys, semcoder; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True)
    modules = done.stdout.split()
    assert "semcoder" in modules and "semcoder.core" not in modules, done.stderr


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'tracer'"):
        semcoder.tracer  # noqa: B018
