"""Every network on a GPU's tensors, of each maker, without a GPU: see tests/fake_card.py."""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from longtake.engine.frames.interpolation import Inbetween, TiledInterpolator
from longtake.engine.frames.stream import decoded_pieces, to_bytes
from longtake.models.rife.config import RifeConfig
from longtake.models.rife.ifnet import IFNet
from longtake.models.wan.config import VAE_PRESETS, VAEConfig
from longtake.models.wan.dit import Segment, WanDiT
from longtake.models.wan.vae import WanVAE
from tests import fake_card as fake
from tests.fake_card import Copies, Products, Stops, Turns, card, fake_card, moved, there
from tests.host.conftest import DIT, DITS, TEXT, VAE
from tests.host.peak import Limit, Peak
from tests.models.tiny import VAE_21, VAE_22

SHAPE = (2, 6, 3, 5, 7)
ANSWER = SimpleNamespace(all=lambda: True, any=lambda: False)  # to what must be asked back


@pytest.fixture(autouse=True, params=fake.KINDS)
def there_is_one(request):
    with fake_card(request.param):
        yield


def is_there(x: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype = torch.bfloat16) -> None:
    assert (x.device, tuple(x.shape), x.dtype) == (card(), shape, dtype)


def test_devices_do_not_mix_and_numbers_do_not_come_back():
    """What all the others rely on."""
    with pytest.raises(RuntimeError, match="device"):
        there(2) + torch.empty(2)
    with pytest.raises(DataDependentOutputException):
        bool(there(2).isfinite().all())


@pytest.mark.parametrize("kind", DITS)
def test_a_step_of_the_transformer(kind):
    config = DITS[kind]
    network = moved(WanDiT(config, device="meta", dtype=torch.bfloat16))
    image = there(2, 9, config.image_width) if config.image_width else None
    text = network.read_text(there(2, 5, config.text_width), image)
    levels = there(2, 3, dtype=torch.float32) if config.frame_levels else there(2)
    x = there(2, config.in_channels, *SHAPE[2:])
    is_there(network(x, levels, text, fps=16), SHAPE)
    is_there(network(x, levels, [Segment(0, 1, text), Segment(1, 3, text)]), SHAPE)


@pytest.mark.parametrize("config", [VAE_21, VAE_22, VAE], ids=["2.1", "2.2", "built in"])
def test_a_video_through_the_vae_in_pieces(config):
    network = moved(WanVAE(config, device="meta", dtype=torch.bfloat16))
    s, t = config.stride_hw, config.stride_t
    pixels, state = network.decode_piece(there(1, config.latent_channels, 2, 3, 5), None)
    is_there(pixels, (1, 3, 1 + t, 3 * s, 5 * s))
    pixels, state = network.decode_piece(there(1, config.latent_channels, 1, 3, 5), state)
    is_there(pixels, (1, 3, t, 3 * s, 5 * s))
    latents, state = network.encode_piece(there(1, 3, 1, 3 * s, 5 * s), None)
    is_there(latents, (1, config.latent_channels, 1, 3, 5))
    latents, state = network.encode_piece(there(1, 3, t, 3 * s, 5 * s), state)
    is_there(latents, (1, config.latent_channels, 1, 3, 5))


def vae_there(config: VAEConfig = VAE) -> SimpleNamespace:
    """As much of core's VAE as decoding asks, with its weights on the card."""
    network = moved(WanVAE(config, device="meta", dtype=torch.bfloat16))
    return SimpleNamespace(device=card(), vae_dtype=torch.bfloat16, first_stage_model=network)


def test_between_windows_what_a_decoder_remembers_waits_on_the_cpu(pack):
    decode_piece = pack.vae.PieceDecoder(vae_there())
    piece = torch.zeros(1, VAE.latent_channels, 1, 3, 5)
    _, state = decode_piece(piece, None)
    assert state
    assert all(part.device == card() for part in state)
    decode_piece.rest()
    assert all(part.device.type == "cpu" for part in state)
    pixels, _ = decode_piece(piece, state)
    is_there(pixels, (1, 3, VAE.stride_t, 3 * VAE.stride_hw, 5 * VAE.stride_hw))
    assert state == []


@pytest.mark.parametrize(("limit", "tiles"), [(8e9, 1), (5e9, 2), (2e9, 8)])
def test_720p_is_decoded_in_as_many_tiles_as_memory_takes(pack, limit, tiles):
    """Whole frames hold 6.9 GB besides the weights."""
    if card().type != "cuda":
        pytest.skip("one kind of card is enough")
    vae = vae_there(VAE_PRESETS["2.1"])
    vae.first_stage_model.decoder.middle[1].attention = lambda q, *_: torch.empty_like(q)
    decode_piece, state = pack.vae.PieceDecoder(vae), None
    with Limit(limit, on="cuda"):
        for _ in range(3):
            pixels, state = decode_piece(torch.zeros(1, 16, 1, 90, 160), state)
            is_there(pixels, (1, 3, pixels.shape[2], 720, 1280))
    assert decode_piece.tiles == tiles


