import numpy as np
import torch

from training.exam.regions import (
    EDGE,
    SIDE,
    cells_of,
    expanded,
    gone,
    objects,
    outside,
    replaced,
    seam,
    shows,
)
from training.world.sheet import to_frames


def test_tasks_are_of_objects_that_their_areas_hold():
    from random import Random

    (task,) = objects(1, 3)
    clip = to_frames(task.pixels[None])[0].numpy()
    assert shows(clip, task.scene.shots[0].things[0])["colour"]
    assert not gone(clip, task)
    assert outside([clip], [task]) == 100
    blank = np.where(task.area.numpy()[..., None], clip[:, :1, :1], clip)
    assert gone(blank, task)
    other = replaced(task, Random(1))
    assert not shows(clip, other.scene.shots[0].things[0])["both"]
    assert expanded(task).area.sum() == SIDE * (SIDE - EDGE)


def test_cells_are_those_that_an_area_touches():
    area = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    area[31, 64] = True
    assert cells_of(area, 16).nonzero().tolist() == [[1, 4]]
    assert cells_of(area, 32).nonzero().tolist() == [[0, 4], [0, 5], [1, 4], [1, 5]]


def test_a_seam_is_a_step_where_the_new_begins():
    ramp = np.broadcast_to(np.arange(SIDE)[None, None, :, None], (3, SIDE, SIDE, 3))
    assert seam(ramp) == 1
    assert seam(ramp + 50 * (np.arange(SIDE) >= EDGE)[None, None, :, None]) == 51
