"""Takes and storyboards in graphs, with a tiny model of random weights."""

import json
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.codec import Codec
from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.take.known_frames import known_frames
from longtake.engine.take.layout import Windowing, plan_take
from longtake.engine.take.storyboard import Shot
from longtake.models.errors import InputError
from tests.host.networks.test_lora import deltas, lora_file  # noqa: F401
from tests.nodes.conftest import ksampler

STORYBOARD = {
    "clip": ["encoder", 0],
    "text": "[0s] a red ball\n[1s cut] a blue cube\n[2s dissolve 0.5s] a cone",
    "seconds": 3.0,
    "fps": 8.0,
    "snap": 0.5,
    "meet": 0.5,
}
TAKE = {
    "model": ["model", 0],
    "vae": ["vae", 0],
    "negative": ["negative", 0],
    "sigmas": ["schedule", 0],
    "seconds": 3.0,
    "fps": 8.0,
    "width": 32,
    "height": 48,
    "seed": 7,
    "cfg": 4.0,
    "sampler": "euler",
    "window": 9,
    "overlap": 1,
    "shots": "each by itself",
    "anchor": "off",
    "keep": "keep",
    "positive": ["prompt", 0],
}
BOARD = {**{k: v for k, v in TAKE.items() if k != "positive"}, "storyboard": ["board", 0]}


@pytest.fixture
def take(graph):
    """A prompt of three seconds in three windows."""
    return graph.add(take=("LongtakeLongTake", TAKE)).but(save={"video": ["take", 0]})


@pytest.fixture
def board(graph):
    """Three shots, one of which dissolves in."""
    nodes = {"board": ("LongtakeStoryboard", STORYBOARD), "take": ("LongtakeLongTake", BOARD)}
    return graph.add(**nodes).but(save={"video": ["take", 0]})


@pytest.fixture
def windows(host):
    """The folder of finished windows, empty."""
    folder = host.base / "output" / "longtake" / "windows"
    for path in folder.glob("*.safetensors"):
        path.unlink()
    return folder


@pytest.fixture
def crash(host, monkeypatch) -> list[Path]:
    """What there is of a video, at the moment its last frame is written."""
    from longtake.host.take import long_take

    seen, real = [], long_take.write_video

    def write(path, chunks, *rest, **more):
        def watched():
            yield from chunks
            seen.extend(host.base.rglob(".*.part.mp4"))

        real(path, watched(), *rest, **more)

    monkeypatch.setattr(long_take, "write_video", write)
    return seen


