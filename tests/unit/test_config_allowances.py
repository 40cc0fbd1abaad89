"""Amounts, keys and prices: those that mean something load, the others are refused by their key."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits.policy import MAX_BUCKET, MAX_COUNTER, Kind
from proxy.config import Config, ConfigError, carried_over, load, read
from proxy.keys.amounts import MAX_USD, amounts_in
from proxy.telemetry.prices import Override, Tier, override_of

DIGEST = "8f2c61d07b9e4a35c0d1e2f3a4b5968778695a4b3c2d1e0f534ae9b70d16c2f8"
REDIS = {"ASKONCE_REDIS__URL": "redis://127.0.0.1:6379/0"}


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


def declared(**settings: str) -> str:
    """As TOML."""
    lines = {"digest": f'"{DIGEST}"'} | settings
    return "[keys.declared.ci]\n" + "\n".join(f"{name} = {value}" for name, value in lines.items())


@pytest.mark.parametrize("table", ["limits.key", "limits.team", "limits.upstream", "limits.gateway", "keys.teams.ops"])
def test_amounts_are_read_wherever_they_may_stand(file: Path, table: str) -> None:
    """Whole numbers, USD with decimals, none, and no limit."""
    config = loaded(
        file, f"[{table}]\nrequests_per_minute = 60\nusd_per_day = 0.01\nusd_in_all = 0\nrequests_per_day = inf"
    )
    section: Any = config
    for name in table.split("."):
        section = section[name] if isinstance(section, dict) else getattr(section, name)
    assert amounts_in(section) == {Kind.REQUESTS: 60, Kind.SPEND_DAY: 10_000_000, Kind.SPEND: 0}


def test_amounts_of_keys_and_upstreams_are_read(file: Path) -> None:
    """In their own tables, and from variables, which find names with capitals and hyphens."""
    config = loaded(
        file,
        declared(tokens_per_minute="10_000").replace("ci", "My-CI"),
        ASKONCE_KEYS__DECLARED__MY_CI__USD_PER_MONTH="5",
        ASKONCE_KEYS__DECLARED__MY_CI__MAX_TOKENS="4096",
        ASKONCE_UPSTREAMS__OPENAI__LIMITS__CONCURRENT_REQUESTS="50",
        ASKONCE_LIMITS__KEY__REQUESTS_PER_MINUTE="inf",
    )
    assert [*config.keys.declared] == ["My-CI"]
    assert amounts_in(config.keys.declared["My-CI"]) == {Kind.TOKENS: 10_000, Kind.SPEND_MONTH: 5_000_000_000}
    assert config.keys.declared["My-CI"].max_tokens == 4096
    assert amounts_in(config.upstreams["openai"].limits) == {Kind.CONCURRENT: 50}
    assert amounts_in(config.limits.key) == {}


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("requests_per_minute = 0.5", "requests_per_minute: expected a whole number, or inf for no limit"),
        ("concurrent_requests = -1", "concurrent_requests: expected a number >= 0.0"),
        ("tokens_per_minute = nan", "tokens_per_minute: expected a number >= 0.0"),
        ("tokens_per_minute = true", "tokens_per_minute: expected a number, got true or false"),
        (f"tokens_per_minute = {MAX_BUCKET + 1}", "tokens_per_minute: at most 100,000,000,000, or inf for no limit"),
        (f"requests_per_day = {MAX_COUNTER + 2}", "requests_per_day: at most 9,000,000,000,000,000, or inf"),
        ("usd_per_day = 9_000_000.01", "usd_per_day: at most 9,000,000 USD, or inf for no limit"),
        ("usd_in_all = 1e-10", "usd_in_all: USD with at most nine decimals"),
        ("usd_in_all = 1e400", "usd_in_all: Number out of range"),
        ("usd_in_all = -1e400", "usd_in_all: Number out of range"),
        ("mode = 'off'", "mode: expected 'enforce' or 'shadow'"),
        ("on_store_failure = 'deny'", "on_store_failure: expected 'local' or 'open' or 'closed'"),
        ("rpm = 1", "rpm: no such setting"),
        ("usd_per_weak = 1", "usd_per_weak: no such setting; did you mean limits.key.usd_per_"),
    ],
)
def test_an_amount_that_means_nothing_is_refused(file: Path, setting: str, line: str) -> None:
    """By its whole key."""
    assert refusal(file, f"[limits.key]\n{setting}").startswith(f"limits.key.{line}")


@given(st.floats(0, 1e17) | st.integers(0, 10**17) | st.just(inf), st.sampled_from([*Kind]))
def test_an_amount_that_loads_is_one_that_counters_hold(amount: float, kind: Kind) -> None:
    """Exactly as it was written, and no more than scripts can count; every other is refused."""
    exact = Decimal(repr(amount)) * (10**9 if kind.money else 1)
    most = MAX_COUNTER if kind.money or kind is Kind.DAILY else MAX_BUCKET
    variable = f"ASKONCE_LIMITS__GATEWAY__{kind.value.upper()}"
    try:
        held = amounts_in(load(None, {variable: repr(amount)}).limits.gateway)
    except ConfigError as error:
        refused = str(error).startswith(f"{variable}: ")
        assert refused is (exact > most or exact != exact.to_integral_value())
    else:
        assert held == ({} if amount == inf else {kind: exact})
        assert amount == inf or held[kind] <= most


@pytest.mark.parametrize("table", ["keys.declared.ci", "keys.teams.ops", "upstreams.openai.limits"])
def test_amounts_are_bounded_wherever_they_may_stand(file: Path, table: str) -> None:
    """Not only in [limits]."""
    digest = f"digest = '{DIGEST}'" * table.startswith("keys.declared")
    line = refusal(file, f"[{table}]\n{digest}\nrequests_per_day = 1.5")
    assert line == f"{table}.requests_per_day: expected a whole number, or inf for no limit"


def test_a_bucket_holds_no_more_than_counters_can(file: Path) -> None:
    """`limits.burst` makes it larger than an amount a minute."""
    text = f"burst = 120\nkey.tokens_per_minute = {MAX_BUCKET // 2 + 1}\nkey.requests_per_day = {MAX_BUCKET}"
    assert refusal(file, f"[limits]\n{text}") == (
        "limits.key.tokens_per_minute: limits.burst makes it more than 100,000,000,000 at once"
    )
    loaded(file, f"[limits]\n{text.replace('120', '119')}")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"digest": '"sk-ask-canary"'}, "digest: expected 64 hexadecimal digits, as `askonce keys create --declare`"),
        ({"digest": f'"{DIGEST[:-1]}"'}, "digest: expected 64"),
        ({"digest": f'"{DIGEST}00"'}, "digest: expected 64"),
        ({"digest": '"' + "z" * 64 + '"'}, "digest: expected 64"),
        ({"team": '"ops"'}, "team: is none of keys.teams"),
        ({"expires": "3"}, "expires: expected a date and time, such as 2027-01-31T00:00:00Z"),
        ({"expires": '"soon"'}, "expires: expected a date and time, such as 2027-01-31T00:00:00Z"),
        ({"models": '["gpt 4"]'}, "models: at most 100 patterns, of 1 to 128 visible ASCII characters"),
        ({"endpoints": str(["a"] * 101)}, "endpoints: at most 100 patterns"),
        ({"max_tokens": "1.5"}, "max_tokens: expected a whole number"),
        ({"cache_scope": '"all"'}, "cache_scope: expected '' or 'key' or 'team' or 'global'"),
        ({"priority": '"low"'}, "priority: expected '' or 'interactive' or 'batch'"),
        ({"metadata": "{a = 1}"}, "metadata.a: expected a string, got a whole number"),
        ({"metadata": "3"}, "metadata: expected a table"),
        ({"metadata": "{a = '" + "x" * 513 + "'}"}, "metadata: at most 16 texts of 512 characters"),
        ({"metadata": str({str(i): "" for i in range(17)}).replace(":", " =")}, "metadata: at most 16 texts"),
        ({"metadata": "{'' = 'a'}"}, "metadata: at most 16 texts of 512 characters, by names of 64"),
        ({"model": "[]"}, "model: no such setting; did you mean keys.declared.ci.models?"),
    ],
)
def test_a_declared_key_that_cannot_work_is_refused(file: Path, settings: dict[str, str], line: str) -> None:
    """By its key; what stands for a digest may be the secret itself, and is not shown."""
    found = refusal(file, declared(**settings))
    assert found.startswith(f"keys.declared.ci.{line}")
    assert "canary" not in found


def test_a_team_has_as_much_metadata_as_a_key(file: Path) -> None:
    """It is shown and stored as theirs is."""
    line = refusal(file, f"[keys.teams.ops]\nmetadata = {{ a = '{'x' * 513}' }}")
    assert line.startswith("keys.teams.ops.metadata: at most 16 texts")


@pytest.mark.parametrize(
    "table", ["KEYS__DECLARED__CI__METADATA", "PRICES__MODELS__GPT", "PRICES__MODELS", "LIMITS__KEY"]
)
def test_a_variable_sets_no_whole_table(file: Path, table: str) -> None:
    """One for each of its members does."""
    assert refusal(file, **{f"ASKONCE_{table}": "1"}) == f"ASKONCE_{table}: names a table, not a setting"


def test_a_declared_key_needs_a_digest_of_its_own(file: Path) -> None:
    """Without one it has no secret, and with another's nobody could tell whose a request is."""
    assert refusal(file, "[keys.declared.ci]\nteam = ''") == "keys.declared.ci.digest: must be set"
    both = declared() + "\n" + declared(digest=f'"{DIGEST.upper()}"').replace("ci", "cd")
    assert refusal(file, both) == "keys.declared.cd.digest: is also that of keys.declared.ci"


