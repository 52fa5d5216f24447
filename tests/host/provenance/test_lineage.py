"""What can be said of a video from the graph alone, and hashes that are computed once."""

import hashlib
import importlib
import os
from pathlib import Path

import pytest


@pytest.fixture
def lineage(host):
    return importlib.import_module("longtake.host.provenance.lineage")


@pytest.fixture
def clips(host) -> dict:
    """Files in ComfyUI's folders, by the names that graphs have for them."""
    found = {}
    for name in ("one.mp4", "two.webm", "start.png"):
        found[name] = host.base / "input" / name
        found[name].write_bytes(name.encode())
    found["old.mp4 [output]"] = host.base / "output" / "old.mp4"
    found["old.mp4 [output]"].write_bytes(b"old")
    yield found
    for file in found.values():
        file.unlink()


def node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def roles(statement) -> list[tuple[str, str]]:
    return [(source.path.name, source.role) for source in statement.sources]


def test_the_nearest_video_is_the_parent_and_all_else_an_input(lineage, clips):
    prompt = {
        "1": node("LoadVideo", file="one.mp4"),
        "2": node("SomebodysLoader", video="old.mp4 [output]", before=["1", 0]),
        "3": node("LoadImage", image="start.png"),
        "4": node("Join", first=["3", 0], second=["2", 0]),
        "9": node("LongtakeSaveVideo", video=["4", 0], filename_prefix="x"),
        "8": node("LoadVideo", file="two.webm"),  # leads elsewhere
    }
    statement = lineage.statement_of(prompt, "9")
    assert roles(statement) == [("start.png", "input"), ("old.mp4", "parent"), ("one.mp4", "input")]
    assert not statement.generated
    assert statement.workflow == lineage.graph_hash(prompt)


def test_a_picture_of_which_a_region_keeps_pixels_is_the_parent(lineage, clips):
    prompt = {
        "1": node("LoadImage", image="start.png"),
        "2": node("LongtakePinImage", image=["1", 0]),
        "3": node("LongtakeRegion", clip=["2", 0], mask=["1", 1]),
        "9": node("LongtakeSaveVideo", video=["3", 0]),
        "8": node("LongtakeSaveVideo", video=["2", 0]),
    }
    assert roles(lineage.statement_of(prompt, "9")) == [("start.png", "parent")]
    assert roles(lineage.statement_of(prompt, "8")) == [("start.png", "input")]
    film = {**prompt, "1": node("LoadVideo", file="one.mp4")}
    assert roles(lineage.statement_of(film, "9")) == [("one.mp4", "parent")]


def test_any_packs_model_means_that_a_model_painted(lineage):
    prompt = {
        "1": node("UNETLoader", unet_name="wan.safetensors", weight_dtype="default"),
        "2": node("KSampler", model=["1", 0]),
        "9": node("LongtakeSaveVideo", video=["2", 0]),
        "5": node("EmptyImage"),
        "6": node("LongtakeSaveVideo", video=["5", 0]),
    }
    assert lineage.statement_of(prompt, "9").generated
    assert lineage.statement_of(prompt, "6").empty
    assert lineage.statement_of(prompt, "in an expanded graph").generated
    assert lineage.statement_of(None, None).empty


def test_weights_in_comfyuis_folders_are_hashed(lineage, host):
    import folder_paths

    folder = host.base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jane.safetensors").write_bytes(b"weights")
    folder_paths.filename_list_cache.clear()
    prompt = {
        "1": node("LoraLoaderModelOnly", lora_name="jane.safetensors", strength_model=1.0),
        "9": node("LongtakeSaveVideo", video=["1", 0]),
    }
    ((kind, digest),) = lineage.statement_of(prompt, "9").models
    assert kind == "loras"
    assert digest == hashlib.sha256(b"weights").hexdigest()
    (folder / "jane.safetensors").unlink()


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("ltx-2.3-22b-dev-fp8.safetensors", ["LTX-2's licence asks for provenance and a mark"]),
        ("minimax_h3_fl2va_pruned_int8_convrot.safetensors", ["MiniMax H3's licence: not for"]),
        ("hunyuan_video_t2v_720p_bf16.safetensors", ["HunyuanVideo's licence: say a machine"]),
        ("hunyuanvideo1.5_720p_t2v_fp16.safetensors", []),
        ("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", []),
    ],
)
def test_saving_names_what_a_models_licence_asks(lineage, host, file, asked):
    import folder_paths

    from longtake.engine.sampling.host_presets import duties_of
    from longtake.host.comfyui.node_text import SEEN

    folder = Path(folder_paths.get_folder_paths("diffusion_models")[0])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(b"weights")
    folder_paths.filename_list_cache.clear()
    try:
        prompt = {
            "1": node("UNETLoader", unet_name=file, weight_dtype="default"),
            "2": node("LongtakeLongTake", model=["1", 0]),
            "3": node("LongtakeSaveVideo", video=["2", 0]),
        }
        said = duties_of(lineage.weights_in(prompt, "3"))
    finally:
        (folder / file).unlink()
    assert all(duty.startswith(what) for duty, what in zip(said, asked, strict=True))
    assert all(len(duty) <= SEEN for duty in said)


