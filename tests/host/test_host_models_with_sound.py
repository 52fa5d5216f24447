"""Core's nodes on the tiny models of pictures with sound; 0.3.75 has stand-ins for them."""

import pytest
import torch

from tests.host_models import ltxav, ltxav_latent, minimax_h3, minimax_latent
from tests.host_models.build import random_numbers, streams_of
from tests.host_models.ltx import ltx_diffusion_vae
from tests.host_models.minimax import minimax_is_here, minimax_vae

pytestmark = pytest.mark.usefixtures("comfyui")
LENGTHS = {1: 1, 5: 2, 22: 7, 39: 12, 56: 17}  # frames of H3 and their latent frames


def nested(*streams: torch.Tensor):
    from comfy.nested_tensor import NestedTensor

    return NestedTensor(streams)


def known(latent: dict, pictures: slice, sound: tuple, value: float = 0.7) -> dict:
    """The same with some latents of both streams known."""
    streams = [stream.clone() for stream in streams_of(latent)]
    masks = [torch.ones_like(stream[:, :1]) for stream in streams]
    streams[0][:, :, pictures], streams[1][sound] = value, value
    masks[0][:, :, pictures], masks[1][sound] = 0, 0
    return {**latent, "samples": nested(*streams), "noise_mask": nested(*masks)}


def far(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).norm() > 1e-3 * b.norm())


def moving_pictures(frames: int) -> torch.Tensor:
    """(frames, 32, 64, 3), smooth in time."""
    start, end = (torch.rand(2, 4, 8, 3, generator=torch.Generator().manual_seed(3))).unbind()
    when = torch.linspace(0, 1, frames).view(-1, 1, 1, 1)
    cells = start + (end - start) * when
    return cells.repeat_interleave(8, 1).repeat_interleave(8, 2)


class Sink:
    """Takes a decoded video piece by piece, as `output_buffer`."""

    def __init__(self, shape):
        self.shape, self.pieces = shape, []

    def __getitem__(self, where):
        return self

    def copy_(self, piece):
        self.pieces.append(piece.clone())