def test_a_name_that_may_be_a_secret_is_not_shown(file: Path) -> None:
    """Names are labels of metrics and stand in the log."""
    for table in ("declared", "teams"):
        line = refusal(file, f"[keys.{table}.sk-ask-canary]\n" + f"digest = '{DIGEST}'" * (table == "declared"))
        assert line == f"keys.{table}: a name that begins with sk- may be a secret, and is refused"


@pytest.mark.parametrize(
    ("written", "expires"),
    [
        ("2027-01-31T00:00:00Z", datetime(2027, 1, 31, tzinfo=UTC)),
        ('"2027-01-31T00:00:00+00:00"', datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31 12:30:00", datetime(2027, 1, 31, 12, 30)),  # noqa: DTZ001
        (str(date(2027, 1, 31)), datetime(2027, 1, 31)),  # noqa: DTZ001
        ('""', None),
    ],
)
def test_an_expiry_is_a_time_or_a_day(file: Path, written: str, expires: datetime | None) -> None:
    """As TOML has them, or as text, which is what a variable is."""
    assert loaded(file, declared(expires=written)).keys.declared["ci"].expires == expires
    variable = {"ASKONCE_KEYS__DECLARED__CI__EXPIRES": written.strip('"')}
    assert loaded(file, declared(), **variable).keys.declared["ci"].expires == expires


def test_prices_are_those_that_the_price_list_takes(file: Path) -> None:
    """By pattern, with tiers; a variable sets one as well."""
    config = loaded(
        file,
        '[prices.models."my-*"]\ninput = 0.5\nbatch.input = 1\n[prices.models.GPT]\noutput = 3',
        ASKONCE_PRICES__MODELS__GPT__FLEX__INPUT="0.25",
    )
    mine, gpt = (override_of(pattern, table) for pattern, table in config.prices.models.items())
    one, half, quarter, three = Fraction(1), Fraction(1, 2), Fraction(1, 4), Fraction(3)
    assert mine == Override("my-*", {"input": half}, {Tier.BATCH: {"input": one}})
    assert gpt == Override("gpt", {"output": three}, {Tier.FLEX: {"input": quarter}})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("'my-*'.inputs = 1", "prices.models.'my-*'.inputs: no such price; there are input, cached_input, "),
        ("gpt.input = -1", "prices.models.gpt.input: a number of USD from 0 to 1,000,000 is needed (USD per million"),
        ("gpt.batch.input = nan", "prices.models.gpt.batch.input: a number of USD from 0"),
        ("gpt.input = 'free'", "prices.models.gpt.input: expected a number, got a string"),
        ("gpt-4.1.input = 1", "prices.models.gpt-4.1: no such price"),
        ("gpt.batch.input.x = 1", "prices.models.gpt.batch.input: expected a number, got a table"),
        ("gpt = 3", "prices.models.gpt: expected a table"),
        ("' gpt' = {}", "prices.models.' gpt': a pattern is 1 to 256 printable characters"),
        ("gpt.'a: b' = 1", "prices.models.gpt.'a: b': no such price"),
    ],
)
def test_a_price_that_is_none_names_its_key(file: Path, text: str, line: str) -> None:
    """The start is refused, for it would be left out of every bill."""
    assert refusal(file, f"[prices.models]\n{text}").startswith(line)


