"""`askonce cache`: what is stored, and how it goes. Asks the admin API of a running gateway."""

import json
import re
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from proxy.cli.asking import AdminUrl, ConfigFile, Json, ask, duration, fail, interval, show, when

__all__ = ["cache"]

WIDEST = 64
"""Characters of a model's name in a list."""

cache = typer.Typer(help="Look into the cache of a running gateway, and purge it.", no_args_is_help=True)

_Key = Annotated[str, typer.Option(metavar="HEX", help="One entry: what x-askonce-cache-key said.")]
_Tag = Annotated[str, typer.Option(help="Given by x-askonce-cache-tags.")]
_Model = Annotated[str, typer.Option(help="Asked for, or the one that answered.")]
_Team = Annotated[str, typer.Option(help="Of whoever asked.")]
_Endpoint = Annotated[str, typer.Option(help="Such as chat/completions.")]
_Scope = Annotated[str, typer.Option(metavar="HEX", help="Who shares the entries, as `list --json` shows it.")]
_OlderThan = Annotated[str, typer.Option(metavar="DURATION", help="30s, 5m, 1h, 2d.")]


@cache.command()
def stats(admin_url: AdminUrl = "", config: ConfigFile = None, *, as_json: Json = False) -> None:
    """How much there is."""
    found = ask("GET", "cache/stats", admin_url, config)
    memory, redis = found["memory"], found["redis"]
    rows = [[f"memory of worker {found['worker']}", *_amount(memory)]]
    if redis is not None:
        size = ["does not answer", ""]
        if "database_keys" in redis:
            size = [f"{redis['database_keys']:,} keys", f"{redis['database_bytes']:,} B"]
        rows.append(["redis, the whole of it", *size])
        rows.append(["waiting for redis", f"{redis['waiting_writes']:,} writes", ""])
    show(found, rows, as_json=as_json)


