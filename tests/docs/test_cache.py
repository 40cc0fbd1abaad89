"""What the documents say of the cache is what the code has: reasons, headers, lifetimes, labels, URLs, commands."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from cache.directives import DIRECTIVE_FIELDS
from cache.entry import Reason
from cache.fingerprint import DENIED, FAMILIES, QUALIFYING, UnkeyableReason
from cache.memory import Put, Removal
from cache.policy import NoCacheReason
from cache.redis import Miss, Stored
from cache.status import CacheStatus, Handling
from proxy.auth import tells_who
from proxy.cli.cache import cache
from proxy.config.reload import _AT_START
from proxy.config.settings import CacheTtl, Redis
from proxy.exchange import CacheNote
from proxy.fields import cache_lines
from proxy.openai import forms
from proxy.redis_link.url import FORMS
from tests.fakes.seams import fields_of

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCES = [path.read_text(encoding="utf-8") for room in ("cache", "proxy") for path in (ROOT / room).rglob("*.py")]
CODE = "\n".join(SOURCES)

SILENT = {"disabled", "no-scope"}
"""No answer says them: without a cache nothing is said of one, and every request has a scope."""
UNITS = {"h": 3_600, "days": 86_400, "min": 60}


def section(heading: str) -> str:
    """From a heading to the next of its rank or above."""
    rank = heading.partition(" ")[0]
    text = README.partition(f"\n{heading}\n")[2]
    assert text, f"{heading} is missing"
    return re.split(rf"^#{{1,{len(rank)}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]


def row(metric: str) -> set[str]:
    """What stands in backticks in the row of a metric, less its name."""
    (line,) = [line for line in section("## Watch").splitlines() if line.startswith(f"| `{metric}")]
    return set(re.findall(r"`([a-z_]+)`", line.partition(" | ")[2]))


def test_every_reason_is_explained_and_no_other() -> None:
    """Those that the code gives, of a request or of an answer."""
    given = {reason.value for reason in NoCacheReason if f"NoCacheReason.{reason.name}" in CODE}
    given |= {reason.value for reason in UnkeyableReason}
    firsts = re.findall(r"^\| (`.+?) \|", section("## Why not").replace("| `detail` |", ""), re.MULTILINE)
    assert {name for first in firsts for name in re.findall(r"`([a-z-]+)`", first)} == given - SILENT


def test_every_status_is_explained_and_no_other() -> None:
    """Those of `x-cache-status` that the proxy gives."""
    given = {status.value for status in CacheStatus if f"CacheStatus.{status.name}" in CODE}
    assert set(re.findall(r"^\| `x-cache-status: ([A-Z-]+)` \|", README, re.MULTILINE)) == given


def test_every_header_of_an_answer_is_explained() -> None:
    """Those that say what the cache did."""
    note = CacheNote("k", CacheStatus.HIT, Handling.HIT, None, age=1, ttl=1, saved_tokens=1, rule="one/modifier")
    table = section("### What an answer tells")
    for name, _ in fields_of(cache_lines(note, 200)):
        assert re.search(rf"^\| [^|]*`{name.decode()}", table, re.MULTILINE)


def test_every_header_of_ours_exists() -> None:
    """Whatever is called x-askonce-… is a field that is read, or one that is written."""
    written = set(re.findall(r'b"(x-askonce-[a-z-]+)(?:"|: )', CODE))
    assert set(re.findall(r"x-askonce-[a-z-]+", README)) == written


def test_every_field_that_speaks_to_the_cache_is_explained() -> None:
    """Directives of Cache-Control, and the names of other gateways."""
    table = section("### What a client may ask")
    directives = re.findall(r'^        case "([a-z-]+)":', (ROOT / "cache/directives.py").read_text(), re.MULTILINE)
    assert len(directives) == 7
    fields = {name.decode() for name in DIRECTIVE_FIELDS}
    assert [name for name in (*directives, *fields) if not re.search(rf"[` ]{name}[`:=\[]", table)] == []


def test_what_does_not_count_is_listed_and_what_qualifies() -> None:
    """Members of the body that are left out of the key, header fields that are in it."""
    same, uploads, _ = re.split(r"\*\*(?:The same upload|Who shares answers)\*\*", section("## The cache"), maxsplit=2)
    assert set(re.findall(r"`([a-z_]+)`", same)) == DENIED.keys() | {"responses"}
    assert set(re.findall(r"`([a-z_]+)`", uploads)) == forms.DENIED.keys() | {"stream"}
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", same)) == {name.decode() for name in QUALIFYING}
    assert set(re.findall(r"`([a-z-]+-)\*`", same)) == {name.decode() for name in FAMILIES}


def test_what_tells_who_asks_is_shown_by_words_and_examples() -> None:
    """Each word makes a field count, and what is said to count or not does so."""
    scopes = section("## The cache").partition("**Who shares answers**")[2].partition("\n\n")[0]
    counted, _, uncounted = scopes.partition("`idempotency-key`")
    words, _, examples = counted.partition("and the like")
    named = [name.encode() for name in re.findall(r"`([a-z]+)`", words.partition("asks: ")[2])]
    assert len(named) == 12
    assert all(tells_who(b"x-%b-id" % name) for name in named)
    assert all(tells_who(name.encode()) for name in re.findall(r"`([a-z-]+)`", examples))
    none = ["idempotency-key", *re.findall(r"`([a-z-]+)\*?`", uncounted)]
    assert len(none) == 5
    assert not any(tells_who(name.encode() + b"key" * name.endswith("-")) for name in none)


def test_lifetimes_are_the_defaults() -> None:
    """By endpoint, in the units of people."""
    shown: dict[str, float] = {}
    for names, lifetime in re.findall(r"^\| (`[^|]+) \| (\d+ \w+|off) \|", section("## The cache"), re.MULTILINE):
        number, _, unit = lifetime.partition(" ")
        seconds = 0.0 if lifetime == "off" else float(number) * UNITS[unit]
        shown |= {name.replace("/", "_"): seconds for name in re.findall(r"`([a-z/]+)`", names)}
    defaults = {name: getattr(CacheTtl(), name) for name in CacheTtl.__struct_fields__}
    assert shown == defaults


@pytest.mark.parametrize(
    ("metric", "labels"),
    [
        ("askonce_cache_lookups_total", {"found", "memory", "redis", *(miss.value for miss in Miss)}),
        (
            "askonce_cache_writes_total",
            {"dropped", "failed", *(put.value for put in Put), *(kept.value for kept in Stored)},
        ),
        ("askonce_cache_removals_total", {removal.value for removal in Removal}),
        ("askonce_cache_unreadable_total", {reason.value for reason in Reason}),
    ],
)
def test_labels_are_explained(metric: str, labels: set[str]) -> None:
    """All that a metric of the cache can have, and no other."""
    assert row(metric) == labels


def test_events_in_the_log_are_named() -> None:
    """Those of the cache and of Redis, and no other."""
    told = set(re.findall(r'(?:log\.(?:info|warning)|tell)\("((?:cache|redis)_[a-z_]+)"', CODE))
    log = section("## Watch").partition("The log is one JSON line")[2]
    assert set(re.findall(r"`((?:cache|redis)_[a-z_]+)`", log)) == told


def test_every_scheme_of_redis_is_explained() -> None:
    """`unix://` is another spelling."""
    schemes = set(re.findall(r"\b(rediss?(?:\+[a-z]+)?)://", section("### Redis")))
    assert schemes == FORMS.keys() - {"unix"}


def test_commands_and_their_options_exist() -> None:
    """`askonce cache …` takes what the README gives it, and all of its commands are shown."""
    commands = vars(get_command(cache))["commands"]
    shown = re.findall(r"^askonce cache ([a-z]+)(.*)$", README, re.MULTILINE)
    assert {name for name, _ in shown} == set(commands)
    for name, rest in shown:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options


def test_what_only_a_start_changes_is_said() -> None:
    """In the head of config.toml: what a reload leaves as it is."""
    head = (ROOT / "config.toml").read_text().partition("\n\n")[0]
    said = re.search(r"Only the next start changes: ((?:.|\n# )+?)\.\n", head)
    assert said is not None
    assert set(_AT_START["redis"]) == set(Redis.__struct_fields__)
    kept = {f"{table}.{name}" for table, names in _AT_START.items() for name in names if table != "redis"}
    assert set(re.findall(r"[a-z]+\.[a-z_]+", said[1])) == kept
    assert "all of [redis]" in said[1]


@pytest.mark.parametrize("document", [path.name for path in sorted(ROOT.glob("*.md"))])
def test_lines_are_short(document: str) -> None:
    """At most 120 characters, but for tables."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []
