"""Checks what readers rely on: reading.py [--write].

The README's example prints what is written below it (`--write` puts it there), every link to a file
leads to one, and every public name of the library has a docstring.
"""

import ast
import json
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


BLOCK = re.compile(r"^```python\n(.*?)^```\n```text\n(.*?)^```", re.M | re.S)


def example(readme: str) -> tuple[str, str]:
    """The Python of the README, of which there is one block, and what it is said to print."""
    [(code, output)] = BLOCK.findall(readme)
    return code, output


def run_example(path: Path, write: bool) -> str:
    """What is wrong with the example of a README, '' when it prints what is written below it."""
    readme = path.read_text()
    code, output = example(readme)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    print(done.stdout, done.stderr[-2000:])
    if done.returncode:
        return "the README's example fails"
    if write:
        path.write_text(readme.replace(f"```text\n{output}```", f"```text\n{done.stdout}```"))
    elif done.stdout != output:
        return "the README's example prints something else: python .ci/reading.py --write"
    return ""


def prose(path: Path) -> str:
    """The Markdown of a file or of a notebook's cells, without code."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.M | re.S)


def broken_links(path: Path) -> list[str]:
    """The links of a file to other files that are not there."""
    targets = re.findall(r"\]\(<?([^()\s>]+)>?\)", prose(path))
    files = [target.partition("#")[0] for target in targets if not re.match(r"\w+:|#", target)]
    name = path.relative_to(ROOT)
    return [f"{name}: {file}" for file in files if not (path.parent / file).exists()]


def texts() -> list[Path]:
    """Everything that is read: the files of Markdown, and the notebooks."""
    patterns = ("*.md", "llms.txt", "docs/*.md", "figures/**/*.md", "nbs/*.ipynb")
    return [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]


if __name__ == "__main__":
    paths = sorted((ROOT / "semcoder").glob("[!_]*.py"))
    names = undocumented({path.stem: path.read_text() for path in paths})
    links = [link for path in texts() for link in broken_links(path)]
    problem = run_example(ROOT / "README.md", write="--write" in sys.argv)
    print(problem or "the README's example prints what it should")
    print(f"links to files that are not there: {', '.join(links) or 'none'}")
    print(f"public names without a docstring: {', '.join(names) or 'none'}")
    sys.exit(bool(names or links or problem))
