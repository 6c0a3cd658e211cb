"""SemCoder (arXiv 2406.01006) as a kit: run code, trace it, reason about it, train on it, grade it.

The names below are loaded when they are first used, so that `import semcoder` loads nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .evaluation import benchmark, judge, score
    from .llm import load_engine
    from .monologue import narrate, verify
    from .sandbox import Sandbox
    from .tracing import render, trace

__all__ = [
    "Sandbox",
    "benchmark",
    "judge",
    "load_engine",
    "narrate",
    "render",
    "score",
    "trace",
    "verify",
]

_MODULES = {
    "Sandbox": "sandbox",
    "benchmark": "evaluation",
    "judge": "evaluation",
    "load_engine": "llm",
    "narrate": "monologue",
    "render": "tracing",
    "score": "evaluation",
    "trace": "tracing",
    "verify": "monologue",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
