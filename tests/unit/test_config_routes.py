"""Routes and aliases: who serves a model is told in one way, or refused by its key."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import Config, ConfigError, OwnTimeouts, load, resolved_routes, timeouts_of
from proxy.config.routes import members

UPSTREAMS = """
[upstreams.a]
base_url = "http://127.0.0.1:9/v1"
[upstreams.b]
base_url = "http://127.0.0.1:9/v1"
models = []
[upstreams.c]
base_url = "http://127.0.0.1:9/v1"
models = ["c-*", "m"]
"""
ROUTE = UPSTREAMS + "[routes.r]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def loaded(file: Path, text: str, **environ: str) -> Config:
    file.write_text(text)
    return load(file, environ)


def refusal(file: Path, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(file, text, **environ)
    return str(caught.value)


def test_routes_go_before_the_patterns_of_upstreams(file: Path) -> None:
    """Each upstream keeps those that no route has, under its own name."""
    config = loaded(
        file,
        f"""{ROUTE}
models = ["m", "gpt-*"]
groups = ["b=3 a", "c=0 a2=1"]
strategy = "least_busy"
sticky = "conversation"
required = true
[upstreams.a2]
base_url = "http://127.0.0.1:9/v1"
models = ["gpt-*"]
""",
    )
    first, *own = resolved_routes(config)
    assert (first.name, first.models) == ("r", ("m", "gpt-*"))
    assert first.groups == ((("b", 3), ("a", 1)), (("c", 0), ("a2", 1)))
    assert (first.strategy, first.sticky, first.required, first.on_ambiguous) == (
        "least_busy",
        "conversation",
        True,
        False,
    )
    assert [(route.name, route.models, route.groups) for route in own] == [
        ("a", ("*",), ((("a", 1),),)),
        ("c", ("c-*",), ((("c", 1),),)),
    ]


def test_without_routes_each_upstream_is_one() -> None:
    """As it is from the start."""
    (route,) = resolved_routes(load(None, {}))
    assert (route.name, route.models, route.groups) == ("openai", ("*",), ((("openai", 1),),))
    assert (route.strategy, route.sticky, route.required, route.on_ambiguous) == ("priority", "off", False, False)


@pytest.mark.parametrize(("everywhere", "here"), [("true", "false"), ("false", "true")])
def test_what_may_be_billed_twice_is_repeated_where_either_says_so(file: Path, everywhere: str, here: str) -> None:
    """For one route, or for all."""
    text = f'{ROUTE}models = ["x"]\ngroups = ["a", "b"]\non_ambiguous = {here}\n[retry]\non_ambiguous = {everywhere}'
    told = {route.name: route.on_ambiguous for route in resolved_routes(loaded(file, text))}
    assert told == {"r": True, "a": everywhere == "true", "c": everywhere == "true"}


def test_variables_set_routes_and_aliases(file: Path) -> None:
    """Groups are separated by commas, and their members by blanks."""
    config = loaded(
        file, UPSTREAMS, ASKONCE_ROUTES__R__MODELS="x,y", ASKONCE_ROUTES__R__GROUPS="a b, c", ASKONCE_ALIASES__FAST="m"
    )
    assert resolved_routes(config)[0].groups == ((("a", 1), ("b", 1)), (("c", 1),))
    assert config.aliases == {"fast": "m"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('groups = ["a"]', "routes.r.models: must be set"),
        ('models = ["x"]', "routes.r.groups: must be set"),
        ('models = []\ngroups = ["a"]', "routes.r.models: at least one pattern is needed"),
        ('models = [" x"]\ngroups = ["a"]', "routes.r.models: a pattern is 1 to 256 printable characters"),
        ('models = ["x", "x"]\ngroups = ["a"]', "routes.r.models: 'x' is also a pattern of routes.r"),
        ('models = ["x"]\ngroups = []', "routes.r.groups: at least one group of upstreams is needed"),
        ('models = ["x"]\ngroups = ["a", " "]', "routes.r.groups: a group has one upstream at least"),
        ('models = ["x"]\ngroups = ["a", "zed"]', "routes.r.groups: 'zed' is none of upstreams"),
        ('models = ["x"]\ngroups = ["a b", "a"]', "routes.r.groups: 'a' stands there twice"),
        ('models = ["x"]\ngroups = ["a a"]', "routes.r.groups: 'a' stands there twice"),
        ('models = ["x"]\ngroups = ["a=1 b"]', 'routes.r.groups: weights mean nothing where strategy is "priority"'),
        ('models = ["x"]\ngroups = ["a"]\nstrategy = "random"', "routes.r.strategy: expected 'priority' or 'weighted'"),
        ('models = ["x"]\ngroups = ["a"]\nsticky = "user"', "routes.r.sticky: expected 'off' or 'conversation'"),
    ],
)  # fmt: skip
def test_a_route_that_cannot_be_followed_is_refused(file: Path, text: str, line: str) -> None:
    """By its key, before anything starts."""
    assert refusal(file, ROUTE + text).startswith(line)


@pytest.mark.parametrize("part", ["b=", "b=-1", "b=1.5", "b=1001", "b=x", "=1", "b=1=2", "b=٣"])
def test_a_weight_is_a_whole_number_up_to_1000(file: Path, part: str) -> None:
    """What is malformed is quoted; a group of which nobody is asked is refused as well."""
    line = refusal(file, f'{ROUTE}models = ["x"]\ngroups = ["a=1 {part}"]\nstrategy = "weighted"')
    assert line == f"routes.r.groups: {part!r} is not upstream=weight, with a weight of 0 to 1,000"
    line = refusal(file, f'{ROUTE}models = ["x"]\ngroups = ["a=0 b=0"]\nstrategy = "weighted"')
    assert line == "routes.r.groups: a group has one upstream at least, of a weight above 0"


@given(
    st.lists(
        st.tuples(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.none() | st.integers(0, 1_000)), max_size=3
    )
)
@settings(max_examples=30)
def test_a_group_is_read_as_it_was_written(weights: list[tuple[str, int | None]]) -> None:
    """Names and weights, in their order."""
    text = " ".join(name if weight is None else f"{name}={weight}" for name, weight in weights)
    assert list(members(text)) == weights


def test_two_routes_do_not_claim_the_same_pattern(file: Path) -> None:
    """The line names both."""
    text = f'{ROUTE}models = ["x", "y"]\ngroups = ["a"]\n[routes.s]\nmodels = ["y"]\ngroups = ["b"]'
    assert refusal(file, text) == "routes.s.models: 'y' is also a pattern of routes.r"


def test_two_upstreams_may_have_a_pattern_that_a_route_has(file: Path) -> None:
    """The route says which of them serves it."""
    shared = UPSTREAMS.replace("models = []", 'models = ["m"]')
    hint = "upstreams.c.models: 'm' is also a pattern of upstreams.b; a route in [routes] may lead to both"
    assert refusal(file, shared) == hint
    routes = resolved_routes(loaded(file, f'{shared}[routes.r]\nmodels = ["m"]\ngroups = ["c", "b"]'))
    assert [(route.name, route.models) for route in routes] == [("r", ("m",)), ("a", ("*",)), ("c", ("c-*",))]


def test_an_upstream_without_models_is_one_that_a_route_names(file: Path) -> None:
    """Otherwise nothing would lead there."""
    assert refusal(file, UPSTREAMS) == "upstreams.b.models: at least one pattern is needed: no route names b"
    loaded(file, f'{ROUTE}models = ["x"]\ngroups = ["a", "b"]')


@pytest.mark.parametrize(
    ("aliases", "line"),
    [
        ('fast = "fast"', "aliases.fast: is an alias of itself"),
        ('fast = "quick"\nquick = "m"', "aliases.fast: 'quick' is an alias as well"),
        ('fast = ""', "aliases.fast: a model's name is 1 to 256 printable characters"),
        ('fast = "gpt-*"', "aliases.fast: a model's name is 1 to 256 printable characters, without wildcards"),
        ('"fast?" = "m"', "aliases.'fast?': a model's name is 1 to 256 printable characters, without wildcards"),
        (f'fast = "{"x" * 257}"', "aliases.fast: a model's name is 1 to 256 printable characters"),
        ('"a\\nb" = "m"', r"aliases.'a\nb': a model's name is 1 to 256 printable characters"),
        ("fast = 1", "aliases.fast: expected a string, got a whole number"),
    ],
)
def test_an_alias_is_a_name_for_a_model(file: Path, aliases: str, line: str) -> None:
    """One step leads to it, and both are names."""
    assert refusal(file, f"[aliases]\n{aliases}").startswith(line)


def test_the_first_that_sets_a_time_out_decides(file: Path) -> None:
    """The route, then the upstream, then [timeouts]."""
    text = f"""{ROUTE}
