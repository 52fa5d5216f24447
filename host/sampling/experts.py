"""Two experts in one sampling run: one denoises at high noise, the other takes over at low noise.

Wan 2.2 A14B is two transformers. Core samples them one after the other, in two runs, by which
known frames are lost: the second run takes the half-denoised latents for clean ones. Here the run
is one and the network changes inside it, so that masks, samplers that remember earlier steps,
callbacks and progress know nothing of it. The experts travel as a MODEL: the high-noise one with
wrappers around its run, which core's samplers and ours call alike.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.hooks
import comfy.model_management as mm
import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from torch import Tensor

from ...engine.canvas.canvas import Canvas
from ...engine.sampling.presets import expert_of
from ...models.errors import InputError
from ..comfyui.conditioning import Prompts
from ..comfyui.node_text import show_text
from ..networks.patching import forget_text
from ..networks.settings import EXPERTS, settings_for, settings_of
from ..networks.transformer import network_of
from . import calls
from .driven import road_for
from .image_channels import with_channels
from .routes import pins_for
from .vace import followed

KEY = EXPERTS
BOUNDARY = {False: 0.875, True: 0.9}  # by whether the checkpoint takes an image
CLOSE = 1e-6  # noise levels are float32, in which 0.9 is a little less


@dataclass(frozen=True)
class Experts:
    """The low-noise expert, and when and how it is asked."""

    low: ModelPatcher
    boundary: float
    cfg_high: float
    cfg_low: float


def pair(
    high: ModelPatcher, low: ModelPatcher, boundary: float, cfg_high: float, cfg_low: float
) -> ModelPatcher:
    """The high-noise expert as a MODEL that gives way to the low-noise one inside a run.

    Args:
        high, low: MODELs with their own LoRAs.
        boundary: noise level below which `low` is asked; 0 is what they were made for.
        cfg_high, cfg_low: how strongly prompts are followed; 0 is what they were made for.

    Raises:
        InputError: if they do not belong together.
    """
    check_pair(high, low)
    settings = settings_of(high, pair=True)
    made_for = (settings and settings.boundary) or BOUNDARY[takes_image(high)]
    cfg_high = cfg_high or (settings.cfg if settings else 3.5)
    cfg_low = cfg_low or ((settings and settings.cfg_low) or cfg_high)
    both = high.clone()
    experts = Experts(low, boundary or made_for, cfg_high, cfg_low)
    both.attachments[KEY] = experts
    both.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, around_run(experts))
    both.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, ask_the_right_one)
    return both


def experts_of(model: ModelPatcher) -> Experts | None:
    """The experts in a MODEL from `pair`; None in any other."""
    return model.attachments.get(KEY)


def cfg_for(model: ModelPatcher) -> float:
    """What a cfg of 0 stands for: what the checkpoint, or the high-noise expert, was made for."""
    experts = experts_of(model)
    return experts.cfg_high if experts else settings_for(model, "cfg 0").cfg


def guider(
    model: ModelPatcher, prompts: Prompts, canvas: Canvas | None = None
) -> comfy.samplers.CFGGuider:
    """A GUIDER for core's SamplerCustomAdvanced, of a MODEL from `pair`.

    Args:
        canvas: what will be sampled, of which core passes on no pinned pixels; without it an I2V
            checkpoint is shown what the mask keeps as latents.
    """
    if canvas is not None:
        prompts = _beside(model, prompts, canvas)
    made = comfy.samplers.CFGGuider(model)
    made.set_conds(*prompts)
    made.set_cfg(experts_of(model).cfg_high)
    return made


def _beside(model: ModelPatcher, prompts: Prompts, canvas: Canvas) -> Prompts:
    """Both prompts with what is shown beside a canvas as a whole."""
    canvas = followed(model, canvas)
    frames, pins = range(canvas.video.latents.shape[2]), pins_for(canvas, model)
    road, lead = road_for(model, pins, canvas.guidance, len(frames), canvas.kept)
    if lead:
        raise InputError(
            f"{lead} latent frames of references stand in front of the canvas, which core's "
            f"samplers do not know: connect the canvas to Sample or Long Take."
        )
    if road is not None:
        return road.beside(frames, prompts, canvas.video)
    channels, vision = pins.channels(frames) if pins else None, canvas.pins
    vision = vision and vision.clip_vision
    return with_channels(model, prompts, channels, canvas.video, frames, vision)


def check_pair(high: ModelPatcher, low: ModelPatcher) -> None:
    """Refuse models that do not make one video together, and experts in each other's place."""
    a, b = inputs_of(high), inputs_of(low)
    if a != b:
        raise InputError(
            f"the experts do not match: high takes {a[0]} channels and gives {a[1]} "
            f"({source_of(high)}), low {b[0]} and {b[1]} ({source_of(low)}). Load the two halves "
            f"of one checkpoint, such as wan2.2_t2v_high_noise and wan2.2_t2v_low_noise."
        )
    families = [network and network.family.title for network in map(network_of, (high, low))]
    if None not in families and families[0] != families[1]:
        raise InputError(
            f"the experts do not match: high is {families[0]} ({source_of(high)}), low is "
            f"{families[1]} ({source_of(low)}). Load the two halves of one checkpoint; if their "
            f"files are named misleadingly, set family in LoadModel."
        )
    named = [expert_of(source_of(model)) for model in (high, low)]
    if named[0] != named[1] and (named[0] == "low" or named[1] == "high"):
        raise InputError(
            f"the experts are in each other's place: high is {source_of(high)}, low is "
            f"{source_of(low)}. Exchange them."
        )
    if named[0] is not None and named[0] == named[1]:
        raise InputError(
            f"both experts are the {named[0]}-noise half, {source_of(high)} and {source_of(low)}: "
            f"load the other half as {'low' if named[0] == 'high' else 'high'}."
        )


