"""The sizes that determine each network's weights, and those of the published networks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from math import prod
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import ConfigError

Config = TypeVar("Config", bound="_Stored")


class _Stored:
    """Configs travel as JSON in the metadata of the built-in weights."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls: type[Config], numbers: Mapping[str, Any]) -> Config:
        """The config that `to_json` wrote. Raises ConfigError for unknown or missing numbers."""
        as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()}
        try:
            return cls(**as_tuples)
        except TypeError as error:
            raise ConfigError(f"not a {cls.__name__}: {error}") from None


class Layout(Enum):
    """What a transformer's tensors look like; checkpoints of one layout differ in use only."""

    T2V = "Wan T2V"
    T2V_14B = "Wan T2V 14B"
    T2V_RATES = "SkyReels-V2 DF"
    I2V_CLIP = "Wan 2.1 I2V"
    FLF2V = "Wan 2.1 FLF2V"
    I2V = "Wan 2.2 I2V"
    TI2V = "Wan 2.2 TI2V"
    VACE = "Wan VACE"
    VACE_14B = "Wan VACE 14B"
    NANO = "Longtake nano"


@dataclass(frozen=True)
class DiTConfig(_Stored):
    """A Wan transformer's sizes."""

    width: int  # channels of the residual stream
    depth: int  # number of blocks
    heads: int
    mlp_width: int
    in_channels: int = 16  # the latent's, and for I2V the 4 of the mask and 16 of the image
    out_channels: int = 16
    text_width: int = 4096  # channels of the text encoder's output
    text_length: int = 512  # a shorter text is padded with zeros, which are attended to
    patch: tuple[int, int, int] = (1, 2, 2)  # latent frames, rows, columns per token
    freq_width: int = 256  # channels of the sinusoidal embedding of the noise level
    image_width: int | None = None  # channels of the CLIP image tokens of I2V 2.1
    image_positions: int | None = None  # FLF2V: learned positions of two images' tokens
    frame_levels: bool = False  # trained with a noise level for each latent frame
    frame_rates: bool = False  # conditioned on the frame rate, as SkyReels-V2 1.3B is
    eps: float = 1e-6
    vace_blocks: int = 0  # beside the others, for what VACE is shown of the video
    vace_channels: int = 96  # of that: inactive and reactive latents, a mask of 8 × 8 pixels

    def __post_init__(self):
        if self.vace_blocks > self.depth:
            raise ConfigError(f"{self.vace_blocks} blocks of VACE beside {self.depth} of a video.")
        if self.width % (2 * self.heads):
            raise ConfigError(
                f"width {self.width} does not split into {self.heads} heads of even size; "
                f"choose a multiple of {2 * self.heads}."
            )
        if self.head_dim < 6:
            raise ConfigError(
                f"heads of {self.head_dim} channels cannot hold positions on three axes; need 6."
            )

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def vace_layers(self) -> range:
        """The blocks that VACE's lie beside, evenly from the first on."""
        if not self.vace_blocks:
            return range(0)
        return range(0, self.depth, self.depth // self.vace_blocks)[: self.vace_blocks]

    @property
    def layout(self) -> Layout:
        if self.vace_blocks:
            return Layout.VACE_14B if self.width >= 5120 else Layout.VACE
        if self.frame_rates:
            return Layout.T2V_RATES
        if self.out_channels == 48:
            return Layout.TI2V
        if self.out_channels != 16:
            return Layout.NANO
        if self.in_channels > self.out_channels:
            with_clip = Layout.FLF2V if self.image_positions else Layout.I2V_CLIP
            return with_clip if self.image_width else Layout.I2V
        return Layout.T2V_14B if self.width >= 5120 else Layout.T2V


@dataclass(frozen=True)
class VAEConfig(_Stored):
    """A Wan VAE's sizes. `residual` tells layout 2.2 from layout 2.1."""

    width: int  # channels of the encoder's first stage
    decoder_width: int  # channels of the decoder's last stage
    latent_channels: int
    multipliers: tuple[int, ...] = (1, 2, 4, 4)  # channels of each stage, in units of the width
    res_blocks: int = 2  # residual blocks in an encoder stage; a decoder stage has one more
    temporal: tuple[bool, ...] = (False, True, True)  # which downsamplings halve time as well
    patch: int = 1  # pixels folded into channels, along each side, before the encoder
    residual: bool = False  # every stage has a parameter-free shortcut around it

    def __post_init__(self):
        if len(self.temporal) != len(self.multipliers) - 1:
            raise ConfigError(
                f"{len(self.multipliers)} stages have {len(self.multipliers) - 1} downsamplings "
                f"between them, but `temporal` has {len(self.temporal)}."
            )

    @property
    def stride_t(self) -> int:
        """Pixel frames in each latent frame after the first."""
        return 2 ** sum(self.temporal)

    @property
    def stride_hw(self) -> int:
        """Pixels along each side of a latent cell."""
        return self.patch * 2 ** len(self.temporal)

    @property
    def layout(self) -> str:
        return "2.2" if self.residual else "2.1"

    @property
    def pixel_channels(self) -> int:
        return 3 * prod((self.patch, self.patch))


# Source: wan/configs/*.py in Wan-Video/Wan2.1@9737cba and Wan-Video/Wan2.2@42bf4cf.
DIT_PRESETS: Mapping[str, DiTConfig] = MappingProxyType(
    {
        "nano": DiTConfig(
            width=256,
            depth=6,
            heads=4,
            mlp_width=768,
            in_channels=24,
            out_channels=24,
            text_width=192,
            text_length=64,
            frame_levels=True,
        ),
        "1.3b": DiTConfig(width=1536, depth=30, heads=12, mlp_width=8960),
        "5b": DiTConfig(
            width=3072,
            depth=30,
            heads=24,
            mlp_width=14336,
            in_channels=48,
            out_channels=48,
            frame_levels=True,
        ),
        "1.3b-vace": DiTConfig(width=1536, depth=30, heads=12, mlp_width=8960, vace_blocks=15),
        "14b-t2v": DiTConfig(width=5120, depth=40, heads=40, mlp_width=13824),
        "14b-vace": DiTConfig(width=5120, depth=40, heads=40, mlp_width=13824, vace_blocks=8),
        "14b-i2v": DiTConfig(
            width=5120, depth=40, heads=40, mlp_width=13824, in_channels=36, image_width=1280
        ),
        "14b-i2v-2.2": DiTConfig(width=5120, depth=40, heads=40, mlp_width=13824, in_channels=36),
    }
)

# Source: wan/modules/vae.py in Wan2.1@9737cba, wan/modules/vae2_2.py in Wan2.2@42bf4cf.
VAE_PRESETS: Mapping[str, VAEConfig] = MappingProxyType(
    {
        "nano": VAEConfig(
            width=32,
            decoder_width=48,
            latent_channels=24,
            multipliers=(1, 2, 2),
            res_blocks=1,
            temporal=(True, True),
            patch=4,
            residual=True,
        ),
        "2.1": VAEConfig(width=96, decoder_width=96, latent_channels=16),
        "2.2": VAEConfig(width=160, decoder_width=256, latent_channels=48, patch=2, residual=True),
    }
)
