"""config.toml is the reference: the settings that it shows are those that exist, with their defaults."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from proxy.config import (
    Config,
    DeclaredKey,
    DeclaredTeam,
    OwnTimeouts,
    Route,
    advice,
    key_field_of,
    load,
    read,
    resolved_routes,
    secrets_of,
)
from proxy.config.settings import known_keys
from proxy.telemetry.prices import NAMES

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "config.toml"
SETTING = re.compile(r"^(\w+) = (?:\"[^\"]*\"|[^#]+?)  +# (.+)$")
NAMED = ("keys.declared.", "keys.teams.", "prices.models", "upstreams.openai.prices", "routes.", "aliases")
"""Tables of which there is none until an operator names one: the reference shows them as comments."""
SECRETS = {"AZURE_OPENAI_API_KEY": "sk-canary-51aa"}
"""Which the examples refer to."""


def settings(like: str) -> list[str]:
    """All there are, a table of texts as one."""
    known = [*known_keys(like)]
    return [key for key in known if not any(other.startswith(f"{key}.") for other in known)]


def examples() -> list[str]:
    """The lines that stand in config.toml as comments and are TOML."""
    blocks = re.findall(r"^# \[[^\]\n]+\]$(?:\n# .+)+", REFERENCE.read_text(), re.MULTILINE)
    return [line.removeprefix("# ") for block in blocks for line in block.splitlines()]


def shown(text: str) -> list[str]:
    def walk(tree: dict[str, Any], prefix: str) -> list[str]:
        found = []
        for name, value in tree.items():
            found += walk(value, f"{prefix}{name}.") if value and isinstance(value, dict) else [prefix + name]
        return found

    return walk(tomllib.loads(text), "")


def with_examples(tmp_path: Path) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(REFERENCE.read_text() + "\n" + "\n".join(examples()))
    return load(file, SECRETS)


def test_the_reference_shows_every_setting_and_nothing_else() -> None:
    """A setting that is not documented, or documented and gone, fails here; their order is the code's."""
    known = [key for key in settings("upstreams.openai") if not key.startswith(NAMED)]
    assert shown(REFERENCE.read_text()) == known


@pytest.mark.parametrize("table", ["keys.declared.ci", "keys.teams.research", "routes.mini"])
def test_the_examples_show_every_setting_of_what_operators_name(table: str) -> None:
    """As above."""
    known = [key for key in settings(table) if key.startswith(f"{table}.")]
    assert [key for key in shown("\n".join(examples())) if key.startswith(f"{table}.")] == known


def test_the_examples_load_and_are_the_defaults(tmp_path: Path) -> None:
    """Whoever takes the comment signs away has a file that starts, and changes nothing but what he edits."""
    config = with_examples(tmp_path)
    keys, route = config.keys, config.routes["mini"]
    assert keys.declared == {"ci": DeclaredKey(digest=keys.declared["ci"].digest)}
    assert keys.teams == {"research": DeclaredTeam()}
    timeouts = OwnTimeouts(first_byte=10)
    assert route == Route(models=route.models, groups=route.groups, strategy="weighted", timeouts=timeouts)
    assert timeouts.first_byte < config.timeouts.comment


def test_the_example_of_several_upstreams_is_one_set_up(tmp_path: Path) -> None:
    """OpenAI and Azure share a model, a server of one's own stands in for them, and an alias leads there."""
    config = with_examples(tmp_path)
    assert [(each.name, each.models, each.groups) for each in resolved_routes(config)] == [
        ("mini", ("gpt-4o-mini",), ((("openai", 3), ("azure", 1)), (("local", 1),))),
        ("openai", ("*",), ((("openai", 1),),)),
        ("local", ("Qwen/*", "llama-*"), ((("local", 1),),)),
    ]
    azure, local = config.upstreams["azure"], config.upstreams["local"]
    assert (secrets_of(azure), key_field_of(azure)) == ((SECRETS["AZURE_OPENAI_API_KEY"],), "api-key")
    assert all("gpt-4o-mini" in each.rename for each in (azure, local))
    assert local.slots == 8
    assert config.aliases == {"fast": "gpt-4o-mini"}
    assert advice(read(tmp_path / "config.toml", SECRETS), SECRETS, 1) == [
        'keys: what is declared has no effect, because auth.mode is "passthrough"'
    ]


