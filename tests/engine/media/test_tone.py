"""ColourSpace of HDR and of wide screens as those of SDR, by the recommendations' own numbers."""

import math

import numpy as np
import pytest
import torch

from longtake.engine.media.tone import (
    BT709,
    BT2020,
    ORDINARY,
    P3,
    SCREEN,
    WHITE,
    ColourSpace,
    as_sdr,
    pq_code,
    pq_light,
)

# x and y of red, green and blue; white is D65
CHROMATICITIES = {
    BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    P3: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
}
PQ = ColourSpace("PQ", BT2020)


def codes(*values: float) -> torch.Tensor:
    """Greys of these code values, from 0 to 1."""
    return (torch.tensor(values).view(1, -1, 1) * 65535).round().int().expand(-1, -1, 3)


def greys(values, colours: ColourSpace) -> list[int]:
    shown = as_sdr(codes(*values), colours)
    assert (shown.amax(-1).int() - shown.amin(-1)).max() <= 1
    return shown[0, :, 0].tolist()


def to_xyz(primaries: int) -> np.ndarray:
    columns = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in CHROMATICITIES[primaries]]
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    matrix = np.array(columns).T
    return matrix * np.linalg.solve(matrix, white)


@pytest.mark.parametrize(
    ("code", "light"), [(0, 0), (0.3796, 26), (0.508, 100), (0.581, 203), (0.752, 1000), (1, 10000)]
)
def test_pq_is_what_the_tables_say(code, light):
    """Report ITU-R BT.2408-4, tables 1 and 2."""
    assert float(pq_light(torch.tensor(code))) == pytest.approx(light, rel=0.01)
    assert float(pq_code(torch.tensor(float(light)))) == pytest.approx(code, abs=1e-3)


def bent(light: float, peak: float) -> float:
    """BT.2390-8, 5.4.1, written out: cd/m² on a screen of WHITE of one up to `peak`."""
    code, source, target = (float(pq_code(torch.tensor(x))) for x in (light, peak, WHITE))
    e1, most = min(1, code / source), target / source
    knee = 1.5 * most - 0.5
    if e1 < knee:
        return light
    t = (e1 - knee) / (1 - knee)
    e2 = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee)
    e2 += (-2 * t**3 + 3 * t**2) * most
    return float(pq_light(torch.tensor(e2 * source)))


@pytest.mark.parametrize("peak", [1000.0, 4000.0, 10000.0])
def test_highlights_are_bent_as_recommended(peak):
    lights = [0.1, 1, 10, 50, 100, 203, 500, 999, 4000, 10000]
    values = [float(pq_code(torch.tensor(float(light)))) for light in lights]
    expected = [255 * (bent(light, peak) / WHITE) ** (1 / SCREEN) for light in lights]
    assert greys(values, ColourSpace("PQ", BT2020, peak)) == pytest.approx(expected, abs=1)
    shown = greys(np.linspace(0, 1, 300), ColourSpace("PQ", BT2020, peak))
    assert shown == sorted(shown)
    assert shown[-1] == 255


def test_what_is_dark_stays_as_bright_as_it_was():
    lights = [0, 0.5, 5, 20, 60]
    values = [float(pq_code(torch.tensor(float(light)))) for light in lights]
    expected = [255 * (light / WHITE) ** (1 / SCREEN) for light in lights]
    assert greys(values, PQ) == pytest.approx(expected, abs=1)


def test_hlg_is_shown_as_the_same_light_of_pq():
    """BT.2408-4, table 1: grey of 38 % is 26 cd/m², white of 75 % is 203."""
    lights = [26, 203, 1000]
    values = [float(pq_code(torch.tensor(float(light)))) for light in lights]
    assert greys([0.38, 0.75, 1], ColourSpace("HLG", BT2020)) == pytest.approx(
        greys(values, PQ), abs=2
    )


def test_a_highlight_keeps_its_hue():
    rgb = torch.tensor([[[0.75, 0.60, 0.55]]])
    shown = as_sdr((rgb * 65535).int(), ColourSpace("PQ", BT709)).double() / 255
    linear, light = shown**SCREEN, pq_light(rgb.double())
    assert (linear / linear.max() - light / light.max()).abs().max() < 0.02


@pytest.mark.parametrize("primaries", [P3, BT2020])
@pytest.mark.parametrize("colour", [(200, 40, 60), (10, 250, 30), (255, 255, 255), (0, 0, 128)])
def test_a_colour_that_both_screens_have_is_the_same_on_both(primaries, colour):
    linear = (np.array(colour) / 255) ** SCREEN
    wide = np.linalg.solve(to_xyz(primaries), to_xyz(BT709) @ linear).clip(0, 1)
    rgb = torch.from_numpy((wide ** (1 / SCREEN) * 65535).round()).int().view(1, 1, 3)
    assert as_sdr(rgb, ColourSpace(None, primaries)).flatten().tolist() == pytest.approx(
        colour, abs=1
    )


def test_a_colour_outside_is_the_nearest_that_there_is():
    green = torch.tensor([[[0, 65535, 0]]], dtype=torch.int32)
    assert as_sdr(green, ColourSpace(None, BT2020)).flatten().tolist() == [0, 255, 0]


def test_only_sdr_in_the_primaries_of_every_screen_is_left_as_it_is():
    assert ORDINARY.are_ordinary
    assert ColourSpace(None, 5).are_ordinary  # those of BT.601, which are as good as the same
    assert not PQ.are_ordinary
    assert not ColourSpace(None, BT2020).are_ordinary
    assert math.isclose(PQ.peak, 1000)
