"""Regions and wider canvases in graphs, with the tiny model: what is kept is kept to the bit."""

import pytest
import torch

from tests.nodes.conftest import ksampler


@pytest.fixture
def clips(graph):
    """Nine coloured frames of 32 × 48, and a mask of the upper left token of six."""
    shades = {
        f"shade{k}": ("EmptyImage", {"width": 32, "height": 48, "batch_size": 1, "color": k << 19})
        for k in range(9)
    }
    graph = graph.add(
        **shades,
        first=("SolidMask", {"value": 0.0, "width": 32, "height": 48}),
        spot=("SolidMask", {"value": 1.0, "width": 16, "height": 16}),
        mask=(
            "MaskComposite",
            {"destination": ["first", 0], "source": ["spot", 0], "x": 0, "y": 0,
             "operation": "add"},
        ),
    )  # fmt: skip
    last = ["shade0", 0]
    for k in range(1, 9):
        graph = graph.add(
            **{f"to{k}": ("ImageBatch", {"image1": last, "image2": [f"shade{k}", 0]})}
        )
        last = [f"to{k}", 0]
    return graph.add(film=("CreateVideo", {"images": last, "fps": 8.0}), clip=("VAEEncode", {
        "pixels": last, "vae": ["vae", 0]}))  # fmt: skip


def region(clip=("to8", 0), mask=("mask", 0), **inputs):
    given = {"clip": list(clip), "vae": ["vae", 0], "mask": list(mask), "start": 0.0, "end": 0.0}
    more = {"strength": 1.0, "grow": 0, "feather": 0, "invert": False, "fps": 8.0}
    return "LongtakeRegion", {**given, **more, **inputs}


def expand(clip=("to8", 0), **inputs):
    given = {"clip": list(clip), "vae": ["vae", 0], "left": 0, "top": 0, "right": 0, "bottom": 0}
    return "LongtakeExpandCanvas", {**given, "aspect": "free", "feather": 0, "fps": 8.0, **inputs}


def frames(host, graph, **changes):
    """The pixels of what is sampled on the canvas `made`, and those of the clip."""
    graph = graph.but(sample={"latent": ["made", 0]}, schedule={"latent": ["made", 0]})
    graph = graph.add(
        out=("LongtakeDecodeFrames", {"latent": ["sample", 0], "vae": ["vae", 0]})
    ).but(**changes)
    run = host.run(graph, want=["out", "to8", "made"])
    assert run.success, run.error
    return run.values["out"][0], run.values["to8"][0], run.values["made"][0]


@pytest.fixture
def inside():
    inside = torch.zeros(48, 32, dtype=torch.bool)
    inside[:16, :16] = True
    return inside


@pytest.mark.parametrize("source", [("to8", 0), ("film", 0)])
def test_outside_of_a_region_every_pixel_comes_back(host, clips, inside, source, shown):
    out, clip, made = frames(host, clips.add(made=region(source)))
    if source[0] == "film":
        clip = host.run(
            clips.add(seen=("GetVideoComponents", {"video": ["film", 0]})), want=["seen"]
        ).values["seen"][0]
    assert torch.equal(out[:, ~inside], clip[:, ~inside])
    assert not torch.equal(out[:, inside], clip[:, inside])
    mask = made["noise_mask"]
    assert mask.shape == (1, 1, 3, 6, 4)
    assert mask.sum() == 3 * 2 * 2
    assert shown[0].startswith("17 % of all tokens to be sampled")


def test_a_region_has_its_time(host, clips, inside):
    out, clip, made = frames(host, clips.add(made=region(start=0.625)))
    assert torch.equal(out[:5], clip[:5])
    assert not torch.equal(out[5:, inside], clip[5:, inside])
    assert made["noise_mask"].amax(dim=(0, 1, 3, 4)).tolist() == [0, 0, 1]


def test_regions_add_up(host, clips):
    two = clips.add(one=region(), made=region(("one", 0), ("other", 0)))
    two = two.add(
        other=("MaskComposite", {"destination": ["first", 0], "source": ["spot", 0], "x": 16,
                                 "y": 32, "operation": "add"}),
    )  # fmt: skip
    out, clip, made = frames(host, two)
    changed = (out != clip).any(-1).any(0)
    assert changed[:16, :16].any()
    assert changed[32:, 16:].any()
    assert not changed[16:32].any()
    assert made["noise_mask"].sum() == 3 * 2 * 2 * 2


