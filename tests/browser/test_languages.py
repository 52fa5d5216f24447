"""Where ComfyUI's pages are set to Chinese, what the pack adds to them is Chinese, too."""

import pytest

from tests.browser.conftest import NODES_2, SETTINGS, Page
from tests.browser.test_strip import Board

LANGUAGE = "Comfy.Locale"
SAID = """() => {
    const { app } = window;
    const ours = app.extensions.find((one) => one.name === 'longtake');
    const [menu] = ours.getNodeMenuItems({ comfyClass: 'LoadVideo', widgets: [] });
    const { commands } = app.extensionManager.command;
    return {
        menu: menu.content, entries: menu.submenu.options.map((one) => one.content),
        command: commands.find((one) => one.id === 'Longtake.GoOnFromVideo').label,
    };
}"""


@pytest.fixture(scope="module")
def chinese(browser, server):
    for name, value in {**SETTINGS, NODES_2: False, LANGUAGE: "zh"}.items():
        server.ask(f"/settings/{name}", value)
    opened = Page(browser, server)
    yield opened
    opened.close()
    server.ask(f"/settings/{LANGUAGE}", "en")


def test_the_strip_is(chinese):
    board = Board(chinese)
    board.open()
    assert board.state["cards"][0].startswith("镜头 1，0 至 2 秒，a red ball")
    assert board.state["cards"][2].startswith("镜头 3，4 至 6 秒，叠化 0.5 秒，a yellow cone")
    assert board.state["told"] == "3 个镜头，6 秒"
    board.click('[data-shot="0"]')
    board.press("Shift+ArrowRight")
    assert board.state["told"] == "第一个镜头从 0 秒开始。"
    board.click('[data-shot="1"]')
    board.press("d")
    assert board.state["told"] == "叠化 0.5 秒"
    title = "() => document.querySelector('[data-does=split]').title"
    assert chinese.ask(title) == "把这个镜头切成两个 (S)"


def test_so_is_the_menu_on_videos(chinese):
    said = chinese.ask(SAID)
    assert said["menu"] == said["command"] == "用这个视频继续"
    assert said["entries"] == ["向后延长", "向前延长", "循环", "重混", "重剪", "插帧"]