class TestMiniMax:
    def test_what_tells_it_from_others(self):
        tiny = minimax_h3()
        vae, sound, model = tiny.vae, tiny.audio_vae, tiny.model.model
        assert type(model).__name__ == "MiniMaxH3"
        assert type(model.latent_format).__name__ == "MiniMaxH3AV"
        assert model.latent_format.latent_channels == 32
        assert type(vae.first_stage_model).__name__ == "MiniMaxH3VideoVAE"
        assert type(sound.first_stage_model).__name__ == "MiniMaxH3AudioVAE"
        assert (vae.latent_channels, vae.latent_dim, vae.spacial_compression_decode()) == (
            24,
            3,
            16,
        )
        assert vae.temporal_compression_decode() == 3  # which is no stride: 17 frames for 5 latents
        assert vae.downscale_index_formula == (4, 16, 16)
        assert {vae.upscale_ratio[0](t): t for t in LENGTHS.values() if t > 1} == {
            frames: t for frames, t in LENGTHS.items() if t > 1
        }
        assert [vae.downscale_ratio[0](frames) for frames in LENGTHS] == list(LENGTHS.values())
        assert (sound.latent_channels, sound.latent_dim, sound.downscale_ratio) == (32, 2, 800)
        assert sound.audio_sample_rate == sound.first_stage_model.output_sample_rate == 32000
        assert sound.first_stage_model.latents_per_second == 40
        assert vae.first_stage_model.comfy_has_chunked_io

    def test_from_an_empty_latent_to_pictures_and_sound_and_back(self):
        tiny = minimax_h3()
        empty = minimax_latent(64, 32, 39)
        assert [s.shape for s in streams_of(empty)] == [(1, 24, 12, 2, 4), (1, 32, 2, 65)]
        sampled = tiny.sample(empty)
        pictures, sound = tiny.decode(sampled), tiny.decode_sound(sampled)
        assert pictures.shape == (39, 32, 64, 3)
        assert sound.shape == (1, 2, 65 * 800)
        for made in (pictures, sound):
            assert made.isfinite().all()
            assert made.std() > 0.05
        assert tiny.vae.encode(pictures).shape == (1, 24, 12, 2, 4)
        assert tiny.audio_vae.encode(sound.movedim(1, -1)).shape == (1, 32, 2, 65)

    def test_both_samplers_give_the_same(self):
        tiny = minimax_h3()
        empty = minimax_latent(64, 32, 22)
        for a, b in zip(
            streams_of(tiny.sample(empty)), streams_of(tiny.sample_custom(empty)[0]), strict=True
        ):
            assert torch.equal(a, b)

    def test_what_is_known_of_both_streams_is_kept_and_looked_at(self):
        tiny = minimax_h3()
        empty = minimax_latent(64, 32, 39)
        dark, light = (
            streams_of(tiny.sample(known(empty, slice(0, 7), (..., slice(0, 37)), value)))
            for value in (-0.7, 0.7)
        )
        for made, value in ((dark, -0.7), (light, 0.7)):
            assert torch.allclose(made[0][:, :, :7], torch.tensor(value), atol=1e-3)
            assert torch.allclose(made[1][..., :37], torch.tensor(value), atol=1e-3)
        assert far(light[0][:, :, 7:], dark[0][:, :, 7:])
        assert far(light[1][..., 37:], dark[1][..., 37:])

    def test_sound_and_pictures_hear_of_each_other(self):
        tiny = minimax_h3()
        empty = minimax_latent(64, 32, 22)
        quiet, loud = (
            streams_of(tiny.sample(known(empty, slice(0, 0), (...,), value)))
            for value in (0.0, 2.0)
        )
        assert far(loud[0], quiet[0])
        dark, light = (
            streams_of(tiny.sample(known(empty, slice(None), (..., slice(0, 0)), value)))
            for value in (-0.7, 0.7)
        )
        assert far(light[1], dark[1])

    def test_a_guide_counts(self):
        tiny = minimax_h3()
        empty = minimax_latent(64, 32, 22)
        guide = {"resolved_frame_index": 9, "latent": random_numbers(8, 1, 24, 1, 2, 4)}
        extras = {**tiny.positive[0][1], "minimax_keyframes": [guide]}
        guided = tiny.sample(empty, positive=[[tiny.positive[0][0], extras]])
        plain = tiny.sample(empty)
        assert far(streams_of(guided)[0], streams_of(plain)[0])

    def test_every_seventeen_frames_are_encoded_alone(self):
        tiny = minimax_h3()
        pictures = moving_pictures(39)[:, :, :32]
        whole = tiny.vae.encode(pictures)
        assert torch.equal(tiny.vae.encode(pictures[17:]), whole[:, :, 5:])
        for frames in (1, 5, 22):
            part = tiny.vae.encode(pictures[:frames])
            assert part.shape[2] == LENGTHS[frames]
            apart = (part - whole[:, :, : LENGTHS[frames]]).abs().max()
            assert apart < 5e-6 * whole.abs().max()  # rounding, which goes with the threads

    def test_only_five_frames_tell_where_a_decoded_latent_began(self):
        tiny = minimax_h3()
        latents = tiny.vae.encode(moving_pictures(39))
        whole, later = tiny.vae.decode(latents)[0], tiny.vae.decode(latents[:, :, 5:])[0]
        assert later.shape[0] == 22
        assert torch.equal(later[5:], whole[22:])
        assert not torch.equal(later[:5], whole[17:22])

    def test_decoding_into_a_sink_gives_the_same(self):
        tiny = minimax_h3()
        latents = random_numbers(9, 1, 24, 17, 2, 4)
        network = tiny.vae.first_stage_model
        sink = Sink(network.decode_output_shape(latents.shape))
        assert network.decode(latents, output_buffer=sink) is sink
        assert sink.shape == (1, 3, 56, 32, 64)
        assert [piece.shape[2] for piece in sink.pieces] == [17, 17, 17, 5]
        whole = tiny.vae.decode(latents)[0]
        assert torch.equal(torch.cat(sink.pieces, 2)[0].movedim(0, -1), whole)

    @pytest.mark.parametrize("t", [1, 2, 7, 12])
    def test_lengths_of_latents_on_the_grid(self, t):
        tiny = minimax_h3()
        latents = random_numbers(9, 1, 24, t, 2, 2)
        frames = tiny.vae.decode(latents).shape[1]
        assert LENGTHS[frames] == t

    def test_sound_is_cut_to_whole_latents_before_it_is_encoded(self):
        """Core cuts it, on both sides: 800 samples to a latent, and none for a part of one."""
        tiny = minimax_h3()
        sound = random_numbers(9, 1, 2, 800 * 5 + 300)
        encoded = tiny.audio_vae.encode(sound.movedim(1, -1))
        assert encoded.shape == (1, 32, 2, 5)
        middle = sound[..., 150 : 150 + 4000]
        assert torch.equal(encoded, tiny.audio_vae.encode(middle.movedim(1, -1)))

    @pytest.mark.parametrize("t", range(1, 14))
    def test_the_stand_in_has_the_lengths_of_the_model(self, t):
        if not minimax_is_here():
            pytest.skip("this host has the stand-in only")
        from tests.host_models import stand_in_minimax

        latents = random_numbers(9, 1, 24, t, 2, 2)
        theirs, ours = minimax_vae(), stand_in_minimax.minimax_vae()
        sinks = []
        for vae in (theirs, ours):
            network = vae.first_stage_model
            sinks.append(Sink(network.decode_output_shape(latents.shape)))
            network.decode(latents, output_buffer=sinks[-1])
            assert vae.decode(latents).shape[1:] == (*sinks[-1].shape[2:], 3)
        assert sinks[0].shape == sinks[1].shape
        assert [p.shape for p in sinks[0].pieces] == [p.shape for p in sinks[1].pieces]
        for frames in (1, 5, 22):
            assert theirs.downscale_ratio[0](frames) == ours.downscale_ratio[0](frames)


