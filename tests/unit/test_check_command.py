"""`askonce check` says who may use what, in words."""

import json
import os
import re
from pathlib import Path

import pytest

from cache.semantic.minilm import minilm
from proxy.cli.check import check
from proxy.config import ConfigError
from tests.fakes.cross_encoder import cross_encoder

DIGEST = "8f2c61d07b9e4a35c0d1e2f3a4b5968778695a4b3c2d1e0f534ae9b70d16c2f8"
KEY = "sk-canary-8d17"
SHARED = f"""
[auth]
mode = "keys"
[keys.declared.ci]
digest = "{DIGEST}"
team = "research"
expires = 2027-01-31T00:00:00Z
models = ["gpt-4o*"]
max_tokens = 4096
cache_scope = "key"
priority = "batch"
usd_per_day = 0.01
[keys.teams.research]
usd_in_all = 1250.5
[keys.teams.guests]
[limits.key]
requests_per_minute = 60
tokens_per_minute = 100_000
[limits.gateway]
concurrent_requests = 9
mode = "shadow"
[upstreams.openai]
key = "env:UPSTREAM_KEY"
limits.usd_per_month = 500
[prices.models."my-*"]
input = 0.5
output = 2
batch.input = 0.25
"""


@pytest.fixture
def explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Explained":
    for name in [name for name in os.environ if name.startswith("ASKONCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    return Explained(tmp_path, capsys)


class Explained:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, text: str, *, as_json: bool = False) -> list[str]:
        """What is printed, each run of blanks as one."""
        file = self.folder / "askonce.toml"
        file.write_text(text)
        check(file, as_json=as_json)
        return [" ".join(line.split()) for line in self._capsys.readouterr().out.splitlines()]


def test_keys_and_teams_are_explained(explained: Explained) -> None:
    """Where they are kept, and what each that is declared may do; of none more than its name."""
    lines = explained(SHARED)
    folder = explained.folder / "data"
    rest = "4,096 tokens a request; answers shared by key; priority: batch; 0.01 USD a day"
    for line in (
        "clients bring virtual keys",
        f"stored in {folder}",
        f"pepper in {folder}, made at the first start",
        "rotated secrets open for 24 h more",
        "lists of what all have made: for keys whose endpoints name it",
        f"key ci of team research; until 2027-01-31 00:00 UTC; models: gpt-4o*; {rest}",
        "team research 1,250.5 USD in all; declared keys: ci",
        "team guests no limits of its own; declared keys: none",
        "answers shared by keys of the same team",
        "key $UPSTREAM_KEY",
    ):
        assert line in lines
    assert not any(DIGEST in line or KEY in line for line in lines)


def test_limits_are_explained(explained: Explained) -> None:
    """Those in force, whose they are and where they are counted."""
    lines = explained(SHARED)
    for line in (
        "each key 60 requests a minute, 100,000 tokens a minute",
        "all requests 9 requests at once (shadow: refuses nobody)",
        "upstream openai 500 USD a month",
        "counted in memory",
        "bursts at most what comes in 1 min",
        "budgets warn from 80 %",
        "without a price refused to who has a budget",
        "tokens estimated by tiktoken; 1,024 for an answer without a bound",
    ):
        assert line in lines
    assert not any(line.startswith(("each team", "each upstream")) for line in lines)


def test_with_redis_it_is_said_what_happens_without_it(explained: Explained, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each limit, and where the ledger and the keys are; no password."""
    monkeypatch.setenv("ASKONCE_REDIS__URL", f"redis://u:{KEY}@10.0.0.1/3")
    lines = explained(SHARED + '[limits.team]\nrequests_per_day = 7\non_store_failure = "closed"')
    for line in (
        "stored in redis://10.0.0.1:6379/3",
        "each team 7 requests a day; without Redis nothing is let through",
        "counted in redis://10.0.0.1:6379/3",
        "ledger redis://10.0.0.1:6379/3",
        "requests kept for 30 days",
    ):
        assert line in lines
    assert not any(KEY in line or line.startswith("each upstream") for line in lines)


def test_prices_and_the_ledger_are_explained(explained: Explained) -> None:
    """The list with its version, own prices, what is kept and for how long."""
    lines = explained(SHARED + "[ledger]\nkeep_requests_days = 1")
    for line in (
        "my-* input 0.5, output 2; batch: input 0.25",
        f"ledger {explained.folder / 'data'}",
        "requests kept for 1 day, 1,000,000 of them at most",
        "usage by day kept for 400 days",
        "waiting at most 50,000 rows or 64 MiB per worker",
    ):
        assert line in lines
    assert any(line.startswith("list genai-prices 0.") for line in lines)


def test_what_is_not_in_use_is_said_in_a_word(explained: Explained) -> None:
    """Without keys, limits and a ledger there is nothing to explain."""
    lines = explained("[prices]\nenabled = false")
    for line in (
        "clients pass-through: their own keys, optional",
        "limits none: nothing is counted",
        "list off",
        "ledger off: there are no virtual keys",
    ):
        assert line in lines
    assert "ledger off" in explained(SHARED + '[ledger]\nmode = "off"')
    assert "limits those of the keys and teams themselves" in explained('[auth]\nmode = "keys"')


@pytest.mark.parametrize("pepper", ["short", "a" * 64, "please-change-me-please-change-me"])
def test_a_pepper_that_stops_the_start_is_no_sound_configuration(
    explained: Explained, monkeypatch: pytest.MonkeyPatch, pepper: str
) -> None:
    """Where there are virtual keys; nothing of it is shown, and no data directory is made."""
    monkeypatch.setenv("ASKONCE_PEPPER", pepper)
    with pytest.raises(ConfigError, match=r"^ASKONCE_PEPPER: ") as refused:
        explained(SHARED)
    assert pepper not in str(refused.value)
    assert [each.name for each in explained.folder.iterdir()] == ["askonce.toml"]
    assert "Keys" in explained('[auth]\nmode = "passthrough"')


ROUTED = """
[upstreams.openai]
keys = ["env:UPSTREAM_KEY", "env:OTHER_KEY"]
organization = "org-1"
[upstreams.azure]
base_url = "https://n.openai.azure.com/openai/deployments/{model}"
key = "env:UPSTREAM_KEY"
models = []
rename = { "gpt-4o" = "four", "o3" = "three" }
headers = { x-team = "canary-header" }
api_version = "2024-10-21"
region = "swedencentral"
timeouts.first_byte = 20
[upstreams.local]
base_url = "http://127.0.0.1:9/v1"
models = ["llama-*"]
project = "p"
slots = 9
probe.interval = 10
prices."*".input = 0.0
[routes.four]
models = ["gpt-4o"]
groups = ["openai=3 azure", "local"]
strategy = "weighted"
sticky = "conversation"
required = true
on_ambiguous = true
timeouts.total = 60
[routes.order]
models = ["gpt-5"]
groups = ["local azure", "openai"]
[aliases]
fast = "gpt-4o"
[server]
workers = 2
"""


@pytest.fixture
def routed(explained: Explained, monkeypatch: pytest.MonkeyPatch) -> Explained:
    monkeypatch.setenv("OTHER_KEY", f"{KEY}-2")
    return explained


def test_upstreams_are_explained(routed: Explained) -> None:
    """What each has of its own; keys by their number and place, headers by their names."""
    lines = routed(ROUTED)
    for line in (
        "key 2 keys: $UPSTREAM_KEY, $OTHER_KEY, in place of the client's",
        "key $UPSTREAM_KEY, as api-key, in place of the client's",
        "models those of its routes",
        "called otherwise gpt-4o is four, o3 is three",
        "organization org-1",
        "project p",
        "API version 2024-10-21",
        "region swedencentral",
        "sends also x-team",
        "slots 9, 4 per worker",
        "time-outs first byte 20 s",
        "probe GET /models every 10 s, 5 s at most",
        "own prices *",
    ):
        assert line in lines
    assert not any("canary" in line for line in lines)


def test_routes_are_explained_as_a_request_finds_them(routed: Explained) -> None:
    """Groups in their order, what each is called there, and then the upstreams' own models."""
    lines = routed(ROUTED)
    begin = lines.index("Routes") + 1
    assert lines[begin : lines.index("Retries")] == [
        "four gpt-4o",
        "asks openai (weight 3), azure (weight 1, gpt-4o as four), by weight",
        "then local",
        "sticky by conversation: the same goes to the same upstream",
        "required not ready while the breakers of all these are open",
        "retries also what may have been processed, and may be billed twice",
        "time-outs whole answer 1 min",
        "order gpt-5",
        "asks local, then azure",
        "then openai",
        "openai *",
        "asks openai",
        "local llama-*",
        "asks local",
        "alias fast gpt-4o, of route four",
    ]


def test_retries_breaker_and_admission_are_explained(routed: Explained) -> None:
    """In words, with what is off said to be off."""
    lines = routed(ROUTED)
    for line in (
        "at one upstream 3 attempts, the first included",
        "waits drawn from 0 to 250 ms, then to twice as much, 2 s at most",
        "retries 10 % of an upstream's requests, beside those that help",
        "maybe processed never asked again, but by four",
        "streams passed on at once",
        "opens after 10 failures in a row, or 50 % of 20 requests or more within 30 s",
        "stays open 5 s, longer after each probe that fails, up to 1 min",
        "probes 1 at once",
        "slots local 9, 4 per worker",
        "queue 1,000 requests per upstream and worker, 10 s at most",
        "turned away whoever finds the queue full",
    ):
        assert line in lines
    lines = routed(
        "[retry]\nattempts = 1\nbudget = 0\non_ambiguous = true\nhold_bytes = 4096\n[breaker]\nenabled = false\n"
        "[admission]\nqueue = 0\nadaptive = true\nshed_lag = 0.5\nshed_memory = 2_147_483_648"
    )
    for line in (
        "at one upstream once",
        "retries none",
        "maybe processed asked again, and perhaps billed twice",
        "streams held until they have content, up to 4 KiB",
        "breaker off: an upstream is asked however often it fails",
        "slots no bound",
        "queue nobody waits",
        "adaptive fewer slots while an upstream grows slower",
        "turned away while the event loop is 500 ms behind or a worker takes 2 GiB",
    ):
        assert line in lines


def test_the_same_is_told_as_json(routed: Explained) -> None:
    """With every key as ***, and the routes as they are in force."""
    text = "".join(routed(ROUTED, as_json=True))
    assert KEY not in text
    document = json.loads(text)
    assert document["settings"]["upstreams"]["openai"]["keys"] == ["***", "***"]
    assert document["secrets"]["upstreams.openai.keys"] == "$UPSTREAM_KEY, $OTHER_KEY"
    assert document["routes"][0]["groups"] == [[["openai", 3], ["azure", 1]], [["local", 1]]]
    assert [route["name"] for route in document["routes"]] == ["four", "order", "openai", "local"]


def test_models_are_loaded(explained: Explained, tmp_path: Path) -> None:
    """As the start does; and the verifier's time is held against the deadline."""
    model = minilm()
    (tmp_path / "model.onnx").symlink_to(model.model)
    (tmp_path / "tokenizer.json").symlink_to(model.tokenizer)
    embedder = f'[semantic.embedder]\nkind = "onnx"\nfolder = "{tmp_path}"\n'
    verifier = f'[semantic.verifier]\npath = "{cross_encoder(tmp_path / "v")}"\nmin_score = 0.9\n'
    lines = explained(f"[semantic]\ndeadline = 0.00001\n{embedder}{verifier}")
    assert f"embedder the model in {tmp_path}: 384 numbers, sha256 {model.model_sha256}" in lines
    (told,) = [line for line in lines if line.startswith("verifier ")]
    assert re.fullmatch(rf"verifier the model in {tmp_path}/v: \S+ ms for 3 questions of 72 characters", told)
    assert any(line.startswith("warning: semantic.deadline: 0.01 ms for all of a look, of which") for line in lines)
    assert any(line.startswith("warning: semantic.verifier.min_score: serves for a score") for line in lines)


@pytest.mark.parametrize("kind", ["embedder", "verifier"])
def test_a_model_that_cannot_be_used_is_named(explained: Explained, tmp_path: Path, kind: str) -> None:
    """With the file, and what is wrong with it."""
    (cross_encoder(tmp_path) / "model.onnx").write_bytes(b"?")
    settings = {"embedder": f'kind = "onnx"\nfolder = "{tmp_path}"', "verifier": f'path = "{tmp_path}"'}[kind]
    with pytest.raises(ConfigError, match=rf"semantic\.{kind}: .*model\.onnx is no model that can be loaded"):
        explained(f"[semantic.{kind}]\n{settings}")
    assert explained(f'[semantic]\nmode = "off"\n[semantic.{kind}]\n{settings}')
