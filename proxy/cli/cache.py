"""`askonce cache`: what is stored, and how it goes. Asks the admin API of a running gateway."""

import asyncio
import ipaddress
import json
import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer

__all__ = ["cache"]

CONNECT = 5.0
PATIENCE = 900.0
"""Seconds: a purge looks at all that Redis holds."""
WIDEST = 64
"""Characters of a model's name in a list."""
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

cache = typer.Typer(help="Look into the cache of a running gateway, and purge it.", no_args_is_help=True)

_AdminUrl = Annotated[
    str, typer.Option("--admin-url", metavar="URL", help="Default: admin.host and admin.port of the configuration.")
]
_ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Default: $ASKONCE_CONFIG, else ./config.toml if there is one."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Key = Annotated[str, typer.Option(metavar="HEX", help="One entry: what x-askonce-cache-key said.")]
_Tag = Annotated[str, typer.Option(help="Given by x-askonce-cache-tags.")]
_Model = Annotated[str, typer.Option(help="Asked for, or the one that answered.")]
_Team = Annotated[str, typer.Option(help="Of whoever asked.")]
_Endpoint = Annotated[str, typer.Option(help="Such as chat/completions.")]
_Scope = Annotated[str, typer.Option(metavar="HEX", help="Who shares the entries, as `list --json` shows it.")]
_OlderThan = Annotated[str, typer.Option(metavar="DURATION", help="30s, 5m, 1h, 2d.")]


@cache.command()
def stats(admin_url: _AdminUrl = "", config: _ConfigFile = None, *, as_json: _Json = False) -> None:
    """How much there is."""
    found = _ask("GET", "stats", admin_url, config)
    memory, redis = found["memory"], found["redis"]
    rows = [[f"memory of worker {found['worker']}", *_amount(memory)]]
    if redis is not None:
        size = ["does not answer", ""]
        if "database_keys" in redis:
            size = [f"{redis['database_keys']:,} keys", f"{redis['database_bytes']:,} B"]
        rows.append(["redis, the whole of it", *size])
        rows.append(["waiting for redis", f"{redis['waiting_writes']:,} writes", ""])
    _print(found, rows, as_json=as_json)


@cache.command("list")
def list_entries(
    tag: _Tag = "", model: _Model = "", team: _Team = "", endpoint: _Endpoint = "", scope: _Scope = "",
    older_than: _OlderThan = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50,
    cursor: Annotated[str, typer.Option(help="Where the page before said that it goes on.")] = "",
    admin_url: _AdminUrl = "", config: _ConfigFile = None, *, as_json: _Json = False,
) -> None:  # fmt: skip
    """A page of the entries."""
    asked = _conditions(tag=tag, model=model, team=team, endpoint=endpoint, scope=scope, older_than=older_than)
    asked |= {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    found = _ask("GET", "entries", admin_url, config, query=asked)
    rows = [["key", "endpoint", "model", "kind", "bytes", "age", "ttl", "tags"]]
    for entry in found["entries"]:
        age, ttl = _duration(entry["age"]), _duration(entry["ttl"])
        names = [entry["key"], entry["endpoint"], _short(entry["model"]), entry["kind"]]
        rows.append([*names, f"{entry['bytes']:,}", age, ttl, ",".join(entry["tags"])])
    _print(found, rows, as_json=as_json)
    if found["cursor"] and not as_json:
        print(f"more: --cursor {found['cursor']}", file=sys.stderr)


@cache.command()
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="What x-askonce-cache-key said.")],
    admin_url: _AdminUrl = "", config: _ConfigFile = None,
    *,
    body: Annotated[bool, typer.Option("--body", help="With the answer itself, which is somebody's.")] = False,
    as_json: _Json = False,
) -> None:  # fmt: skip
    """One entry."""
    if not re.fullmatch("[0-9a-f]{64}", key):
        _fail("KEY: 64 hexadecimal digits, lower case")
    found = _ask("GET", f"entries/{key}", admin_url, config, query={"body": "true"} if body else {})
    rows = [[name, _text(name, value)] for name, value in found.items() if name != "body"]
    _print(found, rows, as_json=as_json)
    if "body" in found and not as_json:
        print("".join(found["body"]["frames"]))


@cache.command()
def purge(
    key: _Key = "", tag: _Tag = "", model: _Model = "", team: _Team = "", endpoint: _Endpoint = "", scope: _Scope = "",
    older_than: _OlderThan = "",
    admin_url: _AdminUrl = "", config: _ConfigFile = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Whatever meets the other conditions, if any.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: _Json = False,
) -> None:  # fmt: skip
    """Remove the entries that meet every condition given, from all workers and from Redis."""
    asked: dict[str, Any] = _conditions(
        key=key, tag=tag, model=model, team=team, endpoint=endpoint, scope=scope, older_than=older_than
    )
    if everything:
        asked["all"] = True
    if not asked:
        _fail("which entries? give --key, --tag, --model, --team, --endpoint, --scope, --older-than or --all")
    found = _ask("POST", "purge", admin_url, config, body=asked | {"dry_run": dry_run})
    verb = "would go" if dry_run else "gone"
    rows = [[name, *_amount(tier), verb] for name, tier in _tiers(found)]
    _print(found, rows, as_json=as_json)


