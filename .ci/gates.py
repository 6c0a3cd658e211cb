"""Checks how the library is written, module by module: gates.py [--no-types].

Each module and its notebook pass `ruff check`; no function is above a cognitive complexity of 10;
no conditional expression is inside another; no call has six positional arguments; pyright finds no
error. Comprehensions inside comprehensions, and those with two `for`, are at most 12 in all modules
together.
"""

import ast
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import complexipy

ROOT = Path(__file__).resolve().parents[1]
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
NESTED = "nested comprehension"
MOST_COMPLEXITY = 10
MOST_POSITIONAL = 5
MOST_NESTED = 12  # comprehensions, in all modules


def module_of(path: str) -> str:
    """The module that a file belongs to: `dataset` for semcoder/dataset.py and 42_dataset.ipynb."""
    stem = Path(path).stem
    return stem.partition("_")[2] if path.endswith(".ipynb") else stem


def is_nested(node: ast.AST, kinds: tuple[type[ast.AST], ...]) -> bool:
    """Whether an expression of these kinds has another one inside it."""
    return any(isinstance(child, kinds) for child in ast.walk(node) if child is not node)


def nested_comprehensions(tree: ast.AST) -> int:
    """How many comprehensions have another one inside them, or two `for`."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, COMPREHENSIONS)]
    return sum(is_nested(node, COMPREHENSIONS) or len(node.generators) > 1 for node in nodes)


def crowded_expressions(tree: ast.AST) -> Counter[str]:
    """Conditional expressions inside others, and calls with many positional arguments."""
    faults: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp) and is_nested(node, (ast.IfExp,)):
            faults["nested conditional expression"] += 1
        if isinstance(node, ast.Call) and len(node.args) > MOST_POSITIONAL:
            faults["call with six positional arguments"] += 1
    return faults


def complex_functions(path: Path) -> Counter[str]:
    """Functions and methods above the cognitive complexity that is allowed."""
    functions = complexipy.file_complexity(str(path)).functions
    above = [item for item in functions if item.complexity > MOST_COMPLEXITY]
    return Counter(f"complexity {item.complexity} of {item.name}" for item in above)


def json_of(*command: str) -> list[dict]:
    """What a checker prints as JSON; its exit status only says whether it is empty."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    if not done.stdout:
        sys.exit(f"{command[0]} failed: {done.stderr[-1000:]}")
    report = json.loads(done.stdout)
    return report if isinstance(report, list) else report["generalDiagnostics"]


def lint_faults() -> list[tuple[str, str]]:
    """Modules and rules that ruff finds broken."""
    rows = json_of("ruff", "check", "--output-format=json", "nbs", ".ci", "semcoder", "setup.py")
    return [(module_of(row["filename"]), f"ruff {row['code']}") for row in rows]


def type_faults() -> list[tuple[str, str]]:
    """Modules and rules in which pyright finds an error."""
    rows = [
        row
        for row in json_of("pyright", "--pythonpath", sys.executable, "--outputjson")
        if row["severity"] == "error"
    ]
    return [(module_of(row["file"]), f"pyright {row.get('rule', 'error')}") for row in rows]


def faults_by_module(types: bool) -> dict[str, Counter[str]]:
    """What each module breaks."""
    faults: dict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted((ROOT / "semcoder").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        faults[path.stem] = crowded_expressions(tree) + complex_functions(path)
        if count := nested_comprehensions(tree):
            faults[path.stem][NESTED] = count
    for module, fault in lint_faults() + (type_faults() if types else []):
        faults[module][fault] += 1
    return faults


def main() -> int:
    """Prints what modules break; 1 where they break a rule."""
    faults = faults_by_module("--no-types" not in sys.argv[1:])
    errors = []
    for module, counts in sorted(faults.items()):
        if counts:
            print(f"{module}: " + ", ".join(f"{n} {fault}" for fault, n in counts.most_common()))
        if set(counts) - {NESTED}:
            errors.append(f"{module} breaks a rule, see above")
    nested = sum(counts[NESTED] for counts in faults.values())
    if nested > MOST_NESTED:
        errors.append(f"{nested} nested comprehensions, {MOST_NESTED} are allowed: write loops")
    print(*errors or ["all modules pass"], sep="\n")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
