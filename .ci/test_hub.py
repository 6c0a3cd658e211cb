"""The library beside a hub: real clients, and `hub_server.py` with what can go wrong."""

import pytest

BENCHMARKS = [
    ("humaneval+", 4),
    ("mbpp", 8),
    ("mbpp+", 8),
    ("cruxeval-o", 8),
    ("cruxeval-i", 8),
    ("lcb-exec", 8),
    ("lcb-lite", 2),
]

LOADED = """
import sys
from semcoder.judging import benchmark
bench = benchmark(sys.argv[1], "hub")
print(len(bench.items))
"""


@pytest.mark.parametrize(("name", "size"), BENCHMARKS)
def test_benchmark_from_hub(python, name: str, size: int):
    assert python(LOADED, name).stdout == f"{size}\n"
