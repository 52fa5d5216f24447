import torch

from training.exam import follow, trials
from training.exam.continuity import QUESTIONS, SOURCES, continuity_page, row, summarized
from training.exam.judge import Scorecard
from training.exam.takes import complete, known_pixels, psnr, trivial
from training.exam.trials import first_frames, pixel_frame
from training.world.captions import Scene


def pixels_of(trial, pixels):
    return ((pixels + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()


def verdicts(title, count, seed=3):
    """What the rendered clips and the trivial answers score."""
    question = QUESTIONS[title]
    asked = [trial for trial in question.trials(count, seed) if trial.true]
    return [
        (
            question.judge(trial, trial.frames.numpy()),
            question.judge(trial, pixels_of(trial, trivial(trial))),
        )
        for trial in asked
    ]


def test_what_the_world_does_is_right_and_standing_still_is_not():
    for truth, frozen in verdicts("out of the picture and back", 1):
        assert all(truth.values()), truth
        assert not frozen["out of sight in between"]
    for truth, frozen in verdicts("behind a post", 2):
        assert all(truth.values()), truth
        assert not frozen["on the other side"]
    for truth, frozen in verdicts("bounce", 1):
        assert all(truth.values()), truth
        assert not any(frozen.values())
    for truth, frozen in verdicts("left and right from one image", 2):
        assert all(truth.values()), truth
        assert not any(frozen.values())


def test_a_trial_shows_what_its_paths_say():
    trial = QUESTIONS["extension"].trials(1, 7)[0]
    assert isinstance(trial.scene, Scene)
    assert trial.scene.held_out
    seen = follow.track_of(follow.read(trial.frames.numpy()), trial.thing.colour)
    told = trial.paths.x[:, 0].numpy() + 0.5
    assert abs(seen.x - told)[pixel_frame(trials.LEAD) :].max() < 0.06


def test_one_image_gives_two_prompts():
    left, right = trials.steered(2, 5)
    assert torch.equal(left.pixels, right.pixels)
    assert {left.thing.motion, right.thing.motion} == {"left", "right"}
    assert left.prompt != right.prompt


def test_trivial_answers_leave_what_is_known_alone():
    trial = QUESTIONS["infill"].trials(1, 2)[0]
    answer, known = trivial(trial), known_pixels(trial.known)
    assert torch.equal(answer[:, known], trial.pixels[:, known])
    torch.testing.assert_close(
        answer[:, 7], trial.pixels[:, 0] * 6 / 13 + trial.pixels[:, 13] * 7 / 13
    )
    assert psnr(trial.pixels, trial.pixels + 0.2) > 19.9


class Counting:
    """Paints each latent frame with its own number, and looks at what it is given."""

    class vae:
        class config:
            stride_hw = 16

    def __init__(self):
        self.windows = []

    def noise(self, seeds, frames, height, width, first):
        t = (frames - 1) // 4 + 1
        return (first + torch.arange(t)).float()[:, None, None].expand(1, 3, t, 2, 2)

    def sample(self, prompts, noise, given, known):
        self.windows.append((int(noise[0, 0, 0, 0, 0]), known.tolist()))
        return torch.where(known[:, None, None], given, noise)


def test_a_long_clip_is_painted_window_by_window():
    pipeline, known = Counting(), first_frames(13, 4)
    start = torch.full((1, 3, 13, 2, 2), -1.0)
    painted = complete(pipeline, ["a"], [1], start, known)
    assert painted[0, 0, :, 0, 0].tolist() == [-1.0] * 4 + list(range(4, 13))
    assert [first for first, _ in pipeline.windows] == [2, 5, 8]
    assert all(given == [True, True, False, False, False] for _, given in pipeline.windows)


def test_numbers_and_page_say_what_was_found():
    question = QUESTIONS["extension"]
    trial = question.trials(1, 7)[0]
    true, frozen = (question.numbers(trial, p) for p in (trial.pixels, trivial(trial)))
    assert true["PSNR of new frames, dB"] > 90 > 35 > frozen["PSNR of new frames, dB"]
    assert 0.5 < true["step at the seam / steps around it"] < 2
    assert QUESTIONS["twelve windows"].numbers(trial, trivial(trial))

    tallies = {source: Scorecard().add([{"colour": True}]) for source in SOURCES}
    numbers = {source: [true, frozen] for source in SOURCES[:4]} | {"trivial": [frozen, frozen]}
    found = {"verdicts": {"colour": row(tallies, "colour")}, "numbers": summarized(numbers)}
    assert summarized(numbers)["PSNR of new frames, dB"]["above trivial %"] == 50
    page = continuity_page({"questions": {"a": found}, "clips": 1, "seed": 2, "pinned": {}})
    assert "| colour | 100 | 21 to 100 | 1 | 100 |" in page
