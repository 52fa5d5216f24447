"""Signing and reading within graphs: what is said, what is found again, what never leaves."""

import json
from pathlib import Path

import av
import pytest

from longtake.engine.provenance import signing as engine
from longtake.engine.provenance.signing import sign
from longtake.models.errors import OutputError


def saved(host, run, node="save") -> Path:
    (shown,) = run.ui[node]["images"]
    return host.base / "output" / shown["subfolder"] / shown["filename"]


def reading(graph, **inputs):
    return graph.add(read=("LongtakeReadCredentials", {"file": "", **inputs}))


def report_of(host, path: Path) -> dict:
    """What Read Credentials says of a file in the output folder."""
    name = f"{path.relative_to(host.base / 'output').as_posix()} [output]"
    run = host.run({"read": {"class_type": "LongtakeReadCredentials", "inputs": {"file": name}}})
    assert run.success, run.error
    return json.loads(run.values["read"][1])


@pytest.fixture
def video(graph, host) -> Path:
    """A saved video of the tiny model, put into the input folder as people do."""
    path = saved(host, host.run(graph.but(save={"filename_prefix": "parent"})))
    copy = host.base / "input" / "parent.mp4"
    copy.write_bytes(path.read_bytes())
    return copy


def test_what_is_saved_says_that_ai_made_it(graph, host):
    run = host.run(reading(graph, video=["save", 0]))
    assert run.success, run.error
    words, text = run.values["read"]
    report = json.loads(text)
    assert (report["verdict"], report["ai"], report["ingredients"]) == ("own", "all", [])
    assert "Made by AI: yes" in words
    assert list(run.ui["read"]["text"]) == [words]


def test_it_holds_hashes_of_the_workflow_and_of_each_model(graph, host, pack):
    from longtake.host.provenance.lineage import graph_hash

    path = saved(host, host.run(graph))
    report = report_of(host, path)
    with av.open(path) as container:
        embedded = json.loads(container.metadata["prompt"])
    assert report["workflow"] == graph_hash(embedded)
    assert sorted(model.split()[0] for model in report["models"]) == ["dit", "text_encoder", "vae"]


@pytest.mark.parametrize("picture", ["poster", "contact sheet"])
def test_the_picture_beside_it_says_so_too(graph, host, picture):
    run = host.run(graph.but(save={"picture": picture}))
    assert run.success, run.error
    video, still = (
        host.base / "output" / file["subfolder"] / file["filename"]
        for file in run.ui["save"]["files"]
    )
    report = report_of(host, still)
    assert (still.suffix, report["verdict"], report["ai"]) == (".png", "own", "all")
    assert report["workflow"] == report_of(host, video)["workflow"]
    data = bytearray(still.read_bytes())
    data[data.index(b"IDAT") + 9] ^= 4
    changed = still.with_name("changed.png")
    changed.write_bytes(data)
    assert report_of(host, changed)["intact"] is False
    assert not [file for file in still.parent.iterdir() if file.name.startswith(".")]


def test_nothing_but_hashes_is_in_it(graph, host, monkeypatch):
    monkeypatch.setattr("comfy.cli_args.args.disable_metadata", True)
    data = saved(host, host.run(graph)).read_bytes()
    assert b"trainedAlgorithmicMedia" in data
    names = (Path.home().name, str(host.base), "a red ball", "takes", "LongtakeSample")
    assert [name for name in names if name.encode() in data] == []


def test_a_loaded_clip_that_goes_in_is_the_parent(graph, host, video):
    """Load Video, its frames encoded and sampled anew, decoded, saved."""
    longer = graph.add(
        load=("LoadVideo", {"file": "parent.mp4"}),
        parts=("GetVideoComponents", {"video": ["load", 0]}),
        encode=("LongtakeEncode", {"image": ["parts", 0], "vae": ["vae", 0], "fps": 8.0}),
    ).but(sample={"latent": ["encode", 0]}, schedule={"denoise": 0.5})
    report = report_of(host, saved(host, host.run(longer, want=["save"])))
    assert (report["verdict"], report["ai"]) == ("own", "part")
    (source,) = report["ingredients"]
    assert (source["role"], source["ai"], source["faults"]) == ("parent", "all", [])


