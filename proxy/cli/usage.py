"""`askonce usage`: what was used, by whom, and what it cost. Asks the admin API of a running gateway."""

import csv
import enum
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.cli.asking import AdminUrl, ConfigFile, Json, ask, fail, show

__all__ = ["usage"]

COLUMNS = ("requests", "failed", "input", "output", "cost", "saved")


class By(enum.Enum):
    KEY = "key"
    TEAM = "team"
    MODEL = "model"
    DAY = "day"
    ENDPOINT = "endpoint"
    CACHE = "cache"
    UPSTREAM = "upstream"


def usage(
    by: Annotated[By, typer.Option("--by", help="What to add it up by.")] = By.DAY,
    since: Annotated[
        str, typer.Option(metavar="DAYS|DATE", help="7d: the last seven days in UTC, today included; or 2026-11-01.")
    ] = "7d",
    until: Annotated[str, typer.Option(metavar="DATE", help="The last day that counts. Default: today.")] = "",
    key: Annotated[str, typer.Option(metavar="ID", help="Of this key alone.")] = "",
    team: Annotated[str, typer.Option(help="Of this team alone.")] = "",
    model: Annotated[str, typer.Option(help="Of this model alone, as asked for.")] = "",
    admin_url: AdminUrl = "", config: ConfigFile = None,
    *,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all that is known, separated by commas.")] = False,
) -> None:  # fmt: skip
    """What was used and what it cost."""
    if as_json and as_csv:
        fail("either --json or --csv")
    asked = {"by": by.value, "since": since, "until": until, "key": key, "team": team, "model": model}
    found = ask("GET", "usage", admin_url, config, query={name: text for name, text in asked.items() if text})
    if as_csv:
        _write(found)
        return
    names = {} if as_json or by is not By.KEY else _names(found, admin_url, config)
    rows = [[found["by"], *COLUMNS], *(_row(line["name"], line) for line in found["lines"])]
    rows.append(_row("total", found["total"]))
    if names:
        column = ["name", *(names.get(line["name"], "") for line in found["lines"]), ""]
        rows = [[row[0], name, *row[1:]] for row, name in zip(rows, column, strict=True)]
    show(found, rows, as_json=as_json)
    _remark(found)


def _names(found: dict[str, Any], admin_url: str, config: Path | None) -> dict[str, str]:
    """What the keys are called; nothing where there are no virtual keys."""
    wanted, names, cursor = {line["name"] for line in found["lines"]} - {""}, dict[str, str](), ""
    while wanted - names.keys():
        asked = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
        page = ask("GET", "keys", admin_url, config, query=asked, absent={"keys": [], "cursor": None})
        names |= {key["id"]: key["name"] for key in page["keys"]}
        cursor = page["cursor"]
        if not cursor:
            break
    return names


def _row(name: str, sums: dict[str, Any]) -> list[str]:
    used = sums["used"]
    tokens = [f"{used.get(kind, 0):,}" for kind in ("input", "output")]
    # A sum that leaves something out says so.
    cost = f"${sums['cost_usd']}" + (" + ?" if sums["unpriced"] else "")
    return [name or "-", f"{sums['requests']:,}", f"{sums['failed']:,}", *tokens, cost, f"${sums['saved_usd']}"]


def _remark(found: dict[str, Any]) -> None:
    """On standard error: it is no part of the table."""
    total = found["total"]
    remarks = {
        "more lines are not shown, but count in the total": found["more"],
        "requests have no known price": total["unpriced"],
        "requests of these days are missing: they were lost": found["lost"],
    }
    for remark, count in remarks.items():
        if count:
            print(f"askonce: {count:,} {remark}", file=sys.stderr)


def _write(found: dict[str, Any]) -> None:
    """A line of names, then one for each; without the total, which is their sum."""
    kinds = sorted(found["total"]["used"])
    names = [name for name in found["total"] if name != "used"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([found["by"], *names, *kinds])
    for line in found["lines"]:
        writer.writerow(
            [_plain(line["name"]), *(line[name] for name in names), *(line["used"].get(k, 0) for k in kinds)]
        )


def _plain(name: str) -> str:
    """Models are named by whoever asks: not what a spreadsheet would take for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name
