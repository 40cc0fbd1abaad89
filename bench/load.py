"""Drives one server for one slice: wrk where it is installed, the built-in generator elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.cpu import pinned
from bench.spec import CHAT, Result, Spec

__all__ = ["LoadError", "drive", "parse_wrk", "wrk_installed"]

_SCRIPT = Path(__file__).with_name("wrk.lua")
_SLACK = 90.0


class LoadError(Exception):
    """The load could not be driven."""


def wrk_installed() -> bool:
    return shutil.which("wrk") is not None


def parse_wrk(output: str) -> Result:
    """Reads the line that wrk.lua prints. Raises LoadError where there is none."""
    for line in output.splitlines():
        if line.startswith("RESULT "):
            told = json.loads(line.removeprefix("RESULT "))
            errors = {kind: count for kind, count in told["errors"].items() if count}
            return Result(
                done=told["requests"],
                failed=sum(errors.values()),
                seconds=told["duration_us"] / 1e6,
                p50_ms=told["p50_us"] / 1e3,
                p99_ms=told["p99_us"] / 1e3,
                complaints=[f"{count} × {kind}" for kind, count in errors.items()],
            )
    raise LoadError(f"wrk gave no result: {output[-300:]!r}")


def drive(spec: Spec, scratch: Path, on: set[int]) -> Result:
    """Runs the load in a process of its own, on the given cores, and waits for it."""
    use_wrk = spec.kind == "requests" and wrk_installed()
    command, environment = _wrk(spec, scratch) if use_wrk else _generator(spec)
    with pinned(on):
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        output, _ = process.communicate(timeout=spec.seconds + 2 * spec.frames * spec.gap + _SLACK)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        raise LoadError(f"{command[0]} ended with {process.returncode}: {output[-600:]}")
    return parse_wrk(output) if use_wrk else msgspec.json.decode(output.splitlines()[-1], type=Result)


def _wrk(spec: Spec, scratch: Path) -> tuple[list[str], dict[str, str]]:
    body = scratch / f"body-{spec.body_bytes}-{spec.stream}.json"
    body.write_bytes(spec.body(spec.first))
    seconds = max(1, round(spec.seconds))
    url = f"http://127.0.0.1:{spec.port}{CHAT}"
    command = ["wrk", "-t1", f"-c{spec.connections}", f"-d{seconds}s", "-s", str(_SCRIPT), url]
    told = {
        "BENCH_BODY": str(body),
        "BENCH_QUESTIONS": str(spec.questions),
        "BENCH_FIRST": str(spec.first),
        "BENCH_NO_STORE": str(int(spec.no_store)),
    }
    return command, {**os.environ, **told}


def _generator(spec: Spec) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "bench.generator", msgspec.json.encode(spec).decode()], dict(os.environ)
