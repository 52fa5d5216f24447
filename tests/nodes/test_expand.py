"""Expand Prompt in graphs: by rules, by a text encoder that writes, and what it refuses."""

import pytest

from longtake.engine.words.expand import expand
from tests.engine.words.test_expand import CAT, GOOD
from tests.host_models.writer import Answers

ASK = {"text": CAT, "family": "Wan", "seed": 3, "temperature": 0.7}


@pytest.fixture
def answering(host, monkeypatch):
    """A node that gives a CLIP which answers with certain texts."""
    from comfy_api.latest import io

    clips: list[Answers] = []

    class Answering(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema(
                node_id="Answering",
                inputs=[io.String.Input("text", multiline=True)],
                outputs=[io.Clip.Output()],
            )

        @classmethod
        def execute(cls, text: str) -> io.NodeOutput:
            clips.append(Answers(*text.split("|")))
            return io.NodeOutput(clips[-1])

    monkeypatch.setitem(host.nodes.NODE_CLASS_MAPPINGS, "Answering", Answering)
    return clips


def written(host, graph, **inputs):
    asked = graph.add(words=("LongtakeExpandPrompt", {**ASK, **inputs}))
    run = host.run(asked, want=["words"])
    assert run.success, run.error
    return run.values["words"][0]


def test_without_a_clip_it_is_by_rules_and_shown(graph, host, shown):
    text = written(host, graph)
    assert text == expand(CAT, "Wan", 3).text
    assert text.startswith(CAT)
    assert shown[-1].startswith("added: ")
    assert shown[-1].endswith(text)


def test_the_model_says_whose_captions_are_meant(graph, host, shown):
    text = written(host, graph, text="a crimson orb drifts left on ice", model=["model", 0])
    assert text == "a red ball moves left on the snow"
    assert "for built-in" in shown[-1]


def test_what_comes_out_goes_into_a_prompt(graph, host):
    asked = graph.add(words=("LongtakeExpandPrompt", {**ASK, "family": "built-in"}))
    run = host.run(asked.but(prompt={"text": ["words", 0]}), want=["prompt"])
    assert run.success, run.error


def test_a_clip_that_writes_is_asked_and_its_answer_looked_at(graph, host, shown, answering):
    good = graph.add(clip=("Answering", {"text": GOOD}))
    assert written(host, good, clip=["clip", 0], temperature=0.0) == GOOD
    assert shown[-1].startswith("written by the language model")
    ((told, options),) = answering[-1].asked
    assert "80 to 100 words" in told and CAT in told  # noqa: PT018
    assert options["seed"] == 3
    assert not options["do_sample"]

    bad = graph.add(clip=("Answering", {"text": "**no**"}))
    assert written(host, bad, clip=["clip", 0]) == expand(CAT, "Wan", 3).text
    assert shown[-1].startswith("by rules: the model's answer was lists or Markdown")


def test_each_shot_of_a_storyboard_is_asked_for(graph, host, shown, answering):
    asked = graph.add(clip=("Answering", {"text": f"{GOOD}|no"}))
    made = written(host, asked, text=f"[0s] {CAT}\n[2s] the same cats sleep", clip=["clip", 0])
    lines = made.split("\n")
    assert lines[0] == f"[0s] {GOOD}"
    assert lines[1].startswith("[2s cut] Two cats. The same cats sleep.")
    assert "The subject in every shot is: two cats." in answering[-1].asked[1][0]


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ({"text": " \n"}, "the text is empty: write at least"),
        ({"text": "x" * 20_001}, "the text is 20001 characters long"),
        ({"family": "Wan 9"}, "family 'Wan 9': choose from Wan, HunyuanVideo, LTX"),
        ({"text": "[0s] a\n[0s] b [1s] c"}, "a block begins a line of its own"),
        ({"clip": ["encoder", 0]}, "text encoder"),
        ({"temperature": 3.0}, "temperature 3.0: choose a number from 0 to 2"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(graph, host, inputs, what):
    run = host.run(graph.add(words=("LongtakeExpandPrompt", {**ASK, **inputs})), want=["words"])
    assert not run.success
    assert what in run.error
