"""The canvas and its one operation, with a codec of plain arithmetic: no ComfyUI, no networks."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from einops import rearrange, reduce
from torch import Tensor

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.codec import Codec
from longtake.engine.canvas.grid import BlockGrid, CausalGrid
from longtake.engine.canvas.guidance import Guidance
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.plan import Window
from longtake.engine.canvas.timeline import Placement
from longtake.models.errors import FrameCountError, InputError, SizeError

H, W = 4, 6  # latent cells


def encode(pictures: Tensor) -> Tensor:
    """A causal codec: a latent frame is the mean of its pixel frames, in three colours."""
    cells = reduce(pictures, "f (h q) (w r) c -> c f h w", "mean", q=8, r=8)
    first, rest = cells[:, :1], cells[:, 1:]
    rest = reduce(rest, "c (t p) h w -> c t h w", "mean", p=4)
    return torch.cat((first, rest), dim=1)[None]


CODEC = Codec(CausalGrid(channels=3, patch=1), encode, Fraction(8), window=5)


def latents(frames: int, seed: int = 1, batch: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, frames, H, W, generator=rng)


def clip(frames: int, seed: int = 1, batch: int = 1) -> Canvas:
    return Canvas(MaskedLatents(latents(frames, seed, batch)), CODEC, Fraction(8))


def blank(frames: int = 17) -> Canvas:
    return Canvas.blank(CODEC, frames, 8 * H, 8 * W, Fraction(8))


def pictures(count: int, seed: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, 8 * H, 8 * W, 3, generator=rng)


# Streams


def test_a_mask_tells_what_is_known():
    mask = torch.zeros(1, 1, 3, H, W)
    mask[:, :, 1, 2, 3] = 1
    assert MaskedLatents(latents(3), mask).known == [0, 2]
    assert MaskedLatents(latents(3)).known == []


def test_a_part_known_is_not_known():
    assert MaskedLatents(latents(3), torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 3, 1, 1)).known == [0]


def test_known_latents_are_put_in_and_the_stream_stays_as_it_was():
    stream, new = MaskedLatents(latents(5)), latents(2, 9)
    after = stream.with_known({2: new})
    assert after.known == [2, 3]
    assert torch.equal(after.latents[:, :, 2:4], new)
    assert torch.equal(stream.latents, latents(5))
    assert stream.with_known({}) is stream
    assert after.without([3]).known == [2]
    assert after.known == [2, 3]


def test_frames_of_it_and_another_order():
    stream = MaskedLatents(latents(5)).with_known({1: latents(1, 9)})
    assert stream.at([4, 1]).known == [1]
    assert torch.equal(stream.at([4, 1]).latents, stream.latents[:, :, [4, 1]])
    moved = stream.arranged([3, None, 0])
    assert moved.known == [0, 2]
    assert torch.equal(moved.latents[:, :, [0, 2]], stream.latents[:, :, [3, 0]])
    assert not moved.latents[:, :, 1].any()


@pytest.mark.parametrize(
    "shape", [(1, 1, 2, 1, 1), (3, 1, 3, 1, 1), (1, 2, 3, 1, 1), (1, 1, 3, H, 2), (3, H, W)]
)
def test_a_mask_that_does_not_fit_is_refused(shape):
    with pytest.raises(InputError, match=r"need \(1 or 1, 1, 3, 4 or 1, 6 or 1\)"):
        MaskedLatents(latents(3), torch.ones(shape))


def test_an_image_is_not_a_canvas():
    with pytest.raises(InputError, match=r"\(3, 4, 6\) are not a video"):
        MaskedLatents(torch.zeros(3, H, W))
    with pytest.raises(InputError, match="2 channels, but this VAE decodes 3"):
        Canvas(MaskedLatents(torch.zeros(1, 2, 1, H, W)), CODEC)


# Empty


def test_an_empty_canvas_knows_nothing_and_takes_no_memory():
    canvas = blank()
    assert canvas.video.latents.shape == (1, 3, 5, H, W)
    assert canvas.video.known == []
    assert not canvas.video.latents.any()
    assert canvas.video.latents.untyped_storage().nbytes() == 4
    assert canvas.windows == (Window((0, 1, 2, 3, 4)),)
    assert canvas.size == (8 * H, 8 * W)


def test_off_the_grid_is_refused():
    with pytest.raises(FrameCountError, match="Nearest: 13 or 17"):
        blank(16)
    with pytest.raises(SizeError, match="height 33"):
        Canvas.blank(CODEC, 17, 33, 48, Fraction(8))


def test_an_empty_canvas_of_seconds_says_what_it_is():
    canvas = Canvas.empty(CODEC, 2.0, Fraction(8), 48, 32)
    assert canvas.notes == ("48×32, 17 frames, 2.12 s", "latent 5×4×6, 120 tokens")


# Pinned


def test_an_image_at_the_beginning_is_its_own_latent():
    canvas = blank().pin_image(pictures(1), 0.0, "crop")
    assert canvas.video.known == [0]
    assert torch.equal(canvas.video.latents[:, :, :1], encode(pictures(1)))
    assert canvas.pins.partly == frozenset()
    assert canvas.notes == ("frame 0 of 17, 0 s",)


def test_an_image_in_the_middle_stands_for_a_latent_frame():
    canvas = blank().pin_image(pictures(1), 0.75, "crop")
    assert canvas.video.known == [2]  # frames 5 to 8
    still = rearrange(encode(pictures(1)), "b c 1 h w -> b c h w")
    torch.testing.assert_close(canvas.video.latents[:, :, 2], still, rtol=0, atol=1e-6)
    assert (list(canvas.pins.pixels), canvas.pins.partly) == ([6], {2})
    assert canvas.notes[1] == "it stands for frames 5-8, one latent frame"


def test_pins_add_up():
    first = blank().pin_image(pictures(1), 0.0, "crop", clip_vision="seen")
    both = first.pin_image(pictures(1, 3), 1.0, "crop", clip_vision="later")
    assert both.video.known == [0, 2]
    assert sorted(both.pins.pixels) == [0, 8]
    assert both.pins.clip_vision == "seen"
    rest = both.pin_clip(pictures(3, 4), 5, "hold")  # frames 5 to 7: with 8, all of latent frame 2
    assert rest.pins.partly == frozenset()


@pytest.mark.parametrize(("edges", "known"), [("paint", [1]), ("hold", [1, 2])])
def test_a_clip_lies_on_the_frames_that_it_fills(edges, known):
    canvas = blank().pin_clip(pictures(6), 1, edges)  # frames 1-6: a latent frame and a half
    assert canvas.video.known == known
    assert torch.allclose(
        canvas.video.latents[:, :, 1], encode(pictures(6)[[0, *range(4)]])[:, :, 1]
    )
    assert sorted(canvas.pins.pixels) == [1, 2, 3, 4, 5, 6]
    assert "of frames 5-8 it fills a part only" in canvas.notes[1]


def test_a_clip_that_fills_nothing_is_refused():
    with pytest.raises(InputError, match="fill no latent frame, which is frames 5-8: set edges"):
        blank().pin_clip(pictures(2), 5, "paint")


def test_pixels_of_an_image_model_are_grey_where_nothing_is_known():
    canvas = blank().pin_image(pictures(1), 0.0, "crop")
    channels = canvas.pins.channels(range(5))
    assert channels.known.shape == (1, 4, 5, 1, 1)
    assert channels.known[0, :, :, 0, 0].tolist() == [[1, 0, 0, 0, 0]] * 4
    assert channels.image[:, :, 1:].eq(0.5).all()
    handed = channels.with_latents(latents(5, 7), [0, 3])
    assert torch.equal(handed.image[:, :, 3], latents(5, 7)[:, :, 3])
    assert torch.equal(handed.image[:, :, 0], channels.image[:, :, 0])  # its pixels are known
    assert handed.known[0, 0, :, 0, 0].tolist() == [1, 0, 0, 1, 0]


def test_pins_of_a_canvas_that_was_cut_are_not_used():
    pins = blank().pin_image(pictures(1), 2.0, "crop").pins
    assert pins.fit(latents(5))
    assert not pins.fit(latents(4))
    assert not pins.fit(latents(5)[..., 1:])


# Clips that go on


def known_as(canvas: Canvas, source: Canvas, places: dict[int, int]) -> None:
    """Known are just these latent frames, and each is that of the source, to the bit."""
    assert canvas.video.known == list(places)
    own = source.video.latents[:, :, list(places.values())]
    assert torch.equal(canvas.video.latents[:, :, list(places)], own)


def test_forwards_a_clip_stays_and_frames_are_added():
    source = clip(4)
    canvas = source.extend("forwards", 1.0)
    known_as(canvas, source, {0: 0, 1: 1, 2: 2, 3: 3})
    assert canvas.timeline.frames == 13 + 8
    assert canvas.plan == (Window((1, 2, 3, 4, 5)),)
    assert canvas.notes[:2] == ("13 + 8 frames: 2.62 s", "going on from 2 latent frames")


def test_backwards_its_first_latent_frame_is_sampled_anew():
    source = clip(4)
    canvas = source.extend("backwards", 1.0)
    known_as(canvas, source, {3: 1, 4: 2, 5: 3})
    assert canvas.notes[-1] == "the clip's first frame is sampled anew, as the last of 4"


def test_overlap_and_window_are_seconds():
    canvas = clip(6).extend("forwards", 2.0, overlap=1.0, window=2.0)
    assert canvas.plan == (Window((4, 5, 6, 7)), Window((6, 7, 8, 9), context=2))


@pytest.mark.parametrize(
    ("overlap", "window", "words"),
    [(2.0, 2.0, "an overlap of 2 s in windows of 2 s"), (9.0, 0.0, "in windows of 2.125 s")],
)
def test_windows_that_the_overlap_fills_are_refused(overlap, window, words):
    with pytest.raises(InputError, match=words):
        clip(6).extend("forwards", 2.0, overlap, window)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), 3601.0])
def test_what_is_no_duration(seconds):
    with pytest.raises(InputError, match="choose a duration above 0"):
        clip(4).bridge(clip(4), seconds)


def test_a_gap_is_emptied_and_nothing_else():
    source = clip(5)
    canvas = source.fill(0.7, 1.0)  # frames 6 and 7
    known_as(canvas, source, {0: 0, 1: 1, 3: 3, 4: 4})
    assert canvas.notes[0] == "sampling frames 5-8"
    with pytest.raises(InputError, match=r"is all of a clip of 2\.125 s"):
        source.fill(0.0, 2.1)
    with pytest.raises(InputError, match="end must be after start"):
        source.fill(1.0, 1.0)


def test_a_gap_before_another_clip():
    before, after = clip(5), clip(4, 3)
    canvas = before.fill(1.2, 1.7, after)  # whole before frame 10: latent frames 0 to 2
    assert canvas.video.known == [0, 1, 2, 4, 5, 6]
    assert torch.equal(canvas.video.latents[:, :, 4:], after.video.latents[:, :, 1:])


def test_a_bridge_leaves_out_the_other_clips_first_latent_frame():
    before, after = clip(3), clip(4, 3)
    canvas = before.bridge(replace(after, fps=Fraction(12)), 1.0)
    assert canvas.video.known == [0, 1, 2, 5, 6, 7]
    assert torch.equal(canvas.video.latents[:, :, 5:], after.video.latents[:, :, 1:])
    assert "12 fps plays at 8" in canvas.notes
    assert canvas.fps == 8


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (clip(1), "the clip after the gap is 1 frame"),
        (clip(3, batch=3), "batches of 2 and 3"),
        (
            replace(clip(3), video=MaskedLatents(latents(3)[..., :2])),
            "the clips are of 48×32 and 16×32",
        ),
    ],
    ids=["one frame", "batches", "sizes"],
)
def test_clips_that_do_not_join(after, words):
    with pytest.raises(InputError, match=words):
        clip(3, batch=2).bridge(after, 1.0)


def test_one_clip_serves_a_batch_of_others():
    canvas = clip(3, batch=2).bridge(clip(3, 5), 1.0)
    assert canvas.video.latents.shape[0] == 2
    assert torch.equal(canvas.video.latents[0, :, -2:], canvas.video.latents[1, :, -2:])


def test_a_loop_ends_with_what_follows_its_beginning():
    source = clip(6)
    canvas = source.loop(1.0)
    assert canvas.video.known == [*range(6), 8, 9, 10]
    assert torch.equal(canvas.video.latents[:, :, 8:], source.video.latents[:, :, 2:5])
    assert (canvas.skip, canvas.left_out) == (17, 17)
    assert canvas.notes[0] == "a loop of 24 frames, 3 s"  # 20 and 8, less 4 that stand twice
    cut = replace(canvas, video=canvas.video.at(range(4)))
    assert cut.left_out == 0
    with pytest.raises(InputError, match="13 or more"):
        clip(3).loop(1.0)


def test_a_remix_starts_from_the_clip():
    short, long = clip(5).remix(0.4), clip(9).remix(0.4)
    assert (short.strength, short.plan, short.video.known) == (0.4, (), [])
    assert [window.frames for window in long.plan] == [
        (0, 1, 2, 3, 4),
        (3, 4, 5, 6, 7),
        (4, 5, 6, 7, 8),
    ]
    assert long.notes == ("33 frames to be sampled over, denoise 0.4", "in 3 windows")


def test_a_plan_for_another_length_is_not_used():
    canvas = clip(4).extend("forwards", 3.0)
    assert len(canvas.plan) > 1
    assert canvas.windows == canvas.plan
    cut = replace(canvas, video=canvas.video.at(range(3)))
    assert cut.windows == (Window((0, 1, 2)),)


# Another rule of time, such as the blocks of 17 frames in 5 latent ones of MiniMax H3


def test_nothing_but_the_grid_knows_how_frames_are_packed():
    grid = BlockGrid(channels=3)
    for frames in (5, 22, 39):
        holds = [grid.latent_frame_of(f) for f in range(frames)]
        assert holds == sorted(holds)
        assert len(set(holds)) == grid.latent_frames(frames)
        assert all(grid.first_frame(k) == holds.index(k) for k in set(holds))
    codec = Codec(grid, encode, Fraction(24), window=12)
    source = Canvas(MaskedLatents(latents(7)), codec)  # 22 frames
    longer = source.extend("forwards", 17 / 24)
    assert (longer.timeline.frames, longer.video.known) == (39, list(range(7)))
    assert longer.timeline.in_words([5, 6]) == "frames 17-21"
    assert Placement(longer.timeline, 17, 22).wholly == range(5, 12)
    gap = longer.fill(17 / 24, 33 / 24)
    assert gap.video.known == [0, 1, 2, 3, 4, 10, 11]


@pytest.fixture
def in_blocks():
    """A clip of 12 latent frames, 39 pixel frames, whose windows are as long."""
    codec = Codec(BlockGrid(channels=3), encode, Fraction(24), window=12)
    return Canvas(MaskedLatents(latents(12)), codec)


@pytest.mark.parametrize(
    "longer",
    [
        lambda clip: clip.extend("forwards", 3.0),
        lambda clip: clip.extend("backwards", 3.0),
        lambda clip: clip.extend("backwards", 0.1),
        lambda clip: clip.fill(0.5, 1.0),
        lambda clip: clip.fill(0.9, 2.5, after=clip),
        lambda clip: clip.bridge(clip, 1.2),
        lambda clip: clip.loop(1.4),
        lambda clip: clip.extend("forwards", 5.0).remix(0.5),
    ],
    ids=["forwards", "backwards", "a little", "fill", "between two", "bridge", "loop", "remix"],
)
def test_clips_in_blocks_keep_every_latent_frame_and_windows_are_clips(in_blocks, longer):
    canvas, grid = longer(in_blocks), in_blocks.codec.grid
    t = canvas.video.latents.shape[2]
    assert grid.latent_frames(canvas.timeline.frames) == t
    known = set(canvas.video.known)
    for window in canvas.windows:
        assert window.frames[0] % grid.block == 0
        assert window.frames == tuple(range(window.frames[0], window.frames[-1] + 1))
        assert grid.as_clip(len(window.frames)) == len(window.frames)
        assert set(window.frames[: window.context]) <= known or canvas.strength
        known |= set(window.new)
    assert known == set(range(t))
    assert not any("sampled anew" in note for note in canvas.notes)


def test_a_clip_in_blocks_goes_behind_others_whole(in_blocks):
    clip, n = in_blocks.video.latents, 12
    before = in_blocks.extend("backwards", 1.0)
    assert torch.equal(before.video.latents[:, :, -n:], clip)
    assert before.video.known == list(
        range(before.video.latents.shape[2] - n, before.timeline.latent_frames)
    )
    bridge = in_blocks.bridge(in_blocks, 1.0)
    assert torch.equal(bridge.video.latents[:, :, :n], clip)
    assert torch.equal(bridge.video.latents[:, :, -n:], clip)
    # 24 frames were asked; 12 and 17·n can stand between a clip's end and a block's beginning.
    assert bridge.timeline.frames == 39 + 29 + 39
    loop = in_blocks.loop(1.0)
    assert torch.equal(loop.video.latents[:, :, -2:], clip[:, :, :2])
    assert (loop.skip, loop.timeline.frames) == (5, 39 + 29 + 5)


def test_a_picture_in_the_middle_of_blocks_is_encoded_with_its_block():
    shown = []

    def seen(frames):
        shown.append(frames.shape[0])
        return torch.zeros(1, 3, H3.enough(frames.shape[0]), 1, 1) + len(shown)

    H3 = BlockGrid(channels=3)
    codec = Codec(H3, seen, Fraction(24), window=12)
    canvas = Canvas.blank(codec, 39, 16, 16, Fraction(24))
    canvas = canvas.pin_image(torch.rand(1, 16, 16, 3), 20 / 24, "crop")
    assert shown == [5]  # of the second block, as far as it
    assert canvas.video.known == [6]  # frames 18 to 21


# What is followed


def following(canvas: Canvas, first: int = 0, count: int = 17) -> Canvas:
    guidance = Guidance(CODEC).with_references(pictures(1), canvas.size, 1.0)
    return replace(canvas, guidance=guidance.with_control(pictures(count), first, 0.5))


def joined(canvas: Canvas, does: str) -> Canvas:
    ways = {
        "extend": lambda: canvas.extend("forwards", 1.0),
        "before": lambda: canvas.extend("backwards", 1.0),
        "fill": lambda: canvas.fill(0.75, 1.0),
        "bridge": lambda: canvas.bridge(clip(5, 3), 1.0),
        "between": lambda: canvas.fill(0.75, 1.5, clip(5, 3)),
        "loop": lambda: canvas.loop(1.0),
    }
    return ways[does]()


@pytest.mark.parametrize("does", ["extend", "before", "bridge", "loop"])
def test_references_go_on_with_a_clip_and_a_control_clip_ends_with_it(does):
    after = joined(following(clip(5)), does)
    assert [len(after.guidance.references), after.guidance.handed_on] == [1, True]
    assert not after.guidance.control
    assert "references that go on: 1" in after.notes
    assert any("connect Control Video after this node" in note for note in after.notes)


@pytest.mark.parametrize(("does", "frames"), [("fill", range(5, 9)), ("between", range(5, 13))])
def test_a_gap_follows_the_control_clip_that_was_there(does, frames):
    before = following(clip(5))
    after = joined(before, does)
    assert [*after.guidance.control] == [*after.guidance.strengths] == [*frames]
    assert all(after.guidance.control[f] is before.guidance.control[f] for f in frames)
    said = f"the clip's control clip is followed in frames {frames[0]}-{frames[-1]}"
    assert said in after.notes


def test_two_clips_hand_on_the_references_of_both_once():
    one, two = following(clip(5)), following(clip(5, 3))
    assert len(one.bridge(two, 1.0).guidance.references) == 2
    assert len(one.bridge(replace(two, guidance=one.guidance), 1.0).guidance.references) == 1
    assert len(clip(5).bridge(two, 1.0).guidance.references) == 1


def test_a_control_clip_alone_is_not_handed_on():
    alone = replace(clip(5), guidance=Guidance(CODEC).with_control(pictures(5), 0, 1.0))
    assert alone.extend("forwards", 1.0).guidance is None
    assert alone.extend("forwards", 1.0).guidance is clip(5).extend("forwards", 1.0).guidance


def test_references_stay_whole_on_white_where_a_canvas_is_widened():
    wider = following(clip(5)).guidance.widened((8, 0, 16, 8))
    assert not wider.control
    picture = wider.references[0].picture
    assert picture.shape == (8 * H + 8, 8 * W + 24, 3)
    assert picture[:, :8].min() == picture[-8:].min() == 1
    assert torch.equal(picture[:-8, 8:-16], following(clip(5)).guidance.references[0].picture)
