"""Lays out the documentation site, builds it, and follows every link inside it: site.py.

Nothing is executed: a notebook shows the outputs that it is committed with. The front page is the
README, whose table names the chapters. The list of notebooks is made from their first lines, the
comparisons from figures/, the page on troubleshooting from the checks of `semcoder doctor`, and a
module's page from its docstrings.
"""

import csv
import json
import logging
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

from mkdocs.commands.build import build
from mkdocs.config import load_config

from semcoder.cli import CHECKS, needs_of_recipes
from semcoder.core import GpuReport

ROOT = Path(__file__).resolve().parents[1]
PAGES, SITE = ROOT / "_docs/pages", ROOT / "_docs/site"
MODULE = "# semcoder.{name}\n\n::: semcoder.{name}\n    options: {{show_root_heading: false}}\n"
# Files that pages link to, each shown on a page of its own.
SHOWN = (
    *("nbs/recipes", "nbs/accelerate", "nbs/models.yaml", "binder", ".devcontainer"),
    *("Dockerfile", "requirements.lock", "CITATION.cff"),
)
LANGUAGES = {".yaml": "yaml", ".cff": "yaml", ".json": "json", "": "dockerfile"}
GUIDES = {
    "Troubleshooting": "docs/troubleshooting.md",
    "Runs": "docs/runs.md",
    "GPUs": "docs/gpus.md",
    "Recipes": "files/recipes.md",
}


class Notebook:
    """A notebook's file, and what its first cell says."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.chapter = int(path.stem[0])
        self.cells = json.loads(path.read_text())["cells"]
        first = "".join(self.cells[0]["source"])
        lines = re.fullmatch(r"# (.+)\n+> (.+)", first)
        assert lines, f"{path.name} does not begin with a title and one line about itself"
        self.title, self.about = lines.groups()

    @property
    def module(self) -> str | None:
        """The module that it exports, if it exports one."""
        for cell in self.cells:
            if name := re.match(r"#\| ?default_exp (\w+)", "".join(cell["source"])):
                return name[1]
        return None


def chapters() -> dict[int, str]:
    """The chapters' numbers and titles, from the README's table."""
    rows = re.findall(r"^\| (\d) ([\w ]+) \|", (ROOT / "README.md").read_text(), re.M)
    return {0: "start"} | {int(number): title for number, title in rows}


def read_notebooks() -> dict[int, list[Notebook]]:
    """The notebooks of each chapter; each notebook's chapter is in the README's table."""
    titles = chapters()
    table: dict[int, list[Notebook]] = {number: [] for number in titles}
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        notebook = Notebook(path)
        assert notebook.chapter in titles, f"README.md has no chapter for {path.name}"
        table[notebook.chapter].append(notebook)
    return {number: notebooks for number, notebooks in table.items() if notebooks}


def list_notebooks(table: dict[int, list[Notebook]]) -> str:
    """The page with all notebooks."""
    lines = ["# Notebooks", "", "The first digit is the chapter; no notebook needs a later one."]
    for number, notebooks in table.items():
        lines += ["", f"## {number} {chapters()[number]}", "", "| notebook | about |", "|---|---|"]
        for notebook in notebooks:
            link = f"[{notebook.name}](nbs/{notebook.name}.ipynb)"
            lines.append(f"| {link} | {notebook.about} |")
    return "\n".join(lines) + "\n"


def comparisons(folder: Path) -> list[str]:
    """The paired comparisons of a run as a table, those of most items first."""
    with (folder / "comparisons.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: -int(row["n"]))
    lines = [f"### {rows[0]['run']}", ""]
    lines += ["| benchmark | from | to | n | difference, points | p |", "|---|---|---|---|---|---|"]
    for row in rows:
        numbers = [100 * float(row[name]) for name in ("difference", "low", "high")]
        change = "{:+.1f} ({:.1f}, {:.1f})".format(*numbers)
        names = " | ".join(row[name] for name in ("benchmark", "from", "to", "n"))
        lines.append(f"| {names} | {change} | {float(row['p_value']):.2g} |")
    return [*lines, ""]


def list_results(text: str) -> str:
    """The page on results, with the ablations and the comparisons of all runs in their place."""
    ablations = (ROOT / "figures/pretrained-cpu/ablations.md").read_text()
    lines = [re.sub("^#", "##", ablations, flags=re.M), ""]
    lines += ["## All paired comparisons", ""]
    lines += ["The p-values are not corrected for the number of comparisons.", ""]
    for path in sorted((ROOT / "figures").glob("**/comparisons.csv")):
        lines += comparisons(path.parent)
    assert "<!-- comparisons -->" in text
    return text.replace("<!-- comparisons -->", "\n".join(lines))


def troubleshooting() -> str:
    """The page on troubleshooting: the checks of `doctor`, and what recipes may lack."""
    lines = ["# Troubleshooting", "", "`semcoder doctor` tries everything below."]
    lines += ["", "## Checks", "", "| check | purpose | where it fails |", "|---|---|---|"]
    for name, check in CHECKS.items():
        lines.append(f"| {name} | {check.purpose} | {check.remedy} |")
    lines += ["", "## What recipes need", ""]
    lines += ["On a bare machine, without GPUs, data and further packages, `doctor` says this.", ""]
    lines += ["| recipe | missing | remedy |", "|---|---|---|"]
    bare = GpuReport((), "torch uses 0 GPUs", "look at `nvidia-smi` and CUDA_VISIBLE_DEVICES")
    with patch("semcoder.reproduce.is_importable", return_value=False):
        needs = needs_of_recipes(bare)
    lines += [f"| {need['recipe']} | {need['missing']} | {need['then']} |" for need in needs]
    return "\n".join(lines) + "\n"


def show_file(target: str) -> str:
    """A page with a file, or all files of a folder."""
    path = ROOT / target
    lines = [f"# {path.name}", ""]
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        language = LANGUAGES.get(file.suffix, "text")
        if path.is_dir():
            lines += [f"## {file.name}", ""]
        lines += [f"```{language}", file.read_text().rstrip(), "```", ""]
    return "\n".join(lines)


def page_of(target: str) -> str:
    """The page that shows a file or folder of `SHOWN`."""
    return f"files/{Path(target).stem.lstrip('.')}.md"


def relink(text: str, depth: int = 0) -> str:
    """A page with its links to files of `SHOWN` as links to pages; it lies `depth` folders down."""
    up = "../" * depth
    for target in SHOWN:
        pattern = rf"\]\({re.escape(up + target)}/?\)"
        text = re.sub(pattern, f"]({up}{page_of(target)})", text)
    return text


def link_notebooks(text: str, names: set[str], prefix: str, suffix: str) -> str:
    """Markdown with the notebooks that it names in code as links."""

    def link(match: re.Match) -> str:
        name = match[1]
        return f"[`{name}`]({prefix}{name}{suffix})" if name in names else match[0]

    return re.sub(r"(?<!\[)`(\d\d_\w+)`", link, text)


def copy_notebook(path: Path, names: set[str]) -> None:
    """Copy a notebook; mkdocs changes links of Markdown only, so here they lead to HTML."""
    content = json.loads(path.read_text())
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            text = re.sub(r"(\]\(\.\./figures/[\w/]+)\.md\)", r"\1.html)", text)
            text = re.sub(r"(\]\(\d\d_\w+)\.ipynb\)", r"\1.html)", text)
            cell["source"] = link_notebooks(text, names, "", ".html")
    (PAGES / "nbs" / path.name).write_text(json.dumps(content))


def copy_sources(names: set[str]) -> None:
    """Copy what is committed: figures, notebooks, guides and the files that pages link to."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "figures", PAGES / "figures", ignore=shutil.ignore_patterns("rows"))
    shutil.copytree(ROOT / "nbs", PAGES / "nbs", ignore=shutil.ignore_patterns(".*", "demo"))
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        copy_notebook(path, names)
    for folder in ("api", "docs", "files"):
        (PAGES / folder).mkdir()
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = relink(path.read_text(), depth=1)
        (PAGES / "docs" / path.name).write_text(link_notebooks(text, names, "../nbs/", ".ipynb"))
    readme = relink((ROOT / "README.md").read_text())
    (PAGES / "index.md").write_text(link_notebooks(readme, names, "nbs/", ".ipynb"))
    for target in SHOWN:
        (PAGES / page_of(target)).write_text(show_file(target))
    shutil.copy(ROOT / ".ci/site.css", PAGES)
    shutil.copy(ROOT / "llms.txt", PAGES)


