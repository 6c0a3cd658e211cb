"""The demo in a real browser: demo.py [FOLDER]; the folder keeps screenshots.

An example and its repair, a program that tries to be a script, a question that is none.
"""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from semcoder.demo import build, serve

HOSTILE = """def f(x):
    "${document.title = 'taken'} {{#each this}}x{{/each}}"
    tag = "</pre><img src=x onerror=document.title='taken'><script>document.title='taken'</script>"
    return tag + x
"""


def browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1300,1700",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


class Visitor:
    "Someone at the page."

    def __init__(self, driver: webdriver.Chrome, url: str):
        self.driver = driver
        driver.get(url)
        self.until(lambda: driver.find_element(By.CSS_SELECTOR, "#code .cm-content"))

    def until(self, there: Callable, seconds: float = 900) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if there():
                    return
            except Exception:
                pass
            time.sleep(0.2)
        text = self.driver.find_element(By.TAG_NAME, "body").text
        raise SystemExit(f"FAILED: waited {seconds} seconds; the page shows\n{text}")

    def part(self, name: str):
        return self.driver.find_element(By.ID, name)

    def put(self, where: str, text: str) -> None:
        "Replace what a field holds, as by pasting."
        field = self.driver.find_element(By.CSS_SELECTOR, where)
        field.click()
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.DELETE)
        self.driver.execute_cdp_cmd("Input.insertText", {"text": text})

    def ask(self, code: str, call: str, expected: str) -> None:
        self.put("#code .cm-content", code)
        self.put("#call textarea, #call input", call)
        self.put("#expected textarea, #expected input", expected)
        self.part("go").click()


def example(visitor: Visitor) -> None:
    "The example with a bug: its run, marks of the right colours, a repair that passes."
    [button] = [
        one
        for one in visitor.driver.find_elements(By.TAG_NAME, "button")
        if one.text.strip() == "a bug"
    ]
    button.click()
    visitor.until(
        lambda: "largest" in visitor.driver.find_element(By.CSS_SELECTOR, "#code .cm-content").text
    )
    visitor.part("go").click()
    visitor.until(lambda: "hold a program" in visitor.part("repair").text)
    assert "result: 3" in visitor.part("run").text and "best = 3" in visitor.part("run").text
    marks = [
        span.get_attribute("title").partition(":")[0]
        for span in visitor.part("explanation").find_elements(By.CSS_SELECTOR, "pre span")
    ]
    assert marks and set(marks) <= {"true", "false", "unknown"}, marks
    told = visitor.part("explanation").find_element(
        By.XPATH, ".//summary[contains(., 'without a model')]"
    )
    told.click()
    visitor.until(lambda: "accepted" in visitor.part("explanation").text)
    assert (
        "result: 9" in visitor.part("repair").text
        and "0 of these give" not in visitor.part("repair").text
    )


def hostile(visitor: Visitor) -> None:
    "A program and a value full of markup are text on the page and nothing else."
    visitor.ask(HOSTILE, "f('<svg onload=alert(1)>${1+1}{{1}}')", "'<b>'")
    visitor.until(lambda: "${1+1}{{1}}" in visitor.part("run").text)
    visitor.until(
        lambda: (
            "hold a program" in visitor.part("repair").text
            and "'<b>'" in visitor.part("repair").text
        )
    )
    assert (
        HOSTILE.splitlines()[1].strip() in visitor.part("run").text
        and visitor.driver.title == "SemCoder"
    )
    for name in ("run", "explanation", "repair"):
        assert not visitor.part(name).find_elements(
            By.CSS_SELECTOR, "script, img, svg, pre b, td b, pre img"
        ), name


def refused(visitor: Visitor) -> None:
    "What is no question is answered by one line."
    visitor.ask("def f(x): return x\n", "g(1)", "")
    visitor.until(
        lambda: (
            "'g(1)' is no call of a function of this program: it defines f"
            in visitor.part("explanation").text
        )
    )


def main(folder: Path | None) -> None:
    page = build(max_tokens=64)
    url = serve(page, wait=False)
    driver = browser()
    try:
        visitor = Visitor(driver, url)
        for scene in (example, hostile, refused):
            scene(visitor)
            print(f"{scene.__name__}: ok", flush=True)
            if folder:
                driver.save_screenshot(str(folder / f"{scene.__name__}.png"))
        loaded = driver.execute_script(
            "return performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        assert loaded and all(name.startswith(url) for name in loaded), [
            name for name in loaded if not name.startswith(url)
        ]
        severe = [
            entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"
        ]
        assert not severe, severe
    finally:
        driver.quit()
        page.close()


if __name__ == "__main__":
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        sys.exit(
            "SKIPPED: the demo was not looked at, for want of chromium and chromedriver "
            "(apt-get install chromium chromium-driver)"
        )
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
