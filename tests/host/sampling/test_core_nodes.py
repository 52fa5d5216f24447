"""What ComfyUI's own nodes do to our MODEL: each tried, and LongtakeLoadModel's page says the same.

A node of the host at hand that changes a MODEL and stands in no table here fails a test: try it,
give it a table, and its line in the page.
"""

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.host.runs import ksampler, latents, prompt
from tests.test_architecture import ROOT

# Each node with inputs under which it must show; others are its defaults.
WORKS = {
    "APG": {},
    "CFGNorm": {},
    "CFGOverride": {"cfg": 2.0},
    "CFGZeroStar": {},
    "ContextWindowsManual": {"context_length": 3, "context_overlap": 1, "dim": 2},
    "DifferentialDiffusion": {"known": 0.5},
    "EasyCache": {"reuse_threshold": 3.0, "end_percent": 1.0},
    "Epsilon Scaling": {"scaling_factor": 1.1},
    "FreSca": {"freq_cutoff": 1},
    "LatentApplyOperationCFG": {},
    "LazyCache": {"reuse_threshold": 3.0, "end_percent": 1.0},
    "Mahiro": {},
    "ModelComputeDtype": {"dtype": "bf16"},
    "ModelMergeAdd": {},
    "ModelMergeSimple": {"ratio": 0.5},
    "ModelMergeSubtract": {},
    "ModelMergeWAN2_1": {"blocks.0.": 0.5},
    "ModelNoiseScale": {"noise_scale": 0.5},
    "ModelSamplingAuraFlow": {},
    "ModelSamplingFlux": {},
    "ModelSamplingLTXV": {},
    "ModelSamplingSD3": {"shift": 7.0},
    "PerpNeg": {},
    "RenormCFG": {"renorm_cfg": 0.5},
    "RescaleCFG": {},
    "ScaleROPE": {"scale_t": 1.5},
    "SkipLayerGuidanceDiT": {"double_layers": "0", "start_percent": 0.0, "end_percent": 1.0},
    "SkipLayerGuidanceDiTSimple": {"double_layers": "0"},
    "SkipLayerGuidanceSD3": {"layers": "0", "start_percent": 0.0, "end_percent": 1.0},
    "TCFG": {},
    "TemporalScoreRescaling": {},
    "WanContextWindowsManual": {"context_length": 9, "context_overlap": 4},
}
# They choose where or how the same is computed.
SAME = {"ModelAttentionBackend": {}, "MultiGPU_WorkUnits": {}, "SelectModelDevice": {}}
GUIDERS = ("BasicGuider", "CFGGuider", "DualCFGGuider", "DualModelGuider", "PerpNegGuider")
SAMPLING = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
# Tried in tests of their own, here and in test_lora.py and test_compile.py.
ELSEWHERE = (
    *("LoraLoader", "LoraLoaderModelOnly", "LoraLoaderBypass", "LoraLoaderBypassModelOnly"),
    *("LoraModelLoader", "TorchCompileModel"),
)

# They reach for parts that only other networks have.
NO_EFFECT = {
    "ChromaRadianceOptions": {},
    "FluxKVCache": {},
    "HyperTile": {},
    "LTXVModalityGuidance": {},
    "LTXVSpatioTemporalGuidance": {},
    "ModelMergeBlocks": {},
    "NAGuidance": {},
    "PatchModelAddDownscale": {},
    "PerturbedAttentionGuidance": {},
    "SelfAttentionGuidance": {},
    "TomePatchModel": {},
    "UNetCrossAttentionMultiply": {},
    "UNetSelfAttentionMultiply": {},
    "UNetTemporalAttentionMultiply": {},
    "WanAnimate2Cache": {},
    "wanBlockSwap": {},
}
# They compute something that this MODEL was not made for, and do not say so.
WRONG = {
    "LTXVContextWindows": {"context_length": 17, "context_overlap": 8},
    "MiniMaxH3SigmaShift": {},
    "ModelSamplingContinuousEDM": {},
    "ModelSamplingContinuousV": {},
    "ModelSamplingDiscrete": {},
    "ModelSamplingStableCascade": {},
    "VideoLinearCFGGuidance": {},
    "VideoTriangleCFGGuidance": {},
}
STOPS = {
    "FreeU": ({}, "model_channels"),
    "FreeU_V2": ({}, "model_channels"),
    "HiDreamO1PatchSeamSmoothing": ({"start_percent": 0.0}, "too many values to unpack"),
}
# Not tried: they name another network, or need files or conditioning made for one; or they train.
OTHERS = (
    r"ARVideoI2V|AnimaLLLiteApply|HypernetworkLoader|LTXVReferenceAudio|"
    r"ModelMerge(?!Add|Blocks|Simple|Subtract|WAN2_1)\w+|QwenImageDiffsynthControlnet|SUPIRApply|"
    r"TrainLoraNode|TripoSplatSamplingPreview|USOStyleReference|WanInfiniteTalkToVideo|"
    r"WanUni3CControlnetApply|ZImageFunControlnet"
)

