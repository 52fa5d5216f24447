"""Sound of every layout and kind of samples, from files and from memory, into every format."""

from fractions import Fraction

import av
import numpy as np
import pytest

from longtake.engine.container.audio import ENCODED_AS, LAYOUTS, layout_of
from longtake.engine.container.formats import FORMATS
from longtake.engine.media.reader import media_facts
from longtake.engine.media.sound import Sound
from longtake.engine.media.sound_part import sound_of
from longtake.engine.media.writer import copy_video, write_video
from longtake.models.errors import InputError, OutputError

RATE, FPS = 48_000, Fraction(8)
SOUNDING = [name for name, form in FORMATS.items() if form.sound_codecs]
LOW = 1500  # Hz of the first channel; each further one is 200 higher. The LFE keeps nothing of it.


def tones(channels: int, seconds: float = 1.0) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.stack(
        [0.3 * np.sin(2 * np.pi * (LOW + 200 * n) * t) for n in range(channels)]
    ).astype(np.float32)


def heard(samples: np.ndarray) -> list[int]:
    """Hz of the loudest tone in each channel; 0 for a silent one."""
    power = np.abs(np.fft.rfft(samples[:, : RATE // 2] * np.hanning(RATE // 2)))
    loudest = power.argmax(axis=1) * 2
    return [int(hz) if power[n].max() > 50 else 0 for n, hz in enumerate(loudest)]


def agree(samples: np.ndarray, channels: int) -> bool:
    """Whether every channel but that of low frequencies sounds as it did."""
    low = {6: 3, 7: 3, 8: 3}.get(channels)
    pairs = enumerate(heard(samples))
    return len(samples) == channels and all(
        abs(hz - (LOW + 200 * n)) <= 4 for n, hz in pairs if n != low
    )


def pictures() -> np.ndarray:
    return np.full((8, 32, 32, 3), 90, np.uint8)


@pytest.mark.parametrize("channels", LAYOUTS)
@pytest.mark.parametrize("name", SOUNDING)
def test_every_number_of_channels_goes_into_every_format(tmp_path, name, channels):
    form = FORMATS[name]
    path = tmp_path / f"a{form.suffix}"
    write_video(path, [pictures()], FPS, form=form, sound=Sound(tones(channels), RATE))
    samples = sound_of(path, Fraction(0), Fraction(0)).samples
    if (form.sound_codecs[0], LAYOUTS[channels]) in ENCODED_AS:  # one more, silent or shared
        assert (len(samples), heard(samples)[:3]) == (channels + 1, [LOW, LOW + 200, LOW + 400])
    else:
        assert agree(samples, channels)


def filmed(path, codec: str, layout: str = "stereo", sample: str = "s16", muxer=None):
    """A clip of a second whose sound is of that kind."""
    channels = av.AudioLayout(layout).nb_channels
    with av.open(path, "w", format=muxer) as container:
        video = container.add_stream("mjpeg", rate=FPS)
        video.width, video.height, video.pix_fmt = 32, 32, "yuvj420p"
        audio = container.add_stream(codec, rate=RATE, layout=layout)
        container.start_encoding()
        for number, rgb in enumerate(pictures()):
            frame = av.VideoFrame.from_ndarray(rgb).reformat(format="yuvj420p")
            frame.pts, frame.time_base = number, 1 / FPS
            container.mux(video.encode(frame))
        container.mux(video.encode())
        flat = np.ascontiguousarray(tones(channels).T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(flat, "flt", layout)
        frame.sample_rate, frame.pts = RATE, 0
        size = audio.codec_context.frame_size or None
        fit = av.AudioResampler(audio.codec_context.format, layout, RATE, size)
        for piece in (*fit.resample(frame), *fit.resample(None)):
            container.mux(audio.encode(piece))
        container.mux(audio.encode())
    return path


KINDS = [
    *[("avi", codec) for codec in ("pcm_s16le", "pcm_s24le", "adpcm_ms", "adpcm_ima_wav")],
    *[("mkv", codec) for codec in ("pcm_s16le", "pcm_s24le", "pcm_f32le", "flac")],
    *[("mov", codec) for codec in ("pcm_s16le", "pcm_s24le", "pcm_f32le", "adpcm_ima_qt")],
]


@pytest.mark.parametrize(("ending", "codec"), KINDS)
@pytest.mark.parametrize("name", ["mp4 h264", "mkv h264", "webm vp9"])
def test_every_kind_of_samples_is_encoded_anew(tmp_path, ending, codec, name):
    source = filmed(tmp_path / f"a.{ending}", codec)
    form = FORMATS[name]
    path = tmp_path / f"b{form.suffix}"
    write_video(path, [pictures()], FPS, form=form, sound=source)
    assert agree(sound_of(path, Fraction(0), Fraction(0)).samples, 2)


@pytest.mark.parametrize("ending", ["avi", "mkv", "mov"])
@pytest.mark.parametrize("layout", LAYOUTS.values())
def test_channels_that_do_not_say_where_they_belong_are_as_many_as_they_are(
    tmp_path, ending, layout
):
    """AVI with plain PCM says their number only, and so does Matroska."""
    source, path = filmed(tmp_path / f"a.{ending}", "pcm_s16le", layout), tmp_path / "b.mp4"
    channels = av.AudioLayout(layout).nb_channels
    with av.open(source) as container:
        assert layout_of(container.streams.audio[0]) == LAYOUTS[channels]
    write_video(path, [pictures()], FPS, sound=source)
    stored = channels + (layout == "6.1")  # as 7.1
    assert len(sound_of(path, Fraction(0), Fraction(0)).samples) == stored


def in_its_own_order(path):
    """A mov whose eight channels are in the order MPEG 7.1 C, which FFmpeg has no name for."""
    data = filmed(path, "pcm_s16le", "7.1").read_bytes()
    at = data.index(b"chan") + 8  # after the version: layout tag, bitmap
    path.write_bytes(data[:at] + bytes.fromhex("0080000800000000") + data[at + 8 :])
    return path


def test_channels_in_an_order_of_their_own_end_nothing(tmp_path):
    """PyAV frees such a layout twice, and the process with it."""
    source = in_its_own_order(tmp_path / "a.mov")
    for _ in range(3):
        facts = media_facts(source)
        assert (facts.sound, facts.unheard) == (False, True)
    with pytest.raises(InputError, match=r"order of their own.* convert it to one of mono"):
        sound_of(source, Fraction(0), Fraction(0))
    path = tmp_path / "b.gif"
    copy_video(source, path, form=FORMATS["gif"])
    write_video(tmp_path / "c.mp4", [pictures()], FPS, sound=source)
    assert not media_facts(tmp_path / "c.mp4").sound


def test_what_an_encoder_refuses_is_not_the_sources_fault(tmp_path, monkeypatch):
    """Samples that run backwards in time, while the source is open and would be called damaged."""
    source = filmed(tmp_path / "a.avi", "pcm_s16le")
    monkeypatch.setattr("longtake.engine.container.tracks.nearest", lambda time: -int(time))
    with pytest.raises(OutputError, match=r"the new file cannot be written.*another format"):
        write_video(tmp_path / "b.mp4", [pictures()], FPS, sound=source)
