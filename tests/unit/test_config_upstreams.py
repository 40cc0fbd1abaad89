"""What an upstream is sent, how it is bounded and when it is left alone: settings that cannot work are refused."""

from math import inf
from pathlib import Path

import pytest

from proxy.auth import CREDENTIAL_FIELDS
from proxy.config import Config, ConfigError, Upstream, key_field_of, load, read, secrets_of, slots_of
from proxy.config.upstream_checks import CREDENTIALS, OURS
from proxy.http1.messages import NOT_FORWARDED

URL = "http://127.0.0.1:9/v1"
KEYS = {"ONE": "sk-canary-1", "TWO": "sk-canary-2", "SAME": "sk-canary-1"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def loaded(file: Path, settings: str) -> Config:
    file.write_text(f'[upstreams.a]\nbase_url = "{URL}"\n{settings}')
    return load(file, KEYS)


def refusal(file: Path, settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(file, settings)
    line = str(caught.value)
    assert "canary" not in line
    return line


def test_an_upstream_has_several_keys(file: Path, tmp_path: Path) -> None:
    """The first is `key`; where each was read is told, and none of them shown."""
    (tmp_path / "two").write_text("sk-canary-2\n")
    file.write_text(f'[upstreams.a]\nbase_url = "{URL}"\nkey = "env:ONE"\nkeys = ["env:THREE", "file:{tmp_path}/two"]')
    found = read(file, KEYS | {"THREE": "sk-canary-3"})
    assert secrets_of(found.config.upstreams["a"]) == ("sk-canary-1", "sk-canary-3", "sk-canary-2")
    assert found.secrets == {"upstreams.a.key": "$ONE", "upstreams.a.keys": f"$THREE, {tmp_path}/two"}
    assert "canary" not in repr(found.config)
    assert secrets_of(Upstream(base_url=URL)) == ()


def test_a_variable_holds_several_keys() -> None:
    """Separated by commas: themselves, or where they are."""
    environ = {"ASKONCE_UPSTREAMS__A__BASE_URL": URL, "ASKONCE_UPSTREAMS__A__KEYS": "env:ONE, sk-canary-9"}
    found = read(None, KEYS | environ)
    assert secrets_of(found.config.upstreams["a"]) == ("sk-canary-1", "sk-canary-9")
    assert found.secrets == {"upstreams.a.keys": "$ONE, $ASKONCE_UPSTREAMS__A__KEYS"}
    with pytest.raises(ConfigError, match=r"^ASKONCE_UPSTREAMS__A__KEYS: the environment variable NONE is not set$"):
        read(None, environ | {"ASKONCE_UPSTREAMS__A__KEYS": "env:NONE"})


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ('keys = ["env:ONE", "env:SAME"]', "upstreams.a.keys: two of them are the same"),
        ('key = "env:ONE"\nkeys = ["env:TWO", "env:SAME"]', "upstreams.a.keys: one of them is that of upstreams.a.key"),
        ('keys = ["sk-canary-4"]', "upstreams.a.keys: a secret is written as `env:NAME` or `file:PATH`"),
        ('keys = [""]', "upstreams.a.keys: one of its secrets is empty"),
        ('keys = "env:ONE"', "upstreams.a.keys: expected a list"),
        ("keys = [1]", "upstreams.a.keys: expected a string, `env:NAME` or `file:PATH`"),
        ('keys = ["env:NONE"]', "upstreams.a.keys: the environment variable NONE is not set"),
        ('key_field = "cookie"', "upstreams.a.key_field: expected '' or 'authorization' or 'api-key' or 'x-api-key'"),
    ],
)
def test_keys_that_cannot_be_meant_are_refused(file: Path, settings: str, line: str) -> None:
    """The same key twice would rest twice."""
    assert refusal(file, settings).startswith(line)


@pytest.mark.parametrize(
    ("own", "version", "field"),
    [
        ("", "", "authorization"),
        ("", "v1", "api-key"),
        ("authorization", "v1", "authorization"),
        ("x-api-key", "", "x-api-key"),
    ],
)
def test_azure_takes_its_key_in_a_field_of_its_own(own: str, version: str, field: str) -> None:
    """Unless the operator says otherwise."""
    assert key_field_of(Upstream(base_url=URL, key_field=own, api_version=version)) == field  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ('"x y" = "a"', "headers.'x y': not the name of a header field"),
        ('"" = "a"', "headers.'': not the name of a header field"),
        ('"x:" = "a"', "headers.'x:': not the name of a header field"),
        (
            'Authorization = "Bearer sk-canary"',
            "headers.Authorization: a key does not belong here; use upstreams.a.key",
        ),
        ('x-api-key = "sk-canary"', "headers.x-api-key: a key does not belong here; use upstreams.a.key"),
        ('OpenAI-Organization = "o"', "headers.OpenAI-Organization: use upstreams.a.organization"),
        ('host = "h"', "headers.host: only the gateway itself sets this field"),
        ('Transfer-Encoding = "chunked"', "headers.Transfer-Encoding: only the gateway itself sets this field"),
        ('content-length = "1"', "headers.content-length: only the gateway itself sets this field"),
        ('x = "1"\nX = "2"', "headers.X: stands there twice"),
        ('x = "canary\\r\\ny: z"', "headers.x: expected at most 4,096 ASCII characters"),
        ('x = "canary\\n"', "headers.x: expected at most"),
        ('x = "\\u0000"', "headers.x: expected at most"),
        ('x = "canäry"', "headers.x: expected at most"),
        ('x = " a"', "headers.x: expected at most"),
        (f'x = "{"a" * 4_097}"', "headers.x: expected at most"),
        ("x = 1", "headers.x: expected a string, got a whole number"),
    ],
)
def test_a_header_is_a_plain_end_to_end_field(file: Path, header: str, line: str) -> None:
    """Nothing that ends a line, frames a body, belongs to the connection or is a credential; no value is shown."""
    assert refusal(file, f"[upstreams.a.headers]\n{header}").startswith(f"upstreams.a.{line}")


