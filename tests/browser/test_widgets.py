"""What a node just put on the canvas keeps of what is typed, and what it leaves alone."""

import json
import secrets

import pytest

from environment import VERSION, comfyui_folder, version_of
from tests.browser.conftest import Page
from tests.engine.media.test_sound_part import written as sound_written
from tests.nodes.locales import written

TIMES = ("fps", "seconds", "at", "start", "end", "overlap", "window", "offset", "dissolve", "snap")
PLACE = """([type, place]) => {
    const node = LiteGraph.createNode(type);
    node.pos = place;
    app.graph.add(node);
    return String(node.id);
}"""
NUMBERS = """(type) => {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    const numbers = (node.widgets ?? []).filter((widget) => widget.options.round);
    const kept = numbers.map((widget) => {
        const typed = Math.min(widget.options.max, Math.max(widget.options.min, 0) + 0.125);
        widget.setValue(typed, { e: {}, node, canvas: app.canvas });
        return [widget.name, typed, widget.value];
    });
    app.graph.remove(node);
    return kept;
}"""
QUEUED = """(id) => {  // what the page does with each widget of a graph that it has queued
    const node = app.graph.getNodeById(id);
    for (const widget of node.widgets) widget.afterQueued?.();
    return Object.fromEntries(node.widgets.map((widget) => [widget.name, widget.value]));
}"""
ARRIVED = """async ([id, text]) => {  // what a node shows once its output has arrived
    const output = { text: [text] };
    const detail = { node: id, display_node: id, output, prompt_id: "1" };
    app.api.dispatchCustomEvent("executed", detail);
    await new Promise((done) => setTimeout(done, 300));
    const { widgets } = app.graph.getNodeById(id);
    return widgets.filter(({ name }) => /text-preview/.test(name)).map(({ value }) => value);
}"""
PLACE_OF = """([id, name]) => {  // where in the window the number of a widget is drawn
    const node = app.graph.getNodeById(id);
    const widget = node.widgets.find((widget) => widget.name === name);
    const made = document.querySelector(`[data-node-id="${id}"] [aria-label="${name}"]`);
    if (made) {
        const box = made.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }
    const [x, y] = [node.pos[0] + node.size[0] / 2, node.pos[1] + widget.y + 10];
    const { offset, scale } = app.canvas.ds, canvas = app.canvas.canvas.getBoundingClientRect();
    return [canvas.x + (x + offset[0]) * scale, canvas.y + (y + offset[1]) * scale];
}"""
ARROW_OF = """([id, name]) => {  // where in the window the arrow is that adds to a number
    const node = app.graph.getNodeById(id);
    let made = document.querySelector(`[data-node-id="${id}"] [aria-label="${name}"]`);
    while (made && made.querySelectorAll("button").length < 2) made = made.parentElement;
    if (made) {
        const plus = made.querySelector(".p-inputnumber-increment-button");  // of older front-ends
        const box = (plus ?? [...made.querySelectorAll("button")].at(-1)).getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }
    const widget = node.widgets.find((widget) => widget.name === name);
    const [x, y] = [node.pos[0] + node.size[0] - 25, node.pos[1] + widget.y + 10];
    const { offset, scale } = app.canvas.ds, canvas = app.canvas.canvas.getBoundingClientRect();
    return [canvas.x + (x + offset[0]) * scale, canvas.y + (y + offset[1]) * scale];
}"""


OLDEST = version_of(comfyui_folder()) == VERSION  # its front-end is of the first with Nodes 2.0


@pytest.fixture
def empty(page: Page) -> Page:
    page.open({"nodes": [], "links": [], "version": 0.4}, "empty")
    return page


def numbers_of(server) -> list[str]:
    known = server.ask("/object_info")
    ours = (name for name in known if name.startswith("Longtake"))
    return sorted(name for name in ours if '"FLOAT"' in json.dumps(known[name]))


def test_every_number_keeps_thousandths_of_times_and_rates_and_hundredths_of_others(empty, server):
    for name in numbers_of(server):
        for widget, typed, kept in empty.ask(NUMBERS, name):
            assert kept == pytest.approx(typed, abs=0.0051), (name, widget)
            if widget.removeprefix("image_") in TIMES:
                assert kept == typed, (name, widget)


