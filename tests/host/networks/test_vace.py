"""VACE checkpoints as MODEL: what core's WanVaceToVideo makes, and what is added to a MODEL."""

from dataclasses import replace

import pytest
import torch

from longtake.models.errors import InputError
from tests.host.networks.test_against_core import SMALL, assert_same_video, pair
from tests.host.runs import ksampler, latents, prompt, seen, windowed
from tests.host_models.wan import wan21

VACE = replace(SMALL, depth=4, vace_blocks=2)
LENGTH, WIDTH, HEIGHT = 9, 48, 32
SHAPE = (1, 16, 3, 4, 6)


@pytest.fixture
def both(pack):
    return pair(pack, VACE)


@pytest.fixture
def vae(comfyui):
    return wan21().vae


def to_video(vae, positive, negative, strength=1.0, seed=5, **inputs) -> dict:
    """What core's node gives, as KSampler's inputs."""
    from comfy_extras.nodes_wan import WanVaceToVideo

    rng = torch.Generator().manual_seed(seed)
    given = {
        "control_video": torch.rand(LENGTH, HEIGHT, WIDTH, 3, generator=rng),
        "control_masks": (torch.rand(LENGTH, HEIGHT, WIDTH, generator=rng) > 0.4).float(),
        **inputs,
    }
    positive, negative, latent, _ = WanVaceToVideo.execute(
        positive, negative, vae, WIDTH, HEIGHT, LENGTH, 1, strength, **given
    ).result
    return {"positive": positive, "negative": negative, "latent_image": latent, "steps": 2}


def prompts(model) -> tuple:
    return prompt(model, 1), prompt(model, 2)


def same(got, expected) -> bool:
    return ((got - expected).norm() / expected.norm()).item() < 1e-5


@pytest.mark.parametrize("reference", [False, True])
def test_what_cores_node_makes(both, vae, reference):
    core, ours = both
    rng = torch.Generator().manual_seed(3)
    image = torch.rand(1, 40, 40, 3, generator=rng)
    more = {"reference_image": image} if reference else {}
    given = to_video(vae, *prompts(ours), 0.7, **more)
    assert same(ksampler(ours, **given), ksampler(core, **given))


def test_a_chain_of_two_of_cores_nodes(both, vae):
    core, ours = both
    first = to_video(vae, *prompts(ours), 0.8)
    given = to_video(vae, first["positive"], first["negative"], 0.3, seed=6)
    got = ksampler(ours, **given)
    assert same(got, ksampler(core, **given))
    assert not same(got, ksampler(ours, **first))


def test_without_it_core_shows_black_to_be_sampled_and_so_do_we(both):
    assert_same_video(both, SHAPE)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # core's own
def test_context_windows_cut_what_it_is_shown(both, vae):
    """As each window by itself: of the first three frames of five, and of the rest."""
    _, ours = both
    size = (1, 16, 5, 4, 6)
    context = {
        "vace_frames": [latents(4, (1, 32, *size[2:]))],
        "vace_mask": [latents(5, (1, 64, *size[2:])).gt(0).float()],
        "vace_strength": [0.9],
    }
    model, shown = windowed(ours), []

    def record(x, *_, vace_context=None, **__):
        shown.append(vace_context[:1, 0].clone())

    given = [prompt(ours, seed, **context) for seed in (1, 2)]
    with seen(model, record):
        ksampler(model, positive=given[0], negative=given[1], steps=1, cfg=1.0,
                 latent_image={"samples": torch.zeros(size)})  # fmt: skip
    assert [context.shape[2] for context in shown] == [3, 3]
    masks = torch.cat((shown[0][:, 32:], shown[1][:, 32:, 1:]), dim=2)
    torch.testing.assert_close(masks, context["vace_mask"][0], rtol=0, atol=0)


def test_each_frame_has_its_own_strength(pack, both, vae):
    _, ours = both
    key = pack.transformer.FRAME_STRENGTHS
    given = to_video(vae, *prompts(ours), 0.8)

    def at(*strengths):
        rows = {key: [torch.tensor(strengths)]}
        both = {
            name: pack.conditioning.with_values(given[name], rows)
            for name in ("positive", "negative")
        }
        return ksampler(ours, **given | both)

    assert same(at(1.0, 1.0, 1.0), ksampler(ours, **given))
    half = {
        name: [[text, {**extras, "vace_strength": [0.4]}] for text, extras in given[name]]
        for name in ("positive", "negative")
    }
    assert same(at(0.5, 0.5, 0.5), ksampler(ours, **given | half))
    assert not same(at(1.0, 1.0, 0.0), ksampler(ours, **given))


