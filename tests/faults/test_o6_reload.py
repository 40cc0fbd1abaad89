"""O6: SIGHUP takes a good configuration up, and leaves a bad one where it is."""

import asyncio
import os
import shutil
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.config import Config, ConfigError, load
from proxy.keys.pepper import load_pepper
from tests.fakes.answers import event_stream, json_answer
from tests.fakes.budgets import FITTING, used_answer
from tests.fakes.frames import CHAT, DONE, STREAM, chat_frame
from tests.fakes.gateway import Gateway, StartGateway, environment, spawn
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.team import keyed
from tests.fakes.upstream import ScriptedUpstream

FRAME = chat_frame("x")


def _write(path: Path, url: str) -> Path:
    path.write_text(f'[upstreams.a]\nbase_url = "{url}"\n')
    return path


BAD = {
    "no TOML": b"[listen\n",
    "unknown key": b"[listen]\nprot = 1\n",
    "wrong type": b'[timeouts]\nidle = "soon"\n',
    "impossible": b"[timeouts]\nidle = -1\n",
    "no URL": b'[upstreams.a]\nbase_url = "ftp://x"\n',
    "bytes": b"\xff\xfe\x00",
    "no such file": None,
    "CA file": b'[upstreams.a]\nbase_url = "https://x/v1"\nca_file = "/nowhere"\n',
}


