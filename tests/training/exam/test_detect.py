import numpy as np
import pytest
import torch
from scipy import ndimage

from training.exam.camera import find_cut
from training.exam.detect import read
from training.exam.evaluate import Answer, block_grid, calibrate, evaluate_clips, questions
from training.exam.judge import SCORES, Scorecard, interval, judge
from training.world.captions import Scene, Shot, Thing
from training.world.render import render
from training.world.sheet import clip_sheet, to_frames


def clip_of(*scenes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return to_frames(render(list(scenes), 17, generator).pixels).numpy()


@pytest.fixture(scope="module")
def asked():
    return questions(10, seed=4)


@pytest.fixture(scope="module")
def rendered(asked):
    return clip_of(*(question.scene for question in asked))


def test_rendered_clips_are_right_in_everything(asked, rendered):
    for (scene, prompt, _), clip in zip(asked, rendered, strict=True):
        verdicts = judge(scene, clip)
        verdicts.pop("two_all", None)  # objects that cover each other are hard to follow
        assert all(verdicts.values()), (prompt, verdicts)
        assert verdicts.keys() <= SCORES.keys()


def test_the_wrong_clip_is_wrong(asked, rendered):
    tally = Scorecard().add(
        judge(question.scene, clip) for question, clip in zip(asked, rendered[::-1], strict=True)
    )
    assert tally.percent("one_all") == 0
    for name in ("colour", "ground", "motion"):
        assert tally.percent(name) <= 60


def test_a_little_blur_and_noise_do_no_harm(asked, rendered):
    scene, clip = asked[0][0], rendered[0].astype(float)
    noise = np.random.default_rng(0).normal(0, 40, clip.shape)
    worse = ndimage.gaussian_filter(clip, (0, 1, 1, 0)) + ndimage.gaussian_filter(
        noise, (0, 1, 1, 0)
    )
    verdicts = judge(scene, worse.clip(0, 255).astype(np.uint8))
    assert all(verdicts.values()), verdicts


def test_two_lumps_of_one_colour_are_not_coherent():
    thing = Thing("red", "ball", "medium", "still")
    clip = clip_of(Scene((Shot("grass", "day", (thing, thing)),)))[0]
    assert read(clip).lumps == 0


def test_no_object_is_no_colour_and_no_crash():
    empty = np.full((17, 64, 64, 3), 120, np.uint8)
    assert read(empty).tracks == ()
    assert find_cut(empty) is None
    scene = questions(1, 0)[0].scene
    verdicts = judge(scene, empty)
    assert not verdicts["colour"]
    assert not verdicts["shape"]
    assert not verdicts["one_all"]


def test_an_object_that_falls_apart_is_no_cut():
    clip = clip_of(Scene((Shot("sand", "sunset", (Thing("blue", "cube", "big", "left"),)),)))[0]
    clip[9:, 40:100] = np.roll(clip[9:, 40:100], 50, axis=2)
    assert find_cut(clip) is None


def test_evaluate_asks_for_every_prompt_in_order(asked, rendered):
    def make_clips(prompts, seeds):
        assert [q.prompt for q in asked[seeds[0] - 5 :][: len(seeds)]] == prompts
        clips = torch.from_numpy(rendered[[seed - 5 for seed in seeds]]).float()
        return clips.permute(0, 4, 1, 2, 3) / 127.5 - 1

    answers = list(evaluate_clips(make_clips, asked[:3], seed=5, batch=2))
    assert [answer.prompt for answer in answers] == [question.prompt for question in asked[:3]]
    assert all(answer.summary.endswith("[right]") for answer in answers)
    sheet = clip_sheet([a.clip for a in answers], [a.summary for a in answers])
    assert sheet.size[0] > 2 * 5 * 128


def test_a_summary_names_what_is_wrong(asked):
    scene, prompt, _ = asked[0]
    answer = Answer(scene, prompt, torch.zeros(1), {"colour": False, "ground": True}, {})
    assert answer.summary == f"{prompt} [wrong: colour]"


def test_calibration_counts_every_scene():
    tally = calibrate(questions(2, 9), seed=0, through=lambda pixels: pixels.flip(-1))
    assert tally.percent("ground") == 100
    assert tally.asked["ground"] == 2


def test_grid_sees_blocks_and_nothing_else():
    noise = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert block_grid(noise, 16) == pytest.approx(1, abs=0.1)
    blocks = noise[:, ::16, ::16].repeat_interleave(16, -1).repeat_interleave(16, -2)
    assert block_grid(blocks + 0.1 * noise, 16) > 3
    assert block_grid(blocks + 0.1 * noise, 4) > 2


def test_the_exam_is_held_out_and_has_every_kind():
    asked = questions(40, 2)
    scenes = [question.scene for question in asked]
    assert all(scene.held_out for scene in scenes)
    assert sum(len(scene.shots) == 2 for scene in scenes) == 6
    single = [scene.shots[0] for scene in scenes if len(scene.shots) == 1]
    assert sum(len(shot.things) == 2 for shot in single) == 6
    assert sum(shot.camera != "static" for shot in single) == 6
    sideways = [q.scene.shots[0].things[0].motion for q in asked if q.part == 1]
    assert sorted(sideways) == ["left"] * 3 + ["right"] * 3
    assert [q.scene for q in questions(7, 2)] == scenes[:7]


def test_more_of_left_and_right_does_not_weigh_among_the_nine_motions(asked, rendered):
    of_part = [k for k, question in enumerate(asked) if question.part == 1]
    tally = calibrate([asked[k] for k in of_part], seed=0)
    assert tally.asked["left_right"] == len(of_part) > 0
    assert not tally.asked["motion"]


def test_intervals_are_wilsons():
    low, high = interval(45, 50)  # the closed form, as the textbooks work it out
    assert (low, high) == pytest.approx((78.6, 95.7), abs=0.1)
    assert interval(10, 10) == (72.2, 100.0)
    assert interval(0, 10)[0] == 0