def test_shots_apart_are_shown_their_own_part_and_the_references(pack, both):
    """While shots do not see one another, each is sampled as the clip that it is."""
    _, ours = both
    lead, size = 1, (1, 16, 5, 4, 6)
    frames, mask = latents(4, (1, 32, *size[2:])), latents(5, (1, 64, *size[2:])).gt(0).float()
    noise, sigma = latents(6, size), torch.tensor([0.9])
    texts = [prompt(ours, seed)[0][0] for seed in (1, 2)]
    context = torch.cat((frames, mask), dim=1)[:, None]
    apply = ours.model.diffusion_model

    def velocity(x, context, **more):
        more |= {"vace_context": context, "vace_strength": [1.0], "transformer_options": {}}
        return apply(x, 1000 * sigma, texts[0], **more)

    shots = {
        "shot_texts": texts,
        "shot_frames": torch.tensor([0, 0, 0, 1, 1]).view(1, 1, -1, 1, 1),
        "vace_lead": lead,
        "shots_meet": 0.35,
    }
    got = velocity(noise, context, **shots)
    first = velocity(noise[:, :, :3], context[:, :, :, :3])
    alone = [0, 3, 4]
    second = apply(
        noise[:, :, alone], 1000 * sigma, texts[1], vace_context=context[:, :, :, alone],
        vace_strength=[1.0], transformer_options={},
    )[:, :, 1:]  # fmt: skip
    torch.testing.assert_close(got, torch.cat((first, second), dim=2), rtol=1e-4, atol=1e-5)


def test_latents_of_another_size_are_refused(both, vae):
    _, ours = both
    given = to_video(vae, *prompts(ours))
    given["latent_image"] = {"samples": torch.zeros(1, 16, 5, 4, 6)}
    with pytest.raises(InputError, match=r"shown 3 latent frames of 4×6, and the LATENT has 5"):
        ksampler(ours, **given)


LAYERS = ["blocks.1.ffn.0", "vace_blocks.1.ffn.0", "vace_blocks.0.before_proj"]
SPELLED = {
    "official": "diffusion_model.{}",
    "kohya": "lora_unet_{}",
    "diffusers": "transformer.{}",
}
DIFFUSERS = {"ffn.0": "ffn.net.0.proj", "before_proj": "proj_in"}


@pytest.mark.parametrize("spelling", SPELLED)
def test_loras_reach_both_branches(pack, comfyui, both, spelling):
    from safetensors.torch import save_file

    rng, tensors, expected = torch.Generator().manual_seed(3), {}, {}
    before = both[1].model.state_dict()
    for layer in LAYERS:
        weight = before[f"diffusion_model.{layer}.weight"]
        up = torch.randn(len(weight), 3, generator=rng)
        down = torch.randn(3, weight.shape[1], generator=rng)
        name = layer
        if spelling == "diffusers":
            for official, theirs in DIFFUSERS.items():
                name = name.replace(official, theirs)
        if spelling == "kohya":
            name = name.replace(".", "_")
        name = SPELLED[spelling].format(name)
        tensors |= {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
        expected[f"diffusion_model.{layer}.weight"] = weight + 0.5 * up @ down
    folder = comfyui.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "vace.safetensors")
    changed, fit = pack.lora.add(both[1], "vace.safetensors", 0.5)
    assert (len(fit.patches), fit.left) == (3, {})
    import comfy.model_management as mm

    mm.load_models_gpu([changed])
    after = changed.model.state_dict()
    for name, weight in expected.items():
        torch.testing.assert_close(after[name], weight)


def test_memory_is_asked_for_each_context(both):
    network = both[1].model
    one, two = (
        network.memory_required(SHAPE, {"vace_context": [(1, n, 96, *SHAPE[2:])]}) for n in (1, 2)
    )
    tokens = SHAPE[2] * SHAPE[3] * SHAPE[4] // 4
    assert two - one == tokens * VACE.width * 4
    assert one == network.memory_required(SHAPE)


def test_every_layer_of_a_step_is_fetched_with_its_block(both):
    network = both[1].model.diffusion_model
    layers = {
        id(m) for group in network.layers_of_a_step() for root in group for m in root.modules()
    }
    beside = network.vace_blocks[1]
    for layer in (
        beside.ffn[0],
        beside.self_attn.q,
        beside.after_proj,
        network.vace_blocks[0].before_proj,
    ):
        assert id(layer) in layers
    groups = network.layers_of_a_step()
    assert beside.after_proj in groups[2]
    assert all(beside.after_proj not in group for n, group in enumerate(groups) if n != 2)


def test_its_names_are_cores(both):
    core, ours = both
    assert set(ours.model_state_dict()) == set(core.model_state_dict())
