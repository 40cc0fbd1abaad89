"""config.toml is the reference: the settings that it shows are those that exist, with their defaults."""

import re
import tomllib
from pathlib import Path

import pytest

from proxy.config import load
from proxy.config.settings import known_keys

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "config.toml"
SETTING = re.compile(r"^(\w+) = (?:\"[^\"]*\"|[^#]+?)  +# (.+)$")


def shown() -> list[str]:
    def walk(tree: dict[str, object], prefix: str) -> list[str]:
        found = []
        for name, value in tree.items():
            found += walk(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
        return found

    return walk(tomllib.loads(REFERENCE.read_text()), "")


def test_the_reference_shows_every_setting_and_nothing_else() -> None:
    """A setting that is not documented, or documented and gone, fails here; their order is the code's."""
    assert shown() == [*known_keys("upstreams.openai", tables=False)]


def test_the_reference_unchanged_is_the_defaults() -> None:
    """Copying the file and deleting it are the same."""
    assert load(REFERENCE, {}) == load(None, {})


def test_every_setting_is_explained_on_its_line() -> None:
    """Each has a comment, in a form that `grep` finds whole."""
    lines = [line for line in REFERENCE.read_text().splitlines() if line and line[0] not in "#["]
    assert [line for line in lines if not SETTING.match(line)] == []


def test_every_duration_and_size_has_its_unit() -> None:
    """A bare number of what, is the question that a reference answers."""
    text = REFERENCE.read_text()
    assert "Durations are in seconds, sizes in bytes." in text
    for key in ("drain_delay", "drain_timeout", "idle_timeout", "dns_ttl", "ping_interval", "ping_timeout"):
        assert re.search(rf"^{key} = .* # (.*\b)?s\b", text, re.MULTILINE), key
    for key in ("max_json_bytes", "max_upload_bytes", "max_frame_bytes"):
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
        settings = {re.sub(r"^upstreams\.[^.]+", "upstreams.name", name) for name in named}
        assert settings - keys <= {"section.name"}, document.name
