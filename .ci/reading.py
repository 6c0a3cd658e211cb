"""Checks what stands there for readers: the README's example runs as it is written, and every public name of the library has a docstring."""
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def public(body: list[ast.stmt], kinds: tuple) -> Iterator:
    return (node for node in body if isinstance(node, kinds) and not node.name.startswith("_"))


def untold(sources: dict[str, str]) -> list[str]:
    "The public classes, functions and methods without a docstring, of their own or of the method that they override."
    trees = {name: ast.parse(source) for name, source in sources.items()}
    classes = {node.name: node for tree in trees.values() for node in public(tree.body, ast.ClassDef)}

    def told(owner: ast.ClassDef, name: str) -> bool:
        own = any(ast.get_docstring(method) for method in public(owner.body, ast.FunctionDef) if method.name == name)
        return own or any(told(classes[base.id], name) for base in owner.bases if isinstance(base, ast.Name) and base.id in classes)

    names = [f"{name}.{node.name}" for name, tree in trees.items() for node in public(tree.body, (ast.ClassDef, ast.FunctionDef)) if not ast.get_docstring(node)]
    return names + [f"{name}.{owner.name}.{method.name}" for name, tree in trees.items() for owner in public(tree.body, ast.ClassDef)
                    for method in public(owner.body, ast.FunctionDef) if not told(owner, method.name)]


def example(readme: str) -> str:
    "The Python of the README; there is one block of it."
    (code,) = re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S)
    return code


if __name__ == "__main__":
    lost = untold({path.stem: path.read_text() for path in sorted((ROOT / "semcoder").glob("[!_]*.py"))})
    done = subprocess.run([sys.executable, "-c", example((ROOT / "README.md").read_text())], capture_output=True, text=True)
    print(done.stdout, done.stderr[-2000:], f"the README's example {'fails' if done.returncode else 'runs'}", f"public names without a docstring: {', '.join(lost) or 'none'}", sep="\n")
    sys.exit(bool(lost or done.returncode))
