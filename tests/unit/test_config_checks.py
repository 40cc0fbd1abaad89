"""Settings that are well typed and cannot work are refused by their key."""

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Config, ConfigError, load

URL = "http://127.0.0.1:9/v1"


def loaded(**settings: str) -> Config:
    """`listen__port="1"` as a variable; the upstream is called `a`."""
    settings = {"upstreams__a__base_url": URL, **settings}
    return load(None, {f"ASKONCE_{name.upper()}": value for name, value in settings.items()})


def refusal(**settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(**settings)
    return str(caught.value).removeprefix("ASKONCE_")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1%eth0", "localhost", "my_host-1.local.", "a"]
)
def test_a_listener_takes_addresses_and_host_names(host: str) -> None:
    """Whatever the system can resolve."""
    assert loaded(listen__host=host).listen.host == host


@pytest.mark.parametrize(
    "host", ["", "*", "[::1]", "10.0.0.999", "1", "a b", "-a", "a..b", "http://a", "a/b", "a:80", "é"]
)
def test_a_listener_refuses_what_is_neither_address_nor_host_name(host: str) -> None:
    """Before anything is bound."""
    for section in ("listen", "admin"):
        assert refusal(**{f"{section}__host": host}).startswith(f"{section.upper()}__HOST: expected an IP address")


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "proxy.local", "10.0.0"])
def test_a_trusted_proxy_is_an_address_or_a_network(network: str) -> None:
    """A network with host bits is a mistake more often than a wish."""
    assert refusal(listen__trusted_proxies=f"::1,{network}").startswith("LISTEN__TRUSTED_PROXIES: ")


@pytest.mark.parametrize(
    ("listen", "admin", "clash"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "::", True),
        ("localhost", "127.0.0.1", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.1.2.3", "127.0.0.1", False),
    ],
)
def test_the_two_listeners_do_not_share_an_address(listen: str, admin: str, clash: bool) -> None:  # noqa: FBT001
    """One port serves both only where the addresses keep them apart; any free port always does."""
    settings = {"listen__host": listen, "admin__host": admin, "listen__port": "7000", "admin__port": "7000"}
    if clash:
        assert refusal(**settings).endswith("the admin listener needs a port of its own")
    else:
        loaded(**settings)
    loaded(**settings | {"listen__port": "0", "admin__port": "0"})


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://localhost:11434/v1/",
        "http://[::1]:9",
        "http://vllm_1:8000/v1",
        "https://res.openai.azure.com/openai/deployments/gpt%204o",
        "HTTP://127.0.0.1:65535/v1",
        "http://10.9.8.7:8080/v1",
    ],
)
def test_a_base_url_is_http_or_https_with_a_host(url: str) -> None:
    """Any OpenAI-compatible server."""
    assert loaded(upstreams__a__base_url=url).upstreams["a"].base_url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "expected http://host/"),
        ("api.openai.com/v1", "expected http://host/"),
        ("ftp://host/v1", "expected http://host/"),
        ("https:///v1", "expected http://host/"),
        ("https://sk-canary@host/v1", "a key does not belong in the URL; use upstreams.a.key"),
        ("https://:sk-canary@host/v1", "a key does not belong in the URL; use upstreams.a.key"),
        ("https://host/v1?api-version=sk-canary", "a query or fragment does not belong here"),
        ("https://host/v1#", "a query or fragment does not belong here"),
        ("https://host:sk-canary/v1", "the host or port is malformed"),
        ("https://host:65536/v1", "the host or port is malformed"),
        ("https://host:0/v1", "the host or port is malformed"),
        ("https://[::1/v1", "the host or port is malformed"),
        ("https://127.1/v1", "the host or port is malformed"),
        ("https://2130706433/v1", "the host or port is malformed"),
        ("https://10.0.0.999/v1", "the host or port is malformed"),
        ("https://ho st/v1", "a blank, a control or a non-ASCII character"),
        ("https://host/v1\r\nx: y", "a blank, a control or a non-ASCII character"),
        ("https://höst/v1", "a blank, a control or a non-ASCII character"),
        ("https://host\\v1", "a blank, a control or a non-ASCII character"),
    ],
)
def test_a_base_url_that_cannot_be_right_is_refused_without_showing_it(url: str, reason: str) -> None:
    """A URL is where misplaced keys end up."""
    line = refusal(upstreams__a__base_url=url)
    assert line.startswith(f"UPSTREAMS__A__BASE_URL: {reason}")
    assert "canary" not in line