def test_a_bad_price_in_a_variable_names_the_variable(file: Path) -> None:
    """As every other setting does."""
    line = refusal(file, ASKONCE_PRICES__MODELS__GPT__INPUT="1e9")
    assert line.startswith("ASKONCE_PRICES__MODELS__GPT__INPUT: a number of USD from 0 to")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"AUTH__MODE": "keys"}, "auth.mode"),
        ({"LIMITS__GATEWAY__USD_PER_DAY": "5"}, "limits.gateway.usd_per_day"),
        ({"UPSTREAMS__OPENAI__LIMITS__CONCURRENT_REQUESTS": "5"}, "upstreams.openai.limits.concurrent_requests"),
    ],
)
def test_workers_that_count_together_need_redis(file: Path, settings: dict[str, str], reason: str) -> None:
    """Each for itself would let through as many times the amount, and know none of the others' keys."""
    environ = {f"ASKONCE_{name}": value for name, value in settings.items()}
    many = environ | {"ASKONCE_SERVER__WORKERS": "2"}
    assert refusal(file, **many) == f"redis.url: must be set, for {reason} with 2 workers"
    assert refusal(file, **many, ASKONCE_REDIS__URL="").startswith("ASKONCE_REDIS__URL: must be set")
    loaded(file, **environ)
    loaded(file, **many, **REDIS)


