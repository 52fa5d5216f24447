"""The settings each kind of checkpoint was made for, in one place."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ...models.errors import InputError
from ...models.wan.config import DiTConfig

# Source: `sample_neg_prompt` in wan/configs/shared_config.py, Wan-Video/Wan2.1@9737cba.
WAN_NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，"
    "低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，"
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
# Source: wan/configs/wan_i2v_14B.py in Wan-Video/Wan2.1@9737cba.
WAN_I2V_NEGATIVE = f"镜头晃动，{WAN_NEGATIVE}"
SMALL_FRAME = 832 * 480  # pixels; up to here the 480p settings hold
AUTO = "auto"


@dataclass(frozen=True)
class SamplingDefaults:
    """What to choose when nobody chose: for `width` × `height` × `frames` at `fps`."""

    steps: int
    shift: float
    cfg: float
    fps: int
    width: int
    height: int
    frames: int
    negative: str = WAN_NEGATIVE
    sampler: str = "uni_pc"
    small_shift: float | None = None  # at 832 × 480 pixels and below, if another
    boundary: float | None = None  # of two experts: the noise level where the second takes over
    cfg_low: float | None = None  # of two experts: the second one's cfg
    levels: tuple[float, ...] | None = None  # of few-step models: the very noise levels learnt

    def shift_at(self, width: int, height: int) -> float:
        """The shift for frames of this many pixels."""
        if self.small_shift is not None and width * height <= SMALL_FRAME:
            return self.small_shift
        return self.shift


# Sources: generate.py, README.md, wan/configs/*.py in Wan-Video/Wan2.1@9737cba, Wan2.2@42bf4cf;
# README.md and generate_video*.py in SkyworkAI/SkyReels-V2; the configs of guandeh17/Self-Forcing,
# tianweiy/CausVid and hao-ai-lab/FastVideo.
# 1.3b: the README advises a shift of 8 to 12 and a guidance of 6 over the 5 and 5 of the code.
# skyreels-i2v: a shift of 5 in its table, of 3 in two notes beside it.
LARGE = SamplingDefaults(50, 5.0, 5.0, 16, 1280, 720, 81)
SKYREELS = SamplingDefaults(30, 8.0, 6.0, 24, 960, 544, 97)
FEW = SamplingDefaults(4, 5.0, 1.0, 16, 832, 480, 81, negative="", sampler="lcm")
DMD = (1.0, 0.757, 0.522)
NANO = SamplingDefaults(24, 3.0, 4.0, 8, 128, 128, 17, negative="", sampler="euler")
DEFAULTS: Mapping[str, SamplingDefaults] = MappingProxyType(
    {
        "nano": NANO,
        "nano-fast": replace(NANO, steps=8, shift=5.0),
        "1.3b": SamplingDefaults(50, 8.0, 6.0, 16, 832, 480, 81),
        "5b": SamplingDefaults(50, 5.0, 5.0, 24, 1280, 704, 121),
        "14b-t2v": LARGE,
        "14b-t2v-2.2": replace(LARGE, steps=40, shift=12.0, cfg=4.0, cfg_low=3.0, boundary=0.875),
        "14b-i2v": replace(LARGE, steps=40, small_shift=3.0, negative=WAN_I2V_NEGATIVE),
        "14b-i2v-2.2": replace(LARGE, steps=40, cfg=3.5, cfg_low=3.5, boundary=0.9),
        "flf2v": replace(LARGE, shift=16.0, negative=WAN_I2V_NEGATIVE),
        "skyreels-df": SKYREELS,
        "skyreels-t2v": SKYREELS,
        "skyreels-i2v": replace(SKYREELS, shift=5.0, cfg=5.0),
        "self-forcing": FEW,
        "causvid": replace(FEW, steps=3, shift=8.0, levels=DMD),
        "fastwan": replace(FEW, steps=3, shift=8.0, levels=DMD),
        "fastwan-5b": replace(FEW, steps=3, levels=DMD, fps=24, width=1280, height=704, frames=121),
    }
)


@dataclass(frozen=True)
class Family:
    """One kind of checkpoint.

    Attributes:
        title: for people, in menus and on nodes.
        settings: the key of its DEFAULTS.
        layout: what its tensors look like, as `layout` gives it; some families share one.
        marks: what the names of its files have in them, where nothing else tells it apart.
        frame_levels: it takes a noise level for each latent frame, which its tensors do not show.
    """

    title: str
    settings: str
    layout: str
    marks: str = ""
    frame_levels: bool = False


# Where tensors are alike, the first family whose mark is in the file's name; else the one without.
FAMILIES: tuple[Family, ...] = (
    Family("Longtake nano", "nano", "nano"),
    Family("Wan 2.1 T2V 1.3B", "1.3b", "t2v"),
    Family("Wan 2.1 T2V 14B", "14b-t2v", "t2v 14b"),
    Family("Wan 2.2 T2V A14B", "14b-t2v-2.2", "t2v 14b", r"wan.?2[._]?2|a14b|(high|low).?noise"),
    Family("Wan 2.1 I2V 14B", "14b-i2v", "i2v clip"),
    Family("Wan 2.1 FLF2V 14B", "flf2v", "flf2v"),
    Family("Wan 2.2 I2V A14B", "14b-i2v-2.2", "i2v"),
    Family("Wan 2.2 TI2V 5B", "5b", "ti2v"),
    Family("SkyReels-V2 DF 1.3B", "skyreels-df", "t2v rates"),
    Family("SkyReels-V2 DF 14B", "skyreels-df", "t2v 14b", r"skyreels.*(df|diffusion)", True),
    Family("SkyReels-V2 T2V 14B", "skyreels-t2v", "t2v 14b", r"skyreels"),
    Family("SkyReels-V2 I2V", "skyreels-i2v", "i2v clip", r"skyreels"),
    Family("Self-Forcing 1.3B", "self-forcing", "t2v", r"self.?forcing|causal.?forcing"),
    Family("CausVid 1.3B", "causvid", "t2v", r"caus(al)?.?vid"),
    Family("CausVid 14B", "causvid", "t2v 14b", r"caus(al)?.?vid"),
    Family("FastWan 2.1 1.3B", "fastwan", "t2v", r"fast.?wan"),
    Family("FastWan 2.1 14B", "fastwan", "t2v 14b", r"fast.?wan"),
    Family("FastWan 2.2 5B", "fastwan-5b", "ti2v", r"fast.?wan"),
    Family("Longtake nano-fast", "nano-fast", "nano", r"nano.?fast"),
)
BUILT_IN = FAMILIES[0]
TITLES: tuple[str, ...] = (AUTO, *(family.title for family in FAMILIES if family is not BUILT_IN))


def layout(config: DiTConfig) -> str:
    """What a transformer's tensors look like; families of the same layout differ in use only."""
    if config.frame_rates:
        return "t2v rates"
    if config.out_channels == 48:
        return "ti2v"
    if config.out_channels != 16:
        return "nano"
    if config.in_channels > config.out_channels:
        with_clip = "flf2v" if config.image_positions else "i2v clip"
        return with_clip if config.image_width else "i2v"
    return "t2v 14b" if config.width >= 5120 else "t2v"


