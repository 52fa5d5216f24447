"""Style and Camera and Motion in graphs, chained, with a user's own tables and their mistakes."""

import pytest

STYLE = {"text": "a red ball rises", "style": "film noir", "family": "Wan"}
CAMERA = {"text": ["style", 0], "move": "zoom in", "size": "as written", "motion": -1}


@pytest.fixture
def chained(graph):
    return graph.add(
        style=("LongtakeStyle", STYLE),
        camera=(
            "LongtakeCamera",
            {**CAMERA, "family": "Wan", "negative": ["style", 1]},
        ),
    )


@pytest.fixture
def own(host, tmp_path, monkeypatch):
    """The folder of a user's own tables."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_user_directory", lambda: str(tmp_path))
    (tmp_path / "longtake").mkdir()
    return tmp_path / "longtake"


def values(host, graph, *nodes):
    run = host.run(graph, want=list(nodes))
    assert run.success, run.error
    return [run.values[node] for node in nodes]


def test_they_go_one_into_the_other_and_into_prompts(chained, host):
    style, camera = values(host, chained.but(camera={"motion": 4}), "style", "camera")
    text, negative = camera
    assert text.startswith("Film noir: a red ball rises. Black and white")
    assert text.endswith(
        "The camera zooms in. Fast and powerful movement through the whole picture."
    )
    assert negative == f"{style[1]}, static, still picture, slow motion"
    assert style[2] == 6.0
    prompts = chained.but(prompt={"text": ["camera", 0]}, negative={"text": ["camera", 1]})
    values(host, prompts, "prompt", "negative")


def test_the_model_says_which_words_and_which_cfg(chained, host, shown):
    linked = chained.but(style={"model": ["model", 0]}, camera={"model": ["model", 0]})
    style, camera = values(host, linked, "style", "camera")
    assert style[0] == "a red ball rises, at night"
    assert style[1:] == ["", 4.0]
    assert camera[0] == "a red ball rises, at night, the camera zooms in"
    assert any("the nearest that the built-in model knows: at night" in text for text in shown)


def test_a_users_own_look_is_in_the_menu_and_used(chained, host, own):
    (own / "styles.json").write_text('{"mine": {"suffix": "Grey", "negative": "blue", "cfg": 2}}')
    node = host.nodes.NODE_CLASS_MAPPINGS["LongtakeStyle"]
    assert "mine" in node.INPUT_TYPES()["required"]["style"][1]["options"]
    before = node.fingerprint_inputs()
    (style,) = values(host, chained.but(style={"style": "mine"}), "style")
    assert style == ["a red ball rises. Grey.", "blue", 12.0]
    (own / "styles.json").write_text('{"mine": {"cfg": 0.1}}')  # 0.6 of Wan's 6
    (style,) = values(host, chained.but(style={"style": "mine"}), "style")
    assert style[2] == 1.0  # below it what shall not be seen would be what is asked for
    (own / "styles.json").write_text("{")
    assert "film noir" in node.INPUT_TYPES()["required"]["style"][1]["options"]
    assert node.fingerprint_inputs() != before


@pytest.mark.parametrize(
    ("node", "inputs", "what"),
    [
        ("style", {"style": "film nor"}, "no style 'film nor'"),
        ("style", {"text": "x" * 20_001}, "20001 characters"),
        ("camera", {"move": "spin"}, "no camera move 'spin'"),
        ("camera", {"size": "huge"}, "no shot size 'huge'"),
        ("camera", {"motion": 5}, "motion 5: choose a whole number from -1 to 4"),
        ("camera", {"family": "Wan 9"}, "family 'Wan 9': choose from Wan"),
    ],
)
def test_what_there_is_not_is_told_before_anything_runs(chained, host, node, inputs, what):
    run = host.run(chained.but(**{node: inputs}), want=[node])
    assert not run.success
    assert what in run.error


@pytest.mark.parametrize(("node", "table"), [("style", "styles.json"), ("camera", "camera.json")])
def test_a_broken_table_is_told_before_anything_runs(chained, host, own, node, table):
    (own / table).write_text('{"a": ')
    run = host.run(chained, want=[node])
    assert not run.success
    assert f"longtake/{table} cannot be read: Expecting value in line 1" in run.error