def test_a_feather_lies_around_the_mask(host, clips):
    out, clip, made = frames(host, clips.add(made=region(feather=8)))
    changed = (out != clip).any(-1).any(0)
    assert changed[:16, 16:24].any()
    assert not changed[24:].any()
    assert made["noise_mask"].sum() == 3 * 4 * 4


def test_a_mask_is_inverted_grown_and_shrunk(host, clips):
    _, _, made = frames(host, clips.add(made=region(invert=True)))
    assert made["noise_mask"].sum() == 3 * 20
    _, _, made = frames(host, clips.add(made=region(invert=True, grow=-16)))
    assert made["noise_mask"].sum() == 3 * 8
    _, _, made = frames(host, clips.add(made=region(grow=1)))
    assert made["noise_mask"].sum() == 3 * 4 * 4


def test_a_picture_that_is_pinned_stands_still_outside(host, clips, inside):
    graph = clips.add(
        pinned=("LongtakePinImage", {"latent": ["canvas", 0], "image": ["shade7", 0],
                                     "vae": ["vae", 0], "at": 0.0, "fit": "crop"}),
        made=region(("pinned", 0)),
    )  # fmt: skip
    graph = graph.but(canvas={"seconds": 2.0})
    out, _, _ = frames(host, graph)
    still = host.run(graph, want=["shade7"]).values["shade7"][0]
    assert torch.equal(out[:, ~inside], still[:, ~inside].expand(17, -1, -1))
    loop = graph.add(
        loop=("LongtakeLoop", {"clip": ["sample", 0], "vae": ["vae", 0], "seconds": 0.5}),
        again=("LongtakeSample", {**graph["sample"]["inputs"], "latent": ["loop", 0]}),
    )
    out, _, _ = frames(host, loop, out={"latent": ["again", 0]})
    assert len(out) == 16
    assert torch.equal(out[:, ~inside], still[:, ~inside].expand(16, -1, -1))
    assert not torch.equal(out[-3], out[-2])


def test_latents_are_kept_as_they_decode(host, clips, inside):
    graph = clips.add(
        made=region(("clip", 0)),
        seen=("LongtakeDecodeFrames", {"latent": ["clip", 0], "vae": ["vae", 0]}),
    )
    out, _, made = frames(host, graph)
    run = host.run(graph, want=["seen", "clip"])
    seen = run.values["seen"][0].mul(255).round().div(255)
    assert torch.equal(out[:, ~inside], seen[:, ~inside])
    assert torch.equal(made["samples"], run.values["clip"][0]["samples"])


def test_a_strength_below_1_starts_from_what_was_there(host, clips, inside):
    weak, clip, made = frames(host, clips.add(made=region(strength=0.1)))
    assert made["longtake"]["strength"] == 0.1
    strong, *_ = frames(host, clips.add(made=region()))
    gaps = [(out - clip)[:, inside].abs().mean() for out in (weak, strong)]
    assert gaps[0] < gaps[1]


def test_the_decoded_file_keeps_it_too(host, clips, inside):
    graph = clips.add(made=region()).but(sample={"latent": ["made", 0]}, decode={"crf": 0})
    graph = graph.add(seen=("GetVideoComponents", {"video": ["decode", 0]}))
    run = host.run(graph, want=["seen", "to8"])
    gap = (run.values["seen"][0] - run.values["to8"][0]).abs()
    assert gap[:, 18:].max() < 0.02  # colours have half the resolution
    assert gap[:, inside].max() > 0.1


def test_cores_sampler_and_a_canvas_that_was_cut(host, clips, inside, shown):
    graph = clips.add(made=region(), core=ksampler(latent_image=["made", 0]))
    out, clip, _ = frames(host, graph, out={"latent": ["core", 0]})
    assert torch.equal(out[:, ~inside], clip[:, ~inside])


def test_more_picture_around_a_clip(host, clips):
    out, clip, made = frames(host, clips.add(made=expand(right=10, top=16)))
    assert out.shape == (9, 64, 48, 3)
    assert torch.equal(out[:, 16:, :32], clip)
    assert made["noise_mask"][0, 0, 0].tolist() == [[1] * 6] * 2 + [[0] * 4 + [1] * 2] * 6
    out, clip, _ = frames(host, clips.add(made=expand(aspect="16:9", feather=4)))
    assert out.shape == (9, 48, 96, 3)
    left = (96 - 32) // 2
    assert torch.equal(out[:, :, left + 4 : left + 28], clip[:, :, 4:28])
    assert not torch.equal(out[:, :, left : left + 2], clip[:, :, :2])


