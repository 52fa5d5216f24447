"""The workflows in ComfyUI's template browser: found, in order, described, opened."""

import json

import pytest

from tests.browser.conftest import Page
from tests.workflows.conftest import load_graph
from tests.workflows.templates import GROUPS, TEMPLATES
from tests.workflows.thumbnails import MOVING_SIDE

# It is the same browser, however nodes are drawn.
pytestmark = pytest.mark.parametrize("page", ["canvas"], indirect=True)

CARD = "[data-testid^='template-workflow-']"
BROWSE = "() => app.extensionManager.command.execute('Comfy.BrowseTemplates')"
BEGUN = """() => [...document.querySelectorAll('[role=dialog] *')].some(
    (one) => !one.children.length && one.textContent.trim() === 'longtake')"""
CHOOSE_GROUP = """(name) => [...document.querySelectorAll('[role=dialog] *')].find(
    (one) => !one.children.length && one.textContent.trim() === name).click()"""
COUNTED = f"""(count) => document.querySelectorAll("{CARD}").length === count"""
LISTED = f"""() => [...document.querySelectorAll("{CARD}")].map(
    (card) => [card.dataset.testid.replace('template-workflow-', ''), card.innerText])"""
PICTURE = f"""() => document.querySelector("{CARD} img")?.naturalWidth"""
INTO_SEARCH = "() => document.querySelector('[role=dialog] input').focus()"
FOUND = f"""(title) => [...document.querySelectorAll("{CARD}")].map(
    (card) => card.dataset.testid).join() === `template-workflow-${{title}}`"""
CHOOSE = f"""() => document.querySelector("{CARD}").click()"""
SHOWN = """([title, ids]) => ids.every((id) => app.graph.getNodeById(id))
    && app.extensionManager.workflow.activeWorkflow.filename.includes(title)"""
OFFERED = """async ([names, index]) => {  // what a page is told by a table
    const { offerTemplates } = await import('/extensions/longtake/templates/offer.js');
    const api = {
        getWorkflowTemplates: async () => names,
        getCoreWorkflowTemplates: async (locale) => [{ title: `core ${locale}` }],
    };
    const { fetch } = window;
    offerTemplates(api);
    window.fetch = async () => new Response(index);
    try {
        return [await api.getWorkflowTemplates(), await api.getCoreWorkflowTemplates('en')];
    } finally {
        window.fetch = fetch;
    }
}"""


@pytest.fixture(scope="module")
def browsing(page: Page) -> Page:
    """The template browser, with everybody's templates in it."""
    page.ask(BROWSE)
    page.wait(BEGUN)
    return page


def test_each_is_listed_once_in_order_with_its_words_and_a_picture_that_moves(browsing):
    browsing.ask(CHOOSE_GROUP, "longtake")
    browsing.wait(COUNTED, len(TEMPLATES))
    cards = browsing.ask(LISTED)
    assert [name for name, _ in cards] == [one["title"] for one in TEMPLATES.values()]
    assert all(name in text for name, text in cards)
    assert GROUPS[0]["group"] in cards[0][1]
    browsing.wait(PICTURE)
    assert browsing.ask(PICTURE) == MOVING_SIDE


def test_one_is_found_among_all_by_its_words_and_opened_under_its_title(browsing):
    title = TEMPLATES["recut"]["title"]
    browsing.ask(CHOOSE_GROUP, "All Templates")
    browsing.ask(INTO_SEARCH)
    browsing.keyboard.type("re-cut")
    browsing.wait(FOUND, title)
    browsing.ask(CHOOSE)
    browsing.wait(SHOWN, [title, [node["id"] for node in load_graph("recut")["nodes"]]])


def test_without_its_table_a_page_has_the_names_of_files(page):
    names = {"other": ["a"], "longtake": ["Longtake 01 Text to video"]}
    told = page.ask(OFFERED, [names, "<html>"])
    assert told == [names, [{"title": "core en"}]]


def test_what_the_table_does_not_know_is_listed_by_its_name(page):
    names = {"other": ["a"], "longtake": ["mine", "Longtake 01 Text to video"]}
    others, (_, category) = page.ask(OFFERED, [names, json.dumps(GROUPS)])
    assert others == {"other": ["a"], "longtake": ["mine"]}
    (template,) = category["templates"]
    assert template["title"] == "Longtake 01 Text to video"
    assert template["date"] > "2026"  # older pages put what has none behind all that has one