models = ["x"]
groups = ["b", "c"]
[routes.r.timeouts]
first_byte = 1
[upstreams.c.timeouts]
first_byte = 2
idle = 3
"""
    config = loaded(file, text)
    found = timeouts_of(config, config.routes["r"].timeouts, config.upstreams["c"].timeouts)
    assert found == OwnTimeouts(connect=5, upstream_write=60, first_byte=1, idle=3, total=900)


@pytest.mark.parametrize(
    ("renames", "strategy", "refused"),
    [
        ({"a": {"m": "x"}, "b": {}}, "weighted", True),
        ({"a": {"m": "x"}, "b": {"m": "y"}}, "fastest", True),
        ({"a": {"m": "x"}, "b": {"m": "x"}}, "least_busy", False),
        ({"a": {"other": "x"}, "b": {}}, "weighted", False),
        ({"a": {"m": "x"}, "b": {}}, "priority", False),
    ],
)
def test_upstreams_that_are_asked_by_turns_serve_the_same(
    file: Path, renames: dict[str, dict[str, str]], strategy: str, *, refused: bool
) -> None:
    """Else a question would have this answer or that; a deployment's name says nothing of what it serves."""
    text = "".join(
        f'[upstreams.{name}]\nbase_url = "https://{name}.example/v1"\nmodels = []\n[upstreams.{name}.rename]\n'
        + "".join(f'{asked} = "{served}"\n' for asked, served in rename.items())
        for name, rename in renames.items()
    )
    file.write_text(f'{text}[routes.r]\nmodels = ["m*"]\ngroups = ["a b"]\nstrategy = "{strategy}"\n')
    if not refused:
        assert len(load(file, {}).routes) == 1
        return
    with pytest.raises(ConfigError, match=r"routes\.r\.groups: the upstreams of one group serve 'm' as"):
        load(file, {})
