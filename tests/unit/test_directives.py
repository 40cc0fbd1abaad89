"""What clients ask of the cache, in every spelling."""

import pytest

from cache.directives import DIRECTIVE_FIELDS, FOREVER, MAX_TAG, MAX_TAGS, NONE, Directives, directives

BYPASS = Directives(bypass=True)
NO_CACHE = Directives(no_cache=True)


def control(*values: bytes) -> Directives:
    return directives([(b"cache-control", value) for value in values])


SPELLINGS = {
    b"no-cache": NO_CACHE,
    b"No-Cache": NO_CACHE,
    b'no-cache="x, no-store"': NO_CACHE,
    b"no-store": Directives(no_store=True),
    b" ,\t, no-store ,,": Directives(no_store=True),
    b"only-if-cached": Directives(only_if_cached=True),
    b"max-age=60": Directives(max_age=60),
    b'max-age="60"': Directives(max_age=60),
    b'max-age="6\\0"': Directives(max_age=60),
    b"MAX-AGE = 060 ": Directives(max_age=60),
    b"max-age=0": Directives(max_age=0),
    b"min-fresh=5": Directives(min_fresh=5),
    b"max-stale": Directives(max_stale=FOREVER),
    b"max-stale=5": Directives(max_stale=5),
    b"stale-if-error=600": Directives(stale_if_error=600),
    b"max-age=1,max-stale=2 , no-cache": Directives(max_age=1, max_stale=2, no_cache=True),
    b'ext="a \\" , no-store, ", max-age=7': Directives(max_age=7),
}


@pytest.mark.parametrize(("value", "asked"), SPELLINGS.items(), ids=[value.decode() for value in SPELLINGS])
def test_request_directives(value: bytes, asked: Directives) -> None:
    """RFC 9111 §5.2: names in any case, arguments quoted or not, empty items, white space."""
    assert control(value) == asked


@pytest.mark.parametrize(
    "value", [b"", b"max-fresh=1", b"no-transform", b"private, s-maxage=1", b"=", b'"', b"no cache"]
)
def test_unknown_directives_are_ignored(value: bytes) -> None:
    """RFC 9111 §5.2.3, also those of responses."""
    assert control(value) == NONE


@pytest.mark.parametrize(
    "argument", [b"", b"=", b"=x", b"=-1", b"=+1", b"=1.5", b"=1e3", b"=1 2", b'="1', b"=\xb2", b'="1"2']
)
def test_what_cannot_be_read_is_taken_as_the_strictest(argument: bytes) -> None:
    """No age is young enough, nothing is fresh for long enough, nothing stale will do."""
    assert control(b"max-age" + argument) == Directives(max_age=0)
    assert control(b"min-fresh" + argument) == Directives(min_fresh=FOREVER)
    assert control(b"stale-if-error" + argument) == Directives(stale_if_error=0)
    assert control(b"max-stale" + argument) == Directives(max_stale=0 if argument else FOREVER)


@pytest.mark.parametrize("digits", [b"2147483649", b"99999999999", b"9" * 5_000])
def test_huge_durations_are_clamped(digits: bytes) -> None:
    """RFC 9111 §1.2.2, in time linear in the digits."""
    assert control(b"max-age=" + digits).max_age == FOREVER
    assert control(b"max-age=" + b"0" * 5_000 + b"5").max_age == 5


def test_of_duplicates_the_stricter_counts() -> None:
    """In one line, over several lines, in either order."""
    for values in ([b"max-age=9, max-age=5", b"max-age=7"], [b"max-age=5", b"max-age=9"]):
        assert control(*values).max_age == 5
    assert control(b"max-stale", b"max-stale=3") == control(b"max-stale=3, max-stale") == Directives(max_stale=3)
    assert control(b"min-fresh=3, min-fresh=8").min_fresh == control(b"min-fresh=8, min-fresh=3").min_fresh == 8
    assert control(b"stale-if-error=3", b"stale-if-error=0").stale_if_error == 0


