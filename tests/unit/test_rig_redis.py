"""The rig's Redis server: nothing of it outlives a run of tests, however that ends."""

import asyncio
import sys
from pathlib import Path

from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
ABORTED = """
from tests.fakes.redis_server import RedisServer

server = RedisServer()
server.start()
print(server._process.pid, server.folder, flush=True)
os._exit(1)
"""


async def test_a_server_ends_with_an_aborted_run() -> None:
    """Its process and its folder go, although nobody was left to clean up."""
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", ABORTED, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    said, _ = await run.communicate()
    pid, folder = said.decode().split()
    await until(lambda: not Path(f"/proc/{pid}").exists() and not Path(folder).exists(), 5.0)


def test_a_server_is_what_it_was_after_a_restart() -> None:
    """On the same port, and empty; frozen it can be killed."""
    with RedisServer() as server:
        port = server.port
        server.tell("SET", "a", "x")
        server.restart()
        assert (server.port, server.tell("DBSIZE")) == (port, 0)
        with server.frozen():
            server.kill()
    assert not server.folder.exists()
