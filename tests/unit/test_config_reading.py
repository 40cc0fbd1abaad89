"""Files and variables become a Config, or one line that names what is wrong."""

from pathlib import Path

import pytest

from proxy.config import Config, ConfigError, Secret, find, load, read, strays

URL = "http://127.0.0.1:9/v1"
KEY = "sk-canary-7f3a"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def loaded(file: Path, text: str = "", **environ: str) -> Config:
    file.write_text(text)
    return load(file, environ)


def refusal(file: Path, text: str = "", **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(file, text, **environ)
    return str(caught.value)


def test_the_environment_overrides_the_file_and_the_file_the_defaults(file: Path) -> None:
    """Precedence is environment, file, default."""
    config = loaded(file, "[timeouts]\nhead = 1\nbody = 2", ASKONCE_TIMEOUTS__BODY="3")
    assert (config.timeouts.head, config.timeouts.body, config.timeouts.idle) == (1.0, 3.0, 120.0)


def test_variables_are_converted_to_the_type_of_their_setting(file: Path) -> None:
    """Numbers, truth, choices and lists may be written as text in the environment."""
    config = loaded(
        file,
        ASKONCE_LISTEN__PORT="9000",
        ASKONCE_AUTH__REQUIRE_KEY="TRUE",
        ASKONCE_LOG__LEVEL="DEBUG",
        ASKONCE_LISTEN__TRUSTED_PROXIES="10.0.0.0/8, ::1",
    )
    assert (config.listen.port, config.auth.require_key, config.log.level) == (9000, True, "debug")
    assert config.listen.trusted_proxies == ("10.0.0.0/8", "::1")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[listen]\nport = '8080'", "listen.port: expected a whole number, got a string"),
        ("[listen]\nport = true", "listen.port: expected a whole number, got true or false"),
        ("[listen]\nport = 80.0", "listen.port: expected a whole number, got a number"),
        ("[listen]\nport = 65536", "listen.port: expected a whole number <= 65535"),
        ("[listen]\nport = -1", "listen.port: expected a whole number >= 0"),
        ("[timeouts]\nidle = nan", "timeouts.idle: expected a number > 0.0"),
        ("[timeouts]\nidle = inf", "timeouts.idle: expected a number <= 86400.0"),
        ("[auth]\nrequire_key = 1", "auth.require_key: expected true or false, got a whole number"),
        ("[log]\nformat = 'xml'", "log.format: expected 'auto' or 'json' or 'text'"),
        ("[listen]\ntrusted_proxies = ['::1', 4]", "listen.trusted_proxies[1]: expected a string, got a whole number"),
        ("[listen]\nhost = 2026-01-01", "listen.host: expected a string, got date"),
        ("listen = 3", "listen: expected a table"),
        ("upstreams = []", "upstreams: expected a table of tables"),
        ("upstreams.a = 1", "upstreams.a: expected a table"),
        ("[upstreams.a]\nbase_url = 1", "upstreams.a.base_url: expected a string, got a whole number"),
        ("[upstreams.a]\nmodels = ['*']", "upstreams.a.base_url: must be set"),
        (f"[upstreams.'a b']\nbase_url = '{URL}'", "upstreams.'a b': a name is at most 64 letters,"),
    ],
)
def test_a_wrong_value_in_the_file_is_refused_by_its_key(file: Path, text: str, line: str) -> None:
    """The file is typed strictly, and the line names the full key."""
    assert refusal(file, text).startswith(line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[listen]\nprt = 1", "listen.prt: no such setting; did you mean listen.port?"),
        ("port = 1", "port: no such setting; did you mean listen.port?"),
        ("[lsten]\nport = 1", "lsten: no such setting; did you mean listen?"),
        ("[upstreams.a]\nmodel = []", "upstreams.a.model: no such setting; did you mean upstreams.a.models?"),
        ("[listen]\nxyzzy = 1", "listen.xyzzy: no such setting"),
        ('"a\\nb" = 1', r"'a\nb': no such setting"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_the_nearest_known(file: Path, text: str, line: str) -> None:
    """A misspelt setting does not silently do nothing."""
    assert refusal(file, text) == line


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("ASKONCE_LISTEN__PRT", "1", "ASKONCE_LISTEN__PRT: no such setting; did you mean ASKONCE_LISTEN__PORT?"),
        ("ASKONCE_LISTEN__PORT__X", "1", "ASKONCE_LISTEN__PORT__X: no such setting; did you mean ASKONCE_LISTEN__P"),
        ("ASKONCE_X__Y", "1", "ASKONCE_X__Y: no such setting"),
        ("ASKONCE__", "1", "ASKONCE__: no such setting"),
        ("ASKONCE___PORT", "1", "ASKONCE___PORT: no such setting"),
        ("ASKONCE_UPSTREAMS__A", URL, "ASKONCE_UPSTREAMS__A: names a table, not a setting"),
        ("ASKONCE_LISTEN__PORT", "http", "ASKONCE_LISTEN__PORT: expected a whole number"),
        ("ASKONCE_LISTEN__PORT", "", "ASKONCE_LISTEN__PORT: expected a whole number"),
        ("ASKONCE_TIMEOUTS__IDLE", "nan", "ASKONCE_TIMEOUTS__IDLE: expected a number > 0.0"),
        ("ASKONCE_LISTEN__HOST", "", "ASKONCE_LISTEN__HOST: expected an IP address"),
        ("OPENAI_BASE_URL", "ftp://host", "OPENAI_BASE_URL: expected http://host/"),
        ("HTTPS_PROXY", "socks5://host:1080", "HTTPS_PROXY: expected http://host:port"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_environment_names_the_variable(file: Path, name: str, value: str, line: str) -> None:
    """Whoever set a variable finds its name in the line."""
    assert refusal(file, "", **{name: value}).startswith(line)


def test_an_exempt_host_needs_no_sound_proxy(file: Path) -> None:
    """HTTPS_PROXY is judged only where an upstream is reached through it."""
    loaded(file, HTTPS_PROXY="socks5://host:1080", NO_PROXY="openai.com")
    loaded(file, f"[upstreams.a]\nbase_url = '{URL}'", HTTPS_PROXY="socks5://host:1080")
    loaded(file, HTTPS_PROXY="http://user:password@host:3128")


def test_a_table_must_be_a_table_also_where_a_variable_reaches_into_it(file: Path) -> None:
    """The file's mistake is blamed, not the variable."""
    assert refusal(file, "listen = 3", ASKONCE_LISTEN__PORT="1") == "listen: expected a table"


@pytest.mark.parametrize(
    "text", ["x", "a = [[[", "a = " + "[" * 5_000, "a = " + "9" * 5_000, "a = 1\na = 2", "a = '\0'"]
)
def test_what_is_not_toml_is_refused_by_the_files_name(file: Path, text: str) -> None:
    """Also where the parser itself gives up."""
    assert refusal(file, text).startswith(f"{file}: not TOML: ")


def test_an_unreadable_file_is_refused_by_its_name(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8, endless: one line each."""
    (tmp_path / "latin").write_bytes(b"# \xff")
    for path, reason in [
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / "latin", "it is not UTF-8"),
        (Path("/dev/zero"), "it is larger than 1 MiB"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        assert str(caught.value) == f"{path}: cannot be read: {reason}"


def test_the_file_is_the_option_then_the_variable_then_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config, $ASKONCE_CONFIG, ./config.toml, none."""
    monkeypatch.chdir(tmp_path)
    named = {"ASKONCE_CONFIG": "named.toml"}
    assert find(None, {}) is None
    (tmp_path / "config.toml").touch()
    assert find(None, {}) == Path("config.toml")
    assert find(None, {"ASKONCE_CONFIG": ""}) == Path("config.toml")
    assert find(None, named) == Path("named.toml")
    assert find(Path("option.toml"), named) == Path("option.toml")


def test_openai_is_the_upstream_where_none_is_given(file: Path) -> None:
    """Nothing needs to be configured, and the key alone is enough."""
    assert loaded(file).upstreams["openai"].base_url == "https://api.openai.com/v1"
    openai = loaded(file, ASKONCE_UPSTREAMS__OPENAI__KEY=KEY).upstreams["openai"]
    assert (openai.base_url, openai.key.reveal()) == ("https://api.openai.com/v1", KEY)


def test_openai_base_url_moves_openai_and_nothing_else(file: Path) -> None:
    """The SDKs' variable overrides the file, but not our own variable, and no other upstream."""
    openai, other = f"[upstreams.openai]\nbase_url = '{URL}'", f"[upstreams.other]\nbase_url = '{URL}'"
    moved = "http://127.0.0.1:10/v1"
    assert loaded(file, OPENAI_BASE_URL=moved).upstreams["openai"].base_url == moved
    assert loaded(file, openai, OPENAI_BASE_URL=moved).upstreams["openai"].base_url == moved
    assert loaded(file, openai, OPENAI_BASE_URL="").upstreams["openai"].base_url == URL
    assert loaded(file, other, OPENAI_BASE_URL=moved).upstreams["other"].base_url == URL
    both = {"OPENAI_BASE_URL": moved, "ASKONCE_UPSTREAMS__OPENAI__BASE_URL": URL}
    assert loaded(file, openai, **both).upstreams["openai"].base_url == URL


def test_a_variable_finds_an_upstream_with_capitals_and_hyphens(file: Path) -> None:
    """Names of variables have neither."""
    config = loaded(file, f"[upstreams.My-vLLM]\nbase_url = '{URL}'", ASKONCE_UPSTREAMS__MY_VLLM__KEY=KEY)
    assert [*config.upstreams] == ["My-vLLM"]
    assert config.upstreams["My-vLLM"].key.reveal() == KEY


def test_a_secret_is_read_from_where_the_reference_points(file: Path, tmp_path: Path) -> None:
    """env:NAME, file:PATH (the white space around it removed), or a variable's own text; the origin is remembered."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    base = f"[upstreams.a]\nbase_url = '{URL}'\n"
    for text, environ, origin in [
        (base + "key = 'env:SOME_KEY'", {"SOME_KEY": KEY}, "$SOME_KEY"),
        (base + f"key = 'file:{tmp_path}/key'", {}, f"{tmp_path}/key"),
        (base, {"ASKONCE_UPSTREAMS__A__KEY": KEY}, "$ASKONCE_UPSTREAMS__A__KEY"),
        (base, {"ASKONCE_UPSTREAMS__A__KEY": "env:SOME_KEY", "SOME_KEY": KEY}, "$SOME_KEY"),
    ]:
        file.write_text(text)
        result = read(file, environ)
        assert result.config.upstreams["a"].key == Secret(KEY)
        assert result.secrets == {"upstreams.a.key": origin}
        assert result.text == text


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        (KEY, "upstreams.a.key: a secret is written as `env:NAME` or `file:PATH`, never in the file itself"),
        (f"env:{KEY}", "upstreams.a.key: what follows `env:` is not the name of a variable"),
        ("env:UNSET", "upstreams.a.key: the environment variable UNSET is not set"),
        ("env:EMPTY", "upstreams.a.key: the environment variable EMPTY is not set"),
        ("env:BROKEN", "upstreams.a.key: the secret holds a blank, a control character or a non-ASCII one"),
        ("file:/nowhere", "upstreams.a.key: the secret file /nowhere cannot be read: No such file or directory"),
        ("file:/dev/null", "upstreams.a.key: the secret file /dev/null is empty"),
    ],
)
def test_a_secret_that_cannot_be_read_is_refused_without_showing_it(file: Path, reference: str, line: str) -> None:
    """What was put in the wrong place is not repeated."""
    text = f"[upstreams.a]\nbase_url = '{URL}'\nkey = '{reference}'"
    assert refusal(file, text, EMPTY="", BROKEN=f"{KEY}\r\nx-evil: 1") == line


def test_what_is_quoted_cannot_break_the_line(file: Path) -> None:
    """Paths and names of variables may hold line breaks and terminal codes; the message does not."""
    key = f"[upstreams.a]\nbase_url = '{URL}'\nkey = \"file:/no\\nwhere\\u001b[31m\""
    assert refusal(file, key).startswith(r"upstreams.a.key: the secret file /no\nwhere\x1b[31m cannot be read")
    assert refusal(file, "", **{"ASKONCE_A\n__B": "x"}) == r"ASKONCE_A\n__B: no such setting"


def test_a_secret_shows_itself_only_when_asked_by_name(file: Path) -> None:
    """repr, str and format of it, and of all that holds it, show ***."""
    config = loaded(file, ASKONCE_UPSTREAMS__OPENAI__KEY=KEY)
    key = config.upstreams["openai"].key
    for shown in (repr(key), str(key), f"{key}", f"{key!s:>9}", repr(config), repr(read(None, {"A": KEY}))):
        assert KEY not in shown
    assert key
    assert key != KEY
    assert len({key, Secret(KEY), Secret("")}) == 2


def test_variables_that_set_nothing_are_named_with_what_they_may_mean() -> None:
    """A single underscore, small letters and unknown names are told apart from what is ours."""
    ours = ("ASKONCE_CONFIG", "ASKONCE_LOG__LEVEL", "PATH")
    strange = ("ASKONCE_LISTEN_PORT", "ASKONCE_DEBUG", "askonce_log__level")
    assert strays(dict.fromkeys(ours + strange, "x")) == {
        "ASKONCE_DEBUG": "",
        "ASKONCE_LISTEN_PORT": "ASKONCE_LISTEN__PORT",
        "askonce_log__level": "ASKONCE_LOG__LEVEL",
    }
