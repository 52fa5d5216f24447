"""The workflows on provenance in a real ComfyUI: what their files and nodes say."""

import json

import pytest

from longtake.engine.provenance.report import describe_report, read_report
from tests.workflows.conftest import load, load_graph


@pytest.fixture(scope="module")
def signed(server):
    return server.run(
        load("api/save_with_credentials.json"), workflow=load_graph("save_with_credentials")
    )


@pytest.fixture(scope="module")
def checked(server):
    return server.run(load("api/check_credentials.json"), workflow=load_graph("check_credentials"))


def told(run, title: str) -> str:
    key = next(key for key, node in run.prompt.items() if node["_meta"]["title"] == title)
    (words,) = run.outputs[key]["text"]
    return words


def test_the_second_take_names_the_first_as_its_parent(signed, server):
    assert signed.error is None
    first, second = sorted(signed.files, key=lambda file: file.stat().st_mtime_ns)
    assert (read_report(first).ai, read_report(first).ingredients) == ("all", ())
    report = read_report(second)
    (source,) = report.ingredients
    assert (report.ai, report.intact) == ("part", True)
    assert (source.role, source.signed, source.ai, source.faults) == ("parent", True, "all", ())
    assert "the video it continues, with credentials: made by AI" in describe_report(report)
    assert told(signed, "Check").startswith(f"{second.name}: Valid: unchanged since it was signed")


def test_the_key_lies_where_the_server_never_looks(signed, server):
    (key,) = server.output.parent.rglob("local.pem")
    assert key.parts[-3:-1] == ("__longtake", "credentials")
    assert b"PRIVATE KEY" in key.read_bytes()
    assert all(b"PRIVATE KEY" not in file.read_bytes() for file in signed.files)


def test_a_signed_file_still_holds_its_graph(signed):
    import av

    for file in signed.files:
        with av.open(file) as container:
            assert json.loads(container.metadata["workflow"]) == load_graph("save_with_credentials")


def test_what_is_checked_was_made_by_ai_and_bears_the_mark(checked):
    assert checked.error is None
    assert "Made by AI: yes, all of it" in told(checked, "Check")
    assert told(checked, "LookForMark").startswith("Longtake's mark is there")


def test_a_cropped_and_smaller_copy_is_known_again(server):
    run = server.run(load("api/made_here.json"), workflow=load_graph("made_here"))
    assert run.error is None
    (saved,) = run.files
    words = told(run, "Ask")
    assert words.startswith("Made here: yes, by its pictures")
    assert f"its pictures are longtake/{saved.name}'s" in words
    assert "Credentials: not read" in words
