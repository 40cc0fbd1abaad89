"""Where Redis is, as an operator writes it. Sans-IO.

    redis://[user:password@]host[:port][/db]                      one server
    redis+unix://[user:password@]/path/to/socket[?db=N]           one server, through a socket file
    redis+sentinel://[user:password@]host[:port],…/service[/db]   the master that the sentinels name
    redis+cluster://[user:password@]host[:port],…                 a cluster, found through any of these nodes

`rediss`, `rediss+sentinel` and `rediss+cluster` are the same over TLS, certificates always verified. Parameters:
`ca_certs`, `certfile`, `keyfile` (paths) with TLS; `sentinel_username`, `sentinel_password` with sentinels.
Special characters in user, password and path are percent-encoded.
"""

import enum
from dataclasses import dataclass, field
from typing import Final, NoReturn, final
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["BadUrl", "Form", "Place", "Url"]

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
MAX_PLACES: Final = 64
TLS_FILES: Final = ("ca_certs", "certfile", "keyfile")
SENTINEL_LOGIN: Final = ("sentinel_username", "sentinel_password")

Place = tuple[str, int]
"""Host and port."""


@final
class BadUrl(ValueError):
    """Says what is wrong with it and never quotes it: it may hold a password."""


@final
class Form(enum.Enum):
    SINGLE = "single"
    UNIX = "unix"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


FORMS: Final = {
    "redis": (Form.SINGLE, False),
    "rediss": (Form.SINGLE, True),
    "unix": (Form.UNIX, False),
    "redis+unix": (Form.UNIX, False),
    "redis+sentinel": (Form.SENTINEL, False),
    "rediss+sentinel": (Form.SENTINEL, True),
    "redis+cluster": (Form.CLUSTER, False),
    "rediss+cluster": (Form.CLUSTER, True),
}


@final
@dataclass(frozen=True, slots=True)
class Url:
    form: Form
    tls: bool
    places: tuple[Place, ...]
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """Without credentials and parameters."""
        where = self.path or ",".join(f"{host}:{port}" for host, port in self.places)
        scheme = "rediss" if self.tls else "redis"
        kind = "" if self.form is Form.SINGLE else f"+{self.form.value}"
        return "/".join(filter(None, (f"{scheme}{kind}://{where}", self.service, str(self.db or ""))))

    @classmethod
    def parse(cls, text: str) -> "Url":
        """Raises BadUrl."""
        try:
            parts = urlsplit(text)
        except ValueError:
            _refuse("it is no URL")
        if parts.scheme not in FORMS:
            _refuse(f"its scheme must be one of {', '.join(FORMS)}")
        form, tls = FORMS[parts.scheme]
        login, _, hosts = parts.netloc.rpartition("@")
        username, colon, password = login.partition(":")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        segments = [unquote(segment) for segment in parts.path.split("/")[1:] if segment]
        service, path = "", ""
        match form:
            case Form.UNIX:
                path, segments = unquote(parts.path), [options.pop("db", "0")]
                if hosts or not path:
                    _refuse("after redis+unix:// comes the path of a socket, beginning with /")
            case Form.SENTINEL:
                if not segments:
                    _refuse("the path must name the service that the sentinels watch")
                service = segments.pop(0)
            case Form.CLUSTER if segments and segments != ["0"]:
                _refuse("a cluster has no databases but 0")
        allowed = (TLS_FILES if tls else ()) + (SENTINEL_LOGIN if form is Form.SENTINEL else ())
        if unknown := sorted(set(options) - set(allowed)):
            _refuse(f"it has no parameter {unknown[0][:40]!r}")
        return cls(
            form,
            tls,
            () if path else _places(hosts, SENTINEL_PORT if form is Form.SENTINEL else PORT, form),
            path,
            service,
            _db(segments),
            unquote(username) or None,
            unquote(password) if colon else None,
            options,
        )


def _places(hosts: str, port: int, form: Form) -> tuple[Place, ...]:
    places = tuple(_place(each, port) for each in hosts.split(","))
    if len(places) > (1 if form is Form.SINGLE else MAX_PLACES):
        _refuse("it names too many hosts; for several of them use redis+sentinel:// or redis+cluster://")
    return places


def _place(text: str, default: int) -> Place:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        _refuse("a port must be a number from 1 to 65535")
    if not parts.hostname:
        _refuse("it names no host")
    return parts.hostname, default if port is None else port


def _db(segments: list[str]) -> int:
    if not segments:
        return 0
    if len(segments) > 1 or not (segments[0].isascii() and segments[0].isdigit() and len(segments[0]) < 6):
        _refuse("the database must be a number")
    return int(segments[0])


def _refuse(why: str) -> NoReturn:
    raise BadUrl(why) from None
