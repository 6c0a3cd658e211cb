"""Lays out the documentation site, builds it, and follows every link inside it: site.py. Nothing is executed: a notebook shows the outputs that it is committed with.

The README is the front page and its table of notebooks the order of the rest; a module's page is made from its docstrings."""
import logging
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).resolve().parents[1]
PAGES, SITE = ROOT / "_docs/pages", ROOT / "_docs/site"
STYLE = ".md-grid { max-width: 92rem } .jupyter-wrapper .jp-InputPrompt, .jupyter-wrapper .jp-OutputPrompt { display: none }"


def rooms() -> list[str]:
    "The notebooks in the order of the README's table, which has to name them all."
    told = re.findall(r"^\| `?\[?(\d\d[a-z]?_\w+)", (ROOT / "README.md").read_text(), re.M)
    found = sorted(path.stem for path in (ROOT / "nbs").glob("*.ipynb"))
    assert sorted(told) == found, f"README.md and nbs/ differ in {sorted(set(told) ^ set(found))}"
    return told


def module(room: str) -> str | None:
    "The module that a notebook exports, if it exports one."
    name = room.split("_", 1)[1]
    return name if (ROOT / "semcoder" / f"{name}.py").exists() else None


def lay_out() -> list[dict]:
    "Fills PAGES, and returns the navigation."
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "figures", PAGES / "figures")
    shutil.copytree(ROOT / "nbs", PAGES / "nbs", ignore=shutil.ignore_patterns(".*", "demo"))
    shutil.copy(ROOT / "README.md", PAGES / "index.md")
    (PAGES / "site.css").write_text(STYLE)
    (PAGES / "api").mkdir()
    modules = list(filter(None, map(module, rooms())))
    for name in modules:
        (PAGES / "api" / f"{name}.md").write_text(f"# semcoder.{name}\n\n::: semcoder.{name}\n    options: {{show_root_heading: false}}\n")
    return [{"Read this first": "index.md"}, {"Notebooks": [{room: f"nbs/{room}.ipynb"} for room in rooms()]},
            {"Modules": [{name: f"api/{name}.md"} for name in modules]},
            {"Measured": [{path.stem.replace("_", " "): f"figures/{path.name}"} for path in sorted((ROOT / "figures").glob("*.md"))]}]


class Page(HTMLParser):
    "What a page of HTML links to, and what can be linked to in it."

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {found.get("id"), found.get("name")}
        self.links += [found[key] for key in ("href", "src") if found.get(key)]


def broken(site: Path) -> tuple[int, list[str]]:
    "How many links inside the site there are, and those that lead nowhere."
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    count, lost = 0, []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            count += 1
            if not target.exists() or (target in pages and unquote(parts.fragment) not in pages[target].anchors):
                lost.append(f"{path.relative_to(site)}: {link}")
    return count, lost


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    nav = lay_out()
    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, nav=nav))
    count, lost = broken(SITE)
    print(*lost, f"{SITE / 'index.html'}: {count} links inside the site, {len(lost)} broken", sep="\n")
    sys.exit(bool(lost))
