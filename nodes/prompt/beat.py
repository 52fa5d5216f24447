"""A drum beat -> AUDIO."""

import torch
from comfy_api.latest import io

from ...engine.take.drums import RATE, TEMPI, drum_beat
from ..inputs.kinds import Number
from ..inputs.shared import found_by

TEMPO = Number("tempo", *TEMPI, default=120.0, step=0.01)
SECONDS = Number("seconds", 0.1, 3600.0, default=10.0)
OFFSET = Number("offset", 0.0, SECONDS.high, default=0.0)


class Beat(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeBeat",
            display_name="Beat (Longtake)",
            category="Longtake/Storyboard",
            **found_by("drum, music, metronome"),
            description="A plain drum beat, for trying out music videos before there is any "
            "music. For a song of your own, use Load Audio instead.",
            inputs=[
                TEMPO.widget("Beats per minute."),
                SECONDS.widget("How long it lasts."),
                OFFSET.widget("When the first beat falls, in seconds."),
            ],
            outputs=[io.Audio.Output(display_name="audio", tooltip="For Storyboard or Long Take.")],
        )

    @classmethod
    def execute(cls, tempo: float, seconds: float, offset: float) -> io.NodeOutput:
        wave = drum_beat(TEMPO.read(tempo), SECONDS.read(seconds), OFFSET.read(offset))
        return io.NodeOutput({"waveform": torch.from_numpy(wave)[None], "sample_rate": RATE})
