"""Routes, aliases and upstreams' own models: who serves a model must be told in one way only."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from proxy.config.allowance_checks import is_pattern
from proxy.config.routes import MAX_WEIGHT, members
from proxy.config.section import ConfigError, dotted
from proxy.config.settings import Config
from proxy.config.upstreams import Route

__all__ = ["check_routes", "is_name"]

_Called = Callable[[str], str]


def check_routes(config: Config, called: _Called) -> None:
    """Raises ConfigError; `called` turns a dotted key into what the operator calls it."""
    routed: dict[str, str] = {}
    named: set[str] = set()
    for name, route in config.routes.items():
        key = f"routes.{name}"
        _check_patterns(called(f"{key}.models"), route.models)
        _check_owners(called(f"{key}.models"), key, route.models, routed)
        named |= _check_groups(called(f"{key}.groups"), route, config)
    owners: dict[str, str] = {}
    for name, upstream in config.upstreams.items():
        key = f"upstreams.{name}"
        if upstream.models or name not in named:
            _check_patterns(called(f"{key}.models"), upstream.models, hint=f": no route names {name}")
        own = (pattern for pattern in upstream.models if pattern not in routed)
        _check_owners(called(f"{key}.models"), key, own, owners, "; a route in [routes] may lead to both")
    for name, model in config.aliases.items():
        _check_alias(called(dotted("aliases", name)), name, model, config)


def is_name(text: str) -> bool:
    """Of one model."""
    return is_pattern(text) and not {"*", "?"} & {*text}


def _check_patterns(called: str, patterns: tuple[str, ...], *, hint: str = "") -> None:
    if not patterns:
        raise ConfigError(f"{called}: at least one pattern is needed{hint}")
    if not all(map(is_pattern, patterns)):
        raise ConfigError(f"{called}: a pattern is 1 to 256 printable characters, such as 'gpt-*'")


def _check_owners(called: str, key: str, patterns: Iterable[str], owners: dict[str, str], hint: str = "") -> None:
    for pattern in patterns:
        if pattern in owners:
            other = owners[pattern]
            raise ConfigError(f"{called}: {pattern!r} is also a pattern of {other}{hint if other != key else ''}")
        owners[pattern] = key


def _check_groups(called: str, route: Route, config: Config) -> set[str]:
    """The upstreams that it names."""
    found: set[str] = set()
    if not route.groups:
        raise ConfigError(f"{called}: at least one group of upstreams is needed")
    for group in route.groups:
        try:
            weights = list(members(group))
        except ValueError as error:
            part = str(error)[:64]
            raise ConfigError(
                f"{called}: {part!r} is not upstream=weight, with a weight of 0 to {MAX_WEIGHT:,}"
            ) from None
        if not any(weight is None or weight > 0 for _, weight in weights):
            raise ConfigError(f"{called}: a group has one upstream at least, of a weight above 0")
        for name, weight in weights:
            if name not in config.upstreams:
                raise ConfigError(f"{called}: {name[:64]!r} is none of upstreams")
            if name in found:
                raise ConfigError(f"{called}: {name!r} stands there twice")
            if weight is not None and route.strategy == "priority":
                raise ConfigError(f'{called}: weights mean nothing where strategy is "priority", which asks in order')
            found.add(name)
        if route.strategy != "priority":
            _check_alike(called, [name for name, _ in weights], route, config)
    return found


def _check_alike(called: str, group: list[str], route: Route, config: Config) -> None:
    """Upstreams that are asked by turns serve the same under one name; a deployment's name says nothing of that."""
    renames = [
        {} if upstream.api_version else upstream.rename for upstream in (config.upstreams[name] for name in group)
    ]
    models = {model for rename in renames for model in rename}
    for model in sorted(models):
        served = {rename.get(model, model) for rename in renames}
        if len(served) > 1 and any(fnmatchcase(model, pattern) for pattern in route.models):
            raise ConfigError(
                f"{called}: the upstreams of one group serve {model[:64]!r} as {' and '.join(sorted(served))[:128]};"
                ' put them into groups of their own, or set strategy to "priority"'
            )


def _check_alias(called: str, name: str, model: str, config: Config) -> None:
    if not is_name(name) or not is_name(model):
        raise ConfigError(f"{called}: a model's name is 1 to 256 printable characters, without wildcards")
    if model == name:
        raise ConfigError(f"{called}: is an alias of itself")
    if model in config.aliases:
        raise ConfigError(f"{called}: {model!r} is an alias as well")
