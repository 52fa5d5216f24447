"""The workflows as people see them: opened in a browser, in both ways in which it draws nodes."""

import json

import pytest

from tests.browser.conftest import Page
from tests.engine.clips import clip
from tests.workflows.conftest import NAMES, OTHERS_MODELS, load, load_graph
from tests.workflows.test_blueprints import FOLDER
from tests.workflows.test_blueprints import NAMES as BLUEPRINTS
from tests.workflows.test_forms import NOTES

HEADER = 30  # a node's title is drawn above its position
SILENT = [  # nodes that show no text of their own
    f"Longtake{name}"
    for name in (
        *("LoadTextEncoder", "LoadVAE", "Prompt", "Shot", "Beat"),
        *("DiffusionForcing", "Decode", "DecodeFrames"),
    )
]
SHOWN = f"{'word ' * 16}  \nand more"  # as long as it may be, see host/comfyui/node_text.py
SAVED = f"{'word ' * 11}  \n{'word ' * 13}"  # of a name with credentials, and of a file
PATIENCE = 700  # milliseconds until pictures and videos are there
LOOK = """() => ({
    nodes: app.graph.nodes.map((node) => ({
        id: String(node.id), type: node.type, title: node.title,
        known: node.type in LiteGraph.registered_node_types,
        box: [...node.pos, ...node.size],
        values: (node.widgets ?? []).map((widget) => widget.value),
    })),
    groups: app.graph.groups.map((group) => [...group.pos, ...group.size]),
    alerts: [...document.querySelectorAll('[role=dialog], [role=alert], .p-toast-message')]
        .map((element) => element.textContent),
})"""
HIDDEN = """() => {  // wires that are drawn across the edge of a node's box, but for its sockets
    app.canvas.draw(true, true);
    const { graph } = app, context = document.createElement('canvas').getContext('2d');
    context.lineWidth = 6;
    const edges = graph.nodes.map((node) => {
        const [left, right] = [node.pos[0] + 16, node.pos[0] + node.size[0] - 16];
        const [top, bottom] = [node.pos[1] - 24, node.pos[1] + node.size[1] - 6], points = [];
        for (let x = left; x <= right; x += 5) points.push([x, top], [x, bottom]);
        for (let y = top; y <= bottom; y += 5) points.push([left, y], [right, y]);
        return [node.title, points];
    });
    const found = [];
    for (const link of graph.links.values?.() ?? Object.values(graph.links)) {
        const paths = [link.path];
        for (let at = graph.reroutes.get(link.parentId); at; at = graph.reroutes.get(at.parentId))
            paths.push(at.path);
        for (const [title, points] of edges)
            if (paths.some((path) => points.some(([x, y]) => context.isPointInStroke(path, x, y))))
                found.push(`${link.id} behind ${title}`);
    }
    return found;
}"""
# What a server sends of a Long Take, on the canvas or within the subgraph of node 5.
TAKE = """const inner = app.graph.getNodeById(5)?.subgraph, graph = inner ?? app.graph;
    const take = graph.nodes.find((one) => one.type === 'LongtakeLongTake');
    const id = inner ? `5:${take.id}` : String(take.id);"""
INTO_SUBGRAPH = """async () => {
    const outer = app.graph.getNodeById(5);
    app.canvas.openSubgraph(outer.subgraph, outer);
    await new Promise((moved) => setTimeout(moved, 500)); // pages restore where they looked before
    app.canvas.centerOnNode(outer.subgraph.nodes.find((one) => one.type === 'LongtakeLongTake'));
}"""
SAMPLES = """async () => {
    TAKE
    const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
    const blob = await new Promise((made) => canvas.toBlob(made));
    const ids = { nodeId: id, displayNodeId: id, parentNodeId: id, realNodeId: id };
    app.api.dispatchCustomEvent('b_preview_with_metadata',
        { blob, ...ids, jobId: 'x', promptId: 'x' });
    app.canvas.setDirty(true, true);
}""".replace("TAKE", TAKE)
IS_STOPPED = """(video) => {
    TAKE
    app.api.dispatchCustomEvent('executed', { node: id, display_node: id,
        prompt_id: 'x', output: { images: [video], animated: [true] } });
    app.canvas.setDirty(true, true);
}""".replace("TAKE", TAKE)
MARKED = """() => app.graph.nodes.flatMap((node) => (node.inputs ?? [])
    .filter((input) => input.hasErrors).map((input) => [String(node.id), input.name]))"""