class Sent(TorchDispatchMode):
    """Lists the tensors that go from one device to another, scalars left out."""

    def __init__(self, sent: list):
        super().__init__()
        self.sent = sent

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        x = args[0] if args else None
        crossing = isinstance(x, torch.Tensor) and isinstance(out, torch.Tensor)
        if crossing and x.ndim and x.device != out.device:
            self.sent.append(out)
        return out


class Layouts(TorchDispatchMode):
    """Counts convolutions by whether what they read lies channels last.

    Their results lie as what they read, as cuDNN's do.
    """

    def __init__(self):
        super().__init__()
        self.last = self.first = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if "convolution" not in str(function):
            return out
        if args[0].stride(1) != 1:
            self.first += 1
            return out
        self.last += 1
        b, c, *sides = out.shape
        return out.new_empty(b, *sides, c).movedim(-1, 1)


@pytest.mark.parametrize("config", [VAE_21, VAE_22], ids=["2.1", "2.2"])
def test_convolutions_read_channels_last(config):
    """Others are turned round, before cuDNN's kernels for 16 bits read them."""
    network = moved(WanVAE(config, device="meta", dtype=torch.bfloat16))
    latent = there(1, config.latent_channels, 1, 3, 5)
    with Layouts() as seen:
        _, state = network.decode_piece(latent, None)
        seen.last = seen.first = 0
        network.decode_piece(latent, state)
    assert seen.first <= 0.2 * (seen.first + seen.last), (seen.first, seen.last)


@pytest.mark.parametrize("config", [VAE_21, VAE_22], ids=["2.1", "2.2"])
def test_a_piece_uses_up_what_it_is_handed(config):
    """What is remembered of the pieces before is there twice for no longer than a layer takes."""
    network = moved(WanVAE(config, device="meta", dtype=torch.bfloat16))
    latent = there(1, config.latent_channels, 1, 3, 5)
    _, state = network.decode_piece(latent, None)
    _, state = network.decode_piece(latent, state)
    size = sum(part.numel() * part.element_size() for part in state)
    with Peak(on=card().type) as fresh:
        kept = [*state]
        network.decode_piece(latent, [*kept])  # of which somebody holds on to the parts
    del kept
    with Peak(on=card().type, held=state) as peak:
        network.decode_piece(latent, state)
    assert peak.most < 0.9 * (fresh.most + size)


def test_frames_are_turned_round_on_the_card(monkeypatch):
    """And not by the CPU, after they have come."""
    monkeypatch.setattr(torch, "isfinite", lambda x: ANSWER)
    with Turns() as turns:
        frames = to_bytes(there(1, 3, 4, 16, 24))
        network = lambda pairs, times: pairs[:, 0]  # noqa: E731
        draw = TiledInterpolator(network, 1, card(), None, 32)
        first, second = torch.zeros(2, 16, 24, 3, dtype=torch.uint8)
        drawn = draw([Inbetween(first, second, 0.3)])
    assert frames.is_contiguous()
    assert drawn.is_contiguous()
    assert turns.bytes["cpu"] == 0
    assert turns.bytes[card().type] >= 4 * 16 * 24 * 3


def test_a_batch_between_frames_waits_once_for_the_card(monkeypatch):
    """For what comes back: numbers that the network needs are made there."""
    monkeypatch.setattr("longtake.models.rife.ifnet.is_fast", lambda step: ANSWER)
    monkeypatch.setattr(torch, "isfinite", lambda x: ANSWER)
    sent = []
    monkeypatch.setattr(FakeTensor, "new_tensor", lambda x, data: sent.append(x) or x)
    network = moved(IFNet(RifeConfig(), device="meta", dtype=torch.float32))
    draw = TiledInterpolator(network, 64, card(), 128, 32)
    first, second = torch.zeros(2, 70, 170, 3, dtype=torch.uint8)
    with Sent(sent):
        draw([Inbetween(first, second, 0.3), Inbetween(first, second, 0.6)])
    assert [x.ndim for x in sent] == [4, 4]  # all frames there, and all back


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("tile", [None, 128])
def test_frames_between_go_and_come_as_bytes(dtype, tile, monkeypatch):
    network = moved(IFNet(RifeConfig(), device="meta", dtype=dtype))
    monkeypatch.setattr("longtake.models.rife.ifnet.is_fast", lambda step: ANSWER)
    monkeypatch.setattr(torch, "isfinite", lambda x: ANSWER)
    first, second = torch.zeros(2, 70, 170, 3, dtype=torch.uint8)
    draw = TiledInterpolator(network, 64, card(), tile, 32)
    with Copies() as copies:
        frames = draw([Inbetween(first, second, 0.3), Inbetween(first, second, 0.6)])
    assert (frames.device.type, frames.dtype, frames.shape) == ("cpu", torch.uint8, (2, 70, 170, 3))
    assert copies.bytes == (2 + 2) * 70 * 170 * 3  # two are drawn between the same two


