"""What `card` finds out in one mode. ComfyUI has been started before this is imported."""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import sampling
import torch
from _measure import device, medians, peak_of
from _takes import Studio, clear
from safetensors.torch import load_file

from longtake.models.wan.config import DIT_PRESETS, VAE_PRESETS, DiTConfig
from longtake.models.wan.vae import WanVAE
from tests.host.runs import ksampler, prompt
from tests.models.tiny import randomised, relative_error

STEPS = {"1.3b": (21, 60, 104), "5b": (31, 44, 80), "14b-t2v": (21, 60, 104)}  # latent t, h, w
DECODED = {"2.1": (480, 832), "2.2": (704, 1280)}
BF16, FP8 = torch.bfloat16, torch.float8_e4m3fn
SMALL = DiTConfig(width=256, depth=2, heads=2, mlp_width=512, text_length=16)
Row = dict[str, object]


def rehearse(mode: str) -> None:
    """Without a card, have the host do what it would do with one as far as it can."""
    import comfy.model_management as mm
    import pytest
    from comfy.cli_args import args

    from tests.host.dynamic_vram import switch_on

    patch = pytest.MonkeyPatch()  # for good: this process ends with the mode
    if mode in ("as it is", "fp8 products"):
        switch_on(patch)
    if mode == "GPU only":
        patch.setattr(args, "gpu_only", True)
        patch.setattr(mm, "vram_state", mm.VRAMState.HIGH_VRAM)
    if mode == "low VRAM":
        load = mm.LoadedModel.model_load

        def in_part(self, lowvram_model_memory=0, *given, **more):
            return load(self, max(1, self.model.model_size() // 3), *given, **more)

        patch.setattr(mm.LoadedModel, "model_load", in_part)


def rows_of(mode: str, base: Path, dry: bool) -> Iterator[Row]:
    """Everything that is tried in a mode; what fails is a row, too."""
    checks: list[Callable[[], Row]] = [
        lambda: dynamic_vram(mode),
        lambda: a_resumed_take(base, dry),
    ]
    if mode == "fp8 products":
        checks += [lambda: a_run("14b-t2v", FP8, dry)]
    else:
        checks += [lambda name=name: a_run(name, BF16, dry) for name in list(STEPS)[dry:]]
    if mode == "without dynamic VRAM":  # with it, layers have no weights before the host loads them
        checks += [lambda name=name: blocks(name, dry) for name in STEPS]
        checks += [lambda name=name: decoding(name, dry) for name in DECODED]
    built_in = the_built_in_model(dry)
    with torch.inference_mode():
        for check in [lambda: next(built_in), lambda: next(built_in), *checks]:
            yield tried(check)


def tried(check: Callable[[], Row]) -> Row:
    """Its row, or one that says why there is none."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - it is what the page is for
        traceback.print_exc()
        line = " ".join(str(error).split())[:300]
        return {"what": "failed", "found": f"{type(error).__name__}: {line}", "ok": False}


def in_time(dry: bool) -> str:
    """What a row asks of the time; of tiny sizes nothing, which is all between the products."""
    return "" if dry else "no slower than core, "


def dynamic_vram(mode: str) -> Row:
    """Whether the host works as ComfyUI does that was started with these options."""
    import comfy.cli_args
    import comfy.model_management as mm

    from longtake.host.comfyui.folders import BUILT_IN
    from longtake.host.networks import load

    asked = getattr(comfy.cli_args, "enables_dynamic_vram", lambda: False)()
    should = (asked and mm.is_nvidia()) or rehearsed(mode)
    model = load.load_model(BUILT_IN)
    found = getattr(model, "is_dynamic", lambda: False)()
    on = {True: "on", False: "off"}
    return {
        "what": "dynamic VRAM",
        "found": on[found],
        "should": on[should],
        "ok": found == should,
    }


def rehearsed(mode: str) -> bool:
    return device().type == "cpu" and mode in ("as it is", "fp8 products")


def studio_of(base: Path, dry: bool) -> tuple[Studio, object]:
    """The built-in model, and a take of seven windows."""
    studio = Studio(base, 2 if dry else 8, "auto")
    board = studio.board("a big red ball rises over the grass at sunset", 9, 8)
    return studio, studio.recipe(board, (64, 64) if dry else (256, 256))


def a_take(base: Path, dry: bool) -> None:
    studio, recipe = studio_of(base, dry)
    studio.film(recipe)


def a_resumed_take(base: Path, dry: bool) -> Row:
    """The take that a process made until it was killed goes on, and is made once more."""
    studio, recipe = studio_of(base, dry)
    kept, windows = len(windows_of(studio)), recipe.take.windows
    studio.film(recipe)
    resumed = windows_of(studio)
    clear(studio)
    studio.film(recipe)
    whole = windows_of(studio)
    same = resumed.keys() == whole.keys() and all(
        torch.equal(resumed[name], latents) for name, latents in whole.items()
    )
    return {
        "what": "a take whose process was killed, queued again",
        "found": f"{kept} of {windows} windows were kept; {'equal' if same else 'not equal'} to "
        f"one that was not killed",
        "should": "some, not all; equal to the bit",
        "ok": same and 0 < kept < windows == len(whole),
    }


def windows_of(studio: Studio) -> dict[str, torch.Tensor]:
    """The latents of each window that is kept, by the name of its file."""
    files = studio.windows().glob("*.safetensors")
    return {file.name: torch.cat([x.flatten() for x in load_file(file).values()]) for file in files}


def config_of(name: str, dry: bool) -> tuple[DiTConfig, tuple[int, int, int]]:
    """Two blocks of a transformer, and the size of its latents."""
    if dry:  # little text, or it would outweigh the video
        return replace(SMALL, frame_levels=DIT_PRESETS[name].frame_levels), (3, 16, 20)
    return replace(DIT_PRESETS[name], depth=2), STEPS[name]


def the_built_in_model(dry: bool) -> Iterator[Row]:
    """Two windows of a video, made twice."""
    import comfy.model_management as mm

    from longtake.engine.canvas.plan import Window
    from longtake.engine.sampling.schedule import sigmas
    from longtake.host.comfyui.conditioning import Prompts
    from longtake.host.comfyui.folders import BUILT_IN
    from longtake.host.comfyui.latent import to_canvas
    from longtake.host.networks import load
    from longtake.host.networks.vae import decode_frames
    from longtake.host.sampling.sample import Sampling, sample

    clip, vae = load.load_text_encoder(BUILT_IN), load.load_vae(BUILT_IN)
    model = load.load_model(BUILT_IN)
    texts = [clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a ball", "")]
    plan = (Window((0, 1, 2)), Window((2, 3, 4), context=1))
    canvas = to_canvas({"samples": torch.zeros(1, 24, 5, 8, 8), "longtake": {"plan": plan}})
    for sampler in ("euler", "lcm"):
        steps = Sampling(sigmas(2 if dry else 8, 5.0), 3, 4.0, sampler)
        videos, seconds = [], []
        for _ in range(2):
            begun = time.monotonic()
            latents = sample(model, Prompts(*texts), canvas, steps)
            videos.append(decode_frames(vae, latents).cpu())
            seconds.append(round(time.monotonic() - begun, 2))
            mm.unload_all_models()
        same = torch.equal(*videos)
        yield {
            "what": f"built-in model, {sampler}, two windows twice",
            "found": f"{'equal' if same else 'not equal'} to the bit; {seconds} s, "
            f"{str(model.model.get_dtype()).removeprefix('torch.')}",
            "should": "equal",
            "ok": same and bool(videos[0].std() > 0.01),
        }


def a_run(name: str, dtype: torch.dtype, dry: bool) -> Row:
    """Two steps of core's KSampler, ours and core's MODEL of the same weights."""
    config, (t, h, w) = config_of(name, dry)
    core, ours = sampling.pair(config, dtype)
    shape = (1, config.out_channels, t, h, w)
    settings = {
        "latent_image": {"samples": torch.zeros(shape)},
        "positive": prompt(ours, 1, tokens=config.text_length),
        "negative": prompt(ours, 2, tokens=config.text_length),
        "steps": 2,
    }
    out, seconds, peaks = {}, {}, {}
    for which, model in (("ours", ours), ("core", core)):
        ksampler(model, **settings)  # sets up
        begun = time.monotonic()
        peaks[which] = peak_of(
            lambda which=which, model=model: out.update({which: ksampler(model, **settings)})
        )
        seconds[which] = (time.monotonic() - begun) / 2
    said = ours.model.memory_required([2, *shape[1:]])
    error = relative_error(out["ours"], out["core"])
    return {
        "what": f"a run, {name}, two blocks, {str(dtype).removeprefix('torch.')}",
        "found": f"{seconds['ours']:.2f} s a step, core {seconds['core']:.2f}; "
        f"{peaks['ours'] / 1e9:.2f} GB beyond what was there, core {peaks['core'] / 1e9:.2f}, "
        f"asked for {said / 1e9:.2f}; off by {error:.1e}",
        "should": f"{in_time(dry)}no more memory than 1.1 x core's, off by 0.05 or less",
        "ok": (dry or seconds["ours"] <= 1.05 * seconds["core"])
        and peaks["ours"] <= 1.1 * peaks["core"]
        and error < 0.05,
        **{f"{which}_s": round(value, 4) for which, value in seconds.items()},
        **{f"{which}_bytes": value for which, value in peaks.items()},
        "asked_bytes": round(said),
        "error": error,
    }


@torch.inference_mode()
def blocks(name: str, dry: bool) -> Row:
    """One call of two blocks: ours, core's and diffusers' network on the same weights."""
    import dit  # and with it diffusers, which takes seconds

    from tests.models.reference import core_dit, diffusers_dit, with_weights_of

    config, size = config_of(name, dry)
    case = dit.Case(config, size, by_frame=config.frame_levels)
    ours = randomised(dit.as_hosted(config), torch.Generator().manual_seed(0))
    networks = [ours, *(with_weights_of(ours, f(config)) for f in (core_dit, diffusers_dit))]
    networks = [network.to(device(), BF16) for network in networks]
    networks[1].patch_embedding.float()  # as core makes it, whatever the rest is
    x, context, levels, by_token = (
        part.to(device(), BF16) for part in dit.inputs(case, torch.Generator().manual_seed(0))
    )
    text = networks[0].read_text(context)
    calls = dit.calls_of(networks[0], text, *networks[1:], x, context, levels, by_token)
    times = medians(calls, 1 if dry else 3, "wall")
    least = {
        who: min((ms for call, ms in times.items() if call.startswith(who)), default=0.0)
        for who in ("ours", "core", "diffusers")
    }
    return {
        "what": f"two blocks, {name}, one prompt",
        "found": ", ".join(f"{who} {ms:.1f} ms" for who, ms in least.items()),
        "should": "all three run" if dry else "ours the least",
        "ok": dry or least["ours"] <= 1.02 * min(least["core"], least["diffusers"]),
        "all_ms": times,
    }


@torch.inference_mode()
def decoding(name: str, dry: bool) -> Row:
    """Three latent frames through a VAE: the most that is held at once, and the time."""
    import comfy.ops

    from longtake.host.networks.layers import layers_from
    from longtake.host.networks.vae import decode_bytes
    from tests.models.reference import core_vae, with_weights_of

    config = replace(VAE_PRESETS[name], width=32, decoder_width=32) if dry else VAE_PRESETS[name]
    # Smaller ones would be outweighed by the weights, which a CPU's kernels put into other orders.
    h, w = (64, 96) if dry else DECODED[name]
    if dry and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return {
            "what": f"decoding, VAE {name} at {w} x {h}",
            "found": "not rehearsed: this CPU has no kernels for 16 bits, and would take minutes",
            "should": "on a card, at most 1.1 x core's memory, and what was asked for",
            "ok": True,
        }
    operations = layers_from(comfy.ops.disable_weight_init)
    ours = WanVAE(config, operations=operations).eval().requires_grad_(False)
    core = with_weights_of(ours, core_vae(config))
    ours, core = (network.to(device(), BF16) for network in (ours, core))
    s = config.stride_hw
    latents = torch.randn(1, config.latent_channels, 3, h // s, w // s).to(device(), BF16)

    def in_pieces() -> None:
        state = None
        for piece in latents.split(1, dim=2):
            _, state = ours.decode_piece(piece, state)

    calls: dict[str, Callable] = {"ours": in_pieces, "core": lambda: core.decode(latents)}
    times = medians(calls, 1 if dry else 3, "wall")
    peaks = {who: peak_of(call) for who, call in calls.items()}
    asked = decode_bytes(config, latents.shape, BF16)
    return {
        "what": f"decoding, VAE {name} at {w} x {h}",
        "found": f"{times['ours']:.0f} ms, core {times['core']:.0f}; {peaks['ours'] / 1e9:.2f} GB, "
        f"core {peaks['core'] / 1e9:.2f}, asked for {asked / 1e9:.2f}",
        "should": f"{in_time(dry)}at most 1.1 x core's memory, and what was asked for",
        "ok": (dry or times["ours"] <= 1.05 * times["core"])
        and peaks["ours"] <= min(1.1 * peaks["core"], 1.05 * asked),
        "all_ms": times,
        **{f"{who}_bytes": value for who, value in peaks.items()},
        "asked_bytes": round(asked),
    }
