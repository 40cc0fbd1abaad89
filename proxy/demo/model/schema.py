"""A document that satisfies a JSON Schema, chosen by a seed."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.demo.model.answers import Json

__all__ = ["example"]

MAX_DEPTH = 6
"""Deeper than this, what can be left out is left out."""
MAX_NESTING = 48
MAX_NODES = 20_000
"""Beyond these the document stops fitting its schema; nothing that ends needs them."""
MAX_ITEMS = 64
MAX_LENGTH = 4_096

_FORMATS = {
    "date-time": "2026-01-01T12:00:00Z",
    "date": "2026-01-01",
    "time": "12:00:00Z",
    "duration": "PT5M",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "6f1c1f5e-8f5a-4c5e-9b0e-2f3d4c5b6a79",
}
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty")


def example(schema: object, seed: str) -> Any:
    """One instance of `schema`. Unsupported keywords (`not`, `if`, `pattern` beyond literals) are ignored."""
    return _Maker(schema if isinstance(schema, Mapping) else {}, seed).make(schema, "", 0)


class _Maker:
    def __init__(self, root: Mapping[str, Any], seed: str) -> None:
        self._root = root
        self._seed = seed
        self._left = MAX_NODES

    def _pick(self, where: str, count: int) -> int:
        return int.from_bytes(hashlib.sha256(f"{self._seed}{where}".encode()).digest()[:8], "big") % count

    def make(self, schema: object, where: str, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > MAX_NESTING or self._left < 0:
            return None
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return choices[self._pick(where, len(choices))]
        for key in ("anyOf", "oneOf"):
            if isinstance(branches := schema.get(key), list) and branches:
                rest = {name: value for name, value in schema.items() if name != key}
                branch = self._branch(branches, where, depth)
                return self.make(_merged([rest, self._resolve(branch)]), where, depth + 1)
        match self._type(schema, where, depth):
            case "object":
                return self._object(schema, where, depth)
            case "array":
                return self._array(schema, where, depth)
            case "string":
                return self._string(schema, where)
            case "integer" | "number" as kind:
                return self._number(schema, where, kind)
            case "boolean":
                return bool(self._pick(where, 2))
            case _:
                return None

    def _resolve(self, schema: Mapping[str, Any], hops: int = 0) -> Mapping[str, Any]:
        """Follows `$ref` and folds `allOf` in."""
        while hops < MAX_DEPTH and self._left > 0:
            hops += 1
            self._left -= 1
            if isinstance(ref := schema.get("$ref"), str):
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = _merged([self._target(ref), rest])
            elif isinstance(parts := schema.get("allOf"), list):
                rest = {key: value for key, value in schema.items() if key != "allOf"}
                folded = (self._resolve(part, hops) for part in parts if isinstance(part, Mapping))
                schema = _merged([rest, *folded])
            else:
                return schema
        return {}

    def _target(self, ref: str) -> Mapping[str, Any]:
        node: Any = self._root
        for part in ref.removeprefix("#").strip("/").split("/"):
            if part:
                node = node.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, Mapping) else {}
        return node if isinstance(node, Mapping) else {}

    def _branch(self, branches: Sequence[Any], where: str, depth: int) -> Mapping[str, Any]:
        """One alternative; deep down the one that ends a recursion."""
        usable = [branch for branch in branches if isinstance(branch, Mapping)] or [{}]
        if depth >= MAX_DEPTH:
            return min(usable, key=lambda branch: ("$ref" in branch, branch.get("type") != "null"))
        filled = [branch for branch in usable if branch.get("type") != "null"] or usable
        return filled[self._pick(where, len(filled))]

    def _type(self, schema: Mapping[str, Any], where: str, depth: int) -> str:
        match schema.get("type"):
            case str(kind):
                return kind
            case [*kinds] if kinds:
                if depth >= MAX_DEPTH and "null" in kinds:
                    return "null"
                filled = [kind for kind in kinds if kind != "null"] or kinds
                return str(filled[self._pick(where, len(filled))])
        if "properties" in schema or "required" in schema:
            return "object"
        if "items" in schema or "prefixItems" in schema:
            return "array"
        if "minimum" in schema or "maximum" in schema or "multipleOf" in schema:
            return "number"
        return "string"

    def _object(self, schema: Mapping[str, Any], where: str, depth: int) -> Json:
        properties = schema.get("properties")
        required = schema.get("required")
        known: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
        needed = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        names = needed if depth >= MAX_DEPTH else [*known, *needed]
        return {name: self.make(known.get(name, {}), f"{where}/{name}", depth + 1) for name in dict.fromkeys(names)}

    def _array(self, schema: Mapping[str, Any], where: str, depth: int) -> list[Any]:
        prefix = schema.get("prefixItems")
        fixed = prefix if isinstance(prefix, list) else []
        least = _whole(schema.get("minItems"), 0)
        most = _whole(schema.get("maxItems"), MAX_ITEMS)
        count = max(least, len(fixed)) if depth >= MAX_DEPTH else max(least, len(fixed), 2)
        kinds = [*fixed, *[schema.get("items", {})] * max(0, count - len(fixed))]
        items = [self.make(kind, f"{where}/{n}", depth + 1) for n, kind in enumerate(kinds[: min(most, MAX_ITEMS)])]
        return _unique(items) if schema.get("uniqueItems") else items

    def _string(self, schema: Mapping[str, Any], where: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if isinstance(pattern := schema.get("pattern"), str):
            return _literal(pattern)
        least = min(_whole(schema.get("minLength"), 0), MAX_LENGTH)
        text = _WORDS[self._pick(where, len(_WORDS))]
        return (text * (1 + least // len(text)))[: max(least, min(_whole(schema.get("maxLength"), 64), 64))]

    def _number(self, schema: Mapping[str, Any], where: str, kind: str) -> float:
        step = schema.get("multipleOf") or (1 if kind == "integer" else 0.5)
        low = _bound(schema, "minimum", "exclusiveMinimum", step)
        high = _bound(schema, "maximum", "exclusiveMaximum", -step)
        if low is None:
            low = 0 if high is None or high >= 0 else high - 10 * step
        first = math.ceil(low / step)
        last = first + 20 if high is None else math.floor(high / step)
        if last < first:
            return low
        value = (first + self._pick(where, min(last - first, 20) + 1)) * step
        return int(value) if kind == "integer" else value


def _merged(schemas: Sequence[Mapping[str, Any]]) -> Json:
    merged: Json = {}
    for schema in schemas:
        for key, value in schema.items():
            if key == "properties" and isinstance(value, Mapping):
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required" and isinstance(value, list):
                merged[key] = list(dict.fromkeys([*merged.get(key, []), *value]))
            else:
                merged[key] = value
    return merged


def _whole(value: object, default: int) -> int:
    return int(value) if isinstance(value, int | float) and value >= 0 else default


def _bound(schema: Mapping[str, Any], inclusive: str, exclusive: str, inward: float) -> float | None:
    if isinstance(limit := schema.get(exclusive), int | float) and not isinstance(limit, bool):
        return limit + inward
    limit = schema.get(inclusive)
    return limit if isinstance(limit, int | float) else None


def _literal(pattern: str) -> str:
    """A guess at a match: enough for literals, and for a character class with a count."""
    text = ""
    rest = pattern.removeprefix("^").removesuffix("$")
    while rest and len(text) < MAX_LENGTH:
        unit, rest = _unit(rest)
        count, rest = _count(rest)
        text += unit * count
    return text


def _unit(rest: str) -> tuple[str, str]:
    if rest[0] == "\\" and len(rest) > 1:
        return {"d": "7", "w": "a", "s": " "}.get(rest[1], rest[1]), rest[2:]
    if rest[0] == "[" and (end := rest.find("]", 2)) > 0:
        inside = rest[1:end]
        return {"\\d": "7", "\\w": "a", "\\s": " "}.get(inside[:2], inside[0]), rest[end + 1 :]
    return ("a" if rest[0] == "." else rest[0]), rest[1:]


def _count(rest: str) -> tuple[int, str]:
    if rest[:1] in ("?", "*"):
        return 0, rest[1:]
    if rest[:1] == "+":
        return 1, rest[1:]
    if rest[:1] == "{" and (end := rest.find("}")) > 0:
        least = rest[1:end].partition(",")[0]
        return min(int(least), MAX_LENGTH) if least.isdigit() else 1, rest[end + 1 :]
    return 1, rest


def _unique(items: list[Any]) -> list[Any]:
    """Distinct items: equal strings and numbers are told apart by their place."""
    seen: list[Any] = []
    for place, item in enumerate(items):
        other = item
        if item in seen and isinstance(item, str):
            other = f"{item}-{place}"
        elif item in seen and isinstance(item, int | float) and not isinstance(item, bool):
            other = max(x for x in seen if isinstance(x, int | float)) + 1
        if other not in seen:
            seen.append(other)
    return seen
