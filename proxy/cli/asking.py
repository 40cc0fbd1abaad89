"""What commands share that ask the admin API of a running gateway: where it is, how to ask, how to show the answer."""

import asyncio
import ipaddress
import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer

__all__ = ["AdminUrl", "ConfigFile", "Json", "ask", "duration", "fail", "interval", "seconds", "show", "when"]

CONNECT = 5.0
PATIENCE = 900.0
"""Seconds: some answers take a look at all that there is."""
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

AdminUrl = Annotated[
    str, typer.Option("--admin-url", metavar="URL", help="Default: admin.host and admin.port of the configuration.")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Default: $ASKONCE_CONFIG, else ./config.toml if there is one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def ask(
    method: str,
    path: str,
    admin_url: str,
    option: Path | None,
    *,
    query: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
    absent: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The answer's JSON; `path` is behind `/admin/v1/`. Raises ConfigError; ends the command for what is no success,
    but for a 404 where `absent` stands for it.
    """
    url, token = _place(admin_url, option)
    status, text = asyncio.run(_call(method, f"{url}/admin/v1/{path}", token, query, body))
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        fail(f"what answers at {url} is no gateway of this kind (status {status})")
    if status == 401:
        fail(f"the gateway at {url} refuses the token: is ASKONCE_ADMIN_TOKEN the one that it has?")
    if status == 404 and absent is not None:
        return absent
    if not 200 <= status < 300:
        fail(f"{found.get('detail') or found.get('title') or 'refused'} (status {status})")
    return found


def show(found: dict[str, Any], rows: list[list[str]], *, as_json: bool) -> None:
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


def seconds(text: str) -> float | None:
    """Of a duration such as 30s, 5m, 1h or 2d; None for what is none."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", text)
    return None if match is None else float(match[1]) * UNITS[match[2]]


def interval(option: str, text: str) -> float:
    """As `seconds`; ends the command for what is none."""
    found = seconds(text)
    if found is None:
        fail(f"{option}: a duration such as 30s, 5m, 1h or 2d")
    return found


def duration(of: float) -> str:
    for name in ("d", "h", "m"):
        if abs(of) >= 2 * UNITS[name]:
            return f"{of / UNITS[name]:.0f}{name}"
    return f"{of:.0f}s"


def when(at: float) -> str:
    """Of seconds since the epoch."""
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")


def fail(why: str) -> NoReturn:
    print(f"askonce: {why}", file=sys.stderr)
    raise typer.Exit(1)


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
        fail(f"cannot reach the gateway at {url.partition('/admin/v1')[0]}: {reason}")


def _place(admin_url: str, option: Path | None) -> tuple[str, str]:
    """The listener's URL, and the token. Without need the configuration is not read: it may be another machine's."""
    from proxy import config as configuration

    token = os.environ.get("ASKONCE_ADMIN_TOKEN", "")
    if not (admin_url and token and not token.startswith(("env:", "file:"))):
        try:
            admin = configuration.load(configuration.find(option)).admin
        except configuration.ConfigError as error:
            why = "with --admin-url and ASKONCE_ADMIN_TOKEN the configuration is not read"
            raise configuration.ConfigError(f"{error}; {why}") from None
        token = admin.token.reveal()
        if not admin_url and not admin.port:
            fail("admin.port is 0, so the gateway has picked one: give --admin-url")
        admin_url = admin_url or f"http://{_reachable(admin.host)}:{admin.port}"
    parts = urlsplit(admin_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        fail("--admin-url: a URL such as http://127.0.0.1:8081")
    if not token:
        fail("no token: set ASKONCE_ADMIN_TOKEN to the gateway's, which its log shows if none was configured")
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
