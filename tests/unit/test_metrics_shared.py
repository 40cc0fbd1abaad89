"""The metrics of several workers, each a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.telemetry.metrics import forget_worker

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import os, signal
from proxy.telemetry.metrics import Metrics
metrics = Metrics(max_models=2)
if {idle}:
    raise SystemExit
for _ in range({requests}):
    metrics.request_finished("embeddings", "POST", 200, "relayed", stream=False, seconds=0.2)
for model in {models!r}:
    metrics.model_answered(model)
    metrics.tokens(model, {{"input": 10}})
metrics.in_flight = {in_flight}
metrics.bytes_received += 100
metrics.publish()
if {killed}:
    os.kill(os.getpid(), signal.SIGKILL)
metrics.publish()
print(metrics.render()[0].decode())
"""


def run(
    directory: Path,
    slot: int,
    *,
    requests: int = 0,
    in_flight: int = 0,
    models: tuple[str, ...] = (),
    killed: bool = False,
    idle: bool = False,
) -> dict[str, float]:
    """What a worker in this slot exposes after its work."""
    code = WORK.format(requests=requests, in_flight=in_flight, models=models, killed=killed, idle=idle)
    environ = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PROMETHEUS_MULTIPROC_DIR": str(directory),
        "ASKONCE_WORKER": str(slot),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr
    lines = (line.rpartition(" ") for line in done.stdout.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


REQUESTS = 'askonce_requests_total{method="POST",outcome="relayed",route="embeddings",status="200"}'
TIMED = 'askonce_request_duration_seconds_count{route="embeddings",stream="false"}'


def test_o7_workers_add_up(tmp_path: Path) -> None:
    """Whichever worker is asked, it answers for all."""
    run(tmp_path, 0, requests=3, in_flight=1)
    found = run(tmp_path, 1, requests=4, in_flight=2)
    assert found[REQUESTS] == found[TIMED] == 7
    assert found["askonce_in_flight"] == 3
    assert found["askonce_request_bytes_total"] == 200
    assert sum(value for name, value in found.items() if name.startswith("askonce_build_info")) == 1


def test_o7_a_worker_that_takes_over_a_slot_counts_on(tmp_path: Path) -> None:
    """After a kill -9 nothing counted is lost or counted twice, and what was in flight is gone."""
    run(tmp_path, 0, requests=3, in_flight=5, killed=True)
    found = run(tmp_path, 0, requests=4)
    assert found[REQUESTS] == found[TIMED] == 7
    assert found["askonce_in_flight"] == 0


def test_o7_a_dead_workers_gauges_are_dropped(tmp_path: Path) -> None:
    """Until its slot is filled again, a dead worker has nothing in flight, and its counts stay."""
    run(tmp_path, 0, requests=3, in_flight=5, killed=True)
    forget_worker("0", str(tmp_path))
    found = run(tmp_path, 1)
    assert found["askonce_in_flight"] == 0
    assert found[REQUESTS] == 3


def test_o7_a_worker_that_restarts_begins_with_nothing_in_flight(tmp_path: Path) -> None:
    """Before it has published anything, it does not show what the dead one left behind."""
    run(tmp_path, 0, in_flight=5, killed=True)
    run(tmp_path, 0, idle=True)
    assert run(tmp_path, 1)["askonce_in_flight"] == 0


def test_o7_restarts_do_not_widen_the_bound_on_models(tmp_path: Path) -> None:
    """Names that are labels already count against the bound of the worker that starts next."""
    run(tmp_path, 0, models=("a", "b"), killed=True)
    found = run(tmp_path, 0, models=("c", "a"))
    tokens = {name: value for name, value in found.items() if name.startswith("askonce_tokens_total")}
    assert tokens == {
        'askonce_tokens_total{kind="input",model="a"}': 20,
        'askonce_tokens_total{kind="input",model="b"}': 10,
        'askonce_tokens_total{kind="input",model="other"}': 10,
    }


def test_o7_a_file_just_made_is_no_error(tmp_path: Path) -> None:
    """A worker killed as it made its file does not spoil the scrape of the others."""
    (tmp_path / "counter_7.db").touch()
    assert run(tmp_path, 0, requests=1)[REQUESTS] == 1


@pytest.mark.parametrize("slot", ["a_b", "../0", ""])
def test_a_slot_is_a_plain_name(tmp_path: Path, slot: str) -> None:
    """What would break out of the file's name is refused; none at all means the pid."""
    code = "from proxy.telemetry.metrics import Metrics; Metrics()"
    environ = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "ASKONCE_WORKER": slot,
    }
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, timeout=30, check=False)
    assert (done.returncode == 0) is (slot == "")
