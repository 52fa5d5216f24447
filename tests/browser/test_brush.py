"""The board on Motion Brush, by mouse and keyboard; and that its text stays the one truth."""

import json

import pytest

from longtake.engine.motion.brush_text import parse_brush
from tests.browser.conftest import Page

TEXT = "# mine\n[0s to 3s] 0.25,0.5 -> 0.5,0.25 ease\n[0s] mask 1 right 0.3w\n[0s] 0.75,0.75 still"
WIDTH, HEIGHT = 640, 320
STATE = """() => {
    const node = app.graph.getNodeById(5);
    return {
        nodes: app.graph.nodes.length,
        text: node.widgets.find((widget) => widget.name === 'brush').value,
        saved: app.graph.serialize().nodes.find(({ id }) => id === 5).widgets_values,
        places: [...document.querySelectorAll('.lt-place')].map((one) => one.dataset.stroke),
        picture: document.querySelector('.lt-photo').getAttribute('src'),
        told: document.querySelector('.longtake-brush .lt-status').textContent,
    };
}"""
BOX = """() => {
    const { x, y, width, height } = document.querySelector('.lt-stage').getBoundingClientRect();
    return [x, y, width, height];
}"""


def node(number: int, kind: str, place: list[int], values: list, **more) -> dict:
    plain = {"flags": {}, "order": number, "mode": 0, "inputs": [], "outputs": [], "properties": {}}
    return {"id": number, "type": kind, "pos": place, "size": [330, 420], **plain,
            "widgets_values": values, **more}  # fmt: skip


