"""Models of pictures and sound that the host loads: both streams through all of our nodes."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.grid import BlockGrid, CausalGrid
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.noise import WindowNoise
from longtake.engine.canvas.sound_track import SoundNoise
from longtake.engine.sampling.host_presets import H3_SOUND, LTX_SOUND, implied_sound
from longtake.engine.sampling.schedule import sigmas
from longtake.engine.take.storyboard import Shot
from longtake.engine.take.window_store import WindowStore
from longtake.models.errors import InputError, NotFiniteError
from tests.host.runs import module
from tests.host_models import (
    ltxav,
    ltxav_latent,
    ltxv,
    minimax_h3,
    minimax_is_here,
    minimax_latent,
    wan21,
)

LEVELS = sigmas(2, 3.0)
# of each: its grid, how its sound is packed, frames a second, latent frames of a window and overlap
KINDS = {
    ltxav: (CausalGrid(128, 8, 32, 1), LTX_SOUND, 25, (6, 3)),
    minimax_h3: (BlockGrid(24, 4, 16), H3_SOUND, 24, (27, 12)),
}


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def make(request, comfyui):
    return request.param


@pytest.fixture
def tiny(make):
    return make()


def blank(pack, make, tiny, latent_frames):
    """An empty canvas with sound."""
    codec = pack.codec.codec_for(tiny.vae)
    grid, layout, fps, _ = KINDS[make]
    frames = grid.frames(latent_frames)
    canvas = Canvas.blank(codec, frames, 2 * grid.stride_hw, 4 * grid.stride_hw, Fraction(fps))
    return canvas.with_sound(layout)


def sample(pack, tiny, canvas, sampler="euler", seed=5):
    prompts = pack.conditioning.Prompts(tiny.positive, tiny.negative)
    settings = pack.sample.Sampling(LEVELS, seed, 1.5, sampler)
    return pack.sample.sampled_canvas(tiny.model, prompts, canvas, settings)


def length(make, windows=1):
    window, overlap = KINDS[make][3]
    return window + (windows - 1) * (window - overlap)


def test_a_canvas_of_its_vae_and_its_own_empty_latent_are_alike(pack, make, tiny):
    canvas = blank(pack, make, tiny, length(make))
    grid, layout, fps, _ = KINDS[make]
    frames = canvas.timeline.frames
    core = {ltxav: ltxav_latent, minimax_h3: minimax_latent}[make](
        4 * grid.stride_hw, 2 * grid.stride_hw, frames
    )
    ours = pack.latent.to_latent(canvas)
    assert [tuple(x.shape) for x in ours["samples"].unbind()] == [
        tuple(x.shape) for x in core["samples"].unbind()
    ]
    read = pack.latent.to_canvas(core, canvas.codec)
    assert (read.sound.layout, read.sound.ticks.count(length(make))) == (layout, len(read.sound))
    assert read.timeline.frames == frames
    again = pack.latent.to_canvas(ours, canvas.codec)
    assert again.sound.ticks.per_frame == Fraction(layout.rate, fps)
    # H3 always makes sound; of LTX's VAE it is the MODEL that says so.
    codec = canvas.codec
    assert (codec.sound is not None) == (make is minimax_h3)


def test_sampled_by_us_it_is_as_sampled_by_core_from_the_same_noise(pack, make, tiny):
    from comfy.nested_tensor import NestedTensor
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    canvas = blank(pack, make, tiny, length(make))
    ours = sample(pack, tiny, canvas)
    t = length(make)
    frames = [(5, k) for k in range(t)]
    noises = [
        WindowNoise(frames, tuple(canvas.video.latents.shape[i] for i in (1, 3, 4))).drawn(),
        SoundNoise(frames, canvas.sound.layout, canvas.sound.ticks).drawn(),
    ]

    class Noise:
        seed = 5

        def generate_noise(self, latent):
            return NestedTensor(noises)

    samplers = module("sampling.sample").comfy.samplers
    guider = samplers.CFGGuider(tiny.model)
    prompts = pack.conditioning.Prompts(tiny.positive, tiny.negative)
    rate = {"frame_rate": 25.0} if make is ltxav else {}
    guider.set_conds(*prompts.with_values(rate))
    guider.set_cfg(1.5)
    latent = pack.latent.to_latent(canvas)
    core = SamplerCustomAdvanced.execute(
        Noise(), guider, samplers.sampler_object("euler"), LEVELS, latent
    )[0]["samples"]
    for mine, theirs in zip((ours.video.latents, ours.sound.latents), core.unbind(), strict=True):
        assert torch.allclose(mine, theirs, atol=2e-5)
        assert mine.std() > 0.1


def test_a_canvas_without_sound_is_given_some(pack, make, tiny):
    canvas = blank(pack, make, tiny, length(make))
    silent = Canvas(canvas.video, canvas.codec, canvas.fps)
    one, other = sample(pack, tiny, canvas), sample(pack, tiny, silent)
    assert torch.equal(one.sound.latents, other.sound.latents)
    assert torch.equal(one.video.latents, other.video.latents)


@pytest.mark.parametrize("known", ["nothing", "silent", "pictures", "sound"])
def test_two_halves_of_both_are_one_run(pack, make, tiny, known):
    """The second half goes on from what noise is left in each stream, and keeps what is known."""
    canvas, levels = blank(pack, make, tiny, length(make)), sigmas(4, 3.0)
    rng = torch.Generator().manual_seed(8)
    if known == "silent":
        canvas = Canvas(canvas.video, canvas.codec, canvas.fps)
    elif known == "sound":
        song = torch.randn(canvas.sound.latents.shape, generator=rng)
        axis = canvas.sound.layout.axis
        part = song.narrow(axis, 0, len(canvas.sound) // 2)
        canvas = replace(canvas, sound=canvas.sound.with_known(0, part))
    elif known == "pictures":
        mask = torch.ones(1, 1, length(make), 1, 1)
        mask[:, :, 0] = 0
        pictures = torch.randn(canvas.video.latents.shape, generator=rng)
        canvas = replace(canvas, video=MaskedLatents(pictures, mask))
    latent = pack.latent.to_latent(canvas)

    def made(latent, levels):
        prompts = pack.conditioning.Prompts(tiny.positive, tiny.negative)
        settings = pack.sample.Sampling(levels, 5, 1.5)
        given = pack.latent.to_canvas(latent, canvas.codec)
        out = pack.sample.sampled_canvas(tiny.model, prompts, given, settings)
        return pack.latent.with_sampled(latent, out)

    whole, half = made(latent, levels), made(latent, levels[:3])
    assert half["longtake"]["noise"] == float(levels[2])
    both = made(half, levels[2:])
    assert "noise" not in both["longtake"]
    streams = (samples["samples"].unbind() for samples in (both, whole, half))
    for ours, once, begun in zip(*streams, strict=True):
        torch.testing.assert_close(ours, once, rtol=1e-3, atol=1e-3)
        assert (begun - once).abs().max() > 0.1


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "res_multistep"])
def test_samplers_that_add_noise_are_given_that_of_both(pack, make, tiny, sampler):
    canvas = blank(pack, make, tiny, length(make))
    one, again, other = (sample(pack, tiny, canvas, sampler, seed) for seed in (1, 1, 2))
    assert torch.equal(one.sound.latents, again.sound.latents)
    assert torch.equal(one.video.latents, again.video.latents)
    assert not torch.equal(one.sound.latents, other.sound.latents)


@pytest.mark.parametrize("how", ["forwards", "backwards", "bridge", "loop", "fill"])
def test_clips_that_go_on_keep_pictures_and_sound(pack, make, tiny, how):
    clip = sample(pack, tiny, blank(pack, make, tiny, length(make)))
    latent = pack.latent.to_latent(clip)
    clip = module("video.onto_canvas").clip_canvas(latent, tiny.vae)
    assert clip.sound.mask.eq(0).all()
    second = 51 / 24
    longer = {
        "forwards": lambda: clip.extend("forwards", second),
        "backwards": lambda: clip.extend("backwards", second),
        "bridge": lambda: clip.bridge(clip, second),
        "loop": lambda: clip.loop(second),
        "fill": lambda: clip.fill(0.4, 0.8),
    }[how]()
    made = sample(pack, tiny, longer)
    known = longer.video.known
    assert torch.equal(made.video.latents[:, :, known], longer.video.latents[:, :, known])
    heard = (longer.sound.mask == 0).nonzero().flatten()
    axis = longer.sound.layout.axis
    assert 0 < len(heard) < len(longer.sound)
    assert torch.equal(
        made.sound.latents.index_select(axis, heard),
        longer.sound.latents.index_select(axis, heard),
    )
    anew = (longer.sound.mask == 1).nonzero().flatten()
    assert made.sound.latents.index_select(axis, anew).std() > 0.1
    assert made.sound.latents.isfinite().all()
    assert len(made.sound) == made.sound.ticks.count(made.timeline.latent_frames)


def test_known_sound_changes_the_pictures(pack, make, tiny):
    canvas = blank(pack, make, tiny, length(make))
    song = torch.randn(canvas.sound.latents.shape, generator=torch.Generator().manual_seed(3))
    with_song = Canvas(
        canvas.video, canvas.codec, canvas.fps, sound=canvas.sound.with_known(0, song)
    )
    made, without = sample(pack, tiny, with_song), sample(pack, tiny, canvas)
    assert torch.equal(made.sound.latents, song)
    assert not torch.allclose(made.video.latents, without.video.latents, atol=1e-3)


def test_sound_is_refused_where_the_model_makes_none(pack, comfyui):
    tiny = ltxv()
    canvas = blank(pack, ltxav, tiny, 3)
    with pytest.raises(InputError, match=r"has sound, and this model \(LTX-Video\) makes none"):
        sample(pack, tiny, canvas)


def test_masks_of_sound_come_as_core_takes_them(pack, make, tiny):
    """Of any number of axes and any length; what is known of the sound is never forgotten."""
    canvas = blank(pack, make, tiny, length(make))
    ticks, layout = len(canvas.sound), canvas.sound.layout
    along = torch.ones(ticks)
    along[:10] = 0
    latent = pack.latent.to_latent(canvas)
    masks = {ltxav: [(1, 1, -1, 1), (1, -1, 1)], minimax_h3: [(1, 1, 1, -1), (1, 1, -1), (1, -1)]}
    video = torch.ones(1, 1, length(make), 2, 4)
    nested = module("comfyui.nested").nested
    for shape in masks[make]:
        read = pack.latent.to_canvas({**latent, "noise_mask": nested([video, along.view(shape)])})
        assert torch.equal(read.sound.mask, along)
    half = along[::2].view(masks[make][0])
    read = pack.latent.to_canvas({**latent, "noise_mask": nested([video, half])})
    assert 8 <= (read.sound.mask == 0).sum() <= 10
    for wrong in (torch.ones(()), torch.full_like(half, torch.nan)):
        with pytest.raises((InputError, NotFiniteError), match="mask of the LATENT's sound"):
            pack.latent.to_canvas({**latent, "noise_mask": nested([video, wrong])})
    assert layout.fits(read.sound.latents.shape)


def test_batches_of_pictures_and_sound_are_brought_together(pack, comfyui):
    nested = module("comfyui.nested").nested
    pictures = torch.zeros(2, 128, 3, 2, 2)
    read = pack.latent.to_canvas({"samples": nested([pictures, torch.zeros(1, 8, 17, 16)])})
    made = sample(pack, ltxav(), read)
    assert made.sound.latents.shape == (2, 8, 17, 16)
    assert not torch.equal(made.sound.latents[0], made.sound.latents[1])
    with pytest.raises(InputError, match="2 videos and the sound of 3"):
        pack.latent.to_canvas({"samples": nested([pictures, torch.zeros(3, 8, 17, 16)])})


def test_sound_that_is_no_sound_is_refused_as_pictures_are(pack, make, tiny, monkeypatch):
    """Otherwise the take would end with it, after all has been sampled."""
    samples = module("sampling.sample")
    real = samples.run

    def broken(*args, **more):
        pictures, sound = real(*args, **more)
        return pictures, torch.full_like(sound, torch.nan)

    monkeypatch.setattr(samples, "run", broken)
    with pytest.raises(NotFiniteError, match="NaN or infinite latents of sound"):
        sample(pack, tiny, blank(pack, make, tiny, length(make)))


def test_a_window_whose_sound_is_broken_is_not_kept(studio, monkeypatch):
    takes = module("take.sampler")
    real = takes.run

    def broken(*args, **more):
        pictures, sound = real(*args, **more)
        return pictures, torch.full_like(sound, torch.nan)

    monkeypatch.setattr(takes, "run", broken)
    sampler = studio.sampler(studio())
    with pytest.raises(NotFiniteError, match=r"latents of the sound of the latent frames 0 to"):
        next(sampler.windows(0))
    assert studio.sampler(studio()).missing == 3


@pytest.mark.parametrize("latent_frames", [5, 8, 26])
def test_latents_that_are_no_clip_of_the_model_are_refused(pack, comfyui, latent_frames):
    """Core samples them without a word: those of the built-in model, or a part of a clip."""
    pictures = torch.zeros(1, 24, latent_frames, 2, 4)
    canvas = pack.latent.to_canvas({"samples": pictures, "longtake": {"fps": Fraction(24)}})
    with pytest.raises(InputError, match=f"{latent_frames} latent frames are no clip of MiniMax"):
        sample(pack, minimax_h3(), canvas)


def test_a_vae_of_another_grid_is_refused_though_it_is_as_wide(pack, make, tiny):
    grid, check = KINDS[make][0], module("sampling.fit").check_grid
    check(tiny.model, grid)
    other = {ltxav: BlockGrid(128, 8, 32), minimax_h3: CausalGrid(24, 4, 16)}[make]
    with pytest.raises(InputError, match="packs frames in another way than this model"):
        check(tiny.model, other)


def test_sound_of_no_known_kind_is_refused(pack, comfyui):
    from comfy.nested_tensor import NestedTensor

    streams = [torch.zeros(1, 16, 3, 4, 4), torch.zeros(1, 5, 7, 9)]
    with pytest.raises(InputError, match="of no model that is known"):
        pack.latent.to_canvas({"samples": NestedTensor(streams)})


@pytest.fixture
def studio(pack, make, tiny, tmp_path, monkeypatch):
    """Takes of two shots, the first of two windows, into folders of their own."""
    recipes, boards, takes = (
        module(f"take.{name}") for name in ("recipe", "storyboards", "long_take")
    )
    grid, _, fps, (window, overlap) = KINDS[make]
    frames = grid.frames(length(make, 2) if make is ltxav else 42)
    second = grid.frames(window)

    def recipe(seed=5, sound=None, audio_vae=tiny.audio_vae, **more):
        starts = Fraction(0), Fraction(frames, fps)
        shots = tuple(Shot(start, f"shot {i}", where=f"shot {i}") for i, start in enumerate(starts))
        texts = (tiny.positive, tiny.negative)
        whole = Fraction(frames + second, fps)
        board = boards.Board(shots, texts, texts[0], whole, Fraction(fps), sound=sound)
        size = recipes.TakeSize(Fraction(0), Fraction(0), 4 * grid.stride_hw, 2 * grid.stride_hw)
        asked = recipes.WindowsAsked(grid.frames(window), grid.frames(overlap))
        settings = pack.sample.Sampling(LEVELS, seed, 1.5)
        model, negative = tiny.model, tiny.negative
        return recipes.recipe_for(
            model, tiny.vae, board, negative, size, asked, settings, audio_vae=audio_vae, **more
        )

    monkeypatch.setattr(takes, "store_folder", lambda: tmp_path / "windows")
    recipe.film = lambda *args, **more: takes.film_take(recipe(*args, **more))[0]
    recipe.sampler = lambda made: takes.TakeSampler(made, WindowStore(tmp_path / "windows"))
    return recipe


def test_a_take_is_sampled_with_its_sound_and_goes_on_where_it_was(studio):
    made = studio()
    sampler = studio.sampler(made)
    first = [torch.cat(list(sampler.windows(n)), dim=2) for n in range(2)]
    assert made.take.windows == 3
    for track, clip in zip(sampler.tracks, made.take.clips, strict=True):
        assert len(track) == track.ticks.count(clip.latent_frames)
        assert track.mask.eq(0).all()
        assert track.latents.std() > 0.1
    again = studio.sampler(studio())
    assert again.missing == 0
    for n in range(2):
        assert torch.equal(torch.cat(list(again.windows(n)), dim=2), first[n])
        assert torch.equal(again.tracks[n].latents, sampler.tracks[n].latents)
    assert studio.sampler(studio(seed=6)).missing == 3


def test_a_window_goes_on_from_the_sound_of_the_one_before(studio):
    """Both windows hear the same ticks where they overlap: these come out as they went in."""
    sampler = studio.sampler(studio())
    clip = sampler.recipe.take.clips[0]
    windows = sampler.windows(0)
    next(windows)
    before = sampler.tracks[0]
    known = before.at(clip.windows[1].frames)
    assert 0 < (known.mask == 0).sum() < len(known)
    next(windows)
    after = sampler.tracks[0].at(clip.windows[1].frames)
    kept = (known.mask == 0).nonzero().flatten()
    axis = known.layout.axis
    assert torch.equal(
        after.latents.index_select(axis, kept), known.latents.index_select(axis, kept)
    )


def test_a_take_becomes_a_video_with_its_sound_in_step(studio, make):
    import av

    video = studio.film()
    made = studio()
    with av.open(video.get_stream_source()) as container:
        stream = container.streams.audio[0]
        seconds = sum(frame.samples for frame in container.decode(stream)) / stream.rate
        assert stream.layout.name == "stereo"
    with av.open(video.get_stream_source()) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == made.take.frames
    assert abs(seconds - float(made.take.frames / made.size.fps)) < 0.1


def test_a_take_without_an_audio_vae_is_silent(studio):
    import av

    with av.open(studio.film(audio_vae=None).get_stream_source()) as container:
        assert not container.streams.audio


def test_a_song_is_known_in_every_window_and_becomes_the_sound(studio, make):
    import av

    rate = 16000
    wave = torch.sin(torch.arange(rate * 12) * 2 * torch.pi * 440 / rate).numpy() / 2
    song = module("video.sound").Sound(wave[None].repeat(2, axis=0), rate)
    made = studio(sound=song)
    sampler = studio.sampler(made)
    assert all(track.mask.eq(0).all() for track in sampler.tracks)
    before = [track.latents.clone() for track in sampler.tracks]
    silent = studio.sampler(studio())
    pictures = next(sampler.windows(0))
    assert torch.equal(sampler.tracks[0].latents, before[0])
    assert not torch.allclose(pictures, next(silent.windows(0)), atol=1e-3)
    # The second shot hears the song from where it begins.
    layout, track = KINDS[make][1], sampler.tracks[1]
    start = track.ticks.at(made.take.clips[1].start)
    seconds = Fraction(start + len(track), layout.rate)
    whole = module("video.sound").encoded_sound(made.audio_vae, song, layout, seconds)
    heard = whole.narrow(layout.axis, start, 30)  # at the end an encoder sees more of the song
    assert torch.allclose(track.latents.narrow(layout.axis, 0, 30), heard, atol=0.05)
    with av.open(studio.film(sound=song).get_stream_source()) as container:
        assert container.streams.audio[0].rate == rate


def test_an_audio_vae_of_another_kind_is_refused_before_sampling(studio, make):
    other = (minimax_h3 if make is ltxav else ltxav)()
    with pytest.raises(InputError, match="audio VAE that belongs to the model"):
        studio(audio_vae=other.audio_vae)
    with pytest.raises(InputError, match="which is not for sound"):
        studio(audio_vae=other.vae)


def test_a_decoder_that_runs_out_of_memory_goes_on_where_it_was(pack, comfyui, monkeypatch):
    """The host's VAE then decodes all of it again: no frame is given twice, and none left out."""
    tiny = minimax_h3()
    latents = torch.randn(1, 24, 12, 2, 4, generator=torch.Generator().manual_seed(2))
    decoder = module("video.decoder").VideoDecoder
    whole = torch.cat(list(decoder(tiny.vae).frames([latents], 12)))
    network = tiny.vae.first_stage_model
    real = network.decode

    def short_of_memory(z, output_buffer=None):
        if output_buffer is None:
            return real(z)
        take = output_buffer.copy_

        def one_piece(pixels):
            take(pixels)
            raise torch.cuda.OutOfMemoryError

        output_buffer.copy_ = one_piece
        return real(z, output_buffer=output_buffer)

    monkeypatch.setattr(network, "decode", short_of_memory)
    again = torch.cat(list(decoder(tiny.vae).frames([latents], 12)))
    assert len(again) == 39
    assert torch.equal(again, whole)


