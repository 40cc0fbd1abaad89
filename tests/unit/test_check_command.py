"""`askonce check` says who may use what, in words."""

import os
from pathlib import Path

import pytest

from proxy.cli.check import check
from proxy.config import ConfigError

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