async def test_o6_bad_reloads_change_nothing(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """However bad, a reload leaves the old configuration, says why in one line, and can be repeated."""
    path = _write(tmp_path / "askonce.toml", upstream.url)
    async with spawn("", "serve", "--config", str(path)) as gateway, gateway.client() as client:
        assert (await client.ask(body=CHAT)).status == 200
        for count, (name, content) in enumerate(BAD.items(), 1):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
            gateway.signal(signal.SIGHUP)
            line = await gateway.logged(event="reload_refused", count=count)
            assert line["level"] == "error", name
            assert "\n" not in line["reason"]
            assert (await client.ask(body=CHAT)).status == 200, name
        assert not gateway.logs(event="reloaded")
    assert len({request.connection for request in upstream.requests}) == 1


async def test_o6_a_good_reload_moves_new_requests(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """New requests go to the new upstream, also on old connections; an old stream goes on where it was."""
    go_on = asyncio.Event()
    upstream.script(event_stream([FRAME, go_on, FRAME, DONE]))
    path = _write(tmp_path / "askonce.toml", upstream.url)
    async with (
        ScriptedUpstream(json_answer({"from": "new"})) as new,
        spawn("", "serve", "--config", str(path)) as gateway,
        gateway.client() as old,
        gateway.client() as other,
    ):
        await other.ask("GET", "/healthz")
        await old.send(compose(body=STREAM))
        response = await old.start()
        assert await old.chunk(response) == FRAME
        _write(path, new.url)
        gateway.signal(signal.SIGHUP)
        await gateway.logged(event="reloaded")
        assert (await other.ask(body=CHAT)).json() == {"from": "new"}
        go_on.set()
        while await old.chunk(response):
            pass
        assert response.body == FRAME + FRAME + DONE
        assert (await old.ask(body=CHAT)).json() == {"from": "new"}


def _config(url: str, **settings: object) -> Config:
    return load(None, environment(url, settings))


def _pair(authority: trustme.CA, directory: Path, name: str) -> tuple[str, str]:
    """A certificate for this machine and its key, as files."""
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return str(certificate), str(key)


async def test_o6_old_connections_are_let_go(upstream: ScriptedUpstream, gateway: Gateway) -> None:
    """Connections of the old configuration close once they are idle."""
    async with gateway.client() as client:
        await client.ask(body=CHAT)
        assert len(upstream.connections) == 1
        gateway.app.reload(_config(upstream.url))
        await until(lambda: not upstream.connections)
        assert (await client.ask(body=CHAT)).status == 200


async def test_o6_limits_follow_a_reload(upstream: ScriptedUpstream, gateway: Gateway) -> None:
    """A cap that was lowered holds for the next request."""
    async with gateway.client() as client:
        assert (await client.ask(body=CHAT)).status == 200
        gateway.app.reload(_config(upstream.url, http__max_json_bytes=10))
        assert (await client.ask(body=CHAT)).status == 413


async def test_o6_a_head_that_was_read_before_is_no_exception(upstream: ScriptedUpstream, gateway: Gateway) -> None:
    """A cap on heads that was lowered holds on new connections, also for heads that were remembered."""
    many = [(f"x-{number}", "y") for number in range(40)]

    async def ask() -> int:
        async with gateway.client() as client:
            return (await client.ask(body=CHAT, headers=many)).status

    assert [await ask(), await ask()] == [200, 200]
    gateway.app.reload(_config(upstream.url, http__max_headers=16))
    assert await ask() == 431


async def test_o6_what_only_a_start_changes_is_named(
    upstream: ScriptedUpstream, gateway: Gateway, capfd: pytest.CaptureFixture[str]
) -> None:
    """A setting that a reload can't change is named in the log, and the rest takes effect."""
    gateway.app.reload(_config(upstream.url, server__workers=3, timeouts__idle=7))
    assert gateway.app.config.timeouts.idle == 7
    said: list[str] = []

    def told() -> bool:
        said.append(capfd.readouterr().out)
        return '"setting":"server.workers"' in "".join(said)

    await until(told)


async def test_o6_https_is_turned_on_and_off_by_a_start_alone(
    start: StartGateway, upstream: ScriptedUpstream, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A reload that wants it otherwise says so, leaves the listener as it is, and takes the rest up."""
    certificate, key = _pair(trustme.CA(), tmp_path, "one")
    pair = {"listen__tls_certificate": certificate, "listen__tls_key": key}
    said: list[str] = []

    def told() -> bool:
        said.append(capfd.readouterr().out)
        return '"setting":"listen.tls_certificate"' in "".join(said)

    for before, after in ((pair, {}), ({}, pair)):
        gateway = await start(**before)
        gateway.app.reload(_config(upstream.url, timeouts__idle=7, **after))
        assert gateway.app.config.timeouts.idle == 7
        assert gateway.app.config.listen.tls_certificate == before.get("listen__tls_certificate", "")
        await until(told)
        said.clear()


async def test_o6_what_only_a_start_changes_is_named_at_every_reload(
    upstream: ScriptedUpstream, gateway: Gateway, capfd: pytest.CaptureFixture[str]
) -> None:
    """It's compared with what is in effect, not with what was asked for last."""
    said: list[str] = []

    def told_twice() -> bool:
        said.append(capfd.readouterr().out)
        return "".join(said).count('"setting":"log.level"') == 2

    for _ in range(2):
        gateway.app.reload(_config(upstream.url, log__level="debug"))
    await until(told_twice)
    assert gateway.app.config.log.level == "info"


async def test_o6_a_restarted_worker_is_as_its_siblings(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """What a reload cannot give to workers that run, HTTPS among it, it does not give to those that start later."""
    certificate, key = _pair(trustme.CA(), tmp_path, "one")
    path = _write(tmp_path / "askonce.toml", upstream.url)
    async with spawn("", "serve", "--workers", "2", "--config", str(path)) as gateway:
        await gateway.logged(event="listening", count=2, timeout=20)
        listen = f'[listen]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
        path.write_text(f'{listen}[log]\nlevel = "error"\n{path.read_text()}')
        gateway.signal(signal.SIGHUP)
        await gateway.logged(event="reloaded", count=2)
        for pid in gateway.children():
            os.kill(pid, signal.SIGKILL)
        await gateway.logged(event="listening", count=4, timeout=20)
        assert {line["url"] for line in gateway.logs(event="listening")} == {gateway.origin}
        assert gateway.origin.startswith("http:")
        async with gateway.client() as client:
            assert (await client.ask(body=CHAT)).status == 200


async def test_o6_a_reload_does_not_undo_a_drain(upstream: ScriptedUpstream, gateway: Gateway) -> None:
    """A process on its way out refuses new requests also after a reload."""
    go_on = asyncio.Event()
    upstream.script(event_stream([FRAME, go_on, DONE]))
    async with gateway.client() as old, gateway.client() as new:
        await old.send(compose(body=STREAM))
        await old.start()
        drain = asyncio.Task(gateway.app.drain(asyncio.Event()))
        await until(lambda: gateway.app.clients.draining)
        gateway.app.reload(_config(upstream.url))
        assert (await new.ask(body=CHAT)).status == 503
        go_on.set()
        await drain


async def test_o6_a_bad_certificate_keeps_the_old_one(
    start: StartGateway, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """A certificate without its key leaves the listener with the pair it has, and the upstream's connections open."""
    authority = trustme.CA()
    good, key = _pair(authority, tmp_path, "one")
    other, other_key = _pair(authority, tmp_path, "two")
    gateway = await start(listen__tls_certificate=good, listen__tls_key=key)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def healthy() -> bool:
        reader, writer = await asyncio.open_connection(*gateway.app.address, ssl=trusting)
        writer.write(b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        answer = await reader.read()
        writer.close()
        return answer.startswith(b"HTTP/1.1 200")

    assert await healthy()
    config = _config(upstream.url, listen__tls_certificate=other, listen__tls_key=other_key)
    shutil.copy(key, other_key)
    with pytest.raises(ConfigError, match="tls_certificate"):
        gateway.app.reload(config)
    assert await healthy()
    assert upstream.accepted == 1


async def test_o6_a_reload_that_is_refused_leaves_the_keys(
    start: StartGateway, upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were declared open, and no others do."""
    monkeypatch.setenv("ASKONCE_PEPPER", "f3a9c07b1d2e4856a7b8c9d0e1f20314")
    pepper, authority = load_pepper(tmp_path), trustme.CA()
    certificate, key = _pair(authority, tmp_path, "one")
    other, other_key = _pair(authority, tmp_path, "two")
    base = keyed(tmp_path, "", {})

    def declared(name: str, secret: bytes, certificate: str, key: str) -> dict[str, Any]:
        tls = {"listen__tls_certificate": certificate, "listen__tls_key": key}
        return {**base, **tls, f"keys__declared__{name}__digest": pepper.digest(secret).hex()}

    gateway = await start(**declared("good", b"sk-ask-one", certificate, key))
    bad = load(None, environment(upstream.url, declared("evil", b"sk-ask-two", other, other_key)))
    shutil.copy(key, other_key)
    with pytest.raises(ConfigError, match="tls_certificate"):
        gateway.app.reload(bad)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    answers = []
    for secret in ("sk-ask-one", "sk-ask-two"):
        reader, writer = await asyncio.open_connection(*gateway.app.address, ssl=trusting)
        writer.write(compose(headers=[("authorization", f"Bearer {secret}")], body=CHAT))
        answers.append(await reader.readline())
        writer.close()
        await writer.wait_closed()
    assert [answer.split()[1] for answer in answers] == [b"200", b"401"]


async def test_o6_a_reload_without_limits_charges_what_was_reserved(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """A call that was under way counts when there are limits again."""
    gate = asyncio.Event()
    upstream.script(used_answer(9, 7, before=gate), used_answer(9, 7))
    unlimited: dict[str, Any] = {"prices__models__m*__input": 1.0, "prices__models__m*__output": 10.0}
    unlimited |= {"limits__count": "bytes"}
    limited = {**unlimited, "limits__gateway__usd_in_all": 1.0}
    gateway = await start(**limited)
    async with gateway.client() as client:
        await client.send(compose(body=FITTING))
        await upstream.received()
        gateway.app.reload(load(None, environment(upstream.url, unlimited)))
        gate.set()
        assert (await client.response()).status == 200
        gateway.app.reload(load(None, environment(upstream.url, limited)))
        response = await client.ask(body=FITTING)
    assert response.header(b"x-askonce-budget-remaining-usd") == b"0.999842"
