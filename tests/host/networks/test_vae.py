"""Our causal VAE as VAE, under core's nodes; and any Wan VAE, decoded in pieces."""

from itertools import count

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.frames.stream import frame_stream
from longtake.models.errors import FrameCountError, InputError, NotFiniteError, SizeError
from longtake.models.wan.config import VAE_PRESETS, VAEConfig
from longtake.models.wan.tiles import Tiling
from longtake.models.wan.vae import WanVAE
from tests.host.conftest import VAE, random_weights
from tests.host.peak import Peak
from tests.host.runs import latents

SHAPE = (1, 6, 3, 5, 7)  # 9 frames of 56 × 40 pixels
FRAMES, HEIGHT, WIDTH = 9, 40, 56


@pytest.fixture
def bare(vae) -> WanVAE:
    """The same weights without a host."""
    network = WanVAE(VAE)
    network.load_state_dict(vae.get_sd())
    return network.eval()


def pixels(frames=FRAMES, height=HEIGHT, width=WIDTH):
    rng = torch.Generator().manual_seed(4)
    return torch.rand(frames, height, width, 3, generator=rng)


def as_image(x):
    """(1, 3, f, h, w) in [-1, 1] -> (f, h, w, 3) in [0, 1]."""
    return x[0].movedim(0, -1).add(1).div(2).clamp(0, 1)


def test_vae_decode(vae, bare):
    import nodes

    z = latents(5, SHAPE) * 0.5
    image = nodes.VAEDecode().decode(vae, {"samples": z})[0]

    assert image.shape == (FRAMES, HEIGHT, WIDTH, 3)
    torch.testing.assert_close(image, as_image(bare.decode(z)), rtol=0, atol=1e-5)
    assert image.std() > 0.01


def test_vae_decode_of_a_batch_is_one_after_another(vae):
    import nodes

    z = latents(5, (2, *SHAPE[1:]))
    both = nodes.VAEDecode().decode(vae, {"samples": z})[0]
    each = [nodes.VAEDecode().decode(vae, {"samples": one})[0] for one in z.split(1)]
    torch.testing.assert_close(both, torch.cat(each), rtol=0, atol=1e-5)


def test_vae_decode_tiled(vae):
    import nodes

    z = latents(5, (1, 6, 5, 12, 12))
    whole = nodes.VAEDecode().decode(vae, {"samples": z})[0]
    one_tile = nodes.VAEDecodeTiled().decode(vae, {"samples": z}, 4096, 0, 4096, 8)[0]
    torch.testing.assert_close(one_tile, whole, rtol=0, atol=1e-5)

    tiled = nodes.VAEDecodeTiled().decode(vae, {"samples": z}, 64, 16, 16, 8)[0]
    assert tiled.shape == whole.shape == (17, 96, 96, 3)
    mirrored = whole.flip(2)  # tiles do not see one another, but must lie where they belong
    assert (tiled - whole).abs().mean() < 0.7 * (tiled - mirrored).abs().mean()


def test_vae_encode(vae, bare):
    import nodes

    image = pixels()
    z = nodes.VAEEncode().encode(vae, image)[0]["samples"]
    assert z.shape == SHAPE
    expected = bare.encode(image.movedim(-1, 0)[None] * 2 - 1)
    torch.testing.assert_close(z, expected, rtol=0, atol=1e-5)


def test_vae_encode_leaves_out_what_fills_no_latent(vae):
    """As core's Wan VAE does: the last frames, and the rims."""
    import nodes

    z = nodes.VAEEncode().encode(vae, pixels(FRAMES + 2, HEIGHT + 4, WIDTH + 6))[0]["samples"]
    inside = pixels(FRAMES + 2, HEIGHT + 4, WIDTH + 6)[:FRAMES, 2:-2, 3:-3]
    expected = nodes.VAEEncode().encode(vae, inside)[0]["samples"]
    torch.testing.assert_close(z, expected, rtol=0, atol=1e-5)


