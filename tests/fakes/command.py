"""The command `askonce` within the test's own process, which spares it a start."""

import asyncio
import io
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

__all__ = ["Printed", "askonce"]


class Printed(NamedTuple):
    code: int
    out: str
    err: str


async def askonce(*arguments: str, environ: Mapping[str, str]) -> Printed:
    """In a thread, in an empty folder, with these variables and no others."""
    return await asyncio.to_thread(_run, arguments, environ)


def _run(arguments: tuple[str, ...], environ: Mapping[str, str]) -> Printed:
    from proxy.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with ExitStack() as stack:
        stack.enter_context(chdir(stack.enter_context(tempfile.TemporaryDirectory(prefix="askonce-"))))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        stack.enter_context(patch.object(sys, "argv", ["askonce", *arguments]))
        stack.enter_context(patch.dict(os.environ, environ, clear=True))
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Printed(code, _read(out), _read(err))


def _read(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read().rstrip("\n")
