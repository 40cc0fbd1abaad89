"""A test that leaves something behind fails; shown on suites of one test, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = """
import asyncio, socket, warnings
from tests import conftest

conftest.SETTLING = 0.05
kept = []

"""


def run(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_one.py").write_text(f"{PRELUDE}async def test_one():\n    {body}\n")
    options = ["-q", "-o", f"cache_dir={folder}", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("kept.append(asyncio.Task(asyncio.sleep(9)))", "Task pending"),
        ("kept.append(socket.socket())", "socket:"),
        ("asyncio.get_running_loop().call_soon(lambda: 1 / 0); await asyncio.sleep(0)", "ZeroDivisionError"),
        ("warnings.warn('x', DeprecationWarning)", "DeprecationWarning: x"),
    ],
    ids=["task", "descriptor", "exception", "warning"],
)
def test_what_is_left_behind_fails_the_test(tmp_path: Path, body: str, complaint: str) -> None:
    """Tasks, descriptors, unnoticed exceptions and warnings are failures."""
    result = run(tmp_path, body)
    assert result.returncode == 1, result.stdout
    assert complaint in result.stdout


def test_asynchronous_tests_run_on_uvloop(tmp_path: Path) -> None:
    """The loop of the tests is the loop of the gateway; and a test that is clean passes."""
    result = run(tmp_path, "assert type(asyncio.get_running_loop()).__module__ == 'uvloop'")
    assert result.returncode == 0, result.stdout


def test_what_a_session_shares_is_no_leak(tmp_path: Path) -> None:
    """A fixture of a wider scope is set up before the counting starts."""
    (tmp_path / "conftest.py").write_text(
        "import socket, pytest\n"
        "@pytest.fixture(scope='session', autouse=True)\n"
        "def shared():\n    with socket.socket() as opened:\n        yield opened\n"
    )
    result = run(tmp_path, "pass")
    assert result.returncode == 0, result.stdout
