"""What types cannot say: addresses, files, and settings that contradict each other."""

import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # noqa: TID251  (opens nothing)

from proxy.config.allowance_checks import check_allowances
from proxy.config.route_checks import check_routes
from proxy.config.secret_checks import check_secrets
from proxy.config.section import ConfigError
from proxy.config.semantic_checks import check_semantic
from proxy.config.settings import CacheTtl, Config
from proxy.config.upstream_checks import check_upstreams
from proxy.config.upstreams import Upstream

__all__ = ["check", "check_proxy", "is_local", "is_loopback"]

_Called = Callable[[str], str]

# Letters, digits, hyphens and underscores (compose gives services such names), and no all-digit
# last label: that would be a mistyped address.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOSTNAME = re.compile(rf"(?=.{{1,254}}$)(?:{_LABEL}\.)*(?!\d+\.?$){_LABEL}\.?")
_DECIMAL = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,3})?")
_NUMERIC = re.compile(r"[0-9a-fx.]+")


def check(config: Config, called: _Called) -> None:
    """Raises ConfigError; `called` turns a dotted key into what the operator calls it."""
    _check_listeners(config, called)
    _check_tls(config, called)
    if config.http.max_header_bytes > config.http.max_head_bytes:
        raise ConfigError(f"{called('http.max_header_bytes')}: cannot be more than http.max_head_bytes")
    _check_cache(config, called)
    _check_data(config.data.directory, called("data.directory"))
    for name, upstream in config.upstreams.items():
        key = f"upstreams.{name}"
        _check_base_url(called(f"{key}.base_url"), key, upstream, config)
        _check_ca_file(called(f"{key}.ca_file"), upstream)
    check_upstreams(config, called)
    check_routes(config, called)
    check_allowances(config, called)
    check_semantic(config, called)
    check_secrets(config, called)


def _check_cache(config: Config, called: _Called) -> None:
    for rule in config.cache.models:
        pattern, _, seconds = rule.rpartition("=")
        if not pattern.strip() or not _DECIMAL.fullmatch(seconds.strip()):
            raise ConfigError(f"{called('cache.models')}: {rule[:64]!r} is not pattern=seconds, such as 'gpt-4o*=3600'")
    endpoints = tuple(CacheTtl.__struct_fields__)
    for endpoint in config.coalesce.off:
        if endpoint.replace("/", "_") not in endpoints:
            known = ", ".join(endpoints)
            raise ConfigError(f"{called('coalesce.off')}: {endpoint[:64]!r} is none of {known}")
    if config.cache.snapshot and not _is_folder(Path(config.cache.snapshot).absolute().parent):
        raise ConfigError(f"{called('cache.snapshot')}: its folder does not exist")


def _check_data(directory: str, called: str) -> None:
    if not directory.strip() or not directory.isprintable() or not _is_folder(Path(directory), missing=True):
        raise ConfigError(f"{called}: expected the path of a folder, which need not exist")


def _is_folder(path: Path, *, missing: bool = False) -> bool:
    """`missing`: or nothing yet."""
    try:
        return path.is_dir() or (missing and not path.exists())
    except OSError:
        return False


def check_proxy(config: Config, environ: Mapping[str, str]) -> None:
    """HTTPS_PROXY, where an upstream is reached through it. Raises ConfigError, without its credentials."""
    name = "https_proxy" if environ.get("https_proxy") else "HTTPS_PROXY"
    if not (text := environ.get(name)):
        return
    exempt = {"no": environ.get("no_proxy") or environ.get("NO_PROXY", "")}
    origins = [urlsplit(upstream.base_url) for upstream in config.upstreams.values()]
    through = [url for url in origins if url.scheme == "https" and not proxy_bypass_environment(url.netloc, exempt)]
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        sound = url.scheme == "http" and bool(url.hostname) and url.port != 0
    except ValueError:
        sound = False
    if through and not sound:
        raise ConfigError(f"{name}: expected http://host:port")


def is_loopback(host: str) -> bool:
    """Only this machine can reach it."""
    place = _place(host)
    if isinstance(place, str):
        return place == "localhost" or place.endswith(".localhost")
    return place.is_loopback