def test_sound_comes_back_from_its_vae(make, tiny):
    """Whatever core's encoder crops: as many ticks as the seconds ask for, from the beginning."""
    sound, layout = module("video.sound"), KINDS[make][1]
    rate = 24000
    rng = torch.Generator().manual_seed(1)
    wave = torch.rand(2, int(rate * 1.3), generator=rng).numpy() - 0.5
    latents = sound.encoded_sound(tiny.audio_vae, sound.Sound(wave, rate), layout, Fraction(1))
    assert latents.shape == layout.shape(layout.rate)
    heard = sound.decoded_sound(tiny.audio_vae, latents, layout)
    assert abs(float(heard.seconds) - 1) < 0.05


def test_sound_of_no_length_is_refused(pack, make, tiny):
    audio = {"waveform": torch.zeros(1, 2, 0), "sample_rate": 44100}
    canvas = blank(pack, make, tiny, length(make))
    with pytest.raises(InputError, match="the sound is empty"):
        module("video.onto_canvas").pin_audio(canvas, audio, tiny.audio_vae, 0.0)


def test_the_built_in_model_has_as_many_channels_as_one_that_makes_sound_and_makes_none(pack):
    """Its latents lie on another grid: nothing is taken for MiniMax H3's by a number alone."""
    built_in = CausalGrid(24, 4, 16)
    assert implied_sound(built_in) is None
    assert implied_sound(BlockGrid(24, 4, 16)) == H3_SOUND
    read = pack.latent.to_canvas({"samples": torch.zeros(1, 24, 5, 8, 8)})
    assert read.sound is None
    mask = torch.ones(17, 128, 128)  # of pixel frames: 1 + 4·n of them
    masked = pack.latent.to_canvas({"samples": torch.zeros(1, 24, 5, 8, 8), "noise_mask": mask})
    assert masked.video.mask.shape[2] == 5


