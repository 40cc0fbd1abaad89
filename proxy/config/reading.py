"""From a file and an environment to a checked `Config`, remembering where each value came from."""

import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from typing import Any, cast

from proxy.config.checks import check, check_proxy
from proxy.config.reader import Reader, Variable, read_text, reason, unknown
from proxy.config.section import ConfigError, is_section, types_of
from proxy.config.settings import DEFAULT_BASE_URL, Config, known_keys

__all__ = ["Loaded", "as_variable", "find", "load", "read", "strays"]

PREFIX = "ASKONCE_"
BASE_URL_VARIABLE = "OPENAI_BASE_URL"
TOKEN_VARIABLE = "ASKONCE_ADMIN_TOKEN"  # noqa: S105  (its name)
RESERVED = frozenset(["ASKONCE_CONFIG", TOKEN_VARIABLE, "ASKONCE_PEPPER"])
"""Variables of ours that are not named after a setting."""

TOO_LARGE = 10**400
"""For any setting."""


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
    reader = Reader(environ)
    config = cast("Config", reader.section(Config, tree, ""))
    check(config, reader.called)
    check_proxy(config, environ)
    return Loaded(config, path, text, reader.variables, reader.secrets)


def strays(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like ours and set nothing → the nearest that would, or "".

    They stop no start: the environment may belong to several programs.
    """
    settings = {key.replace("_", ""): key for key in map(as_variable, known_keys("upstreams.openai", tables=False))}
    return {
        name: settings.get(name.upper().replace("_", ""), "")
        for name in sorted(environ)
        if name.upper().startswith(PREFIX) and name not in RESERVED and not (name.startswith(PREFIX) and "__" in name)
    }


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {reason(error)}") from None
    try:
        return text, tomllib.loads(text, parse_float=_number)
    except RecursionError:
        raise ConfigError(f"{path}: not TOML: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and integers of more digits than int() takes
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _number(text: str) -> float:
    """`inf` is what says so; what is too large for a number stays too large."""
    number = float(text)
    return TOO_LARGE if isinf(number) and "inf" not in text else number


def _overlay(tree: dict[str, Any], name: str, text: str) -> None:
    """Puts one variable where the file would have its setting."""
    keys = name.removeprefix(PREFIX).lower().split("__")
    kind: Any = Config
    kinds = [kind := _member(kind, key) for key in keys]
    if kind is None:
        raise ConfigError(unknown(name, [as_variable(key) for key in known_keys(".".join(keys), tables=False)]))
    if is_section(kind) or typing.get_origin(kind) is dict:
        raise ConfigError(f"{name}: names a table, not a setting")
    table: Any = tree
    for depth, key in enumerate(keys[:-1]):
        named = depth > 0 and typing.get_origin(kinds[depth - 1]) is dict
        table = table.setdefault(_spelling(table, key) if named else key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{'.'.join(keys[: depth + 1])}: expected a table")
    table[keys[-1]] = Variable(name, text)


def _member(kind: Any, key: str) -> Any:
    """The type of what stands at a key of a table; None where nothing can."""
    for each in (kind, *typing.get_args(kind)):
        if typing.get_origin(each) is dict:
            return typing.get_args(each)[1]
    return types_of(kind).get(key) if is_section(kind) else None


def _spelling(table: dict[str, Any], key: str) -> str:
    """What a variable means of those that an operator named; names in the file may have capitals and hyphens."""
    return next((name for name in table if name.replace("-", "_").lower() == key), key)


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
    if (moved := environ.get(BASE_URL_VARIABLE)) and not isinstance(openai["base_url"], Variable):
        openai["base_url"] = Variable(BASE_URL_VARIABLE, moved)


def _admin_token(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """ASKONCE_ADMIN_TOKEN is the short name of ASKONCE_ADMIN__TOKEN, which counts if both are set."""
    admin = tree.setdefault("admin", {})
    token = environ.get(TOKEN_VARIABLE)
    if token and isinstance(admin, dict) and not isinstance(admin.get("token"), Variable):
        admin["token"] = Variable(TOKEN_VARIABLE, token)


def as_variable(key: str) -> str:
    """The variable that sets what a dotted key does."""
    return PREFIX + key.replace(".", "__").replace("-", "_").upper()