class TestLTXAV:
    def test_what_tells_it_from_others(self):
        tiny = ltxav()
        sound, model = tiny.audio_vae, tiny.model.model
        assert (type(model).__name__, type(model.latent_format).__name__) == ("LTXAV", "LTXAV")
        assert model.latent_format.latent_channels == tiny.vae.latent_channels == 128
        assert type(sound.first_stage_model).__name__ == "AudioVAE"
        assert (sound.latent_channels, sound.latent_dim, sound.extra_1d_channel) == (8, 2, 16)
        assert (sound.audio_sample_rate, sound.audio_sample_rate_output) == (44100, 24000)
        network = sound.first_stage_model
        assert (network.output_sample_rate, network.latents_per_second) == (24000, 25)
        assert network.latent_frequency_bins == 16
        assert network.num_of_latents_from_frames(17, 24) == 18

    def test_from_an_empty_latent_to_pictures_and_sound_and_back(self):
        tiny = ltxav()
        empty = ltxav_latent(128, 64, 17)
        assert [s.shape for s in streams_of(empty)] == [(1, 128, 3, 2, 4), (1, 8, 17, 16)]
        sampled = tiny.sample(empty)
        pictures, sound = tiny.decode(sampled), tiny.decode_sound(sampled)
        assert pictures.shape == (17, 64, 128, 3)
        assert sound.shape == (1, 2, 960 * 17 - 720)
        for made in (pictures, sound):
            assert made.isfinite().all()
            assert made.std() > 0.05

    def test_both_samplers_give_the_same(self):
        tiny = ltxav()
        empty = ltxav_latent(128, 64, 17)
        one, other = tiny.sample(empty), tiny.sample_custom(empty)[0]
        for a, b in zip(streams_of(one), streams_of(other), strict=True):
            assert torch.equal(a, b)

    def test_what_is_known_of_both_streams_is_kept_and_looked_at(self):
        tiny = ltxav()
        empty = ltxav_latent(128, 64, 17)
        dark, light = (
            streams_of(tiny.sample(known(empty, slice(0, 1), (..., slice(0, 6), slice(None)), v)))
            for v in (-0.7, 0.7)
        )
        for made, value in ((dark, -0.7), (light, 0.7)):
            assert torch.allclose(made[0][:, :, :1], torch.tensor(value), atol=1e-4)
            assert torch.allclose(made[1][:, :, :6], torch.tensor(value), atol=1e-4)
        assert far(light[0][:, :, 1:], dark[0][:, :, 1:])
        assert far(light[1][:, :, 6:], dark[1][:, :, 6:])

    def test_the_frame_rate_counts(self):
        from comfy_extras.nodes_lt import LTXVConditioning

        tiny = ltxav()
        empty = ltxav_latent(128, 64, 17)
        slow = LTXVConditioning.execute(tiny.positive, tiny.negative, 12.0).result
        made = tiny.sample(empty, positive=slow[0], negative=slow[1])
        assert far(streams_of(made)[0], streams_of(tiny.sample(empty))[0])

    def test_sound_is_cut_to_4096_samples_before_it_is_encoded(self):
        """Core cuts it, on both sides, at 44.1 kHz: 93 ms, which are no number of latents."""
        tiny = ltxav()
        sound = 0.1 * random_numbers(9, 1, 2, 4096 * 4 + 300)
        encoded = tiny.audio_vae.encode(sound.movedim(1, -1))
        middle = sound[..., 150 : 150 + 4096 * 4]
        assert torch.equal(encoded, tiny.audio_vae.encode(middle.movedim(1, -1)))
        assert encoded.shape == (1, 8, 10, 16)


