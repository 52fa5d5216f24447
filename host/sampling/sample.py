"""Sampling: core's samplers on our noise, with known frames returned exactly."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite

import comfy.model_management as mm
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.canvas.masked import MaskedLatents
from ...engine.canvas.noise import WindowNoise, check_seed
from ...engine.canvas.plan import Window
from ...engine.canvas.sound_track import SoundNoise, SoundTrack
from ...engine.sampling.host_presets import grid_like
from ...engine.sampling.loop import sampled
from ...models.errors import InputError, NoPictureError, NotFiniteError
from ..comfyui.conditioning import Prompts
from ..comfyui.latent import are_a_videos, largest_of
from ..comfyui.nested import Noise, joint_mask, mask_as, nested, row, streams_of
from ..comfyui.node_text import show_text
from ..comfyui.progress import Playback, check_cancelled, step_callback
from ..networks.patching import described_changes
from ..networks.settings import host_family_of
from ..networks.transformer import config_of, refuse_broken_weights
from .calls import Calls, calls_for, keep_to
from .camera import for_window, with_rays
from .driven import road_for
from .experts import experts_of
from .fit import check_fit, check_guides, check_lengths
from .guides import guides_for
from .image_channels import with_channels
from .keyframes import mend_masks
from .room import check_step
from .routes import Route, check_regions, missing_vision, pins_for, route_of, unknown_model
from .step_noise import with_step_noise
from .vace import followed, led_windows

FULL = 0.99  # noise levels from here up leave nothing of what was there before
FAR = 2**31  # before a video's first frame, where the noise of what stands after its last begins
SAMPLERS: tuple[str, ...] = tuple(comfy.samplers.SAMPLER_NAMES)


@dataclass(frozen=True, eq=False)
class Sampling:
    """How noise becomes a video.

    Attributes:
        sigmas: (steps + 1,) decreasing noise levels. They are not changed.
        seed: 0 … 2⁶⁴ - 1.
        cfg: how far to go from the negative prompt to the positive one and beyond; 1 leaves the
            negative out.
        sampler: one of SAMPLERS, or core's SAMPLER.

    Raises:
        InputError: for what is none of these.
    """

    sigmas: Tensor
    seed: int
    cfg: float
    sampler: str | comfy.samplers.Sampler = "euler"

    def __post_init__(self):
        check_seed(self.seed)
        if isinstance(self.sampler, str) and self.sampler not in SAMPLERS:
            raise InputError(
                f"there is no sampler {self.sampler!r}: choose from {', '.join(SAMPLERS)}."
            )
        levels = self.sigmas
        if levels.ndim != 1 or len(levels) < 2 or not (levels.diff() < 0).all():
            raise InputError(
                f"SIGMAS must be two or more numbers that decrease, got "
                f"{[round(s, 4) for s in levels.flatten().tolist()[:4]]} of shape "
                f"{tuple(levels.shape)}: connect the Schedule node."
            )
        if not abs(self.cfg) <= 1000:  # also false for NaN
            raise InputError(f"cfg {self.cfg}: choose a number around 1 to 10.")

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @property
    def name(self) -> str:
        """The sampler, in words."""
        return self.sampler if isinstance(self.sampler, str) else "the connected sampler"

    def solver(self) -> comfy.samplers.Sampler:
        """Core's object of the sampler."""
        if isinstance(self.sampler, str):
            return comfy.samplers.sampler_object(self.sampler)
        return self.sampler


def sample(model: ModelPatcher, prompts: Prompts, canvas: Canvas, sampling: Sampling) -> Tensor:
    """The pictures of `sampled_canvas`: (b, c, t, h, w) float32."""
    return sampled_canvas(model, prompts, canvas, sampling).video.latents