def seen_keyframes(pack, tiny, canvas, monkeypatch):
    """What the network is told of pictures beside the video, window by window."""
    told = []
    run = pack.sample.run

    def noted(model, prompts, *args, **more):
        told.append(prompts.positive[0][1].get("minimax_keyframes", []))
        return run(model, prompts, *args, **more)

    monkeypatch.setattr(pack.sample, "run", noted)
    made = sample(pack, tiny, canvas)
    return told, made


def test_a_picture_that_fills_no_latent_frame_is_a_keyframe_of_minimax(pack, comfyui, monkeypatch):
    tiny = minimax_h3()
    canvas = blank(pack, minimax_h3, tiny, 27)
    image = torch.rand(1, 32, 64, 3, generator=torch.Generator().manual_seed(1))
    last = canvas.timeline.frames - 1
    pinned = canvas.pin_image(image, last / 24, "crop").pin_image(image, 0.0, "crop")
    told, made = seen_keyframes(pack, tiny, pinned, monkeypatch)
    assert [k["resolved_frame_index"] for k in told[0]] == [0, last]
    assert all(torch.equal(k["latent"], canvas.codec.encode(image)) for k in told[0])
    # A single frame that is a latent frame by itself is known as any other, besides.
    assert torch.equal(made.video.latents[:, :, :1], pinned.video.latents[:, :, :1])
    assert not torch.equal(made.video.latents[:, :, -1:], pinned.video.latents[:, :, -1:])
    _, plain = seen_keyframes(pack, tiny, canvas, monkeypatch)
    assert not torch.allclose(made.video.latents, plain.video.latents, atol=1e-3)


