"""What is offered on a video that is there: the nodes are put in place, wired, and they run."""

from fractions import Fraction

import pytest

from headless import failure, saved_files
from tests.browser.conftest import Page
from tests.engine.clips import clip
from tests.workflows.conftest import load_graph

MADE = {  # by what the menu says: the node that takes the video
    "Extend": "LongtakeExtendVideo",
    "Extend backwards": "LongtakeExtendVideo",
    "Loop": "LongtakeLoop",
    "Remix": "LongtakeRemix",
    "Re-cut": "GetVideoComponents",
    "Interpolate": "LongtakeInterpolate",
}
LOADED = {"id": 3, "type": "LoadVideo", "pos": [0, 0], "size": [300, 100], "flags": {}, "order": 0,
          "mode": 0, "inputs": [], "properties": {}, "widgets_values": ["clip.mp4", "image"],
          "outputs": [{"name": "VIDEO", "type": "VIDEO", "links": None}]}  # fmt: skip
GRAPH = {"last_node_id": 3, "last_link_id": 0, "nodes": [LOADED], "links": [], "groups": [],
         "version": 0.4}  # fmt: skip
NEAR = """(type) => {
    const node = app.graph.nodes.find((one) => one.type === type);
    const [x, y] = node.pos;
    Object.assign(app.canvas.ds, { scale: 1, offset: [400 - x, 300 - y] });
    app.canvas.setDirty(true, true);
}"""
BUTTON = """([selector, words]) => {
    const found = [...document.querySelectorAll(selector)].find((one) => one.textContent === words);
    const box = found?.getBoundingClientRect();
    return box && [box.x + box.width / 2, box.y + box.height / 2];
}"""


def choose(page: Page, node: str, words: str) -> None:
    """Click a node's title, the button above it, and an entry of the menu."""
    page.ask(NEAR, node)
    page.settle()
    page.mouse.click(440, 285)
    page.wait("() => document.querySelector('.pi-forward')")
    count = page.ask("() => app.graph.nodes.length")
    page.mouse.click(*page.ask(BUTTON, [".pi-forward", ""]))
    page.mouse.click(*page.ask(BUTTON, [".longtake-menu button", words]))
    page.wait("(count) => app.graph.nodes.length > count", count)
    page.settle()


def prompt_of(page: Page) -> dict:
    return page.ask("async () => (await app.graphToPrompt()).output")


@pytest.mark.parametrize("words", MADE)
def test_nodes_for_a_loaded_video_are_wired_and_run(page, server, words):
    clip(server.input / "clip.mp4", range(17), Fraction(8), size=(64, 64))
    page.open(GRAPH, "video")
    choose(page, "LoadVideo", words)
    prompt = prompt_of(page)
    (taker,) = [one for one in prompt.values() if one["class_type"] == MADE[words]]
    assert ["3", 0] in taker["inputs"].values()
    assert taker["inputs"].get("direction") in (
        None,
        "backwards" if "back" in words else "forwards",
    )
    assert not page.errors
    if page.ask("() => LiteGraph.vueNodesMode"):
        return  # the same prompt as on the canvas, which is run there
    for one in prompt.values():
        if one["class_type"] == "LongtakeSchedule":
            one["inputs"]["steps"] = 1
    history = server.wait(server.queue(prompt))
    assert failure(history, prompt) is None
    assert [file.suffix for file in saved_files(history, server.output)] == [".mp4"]


def test_a_saved_video_is_loaded_again_and_its_models_are_used(page):
    page.open(load_graph("text_to_video"), "video")
    before = prompt_of(page)
    page.ask("""() => {
        const node = app.graph.nodes.find((one) => one.type === 'LongtakeSaveVideo');
        const file = { filename: 'video_00001.mp4', subfolder: 'longtake', type: 'output' };
        app.nodeOutputs[node.id] = { images: [file], animated: [true], files: [file] };
    }""")
    choose(page, "LongtakeSaveVideo", "Extend backwards")
    new = {key: one for key, one in prompt_of(page).items() if key not in before}
    (load_video,) = [one for one in new.values() if one["class_type"] == "LoadVideo"]
    assert load_video["inputs"]["file"] == "longtake/video_00001.mp4 [output]"
    (extend,) = [one for one in new.values() if one["class_type"] == "LongtakeExtendVideo"]
    assert extend["inputs"]["direction"] == "backwards"
    assert not [one for one in new.values() if one["class_type"].startswith("LongtakeLoad")]
    words = [one["inputs"]["text"] for one in before.values() if one["inputs"].get("text")]
    assert words[0] in [one["inputs"].get("text") for one in new.values()]
