"""A drum beat -> AUDIO."""

import torch
from comfy_api.latest import io

from ..engine.drums import RATE, TEMPI, drum_beat
from . import checks

SECONDS = (0.1, 3600.0)


class Beat(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeBeat",
            display_name="Beat (Longtake)",
            category="Longtake/Storyboard",
            description="A plain drum beat, for trying out music videos before there is music. "
            "For your own, use ComfyUI's LoadAudio in its place.",
            inputs=[
                io.Float.Input(
                    "tempo",
                    default=120.0,
                    min=TEMPI[0],
                    max=TEMPI[1],
                    step=1.0,
                    round=0.01,
                    tooltip="Beats a minute.",
                ),
                io.Float.Input(
                    "seconds",
                    default=10.0,
                    min=SECONDS[0],
                    max=SECONDS[1],
                    step=0.1,
                    round=0.001,
                    tooltip="How long it goes on.",
                ),
                io.Float.Input(
                    "offset",
                    default=0.0,
                    min=0.0,
                    max=SECONDS[1],
                    step=0.01,
                    round=0.001,
                    tooltip="When the first beat is, in seconds.",
                ),
            ],
            outputs=[io.Audio.Output(display_name="audio", tooltip="For Storyboard or LongTake.")],
        )

    @classmethod
    def execute(cls, tempo: float, seconds: float, offset: float) -> io.NodeOutput:
        tempo = checks.number("tempo", tempo, *TEMPI)
        seconds = checks.number("seconds", seconds, *SECONDS)
        wave = drum_beat(tempo, seconds, checks.number("offset", offset, 0.0, SECONDS[1]))
        return io.NodeOutput({"waveform": torch.from_numpy(wave)[None], "sample_rate": RATE})
