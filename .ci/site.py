"""Lays out the documentation site, builds it, and follows every link inside it: site.py.

Nothing is executed: a notebook shows the outputs that it is committed with. The README is the front
page and its table of notebooks the order of the rest; a module's page is made from its docstrings.
"""

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
STYLE = """\
.md-grid { max-width: 92rem }
.jupyter-wrapper .jp-InputPrompt, .jupyter-wrapper .jp-OutputPrompt { display: none }
"""
PAGE = "# semcoder.{name}\n\n::: semcoder.{name}\n    options: {{show_root_heading: false}}\n"


def chapters() -> dict[str, list[str]]:
    """The notebooks of each chapter in the order of the README's table, which names them all."""
    table: dict[str, list[str]] = {}
    title = ""
    for line in (ROOT / "README.md").read_text().splitlines():
        if heading := re.match(r"\| \*\*(.+?)\*\* \|", line):
            title = heading[1]
        elif row := re.match(r"\| `?\[?(\d\d_\w+)", line):
            table.setdefault(title, []).append(row[1])
    listed = sorted(name for names in table.values() for name in names)
    notebooks = sorted(path.stem for path in (ROOT / "nbs").glob("*.ipynb"))
    different = set(listed) ^ set(notebooks)
    assert listed == notebooks, f"README.md and nbs/ differ in {sorted(different) or 'rows twice'}"
    return table


def module_of(notebook: str) -> str | None:
    """The module that a notebook exports, if it exports one."""
    name = notebook.partition("_")[2]
    paths = [ROOT / f"semcoder/{prefix}{name}.py" for prefix in ("", "_")]
    return next((path.stem for path in paths if path.exists()), None)


def lay_out() -> list[dict]:
    """Fills PAGES; returns the navigation."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "figures", PAGES / "figures")
    shutil.copytree(ROOT / "nbs", PAGES / "nbs", ignore=shutil.ignore_patterns(".*", "demo"))
    for path in (PAGES / "nbs").glob("*.ipynb"):  # mkdocs changes such links in Markdown alone
        path.write_text(re.sub(r"(\]\(\.\./figures/\w+)\.md\)", r"\1.html)", path.read_text()))
    shutil.copy(ROOT / "README.md", PAGES / "index.md")
    (PAGES / "site.css").write_text(STYLE)
    (PAGES / "api").mkdir()
    notebooks, modules = [], []
    for title, names in chapters().items():
        notebooks.append({title: [{name: f"nbs/{name}.ipynb"} for name in names]})
        for module in filter(None, map(module_of, names)):
            (PAGES / f"api/{module}.md").write_text(PAGE.format(name=module))
            modules.append({module: f"api/{module}.md"})
    measured = []
    for path in sorted((ROOT / "figures").glob("*.md")):
        measured.append({path.stem.replace("_", " "): f"figures/{path.name}"})
    return [
        {"Read this first": "index.md"},
        {"Notebooks": notebooks},
        {"Modules": modules},
        {"Measured": measured},
    ]


class Page(HTMLParser):
    """What a page of HTML links to, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str | None] = {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {values.get("id"), values.get("name")}
        self.links += [link for key in ("href", "src") if (link := values.get(key))]


def is_broken(link: str, path: Path, pages: dict[Path, Page]) -> bool:
    """Whether a link of the page at `path`, inside the site, leads nowhere."""
    parts = urlsplit(link)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target = target / "index.html"
    if target in pages:
        return unquote(parts.fragment) not in pages[target].anchors
    return not target.exists()


def check_links(site: Path) -> tuple[int, list[str]]:
    """How many links inside the site there are, and those that lead nowhere."""
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    count, broken = 0, []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if not parts.scheme and not parts.netloc:
                count += 1
                if is_broken(link, path, pages):
                    broken.append(f"{path.relative_to(site)}: {link}")
    return count, broken


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    nav = lay_out()
    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, nav=nav))
    count, broken = check_links(SITE)
    summary = f"{SITE / 'index.html'}: {count} links inside the site, {len(broken)} broken"
    print(*broken, summary, sep="\n")
    sys.exit(bool(broken))
