"""Every transformer has settings, and they are possible ones."""

from dataclasses import replace

import pytest

from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.sampling.presets import (
    DEFAULTS,
    FAMILIES,
    defaults_for,
    expert_of,
    family,
    fps_for,
    layout,
    told_family,
    with_family,
)
from longtake.engine.sampling.schedule import sigmas
from longtake.models.errors import InputError
from longtake.models.wan.config import DIT_PRESETS


@pytest.mark.parametrize("name", DIT_PRESETS)
def test_a_preset_is_of_its_own_family(name):
    assert family(DIT_PRESETS[name]) == name


@pytest.mark.parametrize("name", DEFAULTS)
def test_settings_are_possible(name):
    settings = DEFAULTS[name]
    grid = CausalGrid(
        channels=1, stride_hw=16 if DEFAULTS[name].fps == 24 and DEFAULTS[name].height == 704 else 8
    )
    grid.check_size(settings.width, settings.height)
    grid.latent_frames(settings.frames)
    sigmas(settings.steps, settings.shift_at(settings.width, settings.height))


def test_image_to_video_at_480p_has_a_shift_of_its_own():
    assert DEFAULTS["14b-i2v"].shift_at(832, 480) == 3
    assert DEFAULTS["14b-i2v"].shift_at(480, 832) == 3
    assert DEFAULTS["14b-i2v"].shift_at(1280, 720) == 5
    assert DEFAULTS["5b"].shift_at(64, 64) == 5


@pytest.mark.parametrize("name", DIT_PRESETS)
def test_the_latents_tell_the_frame_rate(name):
    assert fps_for(DIT_PRESETS[name].out_channels) == DEFAULTS[name].fps
    assert defaults_for(DIT_PRESETS[name].out_channels).fps == DEFAULTS[name].fps


T2V, I2V, SMALL = (DIT_PRESETS[name] for name in ("14b-t2v", "14b-i2v", "1.3b"))
NAMED = {
    "Wan2.2-T2V-A14B-Diffusers/transformer/model.safetensors.index.json": "Wan 2.2 T2V A14B",
    "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors": "Wan 2.2 T2V A14B",
    "Wan2_2-T2V-A14B-LOW_fp8.safetensors": "Wan 2.2 T2V A14B",
    "wan2.1_t2v_14B_bf16.safetensors": "Wan 2.1 T2V 14B",
    "Wan2_1-SkyReels-V2-DF-14B-540P_fp16.safetensors": "SkyReels-V2 DF 14B",
    "Wan2_1-SkyReels-V2-T2V-14B-720P_fp16.safetensors": "SkyReels-V2 T2V 14B",
    "Wan21_CausVid_14B.safetensors": "CausVid 14B",
}


@pytest.mark.parametrize("file", NAMED)
def test_a_file_name_tells_what_tensors_do_not(file):
    found, told = told_family(T2V, file)
    assert found.title == NAMED[file]
    assert told == ("a guess" if found.title == "Wan 2.1 T2V 14B" else "its file name")


def test_other_layouts_are_told_by_file_names_too():
    assert told_family(I2V, "skyreels_v2_i2v.safetensors")[0].title == "SkyReels-V2 I2V"
    assert told_family(SMALL, "self_forcing_dmd.safetensors")[0].settings == "self-forcing"
    assert told_family(SMALL, "FastWan2.1-T2V-1.3B.safetensors")[0].settings == "fastwan"
    assert told_family(DIT_PRESETS["5b"], "FastWan2.2-TI2V-5B.safetensors")[0].title == (
        "FastWan 2.2 5B"
    )
    assert told_family(DIT_PRESETS["14b-i2v-2.2"])[1] == "its tensors"


def test_tensors_outrank_names():
    assert told_family(I2V, "wan2.2_t2v_high_noise.safetensors")[0].title == "Wan 2.1 I2V 14B"
    assert told_family(DIT_PRESETS["nano"], "fastwan.safetensors")[0].settings == "nano"


def test_a_choice_outranks_the_name_but_not_the_tensors():
    found, told = told_family(T2V, "wan2.2.safetensors", "Wan 2.1 T2V 14B")
    assert (found.title, told) == ("Wan 2.1 T2V 14B", "your choice")
    with pytest.raises(InputError, match=r"'a' is no Wan 2.2 TI2V 5B: by its tensors it is Wan"):
        told_family(T2V, "a", "Wan 2.2 TI2V 5B")
    with pytest.raises(InputError, match=r"Nearest: 'Wan 2.2 T2V A14B'"):
        told_family(T2V, "a", "wan 2.2 t2v a14b")


def test_the_built_in_model_is_quick_on_request_only():
    nano, fast = DEFAULTS["nano"], DEFAULTS["nano-fast"]
    assert (fast.steps, nano.steps) == (8, 24)
    found, told = told_family(DIT_PRESETS["nano"], "nano (built in)")
    assert (found.settings, told) == ("nano", "its tensors")
    found, told = told_family(DIT_PRESETS["nano"], "nano (built in)", "Longtake nano-fast")
    assert (found.settings, told) == ("nano-fast", "your choice")


def test_diffusion_forcing_takes_a_level_per_frame_though_its_tensors_do_not_show_it():
    found, _ = told_family(T2V, "skyreels-v2-df-14b")
    assert with_family(T2V, found).frame_levels
    assert with_family(T2V, told_family(T2V)[0]) == T2V


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.title)
def test_every_family_can_be_chosen_or_told(family):
    alike = next(c for c in CONFIGS if layout(c) == family.layout)
    if family.settings != "nano":
        assert told_family(alike, "x", family.title)[0] is family
    assert family.settings in DEFAULTS


CONFIGS = [
    *DIT_PRESETS.values(),
    replace(I2V, image_positions=514),
    replace(SMALL, frame_rates=True),
]


@pytest.mark.parametrize(
    ("file", "expert"),
    [
        ("wan2.2_t2v_high_noise_14B.safetensors", "high"),
        ("Wan2_2-I2V-A14B-LOW_fp8.safetensors", "low"),
        ("wan22-lownoise.safetensors", "low"),
        ("slow_highlights.safetensors", None),
    ],
)
def test_an_expert_is_told_by_its_name(file, expert):
    assert expert_of(file) == expert


def test_few_step_models_have_levels_of_their_own():
    for settings in DEFAULTS.values():
        if settings.levels:
            assert len(settings.levels) == settings.steps
            assert settings.levels[0] == 1
