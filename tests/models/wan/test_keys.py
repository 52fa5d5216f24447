from dataclasses import replace

import pytest

from longtake.models.wan.config import DIT_PRESETS, VAE_PRESETS
from longtake.models.wan.dit import WanDiT
from longtake.models.wan.keys import dit_from_diffusers, vae_from_diffusers
from longtake.models.wan.vae import WanVAE
from tests.models.reference import diffusers_dit, diffusers_vae
from tests.models.tiny import NANO_LIKE, VAE_21, VAE_22, dit_to_diffusers, shapes_of

# Depth does not change what names there are; the whole presets are in tests/parity.
DITS = {
    "t2v": replace(DIT_PRESETS["1.3b"], depth=2),
    "ti2v": replace(DIT_PRESETS["5b"], depth=2),
    "i2v": replace(DIT_PRESETS["14b-i2v"], depth=2),
    "flf2v": replace(DIT_PRESETS["14b-i2v"], depth=2, image_positions=514),
    "eleven blocks": replace(DIT_PRESETS["1.3b"], depth=11),
}
VAES = {
    **VAE_PRESETS,
    "tiny 2.1": VAE_21,
    "tiny 2.2": VAE_22,
    "nano-like": NANO_LIKE,
    "2.1 with 1 block": replace(VAE_21, res_blocks=1),
    "2.1 with 3 blocks": replace(VAE_21, res_blocks=3),
    "2.2 with 3 blocks": replace(VAE_22, res_blocks=3),
}


@pytest.mark.parametrize("config", DITS.values(), ids=DITS)
def test_dit_names_map_one_to_one_with_their_shapes(config):
    ours, theirs = WanDiT(config, device="meta"), diffusers_dit(config, "meta")
    official, diffusers = shapes_of(ours), shapes_of(theirs)
    assert {dit_from_diffusers(name): shape for name, shape in diffusers.items()} == official
    assert {dit_to_diffusers(name): shape for name, shape in official.items()} == diffusers


@pytest.mark.parametrize("config", VAES.values(), ids=VAES)
def test_vae_names_map_one_to_one_with_their_shapes(config):
    official = shapes_of(WanVAE(config, device="meta"))
    diffusers = shapes_of(diffusers_vae(config, "meta"))
    rename = vae_from_diffusers(diffusers)
    assert {rename(name): shape for name, shape in diffusers.items()} == official
    assert len({rename(name) for name in diffusers}) == len(diffusers)


@pytest.mark.parametrize("config", DITS.values(), ids=DITS)
def test_there_and_back_is_the_same_name(config):
    for name in WanDiT(config, device="meta").state_dict():
        assert dit_from_diffusers(dit_to_diffusers(name)) == name


def test_the_norms_change_places():
    """Both layouts have three norms to a block; the one with weights is 3 here and 2 there."""
    assert dit_from_diffusers("blocks.3.norm2.weight") == "blocks.3.norm3.weight"
    assert dit_to_diffusers("blocks.3.norm3.bias") == "blocks.3.norm2.bias"


@pytest.mark.parametrize(
    "name",
    [
        "blocks.0.attn1.to_q.lora_A.weight",
        "blocks.0.attn3.to_q.weight",
        "blocks.zero.attn1.to_q.weight",
        "vace.blocks.0.proj_in.weight",
        "anything",
        "",
    ],
)
def test_unknown_names_stay_to_be_reported(name):
    assert dit_from_diffusers(name) == name
    assert vae_from_diffusers([name])(name) == name
