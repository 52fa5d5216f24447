from dataclasses import replace
from random import Random

import pytest
import torch

from training.world.captions import GROUNDS, MOTIONS, Mix, Scene, Shot, Thing, sample_scene
from training.world.render import PAN, RGB, arrange, pose, render


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(motion="still", camera="static", colour="red", shape="ball", ground="grass", time="day"):
    return Scene((Shot(ground, time, (Thing(colour, shape, "small", motion),), camera),))


def middle(masks):
    """masks: (frames, h, w) -> (frames, 2), x and y of what they cover, in pixels."""
    total = masks.sum((1, 2))
    y = (masks.sum(2) * torch.arange(masks.shape[1])).sum(1) / total
    x = (masks.sum(1) * torch.arange(masks.shape[2])).sum(1) / total
    return torch.stack((x, y), 1)


def test_shapes_and_range():
    world = Random(3)
    scenes = [sample_scene(world) for _ in range(7)]
    clips = render(scenes, 5, rng(), height=37, width=53)
    assert clips.pixels.shape == (7, 3, 5, 37, 53)
    assert clips.masks.shape == (7, 5, 37, 53)
    assert clips.pixels.isfinite().all()
    assert clips.pixels.abs().max() <= 1
    assert 0 <= clips.masks.min() <= clips.masks.max() <= 1


def test_a_generator_decides_everything():
    scenes = [sample_scene(Random(3)) for _ in range(3)]
    first, again, other = (render(scenes, 5, rng(s), height=32, width=32) for s in (1, 1, 2))
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)


def test_a_window_from_the_middle_is_the_middle():
    scenes = [scene(motion, camera="pan left") for motion in MOTIONS]
    whole = render(scenes, 29, rng(), height=32, width=48)
    start = [3, 5, 7, 11, 13, 16, 2, 1, 16]
    part = render(scenes, 13, rng(), height=32, width=48, start=start)
    for i, s in enumerate(start):
        torch.testing.assert_close(part.pixels[i], whole.pixels[i][:, s : s + 13])


@pytest.mark.parametrize(
    ("motion", "way"),
    [("left", (-1, 0)), ("right", (1, 0)), ("rises", (0, -1)), ("falls", (0, 1))],
)
def test_objects_go_where_the_word_says(motion, way):
    clips = render([scene(motion)] * 5, 17, rng(5), height=64, width=64)
    for masks in clips.masks:
        path = middle(masks)
        way_gone = (path[-1] - path[0]) / 64
        along = way_gone @ torch.tensor(way, dtype=torch.float)
        assert 0.3 < along < 0.65
        assert (way_gone - along * torch.tensor(way)).abs().max() < 0.08


def test_sizes_change_as_the_word_says():
    grows, shrinks, still = (
        render([scene(motion)] * 3, 17, rng(), height=64, width=64).masks.sum((2, 3))
        for motion in ("grows", "shrinks", "still")
    )
    assert (grows[:, -1] / grows[:, 0] > 3).all()
    assert (shrinks[:, -1] / shrinks[:, 0] < 1 / 3).all()
    torch.testing.assert_close(still[:, -1], still[:, 0])


def test_a_bounce_repeats_every_second_and_a_ball_does_not_change_shape_when_it_spins():
    bounce = render([scene("bounces")], 17, rng(), height=64, width=64).masks[0]
    torch.testing.assert_close(bounce[:9], bounce[8:])
    assert middle(bounce)[:, 1].std() > 4
    spin = render([scene("spins")], 17, rng(), height=64, width=64)
    torch.testing.assert_close(spin.masks[0, 0], spin.masks[0, 9])
    assert (spin.pixels[0, :, 0] - spin.pixels[0, :, 4]).abs().max() > 0.5


@pytest.mark.parametrize(("camera", "way"), [("pan left", 1), ("pan right", -1)])
def test_a_pan_moves_everything_the_other_way_and_near_ground_faster(camera, way):
    clips = render([scene(camera=camera)] * 5, 17, rng(), height=64, width=64)
    for masks in clips.masks:
        dx = way * (middle(masks)[-1] - middle(masks)[0])[0] / 64
        assert 0.7 * 2 * PAN < dx < 1.3 * 2 * PAN
    ground = clips.pixels[0, :, :, 50:]
    assert (ground[:, 0] - ground[:, -1]).abs().max() > 0.03


def test_zooms_scale():
    closer = render([scene(camera="zoom in")], 17, rng(), height=64, width=64).masks[0].sum((1, 2))
    assert 1.8 < closer[-1] / closer[0] < 2.7


def test_objects_keep_their_colour_at_night():
    for time in ("day", "sunset", "night"):
        clips = render([scene(colour=c, time=time) for c in RGB], 1, rng(), height=64, width=64)
        for pixels, mask, name in zip(clips.pixels, clips.masks, RGB, strict=True):
            seen = pixels[:, 0][:, mask[0] > 0.99].median(1).values / 2 + 0.5
            gaps = {c: (seen - torch.tensor(RGB[c])).norm().item() for c in RGB}
            assert min(gaps, key=gaps.get) == name, (time, seen, gaps)


def test_cuts_fall_where_a_latent_frame_begins():
    shots = (scene(ground="grass").shots[0], scene(ground="snow", time="night").shots[0])
    clips = render([Scene(shots)] * 20, 17, rng(), height=32, width=32)
    assert {int(cut) for cut in clips.cuts} == {5, 9, 13}
    for pixels, cut in zip(clips.pixels, clips.cuts.tolist(), strict=True):
        steps = pixels.diff(dim=1).abs().mean((0, 2, 3))
        assert steps.argmax() + 1 == cut
    assert (render([scene()], 17, rng(), height=32, width=32).cuts == 17).all()


def test_two_objects_start_apart():
    world = Random(1)
    scenes = [sample_scene(world, Mix(two=1, cut=0, camera=0)) for _ in range(200)]
    shots, start = torch.arange(200) * 2, torch.zeros(200)
    _, (far, near) = pose(arrange(scenes, rng(), 1.0), shots, start, 1.0)
    gap = (far.x - near.x).hypot(far.y - near.y) / (far.radius + near.radius)
    assert (gap > 0.9).float().mean() > 0.97
    assert gap.min() > 0.5
    assert (far.base <= near.base).all()


def test_a_post_hides_what_passes_behind_it_and_nothing_else_changes():
    shown = scene(motion="right")
    behind = Scene((replace(shown.shots[0], post=True),))
    free = render([shown], 17, rng(), height=64, width=64)
    post = render([behind], 17, rng(), height=64, width=64)
    seen = post.masks[0].sum((1, 2)) / free.masks[0].sum((1, 2))
    assert seen[0] > 0.95
    assert seen[-1] > 0.95
    assert seen.min() < 0.05
    untouched = (post.pixels == free.pixels).all(1).float().mean()
    assert 0.7 < untouched < 0.8  # a quarter of the picture's width, from the top to its foot


def test_every_ground_looks_different():
    clips = render([scene(ground=g) for g in GROUNDS], 1, rng(), height=32, width=32)
    below = clips.pixels[:, :, 0, 28:].mean((2, 3))
    assert torch.cdist(below, below).fill_diagonal_(9).min() > 0.3
