"""The pool of rendered clips, and crops of it."""

from random import Random

import pytest
import torch

from training.learning import clips
from training.learning.clips import ClipPool, as_bytes, corner
from training.world.captions import sample_scene


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(clips, "SIDE", 32)
    monkeypatch.setattr(clips, "FRAMES", 5)


def test_the_oldest_clip_gives_way_to_the_newest():
    pool = ClipPool("a", 3)
    pool.advance(3)
    before = pool.pixels.clone()
    pool.advance(4)
    same = [torch.equal(a, b) for a, b in zip(before, pool.pixels, strict=True)]
    assert same == [False, True, True]
    assert pool.made == 4


def test_a_pool_depends_on_its_seed_and_on_how_many_were_made_only():
    walked, jumped, other = ClipPool("a", 3), ClipPool("a", 3), ClipPool("b", 3)
    for count in (3, 4, 5, 7):
        walked.advance(count)
    jumped.advance(7)
    other.advance(7)
    assert torch.equal(walked.pixels, jumped.pixels)
    assert torch.equal(walked.masks, jumped.masks)
    assert not torch.equal(walked.pixels, other.pixels)


def test_crops_are_pieces_of_the_clips():
    pool = ClipPool("a", 2)
    pool.advance(2)
    pool.masks[:] = 255
    pixels, masks = pool.crops(Random(1), 7, frames=3, side=11)
    assert pixels.shape == (7, 3, 3, 11, 11)
    assert masks.shape == (7, 1, 3, 11, 11)
    assert masks.eq(1).all()
    for crop in pixels:
        bytes_ = as_bytes(crop / 2 + 0.5)
        found = pool.pixels.unfold(2, 3, 1).unfold(3, 11, 1).unfold(4, 11, 1)
        equal = found.movedim((5, 6, 7), (2, 3, 4)) == bytes_[:, :, :, :, None, None, None]
        assert equal.flatten(1, 4).all(1).any()


def test_a_vae_sees_posts_too():
    scenes = [sample_scene(Random(k), clips.WORLD) for k in range(300)]
    assert 0.04 < sum(scene.shots[0].post for scene in scenes) / 300 < 0.13
    assert any(len(scene.shots) == 2 for scene in scenes)


def test_bytes_are_rounded():
    assert as_bytes(torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 1.0])).tolist() == [0, 0, 1, 255]


def test_most_crops_have_an_object_inside():
    mask = torch.zeros(53, 61, dtype=torch.uint8)
    mask[31, 47] = 255
    rng, inside = Random(0), 0
    for _ in range(400):
        y, x = corner(rng, mask, 7)
        assert 0 <= y <= 53 - 7
        assert 0 <= x <= 61 - 7
        inside += y <= 31 < y + 7 and x <= 47 < x + 7
    assert 0.7 < inside / 400 < 0.85
    mask[:] = 0
    assert {corner(rng, mask, 53) for _ in range(20)} <= {(0, x) for x in range(9)}