def test_several_files_of_one_save_cannot_be_told_apart(lineage, clips):
    prompt = {
        "1": node("LoadVideo", file="one.mp4"),
        "2": node("LongtakeSaveVideo", video=["1", 0]),
        "9": node("LongtakeSaveVideo", video=["2", 0]),
    }
    saved = clips["old.mp4 [output]"]
    assert roles(lineage.statement_of(prompt, "9")) == [("one.mp4", "parent")]
    lineage.remember_saved(prompt, "2", saved)
    assert roles(lineage.statement_of(prompt, "9")) == [("old.mp4", "parent")]
    lineage.remember_saved(prompt, "2", clips["two.webm"])  # a batch: a second file in the same run
    assert roles(lineage.statement_of(prompt, "9")) == [("one.mp4", "parent")]
    again = {**prompt}  # another run of the same graph
    lineage.remember_saved(again, "2", saved)
    assert roles(lineage.statement_of(again, "9")) == [("old.mp4", "parent")]


def test_only_the_latest_saves_are_remembered(lineage, clips, monkeypatch):
    monkeypatch.setattr(lineage, "_saved", {})
    monkeypatch.setattr(lineage, "MAX_SAVES", 3)
    graphs = [{"1": node("LongtakeSaveVideo", filename_prefix=str(n))} for n in range(5)]
    for n in (0, 1, 2, 0, 3, 4):
        lineage.remember_saved({**graphs[n]}, "1", clips["one.mp4"])
    kept = [n for n, graph in enumerate(graphs) if lineage._saved_by(graph, "1")]
    assert kept == [0, 3, 4]


def test_graphs_that_differ_have_other_hashes_and_notes_do_not_count(lineage):
    one, other = {"1": node("A", text="x")}, {"1": node("A", text="y")}
    assert lineage.graph_hash(one) != lineage.graph_hash(other)
    assert lineage.graph_hash({"1": {**one["1"], "is_changed": ["…"]}}) == lineage.graph_hash(one)
    assert lineage.graph_hash({"1": node("A", text="\ud800")})


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.mp4", "/etc/x.mp4", "no.mp4", "\0.mp4", "x" * 999 + ".mp4"]
)
def test_names_that_are_no_file_of_comfyuis_are_passed_over(lineage, name):
    prompt = {"1": node("Loader", path=name), "9": node("LongtakeSaveVideo", video=["1", 0])}
    assert lineage.statement_of(prompt, "9").sources == ()


def test_a_large_file_is_hashed_once_and_again_when_it_changes(lineage, tmp_path, monkeypatch):
    hashing = importlib.import_module("longtake.host.comfyui.file_hash")
    read = []
    compute = hashing._compute
    monkeypatch.setattr(hashing, "LARGE", 5)
    monkeypatch.setattr(hashing, "_compute", lambda file: read.append(file) or compute(file))
    file = tmp_path / "weights"
    file.write_bytes(b"weights of a model")
    first = hashing.sha256_of(file)
    hashing._known.clear()  # another start of ComfyUI
    assert hashing.sha256_of(file) == first
    assert len(read) == 1
    os.utime(file, (1, 1))
    hashing.sha256_of(file)
    assert len(read) == 2
    hashing._store_file().write_text("[1, 2", encoding="utf-8")  # damaged: computed anew
    hashing._known.clear()
    assert hashing.sha256_of(file) == first
    hashing._store_file().unlink()


