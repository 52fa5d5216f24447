"""Was It Made Here: what a graph saved is known again, by each way there is, and nothing else."""

import json

import pytest
import torch
import torch.nn.functional as F

from tests.nodes.test_credentials import saved


def asked(graph, **inputs):
    return graph.add(ask=("LongtakeMadeHere", {"file": "", **inputs}))


def noise(seed: int, side: int = 96) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    rough = F.interpolate(torch.rand(17, 3, 12, 12, generator=random), (side, side), mode="bicubic")
    return rough.clamp(0, 1).movedim(1, 3)


@pytest.fixture
def ledger(host, pack):
    from longtake.host.provenance.ledger import ledger_file

    file = ledger_file()
    file.unlink(missing_ok=True)
    yield file
    file.unlink(missing_ok=True)


@pytest.fixture
def plain(graph, monkeypatch):
    """A graph that saves pictures that no model made."""
    import nodes

    class Noise:
        RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "make", ""

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"seed": ("INT",)}}

        def make(self, seed):
            return (noise(seed),)

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "TestNoise", Noise)
    return graph.add(
        clip=("TestNoise", {"seed": 1}),
        video=("CreateVideo", {"images": ["clip", 0], "fps": 8.0}),
    ).but(save={"video": ["video", 0], "remember": True, "credentials": "off"})


def answer(host, graph) -> tuple[str, bool, dict]:
    run = host.run(graph, want=["ask"])
    assert run.success, run.error
    words, made_here, text = run.values["ask"]
    assert list(run.ui["ask"]["text"]) == [words]
    return words, made_here, json.loads(text)


def test_an_empty_ledger_knows_nothing(host, plain, ledger):
    words, made_here, facts = answer(host, asked(plain, video=["video", 0]))
    assert (made_here, facts["verdict"], facts["ledger"]) == (
        False,
        "unknown",
        {"lines": 0, "damaged": 0},
    )
    assert "does not mean that no AI made it" in words
    assert "Ledger: it is empty" in words


def test_what_was_saved_is_known_after_others_had_it(host, plain, ledger):
    run = host.run(plain, want=["save"])
    assert run.success, run.error
    name = saved(host, run).relative_to(host.base / "output").as_posix()
    copy = plain.add(
        scaled=("ImageScale", {"image": ["clip", 0], "upscale_method": "bilinear", "width": 64,
                               "height": 64, "crop": "disabled"}),
        other=("CreateVideo", {"images": ["scaled", 0], "fps": 8.0}),
        copy=("LongtakeSaveVideo", {"video": ["other", 0], "filename_prefix": "copy", "crf": 30,
                                    "credentials": "off"}),
    )  # fmt: skip
    words, made_here, facts = answer(host, asked(copy, video=["copy", 0]))
    assert (made_here, facts["verdict"]) == (True, "known")
    assert facts["pictures"]["file"] == name
    assert f"its pictures are {name}'s" in words
    words, made_here, facts = answer(host, asked(plain.but(clip={"seed": 2}), video=["clip", 0]))
    assert (made_here, facts["verdict"]) == (False, "unknown")
    assert "credentials" in words.lower()


def test_nothing_is_remembered_unasked(host, plain, ledger):
    assert host.run(plain.but(save={"remember": False}), want=["save"]).success
    assert not ledger.exists()


def test_a_signed_file_is_ours_whatever_the_ledger_has(host, graph, ledger):
    path = saved(host, host.run(graph, want=["save"]))
    name = f"{path.relative_to(host.base / 'output').as_posix()} [output]"
    words, made_here, facts = answer(host, asked(graph, file=name))
    assert (made_here, facts["verdict"], facts["credentials"]) == (True, "signed", "own")
    assert words.startswith("Made here: yes. It is as it was signed")


def test_a_ledger_that_cannot_be_written_does_not_cost_the_video(host, plain, ledger, shown):
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.mkdir()
    try:
        run = host.run(plain, want=["save"])
    finally:
        ledger.rmdir()
    assert run.success, run.error
    assert saved(host, run).is_file()
    assert any("not in the ledger" in text for text in shown)


def test_a_vae_is_asked_too(host, plain, ledger):
    words, made_here, facts = answer(host, asked(plain, video=["clip", 0], vae=["vae", 0]))
    assert facts["vae_ratio"] > 0
    assert "VAE: " in words
    assert not made_here
    small = plain.add(
        small=("EmptyImage", {"width": 8, "height": 8, "batch_size": 9, "color": 255}),
    )
    run = host.run(asked(small, video=["small", 0], vae=["vae", 0]), want=["ask"])
    assert "8×8 are too small" in run.error


@pytest.mark.parametrize("inputs", [{}, {"file": "x.mp4", "video": ["video", 0]}])
def test_it_wants_one_of_the_two(host, plain, inputs):
    (host.base / "input" / "x.mp4").write_bytes(b"")
    run = host.run(asked(plain, **inputs), want=["ask"])
    assert "connect a video, or choose a file" in run.error
