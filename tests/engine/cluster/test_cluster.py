"""Where workers may be, what travels to them, and which of them samples what."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.cluster.address import HERE, workers_address
from longtake.engine.cluster.cut_graph import ancestors, cut, values_in_place
from longtake.engine.cluster.rota import FAILURES, Rota
from longtake.engine.cluster.terms import Terms, what_differs, why_not
from longtake.models.errors import InputError


@pytest.mark.parametrize("home", ["", "  ", HERE])
def test_home_is_no_address(home):
    assert workers_address(home) is None


@pytest.mark.parametrize(
    "address",
    [
        *("auto", "127.0.0.1:6379", "10.1.2.3:6379", "192.168.1.20:1", "172.16.0.1:65535"),
        *("100.64.7.7:6379", "[fd00::1]:6379", "[::1]:6379", "localhost:6379", "gpu-box:6379"),
        *("studio.local:6379", "head.default.svc.cluster.local:6379"),
    ],
)
def test_an_address_of_a_private_network_is_taken(address):
    assert workers_address(f" {address} ") == address


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8:6379", "[2606:4700::1]:6379", "example.com:6379", "0.0.0.0:6379"),
        *("evil.local.example.com:1", "224.0.0.1:6379", "user@10.0.0.1:6379", "a b:1", "-a:1"),
        *("http://10.0.0.1:6379", "ray://10.0.0.1:10001", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0"),
        *("10.0.0.1:99999", "10.0.0.1:6379/x", ":6379", "10.0.0.1:６３７９", 7, None),
    ],
)
def test_any_other_address_is_refused_with_what_is_allowed(address):
    with pytest.raises(InputError, match="workers .*(192.168|not NoneType|not int)"):
        workers_address(address)


GRAPH = {
    "1": {"class_type": "Load", "inputs": {"file": "a"}, "_meta": {"title": "private"}},
    "2": {"class_type": "Variations", "inputs": {"seed": 3, "count": 4}},
    "3": {"class_type": "Text", "inputs": {"clip": ["1", 1], "text": "a"}, "is_changed": "x"},
    "4": {
        "class_type": "Take",
        "inputs": {"model": ["1", 0], "seed": ["2", 0], "positive": ["3", 0], "cfg": 4.0},
    },
    "5": {"class_type": "Save", "inputs": {"video": ["4", 0]}},
}


def test_only_what_a_node_needs_travels_and_numbers_come_as_they_are():
    inputs = values_in_place(GRAPH, "4", {"seed": 5, "cfg": 9.0, "model": object()})
    assert inputs == {"model": ["1", 0], "seed": 5, "positive": ["3", 0], "cfg": 4.0}
    travels = cut(GRAPH, "4", inputs)
    assert set(travels) == {"1", "3", "4"}
    assert travels["1"] == {"class_type": "Load", "inputs": {"file": "a"}}
    assert set(travels["3"]) == {"class_type", "inputs"}
    assert GRAPH["4"]["inputs"]["seed"] == ["2", 0], "the graph itself stays as it was"


def test_a_node_is_needed_once_and_a_list_of_numbers_is_no_link():
    graph = {"a": {"class_type": "A", "inputs": {"pair": [1, 2], "text": ["nobody", 0]}}}
    assert list(ancestors(graph, "a")) == ["a"]
    assert list(ancestors(GRAPH, "5")) == ["5", "4", "1", "2", "3"]


def test_clips_go_out_in_order_to_whoever_is_free():
    rota = Rota(range(4))
    rota.join("a")
    rota.join("b")
    assert [rota.next_for(w) for w in "ab"] == [0, 1]
    assert rota.next_for("stranger") is None
    rota.finished("b")
    assert rota.next_for("b") == 2
    assert not rota.is_home(3), "somebody will get it"


def test_a_clip_that_failed_goes_elsewhere_and_after_three_failures_home():
    rota = Rota([0, 1])
    for worker in "abc":
        rota.join(worker)
    for worker in "abc":
        assert rota.next_for(worker) == 0
        assert rota.next_for("z") is None
        assert rota.failed(worker), "one failure is not the worker's"
    assert rota.is_home(0)
    assert rota.next_for("a") == 1


def test_a_clip_is_not_tried_twice_by_one_worker_while_others_have_not():
    rota = Rota([0, 1])
    rota.join("a")
    rota.join("b")
    assert rota.next_for("a") == 0
    rota.failed("a")
    assert rota.next_for("a") == 1
    assert rota.next_for("b") == 0


def test_a_worker_that_fails_again_and_again_gets_no_more():
    """Its disk is full, say: it would use up the tries of every clip."""
    rota = Rota(range(9))
    rota.join("full")
    rota.join("good")
    for n in range(FAILURES):
        assert rota.next_for("full") is not None
        assert rota.failed("full") == (n + 1 < FAILURES)
    assert rota.next_for("full") is None
    done = 0
    while (clip := rota.next_for("good")) is not None:
        rota.finished("good")
        done += clip is not None
    assert done == 9


def test_without_workers_all_is_sampled_at_home():
    rota = Rota([0, 1])
    assert rota.is_home(0)
    rota.join("late")
    assert rota.next_for("late") == 1, "what is begun at home stays there"


def test_the_clip_of_a_lost_worker_is_the_first_to_go_out_again():
    rota = Rota(range(3))
    rota.join("a")
    rota.join("b")
    assert rota.next_for("a") == 0
    assert rota.next_for("b") == 1
    assert rota.lost("a") == 0
    assert rota.lost("a") is None
    rota.finished("b")
    assert rota.next_for("b") == 0


def test_a_worker_without_time_counts_as_no_failure():
    rota = Rota([0])
    rota.join("a")
    for _ in range(9):
        assert rota.next_for("a") == 0
        rota.hand_back("a")
    assert not rota.is_home(0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("jdflh")), max_size=60))
def test_no_clip_is_lost_or_given_twice(story):
    rota, clips = Rota(range(5)), set(range(5))
    for worker, what in story:
        if what == "j":
            rota.join(worker)
            if worker not in rota.given:
                rota.next_for(worker)
        elif what == "l":
            rota.lost(worker)
        elif worker in rota.given:
            {"d": rota.finished, "f": rota.failed, "h": rota.hand_back}[what](worker)
        places = [*rota.waiting, *rota.given.values(), *rota.done, *rota.home]
        assert sorted(places) == sorted(clips)


OURS = Terms("0.3.0 (12)", "0.3.75", "cpu", {"loras/a.safetensors": "a" * 64})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pack": "0.2.0 (34)"}, "gpu2 has Longtake 0.2.0 (34), and this ComfyUI 0.3.0 (12)"),
        ({"comfyui": "0.33.0"}, "gpu2 runs ComfyUI 0.33.0, and this is 0.3.75"),
        ({"unknown": ("UnetLoaderGGUF",)}, "gpu2 has no node UnetLoaderGGUF"),
        ({"files": {}}, "gpu2 has no loras/a.safetensors"),
        ({"files": {"loras/a.safetensors": "b" * 64}}, "a.safetensors on gpu2 is another file"),
    ],
)
def test_a_worker_that_would_make_something_else_is_named_with_what_differs(change, says):
    assert says in why_not(OURS, replace(OURS, **change), "gpu2")


def test_a_worker_that_is_alike_may_work_and_one_that_rounds_otherwise_is_told():
    assert why_not(OURS, OURS, "gpu2") == what_differs(OURS, OURS, "gpu2") == ""
    assert "not the same bits" in what_differs(OURS, replace(OURS, kind="cuda"), "gpu2")
    assert Terms.from_json(OURS.to_json()) == OURS
