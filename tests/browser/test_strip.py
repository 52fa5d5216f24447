"""The strip on Storyboard, by mouse and keyboard; and that its text stays the one truth."""

import json
import random
import wave
from fractions import Fraction

import numpy as np
import pytest

from longtake.engine.take.beats import RATE, mono, rhythm, snapped
from longtake.engine.take.drums import RATE as SOUND_RATE
from longtake.engine.take.drums import drum_beat
from tests.browser.conftest import Page
from tests.engine.take.test_storyboard import CASES, read

STORY = """# my film
[0s] a red ball
  on the grass

# then
[2s cut] a blue cube

[4s dissolve 0.5s seed 7] a yellow cone
"""
MODULES = "/extensions/longtake/storyboard"
PIECES = [
    *("[", "]", "0", "1", "4", "9", "s", ":", ".", " ", "\n", "\r\n", "#", "x", "-", "=", ","),
    *("cut", "dissolve", "seed", "fade", "DISSOLVE", "a ball", "1:05", "é", "\x1c", "\U0001f600"),
    *("[all]", "all", "[all] film\n", "[0s] ", "[4s cut] ", "[9s dissolve 0.5s seed 7] "),
]
READ = """async ([module, cases]) => {
    const { readStoryboard, checkStoryboard, StoryboardError } = await import(module);
    return cases.map(([text, end]) => {
        try {
            const { shots, standing } = readStoryboard(text);
            checkStoryboard(shots, end);
            const told = shots.map((shot) =>
                [shot.start, shot.words, shot.transition, shot.dissolve, shot.seed]);
            return standing ? { shots: told, standing } : { shots: told };
        } catch (error) {
            if (!(error instanceof StoryboardError)) throw error;
            return { error: error.message };
        }
    });
}"""
STATE = """() => {
    const node = app.graph.nodes[0];
    const value = (name) => node?.widgets.find((widget) => widget.name === name).value;
    return {
        nodes: app.graph.nodes.length, text: value('text'), seconds: value('seconds'),
        cards: [...document.querySelectorAll('.lt-card')].map((card) => card.ariaLabel),
        chosen: document.querySelector('.lt-card[aria-selected=true]')?.dataset.shot,
        told: document.querySelector('.lt-status')?.textContent,
    };
}"""
BOX = """(selector) => {
    const { x, y, width, height } = document.querySelector(selector).getBoundingClientRect();
    return [x, y, width, height];
}"""


HEAR = """async ([module, wave]) => {
    const { rhythm } = await import(module);
    return await rhythm(Float32Array.from(wave));
}"""


class Board:
    """A Storyboard node in a page, and a hand on its strip."""

    def __init__(self, page: Page):
        self.page = page

    def open(self, text: str = STORY, seconds: float = 6.0, sound: dict | None = None) -> None:
        node = {"id": 5, "type": "LongtakeStoryboard", "pos": [60, 60], "size": [520, 460]}
        node |= {"flags": {}, "order": 0, "mode": 0, "inputs": [], "outputs": [], "properties": {}}
        node["widgets_values"] = [text, seconds, 8.0, 0.5, 0.35]
        graph = {"last_node_id": 6, "last_link_id": 1, "nodes": [node], "links": [], "groups": []}
        if sound:
            audio = {"name": "audio", "type": "AUDIO"}
            node["inputs"] = [{**audio, "link": 1}]
            graph["nodes"].append({**node, **sound, "id": 6, "pos": [760, 60], "inputs": [],
                                   "outputs": [{**audio, "links": [1]}]})  # fmt: skip
            graph["links"] = [[1, 6, 0, 5, 0, "AUDIO"]]
        self.page.open({**graph, "version": 0.4}, "strip")
        self.page.ask("""() => {
            const [x, y] = app.graph.nodes[0].pos;  // Nodes 2.0 may have moved it
            Object.assign(app.canvas.ds, { scale: 1.25, offset: [80 - x, 60 - y] });
            app.canvas.setDirty(true, true);
        }""")
        self.page.settle()

    @property
    def state(self) -> dict:
        return self.page.ask(STATE)

    @property
    def text(self) -> str:
        return self.state["text"]

    def at(self, selector: str, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
        """A place within an element, as parts of its size."""
        left, top, width, height = self.page.ask(BOX, selector)
        return left + x * width, top + y * height

    def drag(self, start: tuple, end: tuple, *, escape: bool = False) -> None:
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=4)
        if escape:
            self.page.keyboard.press("Escape")
        self.page.mouse.up()

    def pull(self, edge: int, seconds: float, **options) -> None:
        """Pull a cut by so many seconds."""
        x, y = self.at(f'.lt-edge[data-edge="{edge}"]')
        width = self.page.ask(BOX, ".lt-inside")[2]
        self.drag((x, y), (x + seconds * width / self.state["seconds"], y), **options)

    def click(self, selector: str, **options) -> None:
        self.page.mouse.click(*self.at(selector), **options)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def choose(self, words: str) -> None:
        """An entry of the menu that is open."""
        self.page.ask(
            "(words) => [...document.querySelectorAll('.longtake-menu button')]"
            ".find((entry) => entry.textContent.startsWith(words))"
            ".setAttribute('data-test', 'this')", words,
        )  # fmt: skip
        self.click('[data-test="this"]')