def test_vae_encode_tiled(vae):
    import nodes

    image = pixels(17, 96, 96)
    whole = nodes.VAEEncode().encode(vae, image)[0]["samples"]
    z = nodes.VAEEncodeTiled().encode(vae, image, 64, 16, 16, 8)[0]["samples"]
    assert z.shape == whole.shape == (1, 6, 5, 12, 12)
    assert (z - whole).abs().mean() < 0.5 * whole.abs().mean()


def test_one_image_is_a_video_of_one_frame(vae):
    import nodes

    z = nodes.VAEEncode().encode(vae, pixels(1))[0]["samples"]
    assert z.shape == (1, 6, 1, 5, 7)
    assert nodes.VAEDecode().decode(vae, {"samples": z})[0].shape == (1, HEIGHT, WIDTH, 3)


def test_core_saves_what_we_decode(vae, comfyui):
    """VAEDecode -> CreateVideo -> SaveVideo, as core's templates have it."""
    import av
    from comfy_api.latest import InputImpl, Types

    import nodes

    image = nodes.VAEDecode().decode(vae, {"samples": latents(5, SHAPE)})[0]
    parts = Types.VideoComponents(images=image, audio=None, frame_rate=8)
    path = comfyui.base / "core.mp4"
    InputImpl.VideoFromComponents(parts).save_to(str(path))
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    assert (len(frames), frames[0].width, frames[0].height) == (FRAMES, WIDTH, HEIGHT)


def test_newer_hosts_hand_over_the_tensor_to_fill(vae):
    network = vae.first_stage_model
    z = latents(5, SHAPE)
    whole = network.decode(z)
    buffer = torch.zeros(network.decode_output_shape(z.shape), dtype=torch.float16)
    assert network.decode(z, output_buffer=buffer) is buffer
    assert torch.equal(buffer, whole.half())

    clip = torch.rand(1, 3, FRAMES, HEIGHT, WIDTH, dtype=torch.float64)
    moved = network.encode(clip, device=torch.device("cpu"))
    assert torch.equal(moved, network.encode(clip.float()))


def test_grid(pack, vae):
    assert pack.vae.grid_of(vae) == CausalGrid(channels=6, stride_t=4, stride_hw=8)


def test_the_frame_stream_is_what_vae_decode_gives(pack, vae):
    import nodes

    z = latents(5, SHAPE)
    image = nodes.VAEDecode().decode(vae, {"samples": z})[0]
    chunks = list(frame_stream(pack.vae.decoder(vae, z), z.split(1, dim=2)))
    assert [len(chunk) for chunk in chunks] == [1, 4, 4]
    assert torch.equal(torch.cat(chunks), image.mul(255).round().byte())
    assert torch.equal(pack.vae.decode_frames(vae, z), image)


def test_encode(pack, vae):
    import nodes

    expected = nodes.VAEEncode().encode(vae, pixels())[0]["samples"]
    rgba = torch.cat((pixels(), torch.zeros(FRAMES, HEIGHT, WIDTH, 1)), dim=-1)
    assert torch.equal(pack.vae.encode(vae, rgba), expected)


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (torch.zeros(8, 40, 56, 3), FrameCountError, "Nearest: 5 or 9"),
        (torch.zeros(9, 44, 56, 3), SizeError, "height 44"),
        (torch.zeros(9, 40, 57, 3), SizeError, "width 57"),
        (torch.zeros(9, 40, 56), InputError, "not an IMAGE"),
        (torch.zeros(9, 40, 56, 1), InputError, "not an IMAGE"),
        (torch.full((9, 40, 56, 3), torch.nan), NotFiniteError, "NaN"),
    ],
)
def test_frames_that_cannot_be_encoded(pack, vae, image, error, words):
    with pytest.raises(error, match=words):
        pack.vae.encode(vae, image)


