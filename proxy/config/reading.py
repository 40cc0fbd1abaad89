"""From a file and an environment to a checked `Config`, remembering where each value came from."""

import os
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import msgspec

from proxy.config.checks import check, check_proxy
from proxy.config.settings import DEFAULT_BASE_URL, Config, ConfigError, Secret, Section, known_keys, types_of

__all__ = ["Loaded", "as_variable", "find", "load", "read", "strays"]

PREFIX = "ASKONCE_"
BASE_URL_VARIABLE = "OPENAI_BASE_URL"
TOKEN_VARIABLE = "ASKONCE_ADMIN_TOKEN"  # noqa: S105  (its name)
RESERVED = frozenset(["ASKONCE_CONFIG", TOKEN_VARIABLE, "ASKONCE_PEPPER"])
"""Variables of ours that are not named after a setting."""
MAX_FILE_BYTES = 1 << 20
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where it came from."""

    config: Config
    path: Path | None
    text: str
    """The file as it was read; a path may be a pipe, or hold something else by now."""
    variables: dict[str, str]
    """Dotted key → the environment variable that set it."""
    secrets: dict[str, str]
    """Dotted key of a secret that is set → where it was read."""


@dataclass(frozen=True, slots=True)
class _Variable:
    """A value from the environment, standing in the tree where the file's would."""

    name: str
    text: str = field(repr=False)


