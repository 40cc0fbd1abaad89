"""What is asked is nobody's business."""

import os
import subprocess
import sys
from pathlib import Path

from cache.semantic.embedders.onnx_model import OnnxModel
from cache.semantic.minilm import minilm

LOAD = "from tests.unit.semantic.test_embedder_privacy import embed; embed()"
ROOT = Path(__file__).resolve().parents[3]


def embed() -> None:
    """Prints what the process has open that is no file of the system, beside the standard three."""
    OnnxModel.load(minilm()).run(["How do I reset my password?"])
    links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
    found = [str(link.readlink()) for link in links]
    print([name for name in found if "socket" in name or os.environ["HOME"] in name])  # noqa: T201


def test_the_runtime_keeps_no_file_and_opens_no_connection(tmp_path: Path) -> None:
    """Some releases of onnxruntime write down what they are used for, and send it to their makers."""
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"
    assert [*tmp_path.rglob("*")] == []