def sampled_canvas(
    model: ModelPatcher, prompts: Prompts, canvas: Canvas, sampling: Sampling
) -> Canvas:
    """Sample all that is not known of a canvas, window by window.

    Args:
        model: any MODEL for videos, ours or core's. One that makes sound, too, makes it for a
            canvas that has none.
        canvas: what its mask keeps comes back bit for bit.

    Returns:
        The canvas, (b, c, t, h, w) float32 of pictures and what sound belongs to them.

    Raises:
        InputError: for anything that does not fit together, before weights are moved.
        NotFiniteError: for NaN or infinite latents.
    """
    canvas = followed(model, canvas)
    latents = canvas.video.latents
    if canvas.fps is None and canvas.sound is None:  # core has one empty LATENT for many models
        latents = streams_of(comfy.sample.fix_empty_latent_channels(model, latents))[0]
    track, pins = sound_for(model, canvas), pins_for(canvas, model)
    b, c, t, h, w = latents.shape
    road, lead = road_for(model, pins, canvas.guidance, t, canvas.kept)
    looked_at(model, prompts, canvas, latents, sampling, lead)
    prompts = with_rate(prompts, model, canvas.fps)
    # Only checkpoints that read pixels can be shown that a latent frame is known in part.
    video = MaskedLatents(latents, canvas.video.mask).without(sorted(pins.partly) if pins else ())
    in_channels = pins and road is None and route_of(model) is Route.IMAGE_CHANNELS
    channels = pins.channels(range(t)) if in_channels else None
    vision = canvas.pins and canvas.pins.clip_vision
    guides = guides_for(model, pins)
    out = latents.to(mm.intermediate_device(), torch.float32, copy=True)
    with Playback(sampling.steps * len(canvas.windows)) as playback:

        def new_frames(window: Window, part: MaskedLatents) -> Tensor:
            nonlocal track
            playback.begin(canvas.windows.index(window) * sampling.steps)
            shown = for_window(prompts.from_frame(window.frames[0], t), window.frames)
            if road is None:
                own_channels = channels and channels.at(window.frames)
                shown = with_channels(model, shown, own_channels, part, window.frames, vision)
            else:
                shown = road.beside(window.frames, shown, part)
            own = WindowNoise([(sampling.seed, k) for k in window.frames], (c, h, w), b)
            heard, fresh = track and track.at(window.frames), canvas.noise is None
            shown, beside = guides.beside(window.frames, shown) if guides else (shown, None)
            pictures, sound = run(
                model, shown, part, own, sampling, playback, heard, beside, fresh=fresh, lead=lead
            )
            track = track and track.with_new(window.frames, window.new, sound)
            return pictures[:, :, window.context :]

        for window, new in sampled(video, canvas.windows, new_frames):
            out[:, :, list(window.new)] = new.to(out)
    video, left = MaskedLatents(finite(out, model, sampling)), float(sampling.sigmas[-1]) or None
    return replace(canvas, video=video, sound=finite_sound(track, model, sampling), noise=left)


def looked_at(
    model: ModelPatcher,
    prompts: Prompts,
    canvas: Canvas,
    latents: Tensor,
    sampling: Sampling,
    lead: int,
) -> None:
    """Refuse what does not fit together, and say on the node what there is to say.

    Args:
        latents: the canvas's, (b, c, t, h, w), with the channels that the MODEL has.
        lead: latent frames that stand in front of each window.
    """
    check_fit(model, prompts, latents)
    check_lengths(model, latents.shape[1], canvas.windows)
    check_regions(model, canvas.video)
    longest = max(len(window.frames) for window in canvas.windows) + lead
    b, c, _, h, w = latents.shape
    regions = canvas.video.has_regions
    check_step(model, (b, c, longest, h, w), *cfgs_of(model, sampling), regions=regions)
    check_noise(canvas, sampling)
    pins = pins_for(canvas, model)
    vision = missing_vision(config_of(model), prompts.positive, pins and pins.clip_vision)
    guides = check_guides(model, canvas, prompts)
    silence = begun_in_silence(canvas, model, sampling)
    notes = [*canvas.notes, vision, guides, silence, unknown_model(model, canvas.video)]
    if any(notes):
        show_text("\n".join(filter(None, notes)))


def begun_in_silence(canvas: Canvas, model: ModelPatcher, sampling: Sampling) -> str:
    """What to say of pictures that are begun from a clip, and sound beside them from nothing."""
    track, begin = canvas.sound, float(sampling.sigmas[0])
    family = host_family_of(model)
    makes, given = family is not None and family.sound, track is not None and track.latents.any()
    if not makes or given or begin >= FULL or canvas.noise is not None:
        return ""
    return (
        f"the sound is begun from silence at a noise level of {begin:.2g}\n"
        f"connect audio_vae to Remix, and the clip's own stays"
    )


