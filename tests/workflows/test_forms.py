"""Graphs for the browser and prompts for headless runs say the same, and are fit to be seen."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from environment import VERSION, comfyui_folder, version_of
from tests.workflows.conftest import NAMES, OTHERS_MODELS, files_of, load, load_graph
from tests.workflows.templates import FOLDER, GROUPS, TEMPLATES, graph_file
from tests.workflows.thumbnails import MOVING_SIDE, SIDE, fingerprint
from tests.workflows.wires import hidden

NOTES = {"Note", "MarkdownNote"}
FOLDERS = ("checkpoints", "clip_vision", "diffusion_models", "loras", "text_encoders", "vae")
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
OTHER_PACKS = {"UnetLoaderGGUF": "comfyui-gguf"}  # nodes of theirs that workflows have


@pytest.fixture
def graph(name) -> dict:
    return load_graph(name)


@pytest.fixture
def api(name) -> dict:
    return load(f"api/{name}.json")


def nodes_in(graph: dict) -> list[dict]:
    return [node for node in graph["nodes"] if node["type"] not in NOTES]


def widgets_of(host, node_type: str) -> Iterator[str | None]:
    """Names of a node's widgets in the order of `widgets_values`; None for one without an input."""
    kinds = host.nodes.NODE_CLASS_MAPPINGS[node_type].INPUT_TYPES()
    for section in ("required", "optional"):
        for name, (kind, *options) in kinds.get(section, {}).items():
            if options and options[0].get("forceInput"):
                continue  # a socket, whatever its kind
            if isinstance(kind, list) or kind in WIDGETS:
                yield name
                if options and options[0].get("control_after_generate"):
                    yield None  # "fixed", "randomize"...


def another_core(node_type: str) -> bool:
    """Whether it is a node of a ComfyUI that the workflows were not saved with.

    It may have more widgets, at the end, or of kinds that are several values in one.
    """
    return not node_type.startswith("Longtake") and version_of(comfyui_folder()) != VERSION


def inputs_of(host, graph: dict, node: dict, older: bool = False) -> dict:
    """A node's inputs as the API form has them; an older graph lacks widgets that came since."""
    names = list(widgets_of(host, node["type"]))
    values = node.get("widgets_values") or []
    if older or another_core(node["type"]):
        both = min(len(names), len(values))
        names, values = names[:both], values[:both]
    assert len(values) == len(names), f"{node['title']}: {values} for {names}"
    inputs = {name: value for name, value in zip(names, values, strict=True) if name}
    sources = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    for socket in node["inputs"]:
        if socket.get("link") is not None:
            inputs[socket["name"]] = sources[socket["link"]]
    return inputs


def test_every_workflow_has_both_forms_and_is_in_the_table():
    assert {path.stem for path in (FOLDER / "api").glob("*.json")} == {*TEMPLATES}
    assert {*FOLDER.glob("*.json")} == {graph_file(name) for name in TEMPLATES}


def test_some_test_runs_it_and_the_readme_names_it(name):
    others = {*Path(__file__).parent.glob("test_*.py")} - {Path(__file__)}
    tests = "".join(path.read_text(encoding="utf-8") for path in others)
    assert re.search(rf'"(api/)?{name}(\.json)?"', tests)
    number = TEMPLATES[name]["title"].split()[1]
    assert f"{number} `{name}`" in (FOLDER.parent / "README.md").read_text(encoding="utf-8")


def test_both_forms_are_the_same_graph(host, graph, api):
    known_here = host.nodes.NODE_CLASS_MAPPINGS
    for node in nodes_in(graph):
        if node["type"] not in known_here:  # then by the order of its values alone
            entry = api.pop(str(node["id"]))
            assert (entry["class_type"], entry["_meta"]["title"]) == (node["type"], node["title"])
            assert list(entry["inputs"].values()) == node["widgets_values"]
    from_graph = {
        str(node["id"]): (node["type"], node["title"], inputs_of(host, graph, node))
        for node in nodes_in(graph)
        if node["type"] in known_here
    }
    for key, node in api.items():
        if another_core(node["class_type"]):
            known = from_graph[key][2]
            node["inputs"] = {k: v for k, v in node["inputs"].items() if k in known}
    from_api = {
        key: (node["class_type"], node["_meta"]["title"], node["inputs"])
        for key, node in api.items()
    }
    assert from_graph == from_api


