"""The same with several seeds, side by side, and one of them chosen to go on with."""

import av
import pytest
import torch

FIRST = 2**64 - 2  # seeds go on from 0


@pytest.fixture
def varied(graph):
    return graph.but(sample={"seed": ["seeds", 0]}).add(
        seeds=("LongtakeVariations", {"seed": FIRST, "count": 3}),
        beside=("LongtakeSideBySide", {"video": ["decode", 0], "chosen": 3}),
        sheet=("LongtakeSaveVideo", {"video": ["beside", 0], "filename_prefix": "sheet"}),
        chosen=("LongtakeSaveVideo", {"video": ["beside", 1], "filename_prefix": "chosen"}),
    )


def frames_of(video) -> torch.Tensor:
    with av.open(video.get_stream_source()) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.stack([torch.from_numpy(picture) for picture in pictures])


def test_everything_that_follows_is_made_once_with_each_seed(varied, host, runs, shown):
    done = host.run(varied, want=["sheet", "chosen"])
    assert done.success, done.error
    assert runs.seeds == [FIRST, FIRST + 1, 0]
    assert f"3 seeds: {FIRST} to 0" in shown
    assert "3 videos, number 3 goes on" in shown


def test_the_chosen_one_goes_on_as_it_came_and_nothing_is_sampled_for_another(varied, host, runs):
    executor = host.executor()
    for number in (3, 1):
        run = host.run(
            varied.but(beside={"chosen": number}), want=["decode", "beside"], executor=executor
        )
        assert run.success, run.error
        each, (sheet, chosen) = run.values["decode"][0], run.values["beside"]
        assert chosen.get_stream_source() == each[number - 1].get_stream_source()
    assert len(runs) == 3
    assert frames_of(sheet).shape == (9, 2 * 48 + 2, 2 * 32 + 2, 3)


def test_a_number_that_is_not_there_is_told(varied, host):
    wrong = varied.but(beside={"chosen": 4})
    assert "chosen 4: there are 3, so choose 1 to 3." in host.run(wrong, want=["beside"]).error


def test_what_is_no_video_is_told(varied, host):
    wrong = varied.but(beside={"video": ["sample", 0]})
    assert "video must be VIDEO" in host.run(wrong, want=["beside"]).error
