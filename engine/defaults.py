"""The settings each kind of checkpoint was made for, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..models.wan.config import DiTConfig

# Source: `sample_neg_prompt` in wan/configs/shared_config.py, Wan-Video/Wan2.1@9737cba.
WAN_NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，"
    "低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，"
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
SMALL_FRAME = 832 * 480  # pixels; up to here the 480p settings hold


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

    def shift_at(self, width: int, height: int) -> float:
        """The shift for frames of this many pixels."""
        if self.small_shift is not None and width * height <= SMALL_FRAME:
            return self.small_shift
        return self.shift


# Sources: generate.py, README.md, wan/configs/*.py in Wan-Video/Wan2.1@9737cba, Wan2.2@42bf4cf.
# 1.3b: the README advises a shift of 8 to 12 and a guidance of 6 over the 5 and 5 of the code.
# 14b-t2v: Wan 2.2's A14B has the very same layout and wants a shift of 12: set it by hand.
DEFAULTS: Mapping[str, SamplingDefaults] = MappingProxyType(
    {
        "nano": SamplingDefaults(24, 3.0, 4.0, 8, 128, 128, 17, negative="", sampler="euler"),
        "1.3b": SamplingDefaults(50, 8.0, 6.0, 16, 832, 480, 81),
        "5b": SamplingDefaults(50, 5.0, 5.0, 24, 1280, 704, 121),
        "14b-t2v": SamplingDefaults(50, 5.0, 5.0, 16, 1280, 720, 81),
        "14b-i2v": SamplingDefaults(40, 5.0, 5.0, 16, 1280, 720, 81, small_shift=3.0),
        "14b-i2v-2.2": SamplingDefaults(40, 5.0, 3.5, 16, 1280, 720, 81),
    }
)


def family(config: DiTConfig) -> str:
    """The key of DEFAULTS that fits a transformer of these sizes; never fails."""
    if config.out_channels == 48:
        return "5b"
    if config.out_channels != 16:
        return "nano"
    if config.in_channels > config.out_channels:
        return "14b-i2v" if config.image_width else "14b-i2v-2.2"
    return "14b-t2v" if config.width >= 5120 else "1.3b"


def fps_for(channels: int) -> int:
    """Frames per second of videos whose latents have so many channels."""
    made_for = {16: "1.3b", 48: "5b"}
    return DEFAULTS[made_for.get(channels, "nano")].fps