def test_keyframes_count_from_the_first_frame_of_their_window(pack, comfyui, monkeypatch):
    tiny = minimax_h3()
    canvas = blank(pack, minimax_h3, tiny, 12)
    clip = sample(pack, tiny, canvas)
    longer = replace(clip, plan=()).extend("forwards", 51 * 2 / 24, overlap=39 / 24, window=90 / 24)
    image = torch.rand(1, 32, 64, 3, generator=torch.Generator().manual_seed(1))
    at = 110
    pinned = longer.pin_image(image, at / 24, "crop")
    told, _ = seen_keyframes(pack, tiny, replace(pinned, plan=longer.plan), monkeypatch)
    grid = canvas.codec.grid
    expected = []
    for window in longer.windows:
        local = at - grid.begins(window.frames[0])
        expected.append([local] if 0 <= local < grid.frames(len(window.frames)) else [])
    assert [[k["resolved_frame_index"] for k in one] for one in told] == expected
    assert any(expected)
    assert len(expected) > 1


def test_decoded_in_pieces_minimax_s_frames_are_those_of_the_whole(pack, comfyui):
    """Its blocks know nothing of each other: a take's windows are decoded as they come, exactly."""
    tiny = minimax_h3()
    decoder = module("video.decoder").VideoDecoder
    z = torch.randn(1, 24, 27, 2, 2, generator=torch.Generator().manual_seed(0))
    whole = torch.cat(list(decoder(tiny.vae).frames([z], 27)))
    core = tiny.decode({"samples": z})
    assert (whole.float() - core * 255).abs().max() < 0.51
    for sizes in ([12, 15], [7, 5, 15], [14, 13]):
        pieces = decoder(tiny.vae)
        parts = torch.cat(list(pieces.frames(z.split(sizes, dim=2), 27)))
        assert torch.equal(parts, whole)
        assert not pieces.note