# Core's own: lists as indices, copies of tensors as arguments, NumPy's older protocol.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using a non-tuple sequence", "ignore:To copy construct", "ignore:__array_wrap__"
)
FRAMES = (1, 6, 7, 4, 6)


def made(host: Any, node: str) -> Any:
    """The class of a core node; the test is skipped where this host has none."""
    if node not in host.nodes.NODE_CLASS_MAPPINGS:
        pytest.skip(f"this host has no {node}")
    return host.nodes.NODE_CLASS_MAPPINGS[node]


def declared(cls: Any) -> dict[str, tuple[str, dict]]:
    """The inputs of a node: their kind and options, by name."""
    groups = cls.INPUT_TYPES()
    entries = {**groups.get("required", {}), **groups.get("optional", {})}
    return {name: (entry[0], *entry[1:], {})[:2] for name, entry in entries.items()}


def usual(kind: Any, options: dict, model: Any) -> Any:
    """What a graph would give for an input: a default, a menu's first, or a small value."""
    if "default" in options:
        return options["default"]
    if isinstance(kind, list | tuple) or kind == "COMBO":
        return next(iter(options.get("options") or (() if kind == "COMBO" else kind)), None)
    return {
        "CONDITIONING": lambda: prompt(model, 3),
        "LATENT_OPERATION": lambda: lambda latent, **_: latent * 0.9,
        "MODEL": lambda: model,
    }.get(kind, lambda: None)()


def run(host: Any, node: str, model: Any, **given: Any) -> tuple:
    """What a core node makes of our MODEL; of a second MODEL that it takes, twice its weights."""
    cls = made(host, node)
    inputs = {name: usual(*entry, model) for name, entry in declared(cls).items()}
    if "model2" in inputs:
        inputs["model2"] = host.nodes.NODE_CLASS_MAPPINGS["ModelMergeAdd"]().merge(model, model)[0]
    out = getattr(cls(), cls.FUNCTION)(**{**inputs, **given})
    return getattr(out, "args", out)


def paint(model: Any, known: float | None = None, **settings: Any) -> torch.Tensor:
    latent = {"samples": torch.zeros(FRAMES)}
    if known is not None:
        latent = {"samples": latents(9, FRAMES), "noise_mask": torch.full((1, 1, 7, 4, 6), known)}
    return ksampler(model, latent_image=latent, **{"steps": 5, **settings})


def away(host: Any, node: str, model: Any, inputs: dict) -> float:
    """How far from the plain result a node leads, relative to it; finite and the same twice."""
    inputs = dict(inputs)
    known = inputs.pop("known", None)
    patched = run(host, node, model, **inputs)[0]
    result = paint(patched, known)
    assert torch.isfinite(result).all()
    assert torch.equal(result, paint(patched, known))
    plain = paint(model, known)  # afterwards: what a node left behind in ours would show
    return float((result - plain).norm() / plain.norm())


@pytest.mark.parametrize("node", WORKS)
def test_it_works(host, model, node):
    assert away(host, node, model, WORKS[node]) > 1e-3


@pytest.mark.parametrize("node", SAME)
def test_it_gives_the_same(host, model, node):
    assert away(host, node, model, SAME[node]) < 1e-5


@pytest.mark.parametrize("node", NO_EFFECT)
def test_it_has_nothing_to_act_on(host, model, node):
    assert away(host, node, model, NO_EFFECT[node]) < 1e-5


@pytest.mark.parametrize("node", WRONG)
def test_it_runs_but_is_not_made_for_it(host, model, node):
    assert away(host, node, model, WRONG[node]) > 1e-3


@pytest.mark.parametrize("node", STOPS)
def test_it_stops(host, model, node):
    given, told = STOPS[node]
    with pytest.raises((KeyError, ValueError), match=told):
        paint(run(host, node, model, **given)[0])


