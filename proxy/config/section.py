"""What tables of config.toml are made of."""

import re
import typing
from typing import Annotated, Any, final

import msgspec
from msgspec import Meta

__all__ = [
    "Bytes",
    "ConfigError",
    "Count",
    "Port",
    "Seconds",
    "Secret",
    "Section",
    "Ttl",
    "dotted",
    "is_plain",
    "is_section",
    "types_of",
]

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Ttl = Annotated[float, Meta(ge=0, le=31_536_000)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1, le=1 << 40)]


class ConfigError(Exception):
    """One line that names the key, or the environment variable, and says what is wrong with it."""

    def __init__(self, line: str) -> None:
        # Keys and paths are quoted as they were written, and may hold anything.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))


@final
class Secret:
    """A string that shows itself only when asked by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "'***'" if self._value else "''"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of config.toml."""


_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_plain(name: str) -> bool:
    """TOML needs no quotes around it; it is short, too."""
    return _PLAIN_KEY.fullmatch(name) is not None


def dotted(table: str, name: str) -> str:
    """A key as TOML writes it; cut where it is absurdly long."""
    if not is_plain(name):
        name = repr(name[:64])
    return f"{table}.{name}" if table else name


def is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def types_of(section: type[Section]) -> dict[str, Any]:
    """The settings of a table with their types, bounds included; its own before those that it shares with others."""
    types = typing.get_type_hints(section, include_extras=True)
    own = vars(section).get("__annotations__", {})
    return {name: types[name] for name in (*own, *(name for name in types if name not in own))}
