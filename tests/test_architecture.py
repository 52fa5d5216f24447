"""Holds the house together: which layer and which room may import which.

Layers: nodes -> host -> engine -> models, and never back. Rooms are the folders within a layer;
they may import any room of the layers below, and of their own layer those that ROOMS names.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["models", "engine", "host", "nodes"]  # each may import itself and those before it
MAY_IMPORT = {
    **{layer: set(LAYERS[: i + 1]) for i, layer in enumerate(LAYERS)},
    "training": {"training", "engine", "models"},
}
ROOMS = {
    "models": {"models/cpu"},
    "models/cpu": set(),
    "models/rife": {"models"},
    "models/wan": {"models", "models/cpu"},
    "engine": set(),
    "engine/canvas": {"engine"},
    "engine/cluster": set(),
    "engine/container": {"engine"},
    "engine/frames": {"engine", "engine/canvas"},
    "engine/media": {"engine", "engine/container", "engine/frames"},
    "engine/motion": {"engine"},
    "engine/provenance": {"engine"},
    "engine/policy": {"engine", "engine/frames"},
    "engine/recognition": {"engine", "engine/frames", "engine/provenance"},
    "engine/sampling": {"engine/canvas"},
    "engine/take": {"engine", "engine/canvas"},
    "engine/words": {"engine/take"},
    "host": set(),
    "host/comfyui": set(),
    "host/networks": {"host/comfyui"},
    "host/words": {"host/comfyui"},
    "host/video": {"host/comfyui", "host/networks"},
    "host/sampling": {"host/comfyui", "host/networks"},
    "host/take": {"host/comfyui", "host/networks", "host/sampling", "host/video"},
    "host/provenance": {"host/comfyui", "host/networks", "host/video"},
    "host/policy": {"host/comfyui", "host/words"},
    "host/cluster": {"host/comfyui", "host/provenance", "host/take"},
    "nodes": {
        f"nodes/{room}"
        for room in ("inputs", "load", "motion", "output", "prompt", "sample", "timeline")
    },
    "nodes/inputs": set(),
    "nodes/load": {"nodes/inputs"},
    "nodes/motion": {"nodes/inputs"},
    "nodes/prompt": {"nodes/inputs"},
    "nodes/timeline": {"nodes/inputs"},
    "nodes/sample": {"nodes/inputs", "nodes/prompt"},
    "nodes/output": {"nodes/inputs"},
    "training/world": set(),
    "training/learning": {"training/world"},
    "training": {"training/learning", "training/world"},
    "training/exam": {"training", "training/world"},
}
FILES_IN_A_ROOM = 16
COMFYUI = {
    *("comfy", "comfy_api", "comfy_config", "comfy_execution", "comfy_extras"),
    *("execution", "folder_paths", "latent_preview", "node_helpers", "nodes", "server"),
}
# Weights and workflows come from strangers, and a node pack has no business on the network.
BARRED_MODULES = {
    *("pickle", "dill", "cloudpickle", "marshal", "shelve", "subprocess", "importlib", "runpy"),
    *("requests", "urllib", "http", "socket", "aiohttp", "httpx", "ftplib"),
}
# But for workers, which nobody has unless Ray is installed and a take asks for them.
ALLOWED = {Path("host/cluster/ray_workers.py"): {"socket"}}
BARRED_NAMES = {"eval", "exec", "compile", "__import__"}
BARRED_ATTRIBUTES = {("torch", "load"), ("torch", "hub"), ("os", "system"), ("os", "popen")}

FILES = [path.relative_to(ROOT) for layer in MAY_IMPORT for path in (ROOT / layer).rglob("*.py")]
OUTSIDE = [
    path.relative_to(ROOT)
    for folder in ("benchmarks", "tests", "training")
    for path in (ROOT / folder).rglob("*.py")
]
SHIPPED = [path for path in FILES if path.parts[0] in LAYERS]


def tree(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def imports(tree: ast.Module, file: Path) -> Iterator[str]:
    """Dotted names of all that `file` imports, wherever it stands; "." for the pack's root."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        elif isinstance(node, ast.ImportFrom):
            inside = file.parent.parts[: len(file.parent.parts) - node.level + 1]
            base = [*inside, *([node.module] if node.module else [])]
            yield from (".".join(["", *base, alias.name]) for alias in node.names)