@pytest.fixture(scope="module")
def strip(page) -> Board:
    return Board(page)


@pytest.fixture
def board(strip) -> Board:
    strip.open()
    return strip


def generated() -> list[str]:
    """Texts of which about two in three are storyboards."""
    draw = random.Random(7)
    return [
        ("[0s] a\n" if draw.random() < 0.7 else "")
        + "".join(draw.choices(PIECES, k=draw.randrange(1, 14)))
        for _ in range(2000)
    ]


def test_the_browser_reads_a_text_as_python_does(page):
    cases = [(case["text"], case["end"]) for case in CASES] + [(text, 12) for text in generated()]
    found = page.ask(READ, [f"{MODULES}/text.js", cases])
    for (text, end), here in zip(cases, found, strict=True):
        assert here == read(text, Fraction(end)), repr(text)


EDIT = """async ([folder, texts]) => {
    const { parseStoryboard } = await import(`${folder}/text.js`);
    const edits = await import(`${folder}/edits.js`);
    return texts.map((text) => {
        const shots = parseStoryboard(text);
        const last = shots.length - 1;
        return [
            edits.withSeed(text, shots, last, 5),
            edits.withWords(text, shots, last, "two\\nlines"),
            edits.withoutShot(text, shots, last),
            edits.withoutShot(text, shots, 0),
            edits.withOrder(text, shots, last, 0, 12),
        ];
    });
}"""


def boards() -> list[str]:
    """Storyboards of two shots or more, with notes and blank lines in all places."""
    draw = random.Random(11)
    forms = ("[{0}s cut] cube {0}", "[{0}s dissolve 0.5s seed 3] ball {0}", "  more {0}")
    forms += ("# note {0}", "  # aside {0}", " ", "")
    texts = []
    for _ in range(300):
        lines = [draw.choice(forms).format(second) for second in range(1, 9)]
        lines = [draw.choice(("# top", "")), "[0s] a", *lines, "[9.5s] b"]
        if draw.random() < 0.5:
            lines.insert(draw.randrange(1, len(lines) + 1), "[all] an old film")
        texts.append(
            draw.choice(("\n", "\r\n")).join([*lines, *draw.choices(("# end", "c", ""), k=2)])
        )
    return texts


def test_what_is_changed_in_a_text_is_that_alone(page):
    """Of any storyboard of several shots; the notes in it are all there afterwards."""
    end = Fraction(12)
    told = {text: read(text, end) for text in boards()}
    found = page.ask(EDIT, [MODULES, list(told)])
    for (text, before), edits in zip(told.items(), found, strict=True):
        shots, (seeded, worded, shorter, late, moved) = before["shots"], edits
        assert {read(edit, end).get("standing") for edit in edits} == {before.get("standing")}, text
        *others, last = shots
        assert read(seeded, end)["shots"] == [*others, [*last[:4], "5"]], text
        assert read(worded, end)["shots"] == [*others, [last[0], "two lines", *last[2:]]], text
        assert read(shorter, end)["shots"] == others, text
        first = [0.0, shots[1][1], "cut", 0.0, shots[1][4]]
        assert read(late, end)["shots"] == [first, *shots[2:]], text
        order = [shot[1] for shot in read(moved, end)["shots"]]
        assert order == [last[1], *(shot[1] for shot in others)], text
        assert all(notes(edit) == notes(text) for edit in (seeded, worded, moved)), text