def test_latents_that_cannot_be_decoded(pack, vae):
    with pytest.raises(InputError, match=r"16 channels, but this VAE decodes 6"):
        pack.vae.decoder(vae, torch.zeros(1, 16, 3, 5, 7))
    with pytest.raises(InputError, match="not a video"):
        pack.vae.decoder(vae, torch.zeros(1, 6, 5, 7))


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 16, 3, 5, 7), "16 channels, but this VAE decodes 6"), ((1, 4, 5, 7), "not a video")],
)
def test_core_says_as_well_what_cannot_be_decoded(vae, shape, words):
    import nodes

    with pytest.raises(InputError, match=words):
        nodes.VAEDecode().decode(vae, {"samples": torch.zeros(shape)})


def test_weights_lie_channels_last_and_are_the_files(pack, vae):
    files = dict(load_file(pack.folders.NANO / "vae.safetensors"))
    network = vae.first_stage_model
    assert network.decoder.conv1.weight.is_contiguous(memory_format=torch.channels_last_3d)
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, files[name].to(weight.dtype))


def test_core_saves_a_vae_as_a_file_holds_it(pack, vae, tmp_path):
    import comfy.utils

    comfy.utils.save_torch_file(vae.get_sd(), str(tmp_path / "saved.safetensors"))  # as VAESave
    saved, files = load_file(tmp_path / "saved.safetensors"), vae.first_stage_model.state_dict()
    assert saved.keys() == files.keys()
    assert all(torch.equal(weight, files[name]) for name, weight in saved.items())


def core_vae(config=None):
    """Core's own VAE around core's own network of random weights."""
    import comfy.sd

    config = config or VAEConfig(width=8, decoder_width=8, latent_channels=16)
    return comfy.sd.VAE(sd=random_weights(WanVAE(config), 6))


def test_cores_wan_vae_streams_through_ours(pack):
    import nodes

    vae, z = core_vae(), latents(5, (1, 16, 3, 4, 6))
    whole = nodes.VAEDecode().decode(vae, {"samples": z})[0]
    chunks = torch.cat(list(frame_stream(pack.vae.decoder(vae, z), z.split(1, dim=2))))
    assert (chunks.float() - whole.mul(255)).abs().max() < 0.6

    image = pixels(9, 32, 48)
    expected = nodes.VAEEncode().encode(vae, image)[0]["samples"]
    torch.testing.assert_close(pack.vae.encode(vae, image), expected, rtol=1e-3, atol=1e-3)


def test_sharing_cores_weights_holds_nothing_twice(pack):
    vae = core_vae()
    ours = pack.vae.streaming(vae)
    theirs = dict(vae.first_stage_model.named_parameters())
    assert all(theirs[name] is parameter for name, parameter in ours.named_parameters())


def test_vaes_of_another_family_are_refused(pack):
    import comfy.sd

    stub = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})
    with pytest.raises(InputError, match="single images"):
        pack.vae.grid_of(stub)
    other = core_vae()
    other.first_stage_model = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"Linear.*core's VAEDecode"):
        pack.vae.decoder(other, torch.zeros(1, 16, 1, 4, 4))


def test_cancel_stops_between_pieces(pack, vae):
    import comfy.model_management as mm

    z = latents(5, SHAPE)
    decode_piece = pack.vae.decoder(vae, z)
    _, state = decode_piece(z[:, :, :1], None)
    mm.interrupt_current_processing()
    with pytest.raises(mm.InterruptProcessingException):
        decode_piece(z[:, :, 1:2], state)


WIDE = (17, 23)  # latent cells; tiles of less than all of them see less than all of them


@pytest.fixture
def told(pack, monkeypatch) -> list[str]:
    """What the running node shows."""
    texts: list[str] = []
    monkeypatch.setattr(pack.vae, "show_text", texts.append)
    return texts


@pytest.fixture
def full_at(monkeypatch):
    """Makes memory run out in whole frames at these calls of a kind, and in up to `tiles` tiles."""

    def switch(kind: str, calls: set[int], tiles: int = 1) -> None:
        whole, way, made = getattr(WanVAE, kind), getattr(Tiling, kind), count()

        def in_one_piece(self, x, state):
            if next(made) in calls:
                if state:
                    state.pop()  # some of it was used when the memory ran out
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")
            return whole(self, x, state)

        def in_tiles(self, x, state):
            if len(self.tiles) <= tiles:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")
            return way(self, x, state)

        monkeypatch.setattr(WanVAE, kind, in_one_piece)
        monkeypatch.setattr(Tiling, kind, in_tiles)

    return switch


