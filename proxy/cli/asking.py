"""What the commands that ask a running gateway share: where its admin API is, how it is asked, how it is shown."""

import asyncio
import ipaddress
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

__all__ = ["AdminUrl", "ConfigFile", "Json", "ask", "fail", "show"]

CONNECT = 5.0
PATIENCE = 900.0
"""Seconds: a purge looks at all that Redis holds."""

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
) -> dict[str, Any]:
    """The answer's JSON; `path` is below /admin/v1. Raises ConfigError; ends the command where there is none."""
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
    if status != 200:
        fail(f"{found.get('detail') or found.get('title') or 'refused'} (status {status})")
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
        fail(f"cannot reach the gateway at {url.partition('/admin/v1')[0]}: {reason}")


def _place(admin_url: str, option: Path | None) -> tuple[str, str]:
    """The listener's URL, and the token. Without need the configuration is not read: it may be another machine's."""
    from proxy import config as configuration

    token = os.environ.get("ASKONCE_ADMIN_TOKEN", "")
    if not (admin_url and token and not token.startswith(("env:", "file:"))):
        admin = configuration.load(configuration.find(option)).admin
        token = admin.token.reveal()
        if not admin_url and not admin.port:
            fail("admin.port is 0, so the gateway has picked one: give --admin-url")
        admin_url = admin_url or f"http://{_reachable(admin.host)}:{admin.port}"
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


def fail(why: str) -> NoReturn:
    print(f"askonce: {why}", file=sys.stderr)
    raise typer.Exit(1)