RUN = """async ([text, saved, silent, video, [width, height]]) => {  // what a server sends in a run
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    canvas.getContext('2d').fillRect(0, 0, width, height);
    const blob = await new Promise((made) => canvas.toBlob(made));
    for (const node of app.graph.nodes) {
        const nodeId = String(node.id), send = app.api.dispatchCustomEvent.bind(app.api);
        if (node.type.startsWith('Longtake') && !silent.includes(node.type))
            send('progress_text', { nodeId, text: /SaveVideo/.test(node.type) ? saved : text });
        if (/LongtakeSample|LongtakeLongTake|KSampler/.test(node.type))
            send('b_preview_with_metadata', { blob, nodeId, displayNodeId: nodeId,
                parentNodeId: nodeId, realNodeId: nodeId, jobId: 'x', promptId: 'x' });
        if (/SaveVideo/.test(node.type))
            send('executed', { node: nodeId, display_node: nodeId, prompt_id: 'x',
                output: { images: [video], animated: [true] } });
    }
}"""


@pytest.fixture(scope="module")
def seen(page) -> dict[str, dict]:
    """What the page has shown of each workflow, so that each is opened once."""
    return {}


def size_of(api: dict) -> tuple[int, int]:
    """A small video's size, of the shape of what a workflow makes: a high one needs more room."""
    width, height = 1, 1
    for inputs in (node["inputs"] for node in api.values()):
        if inputs.get("aspect", "free") != "free":
            width, height = map(int, inputs["aspect"].split(":"))
        elif "aspect" in inputs and inputs["width"]:
            width, height = inputs["width"], inputs["height"]
    scale = 128 / max(width, height)
    return 2 * round(width * scale), 2 * round(height * scale)


@pytest.fixture(params=NAMES)
def opened(request, page, seen, server) -> dict:
    name = request.param
    if name not in seen:
        page.open(load_graph(name), name)
        first = {**page.ask(LOOK), "hidden": page.ask(HIDDEN)}
        size = size_of(load(f"api/{name}.json"))
        file = f"seen_{size[0]}_{size[1]}.mp4"
        clip(str(server.output / file), size=size)
        video = {"filename": file, "subfolder": "", "type": "output"}
        page.ask(RUN, [SHOWN, SAVED, SILENT, video, size])
        page.pause(PATIENCE)
        page.settle()
        seen[name] = {**first, "told": page.ask(LOOK), "errors": list(page.errors), "name": name}
    return seen[name]


def test_it_opens_with_every_node_and_without_a_complaint(opened, server):
    """Nodes for other people's models may be those of a newer ComfyUI or of another pack."""
    lacking = {node["type"] for node in opened["nodes"] if not node["known"]}
    assert not lacking or opened["name"] in OTHERS_MODELS
    assert not lacking & set(server.ask("/object_info"))
    assert not [kind for kind in lacking if kind.startswith("Longtake")]
    assert len(opened["nodes"]) == len(load_graph(opened["name"])["nodes"])
    assert not opened["alerts"]
    assert not opened["errors"]


def test_no_widget_shows_another_value_than_the_file(opened):
    """A newer node of ComfyUI's may have more of them, at the end."""
    saved = {
        str(node["id"]): node.get("widgets_values") or []
        for node in load_graph(opened["name"])["nodes"]
    }
    for node in opened["nodes"]:
        values = saved[node["id"]] if node["known"] else []
        assert node["values"][: len(values)] == values, node["title"]


