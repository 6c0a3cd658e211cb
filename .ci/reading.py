"""Checks what readers rely on: the README's example runs as it is written, and every public name of
the library has a docstring."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEFINITIONS = (ast.ClassDef, ast.FunctionDef)


def public(body: list[ast.stmt], kinds: tuple) -> Iterator:
    """The public classes and functions among statements."""
    return (node for node in body if isinstance(node, kinds) and not node.name.startswith("_"))


def has_docstring(owner: ast.ClassDef, name: str, classes: dict[str, ast.ClassDef]) -> bool:
    """Whether a method has a docstring, its own or that of the method which it overrides."""
    for method in public(owner.body, (ast.FunctionDef,)):
        if method.name == name and ast.get_docstring(method):
            return True
    bases = [base.id for base in owner.bases if isinstance(base, ast.Name) and base.id in classes]
    return any(has_docstring(classes[base], name, classes) for base in bases)


def undocumented(sources: dict[str, str]) -> list[str]:
    """The public classes, functions and methods without a docstring."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    classes, names = {}, []
    for tree in trees.values():
        classes |= {node.name: node for node in public(tree.body, (ast.ClassDef,))}
    for module, tree in trees.items():
        for node in public(tree.body, DEFINITIONS):
            if not ast.get_docstring(node):
                names.append(f"{module}.{node.name}")
        for owner in public(tree.body, (ast.ClassDef,)):
            for method in public(owner.body, (ast.FunctionDef,)):
                if not has_docstring(owner, method.name, classes):
                    names.append(f"{module}.{owner.name}.{method.name}")
    return names


def example(readme: str) -> str:
    """The Python of the README; there is one block of it."""
    (code,) = re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S)
    return code


if __name__ == "__main__":
    paths = sorted((ROOT / "semcoder").glob("[!_]*.py"))
    names = undocumented({path.stem: path.read_text() for path in paths})
    command = [sys.executable, "-c", example((ROOT / "README.md").read_text())]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout, done.stderr[-2000:])
    print(f"the README's example {'fails' if done.returncode else 'runs'}")
    print(f"public names without a docstring: {', '.join(names) or 'none'}")
    sys.exit(bool(names or done.returncode))
