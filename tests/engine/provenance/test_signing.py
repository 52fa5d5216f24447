"""What a signed file says of itself, and what becomes of it when the file is changed."""

import builtins
import json
import sys
from pathlib import Path

import av
import c2pa
import numpy as np
import pytest
import tomllib
from PIL import Image

from dev import ROOT
from longtake.engine.provenance import signing
from longtake.engine.provenance.certificate import find_certificate, local_root, trust_anchors
from longtake.engine.provenance.report import describe_report, read_report
from longtake.engine.provenance.signing import SETTINGS, SourceFile, Statement, version
from longtake.models.errors import InputError, OutputError
from tests.engine.signed import WORKFLOW, boxes, clip, elsewhere, flip, listening, sign

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("certificate")


@pytest.fixture(scope="module")
def certificate(folder):
    return find_certificate(folder, {})


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return find_certificate(tmp_path_factory.mktemp("stranger"), {})


@pytest.fixture
def look(folder):
    return lambda path: read_report(path, trust_anchors(folder), local_root(folder))


@pytest.fixture
def made(tmp_path, certificate) -> Path:
    return sign(clip(tmp_path / "made.mp4"), certificate)


@pytest.fixture
def listener():
    with listening() as (address, asked):
        yield f"{address}/m.c2pa", asked