def sound_for(model: ModelPatcher, canvas: Canvas) -> SoundTrack | None:
    """The sound that is sampled with a canvas's pictures; None where the MODEL makes none.

    Raises:
        InputError: for a canvas with sound, where it makes none or of another kind.
    """
    family = host_family_of(model)
    layout = family and family.sound
    if canvas.sound is None and layout is None:
        return None
    if layout is None or (canvas.sound is not None and canvas.sound.layout != layout):
        name = family.title if family else type(model.model).__name__
        raise InputError(
            f"the canvas has sound, and this model ({name}) makes "
            f"{'none' if layout is None else 'another kind'}: connect one that does, or take the "
            f"pictures alone with core's LTXVSeparateAVLatent."
        )
    if canvas.sound is None:
        grid = grid_like(canvas.video.latents.shape[1], with_sound=True)
        fps = canvas.fps or Fraction(family.settings.fps)
        return SoundTrack.beside(canvas.video.latents, grid, layout, fps)
    return canvas.sound


def finite_sound(
    track: SoundTrack | None, model: ModelPatcher, sampling: Sampling
) -> SoundTrack | None:
    """The sound itself, as `finite`; says where known pictures have none, and none was made."""
    if track is not None:
        finite(track.latents, model, sampling, " of sound")
        if missing := int((track.to_sample > 0).sum()):
            seconds = f"{missing / track.layout.rate:.3g} s"
            show_text(
                f"{seconds} of known frames have no sound: Pin Audio, before Sample, adds it\n"
                f"audio_vae on the node that took the clip keeps its own"
            )
    return track


def run(
    model: ModelPatcher,
    prompts: Prompts,
    part: MaskedLatents,
    noise: WindowNoise,
    sampling: Sampling,
    playback: Playback,
    sound: SoundTrack | None = None,
    beside: MaskedLatents | None = None,
    *,
    fresh: bool = True,
    lead: int = 0,
) -> tuple[Tensor, Tensor | None]:
    """One run of core's guider and sampler, what is known to the bit.

    Args:
        sound: that is sampled with the pictures.
        beside: latents that the model is shown after those of the video, see `guides`.
        fresh: the run begins with noise; else with what noise is in the latents, as core's
            DisableNoise has it. What is known gets noise of its level in any case.
        lead: latent frames that are sampled in front of the video, and left out of what comes back.

    Returns:
        (b, c, t, h, w) of pictures; and of the sound, where there is some to be sampled.
    """
    t, of_frames = part.latents.shape[2], noise.frames
    if lead:
        part, noise = part.led_by(lead), noise.led_by(lead)
    if beside is not None:
        part, count = part.followed_by(beside), beside.latents.shape[2]
        far = [(sampling.seed, number - FAR) for number in range(count)]
        noise = replace(noise, frames=[*noise.frames, *far])
    noises, streams = [noise], [part.latents]
    if sound is not None:
        streams.append(sound.latents)
        noises.append(SoundNoise(of_frames, sound.layout, sound.ticks, noise.videos))
    shapes, both = [tuple(x.shape) for x in streams], Noise(*noises)
    masks = [part.mask, None if sound is None or sound.mask is None else mask_as(sound)]
    first = both.at_first(check_cancelled)
    if not fresh:
        first = nested(
            [only_known(*those) for those in zip(streams_of(first), masks, strict=False)]
        )
    prompts, shape = with_rays(prompts, part.latents.shape), tuple(row(streams).shape)
    guider = guider_for(led_windows(model, lead), prompts, sampling, shape)
    out = guider.sample(
        first,
        nested(streams),
        with_step_noise(sampling.solver(), both),
        sampling.sigmas.clone(),  # uni_pc writes into them
        denoise_mask=joint_mask(part, sound),
        callback=step_callback(model, playback, shapes),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=sampling.seed,
    )
    made = [stream.to(mm.intermediate_device()) for stream in streams_of(out)]
    kept = [put_back(*those) for those in zip(made, streams, masks, strict=False)]
    return kept[0][:, :, lead : lead + t], kept[1] if sound is not None else None