def breaches(tree: ast.Module, file: Path) -> Iterator[str]:
    """What in `file` goes against the layers."""
    layer = file.parts[0]
    for name in imports(tree, file):
        own, first = name.startswith("."), name.lstrip(".").split(".")[0]
        if own and first not in MAY_IMPORT[layer]:
            yield f"imports {name}, which is not below {layer}/"
        if not own and first in {"longtake", *MAY_IMPORT} - COMFYUI and layer != "training":
            yield f"imports {name} by an absolute name; within the pack only relative ones work"
        if not own and first in COMFYUI and layer not in ("host", "nodes"):
            yield f"imports {name}: only host/ and nodes/ may know ComfyUI"


def room_of(name: str) -> str | None:
    """The room of a module of the pack, or of what is in it, by its dotted name; else None."""
    folder, found = ROOT, None
    for part in name.removeprefix("longtake").lstrip(".").split("."):
        folder /= part
        if not folder.is_dir():
            break
        found = folder.relative_to(ROOT).as_posix()
    return found


def arrows(tree: ast.Module, file: Path) -> Iterator[str]:
    """Other rooms of the same layer that `file` imports from."""
    own = file.parent.as_posix()
    for name in imports(tree, file):
        pack = name.startswith((".", "longtake."))
        room = room_of(name) if pack else None
        if room and room != own and room.split("/")[0] == file.parts[0]:
            yield room


def missing(tree: ast.Module) -> Iterator[str]:
    """What a file outside the pack imports from it that is not there, in functions as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("longtake."):
            place = ROOT.joinpath(*node.module.split(".")[1:])
            known = names_in(place.with_suffix(".py")) | names_in(place / "__init__.py")
            known |= {path.stem for path in place.glob("*")}
            gone = [alias.name for alias in node.names if alias.name not in known]
            yield from (f"line {node.lineno}: {node.module}.{name}" for name in gone)


@cache
def names_in(file: Path) -> frozenset[str]:
    """What a module defines or imports at its top; nothing if it is not there."""
    if not file.is_file():
        return frozenset()
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name.split(".")[0] for alias in names}
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return frozenset(found)


def hazards(tree: ast.Module, file: Path | None = None) -> Iterator[str]:
    """What in a file could run a stranger's code or reach the network."""
    barred = BARRED_MODULES - ALLOWED.get(file, set())
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = {alias.name.split(".")[0] for alias in names} & barred
            case ast.ImportFrom(module=str(module), names=names, level=0):
                found = {module.split(".")[0]} & barred
                found |= {
                    alias.name for alias in names if (module, alias.name) in BARRED_ATTRIBUTES
                }
            case ast.Name(id=name) if name in BARRED_NAMES:
                found = {name}
            case ast.Attribute(value=ast.Name(id=owner), attr=attribute):
                found = (
                    {f"{owner}.{attribute}"} if (owner, attribute) in BARRED_ATTRIBUTES else set()
                )
            case _:
                continue
        yield from (f"line {node.lineno}: {name}" for name in found)


def runs_on_import(tree: ast.Module) -> Iterator[str]:
    """Statements that do something as soon as the module is imported."""
    quiet = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_main = isinstance(node, ast.If) and ast.unparse(node.test) in (
            "__name__ == '__main__'",
            "TYPE_CHECKING",
        )
        if not isinstance(node, (*quiet, ast.Assign, ast.AnnAssign)) and not is_docstring | is_main:
            yield f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_layer_imports_only_itself_and_those_below(file):
    assert not list(breaches(tree(file), file))


