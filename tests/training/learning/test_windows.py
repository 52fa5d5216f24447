"""The pool of encoded windows: what it renders, holds and makes batches of."""

from itertools import pairwise
from random import Random

import pytest
import torch
from torch.nn.functional import avg_pool2d

from training.learning import windows
from training.learning.windows import (
    FORMS,
    Form,
    WindowPool,
    at_latent_frames,
    draw_known,
    with_regions,
    world_at,
)
from training.world.captions import EASY_WORLD, MOTIONS, WHOLE_WORLD, Mix
from training.world.render import Clips

SMALL = (Form(5, 32, 32, 0.75), Form(3, 32, 48, 0.25))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(windows, "FORMS", SMALL)


def encode(pixels):
    """Every fourth frame, in cells of 16 pixels."""
    frames = pixels[:, :, ::4].transpose(1, 2).flatten(0, 1)
    return avg_pool2d(frames, 16).unflatten(0, (len(pixels), -1)).transpose(1, 2)


def pool(form=SMALL[0], size=5, seed="a", mix=WHOLE_WORLD):
    return WindowPool(form, encode, size, seed, lambda n: mix)


def test_windows_depend_on_seed_and_number_only():
    walked, jumped, other = pool(), pool(), pool(seed="b")
    for count in (2, 5, 6, 8):
        walked.advance(count)
    jumped.advance(8)
    other.advance(8)
    assert len(walked.windows) == 5
    for a, b, c in zip(walked.windows, jumped.windows, other.windows, strict=True):
        assert a.scene == b.scene
        assert torch.equal(a.latents, b.latents)
        assert not torch.equal(a.latents, c.latents)


def test_windows_fit_their_form():
    one = pool(SMALL[1], size=12, mix=Mix(cut=1.0))
    one.advance(12)
    for window in one.windows:
        assert window.latents.shape == (3, 3, 2, 3)
        assert window.mask.shape == (3, 2, 3)
        assert (window.middle, window.cut) == (False, 3)
        assert len(window.scene.shots) == 1


def test_the_usual_form_has_cuts_and_beginnings_inside_a_clip():
    one = pool(size=24, mix=Mix(cut=1.0))
    one.advance(24)
    inside = [window for window in one.windows if window.middle]
    assert 0 < len(inside) < 12
    for window in one.windows:
        assert window.latents.shape == (3, 5, 2, 2)
        assert len(window.scene.shots) == 2 - window.middle
        assert window.cut == 5 if window.middle else 2 <= window.cut < 5


def test_masks_are_of_the_frames_that_latents_are_of(monkeypatch):
    def noise(scenes, frames, generator, **_):
        pixels = torch.rand(1, 3, frames, 32, 32, generator=generator)
        return Clips(pixels, pixels[:, 0], torch.tensor([frames]))

    monkeypatch.setattr(windows, "render", noise)
    one = WindowPool(
        SMALL[0],
        lambda pixels: at_latent_frames(pixels[:, 0], (2, 2))[:, None],
        30,
        "a",
        lambda n: WHOLE_WORLD,
    )
    one.advance(30)
    assert any(window.middle for window in one.windows)
    for window in one.windows:
        assert torch.equal(window.latents[0], window.mask)


def test_a_cut_is_where_the_picture_changes():
    one = pool(size=12, mix=Mix(cut=1.0, motions=("still",), camera=0.0))
    one.advance(12)
    for window in one.windows:
        if window.cut < 5:
            change = window.latents.float().diff(dim=1).abs().mean((0, 2, 3))
            assert change.argmax() + 1 == window.cut


def test_a_batch_reads_its_shots_at_one_cut():
    one = pool(size=20, mix=Mix(cut=0.7))
    one.advance(20)
    for k in range(10):
        batch = one.batch(Random(k), 7, WHOLE_WORLD)
        assert batch.latents.shape == (7, 3, 5, 2, 2)
        assert batch.known.shape == (7, 5)
        assert batch.weight.shape == (7, 1, 5, 2, 2)
        assert 1 <= batch.weight.min() <= batch.weight.max() <= 4
        assert {len(shots) for shots in batch.prompts} <= {1, 2}
        assert 2 <= batch.cut < 5


