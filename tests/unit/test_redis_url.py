"""How an operator says where Redis is."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.redis_link.url import BadUrl, Form, Url

SECRET = "canary%40pass"


@pytest.mark.parametrize(
    ("text", "shown", "form", "tls"),
    [
        ("redis://localhost", "redis://localhost:6379", Form.SINGLE, False),
        ("redis://[::1]:7/3", "redis://::1:7/3", Form.SINGLE, False),
        ("rediss://host/0", "rediss://host:6379", Form.SINGLE, True),
        ("redis+unix:///run/a.sock?db=2", "redis+unix:///run/a.sock/2", Form.UNIX, False),
        ("redis+sentinel://a,b:7/main/1", "redis+sentinel://a:26379,b:7/main/1", Form.SENTINEL, False),
        ("rediss+sentinel://a/main?ca_certs=x", "rediss+sentinel://a:26379/main", Form.SENTINEL, True),
        ("redis+cluster://a,b:7", "redis+cluster://a:6379,b:7", Form.CLUSTER, False),
        ("rediss+cluster://a", "rediss+cluster://a:6379", Form.CLUSTER, True),
    ],
)
def test_the_forms(text: str, shown: str, form: Form, tls: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """Each is read, ports get their defaults, and the text shown has neither credentials nor parameters."""
    url = Url.parse(text)
    assert (str(url), url.form, url.tls) == (shown, form, tls)


def test_credentials_are_decoded_and_never_shown() -> None:
    """A password may hold any character when percent-encoded; nothing that is printed holds it."""
    url = Url.parse(f"redis+sentinel://us%3Aer:{SECRET}@a/main?sentinel_password={SECRET}")
    assert (url.username, url.password) == ("us:er", "canary@pass")
    assert url.options == {"sentinel_password": "canary@pass"}
    assert "canary" not in f"{url} {url!r}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "http://localhost",
        "redis://",
        "redis://a,b",
        "redis://a:port",
        "redis://a:70000",
        "redis://a/one",
        "redis://a/0/1",
        "redis://a?ca_certs=x",
        "redis://a?unknown=1",
        "redis+unix://host/path",
        "redis+unix://",
        "redis+sentinel://a",
        "redis+cluster://a/1",
        "redis+cluster://" + ",".join(["a"] * 65),
        "redis://[::1",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    """With a reason that quotes nothing of it."""
    with pytest.raises(BadUrl) as refused:
        Url.parse(text.replace("://", f"://u:{SECRET}@") if "://" in text else text)
    assert "canary" not in str(refused.value)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but BadUrl comes out of it."""
    for scheme in ("", "redis://", "redis+sentinel://", "rediss+cluster://"):
        with suppress(BadUrl):
            Url.parse(scheme + text)
