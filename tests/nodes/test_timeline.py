"""Pinned, extended, filled, bridged, looped, remixed: canvases in graphs, with the tiny model."""

from fractions import Fraction

import pytest
import torch

from longtake.engine.canvas.plan import Window
from tests.nodes.conftest import ksampler


@pytest.fixture
def clips(graph):
    """The graph with a sampled clip of 9 frames, pictures and a VIDEO beside it."""
    return graph.add(
        picture=("EmptyImage", {"width": 70, "height": 50, "batch_size": 1, "color": 0xC86432}),
        frames=("EmptyImage", {"width": 32, "height": 48, "batch_size": 6, "color": 0x3264C8}),
        film=("CreateVideo", {"images": ["frames", 0], "fps": 4.0}),
        two=("RepeatLatentBatch", {"samples": ["canvas", 0], "amount": 2}),
        three=("RepeatLatentBatch", {"samples": ["canvas", 0], "amount": 3}),
    )


def canvas(host, graph, *names, want="made"):
    run = host.run(graph, want=[want, *names])
    assert run.success, run.error
    return [run.values[name][0] for name in (want, *names)]


def kept(latent) -> list[int]:
    mask = latent["noise_mask"]
    assert mask.ndim == 5
    return [k for k in range(mask.shape[2]) if mask[:, :, k].max() == 0]


def pin_image(**inputs):
    given = {"latent": ["canvas", 0], "image": ["picture", 0], "vae": ["vae", 0], "at": 0.0}
    return "LongtakePinImage", {**given, "fit": "crop", **inputs}


def pin_video(**inputs):
    given = {"latent": ["canvas", 0], "clip": ["frames", 0], "vae": ["vae", 0], "at": 0.0}
    return "LongtakePinVideo", {**given, "fit": "crop", "edges": "paint", **inputs}


def extend(**inputs):
    given = {"clip": ["sample", 0], "vae": ["vae", 0], "direction": "forwards", "seconds": 1.0}
    return "LongtakeExtendVideo", {**given, "overlap": 0.0, "window": 0.0, **inputs}


def test_an_image_at_the_beginning_is_one_latent_frame(host, clips, shown):
    (made,) = canvas(host, clips.add(made=pin_image()))
    assert kept(made) == [0]
    assert made["samples"].shape == (1, 6, 3, 6, 4)
    assert shown[-1].split("\n") == ["frame 0 of 9, 0 s", "70×50 scaled to 32×48, 52 % cut off"]


def test_keyframes_add_up_and_those_in_the_middle_are_latent_frames(host, clips, shown):
    chain = clips.add(one=pin_image(), made=pin_image(latent=["one", 0], at=0.75, fit="pad"))
    made, one = canvas(host, chain, "one")
    assert kept(made) == [0, 2]
    assert torch.equal(made["samples"][:, :, 0], one["samples"][:, :, 0])
    assert "frame 6 of 9, 0.75 s\nit stands for frames 5-8, one latent frame" in shown[-1]
    assert made["longtake"]["pins"].partly == {2}
    assert sorted(made["longtake"]["pins"].pixels) == [0, 6]


@pytest.mark.parametrize(("edges", "known"), [("paint", [1]), ("hold", [1, 2])])
def test_a_clip_in_the_middle_lies_on_its_frames(host, clips, shown, edges, known):
    made = pin_video(at=0.125, edges=edges)  # frames 1-6: all of the second four, half of the third
    (made,) = canvas(host, clips.add(made=made))
    assert kept(made) == known
    assert sorted(made["longtake"]["pins"].pixels) == [1, 2, 3, 4, 5, 6]
    assert "of frames 5-8 it fills a part only" in shown[-1]


def test_a_video_is_taken_by_its_times(host, clips, shown):
    """6 frames at 4 a second are 12 at 8, of which the canvas has room for 9."""
    (made,) = canvas(host, clips.add(made=pin_video(clip=["film", 0])))
    assert kept(made) == [0, 1, 2]
    assert "4 fps taken at 8" in shown[-1]
    assert "3 frames past the canvas's end are left out" in shown[-1]


def test_known_frames_come_through_sample_to_the_bit(host, clips):
    sampled = clips.add(made=pin_video(at=0.125)).but(sample={"latent": ["made", 0]})
    made, sample = canvas(host, sampled, "sample")
    assert torch.equal(sample["samples"][:, :, 1], made["samples"][:, :, 1])
    assert (sample["samples"] - made["samples"])[:, :, 0].abs().max() > 0.1