@pytest.mark.parametrize(("widget", "typed"), [("seconds", "2.125"), ("fps", "23.976")])
def test_what_is_typed_into_the_canvas_is_what_is_queued(empty, request, widget, typed):
    if OLDEST and "Nodes 2.0" in request.node.name:
        pytest.skip("these take no decimal point, whosever node it is")
    node = empty.ask(PLACE, ["LongtakeCanvas", [400, 200]])
    empty.settle()
    empty.type_at(empty.ask(PLACE_OF, [node, widget]), typed)
    prompt = empty.ask("async () => (await app.graphToPrompt()).output")
    assert prompt[node]["inputs"][widget] == float(typed)


@pytest.mark.parametrize(("widget", "added"), [("seconds", 0.1), ("fps", 1), ("megapixels", 0.1)])
def test_an_arrow_adds_what_one_can_tell_apart(empty, widget, added):
    node = empty.ask(PLACE, ["LongtakeCanvas", [400, 200]])
    empty.settle()
    number = """([id, name]) =>
        app.graph.getNodeById(id).widgets.find((widget) => widget.name === name).value"""
    before = empty.ask(number, [node, widget])
    empty.mouse.click(*empty.ask(ARROW_OF, [node, widget]))
    empty.pause(300)
    assert empty.ask(number, [node, widget]) == pytest.approx(before + added)


@pytest.mark.parametrize("name", ["LongtakeShot", "LongtakeSample", "LongtakeLongTake"])
def test_a_seed_stays_when_the_graph_is_queued(empty, name):
    node = empty.ask(PLACE, [name, [400, 200]])
    assert empty.ask(QUEUED, node)["seed"] == (-1 if name == "LongtakeShot" else 0)


def test_what_a_node_says_comes_with_its_cached_output(empty):
    """As a run ends whose Schedule is in the cache: the host sends its output, and no progress."""
    node = empty.ask(PLACE, ["LongtakeSchedule", [400, 200]])
    assert empty.ask(ARRIVED, [node, "24 steps, shift 3"]) == ["24 steps, shift 3"]
    note = empty.ask(PLACE, ["Note", [400, 600]])
    assert "not ours" not in empty.ask(ARRIVED, [note, "not ours"])


def test_a_song_is_uploaded_by_the_button_of_load_audio(empty, tmp_path):
    song = sound_written(tmp_path / f"song_{secrets.token_hex(4)}.wav", "pcm_s16le")
    node = empty.ask(PLACE, ["LongtakeLoadAudio", [400, 200]])
    empty.settle()
    place = empty.ask(PLACE_OF, [node, "upload"])
    with empty.slowed(20):
        empty.upload(node, place, song)
    sent = empty.ask("async () => (await app.graphToPrompt()).output")[node]["inputs"]
    assert {**sent, "audioUI": ""} == {"audio": song.name, "start": 0, "seconds": 0, "audioUI": ""}
    assert not [error for error in empty.errors if "400" not in error]  # of a file without a name


SAID = """() => {
    const node = LiteGraph.createNode("LongtakeSample");
    app.graph.add(node);
    const label = ({ label, localized_name, name }) => label ?? localized_name ?? name;
    const { title, inputs, widgets } = node;
    return [title, label(inputs[0]), label(widgets.find(({ name }) => name === "seed")),
        node.constructor.nodeData.description];
}"""


@pytest.mark.skipif(OLDEST, reason="it loads a language over what packs have brought")
def test_the_pages_speak_chinese_where_they_are_asked_to(browser, server):
    server.ask("/settings/Comfy.Locale", "zh")
    page = Page(browser, server)
    try:
        page.open({"nodes": [], "links": [], "version": 0.4}, "empty")
        known = written("zh")["LongtakeSample"]
        names = [known["inputs"][name]["name"] for name in ("model", "seed")]
        told = page.ask(SAID)
        assert told == [known["display_name"], *names, known["description"]]
    finally:
        page.close()
        server.ask("/settings/Comfy.Locale", "en")
