"""Which parameter of a network a name in somebody's file means, whatever stands before it.

Trainers name a layer after the network's own modules, in one of two layouts (`keys`), with dots or
with underscores, and put before it where they kept the network: `transformer.`, `pipe.dit.`,
`base_model.model.`, `lora_unet_`. So a name is looked up by its end.
"""

import re
from collections.abc import Iterable

from .keys import BLOCK, DIT, DIT_BLOCK, rename_stem

OTHER_BLOCK = {new: old for old, new in DIT_BLOCK.items()}
OTHER = {new: old for old, new in DIT.items()}
# Before a name with underscores, which do not show where a word of the layer's begins: only what no
# layer's name begins with. `lora_unet_vace_blocks_0` is no layer of `blocks`.
BEFORE = re.compile(
    r"(?:(?:lora|lycoris|lokr|loha|locon|dora|oft|boft|glora|peft|base|model|pipe|wan|unet|dit|"
    r"transformer|diffusion|denoiser|network|net|high|low|noise|expert|2)_+)*"
)
TWICE = re.compile(r"(?:^|_)([a-z]+)_+(?:.*_)?\1(?:_|$)")
LOW = re.compile(r"(?:^|[._])(?:transformer_2|low(?:_noise)?)(?:[._]|$)")


class LayerNames:
    """Names of a network's parameters, to be found by how others write them.

    Args:
        stems: the parameters' own names, without `.weight`: `blocks.0.self_attn.q`,
            `blocks.0.modulation`.
    """

    def __init__(self, stems: Iterable[str]):
        self._dotted: dict[str, str] = {}
        for stem in stems:
            self._dotted.setdefault(_in_diffusers(stem), stem)
            self._dotted[stem] = stem
        self._flat = {name.replace(".", "_"): stem for name, stem in self._dotted.items()}

    def find(self, name: str) -> tuple[str, str] | None:
        """(the parameter's own name, what stands before it in `name`); None if none is meant."""
        words = name.split(".")
        for start in range(len(words)):
            end = ".".join(words[start:])
            before = ".".join(words[:start])
            if end in self._dotted:
                return self._dotted[end], before
        flat = words[-1]
        for start in [0, *(match.end() for match in re.finditer("_", flat))]:
            before = flat[:start]
            fits = BEFORE.fullmatch(before) and not TWICE.search(before)
            if fits and flat[start:] in self._flat:
                return self._flat[flat[start:]], ".".join([*words[:-1], before]).rstrip("_")
        return None


def is_low_noise(before: str) -> bool:
    """Whether what stands before a layer's name says the low-noise half of Wan 2.2 A14B.

    diffusers keeps that half as `transformer_2`, the other as `transformer`.
    """
    return LOW.search(before) is not None


def _in_diffusers(stem: str) -> str:
    """`blocks.3.self_attn.q` -> `blocks.3.attn1.to_q`."""
    if match := BLOCK.fullmatch(stem):
        return match[1] + rename_stem(match[2], OTHER_BLOCK)
    return rename_stem(stem, OTHER)
