"""Sound from a file, as AUDIO."""

import torch

from tests.engine.media.test_sound_part import sweep, written


def load(**inputs) -> dict:
    return {"1": {"class_type": "LongtakeLoadAudio", "inputs": inputs}}


def test_a_file_or_a_part_of_it_is_audio_as_cores_nodes_take_it(host, shown):
    written(host.base / "input" / "song.wav", "pcm_s16le")
    (whole,) = host.run(load(audio="song.wav", audioUI=""), want=["1"]).values["1"]
    assert (whole["waveform"].shape, whole["sample_rate"]) == ((1, 1, 16000), 8000)
    part = host.run(load(audio="song.wav", start=0.5, seconds=0.75), want=["1"]).values["1"][0]
    assert torch.equal(part["waveform"], whole["waveform"][..., 4000:10000])
    assert (part["waveform"][0] - torch.from_numpy(sweep()[:, 4000:10000])).abs().max() < 1e-4
    assert shown == ["2.00 s, 8000 Hz, mono", "0.75 s, 8000 Hz, mono"]


def test_a_file_that_is_not_there_is_named(host):
    assert "there is no file 'none.wav'" in host.run(load(audio="none.wav"), want=["1"]).error
    assert "choose an audio or video file" in host.run(load(), want=["1"]).error
