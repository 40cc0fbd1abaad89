"""Starts the real model's server, with the interpreter that `LLM_PYTHON` names."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

START = 60.0
"""Seconds in which the model is loaded."""


@pytest.fixture(scope="session")
async def llm_url() -> AsyncIterator[str]:
    script = Path(__file__).with_name("serve_llm.py")
    process = await asyncio.create_subprocess_exec(
        os.environ["LLM_PYTHON"], str(script), "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    line = b""
    try:
        async with asyncio.timeout(START):
            while not line.startswith(b"listening on "):
                line = await process.stdout.readline()
                if not line:
                    pytest.fail("the model's server ended before it listened")
        yield line.decode().split()[-1] + "/v1"
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