def inputs_of(model: ModelPatcher) -> tuple[int, int]:
    """Channels that a MODEL takes and gives. Raises InputError if it is no model for videos."""
    network = model.model.diffusion_model
    patch = getattr(network, "patch_embedding", None)
    if getattr(patch, "weight", torch.empty(0)).ndim != 5:
        raise InputError(
            f"{source_of(model)} is no video model of the Wan family: load both experts with "
            f"LoadModel, or core's UNETLoader."
        )
    return patch.weight.shape[1], model.model.latent_format.latent_channels


def takes_image(model: ModelPatcher) -> bool:
    taken, given = inputs_of(model)
    return taken > given


def source_of(model: ModelPatcher) -> str:
    """The file a MODEL is from, or its class if that is not known."""
    network = network_of(model)
    return f"'{network.source}'" if network else f"core's {type(model.model).__name__}"


@dataclass
class Run:
    """One sampling run of two experts.

    Attributes:
        experts: what was asked for.
        guider: core's, which holds the high-noise expert and the prompts.
        noise, latent, mask: as core's sampler got them.
        sigmas: (steps + 1,) noise levels.
        seed: the run's.
        at_low: which expert is the one loaded.
    """

    experts: Experts
    guider: comfy.samplers.CFGGuider
    noise: Tensor
    latent: Tensor
    mask: Tensor | None
    sigmas: Tensor
    seed: int | None
    at_low: bool = False
    low: tuple | None = field(default=None, repr=False)  # (network, prompts, options, helpers)

    def predict(self, executor: Callable, x: Tensor, sigma: Tensor, options: dict, seed: Any):
        """What one of the experts takes the clean video to be, at noise level `sigma`."""
        low = float(sigma.max()) < self.experts.boundary - CLOSE
        if low != self.at_low:
            self.change(low, options)
        if not low:
            return executor(x, sigma, options, seed)
        inner, prompts, own, _ = self.low
        return comfy.samplers.sampling_function(
            inner,
            x,
            sigma,
            prompts.get("negative"),
            prompts.get("positive"),
            self.experts.cfg_low,
            model_options=own,
            seed=seed,
        )

    def change(self, low: bool, options: dict) -> None:
        """Put the other expert on the device; the host makes room for it as it sees fit."""
        forget_text(self.guider.model_patcher if low else self.experts.low)
        if low and self.low is None:
            self.enter_low(options)
        else:  # some samplers come back to a higher level
            model = self.experts.low if low else self.guider.model_patcher
            mm.load_models_gpu([model], memory_required=self.needed(model))
            model.pre_run()
        self.at_low = low

    def needed(self, model: ModelPatcher) -> float:
        """Bytes that a step of an expert needs with the run's prompts, besides its weights."""
        shape, prompts = self.noise.shape, self.guider.original_conds
        return comfy.sampler_helpers.estimate_memory(model, shape, prompts)[0]

    def enter_low(self, options: dict) -> None:
        """What core's guider does for its model at the start of a run, for the second one."""
        low, helpers = self.experts.low, comfy.sampler_helpers
        prompts = {name: [p.copy() for p in c] for name, c in self.guider.original_conds.items()}
        comfy.samplers.preprocess_conds_hooks(prompts)
        own = comfy.model_patcher.create_model_options_clone(low.model_options)
        self.calls_as_planned(own)
        helpers.prepare_model_patcher(low, prompts, own)
        comfy.samplers.filter_registered_hooks_on_conds(prompts, own)
        shape, device = self.noise.shape, low.load_device
        inner, prompts, loaded = helpers.prepare_sampling(low, shape, prompts, own)
        comfy.samplers.cast_to_load_options(own, device=device, dtype=low.model_dtype())
        low.pre_run()
        prompts = comfy.samplers.process_conds(
            inner,
            self.noise,
            prompts,
            device,
            self.latent,
            self.mask,
            self.seed,
            latent_shapes=[self.latent.shape],
        )
        own["transformer_options"]["sample_sigmas"] = options["transformer_options"][
            "sample_sigmas"
        ]
        self.low = inner, prompts, own, loaded

    def calls_as_planned(self, options: dict[str, Any]) -> None:
        """Have the second expert take as many prompts in a call as the first one."""
        planned = self.guider.model_options.get("transformer_options", {}).get("wrappers", {})
        for where, by_key in planned.items():
            for what in by_key.get(calls.KEY, ()):
                add_wrapper_with_key(where, calls.KEY, what, options, is_model_options=True)

    def leave(self) -> None:
        """After the run, however it ended."""
        if self.low is not None:
            _, prompts, own, loaded = self.low
            self.experts.low.cleanup()
            comfy.sampler_helpers.cleanup_models(prompts, loaded)
            comfy.samplers.cast_to_load_options(own, device=self.experts.low.offload_device)
            self.experts.low.restore_hook_patches()