def test_keyframes_that_core_s_nodes_gave_a_prompt_are_of_the_whole_video(pack, comfyui):
    """Of a prompt made by core's image-to-video node, each window has the pictures it shows."""
    guides = module("sampling.guides")
    tiny = minimax_h3()
    first, last = (torch.full((1, 24, 1, 2, 4), n) for n in (1.0, 2.0))
    frames = [
        {"resolved_frame_index": 0, "latent": first},
        {"resolved_frame_index": 140, "latent": last},
    ]
    given = [[text, {**extras, "minimax_keyframes": frames}] for text, extras in tiny.positive]
    prompts = pack.conditioning.Prompts(given, tiny.negative)
    beside = guides.guides_for(tiny.model, None).beside

    def places(window):
        positive, negative = beside(window, prompts)[0]
        assert "minimax_keyframes" not in negative[0][1]
        return [
            (k["resolved_frame_index"], k["latent"].mean().item())
            for k in positive[0][1].get("minimax_keyframes", [])
        ]

    assert places(range(42)) == [(0, 1.0), (140, 2.0)]
    assert places(range(27)) == [(0, 1.0)]
    assert places(range(15, 42)) == [(89, 2.0)]
    assert places(range(15, 27)) == []


def test_the_text_encoder_of_minimax_looks_at_the_picture_of_a_shot(comfyui):
    class Looks:
        def tokenize_with_weights(self, text, images=(), minimax_ref_items=None):
            raise NotImplementedError

    boards = module("take.storyboards")
    clip = minimax_h3().clip
    image, other = (torch.full((1, 8, 8, 3), value) for value in (0.2, 0.8))

    def prompts():
        shots = [
            Shot(Fraction(n), "a red ball", where=f"shot {n}", image=picture)
            for n, picture in enumerate((image, other, None))
        ]
        made = boards.encoded(clip, shots, Fraction(3), Fraction(24), 0.35)
        return [prompt[0][0] for prompt in made.prompts]

    blind = prompts()
    assert torch.equal(blind[0], blind[1])
    clip.tokenizer = Looks()
    one, two, none = prompts()
    assert one.shape[1] == two.shape[1] == none.shape[1] + 1
    assert not torch.equal(one, two)
    assert torch.equal(none, blind[2])