@pytest.mark.parametrize("file", OUTSIDE, ids=str)
def test_what_is_imported_from_outside_is_there(file):
    """Benchmarks import much of it in functions that no test runs."""
    assert not list(missing(tree(file)))


@pytest.mark.parametrize("file", SHIPPED, ids=str)
def test_nothing_shipped_runs_strange_code_or_reaches_the_network(file):
    assert not list(hazards(tree(file), file))


@pytest.mark.parametrize("file", SHIPPED, ids=str)
def test_nothing_happens_on_import(file):
    assert not list(runs_on_import(tree(file)))


@pytest.mark.parametrize("file", [f for f in FILES if f.parts[0] == "engine"], ids=str)
def test_the_engine_defines_no_networks(file):
    bases = [base for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef)
             for base in node.bases]  # fmt: skip
    assert not [base for base in bases if ast.unparse(base).split(".")[-1] == "Module"]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_functions_stay_short(file):
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(tree(file)) if isinstance(node, functions)]
    assert not [f.name for f in found if f.end_lineno - f.lineno >= 60]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_room_imports_only_the_rooms_it_may(file):
    room = file.parent.as_posix()
    assert room in ROOMS, f"{room}/ is not among ROOMS: say there which rooms it may import"
    assert not set(arrows(tree(file), file)) - ROOMS[room]


@pytest.mark.parametrize("room", ROOMS)
def test_an_arrow_that_nobody_draws_any_more_is_struck_out(room):
    files = [file for file in FILES if file.parent.as_posix() == room]
    drawn = {other for file in files for other in arrows(tree(file), file)}
    assert files, f"there is no room {room}/"
    assert ROOMS[room] <= drawn


def below(file: Path, seen: set[str]) -> set[str]:
    """All that is imported when `file` is, but for Python's own; `seen` are files to pass over."""
    found = set()
    for name in imports(tree(file), file):
        if not name.startswith("."):
            found |= {name.split(".")[0]} - sys.stdlib_module_names
            continue
        parts = name.lstrip(".").split(".")
        for end in range(1, len(parts) + 1):
            place = Path(*parts[:end])
            for own in (place / "__init__.py", place.with_suffix(".py")):
                if (ROOT / own).is_file() and own not in seen:
                    seen.add(own)
                    found |= below(own, seen)
    return found


def test_a_container_is_handled_by_pyav_alone():
    """salvage.py runs where there is no torch, no numpy and no Pillow."""
    files = [file for file in FILES if file.parent.as_posix() == "engine/container"]
    assert {name for file in files for name in below(file, set())} == {"av"}
    assert below(Path("engine/media/sound.py"), set()) == {"av", "numpy"}


def test_rooms_import_each_other_in_no_circle():
    assert list(TopologicalSorter(ROOMS).static_order())  # raises CycleError for a circle
    assert not [(room, other) for room, others in ROOMS.items() for other in others
                if room.split("/")[0] != other.split("/")[0]]  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_in_a_line_what_it_is_for(room):
    assert ast.get_docstring(tree(Path(room, "__init__.py")))


def test_a_room_is_not_crowded():
    files = Counter(file.parent.as_posix() for file in FILES if file.name != "__init__.py")
    assert not {room: n for room, n in files.items() if n > FILES_IN_A_ROOM}


def test_contributing_shows_every_room_and_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = text.partition("```\nmodels/")[2].partition("```")[0]
    assert not [room for room in ROOMS if f"{room.split('/')[-1]}/" not in f"models/{tree}"]
    named = set(re.findall(r"`([\w./]+(?:\.(?:py|md|json|toml|txt)|/))`", text))
    own = [path for path in ROOT.rglob("*") if not path.relative_to(ROOT).parts[0].startswith(".")]
    known = {path.relative_to(ROOT).as_posix() for path in own} | {path.name for path in own}
    elsewhere = {".venv", ".host", "nodes.py"}  # what dev.py makes; ComfyUI's
    gone = {name.rstrip("/") for name in named if "NAME" not in name} - known - elsewhere
    assert not gone