@pytest.mark.parametrize(
    ("listen", "url", "itself"),
    [
        ("127.0.0.1", "http://localhost:8080/v1", True),
        ("0.0.0.0", "http://127.0.0.1:8080/v1", True),
        ("localhost", "http://[::1]:8080/v1", True),
        ("127.0.0.1", "http://127.0.0.1:8081/v1", True),
        ("127.0.0.1", "http://0.0.0.0:8080/v1", True),
        ("127.0.0.1", "http://0x7f000001:8080/v1", True),
        ("127.0.0.1", "http://0x7F.0x1:8080/v1", True),
        ("127.0.0.1", "http://0x0:8080/v1", True),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]:8080/v1", True),
        ("127.0.0.1", "http://[::1%25lo]:8081/v1", True),
        ("127.0.0.1", "http://127.9.8.7:8080/v1", True),
        ("127.0.0.1", "http://localhost.:8080/v1", True),
        ("::", "http://LOCALHOST.:8080/v1", True),
        ("::ffff:10.1.2.3", "http://10.1.2.3:8080/v1", True),
        ("Gateway.Internal", "http://gateway.internal.:8080/v1", True),
        ("0.0.0.0", "http://0x7f000001:8000/v1", False),
        ("10.1.2.3", "http://0x7f000001:8080/v1", False),
        ("10.1.2.3", "http://127.0.0.1:8080/v1", False),
        ("127.0.0.1", "http://127.0.0.1:8000/v1", False),
        ("0.0.0.0", "http://other:8080/v1", False),
    ],
)
def test_an_upstream_is_not_this_gateway(listen: str, url: str, itself: bool) -> None:  # noqa: FBT001
    """A request must not go in circles; a server beside the gateway, on another address, is none."""
    if itself:
        assert refusal(listen__host=listen, upstreams__a__base_url=url).endswith("points at this gateway itself")
    else:
        loaded(listen__host=listen, upstreams__a__base_url=url)


def test_openai_base_url_that_points_here_says_what_to_do() -> None:
    """Whoever exported it for the SDKs starts the gateway in the same shell."""
    with pytest.raises(ConfigError, match=r"^OPENAI_BASE_URL: points at this gateway itself; unset it here$"):
        load(None, {"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"})


@pytest.mark.parametrize("pattern", [" gpt-*", "gpt-*\t", "a\x00b", "x" * 257])
def test_a_model_pattern_is_printable_and_bounded(pattern: str, tmp_path: Path) -> None:
    """A pattern that no model can match is a mistake."""
    file = tmp_path / "config.toml"
    text = pattern.replace("\x00", "\\u0000")
    file.write_text(f'[upstreams.a]\nbase_url = "{URL}"\nmodels = ["{text}"]')
    with pytest.raises(ConfigError, match=r"^upstreams\.a\.models: a pattern is 1 to 256 printable characters"):
        load(file, {})


def test_an_upstream_serves_something() -> None:
    """An empty list would make it unreachable."""
    assert refusal(upstreams__a__models="") == "UPSTREAMS__A__MODELS: at least one pattern is needed: no route names a"


def test_two_upstreams_do_not_claim_the_same_pattern() -> None:
    """Which of them would serve it is nobody's guess; the line names both."""
    line = refusal(upstreams__b__base_url=URL, upstreams__a__models="x,gpt-*", upstreams__b__models="gpt-*")
    hint = "a route in [routes] may lead to both"
    assert line == f"UPSTREAMS__B__MODELS: 'gpt-*' is also a pattern of upstreams.a; {hint}"


def test_a_header_line_fits_into_the_head() -> None:
    """A cap that another one makes unreachable is a mistake."""
    line = refusal(http__max_header_bytes="65537")
    assert line == "HTTP__MAX_HEADER_BYTES: cannot be more than http.max_head_bytes"