def told_family(config: DiTConfig, file: str = "", chosen: str = AUTO) -> tuple[Family, str]:
    """Which family a checkpoint is of, and what it was told by.

    Args:
        config: read off its tensors.
        file: its name; consulted only between families whose tensors are alike.
        chosen: one of TITLES.

    Returns:
        The family, and "its tensors", "its file name", "your choice", or where those say nothing
        "a guess".

    Raises:
        InputError: for a title that there is not, or one of another layout.
    """
    alike = [family for family in FAMILIES if family.layout == layout(config)]
    if chosen != AUTO:
        return chosen_family(alike, file, chosen), "your choice"
    plain = next(family for family in alike if not family.marks)
    named = [f for f in alike if f.marks and re.search(f.marks, file.lower())]
    # SkyReels and the few-step models are built on Wan 2.1 or 2.2 and may name it as well.
    best = max(named, key=lambda family: family.title.split()[0] != "Wan", default=plain)
    if named:
        return best, "its file name"
    return best, "its tensors" if len(alike) == 1 or best is BUILT_IN else "a guess"


def chosen_family(alike: list[Family], file: str, chosen: str) -> Family:
    if chosen not in TITLES:
        near = difflib.get_close_matches(chosen, TITLES, n=1, cutoff=0)[0]
        raise InputError(f"no family is called {chosen!r}. Nearest: {near!r}.")
    found = next((family for family in alike if family.title == chosen), None)
    if found is None:
        raise InputError(
            f"'{file}' is no {chosen}: by its tensors it is "
            f"{' or '.join(family.title for family in alike)}. Choose one of these, or auto."
        )
    return found


def with_family(config: DiTConfig, family: Family) -> DiTConfig:
    """The config with what the tensors do not show."""
    return replace(config, frame_levels=config.frame_levels or family.frame_levels)


def expert_of(file: str) -> str | None:
    """Which of two experts a file is by its name, "high" or "low"; None if it does not say."""
    found = re.search(r"(?<![a-z])(high|low)(?:noise)?(?![a-z])", file.lower())
    return found[1] if found else None


def family(config: DiTConfig) -> str:
    """The key of DEFAULTS that fits a transformer of these sizes; never fails."""
    return told_family(config)[0].settings


def defaults_for(channels: int) -> SamplingDefaults:
    """What a canvas of so many latent channels starts from, while no model is connected."""
    made_for = {16: "1.3b", 48: "5b"}
    return DEFAULTS[made_for.get(channels, "nano")]


def fps_for(channels: int) -> int:
    """Frames per second of videos whose latents have so many channels."""
    return defaults_for(channels).fps
