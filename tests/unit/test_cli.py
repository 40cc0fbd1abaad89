"""The command line: what it takes, what it prints, and how it fails."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import main

KEY = "sk-canary-0b58"
URL = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `askonce …`."""
    monkeypatch.setattr(sys, "argv", ["askonce", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, name first."""
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("askonce")


def test_the_help_lists_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command it is shown too, as the usage error that this is."""
    assert run(monkeypatch, "--help") == 0
    listed = capsys.readouterr().out
    assert all(command in listed for command in ("serve", "check", "demo", "keys", "cache", "usage", "prices"))
    assert run(monkeypatch) == 2


def test_an_unknown_command_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, as usage errors are."""
    assert run(monkeypatch, "srve") == 2
    assert "srve" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_bad_configuration_is_one_line_and_exit_1(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On standard error, nothing else anywhere."""
    (tmp_path / "config.toml").write_text("[listen]\nprt = 1")
    assert run(monkeypatch, command) == 1
    printed = capsys.readouterr()
    assert printed.err == "askonce: listen.prt: no such setting; did you mean listen.port?\n"
    assert not printed.out


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("listener", ["LISTEN", "ADMIN"])
def test_an_occupied_port_is_one_line_and_exit_1(
    workers: str, listener: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever listener it is, with and without workers."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for each in ("LISTEN", "ADMIN"):
            monkeypatch.setenv(f"ASKONCE_{each}__PORT", str(port) if each == listener else "0")
        monkeypatch.setenv("ASKONCE_SERVER__WORKERS", workers)
        assert run(monkeypatch, "serve") == 1
    assert capsys.readouterr().err == f"askonce: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_the_option_for_workers_is_bounded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As server.workers is."""
    assert run(monkeypatch, "serve", "--workers", "0") == 2
    assert "--workers" in capsys.readouterr().err


def test_check_explains_where_everything_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """File, overrides, listeners, upstreams, where the key comes from, caps and times in human units."""
    file = tmp_path / "askonce.toml"
    file.write_text(
        f"[listen]\nhost = '::1'\n[upstreams.local]\nbase_url = '{URL}'\nkey = 'env:LOCAL_KEY'\nmodels = ['qwen*', '*']"
    )
    monkeypatch.setenv("LOCAL_KEY", KEY)
    monkeypatch.setenv("ASKONCE_TIMEOUTS__HEAD", "0.25")
    assert run(monkeypatch, "check", "--config", str(file)) == 0
    printed = capsys.readouterr().out
    for part in (
        str(file),
        "timeouts.head           set by $ASKONCE_TIMEOUTS__HEAD",
        "http://[::1]:8080/v1",
        URL,
        "$LOCAL_KEY, in place of the client's",
        'qwen*, * ("*": all that match no other pattern)',
        "headers 250 ms",
        "32 MiB",
        "15 min",
        "No warnings.",
    ):
        assert part in printed
    assert KEY not in printed


def test_check_explains_the_cache(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Who shares what, for how long, and where it lies; no password."""
    monkeypatch.setenv("ASKONCE_REDIS__URL", f"rediss://u:{KEY}@cache.internal/3")
    monkeypatch.setenv("ASKONCE_CACHE__TTL__AUDIO_SPEECH", "90")
    monkeypatch.setenv("ASKONCE_COALESCE__OFF", "embeddings")
    assert run(monkeypatch, "check") == 0
    printed = capsys.readouterr().out
    for part in (
        "requests with the same key",
        "kept for 24 h           chat_completions, completions, responses, moderations",
        "kept for 90 s           audio_speech",
        "not kept                images_generations, audio_transcriptions",
        "256 MiB per worker",
        "rediss://cache.internal:6379/3",
        "shared, but for embeddings",
    ):
        assert part in printed
    assert KEY not in printed


@pytest.mark.parametrize("options", [[], ["--json"]], ids=str)
def test_check_refuses_what_serve_would_not_reach(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A URL of Redis that is none, without quoting it."""
    monkeypatch.setenv("ASKONCE_REDIS__URL", f"http://u:{KEY}@cache.internal")
    assert run(monkeypatch, "check", *options) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("askonce: redis.url: ")
    assert KEY not in printed.err + printed.out


def test_check_prints_its_warnings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """After the explanation; they are no reason to fail."""
    monkeypatch.setenv("ASKONCE_LISTEN__HOST", "0.0.0.0")
    monkeypatch.setenv("ASKONCE_UPSTREAMS__OPENAI__KEY", KEY)
    assert run(monkeypatch, "check") == 0
    printed = capsys.readouterr().out
    assert "file                    none: every setting has its default" in printed
    assert "warning: listen.host: whoever reaches 0.0.0.0 can spend upstreams.openai.key" in printed
    assert "No warnings." not in printed


def test_check_prints_json_for_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as one document; a key is ***."""
    monkeypatch.setenv("ASKONCE_UPSTREAMS__OPENAI__KEY", KEY)
    monkeypatch.setenv("ASKONCE_LOG_LEVEL", "debug")
    assert run(monkeypatch, "check", "--json") == 0
    printed = capsys.readouterr().out
    document: dict[str, Any] = json.loads(printed)
    assert document["file"] is None
    assert document["environment"] == {"ASKONCE_UPSTREAMS__OPENAI__KEY": "upstreams.openai.key"}
    assert document["secrets"] == {"upstreams.openai.key": "$ASKONCE_UPSTREAMS__OPENAI__KEY"}
    assert document["settings"]["upstreams"]["openai"]["key"] == "***"
    assert document["settings"]["listen"]["port"] == 8080
    assert document["warnings"] == ["ASKONCE_LOG_LEVEL: sets nothing; did you mean ASKONCE_LOG__LEVEL?"]
    assert KEY not in printed


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 s"),
        (0.05, "50 ms"),
        (1.5, "1.5 s"),
        (75.0, "75 s"),
        (60.0, "1 min"),
        (7200.0, "2 h"),
        (5400.0, "90 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, shown: str) -> None:
    """In the largest unit that leaves no rest."""
    from proxy.cli.units import duration

    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(1, "1 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (520 << 20, "520 MiB"), (1 << 31, "2 GiB")]
)
def test_sizes_read_as_people_say_them(count: int, shown: str) -> None:
    """In binary units."""
    from proxy.cli.units import size

    assert size(count) == shown