def frames_of(path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def saved(host, run):
    assert run.success, run.error
    (shown,) = run.ui["save"]["images"]
    return host.base / "output" / shown["subfolder"] / shown["filename"]


def made(host, prompt) -> np.ndarray:
    return frames_of(saved(host, host.run(prompt, want=["save"])))


def test_a_prompt_becomes_a_take_in_windows(take, host, windows, runs):
    frames = made(host, take)
    assert frames.shape == (25, 48, 32, 3)
    assert runs == [(3, 0), (3, 1), (3, 1)]
    assert len(list(windows.glob("*.safetensors"))) == 3


def test_a_take_of_one_colour_is_refused_and_leaves_no_file(take, host, windows, monkeypatch):
    from longtake.host.take import long_take

    real = long_take.spliced
    monkeypatch.setattr(long_take, "spliced", lambda *a: (chunk * 0 for chunk in real(*a)))
    before = set(host.base.rglob("*.mp4"))
    run = host.run(take, want=["save"])
    assert "all frames are one colour, 0, 0, 0 of 255" in run.error
    assert set(host.base.rglob("*.mp4")) == before


def test_the_encoder_works_behind_the_decoder(take, host, windows, runs, monkeypatch):
    """While x264 is at one frame, those after it are made."""
    from longtake.host.take import long_take

    ahead, decoded, real = [], [], long_take.write_video
    stream = long_take.spliced

    def counted(*given):
        for chunk in stream(*given):
            decoded.append(len(chunk))
            yield chunk

    def slow(path, chunks, *args, **how):
        def watched():
            for number, chunk in enumerate(chunks, start=1):
                deadline = time.monotonic() + 5
                while len(decoded) <= number < 7 and time.monotonic() < deadline:
                    time.sleep(0.01)
                ahead.append(len(decoded) - number)
                yield chunk

        real(path, watched(), *args, **how)

    monkeypatch.setattr(long_take, "spliced", counted)
    monkeypatch.setattr(long_take, "write_video", slow)
    assert made(host, take).shape == (25, 48, 32, 3)
    assert min(ahead[:6]) >= 1


def test_cfg_0_is_what_the_checkpoint_was_trained_for(take, host, windows, runs):
    made(host, take.but(take={"cfg": 0.0}))
    runs.clear()
    made(host, take.but(take={"cfg": 4.0}))
    assert runs == []  # the very windows that 0 gave


def test_shots_are_clips_on_their_own_frames(board, host, windows, runs):
    frames = made(host, board)
    assert frames.shape == (25, 48, 32, 3)
    assert runs == [(3, 0), (3, 0), (3, 2), (3, 0)]  # the second goes on under the dissolve


def test_a_take_shows_the_middle_of_each_shot(board, host, windows):
    run = host.run(board, want=["save"])
    frames, told = frames_of(saved(host, run)), json.loads(run.ui["take"]["longtake_shots"][0])
    assert [(shot["words"], shot["start"], shot["end"]) for shot in told["shots"]] == [
        ("a red ball", 0.0, 1.0),
        ("a blue cube", 1.0, 2.0),
        ("a cone", 2.0, 3.125),
    ]
    folder = host.base / "temp"
    assert (folder / told["video"]).is_file()
    for shot, middle in zip(told["shots"], (4, 12, 20), strict=True):
        picture = np.asarray(Image.open(folder / shot["picture"]).convert("RGB"))
        assert picture.shape == (48, 32, 3)
        off = np.abs(frames.astype(int) - picture).mean((1, 2, 3))
        assert off.argmin() == middle


def test_shots_together_share_windows(board, host, windows, runs):
    frames = made(host, board.but(take={"shots": "together"}))
    assert frames.shape == (25, 48, 32, 3)
    assert runs == [(3, 0), (3, 1), (3, 2), (3, 0)]


def test_the_same_again_samples_nothing_and_is_the_same(take, host, windows, runs):
    first = made(host, take)
    runs.clear()
    again = made(host, take.but(save={"filename_prefix": "takes/b"}))
    assert runs == []
    assert np.array_equal(first, again)


def test_another_shot_is_sampled_and_no_other(board, host, windows, runs):
    before = made(host, board)
    runs.clear()
    text = STORYBOARD["text"].replace("blue cube", "green ball")
    after = made(host, board.but(board={"text": text}))
    assert runs == [(3, 0), (3, 2)]  # the second shot's two windows
    assert np.abs(after[:7].astype(int) - before[:7]).mean() < 2  # but for h264
    assert np.abs(after[9:15].astype(int) - before[9:15]).mean() > 2


CHANGES = [
    ("take", {"seed": 8}),
    ("take", {"cfg": 3.0}),
    ("take", {"sampler": "heun"}),
    ("take", {"width": 64}),
    ("take", {"anchor": "statistics"}),
    ("schedule", {"steps": 2}),
    ("prompt", {"text": "another ball"}),
    ("negative", {"text": "ugly"}),
    ("lora", {"strength_model": 0.5}),
    ("shift", {"shift": 5.0}),
]


def test_whatever_decides_the_pixels_makes_other_windows(take, host, windows, runs, lora_file):  # noqa: F811
    lora = {"model": ["model", 0], "lora_name": lora_file, "strength_model": 0.7}
    whole = take.add(
        lora=("LoraLoaderModelOnly", lora),
        shift=("ModelSamplingSD3", {"model": ["lora", 0], "shift": 3.0}),
    ).but(take={"model": ["shift", 0], "seconds": 2.0}, schedule={"steps": 1})
    executor = host.executor()
    keys = set()
    for node, change in [("take", {}), *CHANGES]:
        changed = host.run(whole.but(**{node: change}), want=["take"], executor=executor)
        assert changed.success, changed.error
        found = {path.name for path in windows.glob("*.safetensors")}
        assert len(found - keys) == 2, (node, change)
        keys = found
    assert host.run(whole, want=["take"]).success
    assert len(runs) == 2 * (1 + len(CHANGES))


def test_another_number_of_windows_goes_on_from_what_is_the_same(take, host, windows, runs):
    made(host, take)
    runs.clear()
    made(host, take.but(take={"seconds": 4.0}))  # a window more
    assert runs == [(3, 1)]


def test_a_take_of_which_only_the_seed_differs_says_so(take, host, windows, shown):
    said = "only the seed differs from a take on disk, which has 7"
    made(host, take)
    assert said not in "".join(shown)
    made(host, take.but(take={"seed": 8}))
    assert said in "".join(shown)
    shown.clear()
    made(host, take.but(take={"seed": 8}, prompt={"text": "another ball"}))
    made(host, take)
    assert said not in "".join(shown)


def test_damaged_windows_are_sampled_anew_to_the_same_bits(take, host, windows, runs):
    before = made(host, take)
    first, second, third = sorted(windows.glob("*.safetensors"), key=lambda p: p.stat().st_mtime)
    data = bytearray(second.read_bytes())
    data[-5] ^= 1
    second.write_bytes(data)
    third.write_bytes(first.read_bytes())
    runs.clear()
    again = made(host, take.but(save={"filename_prefix": "takes/c"}))
    assert runs == [(3, 1), (3, 1)]
    assert np.array_equal(before, again)


def test_windows_go_when_they_are_not_to_be_kept(take, host, windows, runs):
    made(host, take.but(take={"keep": "delete when done"}))
    assert len(runs) == 3
    assert list(windows.glob("*.safetensors")) == []


def test_known_frames_of_the_canvas_stay_and_decide(take, host, windows, runs):
    """An image at the beginning and one in the last window, of the core's loaders or ours."""
    pin = {"image": ["image", 0], "vae": ["vae", 0], "fit": "crop"}
    pinned = take.add(
        image=("EmptyImage", {"width": 32, "height": 48, "batch_size": 1, "color": 0xC86432}),
        first=("LongtakePinImage", {**pin, "latent": ["canvas", 0], "at": 0.0}),
        last=("LongtakePinImage", {**pin, "latent": ["first", 0], "at": 2.5}),
    ).but(canvas={"seconds": 3.0}, take={"canvas": ["last", 0], "seconds": 0.0})
    run = host.run(pinned, want=["last", "save"])
    assert frames_of(saved(host, run)).shape == (25, 48, 32, 3)
    known = run.values["last"][0]["samples"]
    assert runs == [(3, 1), (3, 1), (3, 2)]
    sampled = [unpacked_window(path) for path in sorted(windows.glob("*.safetensors"), key=written)]
    assert torch.equal(sampled[0][:, :, 0], known[:, :, 0])
    assert torch.equal(sampled[2][:, :, 0], known[:, :, 5])
    runs.clear()
    made(host, pinned.but(last={"at": 3.0}))  # two windows are as before
    assert runs == [(3, 2)]


def unpacked_window(path) -> torch.Tensor:
    return load_file(path)["latents"]


def written(path) -> float:
    return path.stat().st_mtime_ns


def test_cancel_leaves_a_video_of_what_is_done_and_queued_again_it_goes_on(
    take, host, windows, runs, monkeypatch
):
    from server import PromptServer

    sent = []
    monkeypatch.setattr(PromptServer.instance, "client_id", "me", raising=False)
    monkeypatch.setattr(PromptServer.instance, "send_sync", lambda *event: sent.append(event))
    whole = made(host, take.but(take={"seed": 21}))
    for path in windows.glob("*.safetensors"):
        path.unlink()
    folder = host.base / "output" / "longtake"
    before = set(folder.glob("stopped_*.mp4"))
    runs.cancel_in = len(runs) + 2
    run = host.run(take.but(take={"seed": 21}), want=["save"])
    runs.cancel_in = None
    assert not run.success
    (stopped,) = set(folder.glob("stopped_*.mp4")) - before
    assert len(frames_of(stopped)) == 17
    ((_, shown, _),) = [event for event in sent if event[0] == "executed"]
    assert (shown["node"], shown["output"]["images"][0]["filename"]) == ("take", stopped.name)
    with av.open(stopped) as container:
        assert json.loads(container.metadata["prompt"])["take"]["inputs"]["seed"] == 21
    assert np.abs(frames_of(stopped)[:16].astype(int) - whole[:16]).mean() < 2
    assert len(list(windows.glob("*.safetensors"))) == 2
    runs.clear()
    again = made(host, take.but(take={"seed": 21}, save={"filename_prefix": "takes/d"}))
    assert runs == [(3, 1)]
    assert np.array_equal(again, whole)


def test_cancel_before_anything_is_done_leaves_nothing(take, host, windows, runs):
    folder = host.base / "output" / "longtake"
    before = set(folder.glob("*.mp4"))

    runs.cancel_in = 0
    run = host.run(take.but(take={"seed": 99}), want=["save"])
    assert not run.success
    assert set(folder.glob("*.mp4")) == before


def test_the_plan_is_shown_before_the_first_step(board, host, windows, runs, shown):
    made(host, board)
    plan = next(text for text in runs.shown[0] if "windows" in text)
    first, *rest = plan.split("\n")
    assert first == "3.12 s, 25 frames of 32×48 at 8 fps"
    assert rest[0].startswith("8 steps to do, about ")
    assert rest[1] == "3 clips in 4 windows of up to 9 frames, 2 steps each"
    assert "of memory" in rest[2]
    assert shown[-2].startswith("done: 3.1 s, 3 shots, 4 windows\n")
    made(host, board.but(save={"filename_prefix": "takes/e"}, take={"fps": 0.0}))
    assert "all windows are on disk already" in shown[-2]


def test_a_take_that_was_decoded_in_tiles_says_so(take, host, windows, shown, monkeypatch):
    from longtake.host.video import decoder

    class InTiles(decoder.PieceDecoder):
        tiles = property(lambda self: 4, lambda self, tiles: None)

    monkeypatch.setattr(decoder, "PieceDecoder", InTiles)
    assert host.run(take).success
    assert "short of GPU memory: decoded in 4 tiles" in shown[-2]


def test_a_storyboard_in_one_window_of_cores_sampler(board, host):
    """Its CONDITIONING alone."""
    core = board.add(core=ksampler(positive=["board", 1])).but(canvas={"seconds": 3.0})
    run = host.run(core, want=["core", "board"])
    assert run.success, run.error
    shots = run.values["board"][1][0][1]["longtake_shots"]
    assert shots["starts"] == [0, 3, 5]  # frames 8 and 16; 9 and 17 are nearest
    assert shots["meet"] == 0.5
    assert run.values["core"][0]["samples"].shape[2] == 7


def test_shots_too_short_for_one_window_are_one_sentence_there(board, host, windows):
    short = board.but(board={"text": "[0s] a\n[1s] b\n[1.125s] c"})
    run = host.run(short, want=["board", "take"])
    assert run.success, run.error
    assert "longtake_shots" not in run.values["board"][1][0][1]


def test_shots_from_nodes_are_those_of_the_text(board, host):
    chained = board.add(
        one=("LongtakeShot", shot("a red ball", 0.0)),
        two=("LongtakeShot", shot("a blue cube", 1.0, shots=["one", 0])),
        three=("LongtakeShot", shot("a cone", 2.0, "dissolve", shots=["two", 0])),
    )
    by_node = chained.but(board={"text": "", "shots": ["three", 0]})
    mixed = chained.but(
        board={"text": "[0s] a red ball\n[2s dissolve] a cone", "shots": ["lone", 0]}
    ).add(lone=("LongtakeShot", shot("a blue cube", 1.0)))
    texts = [
        [
            (s.start, s.prompt, s.transition, s.dissolve)
            for s in host.run(g, want=["board"]).values["board"][0].shots
        ]
        for g in (board, by_node, mixed)
    ]
    assert texts[0] == texts[1] == texts[2]


def test_what_is_said_of_all_shots_reaches_those_from_nodes_too(board, host, shown):
    said = board.but(
        board={"text": "[0s] a red ball\n[all] on the snow", "shots": ["lone", 0]}
    ).add(lone=("LongtakeShot", shot("a blue cube", 1.0)))
    run = host.run(said, want=["board"])
    assert [s.prompt for s in run.values["board"][0].shots] == [
        "on the snow, a red ball",
        "on the snow, a blue cube",
    ]
    assert "0s a red ball" in "".join(shown)


def shot(prompt, start, transition="cut", seed=-1, **links):
    return {
        "prompt": prompt,
        "start": start,
        "transition": transition,
        "dissolve": 0.5,
        "seed": seed,
        **links,
    }


def test_a_shot_begins_with_its_image(board, host, windows, runs, pack):
    images = board.add(
        clip=("EmptyImage", {"width": 50, "height": 60, "batch_size": 1, "color": 0xC86432}),
        lone=("LongtakeShot", shot("a cone", 2.0, seed=3, image=["clip", 0])),
    ).but(board={"text": "[0s] a red ball", "shots": ["lone", 0]})
    frames = made(host, images)
    assert (3, 1) in runs
    vae = pack.load.load_vae("nano (built in)", "fp32")
    picture = torch.tensor([0xC8, 0x64, 0x32]).expand(1, 48, 32, 3) / 255
    latents = pack.vae.encode(vae, picture)
    expected = pack.vae.decode_frames(vae, latents)[0].numpy() * 255
    assert np.abs(frames[16].mean((0, 1)) - expected.mean((0, 1))).max() < 6


def test_shots_from_nodes_take_the_place_of_the_example(graph, host, shown):
    example = host.nodes.NODE_CLASS_MAPPINGS["LongtakeStoryboard"].INPUT_TYPES()["required"]["text"]
    board = graph.add(
        lone=("LongtakeShot", shot("a blue cube", 0.0)),
        board=(
            "LongtakeStoryboard",
            {**STORYBOARD, "text": example[1]["default"], "shots": ["lone", 0]},
        ),
    )
    run = host.run(board, want=["board"])
    assert [s.prompt for s in run.values["board"][0].shots] == ["a blue cube"]
    assert "the example text is left out" in "".join(shown)


def test_the_length_is_the_storyboards_and_a_number_on_the_take_is_above_all(board, host, shown):
    """The canvas is only as large as it is: 9 frames."""
    rolling = board.but(take={"canvas": ["canvas", 0], "seconds": 0.0, "fps": 0.0})
    run = host.run(rolling, want=["save"])
    assert len(frames_of(saved(host, run))) == 25
    assert "as long as the storyboard, 3 s, not as the canvas" in "".join(shown)
    shown.clear()
    assert len(made(host, rolling.but(take={"seconds": 4.0}))) == 33
    assert "not as the canvas" not in "".join(shown)
    by_prompt = {**rolling["take"]["inputs"], "positive": ["prompt", 0]}
    del by_prompt["storyboard"]
    assert len(made(host, rolling.add(take=("LongtakeLongTake", by_prompt)))) == 9


def test_the_rate_of_frames_that_a_canvas_knows_is_the_takes(board, host):
    """That of an empty one is not: the storyboard says 8."""
    pin = {"image": ["image", 0], "vae": ["vae", 0], "latent": ["canvas", 0], "at": 0.0}
    pinned = board.add(
        image=("EmptyImage", {"width": 32, "height": 48, "batch_size": 1, "color": 0xC86432}),
        pin=("LongtakePinImage", {**pin, "fit": "crop"}),
    ).but(canvas={"fps": 12.0}, take={"canvas": ["canvas", 0], "seconds": 0.0, "fps": 0.0})
    assert len(made(host, pinned)) == 25
    assert len(made(host, pinned.but(take={"canvas": ["pin", 0]}))) == 37


def test_an_aspect_decides_the_shape_of_a_take(take, host, shown):
    frames = made(host, take.but(take={"width": 64, "height": 64, "aspect": "9:16"}))
    assert frames.shape == (25, 80, 48, 3)
    assert "48×80 is nearest to 9:16 here: 0.6 to 1, not 0.562" in "".join(shown)


def test_a_shots_image_is_laid_over_black(board, host, windows, pack):
    grey = board.add(
        half=("EmptyImage", {"width": 50, "height": 60, "batch_size": 1, "color": 0x808080}),
        mask=("SolidMask", {"value": 0.5, "width": 50, "height": 60}),
        clear=("JoinImageWithAlpha", {"image": ["half", 0], "alpha": ["mask", 0]}),
        lone=("LongtakeShot", shot("a cone", 2.0, image=["clear", 0])),
    ).but(board={"text": "[0s] a red ball", "shots": ["lone", 0]})
    frames = made(host, grey)
    vae = pack.load.load_vae("nano (built in)", "fp32")
    latents = pack.vae.encode(vae, torch.full((1, 48, 32, 3), 64 / 255))
    expected = pack.vae.decode_frames(vae, latents)[0].numpy() * 255
    assert np.abs(frames[16].mean((0, 1)) - expected.mean((0, 1))).max() < 6


@pytest.mark.parametrize("shape", [(0, 60, 50, 3), (60, 50, 3), (1, 60, 50, 2)])
def test_a_shots_image_must_be_one(shape):
    shots = (Shot(Fraction(0), "a", image=torch.zeros(shape)),)
    codec = Codec(CausalGrid(3), lambda pictures: None, Fraction(8), 5)
    blank = Canvas.blank(codec, 1, 48, 32, Fraction(8))
    take = plan_take(shots, 9, Fraction(8), codec.grid, Windowing(5, 2))
    with pytest.raises(InputError, match="not an IMAGE"):
        known_frames(take, {0: shots[0].image}, blank, None, False, decode=iter)


def test_a_shots_own_seed_is_its_noise_wherever_it_stands(board, host, windows, runs):
    def noise_of_the_cone(at: int, mark: str) -> torch.Tensor:
        """Of the window that the last shot begins with, (1, c, 3, h, w)."""
        text = f"[0s] a red ball\n[{at}s cut{mark}] a cone"
        for path in windows.glob("*.safetensors"):
            path.unlink()
        runs.clear()
        runs.noise.clear()
        made(host, board.but(board={"text": text}, take={"seconds": 0.0}))
        first = [i for i, (frames, known) in enumerate(runs) if known == 0]
        return runs.noise[first[-1]]

    own = noise_of_the_cone(1, " seed 5")
    assert torch.equal(own, noise_of_the_cone(2, " seed 5"))
    assert not torch.equal(own, noise_of_the_cone(1, " seed 6"))
    assert not torch.equal(noise_of_the_cone(1, ""), noise_of_the_cone(2, ""))


@pytest.mark.parametrize(("seed", "own"), [(-1, None), (0, 0), (5, 5), (2**64 - 1, 2**64 - 1)])
def test_any_seed_but_minus_one_is_a_shots_own(board, host, seed, own):
    lone = board.add(lone=("LongtakeShot", shot("a cone", 2.0, seed=seed)))
    run = host.run(lone.but(board={"text": "[0s] x", "shots": ["lone", 0]}), want=["board"])
    assert [s.seed for s in run.values["board"][0].shots] == [None, own]


def test_the_sampler_of_each_window_has_a_seed_of_its_own(take, host, windows, runs):
    """Samplers that add noise on the way, as lcm does, would else add the same in all of them."""
    made(host, take.but(take={"sampler": "lcm"}))
    assert len(runs.seeds) == len(set(runs.seeds)) == 3


def test_sound_is_in_the_video_and_moves_cuts(board, host, windows, monkeypatch):
    from tests.engine.take.test_beats import clicks

    wave, beats = clicks(100, 0.25, 3.2, 16_000)
    sound = {"waveform": torch.from_numpy(wave).float()[None, None], "sample_rate": 16_000}
    import nodes

    class Music:
        RETURN_TYPES, FUNCTION, CATEGORY = ("AUDIO",), "make", "test"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {}}

        def make(self):
            return (sound,)

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "TestMusic", Music)
    music = board.add(music=("TestMusic", {})).but(board={"audio": ["music", 0]})
    run = host.run(music, want=["board", "save"])
    path = saved(host, run)
    starts = [float(s.start) for s in run.values["board"][0].shots]
    assert starts[0] == 0
    for start in starts[1:]:
        assert np.abs(beats - start).min() < 0.03
    with av.open(path) as container:
        assert container.streams.audio[0].sample_rate == 16_000
        length = container.streams.video[0].duration * container.streams.video[0].time_base
        assert length == Fraction(25, 8)
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    onset = np.abs(heard[: round(0.5 * 16_000)]).argmax() / 16_000
    assert onset == pytest.approx(0.25, abs=0.02)
    assert len(heard) / 16_000 == pytest.approx(3.125, abs=0.1)


