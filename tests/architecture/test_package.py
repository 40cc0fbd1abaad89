"""What is declared, what is pinned and what is shipped agree."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.architecture.house import House

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DEPENDENCIES = [Requirement(text) for text in PROJECT["dependencies"]]
PLOT = [Requirement(text) for text in PROJECT["optional-dependencies"]["plot"]]
DEV = [Requirement(text) for text in PROJECT["optional-dependencies"]["dev"]]
PIN = re.compile(r"^([a-zA-Z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, Version]:
    text = (ROOT / "requirements" / name).read_text("utf-8")
    return {canonicalize_name(package): Version(version) for package, version in PIN.findall(text)}


def test_the_product_imports_what_it_declares_and_declares_what_it_imports() -> None:
    """Every third-party import has its dependency, and every dependency its import."""
    distributions = packages_distributions()
    imported = {
        canonicalize_name(distributions[name][0])
        for name in House(ROOT, "proxy", "cache", "limits").foreign()
        if name not in sys.stdlib_module_names
    }
    assert imported == {canonicalize_name(dependency.name) for dependency in (*DEPENDENCIES, *PLOT)}


@pytest.mark.parametrize(
    ("lock", "wanted"), [("run.txt", [*DEPENDENCIES, *PLOT]), ("dev.txt", [*DEPENDENCIES, *PLOT, *DEV])]
)
def test_the_lock_satisfies_the_declaration(lock: str, wanted: list[Requirement]) -> None:
    """`make lock` was run after the last change of pyproject.toml."""
    pinned = pins(lock)
    unmet = [str(each) for each in wanted if pinned.get(canonicalize_name(each.name)) not in each.specifier]  # type: ignore[operator]
    assert unmet == []


def test_what_is_tested_is_what_runs() -> None:
    """Both locks pin the same versions."""
    run, dev = pins("run.txt"), pins("dev.txt")
    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt", "build.txt"])
def test_every_pin_has_hashes_and_no_place(lock: str) -> None:
    """Each requirement is exact and hashed; no line names an index, a URL or a path."""
    text = (ROOT / "requirements" / lock).read_text("utf-8")
    blocks = re.split(r"\n(?=\S)", re.sub(r"^#.*\n|^    #.*\n", "", text, flags=re.MULTILINE).strip())
    assert blocks
    assert [block.splitlines()[0] for block in blocks if not PIN.match(block) or "--hash=sha256:" not in block] == []
    assert re.findall(r"://|--index|--find-links|^-|file:| @ ", text, re.MULTILINE) == []


def test_the_wheel_holds_the_product_and_its_data(tmp_path: Path) -> None:
    """Every file under proxy/, cache/ and limits/, the licence, the command; no test, no bench."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("askonce-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (archive.read(name) for name in names if name.endswith("/entry_points.txt"))
    product = {
        str(path.relative_to(ROOT))
        for room in ("proxy", "cache", "limits")
        for path in (ROOT / room).rglob("*")
        if path.is_file()
    }
    product = {path for path in product if "__pycache__" not in path and "/." not in path}
    assert {name for name in names if ".dist-info/" not in name} == product
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert b"askonce = proxy.cli:main" in entry_points