@pytest.fixture
def files(host, graph) -> Iterator[list[str]]:
    """Empty files in the places of the models that a workflow asks for: their names."""
    paths = [host.base / "models" / file["directory"] / file["name"] for file in files_of(graph)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    yield [path.name for path in paths]
    for path in {*paths}:
        path.unlink()


def unknown_here(host, api: dict, files: list[str]) -> list[str]:
    """Nodes, and choices in core's nodes, that this ComfyUI does not have."""
    known, found = host.nodes.NODE_CLASS_MAPPINGS, []
    for node in api.values():
        if (kind := node["class_type"]) not in known:
            found.append(kind)
            continue
        for name, (values, *_) in known[kind].INPUT_TYPES()["required"].items():
            value = node["inputs"][name]
            if isinstance(values, list) and value not in values and value not in files:
                found.append(f"{kind} with {value}")
    return found


@pytest.mark.usefixtures("pack")
def test_comfyui_accepts_it(host, api, files):
    if unknown := unknown_here(host, api, files):
        older = version_of(comfyui_folder()) == VERSION
        assert files, unknown
        assert older or {*unknown} <= {*OTHER_PACKS}, unknown
        pytest.skip(f"not in this ComfyUI: {', '.join(unknown)}")
    assert host.refusal(api) is None


@pytest.mark.parametrize("name", OTHERS_MODELS)
def test_each_file_that_it_asks_for_has_an_address_and_a_folder(graph):
    for node in nodes_in(graph):
        files = node["properties"].get("models", [])
        chosen = [v for v in node["widgets_values"] if re.search(r"\.(safetensors|gguf)$", str(v))]
        assert sorted(file["name"] for file in files) == sorted(chosen), node["title"]
        for file in files:
            assert file["url"].startswith("https://huggingface.co/")
            assert file["url"].split("?")[0].endswith(f"/{file['name']}")
            assert file["directory"] in FOLDERS


def test_it_has_a_picture_of_what_it_makes(name, api):
    """`python tests/workflows/thumbnails.py NAME` makes it anew."""
    path = graph_file(name, ".jpg")
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE))
        assert picture.info["comment"].decode() == fingerprint(api)
    assert path.stat().st_size < 50_000


def test_it_has_one_that_moves_unless_it_is_not_run_here(name, api):
    path = graph_file(name, ".webp")
    assert path.is_file() == (name not in OTHERS_MODELS)
    if path.is_file():
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("WEBP", (MOVING_SIDE, MOVING_SIDE))
            assert picture.n_frames > 1
            assert picture.info["xmp"].decode() == fingerprint(api)
        assert path.stat().st_size < 200_000


def test_templates_have_titles_and_an_order_for_people():
    """Titles are names of files, on Windows, too, and parts of addresses; a number is for ever."""
    known = []
    for n, group in enumerate(GROUPS):
        last = GROUPS[n + 1]["first"] - 1 if n + 1 < len(GROUPS) else 99
        for template in group["templates"]:
            title = re.fullmatch(r"Longtake (\d\d) [A-Z][A-Za-z0-9 .-]+\w", template["title"])
            assert title, template["title"]
            known.append(int(title[1]))
            assert group["first"] <= known[-1] <= last
            # two lines of a card, on which some pages have no hyphens
            assert re.fullmatch(r"[A-Z][^-_\n]{20,70}\.", template["description"])
            assert ("models" in template) == (template["name"] in OTHERS_MODELS)
    assert known == sorted({*known})


def test_titles_tell_nodes_apart(api):
    titles = [node["_meta"]["title"] for node in api.values()]
    assert len(set(titles)) == len(titles)


def test_the_titles_and_inputs_that_commands_rely_on():
    inputs = {
        node["_meta"]["title"]: node["inputs"] for node in load("api/text_to_video.json").values()
    }
    relied_on = {
        "LoadModel": {"file"}, "LoadTextEncoder": {"file"}, "LoadVAE": {"file"},
        "Prompt": {"text"}, "Negative": {"text"},
        "Canvas": {"seconds", "fps", "width", "height"},
        "Schedule": {"steps"}, "Sample": {"seed", "cfg"}, "Decode": {"fps"},
        "Save": {"filename_prefix"},
    }  # fmt: skip
    assert set(inputs) == set(relied_on)
    assert all(names <= set(inputs[title]) for title, names in relied_on.items())