def test_sound_that_is_connected_is_the_takes(board, host, windows):
    """In place of the storyboard's music."""
    beat = {"tempo": 120.0, "seconds": 3.0}
    sound = board.add(
        music=("LongtakeBeat", {**beat, "offset": 0.0}),
        later=("LongtakeBeat", {**beat, "offset": 1.0}),
    ).but(board={"audio": ["music", 0], "snap": 0.0})

    def onset(graph) -> float:
        """Seconds at which the first beat is heard."""
        with av.open(saved(host, host.run(graph, want=["save"]))) as container:
            frames = [(f.to_ndarray(), f.sample_rate) for f in container.decode(audio=0)]
        loud = np.abs(np.concatenate([f for f, _ in frames], axis=1)[0]) > 0.1
        return loud.argmax() / frames[0][1]

    assert onset(sound) < 0.1
    assert 0.9 < onset(sound.but(take={"audio": ["later", 0]})) < 1.1


@pytest.mark.parametrize(
    ("node", "change", "told"),
    [
        ("board", {"text": "[0s] x\n[9s] y"}, "line 2, column 1: this shot starts at 9s, past"),
        ("board", {"text": "[0s] x\n[1s fade] y"}, "line 2, column 5: 'fade' means nothing here"),
        ("board", {"text": ""}, "there is no shot in it"),
        ("board", {"seconds": 0}, "seconds 0.0: choose a number"),
        ("take", {"anchor": "ship"}, "anchor 'ship': choose from off"),
        ("take", {"shots": "apart"}, "shots 'apart': choose from each by itself"),
        ("take", {"sampler": "x"}, "sampler 'x': choose from euler"),
        ("take", {"keep": "x"}, "keep 'x': choose from keep"),
        ("take", {"seconds": -1}, "smaller than min"),
        ("take", {"fps": -1}, "smaller than min"),
    ],
    ids=str,
)
def test_mistakes_are_told_before_anything_runs(board, host, node, change, told):
    assert told in host.refusal(board.but(**{node: change}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"seconds": 2.0},
            "line 3, column 1: a dissolve of 0.5s from 2s on is not over at the end",
        ),
        ({"seconds": float("nan")}, "seconds nan: choose a number"),
        ({"fps": float("nan")}, "fps nan: choose a number"),
        ({"window": 8}, "Nearest: 5 or 9"),
        ({"overlap": 9}, "windows of 9 frames with an overlap of 9"),
        ({"overlap": 2}, "Nearest: 1 or 5"),
        ({"width": 40}, "width 40 does not fit the latent grid"),
        ({"positive": ["prompt", 0]}, "one of the two"),
        ({"storyboard": None}, "one of the two"),
        ({"cfg": float("nan")}, "cfg nan"),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_told_before_the_first_step(board, host, runs, change, told):
    graph = board.but(take=change)
    if change.get("storyboard", 1) is None:
        del graph["take"]["inputs"]["storyboard"]
    run = host.run(graph, want=["take"])
    assert told in (run.error or ""), run.error
    assert "\n" not in run.error
    assert runs == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prompt": ""}, "the Shot node at 1s: this shot has no prompt"),
        ({"start": 0.0}, "the Shot node at 0s: this shot starts at 0s, but the one before it"),
        ({"start": 7.0}, "the Shot node at 7s: this shot starts at 7s, past the end"),
    ],
    ids=str,
)
def test_mistakes_in_shot_nodes_are_told_by_their_time(board, host, change, told):
    bad = board.add(lone=("LongtakeShot", {**shot("x", 1.0), **change})).but(
        board={"text": "[0s] a", "shots": ["lone", 0]}
    )
    assert told in host.run(bad, want=["board"]).error


def test_the_graph_is_in_the_saved_take(take, host):
    with av.open(saved(host, host.run(take, want=["save"]))) as container:
        assert json.loads(container.metadata["prompt"])["take"]["inputs"]["seconds"] == 3.0


def test_a_take_grows_in_the_output_folder_and_a_crash_leaves_it_there(host, take, windows, crash):
    """Not in the temp folder, which is emptied at every start."""
    host.run(take)
    (left,) = crash
    assert left.parent == host.base / "output" / "longtake"
    assert not list(left.parent.glob(".*"))  # that one is hidden only as long as it grows


def test_films_that_are_gone_are_made_again(host, take, windows, runs):
    executor = host.executor()
    run = host.run(take.but(), executor=executor)
    Path(run.values["take"][0].get_stream_source()).unlink()
    sampled = len(runs)
    again = host.run(take.but(save={"filename_prefix": "takes/again"}), executor=executor)
    assert again.success
    assert again.executed >= {"take", "save"}
    assert len(runs) == sampled  # from its windows
    last = host.run(take.but(save={"filename_prefix": "takes/last"}), executor=executor)
    assert "take" not in last.executed
