"""Starts the real model's server, with the interpreter that `LLM_PYTHON` names."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def llm_url() -> Iterator[str]:
    """The suite's own time-out bounds the loading of the model."""
    command = [os.environ["LLM_PYTHON"], str(Path(__file__).with_name("serve_llm.py")), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if line.startswith("listening on ")), "")
            assert line, "the model's server ended before it listened"
            yield line.split()[-1] + "/v1"
        finally:
            process.terminate()
