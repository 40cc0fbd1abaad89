"""Every module can be the first that is imported."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.architecture.house import House

ROOT = Path(__file__).resolve().parents[2]

FORKS = """
import os, sys, traceback

for library in sys.argv[1].split():
    __import__(library)
for module in sys.argv[2:]:
    child = os.fork()
    if not child:
        try:
            __import__(module)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(module)
"""
"""Each import happens in a fork of an interpreter that has imported nothing of ours yet: fresh, but quick."""


def failures(folder: Path, modules: list[str], libraries: Iterable[str] = ()) -> tuple[list[str], str]:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKS, " ".join(libraries), *modules],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return run.stdout.split(), run.stderr


@pytest.mark.timeout(180)
def test_every_module_imports_alone() -> None:
    """In a fresh interpreter, with warnings as errors."""
    house = House(ROOT, "proxy", "cache", "limits")
    modules = [module for module in house.files if not module.endswith("__main__")]
    failed, why = failures(ROOT, modules, sorted(house.foreign()))
    assert not failed, why


def test_a_module_that_needs_another_first_is_found(tmp_path: Path) -> None:
    """A module that only imports after its neighbour fails, its neighbour does not."""
    (tmp_path / "first.py").write_text("import sys\nsys.ready = True\n")
    (tmp_path / "second.py").write_text("import sys\nassert sys.ready\n")
    (tmp_path / "third.py").write_text("import warnings\nwarnings.warn('x')\n")
    assert failures(tmp_path, ["first", "second", "third"])[0] == ["second", "third"]
