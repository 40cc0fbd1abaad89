"""A tree, as a file and the environment give it, becomes sections, each value checked against its type and bounds."""

import re
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from proxy.config.section import ConfigError, Secret, Section, dotted, is_plain, is_section, types_of
from proxy.config.settings import known_keys

__all__ = ["Reader", "Variable", "read_text", "reason", "unknown"]

MAX_FILE_BYTES = 1 << 20
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
class Variable:
    """A value from the environment, standing in the tree where the file's would."""

    name: str
    text: str = field(repr=False)


class Reader:
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
                raise ConfigError(unknown(dotted(key, name), [*known_keys(key)]))
        for setting in msgspec.structs.fields(kind):
            if setting.required and setting.name not in node:
                raise ConfigError(f"{dotted(key, setting.name)}: must be set")
        return kind(**{name: self._value(types[name], value, dotted(key, name)) for name, value in node.items()})

    def _value(self, kind: Any, value: object, key: str) -> object:
        if typing.get_origin(kind) is dict:
            return self._table(typing.get_args(kind)[1], value, key)
        if is_section(kind):
            return self.section(kind, value, key)
        if kind == tuple[Secret, ...]:
            return self._secrets(value, key)
        if isinstance(value, Variable):
            self.variables[key] = value.name
            if kind is not Secret:
                return _converted(kind, value.text, value.name, strict=False)
        elif kind is not Secret:
            return _converted(kind, value, key, strict=True)
        return self._secret(value, key)

    def _table(self, kind: Any, node: object, key: str) -> dict[str, Any]:
        """Of members that the operator names."""
        inner = is_section(kind) or typing.get_origin(kind) is dict
        if not isinstance(node, dict):
            raise ConfigError(f"{key}: expected a table" + " of tables" * inner)
        if is_section(kind):
            for name in node:
                # A name becomes a metric label, and part of a variable's name.
                if not is_plain(name):
                    raise ConfigError(
                        f"{dotted(key, name)}: a name is at most 64 letters, digits, hyphens and underscores"
                    )
        return {name: self._member(kind, value, dotted(key, name)) for name, value in node.items()}

    def _member(self, kind: Any, value: object, key: str) -> object:
        """`float | dict[str, float]` is either, as it comes."""
        kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        found = next((each for each in kinds if (typing.get_origin(each) is dict) is isinstance(value, dict)), kinds[0])
        return self._value(found, value, key)

    def _secret(self, value: object, key: str) -> Secret:
        text, origin = (value.text.strip(), f"${value.name}") if isinstance(value, Variable) else (value, "")
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

    def _secrets(self, node: object, key: str) -> tuple[Secret, ...]:
        if isinstance(node, Variable):
            self.variables[key] = node.name
            node = [Variable(node.name, text) for text in node.text.split(",") if text.strip()]
        if not isinstance(node, list):
            raise ConfigError(f"{key}: expected a list of `env:NAME` or `file:PATH`")
        found, origins = [], []
        for value in node:
            secret = self._secret(value, key)
            if not secret:
                raise ConfigError(f"{key}: one of its secrets is empty")
            found.append(secret)
            origins.append(self.secrets.pop(key))
        if origins:
            self.secrets[key] = ", ".join(origins)
        return tuple(found)

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
            text = read_text(Path(place)).strip()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{called}: the secret file {place} cannot be read: {reason(error)}") from None
        if not text:
            raise ConfigError(f"{called}: the secret file {place} is empty")
        return text, place


def _converted(kind: Any, value: object, called: str, *, strict: bool) -> object:
    """One setting, checked against its type and bounds. The message never shows the value."""
    if kind == datetime | None:
        return _moment(value, called)
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


def _moment(value: object, called: str) -> datetime | None:
    """A date alone is the beginning of its day."""
    if value == "":
        return None
    if isinstance(value, str):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    raise ConfigError(f"{called}: expected a date and time, such as 2027-01-31T00:00:00Z")


def unknown(called: str, known: list[str]) -> str:
    """The line for a setting that is none, with the nearest that is one."""
    own_name = re.split(r"\.|__", called)[-1]
    near = get_close_matches(called[:128], known, 1, 0.75) or [
        key for key in known if re.split(r"\.|__", key)[-1] == own_name
    ]
    return f"{called}: no such setting" + (f"; did you mean {near[0]}?" if near else "")


def read_text(path: Path) -> str:
    """A whole file, bounded: a device or a stray dump must not fill the memory."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError("it is larger than 1 MiB")
    return data.decode()


def reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
