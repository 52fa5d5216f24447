"""Steps, shift, curve -> SIGMAS."""

from comfy_api.latest import io

from ...engine.sampling.schedule import CURVES, MAX_STEPS, SHIFTS
from ...host.comfyui.node_text import show_text
from ...host.sampling.levels import levels_for
from ..inputs.kinds import Choice, Number, Whole, verdict
from ..inputs.shared import found_by

STEPS = Whole("steps", 0, MAX_STEPS, default=24)
SHIFT = Number("shift", 0.0, SHIFTS[1], default=0.0, step=0.05)
CURVE = Choice("curve", tuple(CURVES), default="linear")
DENOISE = Number("denoise", 0.01, 1.0, default=1.0, step=0.01)


class Schedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSchedule",
            display_name="Schedule (Longtake)",
            category="Longtake/Sample",
            **found_by("basic scheduler, sigmas, shift, steps"),
            description="The noise levels that Sample steps through from noise to video.",
            inputs=[
                io.Model.Input("model", tooltip="The model they are for; it decides the shift."),
                STEPS.widget(
                    "How many denoising steps. More is slower and, up to a point, better: 24 for "
                    "the built-in model, 20 to 50 for Wan. 0: what the checkpoint was trained for; "
                    "few-step models then get exactly the levels they were distilled at."
                ),
                SHIFT.widget(
                    "0: what the checkpoint was trained for at this size (the node shows it). "
                    "Higher spends more steps on layout and motion, lower more on detail."
                ),
                CURVE.widget(
                    "How the levels are spaced before the shift. linear: evenly, as in diffusers' "
                    "Wan. wan: as in Wan's own code. simple: ComfyUI's scheduler of that name. "
                    "beta: denser at both ends. flow_match: as in diffusers' Euler."
                ),
                DENOISE.widget(
                    "Below 1, sampling starts part of the way down, from a clip out of Encode: 0.3 "
                    "changes it a little, 0.8 a lot. Leave it at 1 for an empty canvas."
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="The canvas, for models that need another shift for small frames. "
                    "Without it, large frames are assumed.",
                ),
            ],
            outputs=[
                io.Sigmas.Output(
                    display_name="sigmas",
                    tooltip="Noise levels from 1 to 0, for Sample or core's SamplerCustomAdvanced.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, curve=None) -> bool | str:
        return verdict((CURVE.read, curve))

    @classmethod
    def execute(
        cls, model, steps: int, shift: float, curve: str, denoise: float, latent=None
    ) -> io.NodeOutput:
        levels, note = levels_for(
            model,
            STEPS.read(steps),
            SHIFT.read(shift),
            CURVE.read(curve),
            DENOISE.read(denoise),
            latent,
        )
        show_text(note)
        return io.NodeOutput(levels)