@pytest.mark.parametrize("directory", ["", " ", "a\\u0000b", "/dev/null", "x" * 5_000])
def test_the_data_directory_is_one_that_can_be_made(file: Path, directory: str) -> None:
    """It is made later, when something is to be kept."""
    line = refusal(file, f'[data]\ndirectory = "{directory}"')
    assert line == "data.directory: expected the path of a folder, which need not exist"


def test_a_reload_takes_amounts_keys_and_prices(file: Path) -> None:
    """Where keys, tokens and rows are kept and counted is for the next start."""
    running = loaded(file)
    wanted = loaded(
        file,
        f"{declared()}\n[limits]\ncount = 'bytes'\nsoft = 0.5\nkey.usd_per_day = 1\n[prices.models.gpt]\ninput = 1\n"
        "[auth]\nmode = 'keys'\n[ledger]\nmode = 'on'\nbuffer_rows = 9\n[data]\ndirectory = 'elsewhere'",
    )
    config, ignored = carried_over(running, wanted)
    assert sorted(ignored) == ["auth.mode", "data.directory", "ledger.buffer_rows", "ledger.mode", "limits.count"]
    assert (config.auth, config.data, config.ledger) == (running.auth, running.data, running.ledger)
    assert (config.keys, config.prices) == (wanted.keys, wanted.prices)
    assert config.limits == msgspec.structs.replace(wanted.limits, count="tiktoken")


def test_money_is_bounded_alike_everywhere() -> None:
    """The largest budget that loads is the largest that the admin API takes."""
    assert amounts_in(load(None, {"ASKONCE_LIMITS__KEY__USD_IN_ALL": str(MAX_USD)}).limits.key) == {
        Kind.SPEND: MAX_USD * 10**9
    }


def test_where_a_declared_key_came_from_is_remembered() -> None:
    """So that `askonce check` can say which variable set it."""
    name = "ASKONCE_KEYS__DECLARED__CI__DIGEST"
    assert read(None, {name: DIGEST}).variables == {"keys.declared.ci.digest": name}