def is_local(host: str, listener: str) -> bool:
    """Whether connections to `host` can arrive at a listener bound to `listener`."""
    if _is_wildcard(listener):
        return is_loopback(host) or _is_wildcard(host)
    if _is_wildcard(host):
        return is_loopback(listener)
    if "localhost" in (_place(host), _place(listener)):
        return is_loopback(host) and is_loopback(listener)
    return _place(host) == _place(listener)


def _is_wildcard(host: str) -> bool:
    place = _place(host)
    return not isinstance(place, str) and place.is_unspecified


def _place(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | str:
    """What a host means, however it is spelt: the resolver takes more forms of an address than its notation has."""
    name = host.lower().removesuffix(".")
    address = _address(name)
    if address is None and _NUMERIC.fullmatch(name):
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(name))
        except OSError:
            return name
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address or name


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_listeners(config: Config, called: _Called) -> None:
    for section, host in (("listen", config.listen.host), ("admin", config.admin.host)):
        if _address(host) is None and not _HOSTNAME.fullmatch(host):
            raise ConfigError(f"{called(f'{section}.host')}: expected an IP address, without brackets, or a host name")
    for network in config.listen.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ConfigError(
                f"{called('listen.trusted_proxies')}: {network[:64]!r} is neither an address nor a network"
            ) from None
    same_place = is_local(config.listen.host, config.admin.host) or is_local(config.admin.host, config.listen.host)
    if config.listen.port and config.listen.port == config.admin.port and same_place:
        raise ConfigError(f"{called('admin.port')}: the admin listener needs a port of its own")


def _check_tls(config: Config, called: _Called) -> None:
    certificate, key = config.listen.tls_certificate, config.listen.tls_key
    if not certificate and not key:
        return
    if not key:
        raise ConfigError(f"{called('listen.tls_key')}: must be set, because listen.tls_certificate is")
    if not certificate:
        raise ConfigError(f"{called('listen.tls_certificate')}: must be set, because listen.tls_key is")
    _check_readable(called("listen.tls_certificate"), certificate)
    _check_readable(called("listen.tls_key"), key)
    try:
        # The empty password keeps OpenSSL from asking on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError, ValueError):
        raise ConfigError(
            f"{called('listen.tls_certificate')}: not a PEM certificate with listen.tls_key as its unencrypted key"
        ) from None


def _check_readable(called: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(f"{called}: {path[:256]} cannot be read: {reason}") from None


def _check_base_url(called: str, key: str, upstream: Upstream, config: Config) -> None:
    # The URL is never shown: it is a likely place for a misplaced key.
    text = upstream.base_url
    if not text.isascii() or any(c <= " " or c in '\x7f\\<>"' for c in text):
        raise ConfigError(f"{called}: a blank, a control or a non-ASCII character does not belong here")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ConfigError(f"{called}: the host or port is malformed") from None
    if url.scheme not in ("http", "https") or not url.netloc:
        raise ConfigError(f"{called}: expected http://host/… or https://host/…")
    if "@" in url.netloc:
        raise ConfigError(f"{called}: a key does not belong in the URL; use {key}.key")
    if "?" in text or "#" in text:
        raise ConfigError(f"{called}: a query or fragment does not belong here")
    others = url.path.replace("{model}", "", 1)
    if "{" in others or "}" in others:
        raise ConfigError(f"{called}: {{model}} may stand in its path once, and nothing else in braces")
    host = url.hostname or ""
    if port == 0 or (_address(host) is None and not _HOSTNAME.fullmatch(host)):
        raise ConfigError(f"{called}: the host or port is malformed")
    if _is_this_gateway(url, config):
        hint = "; unset it here" if called == "OPENAI_BASE_URL" else ""
        raise ConfigError(f"{called}: points at this gateway itself{hint}")


def _is_this_gateway(url: SplitResult, config: Config) -> bool:
    port = url.port or (443 if url.scheme == "https" else 80)
    listeners = (config.listen, config.admin)
    host = url.hostname or ""
    return any(
        port == listener.port and (is_local(host, listener.host) or (is_loopback(host) and is_loopback(listener.host)))
        for listener in listeners
    )


def _check_ca_file(called: str, upstream: Upstream) -> None:
    if not upstream.ca_file:
        return
    _check_readable(called, upstream.ca_file)
    try:
        ssl.create_default_context(cafile=upstream.ca_file)
    except (ssl.SSLError, OSError, ValueError):
        raise ConfigError(f"{called}: {upstream.ca_file[:256]} holds no PEM certificates") from None