def test_pragma_counts_where_there_is_no_cache_control() -> None:
    """RFC 9111 §5.4."""
    pragma = (b"pragma", b"No-Cache")
    assert directives([pragma]) == NO_CACHE
    assert directives([pragma, (b"cache-control", b"max-age=5")]) == Directives(max_age=5)
    assert directives([(b"cache-control", b""), pragma]) == NONE
    assert directives([(b"pragma", b"x-no-cache")]) == NONE


ALIASES: list[tuple[bytes, bytes, Directives]] = [
    (b"x-askonce-semantic", b"off", Directives(semantic=False)),
    (b"x-askonce-semantic", b"on", NONE),
    (b"x-askonce-cache-ttl", b" 60 ", Directives(ttl=60)),
    (b"x-askonce-cache-ttl", b"0", Directives(ttl=0)),
    (b"x-askonce-cache-ttl", b"1h", Directives(ttl=0)),
    (b"cf-aig-cache-ttl", b"60", Directives(ttl=60)),
    (b"cf-aig-skip-cache", b"true", BYPASS),
    (b"cf-aig-skip-cache", b"False", NONE),
    (b"x-portkey-cache-force-refresh", b"True", NO_CACHE),
    (b"x-portkey-cache-force-refresh", b"false", NONE),
    (b"helicone-cache-enabled", b"false", BYPASS),
    (b"helicone-cache-enabled", b"0", BYPASS),
    (b"helicone-cache-enabled", b"True", NONE),
]


@pytest.mark.parametrize(("name", "value", "asked"), ALIASES)
def test_our_fields_and_those_of_others(name: bytes, value: bytes, asked: Directives) -> None:
    """Each means here what it means there, as far as it takes away."""
    assert name in DIRECTIVE_FIELDS
    assert directives([(name, value)]) == asked


def test_whatever_is_said_by_several_is_said_together() -> None:
    """By headers of any family and by the body; the shorter lifetime and the lower age count."""
    headers = [(b"x-askonce-cache-ttl", b"60"), (b"cf-aig-cache-ttl", b"30"), (b"cache-control", b"max-age=5")]
    body = Directives(ttl=40.5, max_age=9.5, no_store=True)
    assert directives(headers, body) == Directives(ttl=30, max_age=5, no_store=True)
    assert directives([], body) is body
    assert directives([(b"accept", b"no-cache")]) is NONE


def test_the_field_that_others_read_too_stays() -> None:
    """`cache-control` speaks to everybody on the way."""
    assert not DIRECTIVE_FIELDS & {b"cache-control", b"pragma"}


def tags(*values: bytes) -> Directives:
    return directives([(b"x-askonce-cache-tags", value) for value in values])


def test_tags_are_a_list() -> None:
    """Over one line or several, each once, case and order kept."""
    assert tags(b"b, A ,,a:1/x@y.z_-+=", b"b,c") == Directives(tags=("b", "A", "a:1/x@y.z_-+=", "c"))
    assert tags(b"t" * MAX_TAG).tags == ("t" * MAX_TAG,)


@pytest.mark.parametrize("value", [b"a b", b"t" * (MAX_TAG + 1), b'"a"', b"\xe9", b"a;b", b"*", b"a,\x01"])
def test_a_tag_that_is_none_is_told(value: bytes) -> None:
    """The good ones stay, but the answer must not be kept: nobody could purge it by the other."""
    assert tags(b"good", value).bad_tags
    assert tags(b"good", value).tags[0] == "good"


@pytest.mark.parametrize("lines", [1, MAX_TAGS + 1])
def test_tags_are_few(lines: int) -> None:
    """However they are spread over lines."""
    given = [b"%d" % number for number in range(MAX_TAGS + 1)]
    asked = tags(*given) if lines > 1 else tags(b",".join(given))
    assert (len(asked.tags), asked.bad_tags) == (MAX_TAGS, True)
    assert not tags(b",".join(given[1:])).bad_tags
