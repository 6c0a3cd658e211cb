"""The container, the lock, Binder and the citation agree with the project that they describe."""

import configparser
import json
import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
CONFIG = configparser.ConfigParser(delimiters=["="])
CONFIG.read(ROOT / "settings.ini")
SETTINGS = CONFIG["DEFAULT"]
TESTED = ("notebooks_", "dev_", "seeds_", "cluster_", "demo_")


def locked() -> dict[str, Version]:
    """Package -> version of requirements.lock."""
    text = (ROOT / "requirements.lock").read_text()
    lines = re.findall(r"^([\w.-]+)==([\w.!+-]+)", text, re.M)
    return {name.replace("_", "-").lower(): Version(version) for name, version in lines}


@pytest.mark.parametrize("extra", ("", *TESTED))
def test_lock_has_what_is_required(extra: str) -> None:
    versions = locked()
    for text in SETTINGS[f"{extra}requirements"].split():
        requirement = Requirement(text)
        version = versions[requirement.name.lower()]
        assert version in requirement.specifier, f"{text}: requirements.lock has {version}"


def test_lock_has_the_tested_versions() -> None:
    tested = (ROOT / ".ci/versions.txt").read_text()
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", tested, re.M):
        assert locked().get(name.lower(), Version(version)) == Version(version), name


def stages() -> dict[str, str]:
    """Stage of the Dockerfile -> its instructions."""
    parts = re.split(r"^FROM \S+ AS (\w+)\n", (ROOT / "Dockerfile").read_text(), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def test_dockerfile() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert stages().keys() == {"base", "cpu", "gpu"}
    assert f"python:{SETTINGS['min_python']}-" in text
    for extras in re.findall(r"\.\[([\w,]+)\]", text):
        assert all(f"{extra}_requirements" in SETTINGS for extra in extras.split(","))
    for name in re.findall(r"^COPY (?:--\S+ )?(\S+) ", text, re.M):
        assert (ROOT / name).exists(), name


def test_development_container() -> None:
    content = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    folder = ROOT / ".devcontainer"
    assert (folder / content["build"]["dockerfile"]).exists()
    assert content["build"]["target"] in stages()
    assert f"WORKDIR {content['workspaceFolder']}\n" in (ROOT / "Dockerfile").read_text()


def test_binder() -> None:
    files = re.findall(r"^-r (.+)$", (ROOT / "binder/requirements.txt").read_text(), re.M)
    assert files and all((ROOT / "binder" / file).exists() for file in files)
    assert (ROOT / "binder/postBuild").stat().st_mode & 0o100
    assert (ROOT / "binder/runtime.txt").read_text() == f"python-{SETTINGS['min_python']}\n"


def test_citation() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == SETTINGS["version"]
    assert citation["title"] == SETTINGS["lib_name"]
