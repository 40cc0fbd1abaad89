"""`python -m proxy.demo`: the demo upstream alone."""

import argparse
import asyncio
import json
import signal
import sys

from proxy.demo.app import application, start


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proxy.demo", description="The demo upstream, alone.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--tokens-per-second", type=float, default=0.0, help="0 is as fast as it goes")
    asked = parser.parse_args()
    try:
        asyncio.run(_serve(asked.host, asked.port, asked.latency_ms / 1_000, asked.tokens_per_second))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {asked.host}:{asked.port}: {error.strerror}\n")
        return 1
    return 0


async def _serve(host: str, port: int, latency: float, rate: float) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    runner, url = await start(application(latency=latency, rate=rate), host, port)
    sys.stdout.write(json.dumps({"event": "listening", "url": url.removesuffix("/v1"), "base_url": url}) + "\n")
    sys.stdout.flush()
    try:
        await stopped.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