@pytest.mark.parametrize(("calls", "tiles"), [({0}, 1), ({3}, 1), ({2}, 2)])
def test_where_memory_ends_a_video_goes_on_in_as_few_tiles_as_it_takes(
    pack, vae, told, full_at, calls, tiles
):
    z = latents(5, (1, VAE.latent_channels, 5, *WIDE))
    whole = torch.cat(list(frame_stream(pack.vae.decoder(vae, z), z.split(1, dim=2))))
    full_at("decode_piece", calls, tiles)
    decode_piece = pack.vae.decoder(vae, z)
    frames = torch.cat(list(frame_stream(decode_piece, z.split(1, dim=2))))
    assert frames.shape == whole.shape
    assert (frames.int() - whole.int()).abs().max() <= 1  # of 255, as is told
    assert decode_piece.tiles == 2 * tiles
    assert told[-1] == (
        f"short of GPU memory: decoded in {2 * tiles} tiles, slower, seams off by 1 of 255 or less"
    )


def test_tiles_wait_between_windows_and_serve_the_next_video(pack, vae, told, full_at):
    z = latents(5, (1, VAE.latent_channels, 2, *WIDE))
    full_at("decode_piece", {0})
    decode_piece = pack.vae.decoder(vae, z)
    pixels, state = decode_piece(z[:, :, :1], None)
    decode_piece.rest()
    decode_piece(z[:, :, 1:], state)
    assert torch.equal(decode_piece(z[:, :, :1], None)[0], pixels)
    assert len(told) == 1


def test_a_clip_that_does_not_fit_is_encoded_in_tiles(pack, vae, told, full_at):
    grid = pack.vae.grid_of(vae)
    sides = (side * grid.stride_hw for side in WIDE)
    image = torch.rand(1 + grid.stride_t, *sides, 3, generator=torch.Generator().manual_seed(4))
    whole = pack.vae.encode(vae, image)
    full_at("encode_piece", {1})
    torch.testing.assert_close(pack.vae.encode(vae, image), whole, rtol=1e-4, atol=1e-5)
    assert told == [
        "short of GPU memory: encoded in 2 tiles, slower, seams off by 1 of 255 or less"
    ]


def test_too_little_memory_for_any_tile_is_said_with_a_way_out(pack, vae, full_at):
    z = latents(5, SHAPE)
    full_at("decode_piece", {0, 1, 2}, 99)
    way_out = r"while decoding 56 × 40, even in small tiles.* VAE Decode \(Tiled\)\.$"
    with pytest.raises(InputError, match=way_out):
        pack.vae.decoder(vae, z)(z[:, :, :1], None)