class Brush:
    """A Motion Brush node in a page, and a hand on its board."""

    def __init__(self, page: Page):
        self.page = page

    def open(self, text: str = TEXT) -> None:
        sockets = ["positive", "negative", "vae", "image", "latent"]
        kinds = ["CONDITIONING", "CONDITIONING", "VAE", "IMAGE", "LATENT"]
        links = {"image": 1, "latent": 2}
        inputs = [
            {"name": name, "type": kind, "link": links.get(name)}
            for name, kind in zip(sockets, kinds, strict=True)
        ]
        values = [text, "Wan-Move", 24, 1.0, 0, "fixed"]
        canvas = [1.0, 8.0, WIDTH, HEIGHT, 1, "free", 0.0]
        nodes = [
            node(3, "LoadImage", [-400, 60], ["longtake_ball.png", "image"],
                 outputs=[{"name": "IMAGE", "type": "IMAGE", "links": [1]},
                          {"name": "MASK", "type": "MASK", "links": []}]),
            node(4, "LongtakeCanvas", [-400, 600], canvas,
                 outputs=[{"name": "latent", "type": "LATENT", "links": [2]}]),
            node(5, "LongtakeMotionBrush", [60, 60], values, inputs=inputs, size=[520, 760]),
        ]  # fmt: skip
        links = [[1, 3, 0, 5, 3, "IMAGE"], [2, 4, 0, 5, 4, "LATENT"]]
        graph = {"last_node_id": 5, "last_link_id": 2, "nodes": nodes, "links": links}
        self.page.open({**graph, "groups": [], "version": 0.4}, "brush")
        self.page.ask("""() => {
            const [x, y] = app.graph.getNodeById(5).pos;  // Nodes 2.0 may have moved it
            Object.assign(app.canvas.ds, { scale: 0.8, offset: [100 - x, 80 - y] });
            app.canvas.setDirty(true, true);
        }""")
        self.page.settle()
        self.page.wait("() => document.querySelector('.lt-photo')?.getAttribute('src')")
        self.page.settle()

    @property
    def state(self) -> dict:
        return self.page.ask(STATE)

    @property
    def lines(self) -> list[str]:
        return self.state["text"].split("\n")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place of the picture, in the window."""
        left, top, width, height = self.page.ask(BOX)
        return left + x * width, top + y * height

    def drag(self, *places: tuple[float, float], escape: bool = False) -> None:
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place), steps=5)
        if escape:
            self.page.keyboard.press("Escape")
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture(scope="module")
def brush(page) -> Brush:
    return Brush(page)


def path_of(line: str) -> list[tuple[float, float]]:
    (stroke,) = parse_brush(line)
    return [*(stroke.path or [stroke.start])]


def close(places, *expected) -> bool:
    return len(places) == len(expected) and all(
        abs(a - b) < 0.012
        for one, other in zip(places, expected, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_strokes_are_shown_on_the_picture_and_nothing_of_that_is_saved(brush):
    brush.open()
    state = brush.state
    assert "longtake_ball.png" in state["picture"]
    assert sorted(state["places"]) == ["0", "0", "2"]  # the region's is in the text alone
    assert state["told"] == "2 strokes, 1 of regions"
    assert state["saved"][0] == TEXT
    assert not any("board" in json.dumps(value) for value in state["saved"])
    _, _, width, height = brush.page.ask(BOX)
    assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.02)
    assert not brush.page.errors


def test_a_stroke_is_drawn_and_undone_and_done_again(brush):
    brush.open()
    brush.drag((0.2, 0.2), (0.4, 0.2), (0.4, 0.6))
    *rest, last = brush.lines
    assert rest == TEXT.split("\n")
    assert last.endswith(" ease")
    assert close(path_of(last), (0.2, 0.2), (0.4, 0.2), (0.4, 0.6))
    brush.press("Control+z")
    assert brush.state["text"] == TEXT
    brush.press("Control+Shift+z")
    assert brush.lines[-1] == last
    brush.press("Control+z")
    brush.drag((0.6, 0.3), (0.8, 0.5), escape=True)
    assert brush.state["text"] == TEXT
    assert brush.state["nodes"] == 3


def test_places_are_pulled_and_strokes_carried(brush):
    brush.open()
    brush.drag((0.5, 0.25), (0.7, 0.4))
    assert close(path_of(brush.lines[1]), (0.25, 0.5), (0.7, 0.4))
    assert brush.lines[1].startswith("[0s to 3s] ")
    assert brush.lines[1].endswith(" ease")
    brush.press("Control+z")
    brush.drag((0.375, 0.375), (0.475, 0.475))  # the middle of its line
    assert close(path_of(brush.lines[1]), (0.35, 0.6), (0.6, 0.35))
    assert brush.lines[0] == "# mine"
    assert brush.lines[2:] == TEXT.split("\n")[2:]


def test_a_double_click_holds_a_point_and_bends_a_line(brush):
    brush.open()
    brush.page.mouse.dblclick(*brush.at(0.1, 0.9))
    assert brush.lines[-1].endswith(" still")
    assert close(path_of(brush.lines[-1]), (0.1, 0.9))
    brush.page.mouse.dblclick(*brush.at(0.375, 0.375))
    assert close(path_of(brush.lines[1]), (0.25, 0.5), (0.375, 0.375), (0.5, 0.25))


def test_all_of_it_is_done_by_keys_too(brush):
    brush.open("")
    brush.page.mouse.click(*brush.at(0.9, 0.9))
    brush.press("n", "ArrowRight", "ArrowRight", "Shift+ArrowDown")
    assert brush.state["text"] == "[0s] 0.4,0.5 -> 0.62,0.6 ease"
    brush.press(",", "ArrowLeft", "n", "s", "PageUp", ".")
    assert brush.state["text"] == "[0s] 0.39,0.5 -> 0.62,0.6 ease\n[0s] 0.4,0.5 still"
    brush.press("Delete", "Control+z", "Shift+Delete")
    assert brush.state["text"] == "[0s] 0.4,0.5 still"
    assert brush.state["nodes"] == 3
    assert not brush.page.errors


def test_what_is_typed_is_drawn(brush):
    brush.open()
    brush.page.ask("""() => {
        const widget = app.graph.getNodeById(5).widgets.find(({ name }) => name === 'brush');
        widget.value = '[0s] 0.1,0.1 -> 0.2,0.2 -> 0.3,0.1\\n[0s] nonsense';
        widget.callback?.(widget.value);
    }""")
    brush.page.wait("() => document.querySelectorAll('.lt-place').length === 3")
    assert brush.state["told"] == "1 stroke"
