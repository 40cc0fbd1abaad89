"""What `askonce serve` does around the server."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.fakes.gateway import environment, inherited

TOLD = "print('collects', gc.isenabled(), gc.get_freeze_count() > 50_000, gc.get_threshold()[0] == 10_000, flush=True)"
PROGRAM = f"""
import gc, sys
from proxy.cli.serve import serve
from proxy.app import App
drain = App.drain
def told(self, hurry):
    {TOLD}
    return drain(self, hurry)
App.drain = told
sys.exit(serve(None, None))
"""


def test_a_serving_process_collects_garbage(tmp_path: Path) -> None:
    """Which it does not while it starts, nor for a few requests; and what its start has made is not looked at."""
    variables = inherited() | environment("http://127.0.0.1:9/v1", {})
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any('"listening"' in line for line in process.stdout)
        os.kill(process.pid, signal.SIGTERM)
        assert "collects True True True\n" in process.stdout.readlines()
    assert process.returncode == 0