def test_the_root_module_imports_nothing_until_it_is_asked():
    doc, *body = tree(Path("__init__.py")).body
    assert isinstance(doc, ast.Expr)
    assert [type(node) for node in body] == [ast.Assign, ast.AsyncFunctionDef]
    assert [ast.unparse(body[0]), body[1].name] == ["WEB_DIRECTORY = './web'", "comfy_entrypoint"]


# The tests above find nothing when all is well; these show that they would find something.


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("models/wan/dit.py", "from ...engine import canvas"),
        ("models/wan/dit.py", "from ... import engine"),
        ("models/errors.py", "def f():\n    from ..host.networks import load"),
        ("engine/frames/stream.py", "from ...nodes.decode import Decode"),
        ("engine/frames/stream.py", "import comfy.utils as u"),
        ("engine/frames/stream.py", "import models.errors"),
        ("host/networks/transformer.py", "from ...nodes import load"),
        ("host/networks/transformer.py", "from longtake.models import errors"),
        ("training/run.py", "from longtake import nodes\nfrom .. import host"),
    ],
)
def test_a_breach_is_seen(file, source):
    assert list(breaches(ast.parse(source), Path(file)))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "nodes/output/decode.py",
            "from ..host.networks.vae import load\nimport nodes, comfy.utils",
        ),
        ("engine/frames/stream.py", "from ...models.wan.vae import WanVAE\nfrom . import prefetch"),
        ("models/wan/dit.py", "from .config import DiTConfig\nfrom ..attention import sdpa"),
    ],
)
def test_what_is_allowed_is_let_through(file, source):
    assert not list(breaches(ast.parse(source), Path(file)))


def test_what_has_moved_is_missed():
    source = """
from longtake.engine.canvas import noise, no_such
from longtake.engine.canvas.noise import video_noise, no_such_noise
from longtake.models.errors import InputError
def f():
    from longtake.engine.no_such import x
"""
    assert [what.split()[-1] for what in missing(ast.parse(source))] == [
        "longtake.engine.canvas.no_such",
        "longtake.engine.canvas.noise.no_such_noise",
        "longtake.engine.no_such.x",
    ]


@pytest.mark.parametrize(
    ("file", "source", "room"),
    [
        ("engine/take/layout.py", "from ..sampling.schedule import sigmas", "engine/sampling"),
        ("engine/take/layout.py", "from .. import sampling", "engine/sampling"),
        ("engine/take/layout.py", "from ..rounding import nearest", "engine"),
        ("host/networks/vae.py", "def f():\n    from ..take import long_take", "host/take"),
        ("models/errors.py", "from .wan.dit import WanDiT", "models/wan"),
        ("models/wan/dit.py", "from ..errors import InputError", "models"),
    ],
)
def test_an_arrow_is_seen(file, source, room):
    assert list(arrows(ast.parse(source), Path(file))) == [room]


@pytest.mark.parametrize(
    "source",
    ["from .grid import LatentGrid", "from . import grid", "from ...models import errors",
     "import torch.nn", "from host import x", "from .. import __version__"],
)  # fmt: skip
def test_within_a_room_and_between_layers_there_are_no_arrows(source):
    assert set(arrows(ast.parse(source), Path("engine/canvas/windows.py"))) <= {"engine"}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from urllib.request import urlopen",
        "def f(x):\n    return eval(x)",
        "torch.load('x')",
        "from torch import load",
        "os.system('ls')",
    ],
)
def test_a_hazard_is_seen(source):
    assert list(hazards(ast.parse(source)))
    assert not list(hazards(ast.parse("model.eval()\nre.compile('x')\nsafetensors.torch.load(b)")))


def test_work_on_import_is_seen():
    assert list(runs_on_import(ast.parse("print('hello')")))
    assert list(runs_on_import(ast.parse("for x in y:\n    pass")))
