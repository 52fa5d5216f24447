from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from longtake.models.cpu import bands, channels_last, onednn
from longtake.models.errors import ConfigError, FrameCountError
from longtake.models.layers import ChannelNorm, video_layers
from longtake.models.wan.config import VAE_PRESETS, VAEConfig
from longtake.models.wan.vae import WanVAE
from tests.looks import Looks
from tests.models.tiny import NANO_LIKE, VAE_21, VAE_22, counted_layers, randomised, relative_error

SLOW_TIME = replace(VAE_22, temporal=(False, False, True))  # 2 frames per latent frame
STILL = replace(VAE_21, temporal=(False, False, False))  # 1 frame per latent frame
CONFIGS = {
    "2.1": VAE_21,
    "2.2": VAE_22,
    "nano-like": NANO_LIKE,
    "2.1 halving time first": replace(VAE_21, temporal=(True, True, False)),
    "2 frames per latent": SLOW_TIME,
    "1 frame per latent": STILL,
}
EXACT = {"rtol": 0, "atol": 1e-12}  # float64, so that no tolerance hides a wrong frame
LATENT_FRAMES = 5

sizes_of_pieces = st.lists(st.integers(1, LATENT_FRAMES), min_size=1, max_size=LATENT_FRAMES)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(13)


def vae(config: VAEConfig) -> WanVAE:
    return randomised(WanVAE(config, dtype=torch.float64), torch.Generator().manual_seed(17))


