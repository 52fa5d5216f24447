"""HDR and wide colours as the SDR of an ordinary screen: BT.709, in bytes.

Code values are taken to light (cd/m²), its highlights bent under the white of SDR, its primaries
turned to those of BT.709, and the light taken to the code values of a BT.1886 screen. What is
darker than about half of white stays as bright as it was.

Sources: PQ: SMPTE ST 2084. HLG: Recommendation ITU-R BT.2100-2, table 5. The bend: Report ITU-R
BT.2390-8, section 5.4.1. White at 203 cd/m²: Report ITU-R BT.2408-4. Primaries: Recommendations
ITU-R BT.2020-2, BT.709-6, SMPTE EG 432-1.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = 2**16  # of a code value
WHITE = 203.0  # cd/m² of an SDR white among HDR
PEAK = 1000.0  # cd/m² that most HDR is graded on, where a file does not say
PQ_PEAK = 10_000.0
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2  # of the reference screen
SCREEN = 2.4  # the exponent of BT.1886, black being 0

M1, M2 = 2610 / 16384, 2523 / 4096 * 128
C1, C2, C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
A = 0.17883277
B, C = 0.28466892, 0.55991073

# Linear RGB of other primaries to that of BT.709, by the primaries' number (ISO/IEC 23091-2).
BT709, BT2020, P3 = 1, 9, 12
TO_BT709 = {
    BT2020: (
        (1.660491, -0.587641, -0.072850),
        (-0.124550, 1.132900, -0.008349),
        (-0.018151, -0.100579, 1.118730),
    ),
    P3: (
        (1.224940, -0.224940, 0.0),
        (-0.042057, 1.042057, 0.0),
        (-0.019638, -0.078636, 1.098274),
    ),
}
LUMINANCE = (0.2627, 0.6780, 0.0593)  # of linear BT.2020


class ColourSpace(NamedTuple):
    """What code values stand for.

    Attributes:
        transfer: "PQ", "HLG", or None for SDR.
        primaries: by their number in ISO/IEC 23091-2.
        peak: cd/m² of the brightest that PQ holds.
    """

    transfer: str | None
    primaries: int
    peak: float = PEAK

    @property
    def are_ordinary(self) -> bool:
        """Whether a screen shows the code values as they are."""
        return self.transfer is None and self.primaries not in TO_BT709


ORDINARY = ColourSpace(None, BT709)


def as_sdr(rgb: Tensor, colours: ColourSpace) -> Tensor:
    """Code values of other colours as those of BT.709.

    Args:
        rgb: int32 (h, w, 3) from 0 to 65535.

    Returns:
        uint8 (h, w, 3).
    """
    light = _light(rgb, colours.transfer)
    if colours.transfer is not None:
        light = _bent(light, HLG_PEAK if colours.transfer == "HLG" else colours.peak)
    if matrix := TO_BT709.get(colours.primaries):
        light = light @ light.new_tensor(matrix).T
    return light.clamp_(0, 1).pow_(1 / SCREEN).mul_(255).round_().to(torch.uint8)


def _light(rgb: Tensor, transfer: str | None) -> Tensor:
    """Linear light in units of WHITE."""
    light = _lights(transfer)[rgb]
    if transfer == "HLG":  # the screen's gamma is that of luminance, not of each colour
        luminance = light @ light.new_tensor(LUMINANCE)
        light = light * luminance.clamp_min(1e-6).pow(HLG_GAMMA - 1)[..., None] * HLG_PEAK / WHITE
    return light


@cache
def _lights(transfer: str | None) -> Tensor:
    """The light of each code value; of HLG that of the scene, from 0 to 1."""
    codes = torch.arange(LEVELS, dtype=torch.float64) / (LEVELS - 1)
    if transfer == "PQ":
        return (pq_light(codes) / WHITE).float()
    if transfer == "HLG":
        return torch.where(codes <= 0.5, codes**2 / 3, (((codes - C) / A).exp() + B) / 12).float()
    return codes.pow(SCREEN).float()


def pq_light(codes: Tensor) -> Tensor:
    """cd/m² of PQ's code values from 0 to 1."""
    root = codes.clamp_min(0) ** (1 / M2)
    return PQ_PEAK * ((root - C1).clamp_min(0) / (C2 - C3 * root)) ** (1 / M1)


def pq_code(light: Tensor) -> Tensor:
    """PQ's code values from 0 to 1 of cd/m²."""
    root = (light.clamp_min(0) / PQ_PEAK) ** M1
    return ((C1 + C2 * root) / (1 + C3 * root)) ** M2


def _bent(light: Tensor, peak: float) -> Tensor:
    """Light in units of WHITE with highlights up to `peak` cd/m² under 1.

    The largest of the three colours is bent and the others scaled alike, which keeps the hue.
    """
    curve = _bend(peak)
    largest = light.amax(dim=-1, keepdim=True).clamp_min(1e-6)
    place = pq_code(largest * WHITE) * (LEVELS - 1)
    return light * (curve[place.round().int().clamp_max(LEVELS - 1)] / largest)


@cache
def _bend(peak: float) -> Tensor:
    """Of each PQ code value the light in units of WHITE that it is shown with."""
    codes = torch.arange(LEVELS, dtype=torch.float64) / (LEVELS - 1)
    source, target = pq_code(torch.tensor([max(peak, WHITE), WHITE], dtype=torch.float64))
    most = target / source
    knee = 1.5 * most - 0.5
    e = (codes / source).clamp_max(1)
    t = ((e - knee) / (1 - knee).clamp_min(1e-9)).clamp(0, 1)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * most
    )
    return (pq_light(torch.where(e < knee, e, spline) * source) / WHITE).float()