def test_the_listeners_certificate_is_read_before_the_start(tmp_path: Path) -> None:
    """A pair that fits is taken; half a pair, missing files and files of another kind are refused."""
    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued, other = (trustme.CA().issue_cert("localhost") for _ in range(2))
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    other.private_key_pem.write_to_path(str(key))

    def attempt(certificate: object = certificate, key: object = key) -> str:
        return refusal(listen__tls_certificate=str(certificate), listen__tls_key=str(key))

    assert attempt(key="") == "LISTEN__TLS_KEY: must be set, because listen.tls_certificate is"
    assert attempt(certificate="").startswith("LISTEN__TLS_CERTIFICATE: must be set")
    assert attempt(certificate="/none") == "LISTEN__TLS_CERTIFICATE: /none cannot be read: No such file or directory"
    assert attempt(key=tmp_path).endswith("cannot be read: Is a directory")
    assert attempt().startswith("LISTEN__TLS_CERTIFICATE: not a PEM certificate with listen.tls_key as its")
    issued.private_key_pem.write_to_path(str(key))
    loaded(listen__tls_certificate=str(certificate), listen__tls_key=str(key))


def test_an_encrypted_tls_key_is_refused_without_asking_for_its_password(tmp_path: Path) -> None:
    """A service has no terminal to ask on."""
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued = trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    private = load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    line = refusal(listen__tls_certificate=str(certificate), listen__tls_key=str(key))
    assert line.endswith("as its unencrypted key")


def test_a_ca_file_holds_certificates(tmp_path: Path, ca_file: Path) -> None:
    """Otherwise every request would fail, later."""
    (tmp_path / "empty.pem").touch()
    assert refusal(upstreams__a__ca_file="/none").startswith("UPSTREAMS__A__CA_FILE: /none cannot be read")
    assert refusal(upstreams__a__ca_file=f"{tmp_path}/empty.pem").endswith("holds no PEM certificates")
    loaded(upstreams__a__ca_file=str(ca_file))


GUESSED = ["changeme", "CHANGE_ME!", "only-eleven", "change-me-please", "Admin.Password.123", "admin-admin-admin"]
GUESSED += ["askonce-admin-token", "default-token-0123456789", "This.Secret-my-test-example", "a1" * 20, "secret" * 4]
GUESSED += ["1234567890123", "your-secret-token-here", "TestTestTest2026", "000000000000", "89012345678901"]


@pytest.mark.parametrize("token", GUESSED)
@pytest.mark.parametrize("variable", ["admin_token", "admin__token"])
def test_an_admin_token_that_can_be_guessed_is_refused_without_showing_it(variable: str, token: str) -> None:
    """Short ones, few characters over and over, and what stands in templates; by the name of what set it."""
    said = refusal(**{variable: token})
    assert said.startswith(f"{variable.upper()}: ")
    assert "openssl rand -hex 32" in said
    assert token not in said


@pytest.mark.parametrize("at", ["env:SOMEWHERE", "file:"])
def test_an_admin_token_is_read_wherever_it_is(tmp_path: Path, at: str) -> None:
    """A reference is followed before it is judged."""
    file = tmp_path / "token"
    file.write_text("changeme-changeme\n")
    at = f"file:{file}" if at == "file:" else at
    with pytest.raises(ConfigError, match=r"^ASKONCE_ADMIN__TOKEN: ") as refused:
        load(None, {"ASKONCE_ADMIN__TOKEN": at, "SOMEWHERE": "changeme-changeme"})
    assert "changeme" not in str(refused.value)


@pytest.mark.parametrize("token", ["", "only-for-this-demo", "f3a9c27be05d", "847261950384", "correct-horse-tokens"])
def test_an_admin_token_that_was_chosen_is_taken(token: str) -> None:
    """What is no template is not judged further; none at all is made at the start."""
    assert loaded(admin_token=token).admin.token.reveal() == token


@given(st.binary(min_size=16, max_size=64), st.sampled_from([bytes.hex, lambda raw: b64encode(raw).decode()]))
def test_a_drawn_admin_token_is_taken(raw: bytes, written: Callable[[bytes], str]) -> None:
    """In either spelling, if its characters are as many as those of random bytes."""
    token = written(sha256(raw).digest())
    assert loaded(admin_token=token).admin.token.reveal() == token