def notes(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return sorted(line for line in lines if line.startswith("#"))


def test_every_shot_has_its_card(board):
    assert board.state["cards"] == [
        "Shot 1, 0 to 2 s, a red ball on the grass",
        "Shot 2, 2 to 4 s, cut, a blue cube",
        "Shot 3, 4 to 6 s, dissolves for 0.5 s, a yellow cone",
    ]


def test_a_cut_that_is_pulled_changes_its_time_alone(board):
    board.pull(1, 1.0)
    assert board.text == STORY.replace("[2s cut]", "[3s cut]")
    board.pull(2, 9.0)  # no further than its dissolve takes
    assert board.text == STORY.replace("[2s cut]", "[3s cut]").replace("[4s", "[5.5s")
    board.press("Control+z", "Control+z")
    assert board.text == STORY
    board.pull(1, 1.0, escape=True)
    assert board.text == STORY


def test_the_end_that_is_pulled_changes_the_seconds_alone(board):
    board.pull(3, -1.0)
    assert (board.state["seconds"], board.text) == (5.0, STORY)
    board.press("Control+z")
    assert (board.state["seconds"], board.text) == (6.0, STORY)


def test_a_card_that_is_carried_takes_its_notes_and_its_length_along(board):
    board.pull(1, 1.0)
    board.drag(board.at('[data-shot="0"]'), board.at('[data-shot="2"]', 0.2))
    assert board.text == (
        "# then\n[0s cut] a blue cube\n\n# my film\n[1s] a red ball\n  on the grass\n\n"
        "[4s dissolve 0.5s seed 7] a yellow cone\n"
    )
    board.drag(board.at('[data-shot="2"]'), board.at('[data-shot="0"]', 0.1))
    assert board.text.startswith("[0s seed 7] a yellow cone\n\n# then\n[2s cut] a blue cube\n\n#")
    board.press("Control+z", "Control+z", "Control+z")
    assert board.text == STORY


def test_words_are_written_over_their_card(board):
    board.page.mouse.dblclick(*board.at('[data-shot="2"]'))
    (left, right), (begin, end) = (
        (board.at(box, 0)[0], board.at(box, 1)[0]) for box in (".lt-words-box", '[data-shot="2"]')
    )
    assert left <= begin + 3
    assert end - 3 <= right
    board.press("Escape")
    board.page.mouse.dblclick(*board.at('[data-shot="1"]'))
    board.page.keyboard.type("a green cone")
    board.press("Enter")
    assert board.text == STORY.replace("a blue cube", "a green cone")
    board.press("Control+z", "ArrowLeft", "Enter", "End")  # the words keep their lines
    board.page.keyboard.type(", at night")
    board.press("Enter")
    assert board.text == STORY.replace("grass", "grass, at night")
    board.press("Enter")
    board.page.keyboard.type("[4s] what is no prompt")
    board.press("Enter")
    assert "No line of the words may begin with" in board.state["told"]
    board.press("Escape")
    assert board.text == STORY.replace("grass", "grass, at night")


def test_shots_are_added_split_deleted_and_all_of_it_undone(board):
    board.click('[data-shot="1"]')
    board.click('[data-does="add"]')
    board.page.keyboard.type("a dog")
    board.press("Enter")
    added = board.state
    assert added["text"] == STORY.replace("a blue cube", "a blue cube\n[4s cut] a dog").replace(
        "[4s dissolve", "[6s dissolve"
    )
    assert added["seconds"] == 8.0
    board.click('[data-does="split"]')
    assert "[4s cut] a dog\n[5s cut] a dog\n" in board.text
    board.click('[data-shot="0"]')
    board.click('[data-does="remove"]')
    assert board.text.startswith("\n# then\n[0s cut] a blue cube\n")
    for _ in range(4):
        board.click('[data-does="undo"]')
    assert (board.text, board.state["seconds"]) == (STORY, 6.0)
    board.press("n", "Escape")  # nobody wrote what it shows
    assert board.text == STORY


def test_the_keyboard_does_all_of_it_and_leaves_the_node_alone(board):
    board.click('[data-shot="0"]')
    board.press("ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")
    assert "[2.2s cut]" in board.text
    board.press("Control+z")  # both, for it was one movement
    assert board.text == STORY
    board.press("Control+ArrowRight")
    assert board.state["chosen"] == "2"
    assert board.text.endswith(
        "[2s dissolve 0.5s seed 7] a yellow cone\n\n# then\n[4s cut] a blue cube\n"
    )
    board.press("Control+z", "d")
    assert "[4s cut seed 7] a yellow cone" in board.text
    board.press("Control+z", "Delete", "Home", "Delete")
    assert board.text.strip() == "# then\n[0s cut] a blue cube"
    board.press("Delete")
    assert "one shot at least" in board.state["told"]
    board.press("Control+z", "Control+z")
    assert (board.state["nodes"], board.text) == (1, STORY)


@pytest.mark.parametrize(("tempo", "loud"), [(96.0, 0.0), (131.0, 0.05)])
def test_the_browser_hears_the_beats_that_python_hears(page, tempo, loud):
    samples = mono(drum_beat(tempo, 9.0, 0.25), SOUND_RATE)
    noise = loud * np.random.default_rng(3).standard_normal(len(samples))
    samples = (samples + noise).astype(np.float32)
    here = page.ask(HEAR, ["/extensions/longtake/sound/beats.js", samples.tolist()])
    there = rhythm(samples, RATE)
    assert here["tempo"] == pytest.approx(there.tempo, rel=1e-4)
    assert here["beats"] == pytest.approx(there.beats, abs=2e-3)


def test_the_browser_knows_on_which_beats_cuts_fall(page):
    draw = random.Random(5)
    cases = [
        (
            [0.0, *sorted(draw.sample(range(1, 40), 4))],
            sorted(draw.uniform(0, 40) for _ in range(12)),
            draw.choice((0.0, 1.0, 3.0, 9.0)),
        )
        for _ in range(60)
    ]
    script = """async ([module, cases]) => {
        const { onBeats } = await import(module);
        return cases.map(([starts, beats, most]) => onBeats(starts, beats, most, 40));
    }"""
    for (starts, beats, most), here in zip(
        cases, page.ask(script, [f"{MODULES}/layout.js", cases]), strict=True
    ):
        there = snapped([Fraction(start) for start in starts], np.array(beats), most, Fraction(40))
        assert here == pytest.approx([float(start) for start in there], abs=1e-6)


def test_a_cut_is_drawn_to_the_beats_of_a_file(strip, server):
    sound = drum_beat(100.0, 6.0, 0.1)
    with wave.open(str(server.input / "song.wav"), "wb") as file:
        file.setparams((1, 2, SOUND_RATE, 0, "NONE", ""))
        file.writeframes((sound[0] * 32000).astype("<i2").tobytes())
    strip.open(sound={"type": "LongtakeLoadAudio", "widgets_values": ["song.wav", 0.0, 0.0]})
    strip.page.wait("() => document.querySelector('.lt-status').textContent.includes('beats')")
    assert strip.state["told"] == "3 shots, 6 s, 100 beats a minute"
    strip.pull(1, 0.48)  # beats at 1.9, 2.5, 3.1
    start = float(strip.text.split("[")[2].split("s")[0])
    assert start == pytest.approx(2.5, abs=0.03)
    assert start not in (2.5, 2.45)  # where the beat is heard, no round time


def test_after_a_run_a_card_shows_its_shot_and_plays_it(board):
    shots = [
        {"words": "a blue cube", "start": 0.0, "end": 2.0, "picture": "cube.jpg"},
        {"words": "a shot that has gone", "start": 2.0, "end": 4.0, "picture": "other.jpg"},
    ]
    told = {"longtake_shots": [json.dumps({"video": "take.mp4", "shots": shots})]}
    board.page.ask(
        "(output) => app.api.dispatchCustomEvent('executed', "
        "{ node: '9', display_node: '9', output, prompt_id: 'x' })", told,
    )  # fmt: skip
    pictures = "() => [...document.querySelectorAll('.lt-picture')].map((one) => one.src)"
    (source,) = board.page.ask(pictures)
    assert source.endswith("/view?filename=cube.jpg&subfolder=&type=temp")
    board.drag(board.at('[data-shot="1"]'), board.at('[data-shot="0"]', 0.1))  # it goes along
    assert board.page.ask("() => !!document.querySelector('[data-shot=\"0\"] .lt-picture')")
    board.click('[data-shot="0"]', button="right")
    board.choose("Play")
    played = board.page.ask("() => document.querySelector('.longtake-player video').src")
    assert played.endswith("/view?filename=take.mp4&subfolder=&type=temp")
    board.press("Escape")
    assert not board.page.ask("() => document.querySelector('.longtake-player')")


def test_a_shot_is_locked_by_a_seed_of_its_own(board):
    board.click('[data-shot="1"]', button="right")
    board.choose("Lock")
    before, found, after = board.text.partition(" seed ")
    assert (before, found) == (STORY.partition("cut]")[0] + "cut", " seed ")
    assert after.split("]")[0].isdecimal()
    board.press("Shift+F10")
    board.choose("Unlock")
    assert board.text == STORY
    board.click('[data-shot="2"]', button="right")
    board.choose("Unlock")
    assert board.text == STORY.replace(" seed 7", "")


def test_sampled_again_a_shot_has_another_seed_and_is_queued(board):
    board.page.ask("() => (app.queuePrompt = () => (window.queued = (window.queued ?? 0) + 1))")
    board.click('[data-shot="2"]', button="right")
    board.choose("Sample again")
    before, after = STORY.split("7]")
    assert board.text.startswith(before)
    assert board.text.endswith(f"]{after}")
    assert board.text != STORY
    assert board.page.ask("() => window.queued") == 1


def test_a_text_that_is_none_is_shown_as_that_and_never_written(board):
    wrong = STORY.replace("cut", "kut")
    board.page.ask("(text) => (app.graph.nodes[0].widgets[0].value = text)", wrong)
    board.page.settle()
    assert board.state["told"].startswith("line 6, column 5: 'kut' means nothing here: did you")
    board.drag(board.at('[data-shot="0"]'), board.at('[data-shot="2"]'))
    board.page.mouse.dblclick(*board.at('[data-shot="1"]'))
    board.press("d", "s", "Delete", "Enter", "Shift+ArrowRight")
    assert board.text == wrong
    board.press("Control+z")
    assert board.text == STORY


def test_what_is_typed_in_the_text_is_seen_on_the_strip(board):
    board.click(".dom-widget textarea, [data-node-id] textarea")
    board.press("Control+End")
    board.page.keyboard.type("[5s] a dog")
    assert board.state["cards"][-1] == "Shot 4, 5 to 6 s, cut, a dog"


def test_what_is_saved_and_queued_is_the_same_as_without_the_strip(board):
    saved = board.page.ask("() => app.graph.serialize().nodes[0]")
    assert saved["widgets_values"] == [STORY, 6.0, 8.0, 0.5, 0.35]
    prompt = board.page.ask("async () => (await app.graphToPrompt()).output")
    assert prompt["5"]["inputs"] == {
        "text": STORY, "seconds": 6, "fps": 8, "snap": 0.5, "meet": 0.35,
    }  # fmt: skip


def test_an_empty_text_gets_its_first_shot(strip):
    strip.open("")
    strip.click('[data-does="add"]')
    strip.page.keyboard.type("a red ball")
    strip.press("Enter")
    assert strip.text == "[0s] a red ball"
    assert not strip.page.errors
