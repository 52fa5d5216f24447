"""Whether a video was made on this installation, by all that can be known of it."""

from comfy_api.latest import io, ui

from ...engine.recognition.evidence import describe_evidence
from ...host.comfyui.node_text import show_text
from ...host.provenance.lineage import VIDEOS
from ...host.provenance.made_here import evidence_on
from ..inputs.kinds import verdict
from ..inputs.shared import NO_FILE, each_time, file_chosen, file_or_none, found_by

FILE = file_or_none(VIDEOS)


class MadeHere(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeMadeHere",
            display_name="Was It Made Here (Longtake)",
            category="Longtake/Save",
            **found_by("recognise, detect ai, fingerprint, ledger, reverse search, provenance"),
            description="Tells whether a video was made on this installation: by its Content "
            "Credentials, by the invisible mark, and by the ledger of fingerprints that Save Video "
            "keeps where it is asked to. Says what each is worth.",
            inputs=[
                FILE.widget(
                    "A file from the input folder, or one of the newest in the output folder; the "
                    "button uploads one. Empty: the video input is looked at."
                ),
                io.MultiType.Input(
                    "video",
                    types=[io.Video, io.Image],
                    optional=True,
                    tooltip="A VIDEO from any node, or IMAGE frames. Only a VIDEO that is a file "
                    "has credentials.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The VAE that the video may have come out of: whether it reproduces "
                    "the video suspiciously well. Tells something only of videos that were hardly "
                    "re-encoded, and not scaled.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="What was found, in plain words."),
                io.Boolean.Output(
                    display_name="made_here",
                    tooltip="Whether it was signed here unchanged, is in the ledger, or bears the "
                    "mark of a workflow in the ledger.",
                ),
                io.String.Output(display_name="json", tooltip="The same for programs."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, file=NO_FILE) -> bool | str:
        return verdict((FILE.read, file))

    @classmethod
    def fingerprint_inputs(cls, file=NO_FILE, **_) -> str:
        return each_time()  # the ledger has changed since

    @classmethod
    def execute(cls, file: str, video=None, vae=None) -> io.NodeOutput:
        evidence = evidence_on(video, file_chosen(FILE, file, video), vae)
        show_text(words := describe_evidence(evidence))
        return io.NodeOutput(
            words, evidence.made_here, evidence.as_json(), ui=ui.PreviewText(words)
        )