@cache.command("list")
def list_entries(
    tag: _Tag = "", model: _Model = "", team: _Team = "", endpoint: _Endpoint = "", scope: _Scope = "",
    older_than: _OlderThan = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50,
    cursor: Annotated[str, typer.Option(help="Where the page before said that it goes on.")] = "",
    admin_url: AdminUrl = "", config: ConfigFile = None, *, as_json: Json = False,
) -> None:  # fmt: skip
    """A page of the entries."""
    asked = _conditions(tag=tag, model=model, team=team, endpoint=endpoint, scope=scope, older_than=older_than)
    asked |= {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    found = ask("GET", "cache/entries", admin_url, config, query=asked)
    rows = [["key", "endpoint", "model", "kind", "bytes", "age", "ttl", "tags"]]
    for entry in found["entries"]:
        age, ttl = duration(entry["age"]), duration(entry["ttl"])
        names = [entry["key"], entry["endpoint"], _short(entry["model"]), entry["kind"]]
        rows.append([*names, f"{entry['bytes']:,}", age, ttl, ",".join(entry["tags"])])
    show(found, rows, as_json=as_json)
    if found["cursor"] and not as_json:
        print(f"more: --cursor {found['cursor']}", file=sys.stderr)


@cache.command("show")
def show_entry(
    key: Annotated[str, typer.Argument(metavar="KEY", help="What x-askonce-cache-key said.")],
    admin_url: AdminUrl = "", config: ConfigFile = None,
    *,
    body: Annotated[bool, typer.Option("--body", help="With the answer itself, which is somebody's.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="With the rules that made the questions one.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """One entry, and the questions that it answers."""
    from proxy.cli.why import explained

    _check(key)
    found = ask("GET", f"cache/entries/{key}", admin_url, config, query={"body": "true"} if body else {})
    story = ask("GET", f"cache/questions/{key}", admin_url, config, absent={})
    for served in story.get("served", []) if rules else []:
        served["why"] = explained(served["asked"], served["stored"], config)
    rows = [[name, _text(name, value)] for name, value in found.items() if name != "body"]
    show(found | ({"semantic": story} if story else {}), [*rows, *_told(story)], as_json=as_json)
    if "body" in found and not as_json:
        print("".join(found["body"]["frames"]))


@cache.command()
def why(
    asked: Annotated[str, typer.Argument(metavar="QUESTION")],
    stored: Annotated[str, typer.Argument(metavar="QUESTION")],
    config: ConfigFile = None, *, as_json: Json = False,
) -> None:  # fmt: skip
    """Which rules make two questions one, or what keeps them apart; asks no gateway."""
    from cache.semantic.embedders.network import ModelError
    from proxy.cli.why import as_rows, explained

    try:
        found = explained(asked, stored, config, measured=True)
    except ModelError as error:
        fail(str(error))
    show(found, [*as_rows(found)], as_json=as_json)


@cache.command()
def distrust(
    key: Annotated[str, typer.Argument(metavar="KEY", help="What x-askonce-similar-key said.")],
    admin_url: AdminUrl = "", config: ConfigFile = None, *, as_json: Json = False,
) -> None:  # fmt: skip
    """Serve an answer to its own question alone from now on."""
    _check(key)
    found = ask("POST", f"cache/questions/{key}/distrust", admin_url, config)
    show(found, [["served to its own question alone", found["key"]]], as_json=as_json)


@cache.command()
def purge(
    key: _Key = "", tag: _Tag = "", model: _Model = "", team: _Team = "", endpoint: _Endpoint = "", scope: _Scope = "",
    older_than: _OlderThan = "",
    admin_url: AdminUrl = "", config: ConfigFile = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Whatever meets the other conditions, if any.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Remove the entries that meet every condition given, from all workers and from Redis."""
    asked: dict[str, Any] = _conditions(
        key=key, tag=tag, model=model, team=team, endpoint=endpoint, scope=scope, older_than=older_than
    )
    if everything:
        asked["all"] = True
    if not asked:
        fail("which entries? give --key, --tag, --model, --team, --endpoint, --scope, --older-than or --all")
    found = ask("POST", "cache/purge", admin_url, config, body=asked | {"dry_run": dry_run})
    verb = "would go" if dry_run else "gone"
    rows = [[name, *_amount(tier), verb] for name, tier in _tiers(found)]
    show(found, rows, as_json=as_json)


def _check(key: str) -> None:
    if not re.fullmatch("[0-9a-f]{64}", key):
        fail("KEY: 64 hexadecimal digits, lower case")


def _told(story: dict[str, Any]) -> Iterable[list[str]]:
    """Both questions of each hit, and what let it through."""
    from proxy.cli.why import as_rows

    if not story:
        return
    yield ["question", story["question"]]
    for alias in story["aliases"]:
        yield ["means the same", alias]
    if story["min_similarity"]:
        yield ["served from", f"{story['min_similarity']:.4f}, if labels allow it"]
    yield ["wrong labels", str(story["wrong"])]
    if story["own_question_only"]:
        yield ["served to", "its own question alone"]
    for served in story["served"]:
        score = f" {served['score']:.4f}" if served["score"] else ""
        why = f"{served['similarity']:.4f} {served['tier']}/{served['rule']}{score}"
        yield [f"served {when(served['time'])}", f"{served['asked']}  ({why}, {served['call_id']})"]
        if served["stored"] != story["question"]:
            yield ["", f"as it was like: {served['stored']}"]
        if "why" in served:
            yield from as_rows(served["why"])


@cache.command()
def labels(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 10_000,
    admin_url: AdminUrl = "", config: ConfigFile = None,
) -> None:  # fmt: skip
    """Pairs of questions whose answers were compared, as lines that `askonce calibrate` reads."""
    for pair in ask("GET", "cache/labels", admin_url, config, query={"limit": str(limit)})["labels"]:
        print(json.dumps(pair, ensure_ascii=False))


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
        asked["older_than"] = interval("--older-than", older_than)
    return asked


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _text(name: str, value: object) -> str:
    if name in ("created", "expires", "stale_until") and isinstance(value, (int, float)):
        return when(value)
    if name in ("age", "ttl") and isinstance(value, (int, float)):
        return duration(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
