"""Everything of ComfyUI that the pack names, looked for in the ComfyUI at hand.

The table is read from host/ and nodes/ and so is never out of date: names of modules, functions and
classes; attributes of what is annotated as one of the host's classes; how each is called; and the
methods that our subclasses override. When a ComfyUI moves one of them, a test that names it fails,
with the lines that use it. `python -m pytest tests/test_host_names.py --collect-only -q` prints it.

What is asked for with getattr or hasattr is left out: that may be missing, and the code says so.
"""

import ast
import importlib
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.test_architecture import COMFYUI, ROOT

FILES = sorted(path for layer in ("host", "nodes") for path in (ROOT / layer).rglob("*.py"))
# Methods whose arguments are our own: what we make ourselves, and what a schema names.
OWN = {"__init__", "execute", "validate_inputs", "fingerprint_inputs", "check_lazy_status"}


class Use(NamedTuple):
    """One place that names something of the host.

    Attributes:
        symbol: "comfy.utils.ProgressBar"; of an instance "comfy.sd.VAE:decode".
        where: "host/networks/vae.py:87".
        call: where it is called there and then.
    """

    symbol: str
    where: str
    call: ast.Call | None = None


class Reader(ast.NodeVisitor):
    """Collects the uses in one file, function by function."""

    def __init__(self, where: str):
        self.where = where
        self.uses: list[Use] = []
        self.names: dict[str, str] = {}  # what an import bound -> what it is
        self.instances: dict[str, str] = {}  # an argument -> the host's class in its annotation

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.split(".")[0] in COMFYUI:
                bound = alias.asname or alias.name.split(".")[0]
                self.names[bound] = alias.name if alias.asname else bound
                self._add(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if not node.level and node.module.split(".")[0] in COMFYUI:
            for alias in node.names:
                self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                self._add(f"{node.module}.{alias.name}", node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self.names, self.instances
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        shadowed = {argument.arg for argument in arguments}
        self.names = {n: symbol for n, symbol in self.names.items() if n not in shadowed}
        self.instances = {n: c for n, c in self.instances.items() if n not in shadowed}
        for argument in arguments:
            if found := self._class_in(argument.annotation):
                self.instances[argument.arg] = found
        self.generic_visit(node)
        self.names, self.instances = outer

    def visit_Call(self, node: ast.Call) -> None:
        if symbol := self._symbol(node.func):
            direct = ":" not in symbol or isinstance(node.func.value, ast.Name)
            self._add(symbol, node, node if direct else None)
        else:
            self.visit(node.func)
        for part in (*node.args, *node.keywords):
            self.visit(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if symbol := self._symbol(node):
            self._add(symbol, node)
        else:
            self.generic_visit(node)

    def _symbol(self, node: ast.AST) -> str | None:
        """What a dotted name stands for, if it is the host's."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if not isinstance(node, ast.Attribute):
            return None
        if isinstance(node.value, ast.Name) and node.value.id in self.instances:
            return f"{self.instances[node.value.id]}:{node.attr}"
        inside = self._symbol(node.value)
        return f"{inside}.{node.attr}" if inside and ":" not in inside else inside

    def _class_in(self, annotation: ast.AST | None) -> str | None:
        """The host's class in `ModelPatcher`, or in `ModelPatcher | None`."""
        if isinstance(annotation, ast.BinOp):
            return self._class_in(annotation.left) or self._class_in(annotation.right)
        symbol = self._symbol(annotation) if annotation else None
        return symbol if symbol and ":" not in symbol else None

    def _add(self, symbol: str, node: ast.AST, call: ast.Call | None = None) -> None:
        self.uses.append(Use(symbol, f"{self.where}:{node.lineno}", call))


def uses_in(source: str, where: str = "x.py") -> list[Use]:
    reader = Reader(where)
    reader.visit(ast.parse(source))
    return reader.uses


def table() -> dict[str, list[Use]]:
    found = defaultdict(list)
    for path in FILES:
        where = path.relative_to(ROOT).as_posix()
        for use in uses_in(path.read_text(encoding="utf-8"), where):
            found[use.symbol].append(use)
    return dict(sorted(found.items()))


TABLE = table()
CALLED = [symbol for symbol, uses in TABLE.items() if any(use.call for use in uses)]


def resolve(symbol: str) -> Any:
    """The thing itself.

    Raises:
        AttributeError, ImportError: if it is not there.
    """
    symbol, _, attribute = symbol.partition(":")
    parts = symbol.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError as error:
            if length == 1 or not ".".join(parts).startswith(str(error.name)):
                raise
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return attribute_of(found, attribute) if attribute else found
    raise ImportError(symbol)


def attribute_of(owner: type, name: str) -> Any:
    """A class's attribute, or None where only its instances have it, by code of its module."""
    if hasattr(owner, name):
        return getattr(owner, name)
    given = rf"\b\w+\.{name}\b[^=\n]*=[^=]"
    if name in getattr(owner, "__dataclass_fields__", ()):
        return None
    if not any(re.search(given, source_around(base)) for base in owner.__mro__):
        raise AttributeError(f"{owner.__name__} has no attribute {name!r}")
    return None


def source_around(owner: type) -> str:
    try:
        return inspect.getsource(sys.modules[owner.__module__])
    except (OSError, TypeError):  # it is no Python
        return ""


def misfit(call: ast.Call, function: Callable, bound: bool) -> str | None:
    """Why a function cannot be called so; None where it can, or where it does not tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    given = [None] * bound + [None for arg in call.args if not isinstance(arg, ast.Starred)]
    named = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    open_ended = len(given) < len(call.args) + bound or len(named) < len(call.keywords)
    try:
        (signature.bind_partial if open_ended else signature.bind)(*given, **named)
    except TypeError as error:
        return f"{error}: {signature}"
    return None


def overridden(ours: type) -> Iterator[tuple[str, Callable, Callable]]:
    """(name, our method, the host's) of a subclass of the host's classes."""
    for name, method in vars(ours).items():
        for base in ours.__mro__[1:]:
            theirs = vars(base).get(name)
            ordinary = inspect.isfunction(method) and inspect.isfunction(theirs)
            if ordinary and base.__module__.split(".")[0] in COMFYUI and name not in OWN:
                yield name, method, theirs
                break


def narrower(ours: Callable, theirs: Callable) -> str | None:
    """Why ours cannot take all that theirs takes; None where it can."""
    signature, asked = inspect.signature(ours), inspect.signature(theirs).parameters.values()
    given = [p for p in asked if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = {p.name: None for p in asked if p.kind is p.KEYWORD_ONLY}
    try:
        signature.bind(*[None] * len(given), **named)
    except TypeError as error:
        return f"{error}: the host has {inspect.signature(theirs)}, we {signature}"
    return None


def places(symbol: str) -> str:
    return ", ".join(use.where for use in TABLE[symbol])


@pytest.mark.usefixtures("comfyui")
@pytest.mark.parametrize("symbol", TABLE)
def test_the_host_has(symbol):
    try:
        resolve(symbol)
    except (AttributeError, ImportError) as error:
        pytest.fail(f"{symbol} is not in this ComfyUI ({error}); used in {places(symbol)}")


@pytest.mark.usefixtures("comfyui")
@pytest.mark.parametrize("symbol", CALLED)
def test_the_host_takes_the_arguments_of(symbol):
    found = resolve(symbol)
    bound = ":" in symbol and inspect.isfunction(found)
    wrong = [
        f"{use.where}: {why}"
        for use in TABLE[symbol]
        if use.call and found is not None and (why := misfit(use.call, found, bound))
    ]
    assert not wrong


@pytest.fixture(scope="module")
def subclasses(host) -> Mapping[str, type]:
    """Our classes that have one of the host's among their bases, by dotted name."""
    found = {}
    for path in FILES:
        name = ".".join(("longtake", *path.relative_to(ROOT).with_suffix("").parts))
        for ours in vars(importlib.import_module(name.removesuffix(".__init__"))).values():
            if inspect.isclass(ours) and ours.__module__.startswith("longtake."):
                bases = {base.__module__.split(".")[0] for base in ours.__mro__}
                if bases & COMFYUI:
                    found[f"{ours.__module__}.{ours.__qualname__}"] = ours
    return found


def test_our_methods_take_what_the_host_hands_to_those_they_override(subclasses):
    assert "longtake.host.networks.vae.ComfyVAE" in subclasses
    wrong = {
        f"{name}.{method}": why
        for name, ours in subclasses.items()
        for method, own, theirs in overridden(ours)
        if (why := narrower(own, theirs))
    }
    assert not wrong


# That the tests above would find something.


def test_names_are_read_from_imports_chains_and_annotations():
    source = """
import comfy.model_management as mm
import comfy.sd
import torch
from comfy_api.latest import io
from ..host import nodes

def f(vae: comfy.sd.VAE | None, model: Tensor, io):
    from comfy.utils import ProgressBar
    vae.decode(model.x, tiled=mm.cpu_mode())
    return ProgressBar(3).update(io.Custom), vae.patcher.model
"""
    found = {use.symbol for use in uses_in(source)}
    assert found == {
        "comfy.model_management", "comfy.sd", "comfy_api.latest.io", "comfy.utils.ProgressBar",
        "comfy.sd.VAE", "comfy.sd.VAE:decode", "comfy.sd.VAE:patcher",
        "comfy.model_management.cpu_mode",
    }  # fmt: skip


def test_what_has_moved_is_missed(comfyui):
    for gone in ("comfy.utils.no_such", "comfy.no_such.f", "comfy.sd.VAE:no_such"):
        with pytest.raises((AttributeError, ImportError)):
            resolve(gone)
    assert resolve("comfy.sd.VAE:decode") is resolve("comfy.sd").VAE.decode
    assert resolve("comfy.sd.VAE:patcher") is None


@pytest.mark.parametrize(
    ("call", "fits"),
    [("f(1, 2)", True), ("f(1)", False), ("f(1, b=2, c=3)", True), ("f(1, 2, d=4)", False),
     ("f(*x)", True), ("f(1, **x)", True), ("f(1, *x, d=4)", False), ("f(1, 2, 3, 4)", False)],
)  # fmt: skip
def test_a_call_that_does_not_fit_is_seen(call, fits):
    def f(a, b, *, c=None):
        pass

    def method(self, a, b, *, c=None):
        pass

    parsed = ast.parse(call, mode="eval").body
    assert (misfit(parsed, f, False) is None) == fits
    assert (misfit(parsed, method, True) is None) == fits


def test_a_method_that_takes_less_than_the_host_gives_is_seen():
    def theirs(self, x, options=None, *, device=None):
        pass

    assert narrower(lambda self, x, options=None, device=None: 0, theirs) is None
    assert narrower(lambda self, x, *rest, **more: 0, theirs) is None
    assert "too many" in narrower(lambda self, x, *, device=None: 0, theirs)
    assert "device" in narrower(lambda self, x, options=None: 0, theirs)