def test_a_manager_finds_the_pack_for_whoever_lacks_it(graph):
    for node in nodes_in(graph):
        ours = "longtake" if node["type"].startswith("Longtake") else "comfy-core"
        known = {name: node["properties"][name] for name in ("cnr_id", "ver")}
        assert known["cnr_id"] == OTHER_PACKS.get(node["type"], ours), node["title"]
        assert re.fullmatch(r"\d+\.\d+\.\d+", known["ver"])


def test_it_reads_from_left_to_right(graph):
    boxes = {node["id"]: (*node["pos"], *node["size"]) for node in nodes_in(graph)}
    for _, source, _, target, _, _ in graph["links"]:
        (x, y, *_), (to_x, to_y, *_) = boxes[source], boxes[target]
        assert (x, y) < (to_x, to_y), (source, target)


def test_nothing_overlaps_and_everything_is_in_a_group(graph):
    header = 30  # a node's title is drawn above its position
    boxes = [(n["pos"][0], n["pos"][1] - header, n["size"][0], n["size"][1] + header)
             for n in graph["nodes"]]  # fmt: skip
    for i, (x, y, w, h) in enumerate(boxes):
        for X, Y, W, H in boxes[:i]:
            assert x + w <= X or x >= X + W or y + h <= Y or y >= Y + H
    groups = [group["bounding"] for group in graph["groups"]]
    (note,) = [node for node in graph["nodes"] if node["type"] in NOTES]
    x, y, w, h = (*note["pos"], *note["size"])
    assert all(
        x + w <= X or x >= X + W or y + h <= Y or y - header >= Y + H for X, Y, W, H in groups
    ), "the note lies on a group"
    for node in nodes_in(graph):
        x, y, w, h = (*node["pos"], *node["size"])
        assert any(
            x >= X and y - header >= Y and x + w <= X + W and y + h <= Y + H
            for X, Y, W, H in groups
        ), node["title"]


def test_no_wire_runs_behind_a_node(graph):
    """`python tests/workflows/wires.py NAME` leads them around; tests/browser looks, too."""
    assert not hidden(graph)


def test_its_nodes_have_numbers_of_their_own():
    """What a server says of a node reaches every page, by the node's number."""
    seen = [node["id"] for name in NAMES for node in load_graph(name)["nodes"]]
    assert len(set(seen)) == len(seen)


def test_it_fits_a_screen_at_70_percent(graph):
    """The note comes first, at the top left."""
    boxes = [(*node["pos"], *node["size"]) for node in graph["nodes"]]
    boxes += [group["bounding"] for group in graph["groups"]]
    left, top = min(x for x, *_ in boxes), min(y for _, y, *_ in boxes)
    assert max(x + w for x, _, w, _ in boxes) - left <= 1600 / 0.7
    assert max(y + h for _, y, _, h in boxes) - top <= 1000 / 0.7
    (note,) = [node for node in graph["nodes"] if node["type"] in NOTES]
    assert note["pos"][0] == left
    assert all(note["pos"][1] <= node["pos"][1] for node in graph["nodes"] if node["pos"][0] <= 15)


ROLES = {  # by titles of groups
    "Load": "#3f789e", "Prompts": "#8a6d3b", "The shots": "#8a6d3b", "Size and steps": "#b58b2a",
    "Size and shift": "#b58b2a", "Size": "#b58b2a", "Steps": "#b58b2a",
    "Sample": "#3b8a5a", "Save": "#a1309b",
}  # fmt: skip


def test_a_role_has_one_word_and_one_colour(graph):
    for group in graph["groups"]:
        assert group["color"] == ROLES.get(group["title"], group["color"]), group["title"]


def test_a_note_explains_it(graph):
    (note,) = [node for node in graph["nodes"] if node["type"] in NOTES]
    words = note["widgets_values"][0]
    titles = {node["title"] for node in nodes_in(graph)} | {n["type"] for n in nodes_in(graph)}
    assert len(words) > 200
    named = set(re.findall(r"\*\*([A-Z]\w+)\*\*", words))
    assert named - titles <= {"Wan", "Decode"}, "it speaks of nodes that are not there"


def test_nothing_of_anybodys_machine_is_in_it(name):
    text = graph_file(name).read_text(encoding="utf-8")
    assert not re.search(r"/home/|/Users/|/tmp/|/work/|C:\\\\|127\.0\.0\.1", text)