def guider_for(
    model: ModelPatcher, prompts: Prompts, sampling: Sampling, shape: tuple[int, ...]
) -> comfy.samplers.CFGGuider:
    """Core's guider for a run on latents of `shape`, as core's samplers carry them."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(*prompts)
    guider.set_cfg(sampling.cfg)
    keep_to(guider, planned_calls(model, shape, sampling))
    mend_masks(model, guider.model_options)
    return guider


def only_known(noise: Tensor, mask: Tensor | None) -> Tensor:
    """Noise where a mask keeps what is known, zeros elsewhere."""
    return torch.zeros_like(noise) if mask is None else noise * (mask == 0).to(noise)


def put_back(out: Tensor, known: Tensor, mask: Tensor | None) -> Tensor:
    """What was sampled, with what is known as it was: scaling in and out rounds it."""
    return out if mask is None else torch.where(mask.to(out.device) == 0, known.to(out), out)


def check_noise(canvas: Canvas, sampling: Sampling) -> None:
    """Refuse SIGMAS that do not fit what a canvas has been through.

    Raises:
        InputError: for half of them where windows go on from finished ones, or others than those
            that were broken off.
    """
    begin, end, left = float(sampling.sigmas[0]), float(sampling.sigmas[-1]), canvas.noise
    if (end > 0 or left is not None) and len(canvas.windows) > 1:
        raise InputError(
            f"this canvas is sampled in {len(canvas.windows)} windows, each of which goes on from "
            f"a finished one: sample it with all SIGMAS at once, down to 0."
        )
    if left is None:
        return
    if abs(begin - left) > 1e-4 * max(1.0, left):
        raise InputError(
            f"the LATENT was sampled down to a noise level of {left:.4g}, and SIGMAS begin at "
            f"{begin:.4g}: connect the rest of those it was sampled with, as SplitSigmas gives it."
        )
    mask = canvas.video.mask
    if mask is not None and not ((mask == 0) | (mask == 1)).all():
        raise InputError(
            "a mask that keeps a part of the latents cannot be sampled in two halves: sample it "
            "with all SIGMAS at once."
        )


def planned_calls(model: ModelPatcher, shape: tuple[int, ...], sampling: Sampling) -> Calls:
    """How many prompts a call of the model takes, in a run on latents of `shape`."""
    return calls_for(model, shape, *cfgs_of(model, sampling))


def cfgs_of(model: ModelPatcher, sampling: Sampling) -> list[float]:
    """Each cfg of a run: one, or that of either expert."""
    both = experts_of(model)
    return [sampling.cfg, *([both.cfg_low] if both else [])]


def with_rate(prompts: Prompts, model: ModelPatcher, fps: Fraction | None) -> Prompts:
    """Both prompts with the frame rate, for models that read it; one that is there stays."""
    config, family = config_of(model), host_family_of(model)
    reads = config.frame_rates if config else family is not None and family.reads_rate
    if not reads or not fps:
        return prompts
    return prompts.with_values({"frame_rate": float(fps)})  # as core's LTXVConditioning names it


def finite(latents: Tensor, model: ModelPatcher, sampling: Sampling, which: str = "") -> Tensor:
    """The latents themselves.

    Args:
        which: of a longer video they are.

    Raises:
        CheckpointError: if they are not finite because the weights are not.
        NotFiniteError: if they are not finite for another cause, such as a LoRA.
        NoPictureError: if they are far larger than those of any video.
    """
    if are_a_videos(latents):
        return latents
    largest = largest_of(latents)
    refuse_broken_weights(model)
    what = f"latents up to {largest:.2g}" if isfinite(largest) else "NaN or infinite latents"
    patches = f"try it without {changes}; " if (changes := described_changes(model)) else ""
    raise (NoPictureError if isfinite(largest) else NotFiniteError)(
        f"sampling gave {what}{which} at cfg {sampling.cfg} with {sampling.name}: {patches}"
        f"lower cfg, take more steps, or load the model in bf16 or fp32."
    )
