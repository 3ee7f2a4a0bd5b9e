"""The house as docs/architecture.md draws it, read from the code: who imports whom, who opens files, how large."""

import ast
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("data_modules", "fau_mae")
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in SOURCES.items()}

# Floors of the house, lowest first: a room imports from its own floor's line and from those above it in this list.
FLOORS = {
    "data_modules": [
        {"errors", "facs"},
        {"batch", "files", "landmarks", "locks", "ranges", "streams"},
        {"faces", "occlusion", "synthetic_faces"},
        {"folds", "stores"},
        {"face_data", "sources"},
        {"bp4d", "disfa", "folder", "synthetic"},
        {"prepare"},
    ],
    "fau_mae": [
        {"distillation", "losses", "metrics", "models", "run_folder", "signals"},
        {"home", "tracking", "weights"},
        {"tasks"},
        {"evaluation", "inference"},
        {"reports"},
        {"runs"},
        {"engines"},
        {"sweeps"},
        {"commands"},
        {"cli"},
    ],
}


def _imports(tree: ast.AST) -> Iterator[str]:
    """Every module of this project that a file imports, also within functions; not what only type checkers read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in SOURCES else node.module


def _arrows() -> dict[str, set[str]]:
    return {
        name: {module for module in _imports(tree) if module.split(".")[0] in PACKAGES and module != name}
        for name, tree in TREES.items()
    }


def _circle(arrows: dict[str, set[str]]) -> list[str] | None:
    """One way round that ends where it began, or None."""
    done: set[str] = set()

    def walk(place: str, way: list[str]) -> list[str] | None:
        if place in way:
            return [*way[way.index(place) :], place]
        if place in done:
            return None
        found = next(
            (c for after in sorted(arrows.get(place, ())) if (c := walk(after, [*way, place]))), None
        )
        done.add(place)
        return found

    return next((circle for place in sorted(arrows) if (circle := walk(place, []))), None)


def test_a_circle_would_be_found():
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_no_file_imports_itself_by_a_detour():
    assert _circle(_arrows()) is None


def test_no_room_imports_itself_by_a_detour():
    rooms: dict[str, set[str]] = defaultdict(set)
    for name, modules in _arrows().items():
        own = _room(name)
        rooms[own] |= {_room(module) for module in modules} - {own}
    assert _circle(rooms) is None


def _room(name: str) -> str:
    """`fau_mae.models.heads.intensity` -> `fau_mae.models`; a file at the top of a package is a room of its own."""
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_stands_on_a_floor(package):
    rooms = {_room(name).split(".")[1] for name in SOURCES if name.startswith(f"{package}.")}
    assert rooms == set().union(*FLOORS[package])


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down(package):
    floor = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms}
    wrong = [
        f"{name} -> {module}"
        for name, modules in _arrows().items()
        for module in modules
        if name.startswith(f"{package}.") and module.startswith(f"{package}.")
        if floor[_room(name).split(".")[1]] < floor[_room(module).split(".")[1]]
    ]
    assert not wrong


def test_data_modules_knows_no_method():
    assert not [name for name, modules in _arrows().items() if name.startswith("data_modules") and any(
        module.startswith("fau_mae") for module in modules)]  # fmt: skip


@pytest.mark.parametrize(
    "library", ["lightning", "wandb", "pathlib", "os", "data_modules.stores", "data_modules.files"]
)
def test_models_are_plain_torch(library):
    """Models know nothing of training, tracking or files."""
    for name, tree in TREES.items():
        if name.startswith("fau_mae.models"):
            assert not [module for module in _imports(tree) if f"{module}.".startswith(f"{library}.")], name


def test_models_open_no_file():
    for name, tree in TREES.items():
        if name.startswith("fau_mae.models"):
            called = {_called(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            assert not called & {"open", "load", "save", "read_text", "read_bytes", "load_file"}, name


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _lines(name: str) -> int:
    return len(SOURCES[name].read_text("utf-8").splitlines())


def test_no_room_is_the_house():
    """The largest room of fau_mae holds less than a quarter of its lines; few files stand at data_modules' top."""
    rooms: dict[str, int] = defaultdict(int)
    for name in SOURCES:
        if name.startswith("fau_mae."):
            rooms[_room(name)] += _lines(name)
    assert max(rooms.values()) < sum(rooms.values()) / 4, rooms
    assert len(list((ROOT / "data_modules").glob("*.py"))) <= 16


def test_files_and_functions_are_small():
    assert (
        statistics.median(_lines(name) for name, path in SOURCES.items() if path.name != "__init__.py") <= 150
    )
    # Numba's inner loops.
    long = [
        f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.end_lineno - node.lineno + 1 > 60
        if not any("njit" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]
    assert not long


def test_tests_share_through_fixtures():
    """What two test files need lives in a file of fixtures: no test imports another."""
    for path in sorted((ROOT / "tests").glob("*.py")):
        modules = {
            node.module
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.ImportFrom)
        }
        assert not [module for module in modules if module and module.split(".")[-1].startswith("test_")], (
            path.name
        )
