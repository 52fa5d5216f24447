"""Values that no menu holds and no widget sends: a graph made by hand may."""

import importlib
import json
import math

import pytest
import torch

from longtake.engine.take.storyboard_text import parse_storyboard
from longtake.engine.written import WrittenError
from longtake.models.errors import InputError

FILES = {  # class -> where it is, its other arguments
    "LoadModel": ("load.loaders", {"dtype": "auto"}),
    "LoadTextEncoder": ("load.loaders", {}),
    "LoadVAE": ("load.loaders", {"dtype": "auto"}),
    "LoadLora": ("load.lora", {"model": None, "strength": 1.0}),
    "ReadCredentials": ("output.credentials", {}),
    "SalvageNode": ("output.salvage", {}),
}


def node(name, module):
    return getattr(importlib.import_module(f"longtake.nodes.{module}"), name)


def blank_model():
    from comfy.model_patcher import ModelPatcher

    network = torch.nn.Linear(1, 1)
    network.model_config = None
    return ModelPatcher(network, torch.device("cpu"), torch.device("cpu"))


@pytest.mark.parametrize("value", [None, 5, ["a"], {}, True, 1.5])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_files_name_is_told_as_that(comfyui, name, value):
    module, others = FILES[name]
    cls = node(name, module)
    if "model" in others:  # which is looked at first
        others = {**others, "model": blank_model()}
    with pytest.raises(InputError, match="^file .*: choose a file's name from the menu"):
        cls.execute(file=value, **others)
    assert isinstance(cls.fingerprint_inputs(file=value, **others), str)
    assert value is None or isinstance(cls.validate_inputs(file=value), str)


@pytest.mark.parametrize(
    ("name", "module"),
    [("ModelCacheNode", "load.cache"), ("ReadCredentials", "output.credentials"),
     ("SalvageNode", "output.salvage")],
)  # fmt: skip
def test_a_node_that_always_runs_says_so_without_nan(comfyui, name, module):
    """ComfyUI writes the fingerprint into the graph that is embedded in files."""
    prints = [node(name, module).fingerprint_inputs() for _ in range(2)]
    assert prints[0] != prints[1]
    assert not any(isinstance(p, float) and math.isnan(p) for p in prints)
    assert json.loads(json.dumps(prints, allow_nan=False)) == prints


def test_a_file_that_is_gone_makes_no_nan(comfyui):
    loader = node("LoadModel", "load.loaders")
    assert loader.fingerprint_inputs("gone.safetensors", "auto") == "no such file"


@pytest.mark.parametrize(
    "text",
    [f"[{'9' * 5000}s] a", f"[{'9' * 5000}:00] a", f"[0s seed {'9' * 5000}] a",
     f"[0.{'0' * 5000}1s] a", f"[0s dissolve {'1' * 5000}s] a"],
    ids=["seconds", "minutes", "seed", "parts", "dissolve"],
)  # fmt: skip
def test_numbers_of_thousands_of_digits(text):
    with pytest.raises(WrittenError, match="digits: at most 40 are read") as caught:
        parse_storyboard(text)
    assert len(str(caught.value)) < 200