@pytest.mark.parametrize("text", ["", "a", "a b\tc", "!" * 4_096])
def test_a_plain_header_is_taken(file: Path, text: str) -> None:
    """As RFC 9110 has field values."""
    assert loaded(file, f"[upstreams.a.headers]\nX-Title = '{text}'").upstreams["a"].headers == {"X-Title": text}


def test_what_may_not_be_set_is_what_the_gateway_writes_itself() -> None:
    """Credentials, and whatever it does not forward."""
    assert {name.encode() for name in CREDENTIALS} == CREDENTIAL_FIELDS
    assert {name.encode() for name in OURS} >= NOT_FORWARDED


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ('rename = {"" = "x"}', "rename.'': a model's name is 1 to 256 printable characters, without wildcards"),
        ('rename = {"gpt-*" = "x"}', "rename.'gpt-*': a model's name is"),
        ('rename = {m = " x"}', "rename.m: a model's name is"),
        ('organization = "a b"', "organization: expected at most 256 visible ASCII characters"),
        ('project = "a\\n"', "project: expected at most 256 visible ASCII characters"),
        ('api_version = "1&key=canary"', "api_version: expected at most 64 letters, digits,"),
        ('api_version = "1\\n"', "api_version: expected at most 64 letters, digits,"),
        ('region = "é"', "region: expected at most 64 letters, digits,"),
        ("slots = 0", "slots: expected a number >= 1.0"),
        ("slots = 1.5", "slots: expected a whole number up to 1,000,000, or inf for no bound"),
        ("slots = 1_000_001", "slots: expected a whole number up to 1,000,000, or inf for no bound"),
        ("slots = nan", "slots: expected a number >= 1.0"),
        ('probe.path = "models"', "probe.path: expected a path that begins with /"),
        ('probe.path = "/a b"', "probe.path: expected a path that begins with /"),
        ('probe.path = "/a?key=canary"', "probe.path: expected a path that begins with /"),
        ("timeouts.idle = -1", "timeouts.idle: expected a number >= 0.0"),
        ("timeouts.head = 1", "timeouts.head: no such setting"),
        ('prices."m*".inptu = 1', "prices.'m*'.inptu: "),
        ('prices." m".input = 1', "prices.' m': a pattern is 1 to 256 printable characters"),
    ],
)  # fmt: skip
def test_what_an_upstream_cannot_have_is_refused(file: Path, settings: str, line: str) -> None:
    """By its key, without its value."""
    assert refusal(file, settings).startswith(f"upstreams.a.{line}")


def test_slots_are_shared_out_among_workers() -> None:
    """In whole numbers, and one for each at least."""
    shares = [(slots, slots_of(Upstream(base_url=URL, slots=slots), 4)) for slots in (inf, 8.0, 11.0, 3.0)]
    assert shares == [(inf, inf), (8.0, 2), (11.0, 2), (3.0, 1)]


@pytest.mark.parametrize(
    "url", ["https://n.openai.azure.com/openai/deployments/{model}", "http://h/{model}/v1", "http://h/a-{model}"]
)
def test_a_base_url_may_have_the_model_in_its_path(file: Path, url: str) -> None:
    """Azure's deployments."""
    settings = f'[upstreams.b]\nbase_url = "{url}"\nmodels = ["x"]'
    assert loaded(file, settings).upstreams["b"].base_url == url


@pytest.mark.parametrize("path", ["{model}/{model}", "{deployment}", "{model", "}", "{Model}", "{{model}}"])
def test_nothing_else_stands_in_braces(file: Path, path: str) -> None:
    """What would not be replaced is not meant; neither is a host that a client chooses."""
    line = "upstreams.b.base_url: {model} may stand in its path once, and nothing else in braces"
    assert refusal(file, f'[upstreams.b]\nbase_url = "https://h/{path}"') == line
    assert refusal(file, '[upstreams.b]\nbase_url = "https://{model}.h/v1"').startswith(
        "upstreams.b.base_url: the host"
    )


def test_a_probe_has_no_model_for_the_path(file: Path) -> None:
    """It names none."""
    settings = '[upstreams.b]\nbase_url = "https://h/{model}"\nprobe.interval = 1'
    assert (
        refusal(file, settings) == "upstreams.b.probe.interval: a probe has no model to put into upstreams.b.base_url"
    )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("[retry]\nattempts = 0", "retry.attempts: expected a whole number >= 1"),
        ("[retry]\nbudget = 1.1", "retry.budget: expected a number <= 1.0"),
        ("[retry]\nbase = 9", "retry.base: cannot be more than retry.longest"),
        ("[breaker]\nshare = 0", "breaker.share: expected a number > 0.0"),
        ("[breaker]\nprobes = 0", "breaker.probes: expected a whole number >= 1"),
        ("[breaker]\ncool_down = 61", "breaker.cool_down: cannot be more than breaker.longest"),
        ("[admission]\nqueue = -1", "admission.queue: expected a whole number >= 0"),
        ("[admission]\npatience = 0", "admission.patience: expected a number > 0.0"),
    ],
)
def test_waits_and_shares_are_bounded(file: Path, settings: str, line: str) -> None:
    """As everywhere, and against each other."""
    assert refusal(file, settings) == line