def test_the_example_of_prices_shows_all_of_them_with_their_units(tmp_path: Path) -> None:
    """By the names that the price list has, and one tier."""
    (table,) = with_examples(tmp_path).prices.models.values()
    assert [name for name, price in table.items() if isinstance(price, float)] == [*NAMES]
    for name, unit in NAMES.items():
        assert f"# {unit}" in next(line for line in examples() if line.startswith(f"{name} = "))
    assert [*table.keys() - NAMES] == ["batch"]


def test_the_reference_unchanged_is_the_defaults() -> None:
    """Copying the file and deleting it are the same."""
    assert load(REFERENCE, {}) == load(None, {})


def test_every_setting_is_explained_on_its_line() -> None:
    """Each has a comment, in a form that `grep` finds whole."""
    lines = [line for line in REFERENCE.read_text().splitlines() if line and line[0] not in "#["]
    lines += [line for line in examples() if line[0] != "["]
    assert [line for line in lines if not SETTING.match(line)] == []


def test_every_duration_and_size_has_its_unit() -> None:
    """A bare number of what, is the question that a reference answers."""
    text = REFERENCE.read_text()
    assert "Durations are in seconds, sizes in bytes." in text
    for key in (
        "drain_delay",
        "drain_timeout",
        "idle_timeout",
        "dns_ttl",
        "ping_interval",
        "ping_timeout",
        "grace",
        "burst",
        "base",
        "longest",
        "window",
        "cool_down",
        "patience",
        "shed_lag",
        "interval",
        "timeout",
    ):
        assert re.search(rf"^{key} = .* # (.*\b)?s\b", text, re.MULTILINE), key
    for key in ("hold_bytes", "shed_memory"):
        assert re.search(rf"^{key} = .* # bytes\b", text, re.MULTILINE), key
    for key in ("max_json_bytes", "max_upload_bytes", "max_frame_bytes", "buffer_bytes"):
        assert re.search(rf"^{key} = .* # \d+ MiB", text, re.MULTILINE), key


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("host", r'"0\.0\.0\.0" is every IPv4 address, "::" every IPv6 one'),
        ("max_header_bytes", "request line"),
        ("comment", "before the first event and between events"),
    ],
)
def test_what_surprises_is_said(key: str, said: str) -> None:
    """Where the setting stands."""
    assert re.search(rf"^{key} = .* # .*{said}", REFERENCE.read_text(), re.MULTILINE)


def test_the_header_says_where_a_secret_may_stand() -> None:
    """In a variable itself, never in the file."""
    header = REFERENCE.read_text().partition("[listen]")[0]
    assert "ASKONCE_UPSTREAMS__OPENAI__KEY" in header


def test_what_the_documents_call_a_setting_exists() -> None:
    """`section.name` and ASKONCE_SECTION__NAME in the documents are settings of config.toml."""
    keys = {*known_keys()}
    sections = "|".join(sorted({key.partition(".")[0] for key in keys}))
    for document in ROOT.glob("*.md"):
        text = document.read_text()
        named = re.findall(rf"`((?:{sections})\.(?!py\b)[a-z_.]+)`", text)
        named += [name.lower().replace("__", ".") for name in re.findall(r"\bASKONCE_([A-Z]+__\w+)", text)]
        settings = {
            re.sub(r"^(upstreams|routes|keys\.declared|keys\.teams)\.[^.]+", r"\1.name", name) for name in named
        }
        assert settings - keys <= {"section.name"}, document.name