def test_cores_sampler_takes_a_canvas(host, clips):
    graph = clips.add(made=extend(), core=ksampler(latent_image=["made", 0]))
    made, core = canvas(host, graph, "core")
    assert core["samples"].shape[2] == made["samples"].shape[2]
    close = (core["samples"] - made["samples"])[:, :, kept(made)].abs().max()
    assert close < 1e-4


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_an_extended_latent_is_never_encoded_again(host, clips, direction, shown):
    made = clips.add(made=extend(direction=direction, seconds=2.0))
    latent, clip = canvas(host, made, "sample")
    t = latent["samples"].shape[2]
    assert t == 3 + 4
    known = kept(latent)
    assert known == ([0, 1, 2] if direction == "forwards" else [5, 6])
    own = clip["samples"][:, :, -len(known) :]
    assert torch.equal(latent["samples"][:, :, known], own)
    assert "9 + 16 frames: 3.12 s" in shown[-1]
    assert latent["longtake"]["fps"] == 8
    plan = latent["longtake"]["plan"]
    assert len(plan) == 2
    assert {frame for frames, _ in plan for frame in frames} >= set(range(t)) - set(known)


def test_sample_samples_all_windows_and_keeps_what_is_known(host, clips):
    longer = clips.add(
        made=extend(seconds=3.0),
        longer=("LongtakeSample", {**clips["sample"]["inputs"], "latent": ["made", 0]}),
    )
    made, sampled = canvas(host, longer, "longer")
    assert torch.equal(sampled["samples"][:, :, :3], made["samples"][:, :, :3])
    assert sampled["samples"][:, :, 3:].std(dim=(1, 3, 4)).min() > 0.1


def test_a_gap_is_emptied_and_nothing_else(host, clips, shown):
    gap = {"clip": ["sample", 0], "vae": ["vae", 0], "start": 0.2, "end": 0.4}
    made, clip = canvas(host, clips.add(made=("LongtakeFillGap", gap)), "sample")
    assert kept(made) == [0, 2]
    assert torch.equal(made["samples"][:, :, [0, 2]], clip["samples"][:, :, [0, 2]])
    assert shown[-1].startswith("sampling frames 1-4")


@pytest.mark.parametrize("node", ["LongtakeFillGap", "LongtakeBridge"])
def test_two_clips_are_joined(host, clips, node):
    times = {"start": 1.0, "end": 2.0} if node == "LongtakeFillGap" else {"seconds": 1.0}
    join = {"clip": ["sample", 0], "after": ["frames", 0], "vae": ["vae", 0], **times}
    (made,) = canvas(host, clips.add(made=(node, join)))
    assert made["samples"].shape[2] == 3 + 2 + 1
    assert kept(made) == [0, 1, 2, 5]
    assert made["longtake"]["plan"] == (Window((1, 2, 3, 4, 5)),)


def test_a_loop_leaves_out_what_belongs_to_a_beginning(host, clips, shown):
    long = clips.but(canvas={"seconds": 2.0})
    loop = {"clip": ["sample", 0], "vae": ["vae", 0], "seconds": 1.0}
    graph = long.add(
        made=("LongtakeLoop", loop),
        sampled=("LongtakeSample", {**long["sample"]["inputs"], "latent": ["made", 0]}),
        images=("LongtakeDecodeFrames", {"latent": ["sampled", 0], "vae": ["vae", 0]}),
    ).but(decode={"latent": ["sampled", 0]})
    made, images, video = canvas(host, graph, "images", "decode")
    assert made["longtake"]["skip"] == 13
    assert torch.equal(made["samples"][:, :, -2:], made["samples"][:, :, 2:4])
    assert len(images) == 20
    assert any(line.startswith("a loop of 20 frames, 2.5 s") for line in shown)
    assert video.get_duration() == 2.5


@pytest.mark.parametrize(
    ("level", "denoise"), [("subtle", 0.3), ("strong", 0.75), ("custom", 0.41)]
)
def test_remix_tells_schedule_and_core_how_much(host, clips, shown, level, denoise):
    remix = {"clip": ["sample", 0], "vae": ["vae", 0], "level": level, "strength": 0.41}
    levels = {**clips["schedule"]["inputs"], "latent": ["made", 0], "steps": 3}
    graph = clips.add(made=("LongtakeRemix", remix), levels=("LongtakeSchedule", levels))
    run = host.run(graph, want=["made", "levels", "sample"])
    latent, number = run.values["made"]
    assert number == denoise
    assert "noise_mask" not in latent
    assert torch.equal(latent["samples"], run.values["sample"][0]["samples"])
    (sigmas,) = run.values["levels"]
    assert len(sigmas) == 4
    begins = 3 / int(3 / denoise)  # the last 3 of so many steps, before the shift of 3
    assert float(sigmas[0]) == pytest.approx(3 * begins / (1 + 2 * begins), abs=2e-3)
    assert shown[-1].endswith(f"denoise {denoise:g} from Remix")


