"""Takes of which something is known before: it stays, in the windows where it belongs."""

import gc
import importlib
import weakref
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.sampling.schedule import sigmas
from longtake.engine.take.anchor import SVI
from longtake.engine.take.storyboard import Shot
from longtake.engine.take.window_store import WindowStore
from longtake.models.errors import InputError
from tests.host.runs import prompt, sample
from tests.host.sampling.test_routes import files, image_model, plain_model  # noqa: F401

LEVELS = sigmas(2, 3.0)
WINDOWS = (9, 1)  # pixel frames: 3 latent ones, 1 of them from the window before
MODELS = ["model", "image_model", "plain_model"]


@pytest.fixture
def studio(pack, vae, tmp_path):
    """Takes of 32 × 48 pixels at 8 frames per second, sampled into a folder of their own."""
    takes, boards, recipes, samplers = (
        importlib.import_module(f"longtake.host.take.{name}")
        for name in ("long_take", "storyboards", "recipe", "sampler")
    )
    codec = pack.codec.codec_for(vae)

    def recipe(
        model,
        canvas=None,
        *,
        seconds=3.125,
        starts=(0,),
        images=None,
        sampler="euler",
        anchor="off",
        asked=WINDOWS,
    ):
        shots = tuple(
            Shot(Fraction(start), f"shot {i}", where=f"shot {i}", image=(images or {}).get(i))
            for i, start in enumerate(starts)
        )
        texts = tuple(prompt(model, 1 + i) for i in range(len(shots)))
        board = boards.Board(shots, texts, texts[0], Fraction(seconds), Fraction(8))
        size = recipes.TakeSize(board.seconds, board.fps, 48, 32)
        sampling = pack.sample.Sampling(LEVELS, 11, 3.0, sampler)
        windows, negative = recipes.WindowsAsked(*asked, anchor=anchor), prompt(model, 9)
        return recipes.recipe_for(
            model, vae, board, negative, size, windows, sampling, canvas=canvas
        )

    def sampler_of(made):
        return takes.TakeSampler(made, WindowStore(tmp_path))

    def sampled(made, number=0):
        return torch.cat(list(sampler_of(made).windows(number)), dim=2)

    def canvas(latent_frames, **pins):
        """An empty LATENT with pictures at frames: canvas(7, f0=red, f12=blue)."""
        latents = torch.zeros(1, 6, latent_frames, 4, 6)
        made = Canvas(MaskedLatents(latents), codec, Fraction(8))
        for at, picture in pins.items():
            made = made.pin_image(picture, int(at[1:]) / 8, "crop")
        return pack.latent.to_latent(made)

    return SimpleNamespace(
        recipe=recipe,
        sampler=sampler_of,
        sampled=sampled,
        canvas=canvas,
        takes=takes,
        samplers=samplers,
    )


def picture(seed: int) -> torch.Tensor:
    return torch.rand(1, 32, 48, 3, generator=torch.Generator().manual_seed(seed))


def test_windows_of_ours_hand_over_as_svi_s_loras_want_it_too(studio, request):
    model, canvas = request.getfixturevalue("image_model"), studio.canvas(7, f0=picture(1))
    made = studio.recipe(model, canvas, anchor=SVI, asked=(13, 0))
    out = studio.sampled(made)
    windows = made.take.clips[0].windows
    assert out.shape[2] == windows[-1].frames[-1] + 1 >= 7
    assert {(len(w.frames), w.context) for w in windows[1:]} == {(len(windows[0].frames), 2)}
    assert torch.equal(out[:, :, :1], canvas["samples"][:, :, :1])
    usual = studio.sampled(studio.recipe(model, canvas, asked=(13, 5)))
    assert not torch.equal(out[:, :, :7], usual)


@pytest.mark.parametrize("anchor", ["off", "both"])
@pytest.mark.parametrize("which", MODELS)
def test_known_frames_come_out_as_they_went_in(studio, request, which, anchor):
    """The first frame, one in a later window, and the last."""
    model = request.getfixturevalue(which)
    canvas = studio.canvas(7, f0=picture(1), f11=picture(2), f24=picture(3))
    out = studio.sampled(studio.recipe(model, canvas, anchor=anchor))
    exact = [0] if which == "image_model" else [0, 3, 6]  # it is told of parts of the others
    assert out.shape == (1, 6, 7, 4, 6)
    assert torch.equal(out[:, :, exact], canvas["samples"][:, :, exact])
    assert (out[:, :, 1] - out[:, :, 0]).abs().max() > 0.1