def some_latents(config: VAEConfig, frames: int = LATENT_FRAMES, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(1, config.latent_channels, frames, 1, 2, generator=rng, dtype=torch.float64)


def some_pixels(config: VAEConfig, latent_frames: int = LATENT_FRAMES, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    s, frames = config.stride_hw, 1 + (latent_frames - 1) * config.stride_t
    return torch.rand(1, 3, frames, s, 2 * s, generator=rng, dtype=torch.float64) * 2 - 1


def cuts(sizes: list[int]) -> list[tuple[int, int]]:
    """[start, stop) of pieces of these sizes, the last one taking what is left."""
    ends = [end for end in accumulate(sizes) if end < LATENT_FRAMES]
    return list(pairwise([0, *ends, LATENT_FRAMES]))


def decode_in_pieces(network: WanVAE, latents: Tensor, pieces: list[tuple[int, int]]) -> Tensor:
    state, pixels = None, []
    for start, stop in pieces:
        piece, state = network.decode_piece(latents[:, :, start:stop], state)
        pixels.append(piece)
    return torch.cat(pixels, dim=2)


def encode_in_pieces(network: WanVAE, pixels: Tensor, pieces: list[tuple[int, int]]) -> Tensor:
    stride, state, latents = network.config.stride_t, None, []
    for start, stop in pieces:
        first = 1 + (start - 1) * stride if start else 0
        piece, state = network.encode_piece(pixels[:, :, first : 1 + (stop - 1) * stride], state)
        latents.append(piece)
    return torch.cat(latents, dim=2)


# A video in pieces


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_any_pieces_decode_to_the_whole(config):
    network, latents = vae(config), some_latents(config)
    whole = network.decode(latents)
    s, frames = config.stride_hw, 1 + (LATENT_FRAMES - 1) * config.stride_t
    assert whole.shape == (1, 3, frames, s, 2 * s)

    @settings(max_examples=12)
    @given(sizes=sizes_of_pieces)
    def check(sizes):
        pieces = decode_in_pieces(network, latents, cuts(sizes))
        torch.testing.assert_close(pieces, whole, **EXACT)

    check()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_any_pieces_encode_to_the_whole(config):
    network, pixels = vae(config), some_pixels(config)
    whole = network.encode(pixels)
    assert whole.shape == (1, config.latent_channels, LATENT_FRAMES, 1, 2)

    @settings(max_examples=12)
    @given(sizes=sizes_of_pieces)
    def check(sizes):
        pieces = encode_in_pieces(network, pixels, cuts(sizes))
        torch.testing.assert_close(pieces, whole, **EXACT)

    check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_at_work_pieces_are_the_whole_to_the_last_bit(config, dtype):
    """Kernels that round by the size of what they are given must not be given different sizes."""
    network, latents = vae(config).to(dtype), some_latents(config).to(dtype)
    pixels = some_pixels(config).to(dtype)
    with torch.inference_mode():
        whole = network.decode(latents), network.encode(pixels)
        for sizes in ([1] * LATENT_FRAMES, [2, 3], [1, 4], [3, 1, 1]):
            pieces = cuts(sizes)
            assert torch.equal(decode_in_pieces(network, latents, pieces), whole[0])
            assert torch.equal(encode_in_pieces(network, pixels, pieces), whole[1])
    assert whole[0].std() > 1e-3


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_no_frame_depends_on_a_later_one(config):
    network, latents, pixels = vae(config), some_latents(config), some_pixels(config)
    begun = network.decode(latents[:, :, :2])
    torch.testing.assert_close(network.decode(latents)[:, :, : begun.shape[2]], begun, **EXACT)
    begun = network.encode(pixels[:, :, : 1 + config.stride_t])
    torch.testing.assert_close(network.encode(pixels)[:, :, :2], begun, **EXACT)


@pytest.mark.parametrize("config", [VAE_21, VAE_22], ids=["2.1", "2.2"])
def test_two_videos_can_take_turns(config):
    network = vae(config)
    videos = [some_latents(config, seed=seed) for seed in (1, 2)]
    states, pixels = [None, None], [[], []]
    for t in range(LATENT_FRAMES):
        for i, latents in enumerate(videos):
            piece, states[i] = network.decode_piece(latents[:, :, t : t + 1], states[i])
            pixels[i].append(piece)
    for latents, pieces in zip(videos, pixels, strict=True):
        torch.testing.assert_close(torch.cat(pieces, dim=2), network.decode(latents), **EXACT)


def test_a_piece_uses_up_the_state_before_it():
    """Or two states would be in memory at once, at 720p 4 GB too many."""
    network, latents, pixels = vae(VAE_22), some_latents(VAE_22), some_pixels(VAE_22)
    _, state = network.decode_piece(latents[:, :, :2], None)
    network.decode_piece(latents[:, :, 2:4], state)
    assert state == []
    _, state = network.encode_piece(pixels[:, :, :5], None)
    network.encode_piece(pixels[:, :, 5:9], state)
    assert state == []


def memory(module: nn.Module) -> dict[str, set]:
    return {name: set(vars(m)) | set(m._buffers) for name, m in module.named_modules()}


def test_the_network_remembers_nothing():
    network = vae(VAE_22)
    before, weights = memory(network), {k: v.clone() for k, v in network.state_dict().items()}
    network.decode_piece(some_latents(VAE_22), None)
    network.encode_piece(some_pixels(VAE_22), None)
    assert memory(network) == before
    assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("config", [VAE_21, VAE_22], ids=["2.1", "2.2"])
def test_the_state_stays_small_and_holds_nothing_else_alive(config):
    network, latents, pixels = vae(config), some_latents(config), some_pixels(config)
    bytes_kept = {"decode": [], "encode": []}
    state = None
    for start, stop in [(0, 1), (1, 2), (2, 5)]:
        _, state = network.decode_piece(latents[:, :, start:stop], state)
        bytes_kept["decode"].append(owned(state))
    state = None
    for start, stop in [(0, 1), (1, 5), (5, 17)]:
        _, state = network.encode_piece(pixels[:, :, start:stop], state)
        bytes_kept["encode"].append(owned(state))
    assert all(len(set(sizes)) == 1 for sizes in bytes_kept.values())


def owned(state: list[Tensor]) -> int:
    """Bytes of a state; each part must fill its storage."""
    for part in state:
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()
    return sum(part.untyped_storage().nbytes() for part in state)


# How many frames


@pytest.mark.parametrize("frames", [0, 2, 3, 4, 6, 8, 15])
def test_a_video_begins_with_one_frame_and_whole_fours(frames):
    network, pixels = vae(VAE_22), some_pixels(VAE_22)
    with pytest.raises(FrameCountError, match=r"must be 1 \+ 4·n\. Nearest: \d+ or \d+\."):
        network.encode(pixels[:, :, :frames])


@pytest.mark.parametrize("frames", [0, 1, 3, 5, 9])
def test_a_video_goes_on_in_whole_fours(frames):
    network, pixels = vae(VAE_22), some_pixels(VAE_22)
    _, state = network.encode_piece(pixels[:, :, :5], None)
    with pytest.raises(FrameCountError):
        network.encode_piece(pixels[:, :, 5 : 5 + frames], state)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_first_latent_frame_is_one_frame_and_the_others_a_stride(config):
    network, latents = vae(config), some_latents(config)
    first, state = network.decode_piece(latents[:, :, :1], None)
    second, state = network.decode_piece(latents[:, :, 1:2], state)
    third, state = network.decode_piece(latents[:, :, 2:4], state)
    stride = config.stride_t
    assert [p.shape[2] for p in (first, second, third)] == [1, stride, 2 * stride]


# Parts


@pytest.mark.parametrize("axes", [2, 3])
def test_the_norm_is_its_definition(rng, axes):
    norm = randomised(ChannelNorm(7, axes, dtype=torch.float64), rng)
    x = torch.randn(2, 7, *(3, 2, 5)[:axes], generator=rng, dtype=torch.float64)
    length = x.square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(norm(x), x / length * 7**0.5 * norm.gamma, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_norm_of_black_is_black_and_of_the_tiny_is_sound(dtype):
    norm = ChannelNorm(5, 3, dtype=dtype)
    assert torch.equal(norm(torch.zeros(1, 5, 1, 2, 2, dtype=dtype)), torch.zeros(1, 5, 1, 2, 2))
    tiny = torch.full((1, 5, 1, 2, 2), 1e-6, dtype=dtype)
    torch.testing.assert_close(norm(tiny).float(), torch.ones(1, 5, 1, 2, 2), rtol=0, atol=0.02)


def test_attention_stays_within_a_frame():
    """A change in one frame's middle block must not reach another frame through attention."""
    attention = vae(VAE_21).decoder.middle[1]
    x = torch.randn(1, 24, 3, 2, 3, dtype=torch.float64)
    changed = x.clone()
    changed[:, :, 1] += 1
    difference = (attention(changed, None) - attention(x, None)).abs().amax((0, 1, 3, 4))
    assert difference[1] > 0.1
    assert difference[0] == difference[2] == 0


# What is handed in


@pytest.mark.parametrize("config", [VAE_21, VAE_22], ids=["2.1", "2.2"])
def test_every_layer_with_weights_comes_from_the_operations(config):
    operations, made = counted_layers("Conv2d", "Conv3d")
    network = WanVAE(config, operations=operations)
    convs = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))]
    assert sum(made.values()) == len(convs)
    others = {n.rpartition(".")[2] for n, p in network.named_parameters()} - {"weight", "bias"}
    assert others == {"gamma"}


