"""Any tree loads or is refused in one line, which never holds a secret."""

import contextlib
import string
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import Config, ConfigError, load
from proxy.config.settings import known_keys
from proxy.telemetry.prices import NAMES as PRICES

CANARY = "sk-canary-91c2"
KEYS = [*known_keys("upstreams.openai", tables=False)]
NAMES = sorted({part for key in KEYS for part in key.split(".")})

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.datetimes()
    | st.text()
    | st.sampled_from(["env:CANARY", "env:", "file:", "file:/dev/null\0", "http://h/v1", "*"])
)
misplaced = st.sampled_from([CANARY, f"env:{CANARY}", "env:CANARY"])
misplaced_urls = st.builds(
    str.format,
    st.sampled_from(["{}", "http://{}@h/v1", "http://h:{}/v1", "http://h?{}", "socks5://:{}@h"]),
    st.just(CANARY),
)
amounts = st.floats(0, 1e17) | st.integers(0, 10**17) | st.sampled_from([10**400, 1e-10, 0, float("inf")])
keys = st.sampled_from(NAMES) | st.text(max_size=8)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5), max_leaves=30
)
tables = st.dictionaries(keys, trees, max_size=6)
TABLES = ["keys.declared.ci", "keys.teams.ops", 'prices.models."m*"', "limits.key", "upstreams.a.limits", "routes.r"]


def survives(file: Path | None, environ: Mapping[str, str]) -> None:
    try:
        config = load(file, environ)
    except ConfigError as error:
        line = str(error)
        assert line.isprintable()
        assert ": " in line
        assert CANARY not in line
    else:
        assert isinstance(config, Config)
        assert CANARY not in repr(config)  # only a secret holds it


def without_nulls(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value if inner is not None] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "config.toml"


@given(tables)
@settings(max_examples=100, deadline=None)
def test_any_tree_loads_or_gives_one_line(file: Path, tree: dict[str, Any]) -> None:
    """Whatever TOML can say ends in a Config or in one ConfigError."""
    with contextlib.suppress(UnicodeEncodeError):
        file.write_text(toml(without_nulls(tree)), encoding="utf-8")
    survives(file, {"CANARY": CANARY})


@given(
    st.dictionaries(st.sampled_from(KEYS), scalars, max_size=4),
    st.fixed_dictionaries({}, optional={"key": misplaced | scalars, "base_url": misplaced_urls | scalars}),
)
@settings(max_examples=100, deadline=None)
def test_any_value_of_any_setting_loads_or_gives_one_line(
    file: Path, values: dict[str, Any], openai: dict[str, Any]
) -> None:
    """As before, aimed at the settings that exist, with a secret where people misplace one."""
    values |= {f"upstreams.openai.{name}": value for name, value in openai.items()}
    lines = [f"{key} = {inline(value)}" for key, value in values.items() if value is not None]
    with contextlib.suppress(UnicodeEncodeError):
        file.write_text("\n".join(lines), encoding="utf-8")
    survives(file, {"CANARY": CANARY})


@given(
    st.sampled_from(TABLES),
    st.dictionaries(st.sampled_from([*NAMES, *PRICES]) | st.text(max_size=8), scalars | amounts | trees, max_size=5),
    st.fixed_dictionaries({}, optional=dict.fromkeys(["digest", "team", "expires", "input"], misplaced | scalars)),
)
@settings(max_examples=100, deadline=None)
def test_any_table_that_operators_name_loads_or_gives_one_line(
    file: Path, table: str, values: dict[str, Any], places: dict[str, Any]
) -> None:
    """Keys, teams, prices and amounts, with a secret where its digest belongs."""
    with contextlib.suppress(UnicodeEncodeError):
        file.write_text(f"[{table}]\n{toml(without_nulls(values | places))}", encoding="utf-8")
    survives(file, {"CANARY": CANARY})


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_file_loads_or_gives_one_line(data: bytes) -> None:
    """Also what is no TOML at all."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        survives(Path(file.name), {})


names = st.sampled_from([key.replace(".", "__").upper() for key in KEYS]) | st.text("ABXab_09-.é", max_size=20)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(
    ["env:CANARY", "1", "true", "inf", "-1", "*", "a,b", "http://h/v1"]
)
sensitive = {
    "ASKONCE_UPSTREAMS__OPENAI__KEY": misplaced | texts,
    "ASKONCE_UPSTREAMS__OPENAI__BASE_URL": misplaced_urls | texts,
    "OPENAI_BASE_URL": misplaced_urls | texts,
    "HTTPS_PROXY": misplaced_urls | texts,
}


@given(
    st.dictionaries(names.map("ASKONCE_{}".format), texts, max_size=3), st.fixed_dictionaries({}, optional=sensitive)
)
@settings(max_examples=100, deadline=None)
def test_any_environment_loads_or_gives_one_line(environ: dict[str, str], keys: dict[str, str]) -> None:
    """Variables are as free in form as files."""
    survives(None, {"CANARY": CANARY, **environ, **keys})


def toml(tree: dict[str, Any]) -> str:
    return "\n".join(f"{quoted(key)} = {inline(value)}" for key, value in tree.items())


def inline(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{quoted(key)} = {inline(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(inline, value)) + "]"
        case str():
            return quoted(value)
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def quoted(text: str) -> str:
    """A basic string; JSON's escapes are TOML's, but for DEL."""
    bare = set(string.ascii_letters + string.digits + "_-")
    if text and set(text) <= bare and not text.startswith("sk-"):
        return f'"{text}"'
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
