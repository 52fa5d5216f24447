"""A prompt or a storyboard -> a VIDEO of any length."""

from fractions import Fraction

from comfy_api.latest import io

from ..engine.canvas.grid import frame_rate
from ..engine.take.anchor import ANCHORS
from ..host.networks.settings import cfg_for
from ..host.networks.vae import grid_of
from ..host.sampling.sample import SAMPLERS
from ..host.take.long_take import film_take
from ..host.take.storyboards import SEPARATE, SHARING, Frame, layout_for, recipe_for, single
from ..host.video.clip import sound_from
from ..models.errors import InputError
from . import checks, widgets
from .storyboard import Storyboard_, exact

SECONDS, FPS, SIDE, FRAMES = (0.0, 36_000.0), (0.0, 240.0), (0, 8192), (0, 4001)
KEEP = ("keep", "delete when done")


class LongTake(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLongTake",
            display_name="Long Take (Longtake)",
            category="Longtake/Sample",
            description="Paints a video of any length, window by window, and writes it while it is "
            "painted. Cancel leaves what is done as a video; queued again, it goes on from there.",
            inputs=[
                io.Model.Input("model", tooltip="A video model, with or without LoRAs."),
                io.Vae.Input("vae", tooltip="The VAE that belongs to the model."),
                io.Conditioning.Input(
                    "negative",
                    tooltip="What it should not show. An empty prompt for the built-in model.",
                ),
                io.Sigmas.Input(
                    "sigmas", tooltip="The noise levels of each window, from Schedule."
                ),
                *frame_inputs(),
                widgets.seed(
                    "Another number gives another take. A frame's noise depends on the seed and "
                    "on its place, not on the windows."
                ),
                widgets.cfg(),
                widgets.sampler(),
                *window_inputs(),
                *optional_inputs(),
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="The take, for Save Video.")],
        )

    @classmethod
    def validate_inputs(cls, sampler=None, shots=None, anchor=None, keep=None) -> bool | str:
        for name, value, options in (
            ("sampler", sampler, SAMPLERS),
            ("shots", shots, SHARING),
            ("anchor", anchor, ANCHORS),
            ("keep", keep, KEEP),
        ):
            verdict = checks.verdict(checks.one_of, name, value, options)
            if verdict is not True:
                return verdict
        return True

    @classmethod
    def execute(
        cls,
        model,
        vae,
        negative,
        sigmas,
        seconds: float,
        fps: float,
        width: int,
        height: int,
        seed: int,
        cfg: float,
        sampler: str,
        window: int,
        overlap: int,
        shots: str,
        anchor: str,
        keep: str,
        positive=None,
        storyboard=None,
        audio=None,
        canvas=None,
    ) -> io.NodeOutput:
        if (positive is None) == (storyboard is None):
            raise InputError("connect a positive prompt or a storyboard: one of the two.")
        frame = frame_of(seconds, fps, width, height)
        grid = grid_of(vae)
        frame = frame if canvas is None else frame.on_canvas(canvas, grid)
        if storyboard is not None:
            frame = frame.for_board(storyboard)
        frame = frame.for_model(model, grid)
        board = storyboard or single(positive, frame.seconds, frame.fps)
        window = checks.whole("window", window, *FRAMES)
        overlap = checks.whole("overlap", overlap, *FRAMES)
        sharing = checks.one_of("shots", shots, SHARING)
        recipe = recipe_for(
            model,
            vae,
            board,
            negative,
            frame,
            layout_for(model, grid, window, overlap, sharing),
            canvas,
            sigmas=sigmas,
            seed=checks.whole("seed", seed, *widgets.SEEDS),
            cfg=checks.number("cfg", cfg, *widgets.CFG) or cfg_for(model),
            sampler=checks.one_of("sampler", sampler, SAMPLERS),
            anchor=checks.one_of("anchor", anchor, ANCHORS),
            sound=board.sound if audio is None else sound_from(audio),
        )
        keeping = checks.one_of("keep", keep, KEEP) == KEEP[0]
        return io.NodeOutput(film_take(recipe, keep=keeping))


def frame_inputs() -> list:
    """Widgets for time and size."""
    return [
        widgets.number(
            "seconds",
            0.0,
            SECONDS,
            "How long the take is. 0: as long as the canvas or the storyboard.",
        ),
        widgets.number(
            "fps",
            0.0,
            FPS,
            "Frames per second. 0: the canvas's, the storyboard's, or what the model was made for.",
            step=0.01,
        ),
        *(
            widgets.whole(
                side,
                0,
                SIDE,
                "Pixels, a multiple of 16 (Wan 2.1) or 32 (TI2V-5B, built-in). 0: what the "
                "model was made for. A canvas decides over both.",
                step=16,
            )
            for side in ("width", "height")
        ),
    ]


def window_inputs() -> list:
    """Widgets for how the take is put together."""
    return [
        widgets.whole(
            "window",
            0,
            FRAMES,
            "Frames the model paints at a time: 1 + 4·n. 0: what it was made for (17 for "
            "the built-in model, 81 for Wan 2.1). Memory and time of a step grow with it.",
        ),
        widgets.whole(
            "overlap",
            0,
            FRAMES,
            "Frames that each window goes on from: 1 + 4·n. 0: a fifth of a window or "
            "more. More holds motion together better, and takes longer.",
        ),
        io.Combo.Input(
            "shots",
            options=list(SHARING),
            default=SEPARATE,
            tooltip="After a cut, a shot begins in a window of its own, on the very frame; or "
            "shots share windows and see each other, which makes them look alike.",
        ),
        io.Combo.Input(
            "anchor",
            options=list(ANCHORS),
            default="off",
            tooltip="Against drift: bring each window's latent statistics half of the way back to "
            "the first one's, show each window the shot's first frame, or both.",
        ),
        io.Combo.Input(
            "keep",
            options=list(KEEP),
            default=KEEP[0],
            tooltip="Painted windows stay in output/longtake/windows (4 GiB at most), so that "
            "after a change only what depends on it is painted; or go when the take is done.",
        ),
    ]


def optional_inputs() -> list:
    """What the take shows, and what else it may be given."""
    return [
        io.Conditioning.Input(
            "positive", optional=True, tooltip="What the take shows. Or a storyboard."
        ),
        Storyboard_.Input(
            "storyboard", optional=True, tooltip="Shots with their prompts. Or a prompt."
        ),
        io.Audio.Input(
            "audio",
            optional=True,
            tooltip="Sound from the first frame on, instead of the storyboard's own; it "
            "ends with the take.",
        ),
        io.Latent.Input(
            "canvas",
            optional=True,
            tooltip="A canvas, empty or with frames known, which stay exactly as they are. Its "
            "size is taken, and its seconds and frame rate where those are 0.",
        ),
    ]


def frame_of(seconds: float, fps: float, width: int, height: int) -> Frame:
    """What the widgets say, each looked at."""
    fps = checks.number("fps", fps, *FPS)
    return Frame(
        exact(checks.number("seconds", seconds, *SECONDS)),
        frame_rate(fps) if fps else Fraction(0),
        checks.whole("width", width, *SIDE),
        checks.whole("height", height, *SIDE),
    )