def test_a_take_saved_in_the_same_graph_is_the_parent_of_the_next(graph, host):
    again = graph.add(second=("LongtakeSaveVideo", {"video": ["save", 0], "filename_prefix": "b"}))
    run = host.run(again)
    assert run.success, run.error
    report = report_of(host, saved(host, run, "second"))
    (source,) = report["ingredients"]
    assert (source["role"], source["ai"], source["faults"]) == ("parent", "all", [])
    assert report["ai"] == "unknown"  # this step made nothing new
    assert report["models"] == []


def test_a_loaded_picture_is_an_input(graph, host):
    from PIL import Image

    Image.new("RGB", (32, 48), (200, 90, 30)).save(host.base / "input" / "start.png")
    animated = graph.add(
        load=("LoadImage", {"image": "start.png"}),
        encode=("LongtakeEncode", {"image": ["load", 0], "vae": ["vae", 0], "fps": 8.0}),
    ).but(sample={"latent": ["encode", 0]})
    report = report_of(host, saved(host, host.run(animated, want=["save"])))
    assert report["ai"] == "all"
    assert [(one["role"], one["signed"]) for one in report["ingredients"]] == [("input", False)]


def test_what_no_model_made_is_not_said_to_be_ai(graph, host):
    plain = graph.add(
        clip=("EmptyImage", {"width": 32, "height": 48, "batch_size": 3, "color": 255}),
        video=("CreateVideo", {"images": ["clip", 0], "fps": 8.0}),
    ).but(save={"video": ["video", 0]})
    path = saved(host, host.run(plain, want=["save"]))
    assert report_of(host, path)["verdict"] == "none"
    required = plain.but(save={"credentials": "required"})
    assert "nothing to declare" in host.run(required, want=["save"]).error


def test_off_is_off(graph, host):
    path = saved(host, host.run(graph.but(save={"credentials": "off"})))
    assert report_of(host, path)["verdict"] == "none"


def test_without_the_package_videos_are_saved_and_it_is_reported_once(
    graph, host, monkeypatch, caplog
):
    monkeypatch.setattr(
        engine, "why_unavailable", lambda: "the Python package c2pa-python is missing"
    )
    monkeypatch.setattr("longtake.host.provenance.credentials._warned", set())
    first = host.run(graph.but(save={"filename_prefix": "u1"}))
    second = host.run(graph.but(save={"filename_prefix": "u2"}))
    assert first.success
    assert second.success
    message = [
        record.message for record in caplog.records if "c2pa-python is missing" in record.message
    ]
    assert len(message) == 1
    assert "credentials are required, but the Python package" in host.refusal(
        graph.but(save={"credentials": "required"})
    )
    read = reading(graph, video=["save", 0])
    assert "credentials cannot be read: the Python package" in host.run(read).error


def test_a_format_without_room_for_credentials_is_reported_before(graph, host):
    formats = host.nodes.NODE_CLASS_MAPPINGS["LongtakeSaveVideo"].INPUT_TYPES()["optional"]
    names = formats["format"][1]["options"]
    webm = next(name for name in names if "webm" in name)
    message = host.refusal(graph.but(save={"credentials": "required", "format": webm}))
    assert ".webm files cannot carry any" in message
    assert host.refusal(graph.but(save={"format": webm})) is None


def test_a_failed_signature_loses_no_video(graph, host, monkeypatch):
    def broken(*_):
        raise OutputError("the pen is empty")

    monkeypatch.setattr(engine, "sign", broken)
    run = host.run(graph)
    assert report_of(host, saved(host, run))["verdict"] == "none"
    before = set((host.base / "output").rglob("*"))
    required = host.run(graph.but(save={"credentials": "required"}))
    assert "the pen is empty" in required.error
    assert set((host.base / "output").rglob("*")) == before


def test_nothing_touches_the_file_after_it_is_signed(graph, host, monkeypatch):
    left = []

    def watched(*args):
        path = sign(*args)
        left.append(path.read_bytes())
        return path

    monkeypatch.setattr(engine, "sign", watched)
    path = saved(host, host.run(graph))
    assert [path.read_bytes()] == left


@pytest.mark.parametrize(
    "name", ["../secret.mp4", "/etc/passwd", "no.mp4", "..\\x.mp4 [output]", "a\0.mp4", "x" * 5000]
)
def test_only_files_of_comfyuis_folders_are_read(host, name):
    (host.base / "secret.mp4").write_bytes(b"secret")
    prompt = {"read": {"class_type": "LongtakeReadCredentials", "inputs": {"file": name}}}
    assert "there is no file" in host.refusal(prompt)
    assert "there is no file" in host.run(prompt, want=["read"]).error


