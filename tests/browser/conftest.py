"""ComfyUI's pages in the Chromium of this machine; without one these tests are skipped, loudly."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import ComfyUI

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ELSEWHERE = (  # where Chrome lies on systems that put no programs on the PATH
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path(os.environ.get("PROGRAMFILES", "/")) / "Google/Chrome/Application/chrome.exe",
)
NODES_2 = "Comfy.VueNodes.Enabled"
# A first visit is greeted with a tour, and a later one with the last visit's graph.
# It also warns of files and nodes that are not there, as those of other people's models are not.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.Persist": False,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Workflow.ShowMissingNodesWarning": False,
}
PATIENCE = 40_000  # milliseconds; only a test that fails waits so long, or one on a busy machine
READY = "window.app?.vueAppReady && window.app.graph && window.LiteGraph"
# Files that nobody has made yet are asked for, the network is closed (--disable-api-nodes), and its
# own first steps are logged.
USUAL = ("404 (Not Found)", "Content Security Policy", "accessed before initialization")
skipped: list[str] = []


def find_chromium() -> str | None:
    found = (shutil.which(name) for name in NAMES)
    return next(filter(None, (*found, *(str(path) for path in ELSEWHERE if path.is_file()))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium without a window, driven by Playwright.

    It ends with its module: pages that are open draw on, and would slow down all tests after them.
    """
    path = find_chromium()
    if path is None:
        skipped.append(
            "no Chromium or Chrome was found; on Debian and Ubuntu: apt install chromium"
        )
        pytest.skip(skipped[-1])
    from playwright.sync_api import sync_playwright

    sandbox = [] if os.name != "posix" or os.geteuid() else ["--no-sandbox"]  # root has none
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield running
        running.close()


class Page:
    """ComfyUI in the browser.

    Attributes:
        errors: what it has logged as errors since the graph was opened.
        mouse, keyboard: Playwright's, which act as a hand does.
    """

    def __init__(self, browser: Any, server: ComfyUI):
        self.errors: list[str] = []
        self._page = browser.new_page(viewport={"width": 1600, "height": 1000})
        self.mouse, self.keyboard = self._page.mouse, self._page.keyboard
        self._page.on("console", self._heard)
        self._page.on("pageerror", lambda error: self.errors.append(str(error)))
        # Playwright catches choosers of files while somebody listens. Where that begins with a
        # click, a busy page handles the click first, and nobody hears of its chooser.
        self._page.on("filechooser", lambda chooser: None)
        self._page.goto(f"http://{server.address}/", wait_until="commit")
        self._page.wait_for_function(READY, timeout=120_000)

    def _heard(self, message: Any) -> None:
        if message.type == "error" and not any(words in message.text for words in USUAL):
            self.errors.append(message.text)

    def ask(self, script: str, value: Any = None) -> Any:
        """What a JavaScript function of one value returns."""
        return self._page.evaluate(script, value)

    def wait(self, script: str, value: Any = None) -> None:
        """Wait until a JavaScript function of one value returns something true."""
        self._page.wait_for_function(script, arg=value, timeout=PATIENCE)

    def open(self, graph: dict, name: str) -> None:
        """Open a graph as a file that was dropped, and wait until its nodes keep their places."""
        self.errors.clear()
        self.ask("([graph, name]) => app.loadGraphData(graph, true, true, name)", [graph, name])
        self.settle()

    def settle(self) -> None:
        """Wait until two frames a while apart show nodes of the same sizes."""
        look = "() => JSON.stringify(app.graph.nodes.map((node) => [...node.pos, ...node.size]))"
        before, now = None, self.drawn(look)
        while before != now:
            self._page.wait_for_timeout(250)
            before, now = now, self.drawn(look)

    def drawn(self, script: str) -> Any:
        """What a JavaScript function returns once the graph is drawn as it is now.

        Only then has the page places of widgets, and nodes that a click can hit.
        """
        begun = self.ask("() => { app.canvas.setDirty(true, true); return app.canvas.frame; }")
        self.wait("(begun) => app.canvas.frame > begun", begun)
        return self.ask(script)

    def pause(self, milliseconds: int) -> None:
        self._page.wait_for_timeout(milliseconds)

    def click(self, selector: str) -> None:
        """Click what a selector of CSS finds first."""
        self._page.locator(selector).first.click()

    def type_at(self, place: list[float], words: str) -> None:
        """Type a number over the one that is drawn at a place of the window."""
        self._page.mouse.click(*place)
        self._page.wait_for_timeout(300)
        self._page.keyboard.press("Control+A")
        self._page.keyboard.type(words)
        self._page.keyboard.press("Enter")
        self._page.wait_for_timeout(300)

    def upload(self, node: str, place: list[float], file: Path) -> None:
        """Choose a file by a node's button, which is drawn at a place of the window."""
        chooser = self._page.locator(f'[data-node-id="{node}"] input[type=file]')
        with self._page.expect_response("**/upload/**"):
            if chooser.count():
                chooser.set_input_files(file)
            else:
                with self._page.expect_file_chooser() as choosing:
                    self._page.mouse.click(*place)
                choosing.value.set_files(file)
        self._page.wait_for_timeout(300)

    @contextlib.contextmanager
    def slowed(self, times: int) -> Iterator[None]:
        """The page at a fraction of its speed, as on a machine that does much else."""
        session = self._page.context.new_cdp_session(self._page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": times})
        try:
            yield
        finally:
            session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
            session.detach()

    def close(self) -> None:
        self._page.close()


@pytest.fixture(scope="module", params=["canvas", "Nodes 2.0"])
def page(request, browser, server) -> Iterator[Page]:
    """A page that draws nodes on the canvas, and one that makes them of HTML."""
    for name, value in {**SETTINGS, NODES_2: request.param == "Nodes 2.0"}.items():
        server.ask(f"/settings/{name}", value)
    opened = Page(browser, server)
    yield opened
    opened.close()


def pytest_terminal_summary(terminalreporter):
    if skipped:
        terminalreporter.section("NOTHING WAS LOOKED AT IN A BROWSER", sep="!")
        terminalreporter.write_line(skipped[0])
