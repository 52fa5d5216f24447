"""VIDEO -> a file in the output folder."""

from dataclasses import replace

from comfy_api.latest import InputImpl, io

from ..engine.media.formats import FORMATS, PRESETS, Quality, check_quality, encoder_of
from ..engine.media.still import PICTURES
from ..host.comfyui.node_text import show_text
from ..host.comfyui.output import check_prefix, with_values
from ..host.provenance.credentials import Signing
from ..host.provenance.mark import stage_for
from ..host.video.clip import sound_from
from ..host.video.save import Wish, graph_in, save, shown
from . import checks, widgets
from .credentials import check_choice, provenance

AS_IT_IS = -1
COARSEST = 63


class SaveVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSaveVideo",
            display_name="Save Video (Longtake)",
            category="Longtake/Save",
            description="Saves a VIDEO in ComfyUI's output folder, with its sound and the workflow "
            "in it. The file appears when it is whole, never before, and no file is ever "
            "overwritten.",
            inputs=[
                io.Video.Input("video", tooltip="The video, from Decode or any other node."),
                io.String.Input(
                    "filename_prefix",
                    default="longtake/video",
                    tooltip="The beginning of the file's name, with / for folders below the output "
                    "folder; a number is added. %date:yyyy-MM-dd%, %year%, %month%, %day%, %hour%, "
                    "%minute%, %second%, %width%, %height% and what stands in a node's widget, as "
                    "%Sample.seed%, are filled in.",
                ),
                *how(),
                *provenance(),
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="The saved file.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls, filename_prefix=None, format=None, crf=None, preset=None, credentials=None
    ):
        chosen = AS_IT_IS if crf is None else crf, preset or "medium"
        verdicts = (
            checks.verdict(check_prefix, filename_prefix),
            checks.verdict(check_choice, credentials, format or "mp4 h264"),
            checks.verdict(quality_of, *chosen),
            checks.verdict(wish_of, format, *chosen),
        )
        return next((verdict for verdict in verdicts if verdict is not True), True)

    @classmethod
    def execute(
        cls,
        video,
        filename_prefix: str,
        format: str = "mp4 h264",
        crf: int = AS_IT_IS,
        preset: str = "medium",
        audio=None,
        picture: str = PICTURES[0],
        credentials: str = "auto",
        mark: bool = False,
    ) -> io.NodeOutput:
        wish = wish_of(format, crf, preset, audio, picture)
        if mark:
            wish = replace(wish, mark=stage_for(cls.hidden))
        signing = Signing(check_choice(credentials, format), cls.hidden)
        prefix = with_values(filename_prefix, cls.hidden.prompt)
        saved = save(video, prefix, graph_in(cls.hidden), wish, signing)
        signing.saved(saved.path)
        show_text("\n".join(filter(None, (saved.told, signing.note))))
        result = InputImpl.VideoFromFile(str(saved.path))
        return io.NodeOutput(result, ui=shown(saved, wish.form))


def how() -> list[io.Input]:
    """What may be chosen about the file; all of it optional."""
    return [
        io.Combo.Input(
            "format",
            options=list(FORMATS),
            default="mp4 h264",
            optional=True,
            tooltip="mp4 h264 plays everywhere. h265, av1 and vp9 are smaller and take "
            "longer to encode; gif and webp are for short clips without sound.",
        ),
        widgets.whole(
            "crf",
            AS_IT_IS,
            (AS_IT_IS, COARSEST),
            "Quality: lower is better and larger, some 6 more halve the file. "
            "-1: what comes in is copied without loss if it is of this format already, "
            "or else encoded so that it looks the same.",
            optional=True,
        ),
        io.Combo.Input(
            "preset",
            options=list(PRESETS),
            default="medium",
            optional=True,
            tooltip="How long the encoder may take: slower makes smaller files of the same "
            "quality. Does not matter where the video is copied.",
        ),
        io.Audio.Input(
            "audio",
            optional=True,
            tooltip="Sound to go with the pictures from their first one on, cut at their "
            "end. Without it, the video keeps the sound it has.",
        ),
        io.Combo.Input(
            "picture",
            options=list(PICTURES),
            default=PICTURES[0],
            optional=True,
            tooltip="A PNG of the same name beside the video: a contact sheet of frames "
            "with their times, or its middle frame as a poster.",
        ),
    ]


def quality_of(crf: int, preset: str) -> Quality:
    crf = checks.whole("crf", crf, AS_IT_IS, COARSEST)
    return Quality(None if crf == AS_IT_IS else crf, checks.one_of("preset", preset, PRESETS))


def wish_of(
    format: str, crf: int, preset: str, audio: object = None, picture: str = PICTURES[0]
) -> Wish:
    """How the video shall be saved. Raises InputError for what there is not."""
    form = FORMATS[checks.one_of("format", format, list(FORMATS))]
    encoder_of(form)
    quality = quality_of(crf, preset)
    check_quality(form, quality)
    sound = None if audio is None else sound_from(audio)
    return Wish(form, quality, sound, checks.one_of("picture", picture, PICTURES))
