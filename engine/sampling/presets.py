"""Families of checkpoints, and the sampling settings that each was made for."""

import difflib
import re
from dataclasses import dataclass, replace

from ...models.errors import InputError
from ...models.wan.config import DiTConfig, Layout

# Source: `sample_neg_prompt` in wan/configs/shared_config.py, Wan-Video/Wan2.1@9737cba.
WAN_NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，"
    "低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，"
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
# Source: wan/configs/wan_i2v_14B.py in Wan-Video/Wan2.1@9737cba.
WAN_I2V_NEGATIVE = f"镜头晃动，{WAN_NEGATIVE}"
SMALL_FRAME = 832 * 480  # pixels; up to here the 480p settings hold
AUTO, GUESS = "auto", "a guess"


@dataclass(frozen=True)
class SamplingDefaults:
    """What to sample with when nobody says otherwise.

    Attributes:
        steps: how many.
        shift: of the noise levels, see `schedule.sigmas`.
        cfg: how strongly the prompt is followed.
        fps, width, height, frames: of the videos that a checkpoint was made for.
        negative: its negative prompt.
        sampler: ComfyUI's name of it.
        small_shift: the shift at 832 × 480 pixels and below, if that is another.
        boundary: of two experts, the noise level below which the low-noise one takes over.
        cfg_low: of two experts, the low-noise one's cfg.
        levels: of few-step models, the noise levels they were trained on.
        overlap: frames that a window goes on from; 0: as many as is usual.
    """

    steps: int
    shift: float
    cfg: float
    fps: int
    width: int
    height: int
    frames: int
    negative: str = WAN_NEGATIVE
    sampler: str = "uni_pc"
    small_shift: float | None = None
    boundary: float | None = None
    cfg_low: float | None = None
    levels: tuple[float, ...] | None = None
    overlap: int = 0

    def shift_at(self, width: int, height: int) -> float:
        """The shift for frames of this many pixels."""
        if self.small_shift is not None and width * height <= SMALL_FRAME:
            return self.small_shift
        return self.shift


# Sources: generate.py, README.md, wan/configs/*.py in Wan-Video/Wan2.1@9737cba, Wan2.2@42bf4cf;
# README.md and generate_video*.py in SkyworkAI/SkyReels-V2; the configs of guandeh17/Self-Forcing,
# tianweiy/CausVid and hao-ai-lab/FastVideo.
# WAN_1_3B: the README advises a shift of 8 to 12 and a guidance of 6 over the 5 and 5 of the code.
# SKYREELS_I2V: a shift of 5 in its table, of 3 in two notes beside it.
NANO = SamplingDefaults(24, 3.0, 4.0, 8, 128, 128, 17, negative="", sampler="euler")
NANO_FAST = replace(NANO, steps=8, shift=5.0)
WAN_1_3B = SamplingDefaults(50, 8.0, 6.0, 16, 832, 480, 81)
WAN_5B = SamplingDefaults(50, 5.0, 5.0, 24, 1280, 704, 121)
WAN_14B = SamplingDefaults(50, 5.0, 5.0, 16, 1280, 720, 81)
WAN_22_T2V = replace(WAN_14B, steps=40, shift=12.0, cfg=4.0, cfg_low=3.0, boundary=0.875)
WAN_I2V = replace(WAN_14B, steps=40, small_shift=3.0, negative=WAN_I2V_NEGATIVE)
WAN_22_I2V = replace(WAN_14B, steps=40, cfg=3.5, cfg_low=3.5, boundary=0.9)
WAN_FLF2V = replace(WAN_14B, shift=16.0, negative=WAN_I2V_NEGATIVE)
VACE_1_3B = SamplingDefaults(50, 16.0, 5.0, 16, 832, 480, 81)
VACE_14B = replace(WAN_14B, shift=16.0)
SKYREELS = SamplingDefaults(30, 8.0, 6.0, 24, 960, 544, 97)
SKYREELS_I2V = replace(SKYREELS, shift=5.0, cfg=5.0)
SELF_FORCING = SamplingDefaults(4, 5.0, 1.0, 16, 832, 480, 81, negative="", sampler="lcm")
DMD = replace(SELF_FORCING, steps=3, shift=8.0, levels=(1.0, 0.757, 0.522))
FASTWAN_5B = replace(DMD, shift=5.0, fps=24, width=1280, height=704, frames=121)


@dataclass(frozen=True)
class Family:
    """One kind of checkpoint.

    Attributes:
        title: its name in menus and on nodes.
        settings: what it was made for.
        layout: what its tensors look like; some families share one.
        marks: a pattern in the names of its files, where nothing else distinguishes it.
        frame_levels: it takes a noise level for each latent frame, which its tensors do not show.
        captions: whose captions it was trained on, a name of `words.families`.
    """

    title: str
    settings: SamplingDefaults
    layout: Layout
    marks: str = ""
    frame_levels: bool = False
    captions: str = "Wan"


