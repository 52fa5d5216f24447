"""LoRAs of every trainer and of none: what of a file counts, and what the node says of the rest."""

import pytest
import torch
from safetensors.torch import save_file

from longtake.models.errors import CheckpointError, InputError
from tests.host.networks.test_lora_formats import (  # noqa: F401
    LAYERS,
    SIZES,
    both,
    in_diffusers_layout,
    loras,
    low_rank,
    native,
    rng,
    sampled,
)

QUERY = "diffusion_model.blocks.0.self_attn.q"


@pytest.fixture
def ours(both):  # noqa: F811
    return both[1]


@pytest.fixture
def add(pack, loras):  # noqa: F811
    def saved_and_added(model, tensors, strength=0.8, half="auto"):
        save_file({k: v.clone().contiguous() for k, v in tensors.items()}, loras / "a.safetensors")
        return pack.lora.add(model, "a.safetensors", strength, half)

    return saved_and_added


def kronecker(draw):
    """LoKr, one tensor pair to a layer."""
    for layer, (out, into) in LAYERS.items():
        yield f"diffusion_model.{layer}.lokr_w1", torch.randn(4, 4, generator=draw) / 4
        yield (
            f"diffusion_model.{layer}.lokr_w2",
            torch.randn(out // 4, into // 4, generator=draw) / 8,
        )


def hadamard(draw):
    """LoHa."""
    for layer, (out, into) in LAYERS.items():
        for half in "12":
            yield f"diffusion_model.{layer}.hada_w{half}_a", torch.randn(out, 3, generator=draw) / 4
            yield (
                f"diffusion_model.{layer}.hada_w{half}_b",
                torch.randn(3, into, generator=draw) / 4,
            )


def renamed(lora, before, layout="official", flat=False):
    """The same tensors as another trainer names them."""
    from tests.models.tiny import dit_to_diffusers

    for name, value in lora.items():
        layer = next(layer for layer in LAYERS if f".{layer}." in name)
        part = name.removeprefix(f"diffusion_model.{layer}.")
        if layout == "diffusers":
            layer = dit_to_diffusers(f"{layer}.weight").removesuffix(".weight")
        yield f"{before}{layer.replace('.', '_') if flat else layer}.{part}", value


@pytest.mark.parametrize("kind", [native, kronecker, hadamard])
@pytest.mark.parametrize(
    ("before", "flat"),
    [
        *[(before, False) for before in (
            "transformer.", "transformer_2.", "pipe.dit.", "base_model.model.",
            "model.diffusion_model.", "unet.base_model.model.", "somebodys.own.words.", "",
        )],
        *[(before, True) for before in (
            "lycoris_", "lora_unet_", "lora_transformer_", "lora_transformer_2_", "lora_unet__", "",
        )],
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["official", "diffusers"])
def test_a_name_goes_by_its_layer(ours, add, kind, before, flat, layout):
    wanted = dict(kind(rng()))
    _, fit = add(ours, dict(renamed(wanted, before, layout, flat)))
    assert not fit.left
    assert set(fit.patches) == {f"diffusion_model.{layer}.weight" for layer in LAYERS}


def test_what_lycoris_names_does_what_core_does(ours, add):
    wanted = dict(kronecker(rng()))
    model, _ = add(ours, dict(renamed(wanted, "lycoris_", "diffusers", flat=True)))
    torch.testing.assert_close(sampled(model, ours), sampled(ours, ours, wanted), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        "lora_unet_vace_blocks_0_self_attn_q",
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_transformer_transformer_blocks_0_attn1_to_q",
        "transformer.vace_blocks.0.attn1.to_q",
    ],
)
def test_another_networks_layer_is_not_taken_for_ours(ours, add, layer):
    up, down = low_rank(rng(), 128, 128)
    with pytest.raises(CheckpointError, match=f"it holds {layer}.*no such layer"):
        add(ours, {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down})


def test_a_difference_of_modulation_by_its_short_name(ours, add):
    delta = torch.randn(1, 6, 128, generator=rng())
    short, _ = add(ours, {"diffusion_model.blocks.1.diff_m": delta})
    expected = sampled(ours, ours, {"diffusion_model.blocks.1.modulation.diff": delta})
    assert torch.equal(sampled(short, ours), expected)
    assert not torch.equal(expected, sampled(ours, ours))


@pytest.mark.parametrize("alpha", [None, 2.0])
def test_a_bias_counts_as_strongly_as_its_layer(ours, add, alpha):
    draw = rng()
    up, down = low_rank(draw, 128, 128)
    bias = torch.randn(128, generator=draw)
    tensors = {f"{QUERY}.lora_B.weight": up, f"{QUERY}.lora_A.weight": down}
    if alpha:
        tensors[f"{QUERY}.alpha"] = torch.tensor(alpha)
    model, fit = add(ours, {**tensors, f"{QUERY}.lora_B.bias": bias})
    assert not fit.left
    whole = {**tensors, f"{QUERY}.diff_b": bias * (alpha / 4 if alpha else 1)}
    torch.testing.assert_close(sampled(model, ours), sampled(ours, ours, whole), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(128,), (128, 1)])