@pytest.mark.parametrize("which", MODELS)
def test_a_take_is_what_sample_makes_of_the_same_windows(studio, pack, request, which):
    model = request.getfixturevalue(which)
    canvas = studio.canvas(7, f0=picture(1), f18=picture(2))
    made = studio.recipe(model, canvas)
    canvas["longtake"]["plan"] = made.take.clips[0].windows
    texts = prompt(model, 1), prompt(model, 9)
    sampled = sample(pack, model, *texts, canvas, LEVELS, seed=11, cfg=3.0)["samples"]
    out = studio.sampled(made)
    # Image channels are encoded window by window, with the two latent frames before.
    near = {"rtol": 0, "atol": 0.1} if which == "image_model" else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(out, sampled, **near)


def test_what_is_known_decides_which_windows_are_the_same(studio, model):
    plain, one, two = (
        [*studio.sampler(studio.recipe(model, canvas)).keys[0].values()]
        for canvas in (
            studio.canvas(7),
            studio.canvas(7, f14=picture(1)),
            studio.canvas(7, f14=picture(2)),
        )
    )
    assert [a == b for a, b in zip(plain, one, strict=True)] == [True, False, False]
    assert [a == b for a, b in zip(one, two, strict=True)] == [True, False, False]


@pytest.mark.parametrize("which", ["model", "plain_model"])
def test_either_side_of_a_pinned_middle_is_sampled_without_the_other(
    studio, request, tmp_path, which
):
    """Windows of latent frames 0 to 2, 2 to 4, 4 to 6: the third goes on from 4, which is known."""
    made = studio.recipe(request.getfixturevalue(which), studio.canvas(7, f14=picture(1)))
    whole, other = studio.sampled(made), WindowStore(tmp_path / "other")
    alone = studio.takes.TakeSampler(made, other)
    first, second = alone.parts(0)
    assert [len(first), len(second)] == [2, 1]
    (right,) = alone.windows(0, second)
    left = torch.cat(list(alone.windows(0, first)), dim=2)
    assert torch.equal(torch.cat([left, right], dim=2), whole)
    assert (whole[:, :, 1:] - whole[:, :, :-1]).abs().amax((0, 1, 3, 4)).min() > 0.1


def test_what_changes_on_one_side_of_a_pinned_middle_leaves_the_other(studio, model):
    one, two = (
        [*studio.sampler(studio.recipe(model, canvas)).keys[0].values()]
        for canvas in (
            studio.canvas(7, f0=picture(1), f14=picture(2)),
            studio.canvas(7, f0=picture(3), f14=picture(2)),
        )
    )
    assert [a == b for a, b in zip(one, two, strict=True)] == [False, False, True]


def test_a_clip_is_one_part_where_something_reaches_across(studio, model):
    """A picture off the windows' seams, one of which only a region is known, an anchor."""
    canvas = studio.canvas(7, f14=picture(1))
    canvas["noise_mask"][:, :, 4, :, :3] = 1.0
    pinned = studio.canvas(7, f14=picture(1))
    for made in (
        studio.recipe(model, studio.canvas(7, f11=picture(1))),
        studio.recipe(model, canvas),
        studio.recipe(model, pinned, anchor="first frame"),
    ):
        assert studio.sampler(made).parts(0) == (made.take.clips[0].windows,)


def test_what_a_decoder_remembers_goes_with_its_clip(studio, model, monkeypatch):
    """Else a take's memory grows with its clips."""
    made, alive, real = studio.recipe(model, starts=(0, 1, 2)), [], studio.samplers.VideoDecoder

    def record(vae):
        decoder = real(vae)
        alive.append(weakref.ref(decoder))
        return decoder

    monkeypatch.setattr(studio.samplers, "VideoDecoder", record)
    sampler = studio.sampler(made)
    for number in range(3):
        assert sum(len(frames) for frames in sampler.frames(number))
        gc.collect()
        assert [decoder() for decoder in alive] == [None] * (number + 1)


def test_windows_of_known_frames_only_are_not_sampled(studio, model, tmp_path, monkeypatch):
    clip = torch.randn(1, 6, 3, 4, 6, generator=torch.Generator().manual_seed(4))
    canvas = studio.canvas(7)
    canvas["samples"][:, :, :3] = clip
    canvas["noise_mask"] = torch.tensor([0, 0, 0, 1, 1, 1, 1.0]).view(1, 1, 7, 1, 1)
    made, calls, real = studio.recipe(model, canvas), [], studio.samplers.run

    def record(*args, **more):
        calls.append(len(args[2].known))
        return real(*args, **more)

    monkeypatch.setattr(studio.samplers, "run", record)
    sampler = studio.sampler(made)
    assert (made.take.windows, sampler.missing) == (3, 2)
    plan = studio.takes.plan_in_words(sampler, 1.0)
    assert "3 latent frames known: they stay as they are" in plan
    out = studio.sampled(made)
    assert calls == [1, 1]
    assert torch.equal(out[:, :, :3], clip)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert studio.sampler(made).missing == 0
    assert torch.equal(studio.sampled(made), out)
    assert calls == [1, 1]