def lay_out() -> list[dict]:
    """Fills PAGES; returns the navigation."""
    table = read_notebooks()
    copy_sources({notebook.name for notebooks in table.values() for notebook in notebooks})
    (PAGES / "notebooks.md").write_text(list_notebooks(table))
    (PAGES / "docs/troubleshooting.md").write_text(troubleshooting())
    results = PAGES / "docs/results.md"
    results.write_text(list_results(results.read_text()))
    notebooks: list = ["notebooks.md"]
    modules: list = []
    for number, chapter in table.items():
        title = f"{number} {chapters()[number]}"
        pages = [{f"{each.name[:2]} {each.title}": f"nbs/{each.name}.ipynb"} for each in chapter]
        notebooks.append({title: pages})
        names = [each.module for each in chapter if each.module]
        for name in names:
            (PAGES / f"api/{name}.md").write_text(MODULE.format(name=name))
        if names:
            modules.append({title: [{name: f"api/{name}.md"} for name in names]})
    measured = []
    for path in sorted((ROOT / "figures").glob("*.md")):
        measured.append({path.stem.replace("_", " "): f"figures/{path.name}"})
    results_pages: list = [{"Results": "docs/results.md"}, {"Quality": "docs/quality.md"}]
    return [
        {"Start": ["index.md", {"Guides": [{name: page} for name, page in GUIDES.items()]}]},
        {"Notebooks": notebooks},
        {"Library": modules},
        {"Results": [*results_pages, {"Tables": measured}]},
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