def test_decoded_frames_come_back_as_bytes(monkeypatch):
    monkeypatch.setattr(torch, "isfinite", lambda x: ANSWER)
    network = moved(WanVAE(VAE, device="meta", dtype=torch.bfloat16))
    latents = torch.zeros(1, VAE.latent_channels, 3, 2, 3)
    with Copies() as copies:
        pieces = list(
            decoded_pieces(
                lambda z, state: network.decode_piece(z.to(card(), torch.bfloat16), state),
                latents.split(1, dim=2),
                finish=to_bytes,
            )
        )
    frames = torch.cat(pieces)
    assert (frames.device.type, frames.dtype) == ("cpu", torch.uint8)
    assert copies.bytes == frames.numel() + 2 * latents.numel()


def model_there(pack, config):
    """A MODEL with its weights on the card."""
    with torch.device("meta"):
        weights = WanDiT(config, dtype=torch.bfloat16).state_dict()
    latent_format = pack.latent_format.format_for(config, built_in=True)
    model = pack.transformer.build_model(
        config, weights, latent_format, torch.bfloat16, "test"
    ).model
    model.manual_cast_dtype = None  # as on a GPU, whatever this CPU would compute in
    moved(model.diffusion_model)
    return model


def conditioned(model, **given) -> dict:
    """What core's samplers hand to a MODEL for one prompt, on the card."""
    text = torch.zeros(1, 5, model.sizes.text_width)
    conds = model.extra_conds(
        cross_attn=text, noise=there(1, *SHAPE[1:], dtype=torch.float32), device=card(), **given
    )
    how = {"batch_size": 1, "device": card(), "area": None}
    return {name: cond.process_cond(**how).cond for name, cond in conds.items()}


@pytest.mark.parametrize("whole", [True, False], ids=["whole frames", "regions"])
@pytest.mark.parametrize("kind", DITS)
def test_a_step_as_core_asks_for_it(pack, kind, whole, monkeypatch):
    from comfy.ldm.modules.attention import attention_pytorch

    monkeypatch.setattr(FakeTensor, "item", lambda x: whole, raising=False)  # of the mask, once
    monkeypatch.setattr(pack.forward, "optimized_attention", attention_pytorch)
    model = model_there(pack, DITS[kind])
    mask = there(1, 1, 3, 5, 7, dtype=torch.float32)
    given = {"denoise_mask": mask, "latent_image": there(1, *SHAPE[1:], dtype=torch.float32)}
    if model.sizes.image_width:
        seen = torch.zeros(1, 9, model.sizes.image_width)
        given["clip_vision_output"] = SimpleNamespace(penultimate_hidden_states=seen)
    x, sigma = there(1, *SHAPE[1:], dtype=torch.float32), there(1, dtype=torch.float32)
    conds = conditioned(model, frame_rate=16.0, **given)
    is_there(model.apply_model(x, sigma, transformer_options={}, **conds), x.shape, x.dtype)


def test_a_step_waits_for_nothing_but_whether_prompts_are_the_same(pack, monkeypatch):
    from comfy.ldm.modules.attention import attention_pytorch

    monkeypatch.setattr(pack.forward, "optimized_attention", attention_pytorch)
    model = model_there(pack, DIT)
    model.diffusion_model.texts.open()
    x, sigma = there(2, *SHAPE[1:], dtype=torch.float32), there(2, dtype=torch.float32)
    conds = {"c_crossattn": there(2, 5, DIT.text_width, dtype=torch.float32)}
    model.apply_model(x[:1], sigma[:1], c_crossattn=conds["c_crossattn"][:1],
                      transformer_options={})  # fmt: skip
    with Stops() as stops:
        model.apply_model(x, sigma, transformer_options={}, **conds)
    assert stops.asked == {"equal": 1 + 2}  # two prompts; answered that all differ


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_product_reads_what_the_network_computes_in(dtype):
    """One in float32 would take eight times as long on a card."""
    transformer = moved(WanDiT(DIT, device="meta", dtype=dtype))
    vae = moved(WanVAE(VAE, device="meta", dtype=dtype))
    level = there(2, 3, dtype=torch.float32)
    with Products() as products:
        text = transformer.read_text(there(2, 5, DIT.text_width, dtype=dtype))
        is_there(transformer(there(*SHAPE, dtype=dtype), level, text), SHAPE, dtype)
        vae.decode_piece(there(1, VAE.latent_channels, 2, 3, 5, dtype=dtype), None)
        vae.encode_piece(there(1, 3, 1, 3 * 8, 5 * 8, dtype=dtype), None)
    assert set(products.read) == {dtype}
    assert products.read.total() > 40