SMALL = ("SolidMask", {"value": 1.0, "width": 70, "height": 20})
BAD = {
    "empty": (region(mask=("first", 0)), {}, "the mask is empty"),
    "whole": (region(mask=("full", 0)), {}, "covers the whole picture"),
    "shape": (region(mask=("small", 0)), {}, "a mask of 70×20 does not fit a picture of 32×48"),
    "length": (region(mask=("three", 0)), {}, "3 masks do not fit a canvas of 9 frames"),
    "time": (region(start=0.5, end=0.25), {}, "end must be after start"),
    "late": (region(start=9.0), {}, "not on a canvas"),
    "blank": (region(("canvas", 0)), {}, "nothing is known on this canvas"),
    "nothing": (expand(), {}, "nothing is added"),
    "all": (expand(right=16, feather=200), {}, "leaves nothing of a picture of 32×48"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_said_in_one_line(host, clips, runs, name):
    node, changes, says = BAD[name]
    graph = clips.add(
        made=node,
        small=SMALL,
        full=("SolidMask", {"value": 1.0, "width": 32, "height": 48}),
        three_masks=("MaskToImage", {"mask": ["mask", 0]}),
        repeated=("RepeatImageBatch", {"image": ["three_masks", 0], "amount": 3}),
        three=("ImageToMask", {"image": ["repeated", 0], "channel": "red"}),
    ).but(sample={"latent": ["made", 0]}, **changes)
    run = host.run(graph, want=["sample"])
    assert says in str(run.error)
    assert "\n" not in str(run.error).strip()
    assert not runs


def long_clip(clips, count=25):
    """As `clips`, of more frames, as a VIDEO, and a region on it."""
    return clips.add(
        many=("RepeatImageBatch", {"image": ["to8", 0], "amount": 3}),
        part=("ImageFromBatch", {"image": ["many", 0], "batch_index": 0, "length": count}),
        long=("CreateVideo", {"images": ["part", 0], "fps": 8.0}),
        made=region(("long", 0)),
    )


def take_of(graph, **board):
    from tests.nodes.test_long_take import BOARD, STORYBOARD, TAKE

    if board:
        graph = graph.add(board=("LongtakeStoryboard", {**STORYBOARD, **board}))
    given = {**(BOARD if board else TAKE), "canvas": ["made", 0], "seconds": 0.0, "fps": 0.0}
    return graph.add(
        take=("LongtakeLongTake", given),
        seen=("GetVideoComponents", {"video": ["take", 0]}),
    )


@pytest.mark.parametrize("board", [{}, {"text": "[0s] a red ball\n[1s cut] a blue cube"}])
def test_a_long_take_keeps_what_is_outside(host, clips, inside, runs, shown, board):
    graph = take_of(long_clip(clips), **board)
    run = host.run(graph, want=["seen", "part"])
    assert run.success, run.error
    seen, clip = run.values["seen"][0], run.values["part"][0]
    assert len(seen) >= 24
    gap = (seen[:24] - clip[:24]).abs()
    assert gap[:, 18:].max() < 0.05  # the file's colours have half the resolution
    assert gap[:, inside].max() > 0.1
    assert len(runs) >= 2
    done = len(runs)
    again = host.run(graph, want=["seen"])
    assert again.success
    assert len(runs) == done  # every window is on disk
    assert any("outside of the canvas's regions every pixel stays" in text for text in shown)


def test_masks_of_each_frame_are_cut_to_the_windows(host, clips):
    """A mask that is empty but for the last frames: the windows before them are not sampled."""
    graph = long_clip(clips).add(
        still=("MaskToImage", {"mask": ["first", 0]}),
        moving=("MaskToImage", {"mask": ["mask", 0]}),
        none=("RepeatImageBatch", {"image": ["still", 0], "amount": 17}),
        some=("RepeatImageBatch", {"image": ["moving", 0], "amount": 8}),
        both=("ImageBatch", {"image1": ["none", 0], "image2": ["some", 0]}),
        masks=("ImageToMask", {"image": ["both", 0], "channel": "red"}),
    )
    graph = take_of(graph.but(made={"mask": ["masks", 0]}))
    run = host.run(graph, want=["made", "seen", "part"])
    assert run.success, run.error
    mask = run.values["made"][0]["noise_mask"]
    assert mask.amax(dim=(0, 1, 3, 4)).tolist() == [0, 0, 0, 0, 0, 1, 1]
    gap = (run.values["seen"][0] - run.values["part"][0]).abs()
    assert gap[:17].max() < 0.05
    assert gap[17:, :16, :16].max() > 0.1
