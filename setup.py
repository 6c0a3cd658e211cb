from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]


def extras() -> dict[str, list[str]]:
    """Every `NAME_requirements` entry of settings.ini becomes the extra `NAME`."""
    end = "_requirements"
    return {key[: -len(end)]: value.split() for key, value in cfg.items() if key.endswith(end)}


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    license="Apache-2.0",
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=["semcoder", "semcoder.*"]),
    install_requires=cfg["requirements"].split(),
    extras_require=extras(),
    entry_points={"console_scripts": cfg["console_scripts"].split()},
)
