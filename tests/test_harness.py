"""The fixtures that other tests stand on, tried with ComfyUI's own nodes."""

import pytest

from headless import Stop

IMAGE = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 31, "height": 17, "batch_size": 1, "color": 255},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a/b"}},
}


def with_width(width) -> dict:
    return {**IMAGE, "1": {**IMAGE["1"], "inputs": {**IMAGE["1"]["inputs"], "width": width}}}


def test_the_server_runs_a_prompt_and_tells_its_files(server):
    run = server.run(IMAGE)
    assert run.error is None
    assert run.executed == {"1", "2"}
    assert [file.name for file in run.files] == ["b_00001_.png"]
    assert run.files[0].is_file()
    assert server.run(IMAGE).executed == set()  # cached
    server.free()
    assert server.run(IMAGE).executed == {"1", "2"}


def test_the_server_says_why_it_refuses(server):
    with pytest.raises(Stop, match="EmptyImage: Value 0 smaller than min of 1"):
        server.run(with_width(0))


def test_a_prompt_runs_in_this_process(comfyui):
    run = comfyui.run(IMAGE, want=["1"])
    assert run.values["1"][0].shape == (1, 17, 31, 3)
    assert run.executed == {"1"}
    assert comfyui.refusal(IMAGE) is None
    assert "smaller than min" in comfyui.refusal(with_width(0))


def test_an_executor_keeps_its_cache(comfyui):
    executor = comfyui.executor()
    assert comfyui.run(IMAGE, executor=executor).executed == {"1", "2"}
    assert comfyui.run(IMAGE, executor=executor).executed == set()


def test_comfyui_loads_every_node_of_the_pack_by_itself(server, host):
    ours = [name for name in host.nodes.NODE_CLASS_MAPPINGS if name.startswith("Longtake")]
    assert "LongtakeSample" in ours
    for name in ours:
        assert server.info(name)["python_module"] == "custom_nodes.longtake"


def test_a_refused_node_is_named(server):
    with pytest.raises(Stop, match="node LongtakeNoSuch does not exist"):
        server.run({"1": {"class_type": "LongtakeNoSuch", "inputs": {}}})