def around_run(experts: Experts) -> Callable:
    """A wrapper around core's sampler, which has everything that the second expert needs."""

    def wrapper(executor, model, sigmas, extra_args, callback, noise, *rest):
        latent, mask = rest[0], rest[1]
        run = Run(
            fit_for(experts, model.original_conds),
            model,
            noise,
            latent,
            mask,
            sigmas,
            extra_args.get("seed"),
        )
        extra_args["model_options"]["transformer_options"][KEY] = run
        show_text(plan(experts, sigmas))
        with Prefetch(run.experts.low, run):
            try:
                return executor(model, sigmas, extra_args, callback, noise, *rest)
            finally:
                run.leave()

    return wrapper


def fit_for(experts: Experts, prompts: dict[str, list]) -> Experts:
    """Experts that can sample these prompts.

    LoRAs on hooks need weights that stay where they are: the host's guider exchanges its own MODEL
    for one without dynamic VRAM, and here that is done for the second.
    """
    hooks = comfy.hooks.HookGroup()
    for conds in prompts.values():
        comfy.sampler_helpers.get_hooks_from_cond(conds, hooks)
    delegate = getattr(experts.low, "get_non_dynamic_delegate", None)
    return replace(experts, low=delegate()) if len(hooks) and delegate else experts


def ask_the_right_one(executor, x, timestep, model_options, seed):
    run = model_options["transformer_options"][KEY]
    return run.predict(executor, x, timestep, model_options, seed)


def plan(experts: Experts, sigmas: Tensor) -> str:
    """How the steps are shared out, for the node that samples."""
    steps, high = len(sigmas) - 1, high_steps(sigmas, experts.boundary)
    return (
        f"{high} steps by the high-noise expert, {steps - high} by the low-noise one, from "
        f"{experts.boundary:g} down"
    )


def high_steps(sigmas: Tensor, boundary: float) -> int:
    """How many of the steps begin at or above the boundary."""
    return int((sigmas[:-1] >= boundary - CLOSE).sum())


class Prefetch:
    """Gets the second expert ready while the first one works, where memory allows.

    With room for both on the device it is loaded there before the first step. Otherwise, if RAM
    has room, a thread reads its file once, so that the change waits for no disk.
    """

    def __init__(self, model: ModelPatcher, run: Run):
        self._model, self._run = model, run
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Prefetch":
        model, high = self._model, self._run.guider.model_patcher
        if model.is_clone(high):
            return self  # one network with two sets of LoRAs: there is nothing to fetch
        needed = self._run.needed(model) + mm.minimum_inference_memory()
        size, device = model.model_size(), model.load_device
        if not mm.is_device_cpu(device) and mm.get_free_memory(device) > size + needed:
            mm.load_models_gpu([high, model], memory_required=needed)
        elif mm.get_free_memory(torch.device("cpu")) > size:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _read(self) -> None:
        for weight in list(self._model.model.parameters()):
            if self._stop.is_set():
                return
            if weight.device.type == "cpu":
                touch(weight.data)


def touch(weight: Tensor) -> None:
    """Look at one byte of every page of a tensor, which brings it in from the disk."""
    if weight.is_contiguous():
        weight.view(-1).view(torch.uint8)[::4096].sum()
