"""The gates count what they say."""

import ast

import gates


def test_nested_comprehensions():
    """One inside another counts once, and so do two `for`; one alone does not."""
    text = "[[y for y in x] for x in xs]\n{x for y in z for x in y}\n[x for x in xs]"
    assert gates.nested_comprehensions(ast.parse(text)) == 2


def test_crowded_expressions():
    """A conditional expression inside another, and a call with six positional arguments."""
    text = "a if b else (c if d else e)\na if b else c\nf(1, 2, 3, 4, 5, 6)\nf(1, 2, 3, 4, 5, x=6)"
    assert gates.crowded_expressions(ast.parse(text)) == {
        "nested conditional expression": 1,
        "call with six positional arguments": 1,
    }


def test_module_of():
    """A notebook belongs to the module of its name."""
    paths = ["/p/semcoder/dataset.py", "/p/nbs/42_dataset.ipynb", "/p/semcoder/_worker.py"]
    assert [gates.module_of(path) for path in paths] == ["dataset", "dataset", "_worker"]
