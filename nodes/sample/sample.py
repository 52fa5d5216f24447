"""LATENT + prompts + SIGMAS -> a sampled LATENT."""

from comfy_api.latest import io

from ...host.comfyui.conditioning import Prompts
from ...host.comfyui.latent import to_canvas, with_sampled
from ...host.sampling.sample import sampled_canvas
from ..inputs.kinds import verdict
from ..inputs.shared import (
    SAMPLER,
    SEED,
    cfg_input,
    custom_sampler_input,
    found_by,
    read_sampling,
    sampler_input,
)


class Sample(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSample",
            display_name="Sample (Longtake)",
            category="Longtake/Sample",
            **found_by("ksampler, sampler, denoise"),
            description="Samples the video from noise. The same seed gives the same noise on every "
            "machine, and each frame has its own, whatever the video's length.",
            inputs=[
                io.Model.Input("model", tooltip="A video model, with or without LoRAs."),
                io.Conditioning.Input("positive", tooltip="What the video should show."),
                io.Conditioning.Input(
                    "negative",
                    tooltip="What it should not show. An empty prompt for the built-in model.",
                ),
                io.Latent.Input(
                    "latent",
                    tooltip="The canvas. Frames marked as known in its mask come back unchanged.",
                ),
                io.Sigmas.Input("sigmas", tooltip="The noise levels, from Schedule."),
                SEED.widget("Another number gives another video; the same gives the same."),
                cfg_input(),
                sampler_input(),
                custom_sampler_input(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="For Decode, or core's VAEDecode.")
            ],
        )

    @classmethod
    def validate_inputs(cls, sampler=None) -> bool | str:
        return verdict((SAMPLER.read, sampler))

    @classmethod
    def execute(
        cls,
        model,
        positive,
        negative,
        latent,
        sigmas,
        seed: int,
        cfg: float,
        sampler: str,
        custom_sampler=None,
    ) -> io.NodeOutput:
        sampling = read_sampling(model, sigmas, seed, cfg, sampler, custom_sampler)
        canvas = sampled_canvas(model, Prompts(positive, negative), to_canvas(latent), sampling)
        return io.NodeOutput(with_sampled(latent, canvas))