class Guider:
    """Core's, of which only the network counts."""

    def __init__(self, network):
        self.inner_model = network

    def __call__(self, x, sigma, **more):
        return x


@pytest.mark.parametrize("noise", [0.0, 20.0])
def test_diffusion_forcing(pack, noise, monkeypatch):
    from comfy.samplers import KSamplerX0Inpaint

    from longtake.host.sampling.forcing import sample_forcing

    monkeypatch.setattr(FakeTensor, "item", lambda x: 1, raising=False)  # twice in a run
    sigmas = there(5, dtype=torch.float32)
    x, mask = there(1, *SHAPE[1:], dtype=torch.float32), there(1, 1, 3, 5, 7, dtype=torch.float32)
    model = KSamplerX0Inpaint(Guider(model_there(pack, DIT)), sigmas)
    model.latent_image = model.noise = x
    more = {"seed": 1, "denoise_mask": mask, "model_options": {"transformer_options": {}}}
    is_there(sample_forcing(model, x, sigmas, more, lag=1, block=1, noise=noise), x.shape, x.dtype)


def test_a_video_through_cores_vae_calls(pack):
    network = moved(pack.vae.ComfyWanVAE(VAE, device="meta", dtype=torch.bfloat16))
    pixels = network.decode(there(1, 6, 2, 3, 5))
    assert (pixels.device.type, pixels.dtype) == ("cpu", torch.float32)  # where the host keeps them
    with Copies() as copies:
        latents = network.encode(pixels, device=card())
    is_there(latents, (1, 6, 2, 3, 5))
    assert copies.bytes == 2 * pixels.numel()  # in 16 bits, not in float32


def test_a_text_encoder_that_is_made_on_the_card_is_there_once(pack):
    import comfy.ops
    from comfy.text_encoders.t5 import T5

    sizes = {**pack.text_encoder.UMT5, **TEXT}
    with Peak(on=card().type) as peak:
        network = T5(sizes, torch.bfloat16, card(), comfy.ops.disable_weight_init)
        size = peak.live
        weights = {name: torch.empty(w.shape, dtype=w.dtype) for name, w in
                   network.state_dict().items()}  # fmt: skip
        with pack.text_encoder.weights_taken_over():
            network.load_state_dict(weights, strict=False)
    assert size <= peak.most < 1.2 * size
    assert {w.device for w in network.parameters()} == {card()}


def test_known_latents_for_image_channels(pack):
    from longtake.engine.canvas.known import concat_known

    mask = there(1, 1, 3, 5, 7, dtype=torch.float32)
    is_there(concat_known(there(1, 16, 3, 5, 7), mask, 20), (1, 20, 3, 5, 7))


def test_pictures_and_sound_by_their_masks_and_with_noise_on_the_way(pack):
    """Nested streams: what MiniMax H3 gives, by masks that are there; and noise as one row."""
    from comfy.samplers import KSAMPLER

    from longtake.host.comfyui.nested import Noise
    from longtake.host.sampling.keyframes import MASKS, scaled
    from longtake.host.sampling.step_noise import with_step_noise

    streams = [(1, 24, 7, 2, 4), (1, 32, 2, 37)]
    masks = [there(1, 1, 7, 2, 4, dtype=torch.float32), there(1, 1, 2, 37, dtype=torch.float32)]
    given = dict(zip(MASKS, masks, strict=True))
    out = scaled(lambda *_, **__: [there(*shape) for shape in streams], **given)
    for stream, shape in zip(out, streams, strict=True):
        is_there(stream, shape)

    noise = Noise(*(SimpleNamespace(drawn=lambda draw, s=s: torch.zeros(s)) for s in streams))
    row = there(1, 1, 24 * 7 * 8 + 32 * 74, dtype=torch.float32)

    def sample_it(model, x, noise_sampler=None):
        return x + noise_sampler(1.0, 0.5)

    made = with_step_noise(KSAMPLER(sample_it), noise).sampler_function(None, row)
    is_there(made, tuple(row.shape), torch.float32)