def test_pins_lie_on_their_frames_in_shots_of_any_beginning(studio, pack, vae, model):
    """The second shot begins on frame 10; its frame 7 of latent frame 2 is frame 17 of the take."""
    canvas = studio.canvas(7, f17=picture(1))
    first, second = studio.recipe(model, canvas, starts=(0, 1.25)).known
    assert (dict(first.latents), first.pins) == ({}, None)
    assert list(second.latents) == [2]
    assert list(second.pins.pixels) == [7]
    still = picture(1).expand(13, -1, -1, -1)  # two latent frames before it, as it is pinned
    expected = pack.vae.encode(vae, still)[:, :, 2:3]
    torch.testing.assert_close(second.latents[2], expected, rtol=0, atol=1e-5)


def test_a_pin_on_a_cut_belongs_to_the_shot_that_shows_it(studio, model):
    before, after = (
        [sorted(clip.latents) for clip in studio.recipe(model, canvas, starts=(0, 1.25)).known]
        for canvas in (studio.canvas(7, f9=picture(1)), studio.canvas(7, f10=picture(1)))
    )
    assert before == [[3], []]  # latent frame 3 of both canvases: frames 9 to 12
    assert after == [[], [0]]


def test_a_shot_that_begins_with_an_image_reads_its_pixels(studio, request):
    model = request.getfixturevalue("image_model")
    images = {1: torch.rand(1, 50, 70, 3)}
    first, second = studio.recipe(model, starts=(0, 1), images=images).known
    assert (list(first.latents), list(second.latents)) == ([], [0])
    assert list(second.pins.pixels) == [0]
    assert studio.sampled(studio.recipe(model, starts=(0, 1), images=images), 1).isfinite().all()


def known(canvas, *frames):
    mask = torch.ones(1, 1, canvas["samples"].shape[2], 4, 6)
    mask[:, :, list(frames)] = 0
    return {**canvas, "noise_mask": mask}


def corner(canvas):
    made = known(canvas)
    made["noise_mask"][:, :, 2, :2] = 0.5
    return made


BAD = {
    "two videos": (
        lambda c: {**c, "samples": c["samples"].expand(2, -1, -1, -1, -1)}, {}, "makes one, set",
    ),
    "a loop": (lambda c: {**c, "longtake": {**c["longtake"], "skip": 5}}, {}, "canvas of Loop"),
    "a remix": (lambda c: {**c, "longtake": {**c["longtake"], "strength": 0.5}}, {}, "of Remix"),
    "a corner": (corner, {}, "keeps a share of some latents"),
    "another rate": (
        lambda c: {**known(c, 0), "longtake": {"fps": Fraction(16)}}, {}, "set fps to 0 or 16",
    ),
    "too late": (lambda c: known(c, 6), {"seconds": 1.0}, "21-24 of the canvas are known"),
    "off the grid": (lambda c: known(c, 4), {"starts": (0, 1)}, "a shot begins on frame 8"),
    "twice": (lambda c: known(c, 0), {"images": {0: torch.rand(1, 32, 48, 3)}}, "one of the two"),
    "other latents": (
        lambda c: known({**c, "samples": torch.zeros(1, 5, 7, 4, 6)}, 0), {}, "5 channels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_kept_is_refused_in_a_line(studio, model, what):
    change, settings, told = BAD[what]
    with pytest.raises(InputError, match=told) as caught:
        studio.recipe(model, change(studio.canvas(7)), **settings).known  # noqa: B018
    assert "\n" not in str(caught.value)


def test_an_empty_canvas_changes_nothing(studio, model):
    plain = studio.sampler(studio.recipe(model)).keys
    blank = known(studio.canvas(7))
    assert studio.sampler(studio.recipe(model, blank)).keys == plain
    assert studio.recipe(model).known[0].latents == {}


def test_one_call_or_two_makes_other_windows(studio, model, monkeypatch):
    import comfy.model_management as mm

    def keys():
        return studio.sampler(studio.recipe(model)).keys

    together = keys()
    monkeypatch.setattr(mm, "get_free_memory", lambda *_, **__: 1e3)
    assert keys() == together
    for check in ("check_step", "check_decoding"):
        monkeypatch.setattr(f"longtake.host.take.recipe.{check}", lambda *_, **__: None)
    monkeypatch.setattr(mm, "get_total_memory", lambda *_, **__: 1e3)
    assert all(a != b for a, b in zip(keys()[0].values(), together[0].values(), strict=True))
