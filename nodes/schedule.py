"""Steps, shift, curve -> SIGMAS."""

from comfy_api.latest import io

from ..engine.sampling.schedule import CURVES, MAX_STEPS, SHIFTS, listed, sigmas
from ..host.comfyui.latent import facts_of
from ..host.comfyui.node_text import show_text
from ..host.networks.settings import settings_for, settings_of
from ..host.networks.shift import shift_for
from . import checks, widgets

DENOISE = (0.01, 1.0)


class Schedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSchedule",
            display_name="Schedule (Longtake)",
            category="Longtake/Sample",
            description="The noise levels that Sample goes through on its way from noise to video.",
            inputs=[
                io.Model.Input("model", tooltip="The model they are for; it decides on the shift."),
                widgets.whole(
                    "steps",
                    24,
                    (0, MAX_STEPS),
                    "How many times the model is asked. More is slower and, up to a "
                    "point, better: 24 for the built-in model, 20 to 50 for Wan. 0: what the "
                    "checkpoint was made for; models of a few steps then get the very levels they "
                    "learnt.",
                ),
                widgets.number(
                    "shift",
                    0.0,
                    (0.0, SHIFTS[1]),
                    "0: what the checkpoint was made for at this size (the node shows "
                    "it). Higher spends more steps on layout and motion, lower more on detail.",
                ),
                io.Combo.Input(
                    "curve",
                    options=list(CURVES),
                    default="linear",
                    tooltip="How the levels are spaced before the shift. linear: evenly, as in "
                    "diffusers' Wan. wan: as in Wan's own code. simple: as ComfyUI's of that name. "
                    "beta: denser at both ends. flow_match: as in diffusers' Euler.",
                ),
                widgets.number(
                    "denoise",
                    1.0,
                    DENOISE,
                    "Below 1, sampling begins part of the way, at a clip from Encode: 0.3 "
                    "changes it a little, 0.8 a lot. Leave it at 1 for an empty canvas.",
                    step=0.01,
                    round=None,
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="The canvas, for models that want another shift for small frames. "
                    "Without it, large ones are assumed.",
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
        return checks.verdict(checks.one_of, "curve", curve, tuple(CURVES))

    @classmethod
    def execute(
        cls, model, steps: int, shift: float, curve: str, denoise: float, latent=None
    ) -> io.NodeOutput:
        steps = checks.whole("steps", steps, 0, MAX_STEPS)
        shift = checks.number("shift", shift, 0.0, SHIFTS[1])
        denoise = checks.number("denoise", denoise, *DENOISE)
        remixed = facts_of(latent or {}).get("denoise") if denoise == 1 else None
        denoise = remixed or denoise
        learnt = steps == 0 and shift == 0 and denoise == 1 and learnt_levels(model)
        if learnt:
            show_text(f"{len(learnt)} steps at {', '.join(f'{level:g}' for level in learnt)}")
            return io.NodeOutput(listed(learnt))
        steps = steps or settings_for(model, "steps 0").steps
        shift = shift or shift_for(model, latent)
        levels = sigmas(steps, shift, curve, denoise)
        begins = f", denoise {denoise:g} from Remix" if remixed else ""
        show_text(f"{steps} steps, shift {shift:g}{begins}")
        return io.NodeOutput(levels)


def learnt_levels(model) -> tuple[float, ...] | None:
    """Of a model of a few steps, the levels it was trained on and no others."""
    settings = settings_of(model)
    return settings and settings.levels