@pytest.mark.parametrize("freenoise", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("fuse", ["pyramid", "relative", "flat", "overlap-linear"])
def test_context_windows_with_what_newer_hosts_add(host, model, freenoise, causal, fuse):
    """Noise that the windows share, and a frame before each of them."""
    if "freenoise" not in declared(made(host, "ContextWindowsManual")):
        pytest.skip("this host's context windows have neither")
    more = {"freenoise": freenoise, "causal_window_fix": causal, "fuse_method": fuse}
    assert away(host, "ContextWindowsManual", model, WORKS["ContextWindowsManual"] | more) > 1e-3


@pytest.mark.parametrize("node", GUIDERS)
def test_a_guider_samples(host, model, node):
    given = {}
    for seed, name in enumerate(declared(made(host, node)), start=1):
        kind = declared(made(host, node))[name][0]
        if kind == "CONDITIONING":
            given[name] = prompt(model, seed)
    guider = run(host, node, model, **given)[0]
    results = [custom(host, model, guider) for _ in range(2)]
    assert torch.isfinite(results[0]).all()
    assert torch.equal(*results)


def custom(host: Any, model: Any, guider: Any, sampler: Any = None) -> torch.Tensor:
    """Core's SamplerCustomAdvanced on seven empty latent frames."""
    noise = SimpleNamespace(seed=4, generate_noise=lambda latent: latents(4, FRAMES))
    (sigmas,) = run(host, "BasicScheduler", model, steps=4)
    sampler = sampler or run(host, "KSamplerSelect", model, sampler_name="euler")[0]
    latent = {"samples": torch.zeros(FRAMES)}
    given = {"noise": noise, "guider": guider, "sampler": sampler, "sigmas": sigmas}
    return run(host, "SamplerCustomAdvanced", model, latent_image=latent, **given)[0]["samples"]


def test_a_lora_beside_the_weights_is_as_one_in_them(host, model):
    """What nodes named Bypass do: weights stay, and each layer adds what the LoRA makes of x."""
    if "bypass" not in declared(made(host, "LoraModelLoader")):
        pytest.skip("this host has no LoRA beside the weights")
    rng = torch.Generator().manual_seed(8)
    width = model.model.diffusion_model.config.width
    lora = {
        f"diffusion_model.blocks.0.{layer}.lora_{end}.weight": torch.randn(shape, generator=rng) / 3
        for layer in ("self_attn.q", "cross_attn.v", "ffn.0")
        for end, shape in (("A", (4, width)), ("B", (48 if layer == "ffn.0" else width, 4)))
    }
    results = []
    for bypass in (False, True):
        given = {"lora": lora, "strength_model": 1.0, "bypass": bypass}
        results.append(paint(run(host, "LoraModelLoader", model, **given)[0]))
    assert (results[0] - paint(model)).norm() > 0.05 * results[0].norm()
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


def of_the_host(kind: str) -> list[str]:
    import comfy.samplers

    return list(getattr(comfy.samplers.KSampler, kind))


def test_every_sampler_and_scheduler_gives_a_video(host, model):
    """Each at cfg 3, finite and the same twice."""
    choices = [("sampler_name", name) for name in of_the_host("SAMPLERS")]
    choices += [("scheduler", name) for name in of_the_host("SCHEDULERS")]
    assert len(choices) > 50
    for kind, name in choices:
        first, second = (paint(model, steps=3, **{kind: name}) for _ in range(2))
        assert torch.isfinite(first).all(), name
        assert torch.equal(first, second), name


def test_the_sampler_of_autoregressive_networks_refuses_ours_in_its_own_words(host, model):
    (sampler,) = run(host, "SamplerARVideo", model)
    (guider,) = run(host, "CFGGuider", model, positive=prompt(model, 1), negative=prompt(model, 2))
    with pytest.raises(TypeError, match="Causal-WAN compatible"):
        custom(host, model, guider, sampler)


def test_every_node_of_the_host_is_in_a_table(host):
    listed = {*WORKS, *SAME, *NO_EFFECT, *WRONG, *STOPS, *ELSEWHERE}
    for name, cls in host.nodes.NODE_CLASS_MAPPINGS.items():
        kinds = [str(kind) for kind in getattr(cls, "RETURN_TYPES", None) or ()]
        if "MODEL" not in kinds or name.startswith("Longtake"):
            continue
        if any(kind == "MODEL" for kind, _ in declared(cls).values()):
            assert name in listed or re.fullmatch(OTHERS, name), f"{name}: try it, and list it"


def named_in(section: str) -> set[str]:
    """The nodes in italics in a section of Load Model's page."""
    page = (ROOT / "web" / "docs" / "LongtakeLoadModel.md").read_text(encoding="utf-8")
    body = page.split(f"\n### {section}\n")[1].split("\n#")[0]
    return set(re.findall(r"\*([\w ]+)\*", body.replace("**", "")))


@pytest.mark.parametrize(
    ("section", "tables"),
    [
        ("Works", (WORKS, SAME, GUIDERS, SAMPLING, ELSEWHERE)),
        ("Changes nothing", (NO_EFFECT,)),
        ("Does not fit", (WRONG, STOPS, ("SamplerARVideo",))),
    ],
)
def test_the_page_says_so(section, tables):
    assert named_in(section) == {name for table in tables for name in table}