@pytest.mark.parametrize("config", [VAE_21, VAE_22], ids=["2.1", "2.2"])
def test_device_and_dtype_reach_every_parameter(config):
    network = WanVAE(config, device="meta", dtype=torch.half)
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.half)}


def test_bfloat16_is_as_near_to_float32_as_bfloat16_can_be():
    network, latents = vae(VAE_22).float(), some_latents(VAE_22).float()
    expected = network.decode(latents)
    out = network.bfloat16().decode(latents.bfloat16())
    assert out.dtype is torch.bfloat16
    assert relative_error(out, expected) < 0.05


@pytest.mark.parametrize("config", [VAE_21, NANO_LIKE], ids=["2.1", "2.2"])
def test_every_parameter_learns(config, rng):
    network = WanVAE(config)
    pixels = some_pixels(config, latent_frames=3).float()
    decoded = network.decode(network.encode(pixels))
    (decoded - pixels).square().mean().backward()
    unused = config.latent_channels  # the second half of conv1 is the log variance
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert not network.conv1.weight.grad[unused:].any()


# Config


@pytest.mark.parametrize("preset", VAE_PRESETS.values(), ids=VAE_PRESETS)
def test_a_config_survives_being_written_down(preset):
    assert VAEConfig.from_json(preset.to_json()) == preset


@pytest.mark.parametrize(
    ("preset", "stride_t", "stride_hw", "layout"),
    [("2.1", 4, 8, "2.1"), ("2.2", 4, 16, "2.2"), ("nano", 4, 16, "2.2")],
)
def test_presets_have_the_published_strides(preset, stride_t, stride_hw, layout):
    config = VAE_PRESETS[preset]
    assert (config.stride_t, config.stride_hw, config.layout) == (stride_t, stride_hw, layout)


def test_a_config_that_makes_no_network_is_refused():
    with pytest.raises(ConfigError, match="4 stages have 3 downsamplings .* has 2"):
        replace(VAE_21, temporal=(True, True))
    with pytest.raises(ConfigError, match="not a VAEConfig: .*colour"):
        VAEConfig.from_json({"colour": 3})


@pytest.mark.parametrize("rows", [3, 3000])
def test_the_quick_convolution_is_the_plain_one(rng, rows):
    """Below a size torch takes a slow way, which inference avoids and training does not."""
    conv = randomised(video_layers(nn).Conv3d(5, 7, 3, padding=(0, 1, 1)), rng)
    x = torch.randn(1, 5, 4, rows, 3, generator=rng)
    with torch.inference_mode():
        quick = conv(x)
    torch.testing.assert_close(quick, conv(x), rtol=1e-5, atol=1e-6)
    assert not quick.is_mkldnn


# Of large frames in bands


@pytest.mark.parametrize("name", ["2.1", "2.2", "nano-like"])
def test_large_frames_are_worked_on_in_bands_between_which_they_can_be_cancelled(name, monkeypatch):
    config = replace(CONFIGS[name], width=8, decoder_width=8)
    network = randomised(WanVAE(config), torch.Generator().manual_seed(17))
    s, rng = config.stride_hw, torch.Generator().manual_seed(3)
    pixels = torch.rand(1, 3, 1 + config.stride_t, 8 * s, 8 * s, generator=rng)
    latents = torch.randn(1, config.latent_channels, 2, 6, 6, generator=rng)
    with torch.no_grad():
        whole = network.encode(pixels), network.decode(latents)
        size = pixels.numel() * 4
        monkeypatch.setattr(bands, "BYTES", size // 64)
        monkeypatch.setattr(onednn, "PRODUCTS", 10**5)
        monkeypatch.setattr(channels_last, "BLOCK", 2**10)
        with Looks() as looks, bands.stoppable(looks.look):
            encoded = network.encode(pixels)
        with Looks() as looks_of_decoding, bands.stoppable(looks_of_decoding.look):
            decoded = network.decode(latents)
    assert torch.equal(encoded, whole[0])
    assert torch.equal(decoded, whole[1])
    assert looks.most < size / 3, looks.where
    assert looks_of_decoding.most < size / 3, looks_of_decoding.where