def test_a_batch_is_decided_by_its_generator():
    one = pool(size=9)
    one.advance(9)
    first, again, other = (one.batch(Random(k), 5, WHOLE_WORLD) for k in (1, 1, 2))
    assert first.prompts == again.prompts
    assert torch.equal(first.known, again.known)
    assert first.prompts != other.prompts


def test_one_prompt_in_eight_is_left_out():
    one = pool(SMALL[1], size=3)
    one.advance(3)
    prompts = one.batch(Random(0), 2000, WHOLE_WORLD).prompts
    assert 0.10 < sum(shots == [""] for shots in prompts) / 2000 < 0.14


def test_what_is_known():
    rng = Random(0)
    begun = [draw_known(rng, 5, middle=False) for _ in range(2000)]
    inside = torch.stack([draw_known(rng, 5, middle=True) for _ in range(500)])
    nothing = sum(not known.any() for known in begun)
    assert 0.77 < nothing / 2000 < 0.84
    assert not any(known.all() for known in begun)
    assert not inside.all(1).any()
    rest = torch.stack([known for known in begun if known.any()]).tolist()
    shares = {
        "first": [row in ([True] + [False] * 4, [True] * 2 + [False] * 3) for row in rest],
        "last": [row in ([False] * 4 + [True], [False] * 3 + [True] * 2) for row in rest],
        "ends": [row == [True, False, False, False, True] for row in rest],
    }
    found = {name: sum(of) / len(rest) for name, of in shares.items()}
    assert found == pytest.approx({"first": 0.35, "last": 0.25, "ends": 0.25}, abs=0.07)
    assert inside[:, 0].float().mean() > 0.98  # given away only where all would be known


def test_a_step_of_another_form_costs_no_more():
    for form in FORMS:
        cells = form.latent_frames * form.height * form.width
        assert form.fewer(24) * cells <= 24 * 5 * 128 * 128 or form.fewer(24) == 2
    assert sum(form.share for form in FORMS) == pytest.approx(1)


def test_the_world_grows():
    stages = [world_at(k / 100) for k in range(100)]
    assert [a == b for a, b in pairwise(stages)].count(False) == 2
    assert stages[9] == EASY_WORLD != stages[10] == stages[74] != stages[75]
    assert stages[50].post == stages[90].post == 0.08
    assert world_at(0.0) is EASY_WORLD
    early, late = world_at(0.5), world_at(0.9)
    assert (early.two, late.two) == (0.15, WHOLE_WORLD.two)
    assert set(early.motions) == set(late.motions) == set(MOTIONS)


def test_masks_keep_what_covers_a_cell_most():
    masks = torch.zeros(1, 9, 4, 6)
    masks[0, 0, :2, :2] = 1.0
    masks[0, 2, :2, 2:4] = 1.0  # fills one cell of the second latent frame for a moment
    masks[0, 8, 3, 5] = 1.0  # a quarter of one of the third's
    cells = at_latent_frames(masks, (2, 3))
    expected = torch.zeros(1, 3, 2, 3)
    expected[0, 0, 0, 0] = expected[0, 1, 0, 1] = 1.0
    expected[0, 2, 1, 2] = 0.25
    assert torch.equal(cells, expected)


def test_regions_leave_something_known_and_something_not():
    rng, none = Random(2), torch.zeros(5, dtype=torch.bool)
    drawn = [with_regions(rng, none, (4, 6), 1.0) for _ in range(200)]
    assert all(known.shape == (5, 4, 6) for known in drawn)
    assert all(known.any() and not known.all() for known in drawn)
    assert all((known == known[:1]).all() for known in drawn)  # the same in every frame
    first = torch.arange(5) == 0
    assert all(with_regions(rng, first, (4, 6), 1.0)[0].all() for _ in range(20))
    assert not with_regions(rng, none, (4, 6), 0.0).any()