@pytest.mark.parametrize("strength", [1.0, 0.8])
def test_pefts_lengths_of_rows(ours, add, shape, strength):
    """By the definition: rows of W + BA as long as is said."""
    import comfy.model_management as mm

    draw = rng()
    up, down = low_rank(draw, 128, 128)
    lengths = 1 + torch.rand(128, generator=draw)
    before = ours.model.state_dict()[f"{QUERY}.weight"].clone()
    name = f"base_model.model.{QUERY.removeprefix('diffusion_model.')}"
    model, fit = add(
        ours,
        {
            f"{name}.lora_A.default.weight": down,
            f"{name}.lora_B.default.weight": up,
            f"{name}.lora_magnitude_vector.default.weight": lengths.reshape(shape),
        },
        strength,
    )
    assert not fit.left
    mm.load_models_gpu([model])
    after = before + up @ down
    after *= (lengths / after.norm(dim=1))[:, None]
    got = model.model.state_dict()[f"{QUERY}.weight"].clone()
    model.detach()
    torch.testing.assert_close(got, before + strength * (after - before))


def broken():
    up, down = low_rank(rng(), 128, 128)
    pair = {".lora_up.weight": up, ".lora_down.weight": down}
    return {
        "ranks": ({**pair, ".lora_down.weight": torch.ones(5, 128)}, "does not fit"),
        "dora": ({**pair, ".dora_scale": torch.ones(77, 1)}, "does not fit"),
        "lengths": ({**pair, ".lora_magnitude_vector": torch.ones(5)}, "does not fit"),
        "rank 0": (
            {".lora_up.weight": torch.ones(128, 0), ".lora_down.weight": torch.ones(0, 128)},
            "is empty",
        ),
        "only B": ({".lora_B.weight": up}, "without lora_A.weight"),
        "alphas": ({**pair, ".alpha": torch.ones(5)}, "alpha is 5 numbers"),
        "no alpha": ({**pair, ".alpha": torch.ones(0)}, "alpha is empty"),
        "reshaped": ({**pair, ".reshape_weight": torch.tensor([10**6, 10**6])}, "1000000"),
        "inner": (
            {".hada_w1_a": torch.ones(128, 3), ".hada_w1_b": torch.ones(4, 128),
             ".hada_w2_a": torch.ones(128, 3), ".hada_w2_b": torch.ones(3, 128)},
            "does not fit",
        ),
        "whole": ({".diff": torch.ones(128, 127)}, "does not fit"),
        "set": ({".set_weight": torch.ones(3, 5)}, "does not fit"),
        "blocks": ({".oft_blocks": torch.ones(3, 5, 5)}, "does not fit"),
        "unknown": ({".lora_Q.weight": torch.ones(3)}, "not known as a part"),
    }  # fmt: skip


@pytest.mark.parametrize("case", broken())
def test_what_cannot_be_applied_is_named_and_never_counted(ours, add, case, caplog):
    parts, reason = broken()[case]
    bad = {QUERY + part: value for part, value in parts.items()}
    with pytest.raises(CheckpointError, match=f"fits nowhere.*{reason}"):
        add(ours, bad)
    good = {k: v for k, v in native(rng()) if not k.startswith(QUERY)}
    model, fit = add(ours, {**good, **bad})
    assert (fit.used, fit.left.keys()) == (set(good), set(bad))
    assert reason in str(fit)
    assert torch.equal(sampled(model, ours), sampled(ours, ours, good))
    assert not [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")]


def for_both_experts():
    draw = rng()
    pairs = [dict(native(draw)) for _ in range(2)]
    return {
        **dict(in_diffusers_layout(pairs[0])),
        **{name.replace("transformer.", "transformer_2.", 1): value
           for name, value in in_diffusers_layout(pairs[1])},
    }, pairs  # fmt: skip


def test_a_half_of_a_file_for_both_experts(ours, add):
    tensors, (high, low) = for_both_experts()
    with pytest.raises(InputError, match="set half to high noise or low noise"):
        add(ours, tensors)
    for half, wanted in ("high noise", high), ("low noise", low):
        model, fit = add(ours, tensors, half=half)
        assert len(fit.used) == len(fit.left) == len(wanted)
        expected = sampled(ours, ours, wanted)
        torch.testing.assert_close(sampled(model, ours), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("file", "low"), [("wan2.2_high_noise.sft", 0), ("wan_Low-Noise.sft", 1)])
def test_the_models_name_says_which_half(ours, add, file, low, monkeypatch):
    tensors, _ = for_both_experts()
    monkeypatch.setattr(ours.model, "source", file)
    _, fit = add(ours, tensors)
    assert all(name.startswith("transformer_2.") == bool(low) for name in fit.used)


def test_the_half_that_a_file_has_not_is_not_taken(ours, add):
    tensors, _ = for_both_experts()
    only_low = {name: value for name, value in tensors.items() if "transformer_2" in name}
    assert not add(ours, only_low)[1].left
    assert not add(ours, only_low, half="low noise")[1].left
    with pytest.raises(CheckpointError, match="of the low noise half"):
        add(ours, only_low, half="high noise")
    unnamed = dict(native(rng()))
    assert not add(ours, unnamed, half="low noise")[1].left


def test_cores_lora_kinds_all_reach_the_weights(ours, add):
    """Blocks that turn rows, alone and with a bound: core tells them from numbers."""
    draw = rng()
    blocks = torch.randn(4, 32, 32, generator=draw) / 20
    tensors = {f"{QUERY}.oft_blocks": blocks, f"{QUERY}.alpha": torch.tensor(0.5)}
    model, fit = add(ours, tensors)
    assert fit.used == set(tensors)
    assert not torch.equal(sampled(model, ours), sampled(ours, ours))