def _tiers(found: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    """The shared one says how much there was; each worker's memory is a copy of some."""
    if found["redis"] is not None:
        yield "redis", found["redis"]
    yield f"memory of worker {found['memory']['worker']}", found["memory"]


def _amount(tier: dict[str, Any]) -> list[str]:
    entries = tier["entries"]
    return [f"{entries:,} {'entry' if entries == 1 else 'entries'}", f"{tier['bytes']:,} B"]


def _conditions(older_than: str, **texts: str) -> dict[str, Any]:
    asked: dict[str, Any] = {name: text for name, text in texts.items() if text}
    if older_than:
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", older_than)
        if match is None:
            _fail("--older-than: a duration such as 30s, 5m, 1h or 2d")
        asked["older_than"] = float(match[1]) * UNITS[match[2]]
    return asked


def _ask(
    method: str,
    path: str,
    admin_url: str,
    option: Path | None,
    *,
    query: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The answer's JSON. Raises ConfigError; ends the command for anything that is no success."""
    url, token = _place(admin_url, option)
    status, text = asyncio.run(_call(method, f"{url}/admin/v1/cache/{path}", token, query, body))
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        _fail(f"what answers at {url} is no gateway of this kind (status {status})")
    if status == 401:
        _fail(f"the gateway at {url} refuses the token: is ASKONCE_ADMIN_TOKEN the one that it has?")
    if status != 200:
        _fail(f"{found.get('detail') or found.get('title') or 'refused'} (status {status})")
    return found


async def _call(
    method: str, url: str, token: str, query: dict[str, Any] | None, body: dict[str, Any] | None
) -> tuple[int, bytes]:
    import aiohttp

    patience = aiohttp.ClientTimeout(total=PATIENCE, sock_connect=CONNECT)
    try:
        async with (
            aiohttp.ClientSession(timeout=patience) as session,
            session.request(
                method,
                url,
                params=query,
                json=body,
                headers={"authorization": f"Bearer {token}"},
                allow_redirects=False,
            ) as response,
        ):
            return response.status, await response.read()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        reason = getattr(error, "strerror", None) or (
            "it takes too long" if isinstance(error, TimeoutError) else str(error)
        )
        _fail(f"cannot reach the gateway at {url.partition('/admin/v1')[0]}: {reason}")


def _place(admin_url: str, option: Path | None) -> tuple[str, str]:
    """The listener's URL, and the token. Without need the configuration is not read: it may be another machine's."""
    from proxy import config as configuration

    token = os.environ.get("ASKONCE_ADMIN_TOKEN", "")
    if not (admin_url and token and not token.startswith(("env:", "file:"))):
        admin = configuration.load(configuration.find(option)).admin
        token = admin.token.reveal()
        if not admin_url and not admin.port:
            _fail("admin.port is 0, so the gateway has picked one: give --admin-url")
        admin_url = admin_url or f"http://{_reachable(admin.host)}:{admin.port}"
    parts = urlsplit(admin_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        _fail("--admin-url: a URL such as http://127.0.0.1:8081")
    if not token:
        _fail("no token: set ASKONCE_ADMIN_TOKEN to the gateway's, which its log shows if none was configured")
    return admin_url.rstrip("/"), token.strip()


def _reachable(host: str) -> str:
    """Whatever the listener is bound to, as the host of a URL."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"[{address}]" if address.version == 6 else str(address)


def _print(found: dict[str, Any], rows: list[list[str]], *, as_json: bool) -> None:
    """Rows as columns, on a terminal or not; the first is no different from the others."""
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for row in rows:
        table.add_row(*(Text("".join(c if c.isprintable() else "�" for c in cell), overflow="fold") for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 1_000).print(table)


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _text(name: str, value: object) -> str:
    if name in ("created", "expires", "stale_until") and isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC).isoformat(" ", "seconds")
    if name in ("age", "ttl") and isinstance(value, (int, float)):
        return _duration(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _duration(seconds: float) -> str:
    for name in ("d", "h", "m"):
        if abs(seconds) >= 2 * UNITS[name]:
            return f"{seconds / UNITS[name]:.0f}{name}"
    return f"{seconds:.0f}s"


def _fail(why: str) -> NoReturn:
    print(f"askonce: {why}", file=sys.stderr)
    raise typer.Exit(1)