def find(option: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file to read: --config, else $ASKONCE_CONFIG, else ./config.toml if there is one."""
    if option:
        return option
    if named := environ.get("ASKONCE_CONFIG"):
        return Path(named)
    here = Path("config.toml")
    return here if here.exists() else None


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Reads the file (none: defaults) and overlays the environment. Raises ConfigError."""
    return read(path, environ).config


def read(path: Path | None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """`load`, with where each value came from. Raises ConfigError."""
    text, tree = _parse(path) if path else ("", {})
    for name in sorted(environ):
        if name.startswith(PREFIX) and "__" in name:
            _overlay(tree, name, environ[name])
    _default_upstream(tree, environ)
    _admin_token(tree, environ)
    reader = _Reader(environ)
    config = cast("Config", reader.section(Config, tree, ""))
    check(config, reader.called)
    check_proxy(config, environ)
    return Loaded(config, path, text, reader.variables, reader.secrets)


def strays(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like ours and set nothing → the nearest that would, or "".

    They stop no start: the environment may belong to several programs.
    """
    settings = {key.replace("_", ""): key for key in map(as_variable, known_keys("openai", tables=False))}
    return {
        name: settings.get(name.upper().replace("_", ""), "")
        for name in sorted(environ)
        if name.upper().startswith(PREFIX) and name not in RESERVED and not (name.startswith(PREFIX) and "__" in name)
    }


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = _read_text(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {_reason(error)}") from None
    try:
        return text, tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: not TOML: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and integers of more digits than int() takes
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _read_text(path: Path) -> str:
    """A whole file, bounded: a device or a stray dump must not fill the memory."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError("it is larger than 1 MiB")
    return data.decode()


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _overlay(tree: dict[str, Any], name: str, text: str) -> None:
    """Puts one variable where the file would have its setting."""
    keys = name.removeprefix(PREFIX).lower().split("__")
    kind: Any = Config
    for key in keys:
        kind = _member(kind, key)
    if kind is None:
        upstream = keys[1] if len(keys) > 1 else "name"
        raise ConfigError(_unknown(name, [as_variable(key) for key in known_keys(upstream, tables=False)]))
    if not _is_setting(kind):
        raise ConfigError(f"{name}: names a table, not a setting")
    table: Any = tree
    for depth, key in enumerate(keys[:-1]):
        table = table.setdefault(_spelling(table, key) if keys[:depth] == ["upstreams"] else key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{'.'.join(keys[: depth + 1])}: expected a table")
    table[keys[-1]] = _Variable(name, text)


def _member(kind: Any, key: str) -> Any:
    """The type of what stands at a key of a table; None where nothing can."""
    if typing.get_origin(kind) is dict:
        return typing.get_args(kind)[1]
    return types_of(kind).get(key) if _is_section(kind) else None


def _spelling(upstreams: dict[str, Any], key: str) -> str:
    """The upstream that a variable means; names in the file may have capitals and hyphens."""
    return next((name for name in upstreams if name.replace("-", "_").lower() == key), key)


def _default_upstream(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Without any upstream there is OpenAI; OPENAI_BASE_URL moves the upstream named `openai`."""
    upstreams = tree.setdefault("upstreams", {})
    if not isinstance(upstreams, dict):
        return
    if not upstreams:
        upstreams["openai"] = {}
    openai = upstreams.get("openai")
    if not isinstance(openai, dict):
        return
    openai.setdefault("base_url", DEFAULT_BASE_URL)
    if (moved := environ.get(BASE_URL_VARIABLE)) and not isinstance(openai["base_url"], _Variable):
        openai["base_url"] = _Variable(BASE_URL_VARIABLE, moved)


def _admin_token(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """ASKONCE_ADMIN_TOKEN is the short name of ASKONCE_ADMIN__TOKEN, which counts if both are set."""
    admin = tree.setdefault("admin", {})
    token = environ.get(TOKEN_VARIABLE)
    if token and isinstance(admin, dict) and not isinstance(admin.get("token"), _Variable):
        admin["token"] = _Variable(TOKEN_VARIABLE, token)


class _Reader:
    """Converts a tree, one setting at a time, so that every error knows its key."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.variables: dict[str, str] = {}
        self.secrets: dict[str, str] = {}

    def called(self, key: str) -> str:
        """What an operator calls a setting: the variable that set it, or its key in the file."""
        return self.variables.get(key, key)

    def section(self, kind: type[Section], node: object, key: str) -> Section:
        if not isinstance(node, dict):
            raise ConfigError(f"{key}: expected a table")
        types = types_of(kind)
        for name in node:
            if name not in types:
                known = known_keys(key.partition(".")[2] or "name")
                raise ConfigError(_unknown(_dotted(key, name), list(known)))
        for setting in msgspec.structs.fields(kind):
            if setting.required and setting.name not in node:
                raise ConfigError(f"{_dotted(key, setting.name)}: must be set")
        return kind(**{name: self._value(types[name], value, _dotted(key, name)) for name, value in node.items()})

    def _value(self, kind: Any, value: object, key: str) -> object:
        if typing.get_origin(kind) is dict:
            return self._named(typing.get_args(kind)[1], value, key)
        if _is_section(kind):
            return self.section(kind, value, key)
        if isinstance(value, _Variable):
            self.variables[key] = value.name
            if kind is not Secret:
                return _converted(kind, value.text, value.name, strict=False)
        elif kind is not Secret:
            return _converted(kind, value, key, strict=True)
        return self._secret(value, key)

    def _named(self, kind: type[Section], node: object, key: str) -> dict[str, Section]:
        if not isinstance(node, dict):
            raise ConfigError(f"{key}: expected a table of tables")
        for name in node:
            # A name becomes a metric label, and part of a variable's name.
            if not _PLAIN_KEY.fullmatch(name):
                raise ConfigError(
                    f"{_dotted(key, name)}: a name is at most 64 letters, digits, hyphens and underscores"
                )
        return {name: self.section(kind, member, _dotted(key, name)) for name, member in node.items()}

    def _secret(self, value: object, key: str) -> Secret:
        text, origin = (value.text.strip(), f"${value.name}") if isinstance(value, _Variable) else (value, "")
        if not isinstance(text, str):
            raise ConfigError(f"{key}: expected a string, `env:NAME` or `file:PATH`")
        if not text:
            return Secret("")
        if text.startswith(("env:", "file:")):
            text, origin = self._referenced(text, self.called(key))
        elif not origin:
            raise ConfigError(f"{key}: a secret is written as `env:NAME` or `file:PATH`, never in the file itself")
        if not all("!" <= c <= "~" for c in text):
            raise ConfigError(f"{self.called(key)}: the secret holds a blank, a control character or a non-ASCII one")
        self.secrets[key] = origin
        return Secret(text)

    def _referenced(self, reference: str, called: str) -> tuple[str, str]:
        """The text that a reference points at, and what to call that place."""
        scheme, _, place = reference.partition(":")
        if scheme == "env":
            if not _VARIABLE_NAME.fullmatch(place):
                # It may be the secret itself, put where its name belongs.
                raise ConfigError(f"{called}: what follows `env:` is not the name of a variable")
            if not (text := self._environ.get(place, "").strip()):
                raise ConfigError(f"{called}: the environment variable {place} is not set")
            return text, f"${place}"
        try:
            text = _read_text(Path(place)).strip()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{called}: the secret file {place} cannot be read: {_reason(error)}") from None
        if not text:
            raise ConfigError(f"{called}: the secret file {place} is empty")
        return text, place


def _converted(kind: Any, value: object, called: str, *, strict: bool) -> object:
    """One setting, checked against its type and bounds. The message never shows the value."""
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        if isinstance(value, str) and not strict:
            value = value.lower()
        if value not in choices:
            raise ConfigError(f"{called}: expected {' or '.join(repr(choice) for choice in choices)}")
        return value
    if isinstance(value, str) and typing.get_origin(kind) is tuple and not strict:
        value = [item.strip() for item in value.split(",") if item.strip()]
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        if not strict:
            message = message.removesuffix(", got `str`")
        message = re.sub("`([a-z]+)`", lambda name: _TYPE_NAMES.get(name[1], name[1]), message).replace("E", "e", 1)
        raise ConfigError(f"{called}{where.strip('`')}: {message}") from None


def _unknown(called: str, known: list[str]) -> str:
    """The line for a setting that is none, with the nearest that is one."""
    own_name = re.split(r"\.|__", called)[-1]
    near = get_close_matches(called[:128], known, 1, 0.75) or [
        key for key in known if re.split(r"\.|__", key)[-1] == own_name
    ]
    return f"{called}: no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _is_setting(kind: Any) -> bool:
    return not _is_section(kind) and typing.get_origin(kind) is not dict


def as_variable(key: str) -> str:
    """The variable that sets what a dotted key does."""
    return PREFIX + key.replace(".", "__").replace("-", "_").upper()


def _dotted(table: str, name: str) -> str:
    """A key as TOML writes it; cut where it is absurdly long."""
    if not _PLAIN_KEY.fullmatch(name):
        name = repr(name[:64])
    return f"{table}.{name}" if table else name
