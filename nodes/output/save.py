"""VIDEO -> a file in the output folder."""

from comfy_api.latest import InputImpl, io

from ...engine.container.formats import FORMATS, PRESETS, Quality, check_quality, encoder_of
from ...engine.media.still import PICTURES
from ...host.comfyui.node_text import show_text
from ...host.comfyui.output import check_prefix
from ...host.provenance.credentials import CHOICES, check_choice
from ...host.provenance.saving import save_with_origin
from ...host.video.footage import heard
from ...host.video.preview import preview_of
from ...host.video.save import SaveOptions
from ..inputs.kinds import Choice, Flag, Whole, verdict
from ..inputs.shared import BASICS, found_by

AS_IT_IS = -1
FORMAT = Choice("format", tuple(FORMATS), default="mp4 h264", optional=True)
CRF = Whole("crf", AS_IT_IS, 63, default=AS_IT_IS, optional=True, advanced=True)
PRESET = Choice("preset", PRESETS, default="medium", optional=True, advanced=True)
PICTURE = Choice("picture", PICTURES, default=PICTURES[0], optional=True)
CREDENTIALS = Choice("credentials", CHOICES, default="auto", optional=True)
MARK = Flag("mark", optional=True)
REMEMBER = Flag("remember", optional=True, advanced=True)


class SaveVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSaveVideo",
            display_name="Save Video (Longtake)",
            category="Longtake/Save",
            **found_by("save mp4, video combine, export, webm, gif, watermark", BASICS),
            description="Saves a VIDEO in ComfyUI's output folder, with its sound and with the "
            "workflow embedded. The file appears only once it is complete, and no file is ever "
            "overwritten.",
            inputs=[
                io.Video.Input("video", tooltip="The video, from Decode or any other node."),
                io.String.Input(
                    "filename_prefix",
                    default="longtake/video",
                    tooltip="How the file's name begins, with / for folders inside the output "
                    "folder; a number is appended. Filled in: %date:yyyy-MM-dd%, %year%, %month%, "
                    "%day%, %hour%, %minute%, %second%, %width%, %height%, and any node's widget "
                    "by the node's title, such as %Sample.seed%.",
                ),
                *_file_inputs(),
                *_origin_inputs(),
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="The saved file.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        filename_prefix=None,
        format=None,
        crf=None,
        preset=None,
        picture=None,
        credentials=None,
    ) -> bool | str:
        chosen = CRF.default if crf is None else crf, preset or PRESET.default
        return verdict(
            (check_prefix, filename_prefix),
            (_check_credentials, credentials, format or FORMAT.default),
            (PICTURE.read, picture),
            (_quality_of, *chosen),
            (_options_of, format, *chosen),
        )

    @classmethod
    def execute(
        cls,
        video,
        filename_prefix: str,
        format: str = FORMAT.default,
        crf: int = CRF.default,
        preset: str = PRESET.default,
        audio=None,
        picture: str = PICTURE.default,
        credentials: str = CREDENTIALS.default,
        mark: bool = MARK.default,
        remember: bool = REMEMBER.default,
    ) -> io.NodeOutput:
        options = _options_of(format, crf, preset, audio, picture)
        _check_credentials(credentials, format)
        saved = save_with_origin(
            video,
            filename_prefix,
            options,
            credentials,
            MARK.read(mark),
            cls.hidden,
            into_ledger=REMEMBER.read(remember),
        )
        show_text(saved.summary)
        result = InputImpl.VideoFromFile(str(saved.path))
        return io.NodeOutput(result, ui=preview_of(saved, options.form))


def _file_inputs() -> list[io.Input]:
    """What the file is; all of it optional."""
    return [
        FORMAT.widget(
            "mp4 h264 plays everywhere. h265, av1 and vp9 make smaller files and take "
            "longer to encode; gif and webp are for short clips without sound."
        ),
        CRF.widget(
            "Quality: lower is better and larger; adding 6 about halves the file. "
            "-1: copied without loss if the video already has this format, otherwise "
            "encoded so that it looks the same."
        ),
        PRESET.widget(
            "How long the encoder may take: slower makes smaller files of the same "
            "quality. Has no effect when the video is copied."
        ),
        io.Audio.Input(
            "audio",
            optional=True,
            tooltip="Sound that starts with the first frame and is cut at the last. Without "
            "it, the video keeps its own sound.",
        ),
        PICTURE.widget(
            "Also save a PNG of the same name: a contact sheet of frames with their "
            "times, or the middle frame as a poster."
        ),
    ]


def _origin_inputs() -> list[io.Input]:
    """What the file says about where it comes from; all of it optional."""
    return [
        CREDENTIALS.widget(
            "Content Credentials: a signed statement in the file that AI made it, with "
            "hashes of the workflow and the models, and the clips it was made from. auto: sign if "
            "c2pa-python is installed. required: sign, or save nothing."
        ),
        MARK.widget(
            "An invisible watermark in the frames that survives re-encoding, scaling and "
            "cropping, for Read Mark to find. It informs; it proves nothing. The video has to be "
            "encoded for it and becomes larger."
        ),
        REMEMBER.widget(
            "Keep fingerprints of its pictures and sound in this installation's ledger, a file of "
            "your user folder, so that Was It Made Here knows the video again after others have "
            "re-encoded, scaled, cropped or cut it. Nothing is sent anywhere."
        ),
    ]


def _check_credentials(choice: str, format: str) -> None:
    """Raises InputError, before anything is generated, for credentials that cannot be had."""
    check_choice(CREDENTIALS.read(choice), FORMATS[FORMAT.read(format)].suffix)


def _quality_of(crf: int, preset: str) -> Quality:
    crf = CRF.read(crf)
    return Quality(None if crf == AS_IT_IS else crf, PRESET.read(preset))


def _options_of(
    format: str, crf: int, preset: str, audio: object = None, picture: str = PICTURE.default
) -> SaveOptions:
    """How to save the video. Raises InputError for a format or quality that cannot be had."""
    form = FORMATS[FORMAT.read(format)]
    encoder_of(form)
    quality = _quality_of(crf, preset)
    check_quality(form, quality)
    sound = heard(audio)
    return SaveOptions(form, quality, sound, PICTURE.read(picture))