def test_an_aspect_ratio_is_found_on_the_grid(host, graph, shown):
    wide = graph.but(canvas={"width": 100, "height": 100, "aspect": "8:3", "megapixels": 0.0})
    (made,) = canvas(host, wide, want="canvas")
    assert shown[-1].split("\n")[0] == "176×64, 9 frames, 1.12 s"
    assert made["longtake"] == {"fps": Fraction(8)}
    assert made["samples"].shape[3:] == (8, 22)
    budget = graph.but(canvas={"aspect": "9:16", "megapixels": 0.02})
    canvas(host, budget, want="canvas")
    assert shown[-1].startswith("112×192, ")


BAD = [
    (pin_image(at=9.0), "at 9 s is not on a canvas of 1.125 s: its first frame is at 0 s"),
    (pin_image(image=["frames", 0]), "PinImage takes 1 image, not 6"),
    (pin_image(fit="bend"), "fit 'bend': choose from crop, pad, stretch."),
    (pin_video(edges="cut"), "edges 'cut': choose from paint, hold."),
    (pin_video(at=float("nan")), "at nan: choose a number from 0 to 3600."),
    (pin_video(at=-1.0), "at -1.0: choose a number"),
    (pin_video(at=0.625, clip=["picture", 0]), "fill no latent frame, which is frames 5-8"),
    (extend(seconds=-1.0), "seconds -1.0: choose a number from 0.01 to 3600."),
    (extend(seconds=0.0), "seconds 0.0: choose"),
    (extend(direction="up"), "direction 'up': choose from forwards, backwards."),
    (extend(overlap=2.0, window=2.0), "an overlap of 2 s in windows of 2 s leaves nothing"),
    (extend(overlap=9.0), "an overlap of 9 s in windows of 2.125 s leaves nothing"),
    (extend(window=0.1), "an overlap of 0.125 s in windows of 0.1 s leaves nothing"),
    (
        extend(direction="backwards", overlap=1.0, window=1.5),
        "an overlap of 1 s in windows of 1.5 s leaves nothing",
    ),
    (extend(overlap=float("inf")), "overlap inf: choose"),
    (
        ("LongtakeFillGap", {"clip": ["sample", 0], "vae": ["vae", 0], "start": 1.0, "end": 0.5}),
        "from 1 s to 0.5 s there is nothing to fill: end must be after start.",
    ),
    (
        ("LongtakeFillGap", {"clip": ["sample", 0], "vae": ["vae", 0], "start": 0.0, "end": 1.1}),
        "is all of a clip of 1.125 s",
    ),
    (
        ("LongtakeBridge", {"clip": ["sample", 0], "after": ["picture", 0], "vae": ["vae", 0],
                            "seconds": 1.0}),
        "the clips are of 32×48 and 64×48",
    ),
    (
        ("LongtakeBridge", {"clip": ["two", 0], "after": ["three", 0], "vae": ["vae", 0],
                            "seconds": 1.0}),
        "the clips are batches of 2 and 3: make both of one size",
    ),
    (
        ("LongtakeLoop", {"clip": ["picture", 0], "vae": ["vae", 0], "seconds": 1.0}),
        "a clip of 1 frames is too short for a loop: connect 13 or more.",
    ),
    (
        ("LongtakeRemix", {"clip": ["sample", 0], "vae": ["vae", 0], "level": "wild",
                           "strength": 0.5}),
        "level 'wild': choose from subtle, mild, strong, custom.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("node", "told"), BAD, ids=lambda v: v[:24] if isinstance(v, str) else "")
def test_nonsense_is_named_in_one_line(host, clips, node, told):
    run = host.run(clips.add(made=node), want=["made"])
    assert not run.success
    assert told in run.error
    assert "\n" not in run.error


@pytest.mark.parametrize("shape", [(0, 48, 32, 3), (6, 48, 32), (6, 48, 32, 2)])
def test_what_is_no_clip(pack, graph, host, shape):
    from longtake.host.video.onto_canvas import clip_canvas
    from longtake.models.errors import LongtakeError

    vae = pack.load.load_vae(pack.folders.BUILT_IN)
    with pytest.raises(LongtakeError, match="IMAGE"):
        clip_canvas(torch.zeros(shape), vae)


def test_clips_off_the_grid_are_brought_onto_it_and_it_is_said(pack, graph, host):
    from longtake.host.video.onto_canvas import clip_canvas

    vae = pack.load.load_vae(pack.folders.BUILT_IN)
    canvas = clip_canvas(torch.rand(7, 33, 47, 4), vae, 12.0)
    assert canvas.video.latents.shape == (1, 6, 2, 4, 6)
    assert canvas.fps == 12
    assert "what is transparent became black" in canvas.notes
    assert any(note.startswith("47×33 scaled to 48×32") for note in canvas.notes)
    assert "the last 2 frames fill no latent frame and are left out" in canvas.notes
