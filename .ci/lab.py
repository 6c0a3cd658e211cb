"""Reads notebooks as a person does, in JupyterLab in a real browser: lab.py [NOTEBOOK...].

It needs Debian's chromium and chromium-driver. Each notebook is opened in a copy of nbs/ and run
by JupyterLab's own command, top to bottom: every cell has to end, and none may fail. Then its
display has to be in the page as something drawn; the states of a long loop in a trace are hidden
until a click unfolds them. Without names, two notebooks are read so, and in no notebook may a cell
have to be scrolled sideways.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

from selenium import webdriver
from selenium.webdriver.common.by import By

ROOT = Path(__file__).resolve().parents[1]
DISPLAYS = {
    "12_tracing": ".jp-OutputArea-output td",
    "35_verification": ".jp-OutputArea-output span[title^=true]",
}
SETTINGS = {
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}
FAILED = (
    ".jp-RenderedText[data-mime-type='application/vnd.jupyter.error'], "
    ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']"
)
PROMPTS = ".jp-Notebook .jp-CodeCell .jp-InputPrompt"
STATES = f"return [...document.querySelectorAll('{PROMPTS}')].map(e => e.textContent)"
KERNEL = "return window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
WIDE = """return [...document.querySelectorAll('.jp-Notebook .jp-Cell *')].filter(e =>
    ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.clientWidth > 0
    && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))"""
RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells')"


@contextlib.contextmanager
def lab(folder: Path) -> Iterator[str]:
    """JupyterLab over a copy of the notebooks, on a free port of this machine.

    Every cell stays in the page, so that all can be looked at.
    """
    shutil.copytree(ROOT / "nbs", folder / "nbs", ignore=shutil.ignore_patterns(".*"))
    for name, text in SETTINGS.items():
        path = folder / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ip=127.0.0.1",
        "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={folder / 'nbs'}",
    ]
    server = subprocess.Popen(
        command,
        env=os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("w"),
    )
    try:
        until("JupyterLab", lambda: urlopen(f"http://127.0.0.1:{port}/api").status == 200)
        yield f"http://127.0.0.1:{port}/lab/tree/"
    finally:
        server.terminate()
        server.wait()


def browser() -> webdriver.Chrome:
    """Chromium without a window, 1,300 pixels wide."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1300,1700",
    ):
        options.add_argument(argument)
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def until(what: str, there: Callable, seconds: float = 600):
    """What `there` returns as soon as it is true; a page that is being drawn is asked again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            if result := there():
                return result
        time.sleep(0.3)
    raise SystemExit(f"FAILED: waited {seconds} seconds for {what}")


def is_idle(driver: webdriver.Chrome) -> bool:
    """Whether the notebook has a kernel, and that waits for work."""
    return driver.execute_script(KERNEL) == "idle"


def states_of(driver: webdriver.Chrome) -> list[str]:
    """What is written beside each code cell: nothing, '*' while it runs, or its number."""
    return [text.strip("[]: ") for text in driver.execute_script(STATES)]


def has_ended(driver: webdriver.Chrome) -> bool:
    """Whether a cell has failed, or all have ended."""
    if driver.find_elements(By.CSS_SELECTOR, FAILED):
        return True
    states = states_of(driver)
    return is_idle(driver) and "*" not in states and states[-1].isdigit()


def run_all(driver: webdriver.Chrome) -> int:
    """Runs all cells, until all have ended or one has failed; returns their number."""
    until("the kernel", lambda: is_idle(driver))
    driver.execute_script(RUN_ALL)
    until("the end of the last cell", lambda: has_ended(driver))
    return len(states_of(driver))


def read(driver: webdriver.Chrome, url: str, name: str) -> None:
    """Runs a notebook and looks at its display."""
    driver.get(f"{url}{name}.ipynb?reset")
    count = run_all(driver)
    failed = driver.find_elements(By.CSS_SELECTOR, FAILED)
    assert not failed, f"{name}: {failed[0].text}"
    shown = [
        element
        for element in driver.find_elements(By.CSS_SELECTOR, DISPLAYS[name])
        if element.is_displayed()
    ]
    assert shown, f"{name}: nothing is drawn at {DISPLAYS[name]}"
    print(
        f"{name}: {count} cells ran in JupyterLab, {len(shown)} parts of its displays are drawn",
        flush=True,
    )


def look(driver: webdriver.Chrome, url: str, path: Path) -> None:
    """Looks at a notebook as it was saved: nothing in it is wider than its cell."""
    cells = len(json.loads(path.read_text())["cells"])
    driver.get(f"{url}{path.name}?reset")
    until(
        f"the cells of {path.name}",
        lambda: len(driver.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-Cell")) == cells,
        60,
    )
    time.sleep(0.5)
    wide = driver.execute_script(WIDE)
    assert not wide, f"{path.name} has to be scrolled sideways: {wide}"


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as folder,
        lab(Path(folder)) as url,
        contextlib.closing(browser()) as driver,
    ):
        for name in sys.argv[1:] or DISPLAYS:
            read(driver, url, name)
        notebooks = [] if sys.argv[1:] else sorted((ROOT / "nbs").glob("*.ipynb"))
        for path in notebooks:
            look(driver, url, path)
        print(f"{len(notebooks)} notebooks: no cell is wider than the page", flush=True)