def test_frames_of_a_clip_are_no_keyframes(pack, comfyui, monkeypatch):
    """They are known latent frames; only a frame that stands alone is a picture."""
    tiny = minimax_h3()
    canvas = blank(pack, minimax_h3, tiny, 27)
    clip = torch.rand(22, 32, 64, 3, generator=torch.Generator().manual_seed(1))
    told, made = seen_keyframes(pack, tiny, canvas.pin_clip(clip, 0, "paint"), monkeypatch)
    assert told == [[]]
    pinned = canvas.pin_clip(clip, 0, "paint")
    assert torch.equal(made.video.latents[:, :, :7], pinned.video.latents[:, :, :7])


def test_after_a_song_that_is_shorter_than_the_take_comes_what_was_sampled(studio, make):
    import av

    sound = module("video.sound")
    rate = 16000
    wave = torch.sin(torch.arange(rate) * 2 * torch.pi * 440 / rate).numpy()[None] / 2
    video = studio.film(sound=sound.Sound(wave, rate))
    with av.open(video.get_stream_source()) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
        assert stream.rate == rate
    heard = torch.cat([torch.from_numpy(frame) for frame in frames], dim=1)
    made = studio()
    assert abs(heard.shape[1] / rate - float(made.take.frames / made.size.fps)) < 0.1
    assert heard[:, rate + rate // 2 :].abs().mean() > 1e-3
    song = heard[0, rate // 4 : rate // 2]
    assert (
        torch.corrcoef(torch.stack((song, torch.from_numpy(wave[0, rate // 4 : rate // 2]))))[0, 1]
        > 0.9
    )


def test_a_batch_is_refused_where_a_model_samples_one_video(pack, comfyui):
    tiny = minimax_h3()
    canvas = blank(pack, minimax_h3, tiny, 12)
    two = torch.zeros(2, *canvas.video.latents.shape[1:])
    with pytest.raises(InputError, match="MiniMax H3 samples one video at a time, and these are 2"):
        sample(pack, tiny, Canvas(MaskedLatents(two), canvas.codec, canvas.fps))


def test_what_a_window_s_key_says_of_calls_is_what_its_run_does(studio, monkeypatch, pack):
    """Both plan them from the numbers that core carries, sound and all."""
    made = studio()
    asked = []
    real = pack.sample.calls_for

    def noted(model, shape, *cfgs):
        asked.append(tuple(shape))
        return real(model, shape, *cfgs)

    monkeypatch.setattr(pack.sample, "calls_for", noted)
    sampler = studio.sampler(made)
    planned = set(asked)
    asked.clear()
    next(sampler.windows(0))
    assert set(asked) <= planned
    assert asked


# The sound of a VIDEO


def footage(make, seconds=2.0, sound=True, rate=16000):
    """A VIDEO in memory of grey frames and a tone."""
    from comfy_api.latest import InputImpl, Types

    fps, stride = KINDS[make][2], KINDS[make][0].stride_hw
    images = torch.full((round(seconds * fps), 2 * stride, 4 * stride, 3), 0.5)
    wave = torch.sin(torch.arange(round(seconds * rate)) * 440 * 2 * torch.pi / rate) / 2
    audio = {"waveform": wave.expand(1, 2, -1), "sample_rate": rate} if sound else None
    parts = Types.VideoComponents(images=images, audio=audio, frame_rate=Fraction(fps))
    return InputImpl.VideoFromComponents(parts)


@pytest.mark.parametrize("where", ["in memory", "in a file", "trimmed"])
def test_a_video_s_own_sound_stays_with_its_frames(pack, make, tiny, tmp_path, where):
    video, onto, sound = footage(make), module("video.onto_canvas"), module("video.sound")
    if where != "in memory":
        from comfy_api.latest import InputImpl

        video.save_to(str(tmp_path / "clip.mp4"))
        video = InputImpl.VideoFromFile(str(tmp_path / "clip.mp4"))
        if where == "trimmed":
            if not hasattr(video, "as_trimmed"):
                pytest.skip("this host trims no VIDEO")
            video = video.as_trimmed(0.5, 0)
    clip = onto.clip_canvas(video, tiny.vae, audio_vae=tiny.audio_vae)
    assert clip.sound.mask.eq(0).all()
    assert len(clip.sound) == clip.sound.ticks.count(clip.timeline.latent_frames)
    heard = sound.decoded_sound(tiny.audio_vae, clip.sound.latents, clip.sound.layout)
    assert abs(heard.samples.shape[1] / heard.rate - float(clip.timeline.seconds)) < 0.1
    if where == "in memory":
        wave = sound.Sound(video.get_components().audio["waveform"][0].numpy(), 16000)
        direct = sound.encoded_sound(
            tiny.audio_vae, wave, clip.sound.layout, Fraction(len(clip.sound), KINDS[make][1].rate)
        )
        axis, count = clip.sound.layout.axis, len(clip.sound) // 2  # its end sees what follows
        own = clip.sound.latents.narrow(axis, 0, count)
        assert torch.allclose(own, direct.narrow(axis, 0, count), atol=0.05)
    longer = clip.extend("forwards", 51 / 24)
    made = sample(pack, tiny, longer)
    known = (longer.sound.mask == 0).nonzero().flatten()
    axis = made.sound.layout.axis
    assert len(known) > 20
    assert torch.equal(
        made.sound.latents.index_select(axis, known), longer.sound.latents.index_select(axis, known)
    )


def test_a_bridge_has_the_sound_of_both_clips(pack, make, tiny):
    onto = module("video.onto_canvas")
    one = onto.clip_canvas(footage(make), tiny.vae, audio_vae=tiny.audio_vae)
    silent = onto.clip_canvas(footage(make, sound=False), tiny.vae, audio_vae=tiny.audio_vae)
    assert "the clip has no sound: it is sampled, too" in silent.notes
    both, half = one.bridge(one, 1.0).sound.to_sample, one.bridge(silent, 1.0).sound.to_sample
    assert (both == 0).sum() > 1.5 * (half == 0).sum()
    assert torch.equal(silent.bridge(one, 1.0).sound.to_sample[-20:], torch.zeros(20))


def test_pictures_begun_from_a_clip_have_sound_of_its_own_or_say_so(pack, make, tiny, monkeypatch):
    said = []
    monkeypatch.setattr(pack.sample, "show_text", said.append)
    onto = module("video.onto_canvas")
    prompts = pack.conditioning.Prompts(tiny.positive, tiny.negative)
    half = pack.sample.Sampling(sigmas(2, 3.0, denoise=0.5), 5, 1.5)
    for audio_vae in (None, tiny.audio_vae):
        said.clear()
        clip = onto.clip_canvas(footage(make), tiny.vae, audio_vae=audio_vae).remix(0.5)
        made = pack.sample.sampled_canvas(tiny.model, prompts, clip, half)
        assert any("begun from silence" in text for text in said) == (audio_vae is None)
        if audio_vae is not None:
            assert torch.equal(made.sound.latents, clip.sound.latents)
    said.clear()
    sample(pack, tiny, blank(pack, make, tiny, length(make)))
    assert not any("silence" in text for text in said)


def test_a_model_without_sound_has_no_use_for_that_of_a_video(pack, comfyui):
    onto, other = module("video.onto_canvas"), wan21()
    with pytest.raises(InputError, match="no model of 16 channels makes sound"):
        onto.clip_canvas(footage(minimax_h3), other.vae, audio_vae=minimax_h3().audio_vae)


def test_a_share_that_a_mask_keeps_is_right_where_the_host_is_not(pack, comfyui, monkeypatch):
    """MiniMax H3: rows at a share of the noise level are predicted there, and their velocity counts
    for that share. Host 0.34 left it out; a network that does it itself is left alone."""
    if not minimax_is_here():
        pytest.skip("this host has no MiniMax H3")
    import comfy.ldm.minimax.model as core
    from comfy.nested_tensor import NestedTensor

    scales = module("sampling.keyframes").scales_by_mask
    tiny = minimax_h3()
    latent = minimax_latent(64, 64, 22)
    pictures, sound = (torch.randn_like(x) for x in latent["samples"].unbind())
    masks = [torch.ones_like(x[:, :1]) for x in (pictures, sound)]
    masks[0][:, :, 2:5], masks[1][..., 5:] = 0.25, 0.5
    latent = {"samples": NestedTensor([pictures, sound]), "noise_mask": NestedTensor(masks)}
    canvas = pack.latent.to_canvas(latent)

    def made():
        done = sample(pack, tiny, canvas)
        return done.video.latents, done.sound.latents

    ours = made()
    plain = core.MiniMaxH3Model._forward

    def right(self, *args, denoise_mask=None, audio_denoise_mask=None, **more):
        told = {"denoise_mask": denoise_mask, "audio_denoise_mask": audio_denoise_mask}
        out = plain(self, *args, **told, **more)
        return [x if m is None else x * m for x, m in zip(out, told.values(), strict=True)]

    if not scales(core.MiniMaxH3Model):
        with monkeypatch.context() as patch:
            patch.setattr(module("sampling.sample"), "mend_masks", lambda *_: None)
            unmended = made()
            patch.setattr(core.MiniMaxH3Model, "_forward", right)
            expected = made()
        assert not torch.allclose(unmended[0], expected[0], atol=1e-3)
        assert all(torch.allclose(*both, atol=1e-5) for both in zip(ours, expected, strict=True))

    class Right(core.MiniMaxH3Model):
        def forward(self, x, *args, **more):
            return [x * more[name] for x, name in zip(self._forward(), told, strict=True)]

    told = "denoise_mask", "audio_denoise_mask"
    assert scales(Right)
