"""All there is to find out on a card, in ten minutes, without weights: a page to paste, and JSON.

Each way in which ComfyUI can be told to use a card is tried in a process of its own. In it the
built-in model makes the same video twice, its weights having been off the card between; two blocks
of Wan's transformers with random weights sample, ours and core's; in the first one, blocks and VAEs
are timed against core's and diffusers', and what each holds at most is compared with what the host
was asked for. A row says what should be; where it is not so, that is what to report.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace

import dit
import forecast
import sampling
import torch
from _measure import device, import_core, machine, medians

from longtake.models.wan.config import DIT_PRESETS, VAE_PRESETS, DiTConfig
from longtake.models.wan.vae import WanVAE
from tests.host.runs import ksampler, prompt
from tests.models.reference import core_dit, core_vae, diffusers_dit, with_weights_of
from tests.models.tiny import randomised, relative_error

MODES = {  # ComfyUI's options
    "as it is": (),
    "without dynamic VRAM": ("--disable-dynamic-vram",),
    "low VRAM": ("--lowvram",),
    "GPU only": ("--gpu-only",),
    "fp8 products": ("--fast", "fp8_matrix_mult"),
}
LONGEST = 300  # seconds of a mode
STEPS = {"1.3b": (21, 60, 104), "5b": (31, 44, 80), "14b-t2v": (21, 60, 104)}  # latent t, h, w
DECODED = {"2.1": (480, 832), "2.2": (704, 1280)}
BF16, FP8 = torch.bfloat16, torch.float8_e4m3fn
SMALL = DiTConfig(width=256, depth=2, heads=2, mlp_width=512)
Row = dict[str, object]


def config_of(name: str, dry: bool) -> tuple[DiTConfig, tuple[int, int, int]]:
    """Two blocks of a transformer, and the size of its latents."""
    if dry:
        return replace(SMALL, frame_levels=DIT_PRESETS[name].frame_levels), (3, 8, 10)
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
        peaks[which] = forecast.peak_of(
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
        "should": "no slower than core, no more memory than 1.1 x core's",
        "ok": seconds["ours"] <= 1.05 * seconds["core"] and peaks["ours"] <= 1.1 * peaks["core"],
        **{f"{which}_s": round(value, 4) for which, value in seconds.items()},
        **{f"{which}_bytes": value for which, value in peaks.items()},
        "asked_bytes": round(said),
        "error": error,
    }


@torch.inference_mode()
def blocks(name: str, dry: bool) -> Row:
    """One call of two blocks: ours, core's and diffusers' network on the same weights."""
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
        "should": "ours the least",
        "ok": least["ours"] <= 1.02 * min(least["core"], least["diffusers"]),
        "all_ms": times,
    }


@torch.inference_mode()
def decoding(name: str, dry: bool) -> Row:
    """Three latent frames through a VAE: the most that is held at once, and the time."""
    import comfy.ops

    from longtake.host.networks.layers import layers_from
    from longtake.host.networks.vae import decode_bytes

    config = replace(VAE_PRESETS[name], width=32, decoder_width=32) if dry else VAE_PRESETS[name]
    h, w = (32, 48) if dry else DECODED[name]
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
    peaks = {who: forecast.peak_of(call) for who, call in calls.items()}
    asked = decode_bytes(config, latents.shape, BF16)
    return {
        "what": f"decoding, VAE {name} at {w} x {h}",
        "found": f"{times['ours']:.0f} ms, core {times['core']:.0f}; {peaks['ours'] / 1e9:.2f} GB, "
        f"core {peaks['core'] / 1e9:.2f}, asked for {asked / 1e9:.2f}",
        "should": "no slower than core, at most 1.1 x core's memory, and what was asked for",
        "ok": times["ours"] <= 1.05 * times["core"]
        and peaks["ours"] <= min(1.1 * peaks["core"], 1.05 * asked),
        "all_ms": times,
        **{f"{who}_bytes": value for who, value in peaks.items()},
        "asked_bytes": round(asked),
    }


def rows_of(mode: str, dry: bool) -> Iterator[Row]:
    """Everything that is tried in a mode; what fails is a row, too."""
    checks: list[Callable[[], Row]] = []
    if mode == "fp8 products":
        checks += [lambda: a_run("14b-t2v", FP8, dry)]
    else:
        checks += [lambda name=name: a_run(name, BF16, dry) for name in STEPS]
    if mode == "as it is":
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


def in_a_process(mode: str, dry: bool) -> list[Row]:
    """The rows of a mode, in a ComfyUI of its own."""
    command = [sys.executable, __file__, "--mode", mode, *(["--dry"] if dry else [])]
    print(f"{mode} ...", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return [{"what": "all of it", "found": f"not done after {LONGEST} s", "ok": False}]
    if done.returncode == 2:  # argparse's
        found = "not tried: this ComfyUI takes no such option on this machine"
        return [{"what": "all of it", "found": found, "ok": True}]
    if done.returncode:
        found = f"ended with status {done.returncode}; the reason is above"
        return [{"what": "all of it", "found": found, "ok": False}]
    return json.loads(done.stdout.splitlines()[-1])


def page(facts: dict, found: dict[str, list[Row]]) -> str:
    """What a person pastes into an issue."""
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    for mode, rows in found.items():
        lines += [f"**{mode}** `{' '.join(MODES[mode])}`", "", "| | what | found | should be |"]
        lines += ["|---|---|---|---|"]
        lines += [
            f"| {'ok' if row['ok'] else '**no**'} | {row['what']} | {row['found']} | "
            f"{row.get('should', '')} |"
            for row in rows
        ]
        lines.append("")
    return "\n".join(lines)


def facts() -> dict[str, object]:
    from environment import comfyui_folder

    version = (comfyui_folder() / "comfyui_version.py").read_text().split('"')[1]
    memory = 0.0
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return {**machine(), "card_gib": round(memory, 1), "comfyui": version, "system": sys.platform}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--dry", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        import_core(*MODES[options.mode])
        print(json.dumps(list(rows_of(options.mode, options.dry))))
        return
    found = {mode: in_a_process(mode, options.dry) for mode in options.modes}
    print(page(facts(), found))
    print(json.dumps({**facts(), "dry": options.dry, "modes": found}))


if __name__ == "__main__":
    main()
