"""Every transformer has settings, and they are possible ones."""

from dataclasses import replace

import pytest

from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.sampling.presets import (
    DMD,
    FAMILIES,
    GUESS,
    NANO,
    NANO_FAST,
    SELF_FORCING,
    TITLES,
    WAN_5B,
    WAN_I2V,
    defaults_for,
    expert_of,
    family_of,
    fps_for,
    with_family,
)
from longtake.engine.sampling.schedule import sigmas
from longtake.models.errors import InputError
from longtake.models.wan.config import DIT_PRESETS, Layout

OF_PRESETS = {
    "nano": "Longtake nano",
    "1.3b": "Wan 2.1 T2V 1.3B",
    "5b": "Wan 2.2 TI2V 5B",
    "14b-t2v": "Wan 2.1 T2V 14B",
    "1.3b-vace": "Wan 2.1 VACE 1.3B",
    "14b-vace": "Wan 2.1 VACE 14B",
    "14b-i2v": "Wan 2.1 I2V 14B",
    "14b-i2v-2.2": "Wan 2.2 I2V A14B",
}


@pytest.mark.parametrize("name", DIT_PRESETS)
def test_a_preset_is_of_its_own_family(name):
    assert family_of(DIT_PRESETS[name])[0].title == OF_PRESETS[name]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.title)
def test_settings_are_possible(family):
    settings = family.settings
    grid = CausalGrid(channels=1, stride_hw=16 if family.layout is Layout.TI2V else 8)
    grid.check_size(settings.width, settings.height)
    grid.latent_frames(settings.frames)
    sigmas(settings.steps, settings.shift_at(settings.width, settings.height))


def test_image_to_video_at_480p_has_a_shift_of_its_own():
    assert WAN_I2V.shift_at(832, 480) == 3
    assert WAN_I2V.shift_at(480, 832) == 3
    assert WAN_I2V.shift_at(1280, 720) == 5
    assert WAN_5B.shift_at(64, 64) == 5


@pytest.mark.parametrize("name", DIT_PRESETS)
def test_the_latents_tell_the_frame_rate(name):
    fps = family_of(DIT_PRESETS[name])[0].settings.fps
    assert fps_for(DIT_PRESETS[name].out_channels) == fps
    assert defaults_for(DIT_PRESETS[name].out_channels).fps == fps


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
    found, evidence = family_of(T2V, file)
    assert found.title == NAMED[file]
    assert evidence == (GUESS if found.title == "Wan 2.1 T2V 14B" else "its file name")


def test_other_layouts_are_told_by_file_names_too():
    assert family_of(I2V, "skyreels_v2_i2v.safetensors")[0].title == "SkyReels-V2 I2V"
    assert family_of(SMALL, "self_forcing_dmd.safetensors")[0].settings is SELF_FORCING
    assert family_of(SMALL, "FastWan2.1-T2V-1.3B.safetensors")[0].settings is DMD
    assert family_of(DIT_PRESETS["5b"], "FastWan2.2-TI2V-5B.safetensors")[0].title == (
        "FastWan 2.2 5B"
    )
    assert family_of(DIT_PRESETS["14b-i2v-2.2"])[1] == "its tensors"


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("wan2.1_vace_14B_fp16.safetensors", "Wan 2.1 VACE 14B"),
        ("Wan2.2-VACE-Fun-A14B/high_noise_model/diffusion.safetensors", "Wan 2.2 VACE-Fun A14B"),
        ("wan2.2_fun_vace_low_noise_14B_fp8_scaled.safetensors", "Wan 2.2 VACE-Fun A14B"),
        ("Wan2_2-VACE-Fun-A14B-LOW_fp8.safetensors", "Wan 2.2 VACE-Fun A14B"),
    ],
)
def test_the_experts_of_vace_fun_are_told_by_their_names(file, title):
    found = family_of(DIT_PRESETS["14b-vace"], file)[0]
    assert found.title == title
    assert (found.settings.boundary == 0.875) == ("Fun" in title)
    assert family_of(DIT_PRESETS["1.3b-vace"], file)[0].title == "Wan 2.1 VACE 1.3B"


def test_tensors_outrank_names():
    assert family_of(I2V, "wan2.2_t2v_high_noise.safetensors")[0].title == "Wan 2.1 I2V 14B"
    assert family_of(DIT_PRESETS["nano"], "fastwan.safetensors")[0].settings is NANO


def test_a_choice_outranks_the_name_but_not_the_tensors():
    found, evidence = family_of(T2V, "wan2.2.safetensors", "Wan 2.1 T2V 14B")
    assert (found.title, evidence) == ("Wan 2.1 T2V 14B", "your choice")
    with pytest.raises(
        InputError, match=r"'a' is not Wan 2.2 TI2V 5B: its tensors are those of Wan"
    ):
        family_of(T2V, "a", "Wan 2.2 TI2V 5B")
    with pytest.raises(InputError, match=r"Nearest: 'Wan 2.2 T2V A14B'"):
        family_of(T2V, "a", "wan 2.2 t2v a14b")


def test_the_built_in_model_is_quick_on_request_only():
    assert (NANO_FAST.steps, NANO.steps) == (8, 24)
    found, evidence = family_of(DIT_PRESETS["nano"], "nano (built in)")
    assert (found.settings, evidence) == (NANO, "its tensors")
    found, evidence = family_of(DIT_PRESETS["nano"], "nano (built in)", "Longtake nano-fast")
    assert (found.settings, evidence) == (NANO_FAST, "your choice")


def test_diffusion_forcing_takes_a_level_per_frame_though_its_tensors_do_not_show_it():
    found, _ = family_of(T2V, "skyreels-v2-df-14b")
    assert with_family(T2V, found).frame_levels
    assert with_family(T2V, family_of(T2V)[0]) == T2V


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.title)
def test_every_family_can_be_chosen_or_told(family):
    config = next(c for c in CONFIGS if c.layout is family.layout)
    if family.title in TITLES:
        assert family_of(config, "x", family.title)[0] is family
    else:
        assert family_of(config, "x")[0] is family


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
    few = [family.settings for family in FAMILIES if family.settings.levels]
    assert len(few) == 5
    for settings in few:
        assert len(settings.levels) == settings.steps
        assert settings.levels[0] == 1