# Of families with the same layout, the first whose marks are in the file's name is recognised; if
# there is none, the one without marks.
FAMILIES: tuple[Family, ...] = (
    Family("Longtake nano", NANO, Layout.NANO, captions="built-in"),
    Family("Wan 2.1 T2V 1.3B", WAN_1_3B, Layout.T2V),
    Family("Wan 2.1 T2V 14B", WAN_14B, Layout.T2V_14B),
    Family("Wan 2.2 T2V A14B", WAN_22_T2V, Layout.T2V_14B, r"wan.?2[._]?2|a14b|(high|low).?noise"),
    Family("Wan 2.1 I2V 14B", WAN_I2V, Layout.I2V_CLIP),
    Family("Wan 2.1 FLF2V 14B", WAN_FLF2V, Layout.FLF2V),
    Family("Wan 2.2 I2V A14B", WAN_22_I2V, Layout.I2V),
    Family("Wan 2.2 TI2V 5B", WAN_5B, Layout.TI2V),
    Family("Wan 2.1 VACE 1.3B", VACE_1_3B, Layout.VACE),
    Family("Wan 2.1 VACE 14B", VACE_14B, Layout.VACE_14B),
    Family(
        "Wan 2.2 VACE-Fun A14B",
        WAN_22_T2V,
        Layout.VACE_14B,
        r"wan.?2[._]?2|a14b|vace.?fun|(high|low).?noise",
    ),
    Family("SkyReels-V2 DF 1.3B", SKYREELS, Layout.T2V_RATES),
    Family("SkyReels-V2 DF 14B", SKYREELS, Layout.T2V_14B, r"skyreels.*(df|diffusion)", True),
    Family("SkyReels-V2 T2V 14B", SKYREELS, Layout.T2V_14B, r"skyreels"),
    Family("SkyReels-V2 I2V", SKYREELS_I2V, Layout.I2V_CLIP, r"skyreels"),
    Family("Self-Forcing 1.3B", SELF_FORCING, Layout.T2V, r"self.?forcing|causal.?forcing"),
    Family("CausVid 1.3B", DMD, Layout.T2V, r"caus(al)?.?vid"),
    Family("CausVid 14B", DMD, Layout.T2V_14B, r"caus(al)?.?vid"),
    Family("FastWan 2.1 1.3B", DMD, Layout.T2V, r"fast.?wan"),
    Family("FastWan 2.1 14B", DMD, Layout.T2V_14B, r"fast.?wan"),
    Family("FastWan 2.2 5B", FASTWAN_5B, Layout.TI2V, r"fast.?wan"),
    Family("Longtake nano-fast", NANO_FAST, Layout.NANO, r"nano.?fast", captions="built-in"),
)
BUILT_IN = FAMILIES[0]
TITLES: tuple[str, ...] = (AUTO, *(family.title for family in FAMILIES if family is not BUILT_IN))


def alike(config: DiTConfig) -> list[Family]:
    """The families whose tensors look like this transformer's."""
    return [family for family in FAMILIES if family.layout is config.layout]


def family_of(config: DiTConfig, file: str = "", chosen: str = AUTO) -> tuple[Family, str]:
    """Which family a checkpoint is of, and what says so.

    Args:
        config: read off its tensors.
        file: its name; consulted only between families whose tensors are alike.
        chosen: one of TITLES.

    Returns:
        The family, and "its tensors", "its file name", "your choice", or GUESS where none of these
        decides.

    Raises:
        InputError: for an unknown title, or one of another layout.
    """
    families = alike(config)
    if chosen != AUTO:
        return _chosen_family(families, file, chosen), "your choice"
    plain = next(family for family in families if not family.marks)
    named = [f for f in families if f.marks and re.search(f.marks, file.lower())]
    # SkyReels and the few-step models are built on Wan 2.1 or 2.2 and may name it as well.
    best = max(named, key=lambda family: family.title.split()[0] != "Wan", default=plain)
    if named:
        return best, "its file name"
    return best, "its tensors" if len(families) == 1 or best is BUILT_IN else GUESS


def _chosen_family(families: list[Family], file: str, chosen: str) -> Family:
    if chosen not in TITLES:
        near = difflib.get_close_matches(chosen, TITLES, n=1, cutoff=0)[0]
        raise InputError(f"unknown family {chosen!r}. Nearest: {near!r}.")
    found = next((family for family in families if family.title == chosen), None)
    if found is None:
        raise InputError(
            f"'{file}' is not {chosen}: its tensors are those of "
            f"{' or '.join(family.title for family in families)}. Choose one of these, or auto."
        )
    return found


def with_family(config: DiTConfig, family: Family) -> DiTConfig:
    """The config, completed by what the tensors do not show."""
    return replace(config, frame_levels=config.frame_levels or family.frame_levels)


def expert_of(file: str) -> str | None:
    """Which of two experts a file is by its name, "high" or "low"; None if it does not say."""
    found = re.search(r"(?<![a-z])(high|low)(?:noise)?(?![a-z])", file.lower())
    return found[1] if found else None


def defaults_for(channels: int) -> SamplingDefaults:
    """What a canvas with this many latent channels starts from while no model is connected."""
    return {16: WAN_1_3B, 48: WAN_5B}.get(channels, NANO)


def fps_for(channels: int) -> int:
    """Frames per second of videos whose latents have this many channels."""
    return defaults_for(channels).fps