def test_no_wire_is_drawn_behind_a_node(opened):
    assert not opened["hidden"]


@pytest.mark.parametrize("when", ["at first", "after a run"])
def test_nodes_lie_in_their_groups_and_on_no_other(opened, when):
    look = opened if when == "at first" else opened["told"]
    boxes = {
        node["title"]: (x, y - HEADER, x + w, y + h)
        for node in look["nodes"]
        for x, y, w, h in [node["box"]]
    }
    groups = [(x, y, x + w, y + h) for x, y, w, h in look["groups"]]
    notes = {node["title"] for node in look["nodes"] if node["type"] in NOTES}
    for title, (left, top, right, bottom) in boxes.items():
        inside = [
            left >= x and top >= y and right <= to_x and bottom <= to_y
            for x, y, to_x, to_y in groups
        ]
        assert title in notes or any(inside), f"{title} is outside its group"
        assert title not in notes or not any(
            left < to_x and x < right and top < to_y and y < bottom for x, y, to_x, to_y in groups
        ), f"{title} lies on a group"
        others = [box for other, box in boxes.items() if other != title]
        assert not [
            box for box in others
            if left < box[2] and box[0] < right and top < box[3] and box[1] < bottom
        ], f"{title} lies on another node"  # fmt: skip


def test_one_fault_is_told_once_at_one_input(page: Page, server):
    """As somebody queues it, who forgot a bracket in a storyboard."""
    graph = load_graph("storyboard")
    (board,) = [node for node in graph["nodes"] if node["type"] == "LongtakeStoryboard"]
    board["widgets_values"][0] = "[0s a red ball"
    page.open(graph, "fault")
    page.click("[data-testid=queue-button]")
    page.wait("() => app.lastNodeErrors")
    ((node, told),) = page.ask("() => Object.entries(app.lastNodeErrors)")
    (error,) = told["errors"]
    assert (node, error["extra_info"]["input_name"]) == (str(board["id"]), "text")
    page.pause(200)
    assert page.ask(MARKED) == [[str(board["id"]), "text"]]
    (text,) = page.ask("() => [document.body.innerText]")
    assert 0 < text.count("no closing bracket") <= 2  # the strip below the text says so, too
    page.keyboard.press("Escape")
    assert not server.ask("/queue")["queue_pending"]


@pytest.mark.parametrize("within", [False, True], ids=["canvas", "subgraph"])
def test_a_stopped_take_plays_in_the_place_of_its_preview(page: Page, server, within):
    """Pages show the last preview as long as there is one; the next run's takes its place again."""
    blueprint = FOLDER / "Long Take with Storyboard (Longtake).json"
    graph = json.loads(blueprint.read_text("utf-8")) if within else load_graph("long_take")
    page.open(graph, "stopped")
    if within:
        page.ask(INTO_SUBGRAPH)
    clip(str(server.output / "stopped.mp4"))
    video = {"filename": "stopped.mp4", "subfolder": "", "type": "output"}
    page.ask(SAMPLES)
    page.pause(200)
    page.ask(IS_STOPPED, video)
    page.wait("() => document.querySelector('video')?.videoWidth")
    page.ask(SAMPLES)
    page.wait("() => !document.querySelector('video')")
    own = "listeners for graph that was never set up"  # what an older page says of any subgraph
    assert not [error for error in page.errors if own not in error]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_opens_as_one_node_and_is_queued_as_those_within(page: Page, name):
    blueprint = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    (graph,), (outer,) = blueprint["definitions"]["subgraphs"], blueprint["nodes"]
    page.open(blueprint, name)
    (node,) = page.ask(LOOK)["nodes"]
    assert node["values"] == outer["widgets_values"]
    prompt = page.ask("async () => (await app.graphToPrompt()).output")
    found = sorted(entry["class_type"] for entry in prompt.values())
    assert found == sorted(inner["type"] for inner in graph["nodes"])
    assert not page.errors
