"""Every transformer has settings, and they are possible ones."""

import pytest

from longtake.engine.defaults import DEFAULTS, family, fps_for
from longtake.engine.schedule import sigmas
from longtake.engine.size import LatentGrid
from longtake.models.wan.config import DIT_PRESETS


@pytest.mark.parametrize("name", DIT_PRESETS)
def test_a_preset_is_of_its_own_family(name):
    assert family(DIT_PRESETS[name]) == name


@pytest.mark.parametrize("name", DEFAULTS)
def test_settings_are_possible(name):
    settings = DEFAULTS[name]
    grid = LatentGrid(channels=1, stride_hw=16 if name in ("nano", "5b") else 8)
    grid.check_size(settings.width, settings.height)
    grid.latent_frames(settings.frames)
    sigmas(settings.steps, settings.shift_at(settings.width, settings.height))


def test_image_to_video_at_480p_has_a_shift_of_its_own():
    assert DEFAULTS["14b-i2v"].shift_at(832, 480) == 3
    assert DEFAULTS["14b-i2v"].shift_at(480, 832) == 3
    assert DEFAULTS["14b-i2v"].shift_at(1280, 720) == 5
    assert DEFAULTS["5b"].shift_at(64, 64) == 5


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_latents_tell_the_frame_rate(name):
    assert fps_for(DIT_PRESETS[name].out_channels) == DEFAULTS[name].fps
