"""`askonce keys`: who may ask, for what and how much. Asks the admin API of a running gateway."""

import json
import math
import re
import sys
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from proxy.cli.asking import AdminUrl, ConfigFile, Json, ask, fail, interval, seconds, show, when

__all__ = ["keys"]

keys = typer.Typer(help="Virtual keys of a running gateway, and their teams.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]
_Team = Annotated[str | None, typer.Option(help="An existing one, whose limits and budget count as well.")]
_Expires = Annotated[
    str | None, typer.Option(metavar="DURATION|DATE", help="30d, or 2027-01-31 in UTC; never: it does not.")
]
_Models = Annotated[list[str] | None, typer.Option("--model", metavar="PATTERN", help="May be given several times.")]
_Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint",
        metavar="NAME",
        help="Such as chat/completions; files, batches …: lists of what all have made there are for keys that name it.",
    ),
]
_Rpm = Annotated[
    str | None, typer.Option("--requests-per-minute", metavar="N", help="0: nothing; none: as configured; so below.")
]
_Tpm = Annotated[str | None, typer.Option("--tokens-per-minute", metavar="N")]
_Rpd = Annotated[str | None, typer.Option("--requests-per-day", metavar="N")]
_Concurrent = Annotated[str | None, typer.Option("--concurrent-requests", metavar="N")]
_Day = Annotated[str | None, typer.Option("--usd-per-day", metavar="USD")]
_Month = Annotated[str | None, typer.Option("--usd-per-month", metavar="USD")]
_All = Annotated[str | None, typer.Option("--usd-in-all", metavar="USD")]
_MaxTokens = Annotated[str | None, typer.Option("--max-tokens", metavar="N", help="Of one request and its answer.")]
_Scope = Annotated[str | None, typer.Option("--cache-scope", metavar="SCOPE", help="Who shares: key, team or global.")]
_Semantic = Annotated[str | None, typer.Option("--semantic", metavar="MODE", help="off, shadow or on.")]
_Priority = Annotated[
    str | None, typer.Option("--priority", metavar="CLASS", help="interactive, or batch: waits longer.")
]
_Metadata = Annotated[list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the secret and nothing else, for scripts.")]


_Cursor = Annotated[str, typer.Option(help="Where the page before said that it goes on.")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, or what for.")],
    team: _Team = None, expires: _Expires = None, model: _Models = None, endpoint: _Endpoints = None,
    requests_per_minute: _Rpm = None, tokens_per_minute: _Tpm = None, requests_per_day: _Rpd = None,
    concurrent_requests: _Concurrent = None, max_tokens: _MaxTokens = None,
    usd_per_day: _Day = None, usd_per_month: _Month = None, usd_in_all: _All = None,
    cache_scope: _Scope = None, semantic: _Semantic = None, priority: _Priority = None, metadata: _Metadata = None,
    admin_url: AdminUrl = "", config: ConfigFile = None,
    *,
    declare: Annotated[
        bool, typer.Option("--declare", help="Store nothing: print a secret, and the digest for config.toml.")
    ] = False,
    quiet: _Quiet = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Make a key. Its secret is shown once, and never again."""
    if declare:
        _declare(name, ask("POST", "keys/digest", admin_url, config, body={}), as_json=as_json)
        return
    body = _body(
        name=name, team=team, models=model, endpoints=endpoint, max_tokens=_amount("max_tokens", max_tokens),
        cache_scope=cache_scope, semantic=semantic, priority=priority, metadata=_pairs(metadata), **_life(expires),
        limits=_amounts(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute,
                        requests_per_day=requests_per_day, concurrent_requests=concurrent_requests),
        budgets=_amounts(usd_per_day=usd_per_day, usd_per_month=usd_per_month, usd_in_all=usd_in_all),
    )  # fmt: skip
    _reveal(ask("POST", "keys", admin_url, config, body=body), quiet=quiet, as_json=as_json)


@keys.command("list")
def list_keys(
    team: Annotated[str, typer.Option(help="Of this team alone.")] = "",
    state: Annotated[str, typer.Option(metavar="STATE", help="active, expired or revoked.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 100,
    cursor: _Cursor = "",
    admin_url: AdminUrl = "", config: ConfigFile = None, *, as_json: Json = False,
) -> None:  # fmt: skip
    """A page of the keys, in the order in which they were made."""
    asked = {name: text for name, text in (("team", team), ("state", state), ("cursor", cursor)) if text}
    found = ask("GET", "keys", admin_url, config, query=asked | {"limit": str(limit)})
    rows = [["id", "name", "team", "secret", "state", "last used", "limits and budgets"]]
    for key in found["keys"]:
        used = when(key["last_used"]) if key["last_used"] else "never"
        names = [key["id"], key["name"], key["team"] or "", key["secret"] or "", key["state"]]
        rows.append([*names, used, _bounds(key)])
    _show_page(found, rows, as_json=as_json)


@keys.command("show")
def show_key(key_id: _Id, admin_url: AdminUrl = "", config: ConfigFile = None, *, as_json: Json = False) -> None:
    """All that is known of one key."""
    _show_key(ask("GET", _path(key_id), admin_url, config), as_json=as_json)


@keys.command()
def update(
    key_id: _Id,
    name: Annotated[str | None, typer.Option(help="A new one.")] = None,
    team: _Team = None, expires: _Expires = None, model: _Models = None, endpoint: _Endpoints = None,
    requests_per_minute: _Rpm = None, tokens_per_minute: _Tpm = None, requests_per_day: _Rpd = None,
    concurrent_requests: _Concurrent = None, max_tokens: _MaxTokens = None,
    usd_per_day: _Day = None, usd_per_month: _Month = None, usd_in_all: _All = None,
    cache_scope: _Scope = None, semantic: _Semantic = None, priority: _Priority = None, metadata: _Metadata = None,
    admin_url: AdminUrl = "", config: ConfigFile = None, *, as_json: Json = False,
) -> None:  # fmt: skip
    """Change what is given, and nothing else; "" and none take away what was there."""
    body = _body(
        name=name, team=team, models=_cleared(model), endpoints=_cleared(endpoint),
        max_tokens=_amount("max_tokens", max_tokens), cache_scope=cache_scope, semantic=semantic,
        priority=priority, metadata=_pairs(metadata), **_life(expires),
        limits=_amounts(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute,
                        requests_per_day=requests_per_day, concurrent_requests=concurrent_requests),
        budgets=_amounts(usd_per_day=usd_per_day, usd_per_month=usd_per_month, usd_in_all=usd_in_all),
    )  # fmt: skip
    _show_key(ask("PATCH", _path(key_id), admin_url, config, body=body), as_json=as_json)


@keys.command()
def rotate(
    key_id: _Id,
    grace: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old secret still opens; 0s: no longer.")
    ] = "",
    admin_url: AdminUrl = "", config: ConfigFile = None, *, quiet: _Quiet = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Give a key a new secret, which is shown once."""
    body = {"grace": interval("--grace", grace)} if grace else {}
    found = ask("POST", f"{_path(key_id)}/rotate", admin_url, config, body=body)
    _reveal(found, quiet=quiet, as_json=as_json)


@keys.command()
def revoke(key_id: _Id, admin_url: AdminUrl = "", config: ConfigFile = None, *, as_json: Json = False) -> None:
    """End a key for good, on all workers within a second."""
    found = ask("DELETE", _path(key_id), admin_url, config)
    show(found, [[found["id"], found["name"], "revoked"]], as_json=as_json)


@keys.command()
def teams(cursor: _Cursor = "", admin_url: AdminUrl = "", config: ConfigFile = None, *, as_json: Json = False) -> None:
    """The teams, their limits and budgets."""
    found = ask("GET", "teams", admin_url, config, query={"limit": "1000"} | ({"cursor": cursor} if cursor else {}))
    rows = [["team", "keys", "limits and budgets"]]
    rows += [[team["name"], f"{team['keys']:,}", _bounds(team)] for team in found["teams"]]
    _show_page(found, rows, as_json=as_json)


@keys.command()
def team(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    requests_per_minute: _Rpm = None, tokens_per_minute: _Tpm = None, requests_per_day: _Rpd = None,
    concurrent_requests: _Concurrent = None,
    usd_per_day: _Day = None, usd_per_month: _Month = None, usd_in_all: _All = None, metadata: _Metadata = None,
    admin_url: AdminUrl = "", config: ConfigFile = None,
    *,
    new: Annotated[bool, typer.Option("--new", help="Make it; otherwise it is changed, or shown.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="It must have no keys left.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show a team, make one, or change what its keys share."""
    body = _body(
        metadata=_pairs(metadata),
        limits=_amounts(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute,
                        requests_per_day=requests_per_day, concurrent_requests=concurrent_requests),
        budgets=_amounts(usd_per_day=usd_per_day, usd_per_month=usd_per_month, usd_in_all=usd_in_all),
    )  # fmt: skip
    path = f"teams/{quote(name, safe='')}"
    if new:
        found = ask("POST", "teams", admin_url, config, body={"name": name} | body)
    elif body and not remove:
        found = ask("PATCH", path, admin_url, config, body=body)
    else:
        found = ask("DELETE" if remove else "GET", path, admin_url, config)
    bounds = _bounds(found) or "no limits of its own"
    show(found, [["team", found["name"]], ["keys", str(found["keys"])], ["share", bounds]], as_json=as_json)


def _path(key_id: str) -> str:
    if not re.fullmatch("[0-9A-Za-z_-]{1,80}", key_id) or key_id.startswith("sk-"):
        fail("ID: as `askonce keys list` shows it, which is not the secret")
    return f"keys/{key_id}"


def _reveal(found: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    if quiet:
        print(found["secret"])
        return
    key = found["key"]
    show(found, [["id", key["id"]], ["name", key["name"]], ["secret", found["secret"]]], as_json=as_json)
    if not as_json:
        print("the secret is not shown again", file=sys.stderr)


def _declare(name: str, found: dict[str, Any], *, as_json: bool) -> None:
    """The secret on standard error, so that what is redirected to a file may be committed."""
    if not re.fullmatch("[A-Za-z0-9_-]{1,64}", name):
        fail("NAME: for config.toml, at most 64 letters, digits, hyphens and underscores")
    if as_json:
        print(json.dumps({"name": name} | found))
        return
    print(f'[keys.declared.{name}]\ndigest = "{found["digest"]}"')
    print(f"the secret, which is not shown again: {found['secret']}", file=sys.stderr)


def _show_key(key: dict[str, Any], *, as_json: bool) -> None:
    rows = [[name, _text(name, value)] for name, value in key.items()]
    show(key, rows, as_json=as_json)


def _text(name: str, value: object) -> str:
    if value is None or value in ([], {}):
        return "-"
    if name in ("created", "expires", "revoked", "previous_until", "last_used") and isinstance(value, (int, float)):
        return when(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bounds(found: dict[str, Any]) -> str:
    """Limits and budgets in words."""
    amounts = found["limits"] | found["budgets"]
    return ", ".join(f"{name.replace('_', ' ')}: {_number(amount)}" for name, amount in amounts.items())


def _number(amount: float) -> str:
    return f"{amount:,.9f}".rstrip("0").rstrip(".")


def _body(**given: Any) -> dict[str, Any]:
    """What was given. An empty text takes away what was there."""
    found = {name: value for name, value in given.items() if value is not None and value != {}}
    return {name: None if value == "" else value for name, value in found.items()}


def _amounts(**given: str | None) -> dict[str, Any]:
    return _body(**{name: _amount(name, text) for name, text in given.items()})


def _amount(name: str, text: str | None) -> float | str | None:
    """Empty for no amount. 0 is one: it allows nothing."""
    if text is None:
        return None
    if text in ("", "none"):
        return ""
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        fail(f"--{name.replace('_', '-')}: a number, or none")
    return int(amount) if amount == int(amount) else amount


def _life(expires: str | None) -> dict[str, Any]:
    if expires is None:
        return {}
    if expires == "never":
        return {"expires": ""}
    if (life := seconds(expires)) is not None:
        return {"expires_in": life}
    try:
        date = datetime.fromisoformat(expires)
    except ValueError:
        fail("--expires: a duration such as 30d, a date such as 2027-01-31, or never")
    return {"expires": (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()}


def _pairs(metadata: list[str] | None) -> dict[str, str | None] | None:
    if metadata is None:
        return None
    if not all("=" in pair for pair in metadata):
        fail("--metadata: NAME=VALUE; nothing behind the sign takes it away")
    return {name: value or None for name, _, value in (pair.partition("=") for pair in metadata)}


def _cleared(given: list[str] | None) -> list[str] | None:
    """One empty pattern: none."""
    return [each for each in given if each] if given is not None else None


def _show_page(found: dict[str, Any], rows: list[list[str]], *, as_json: bool) -> None:
    show(found, rows, as_json=as_json)
    if found["cursor"] and not as_json:
        print(f"more: --cursor {found['cursor']}", file=sys.stderr)