@pytest.mark.usefixtures("links")
def test_a_link_that_leads_out_is_not_followed(host, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"secret")
    (host.base / "input" / "link.mp4").symlink_to(tmp_path / "out.mp4")
    prompt = {"read": {"class_type": "LongtakeReadCredentials", "inputs": {"file": "link.mp4"}}}
    assert "there is no file" in host.run(prompt, want=["read"]).error
    (host.base / "input" / "link.mp4").unlink()


def test_a_video_outside_comfyuis_folders_is_not_read(host, tmp_path, video):
    from comfy_api.latest import InputImpl

    from longtake.host.provenance.credentials import file_behind
    from longtake.models.errors import InputError

    outside = tmp_path / "parent.mp4"
    outside.write_bytes(video.read_bytes())
    assert file_behind(InputImpl.VideoFromFile(str(video))) == video
    with pytest.raises(InputError, match="not in ComfyUI's input or output folder"):
        file_behind(InputImpl.VideoFromFile(str(outside)))


def test_frames_in_memory_have_no_credentials(graph, host):
    frames = graph.add(
        clip=("EmptyImage", {"width": 32, "height": 48, "batch_size": 3, "color": 255}),
        video=("CreateVideo", {"images": ["clip", 0], "fps": 8.0}),
    )
    run = host.run(reading(frames, video=["video", 0]), want=["read"])
    assert "not a file but frames in memory" in run.error


def test_one_of_the_two_inputs_is_needed(graph, host, video):
    both = reading(graph, video=["save", 0], file="parent.mp4")
    assert "one of the two" in host.run(both, want=["read"]).error
    neither = {"read": {"class_type": "LongtakeReadCredentials", "inputs": {"file": ""}}}
    assert "one of the two" in host.run(neither, want=["read"]).error


def test_a_marked_video_is_told_from_a_plain_one(graph, host):
    """Large frames, since of frames as tiny as the model's there is little to hold a mark."""
    large = graph.add(
        clip=("EmptyImage", {"width": 320, "height": 240, "batch_size": 2, "color": 0x406080}),
        video=("CreateVideo", {"images": ["clip", 0], "fps": 8.0}),
        found=("LongtakeReadMark", {"video": ["save", 0]}),
        none=("LongtakeReadMark", {"video": ["clip", 0]}),
    ).but(save={"video": ["video", 0], "mark": True})
    run = host.run(large, want=["found", "none", "save"])
    assert run.success, run.error
    words, present, confidence = run.values["found"]
    assert present is True
    assert confidence > 8
    assert "anybody can forge or remove it" in words
    words, present, _ = run.values["none"]
    assert present is False
    assert words.startswith("No mark found")


def test_without_a_mark_nothing_is_encoded_anew(graph, host):
    """A video of the right kind is copied, packet for packet; with a mark it cannot be."""
    run = host.run(graph.add(
        plain=("LongtakeSaveVideo", {"video": ["decode", 0], "filename_prefix": "p"}),
        mark=("LongtakeSaveVideo", {"video": ["decode", 0], "filename_prefix": "m", "mark": True}),
    ))  # fmt: skip
    packets = [media(saved(host, run, node)) for node in ("save", "plain", "mark")]
    assert packets[0] == packets[1] != packets[2]


def media(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_an_extended_clip_is_the_parent(graph, host, video):
    """Load Video, extended, sampled, decoded, saved: the graph is what carries the origin along."""
    extended = graph.add(
        load=("LoadVideo", {"file": "parent.mp4"}),
        longer=(
            "LongtakeExtendVideo",
            {
                "clip": ["load", 0],
                "vae": ["vae", 0],
                "direction": "forwards",
                "seconds": 0.5,
                "overlap": 0.0,
                "window": 0.0,
            },
        ),
    ).but(sample={"latent": ["longer", 0]}, schedule={"latent": ["longer", 0]})
    report = report_of(host, saved(host, host.run(extended, want=["save"])))
    (source,) = report["ingredients"]
    assert (report["ai"], source["role"], source["ai"]) == ("part", "parent", "all")
    assert source["faults"] == []