class TestCoresOwnNodes:
    """What core has for pictures with sound, where it has it."""

    @pytest.fixture(autouse=True)
    def newer_host(self):
        if not minimax_is_here():
            pytest.skip("this host has no nodes for pictures with sound")

    @pytest.mark.parametrize(
        ("make", "frames", "rate"), [("minimax_h3", 22, 32000), ("ltxav", 17, 24000)]
    )
    def test_what_is_sampled_is_decoded_as_a_whole(self, make, frames, rate):
        from comfy_extras.nodes_audio import VAEDecodeAudio
        from comfy_extras.nodes_lt import LTXVConcatAVLatent, LTXVSeparateAVLatent
        from comfy_extras.nodes_lt_audio import LTXVAudioVAEDecode

        import nodes

        tiny, empty = {
            "minimax_h3": lambda: (minimax_h3(), minimax_latent(64, 64, 22)),
            "ltxav": lambda: (ltxav(), ltxav_latent(64, 64, 17)),
        }[make]()
        sampled = tiny.sample(empty)
        assert torch.equal(nodes.VAEDecode().decode(tiny.vae, sampled)[0], tiny.decode(sampled))
        plain = LTXVAudioVAEDecode.execute(sampled, tiny.audio_vae)[0]
        assert torch.equal(plain["waveform"], tiny.decode_sound(sampled))
        louder = VAEDecodeAudio.execute(tiny.audio_vae, sampled)[0]
        assert plain["sample_rate"] == louder["sample_rate"] == rate
        assert louder["waveform"].std() <= 0.2 + 1e-4
        apart = LTXVSeparateAVLatent.execute(sampled).result
        together = LTXVConcatAVLatent.execute(*apart)[0]
        for a, b in zip(streams_of(together), streams_of(sampled), strict=True):
            assert torch.equal(a, b)

    def test_first_and_last_picture_and_guides_between_them(self):
        from comfy_extras.nodes_minimax_h3 import MiniMaxH3AddGuide, MiniMaxH3ImageToVideo

        tiny = minimax_h3()
        pictures = moving_pictures(6)
        sound = {"waveform": 0.1 * random_numbers(4, 1, 2, 8000), "sample_rate": 32000}
        args = tiny.clip, tiny.vae, "a red ball", 64, 32, 39
        ends = MiniMaxH3ImageToVideo.execute(*args, pictures[:1], pictures[-1:]).result
        args = ends[0], ends[1], 9, tiny.vae, tiny.audio_vae
        positive = MiniMaxH3AddGuide.execute(*args, pictures, sound)[0]
        guides = positive[0][1]["minimax_keyframes"]
        assert [guide["resolved_frame_index"] for guide in guides] == [0, 38, 9]
        assert [guide["latent"].shape[2] for guide in guides] == [1, 1, 2]
        assert guides[2]["audio_latent"].shape == (1, 32, 2, 10)
        assert len(tiny.clip.asked[0][1]["images"]) == 2

        plain = tiny.sample(ends[1], positive=ends[0])
        guided = tiny.sample(ends[1], positive=positive)
        for a, b in zip(streams_of(guided), streams_of(plain), strict=True):
            assert a.isfinite().all()
            assert far(a, b)

    def test_references(self):
        from comfy_extras.nodes_minimax_h3 import MiniMaxH3ReferenceToVideo

        tiny = minimax_h3()
        sound = {"waveform": 0.1 * random_numbers(4, 1, 2, 8000), "sample_rate": 32000}
        positive, latent = MiniMaxH3ReferenceToVideo.execute(
            *(tiny.clip, tiny.vae, tiny.audio_vae, "<Picture 1> sings <Audio 1>", 64, 32, 22),
            ref_images={"ref_image_0": moving_pictures(1)},
            ref_audios={"ref_audio_0": sound},
        ).result
        assert [block["kind"] for block in positive[0][1]["minimax_refs"]] == ["image", "audio"]
        made = streams_of(tiny.sample(latent, positive=positive))
        assert [stream.shape for stream in made] == [(1, 24, 7, 2, 4), (1, 32, 2, 37)]
        assert all(stream.isfinite().all() for stream in made)

    def test_the_diffusion_vae_of_ltx_sees_a_bounded_time(self):
        """Its pieces meet exactly, given slices of one noise; by itself it begins each anew."""
        vae = ltx_diffusion_vae()
        assert (vae.latent_channels, vae.latent_dim) == (128, 3)
        assert vae.downscale_index_formula == (8, 32, 32)
        network = vae.first_stage_model
        assert not hasattr(network, "comfy_has_chunked_io")
        latents = random_numbers(1, 1, 128, 9, 1, 2)
        whole = vae.decode(latents)
        assert torch.equal(whole, vae.decode(latents))
        assert far(vae.decode(latents[:, :, 3:])[:, -8:], whole[:, -8:])
        assert vae.encode(whole[0]).shape == latents.shape

        decoder = network.decoder
        plain = network.per_channel_statistics.un_normalize(latents)
        noise = random_numbers(5, 1, 3, 65, 32, 64)

        def frames(start: int, stop: int) -> torch.Tensor:
            """Of latents from start to stop; a later piece has 8 for its first latent, too."""
            ends = {"drop_leading_frame": start == 0, "pad_trailing": stop == 9}
            context = decoder.forward_pre_diffusion(plain[:, :, start:stop], **ends)
            at = max(0, 8 * start - 7)
            given = noise[:, :, at : at + context.shape[1]]
            return decoder.forward_diff_step(context, given, decoder.default_inference_timesteps)

        all_of_it, first, last = frames(0, 9), frames(0, 6), frames(2, 9)
        reach = 23  # 2.875 latents: one in each of two layers, and what layers of finer time add
        assert torch.allclose(first[:, :, :-reach], all_of_it[:, :, : 41 - reach], atol=1e-5)
        assert torch.allclose(last[:, :, reach:], all_of_it[:, :, 9 + reach :], atol=1e-5)
        assert not torch.allclose(first[:, :, -8:], all_of_it[:, :, 33:41], atol=1e-3)