def packets(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_a_signed_file_says_what_it_is(made, look):
    report = look(made)
    assert (report.verdict, report.ai, report.intact) == ("own", "all", True)
    assert report.made_with == (f"Longtake {version()}",)
    assert report.workflow == WORKFLOW
    assert report.models == ("dit " + "7b" * 32,)
    assert "unchanged since it was signed" in describe_report(report)
    assert json.loads(report.as_json())["ai"] == "all"


def test_signing_changes_no_picture_and_leaves_the_index_first(tmp_path, made):
    assert packets(made) == packets(clip(tmp_path / "again.mp4"))
    order = list(boxes(made))
    assert order.index("moov") < order.index("mdat")


def test_signing_leaves_nothing_beside_it(made):
    assert list(made.parent.iterdir()) == [made]


def test_the_version_is_that_of_the_pack():
    assert version() == PROJECT["version"]


def test_nothing_personal_is_in_the_manifest(tmp_path, certificate):
    source = clip(tmp_path / "holiday_of_jane_doe.mp4", seed=5)
    where = SourceFile(source, "11" * 32, "parent")
    data = sign(clip(tmp_path / "secret_title.mp4"), certificate, where).read_bytes()
    for word in (b"jane", b"holiday", b"secret", str(tmp_path).encode(), Path.home().name.encode()):
        assert word not in data


def test_a_stranger_is_not_trusted_and_that_is_no_fault(tmp_path, stranger, look):
    report = look(sign(clip(tmp_path / "x.mp4"), stranger))
    assert (report.verdict, report.intact) == ("valid", True)
    assert "issuer that is not known here" in describe_report(report)


def test_a_trusted_stranger_is_told_from_ones_own(tmp_path, stranger, folder):
    path = sign(clip(tmp_path / "x.mp4"), stranger)
    root = stranger.chain[stranger.chain.rindex("-----BEGIN") :]
    assert read_report(path, trust_anchors(folder) + root, local_root(folder)).verdict == "trusted"


def test_no_flipped_bit_in_media_or_index_is_missed(made, look):
    """A small share of what benchmarks/signing.py tries."""
    random, found = np.random.default_rng(11), boxes(made)
    for name in ("mdat", "moov"):
        start, stop = found[name]
        for byte in random.integers(start + 8, stop, 20):
            assert not look(flip(made, int(byte), int(byte) % 8)).intact, (name, byte)


def test_a_changed_statement_is_seen(made, look):
    report = look(flip(made, made.read_bytes().index(b"trainedAlgorithmicMedia")))
    assert report.verdict == "changed"
    assert "a statement was changed" in describe_report(report)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_not_intact(made, look, share):
    cut = made.with_name("cut.mp4")
    cut.write_bytes(made.read_bytes()[: int(share * made.stat().st_size)])
    report = look(cut)
    assert report.verdict in ("changed", "invalid", "unreadable")
    assert not report.intact


@pytest.mark.parametrize(
    ("name", "data", "verdict"),
    [
        ("empty.mp4", b"", "unreadable"),
        ("text.mp4", b"hello, I am a video", "unreadable"),
        ("film.mkv", b"\x1a\x45\xdf\xa3", "unsupported"),
        ("page.html", b"<html>", "unsupported"),
    ],
)
def test_other_files_get_one_clear_line(tmp_path, look, name, data, verdict):
    (tmp_path / name).write_bytes(data)
    assert look(tmp_path / name).verdict == verdict


def test_a_file_without_credentials_proves_nothing(tmp_path, look):
    report = look(clip(tmp_path / "plain.mp4"))
    assert report.verdict == "none"
    assert "proves nothing" in describe_report(report)


def test_a_carried_on_video_names_its_parent_and_inputs(tmp_path, made, certificate, look):
    Image.new("RGB", (37, 41)).save(tmp_path / "start.png")
    (tmp_path / "old.mkv").write_bytes(b"not read")
    sources = (
        SourceFile(made, "11" * 32, "parent"),
        SourceFile(tmp_path / "start.png", "22" * 32, "input"),
        SourceFile(tmp_path / "old.mkv", "33" * 32, "input"),
    )
    report = look(sign(clip(tmp_path / "longer.mp4", 11), certificate, *sources))
    assert (report.verdict, report.ai) == ("own", "part")
    found = {one.title: (one.role, one.signed, one.ai, one.faults) for one in report.ingredients}
    assert found == {
        "source 1": ("parent", True, "all", ()),
        "source 2": ("input", False, "unknown", ()),
        "source 3": ("input", False, "unknown", ()),
    }
    actions = report.details["manifests"][report.details["active_manifest"]]["assertions"][-1]
    assert [a["action"] for a in actions["data"]["actions"]] == ["c2pa.opened", "c2pa.edited"]


def test_a_tampered_parent_is_seen_through_two_generations(tmp_path, made, certificate, look):
    spoiled = flip(made, boxes(made)["mdat"][0] + 997)
    child = sign(
        clip(tmp_path / "child.mp4"), certificate, SourceFile(spoiled, "11" * 32, "parent")
    )
    grandchild = sign(
        clip(tmp_path / "grandchild.mp4"), certificate, SourceFile(child, "22" * 32, "parent"),
        generated=False,
    )  # fmt: skip
    for path in (child, grandchild):
        report = look(path)
        assert report.verdict == "own"
        assert report.ingredients[0].faults == ("assertion.bmffHash.mismatch",)
        assert "FAULT" in describe_report(report)
    assert "one of its sources was" in describe_report(look(grandchild))


def test_a_copy_of_what_a_model_made_stays_partly_ai(tmp_path, made, certificate, look):
    """Made by a model, then twice saved anew without one."""
    copy = sign(
        clip(tmp_path / "copy.mp4"), certificate, SourceFile(made, "11" * 32, "parent"),
        generated=False,
    )  # fmt: skip
    again = sign(
        clip(tmp_path / "again.mp4"), certificate, SourceFile(copy, "22" * 32, "parent"),
        generated=False,
    )  # fmt: skip
    report = look(again)
    assert (report.ai, [one.ai for one in report.ingredients]) == ("unknown", ["part"])


@pytest.mark.parametrize("embed", [True, False])
def test_nobody_is_asked_over_the_network(tmp_path, certificate, look, listener, embed):
    address, asked = listener
    hostile = elsewhere(clip(tmp_path / "a.mp4"), address, certificate, embed=embed)
    report = look(hostile)
    assert report.verdict == ("own" if embed else "remote")
    child = sign(
        clip(tmp_path / "child.mp4"), certificate, SourceFile(hostile, "11" * 32, "parent")
    )
    assert look(child).verdict == "own"
    assert asked == []


def test_the_listener_would_have_heard(tmp_path, certificate, listener):
    """Without our settings c2pa does ask; so they are what stops it."""
    address, asked = listener
    hostile = elsewhere(clip(tmp_path / "a.mp4"), address, certificate, embed=False)
    with (
        c2pa.Context.from_dict({"version": 1}) as careless,
        hostile.open("rb") as opened,
        pytest.raises(c2pa.C2paError),
    ):
        c2pa.Reader("video/mp4", opened, context=careless)
    assert asked == ["/m.c2pa"]


def test_the_settings_take_effect(tmp_path, certificate):
    """c2pa takes unknown names in silence: a slip of the pen would switch protection off."""
    (tree,) = bmff_hash(sign(clip(tmp_path / "x.mp4"), certificate))["merkle"]
    assert tree["fixedBlockSize"] == 2**20  # by default there is no tree
    assert SETTINGS["verify"]["remote_manifest_fetch"] is False  # see the listener


def bmff_hash(path: Path) -> dict:
    store = read_report(path).details
    assertions = store["manifests"][store["active_manifest"]]["assertions"]
    return next(a["data"] for a in assertions if a["label"].startswith("c2pa.hash.bmff"))


def test_a_key_that_does_not_fit_is_found_out_and_leaves_no_file(made, certificate, stranger):
    mixed = certificate._replace(key=stranger.key)
    before = made.read_bytes()
    with pytest.raises(OutputError, match="could not be signed"):
        signing.sign(made, Statement(generated=True), mixed)
    assert list(made.parent.iterdir()) == [made]
    assert made.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_whatever_interrupts_it_leaves_no_copy(made, certificate, monkeypatch, error):
    def interrupted(file, signed, *_):
        signed.write_bytes(b"half")
        raise error

    monkeypatch.setattr(signing, "_sign", interrupted)
    with pytest.raises(error):
        signing.sign(made, Statement(generated=True), certificate)
    assert list(made.parent.iterdir()) == [made]


def test_a_model_or_a_source_is_something_to_declare(tmp_path):
    source = SourceFile(tmp_path / "a.mp4", "11" * 32, "parent")
    assert Statement(generated=False, workflow=WORKFLOW).empty
    assert not Statement(generated=True).empty
    assert not Statement(generated=False, sources=(source,)).empty


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_are_signed_and_still_move(tmp_path, certificate, look, suffix):
    path = tmp_path / f"moving{suffix}"
    pictures = [Image.new("RGB", (37, 41), (30 * n, 0, 0)) for n in range(5)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    report = look(sign(path, certificate))
    assert (report.verdict, report.ai) == ("own", "all")
    with Image.open(path) as shown:
        assert shown.n_frames == 5


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_what_cannot_be_signed_is_reported(tmp_path, certificate, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"whatever")
    with pytest.raises(InputError, match="cannot carry Content Credentials"):
        signing.sign(path, Statement(generated=True), certificate)


@pytest.mark.parametrize("package", ["c2pa", "cryptography"])
def test_a_missing_package_is_reported_with_its_remedy(monkeypatch, package):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *args, **kwargs)

    assert signing.why_unavailable() is None
    monkeypatch.setattr(builtins, "__import__", without)
    message = signing.why_unavailable()
    assert message.startswith(f"the Python package {package} is missing")
    asked = PROJECT["optional-dependencies"]["credentials"]
    assert message.endswith(f'"{sys.executable}" -m pip install "{asked[0]}" "{asked[1]}"')


def test_hostile_text_stays_on_its_line(tmp_path, certificate, look, monkeypatch):
    agent = {"name": "evil\x1b[2J\nMade by AI: no " + "x" * 999, "version": "1"}
    monkeypatch.setattr(signing, "_agent", lambda: agent)
    report = look(sign(clip(tmp_path / "x.mp4"), certificate))
    (line,) = [line for line in describe_report(report).split("\n") if "evil" in line]
    assert line.startswith("Made with: ")
    assert "\x1b" not in line
    assert len(line) < 300


def test_a_long_line_of_sources_is_carried_along(tmp_path, certificate, look):
    path = sign(clip(tmp_path / "0.mp4", 2), certificate)
    for n in range(1, 7):
        source = SourceFile(path, "11" * 32, "parent")
        path = sign(clip(tmp_path / f"{n}.mp4", 2), certificate, source)
    report = look(path)
    assert (report.verdict, report.ingredients[0].ai) == ("own", "part")
    assert len(report.details["manifests"]) == 7
    assert path.stat().st_size < 2**17
