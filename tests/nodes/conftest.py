"""Graphs of our nodes with a tiny model built in, run in this process."""

import copy

import pytest
import torch

from tests.host.conftest import nano, pack  # noqa: F401

BUILT_IN = "nano (built in)"


class Graph(dict):
    """An API-format prompt whose nodes are known by name."""

    def but(self, **changes) -> "Graph":
        """A copy with inputs changed: graph.but(canvas={"width": 48})."""
        new = copy.deepcopy(self)
        for node, inputs in changes.items():
            new[node]["inputs"].update(inputs)
        return new

    def add(self, **nodes: tuple[str, dict]) -> "Graph":
        new = copy.deepcopy(self)
        for name, (class_type, inputs) in nodes.items():
            new[name] = {"class_type": class_type, "inputs": inputs}
        return new


def ksampler(**links) -> tuple[str, dict]:
    """Core's sampler in the place of ours."""
    inputs = {
        "model": ["model", 0], "positive": ["prompt", 0], "negative": ["negative", 0],
        "latent_image": ["canvas", 0], "seed": 1, "steps": 2, "cfg": 2.0,
        "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0,
    }  # fmt: skip
    return "KSampler", {**inputs, **links}


@pytest.fixture
def shown(host, monkeypatch) -> list[str]:
    """What nodes show of themselves in the browser, one after another; of each, enough is seen."""
    from server import PromptServer

    from longtake.host.comfyui.node_text import BREAK, SEEN

    texts: list[str] = []

    def send(text: str, node: str, sid=None) -> None:
        first, *rest = text.split(BREAK)
        assert len(first) <= SEEN, f"{first!r} is cut off: say what matters most first"
        assert not any("\n" in line for line in (first, *rest))
        texts.append("\n".join((first, *rest)))

    monkeypatch.setattr(PromptServer.instance, "send_progress_text", send)
    return texts


class Runs(list):
    """Every run of core's sampler, as (latent frames, known of them)."""

    def __init__(self):
        super().__init__()
        self.seeds: list[int] = []
        self.cfgs: list[float] = []
        self.samplers: list = []
        self.prompts: list[dict] = []  # the texts that it was given, as positive and negative
        self.noise: list[torch.Tensor] = []
        self.shown: list[list[str]] = []  # what nodes had shown before it
        self.cancel_in: int | None = None  # the number of a run, in whose first step it is pressed


@pytest.fixture
def runs(host, shown, monkeypatch) -> Runs:
    import comfy.model_management as mm
    import comfy.samplers

    found, real = Runs(), comfy.samplers.CFGGuider.sample

    def sample(self, noise, latents, *rest, denoise_mask=None, callback=None, seed=None, **kw):
        def step(*at):
            if len(found) - 1 == found.cancel_in:
                mm.interrupt_current_processing()
            callback(*at)

        found.append((latents.shape[2], 0 if denoise_mask is None else known_of(denoise_mask)))
        found.seeds.append(seed)
        found.cfgs.append(self.cfg)
        found.samplers.append(rest[0])
        found.prompts.append({k: v[0]["cross_attn"] for k, v in self.original_conds.items()})
        found.noise.append(noise.clone())
        found.shown.append(list(shown))
        more = {"denoise_mask": denoise_mask, "callback": step, "seed": seed, **kw}
        return real(self, noise, latents, *rest, **more)

    monkeypatch.setattr(comfy.samplers.CFGGuider, "sample", sample)
    return found


def known_of(mask) -> int:
    """How many latent frames a mask (b, 1, t, h, w) keeps."""
    return int((mask.amax(dim=(0, 1, 3, 4)) == 0).sum())


@pytest.fixture
def graph(pack, host) -> Graph:  # noqa: F811
    """Text to video on the tiny model: 9 frames of 32 × 48 in 2 steps."""
    return Graph().add(
        model=("LongtakeLoadModel", {"file": BUILT_IN, "dtype": "fp32"}),
        encoder=("LongtakeLoadTextEncoder", {"file": BUILT_IN}),
        vae=("LongtakeLoadVAE", {"file": BUILT_IN, "dtype": "fp32"}),
        prompt=("LongtakePrompt", {"clip": ["encoder", 0], "text": "a red ball"}),
        negative=("LongtakePrompt", {"clip": ["encoder", 0], "text": ""}),
        canvas=(
            "LongtakeCanvas",
            {
                "vae": ["vae", 0],
                "seconds": 1.0,
                "fps": 8.0,
                "width": 32,
                "height": 48,
                "batch_size": 1,
            },
        ),
        schedule=(
            "LongtakeSchedule",
            {
                "model": ["model", 0],
                "steps": 2,
                "shift": 0.0,
                "curve": "linear",
                "denoise": 1.0,
                "latent": ["canvas", 0],
            },
        ),
        sample=(
            "LongtakeSample",
            {
                "model": ["model", 0],
                "positive": ["prompt", 0],
                "negative": ["negative", 0],
                "latent": ["canvas", 0],
                "sigmas": ["schedule", 0],
                "seed": 7,
                "cfg": 4.0,
                "sampler": "euler",
            },
        ),
        decode=("LongtakeDecode", {"latent": ["sample", 0], "vae": ["vae", 0], "fps": 0.0}),
        save=("LongtakeSaveVideo", {"video": ["decode", 0], "filename_prefix": "takes/a"}),
    )
