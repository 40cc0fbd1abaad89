"""O3: the death of one worker is no outage."""

import asyncio
import os
import signal

from tests.fakes.gateway import GatewayProcess, StartProcess
from tests.fakes.polling import until
from tests.fakes.raw import RawClient

CHAT = b'{"model":"gpt-4o-mini","messages":[]}'


async def asked(gateway: GatewayProcess) -> int:
    async with gateway.client() as client:
        return (await client.ask("POST", "/v1/chat/completions", CHAT)).status


async def all_up(gateway: GatewayProcess, workers: int) -> None:
    for index in range(workers):
        await gateway.logged(event="worker_started", worker=index)
    await gateway.logged(event="listening", count=workers, timeout=20)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_siblings_serve_on_while_a_worker_is_dead(start_process: StartProcess) -> None:
    """After a kill -9 every new request is answered, and the worker comes back after its back-off."""
    gateway = await start_process("", "serve", "--workers", "2")
    await all_up(gateway, 2)
    victim, _ = gateway.children()
    os.kill(victim, signal.SIGKILL)
    died = await gateway.logged(event="worker_died", pid=victim)
    assert (died["reason"], died["restart_in_s"]) == ("signal 9", 0.1)
    assert [await asked(gateway) for _ in range(20)] == [200] * 20
    replaced = await gateway.logged(event="worker_started", worker=died["worker"], count=2)
    await gateway.logged(event="listening", count=3, timeout=20)
    assert replaced["pid"] in gateway.children()
    assert not alive(victim)


async def test_the_replacement_takes_its_share_of_connections(start_process: StartProcess) -> None:
    """It listens on the same port, also where that was picked by the system: both answer when the other is dead."""
    gateway = await start_process("", "serve", "--workers", "2")
    await all_up(gateway, 2)
    first, second = gateway.children()
    os.kill(first, signal.SIGKILL)
    await gateway.logged(event="listening", count=3, timeout=20)
    os.kill(second, signal.SIGKILL)
    await gateway.logged(event="worker_died", pid=second)
    assert [await asked(gateway) for _ in range(5)] == [200] * 5


async def test_connections_of_siblings_survive(start_process: StartProcess) -> None:
    """Only what the dead worker held is cut: of many open connections, those of the sibling go on."""
    gateway = await start_process("", "serve", "--workers", "2")
    await all_up(gateway, 2)
    clients = [gateway.client() for _ in range(16)]
    try:
        for client in clients:
            await client.connect()
            assert (await client.ask("GET", "/healthz")).status == 200
        victim = gateway.children()[0]
        os.kill(victim, signal.SIGKILL)
        await gateway.logged(event="worker_died", pid=victim)
        outcomes = [await survives(client) for client in clients]
    finally:
        for client in clients:
            client.close()
    # The kernel spreads 16 connections by hash: all on one worker is a chance of 1 in 32,768.
    assert True in outcomes
    assert False in outcomes


async def survives(client: RawClient) -> bool:
    try:
        return (await client.ask("GET", "/healthz")).status == 200
    except (OSError, EOFError, AssertionError):
        return False


async def test_no_worker_outlives_a_killed_supervisor(start_process: StartProcess) -> None:
    """Nobody could stop them; they drain and free the ports."""
    gateway = await start_process("", "serve", "--workers", "2", clean=False)
    await all_up(gateway, 2)
    workers = gateway.children()
    gateway.signal(signal.SIGKILL)
    await gateway.logged(event="supervisor_gone", count=2)
    await until(lambda: not any(map(alive, workers)), 5, "workers end")


async def test_counters_of_a_killed_worker_are_kept(start_process: StartProcess) -> None:
    """What was served was served, whoever is scraped."""
    gateway = await start_process("", "serve", "--workers", "2")
    await all_up(gateway, 2)
    await asyncio.gather(*(asked(gateway) for _ in range(8)))
    await gateway.comes_to(8, "askonce_requests_total", 5.0, route="chat/completions")
    os.kill(gateway.children()[0], signal.SIGKILL)
    await gateway.logged(event="listening", count=3, timeout=20)
    assert await gateway.sample("askonce_requests_total", route="chat/completions") == 8
