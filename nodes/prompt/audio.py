"""A file -> AUDIO."""

from pathlib import Path

import torch
from comfy_api.latest import io

from ...engine.media.sound_part import LONGEST_SOUND, SOUND_ENDINGS, sound_of
from ...host.comfyui.media_folders import find_media, media_menu
from ...host.comfyui.node_text import show_text
from ...models.errors import InputError
from ..inputs.kinds import File, Number, verdict
from ..inputs.shared import found_by
from .storyboard import to_fraction

NONE = ""


def find_sound(name: str) -> Path:
    """The file of that name. Raises InputError if there is none, or it is outside its folder."""
    if name == NONE:
        raise InputError("choose an audio or video file, or upload one with the button.")
    return find_media(name)


# The browser gives the node a player and a button for uploading. Its own way of adding them is for
# core's node alone: a required "audio" that may be uploaded, without the player, would stop it.
FILE = File(
    "audio",
    menu=lambda: [NONE, *media_menu(SOUND_ENDINGS)],
    find=find_sound,
    default=NONE,
    none=NONE,
    upload=io.UploadType.audio,
    optional=True,
)
START = Number("start", 0.0, float(LONGEST_SOUND), default=0.0, optional=True)
SECONDS = Number("seconds", 0.0, float(LONGEST_SOUND), default=0.0, optional=True)
PLAYER, UPLOAD = io.Custom("AUDIO_UI"), io.Custom("AUDIOUPLOAD")


class LoadAudio(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadAudio",
            display_name="Load Audio (Longtake)",
            category="Longtake/Storyboard",
            **found_by("music, song, sound, mp3, wav, soundtrack"),
            description="Loads music or any other sound, from an audio or a video file, or a part "
            "of it.",
            inputs=[
                FILE.widget(
                    "An audio or video file from the input folder, or one of the newest in the "
                    "output folder; the button uploads one."
                ),
                START.widget("Where to begin, in seconds."),
                SECONDS.widget("How much of it to take, in seconds. 0: all of it."),
                PLAYER.Input("audioUI", optional=True, tooltip="Plays the file."),
                UPLOAD.Input("upload", optional=True, tooltip="Uploads a file."),
            ],
            outputs=[
                io.Audio.Output(
                    display_name="audio",
                    tooltip="For Storyboard, whose cuts fall on its beats, Long Take, Save Video.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, audio=NONE) -> bool | str:
        return verdict((FILE.read, audio))

    @classmethod
    def fingerprint_inputs(cls, audio: str = NONE, **_) -> str:
        return FILE.version(audio)

    @classmethod
    def execute(
        cls,
        audio: str = FILE.default,
        start: float = START.default,
        seconds: float = SECONDS.default,
        audioUI=None,
        upload=None,
    ) -> io.NodeOutput:
        path = FILE.find(audio)
        begins, lasts = to_fraction(START.read(start)), to_fraction(SECONDS.read(seconds))
        sound = sound_of(path, begins, lasts)
        show_text(f"{float(sound.seconds):.2f} s, {sound.rate} Hz, {sound.layout}")
        wave = torch.from_numpy(sound.samples)[None]
        return io.NodeOutput({"waveform": wave, "sample_rate": sound.rate})