def norm_written_out(x, shape, weight=None, eps=None):
    """RMS norm as torch computes it on GPUs before 2.9."""
    y = x.float()
    return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def peaks(network, h: int, w: int) -> tuple[int, int]:
    """Bytes that decoding and encoding a piece of h × w pixels take, in the middle of a video."""
    kw, s = {"device": "meta", "dtype": torch.bfloat16}, network.config.stride_hw
    latent = torch.empty(1, network.config.latent_channels, 1, h // s, w // s, **kw)
    first, frames = torch.empty(1, 3, 1, h, w, **kw), torch.empty(1, 3, 4, h, w, **kw)
    with torch.inference_mode(), Peak() as decoding:
        state = network.decode_piece(latent, None)[1]
        decoding.most = decoding.live
        network.decode_piece(latent, state)
    with torch.inference_mode(), Peak() as encoding:
        state = network.encode_piece(first, None)[1]
        encoding.most = encoding.live
        network.encode_piece(frames, state)
    return decoding.most, encoding.most


def without_weights(q, k, v):
    """An attention that never holds the weights of all pixels to each other."""
    return torch.empty_like(q)


@pytest.fixture(params=[True, False], ids=["fused", "written out"])
def fused(request, pack, monkeypatch) -> bool:
    """Whether torch has a kernel for RMS norms."""
    monkeypatch.setattr(pack.vae, "norms_are_fused", lambda: request.param)
    if not request.param:
        monkeypatch.setattr("torch.nn.functional.rms_norm", norm_written_out)
    return request.param


@pytest.mark.parametrize(("name", "near"), [("2.1", 0.8), ("2.2", 0.75), ("nano", 0.7)])
@pytest.mark.usefixtures("fused")
def test_memory_asked_for_is_what_a_piece_takes(pack, name, near):
    """Measured without computing, with frames of 480p."""
    config = VAE_PRESETS[name]
    s = config.stride_hw
    network = WanVAE(config, attention=without_weights, device="meta", dtype=torch.bfloat16)
    decoding, encoding = peaks(network, 480, 832)
    latent = (1, config.latent_channels, 1, 480 // s, 832 // s)
    asked = pack.vae.decode_bytes(config, latent, torch.bfloat16)
    assert near * asked < decoding < asked
    asked = pack.vae.encode_bytes(config, (1, 3, 4, 480, 832), torch.bfloat16)
    assert near * asked < encoding < asked


def cores(name: str) -> torch.nn.Module:
    """Core's network of the same sizes, without numbers."""
    from comfy.ldm.wan import vae as one
    from comfy.ldm.wan import vae2_2 as two

    shared = {"dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": [], "dropout": 0.0}
    shared["temperal_downsample"] = [False, True, True]
    with torch.device("meta"):
        if name == "2.1":
            network = one.WanVAE(dim=96, z_dim=16, **shared)
        else:
            network = two.WanVAE(dim=160, dec_dim=256, z_dim=48, **shared)
    for module in network.modules():
        if hasattr(module, "optimized_attention"):
            module.optimized_attention = without_weights
    return network.to(torch.bfloat16)


@pytest.mark.parametrize(("name", "h", "w"), [("2.1", 720, 1280), ("2.2", 704, 1280)])
@pytest.mark.usefixtures("pack")
def test_decoding_holds_no_more_than_cores(name, h, w):
    """On a card that core's decoding just fits, so does ours."""
    config = VAE_PRESETS[name]
    s, kw = config.stride_hw, {"device": "meta", "dtype": torch.bfloat16}
    ours, _ = peaks(WanVAE(config, attention=without_weights, **kw), h, w)
    with torch.inference_mode(), Peak() as peak:
        cores(name).decode(torch.empty(1, config.latent_channels, 3, h // s, w // s, **kw))
    assert ours <= 1.1 * peak.most


def test_a_frame_attends_within_free_memory(pack, monkeypatch):
    """On a device where torch's kernel would hold all weights, as core's own VAEs do there."""
    monkeypatch.setattr(pack.vae.mm, "vae_device", lambda: torch.device("mps"))
    monkeypatch.setattr(pack.vae.mm, "pytorch_attention_enabled_vae", lambda: False)
    monkeypatch.setattr(pack.vae.mm, "get_free_memory", lambda device=None: 2**20)
    rng = torch.Generator().manual_seed(3)
    q, k, v = torch.randn(3, 2, 1, 32 * 24, 8, generator=rng)
    with Peak() as peak:
        attended = pack.vae.frame_attention()(q, k, v)
    torch.testing.assert_close(attended, F.scaled_dot_product_attention(q, k, v))
    assert peak.most < 2 * (32 * 24) ** 2 * 4  # bytes of all weights of both frames


def test_every_network_gets_the_frames_attention(pack, monkeypatch):
    monkeypatch.setattr(pack.vae, "frame_attention", lambda: without_weights)
    ours = pack.vae.build_vae(VAE, random_weights(WanVAE(VAE), 6), torch.float32, "a VAE")
    for network in (ours.first_stage_model, pack.vae.streaming(core_vae())):
        for part in (network.encoder, network.decoder):
            assert part.middle[1].attention is without_weights
