"""Reads a source tree: its modules, what they import, and where that breaks the arrows of the house."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["House", "Import", "Rule", "inside"]

MAX_FILE = 400
MAX_FUNCTION = 80
NINE_IN_TEN = 35
NO_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "base"}


@dataclass(frozen=True)
class Import:
    module: str
    target: str
    """As far as it can be told a module: `from a.b import c` is a.b.c if there is such a file, else a.b."""
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.module} imports {self.target}"


def inside(module: str, roots: frozenset[str]) -> bool:
    """The module is one of the roots or lies below one."""
    return any(module == root or module.startswith(root + ".") for root in roots)


@dataclass(frozen=True)
class Rule:
    """Modules in `who` may not import what is in `banned`, unless it is in `but`, or they are in `except_`."""

    who: frozenset[str]
    banned: frozenset[str]
    but: frozenset[str] = frozenset()
    except_: frozenset[str] = frozenset()
    typing_too: bool = True

    def breaches(self, house: "House") -> list[str]:
        return [
            str(found)
            for found in house.imports
            if inside(found.module, self.who)
            and not inside(found.module, self.except_)
            and inside(found.target, self.banned)
            and not inside(found.target, self.but)
            and (self.typing_too or not found.typing_only)
        ]


class House:
    """The modules below `root` that belong to `packages`."""

    def __init__(self, root: Path, *packages: str) -> None:
        self.files: dict[str, Path] = {}
        for package in packages:
            for path in sorted((root / package).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                self.files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path

    @cached_property
    def trees(self) -> Mapping[str, ast.Module]:
        return {module: ast.parse(path.read_text("utf-8")) for module, path in self.files.items()}

    @cached_property
    def imports(self) -> list[Import]:
        return [found for module in self.files for found in self._imports_of(module)]

    def _imports_of(self, module: str) -> Iterator[Import]:
        guarded = {
            id(inner)
            for node in ast.walk(self.trees[module])
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for statement in node.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(module, alias.name, id(node) in guarded)
            elif isinstance(node, ast.ImportFrom):
                origin = self._absolute(module, node)
                for alias in node.names:
                    full = f"{origin}.{alias.name}"
                    yield Import(module, full if full in self.files else origin, id(node) in guarded)

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = module.split(".")
        package = parts if self.files[module].name == "__init__.py" else parts[:-1]
        kept = package[: len(package) - node.level + 1]
        return ".".join([*kept, *([node.module] if node.module else [])])

    def uses_of(self, library: str, names: frozenset[str]) -> list[tuple[str, str]]:
        """(module, name) wherever `library.name` is written or `name` is imported from it."""
        found = []
        for module, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == library:
                    found.append((module, node.attr))
                elif isinstance(node, ast.ImportFrom) and node.module == library:
                    found += [(module, alias.name) for alias in node.names]
        return [(module, name) for module, name in found if name in names]

    def foreign(self) -> dict[str, set[str]]:
        """Top-level names imported from outside the tree, each with the modules that do."""
        own = {module.partition(".")[0] for module in self.files}
        found: dict[str, set[str]] = {}
        for each in self.imports:
            top = each.target.partition(".")[0]
            if top and top not in own:
                found.setdefault(top, set()).add(each.module)
        return found

    def cycles(self) -> list[str]:
        """Import cycles at run time, late imports included. A package's own ancestors are no edge."""
        edges: dict[str, set[str]] = {module: set() for module in self.files}
        for each in self.imports:
            if each.typing_only:
                continue
            parts = each.target.split(".")
            for end in range(1, len(parts) + 1):
                target = ".".join(parts[:end])
                if target in self.files and not inside(each.module, frozenset([target])):
                    edges[each.module].add(target)
        return [" → ".join(cycle) for cycle in _cycles(edges)]

    def bad_names(self) -> list[str]:
        return [module for module in self.files if NO_NAMES & set(module.split("."))]

    def long_files(self) -> list[str]:
        lengths = {module: len(path.read_text("utf-8").splitlines()) for module, path in self.files.items()}
        return [f"{module}: {lines} lines" for module, lines in lengths.items() if lines > MAX_FILE]

    def functions(self) -> dict[str, int]:
        """Lines of every function, decorators left out."""
        return {
            f"{module}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
            for module, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }

    def long_functions(self) -> list[str]:
        return [f"{name}: {lines} lines" for name, lines in self.functions().items() if lines > MAX_FUNCTION]

    def mostly_short(self) -> bool:
        """Nine functions in ten have at most 35 lines."""
        lengths = sorted(self.functions().values())
        return not lengths or lengths[(len(lengths) - 1) * 9 // 10] <= NINE_IN_TEN


def _cycles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """One cycle for each edge that closes one, found depth first."""
    found: list[list[str]] = []
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
            return
        if module in done:
            return
        path.append(module)
        for target in sorted(edges[module]):
            visit(target)
        path.pop()
        done.add(module)

    for module in sorted(edges):
        visit(module)
    return found
