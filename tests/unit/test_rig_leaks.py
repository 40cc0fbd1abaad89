"""A test that leaves something behind fails; shown on a suite of its own, in a process of its own."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
import asyncio, socket, warnings
from tests import conftest

conftest.SETTLING = 0.05
kept = []

async def test_task():
    kept.append(asyncio.Task(asyncio.sleep(9)))

async def test_descriptor():
    kept.append(socket.socket())

async def test_server():
    kept.append(await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0))

async def test_exception():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)

async def test_warning():
    warnings.warn("x", DeprecationWarning)

async def test_loop():
    assert type(asyncio.get_running_loop()).__module__ == "uvloop"

async def test_shared(shared):
    pass
"""
SHARED = """
import socket, pytest

@pytest.fixture(scope="session")
def shared():
    with socket.socket() as opened:
        yield opened
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By name, what is said of a test that failed."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "conftest.py").write_text(SHARED)
    options = ["-q", "-o", f"cache_dir={folder}", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    command = [sys.executable, "-m", "pytest", *options, f"--junitxml={folder}/outcomes", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=30)
    cases = ET.parse(folder / "outcomes").getroot().iter("testcase")  # noqa: S314  (pytest's own)
    return {
        case.attrib["name"].removeprefix("test_").partition("[")[0]: "".join(
            (trouble.text or "") for trouble in case if trouble.tag in ("failure", "error")
        )
        for case in cases
    }


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("task", "Task pending"),
        ("descriptor", "socket:"),
        ("server", "socket:"),
        ("exception", "ZeroDivisionError"),
        ("warning", "DeprecationWarning: x"),
    ],
)
def test_what_is_left_behind_fails_the_test(outcomes: dict[str, str], test: str, complaint: str) -> None:
    """Tasks, descriptors, unnoticed exceptions and warnings are failures, and the tests that follow run."""
    assert complaint in outcomes[test]


def test_asynchronous_tests_run_on_uvloop(outcomes: dict[str, str]) -> None:
    """The loop of the tests is the loop of the gateway; and a test that is clean passes."""
    assert outcomes["loop"] == ""


def test_what_a_session_shares_is_no_leak(outcomes: dict[str, str]) -> None:
    """A fixture of a wider scope is set up before the counting starts."""
    assert outcomes["shared"] == ""
