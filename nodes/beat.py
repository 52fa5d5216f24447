"""A drum beat -> AUDIO."""

import torch
from comfy_api.latest import io

from ..engine.take.drums import RATE, TEMPI, drum_beat
from . import checks, widgets

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
                widgets.number("tempo", 120.0, TEMPI, "Beats a minute.", step=1.0, round=0.01),
                widgets.number("seconds", 10.0, SECONDS, "How long it goes on."),
                widgets.number(
                    "offset",
                    0.0,
                    (0.0, SECONDS[1]),
                    "When the first beat is, in seconds.",
                    step=0.01,
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