def test_frames_made_by_a_network_or_behind_an_api_are_generated(lineage, monkeypatch):
    import nodes

    class Paid:
        API_NODE, RETURN_TYPES = True, ("VIDEO",)

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "SomebodysApi", Paid)
    for maker in ("LongtakeInterpolate", "SomebodysApi"):
        prompt = {"1": node(maker), "9": node("LongtakeSaveVideo", video=["1", 0])}
        assert lineage.statement_of(prompt, "9").generated, maker


def test_what_only_hangs_on_the_same_loader_says_nothing(lineage, clips):
    """Models and files downstream of a source, or beside it, did not go into the video."""
    prompt = {
        "1": node("LoadVideo", file="one.mp4"),
        "2": node("UNETLoader", unet_name="wan.safetensors"),
        "3": node("KSampler", model=["2", 0], image=["1", 0]),
        "9": node("LongtakeSaveVideo", video=["1", 0]),
        "8": node("LongtakeSaveVideo", video=["3", 0]),
    }
    assert not lineage.statement_of(prompt, "9").generated
    assert lineage.statement_of(prompt, "8").generated


def test_a_saved_file_stands_for_all_that_went_into_it(lineage, clips):
    """It has credentials of its own; once it is deleted, the graph above it counts again."""
    prompt = {
        "1": node("UNETLoader", unet_name="wan.safetensors"),
        "2": node("LongtakeSaveVideo", video=["1", 0]),
        "9": node("LongtakeSaveVideo", video=["2", 0]),
    }
    saved = clips["two.webm"]
    lineage.remember_saved(prompt, "2", saved)
    assert not lineage.statement_of(prompt, "9").generated
    assert roles(lineage.statement_of(prompt, "9")) == [("two.webm", "parent")]
    saved.unlink()
    assert lineage.statement_of(prompt, "9").generated
    saved.write_bytes(b"again")


def test_other_inputs_make_another_save(lineage, clips):
    prompt = {
        "1": node("LoadVideo", file="one.mp4"),
        "2": node("LongtakeSaveVideo", video=["1", 0]),
        "9": node("LongtakeSaveVideo", video=["2", 0]),
    }
    lineage.remember_saved(prompt, "2", clips["old.mp4 [output]"])
    other = {**prompt, "1": node("LoadVideo", file="two.webm")}
    assert roles(lineage.statement_of(other, "9")) == [("two.webm", "parent")]


def test_a_graph_in_circles_comes_to_an_end(lineage, clips):
    prompt = {
        "1": node("A", x=["2", 0], file="one.mp4"),
        "2": node("B", x=["1", 0]),
        "9": node("LongtakeSaveVideo", video=["2", 0]),
    }
    assert roles(lineage.statement_of(prompt, "9")) == [("one.mp4", "parent")]


def test_not_more_sources_than_can_be_signed(lineage, clips, monkeypatch):
    monkeypatch.setattr(lineage, "MAX_SOURCES", 2)
    prompt = {
        str(n): node("Load", file=name, before=[str(n + 1), 0]) for n, name in enumerate(clips)
    }
    prompt["9"] = node("LongtakeSaveVideo", video=["0", 0])
    assert roles(lineage.statement_of(prompt, "9")) == [
        ("one.mp4", "parent"),
        ("two.webm", "input"),
    ]


def test_a_hash_that_cannot_be_stored_leaves_no_part_behind(lineage, tmp_path, monkeypatch):
    hashing = importlib.import_module("longtake.host.comfyui.file_hash")
    store = tmp_path / "store" / "file_hashes.json"
    monkeypatch.setattr(hashing, "LARGE", 5)
    monkeypatch.setattr(hashing, "_store_file", lambda: store)
    file = tmp_path / "weights"
    file.write_bytes(b"weights of another model")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", full)
        found = hashing.sha256_of(file)
    assert found == hashlib.sha256(b"weights of another model").hexdigest()
    assert not list(store.parent.iterdir())


def test_the_name_under_which_a_video_is_saved_is_no_source(lineage, clips):
    prompt = {
        "1": node("EmptyImage"),
        "9": node("LongtakeSaveVideo", video=["1", 0], filename_prefix="one.mp4"),
    }
    assert roles(lineage.statement_of(prompt, "9")) == []
