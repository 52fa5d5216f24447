"""The judge's language model in ComfyUI, and the gate that asks it."""

import asyncio
import importlib
import json
import logging
import threading

import pytest

from longtake.engine.policy.judge import Judge
from longtake.models.errors import ConfigError
from tests.host_models.writer import Answers, tiny_writer

POLICY = {"judge": {"text_encoder": "writes.safetensors"}}


@pytest.fixture
def judge(comfyui):
    return importlib.import_module("longtake.host.policy.judge")


@pytest.fixture
def gates(comfyui, monkeypatch, tmp_path):
    module = importlib.import_module("longtake.host.policy.gate")
    monkeypatch.setattr(module, "owners_folder", lambda: tmp_path)
    return module


@pytest.fixture
def gate_with(gates, judge, tmp_path, monkeypatch):
    """-> a gate under a policy whose judge gives these answers."""

    def made(*answers, **policy):
        file = tmp_path / "policy.json"
        file.write_text(json.dumps(POLICY | policy))
        clip = Answers(*answers)
        monkeypatch.setattr(judge, "language_model", lambda asked: judge.answers_of(clip, "w"))
        gate = gates.Gate.from_choice(file)
        return gate, clip

    return made


def test_the_judge_hears_what_no_list_objects_to(gate_with, monkeypatch):
    import comfy.sd

    monkeypatch.setattr(comfy.sd.CLIP, "generate", lambda *_: None, raising=False)
    gate, clip = gate_with("none", "violence")
    assert "(rule: sexual)" in gate.refusal(["a nude woman"], "prompt")
    assert not clip.asked  # a list had said it
    assert gate.refusal(["a red ball"], "prompt", ["worst quality, blurry"]) is None
    ((question, options),) = clip.asked
    assert question.endswith("\n\na red ball\n")  # and not what shall not be seen
    assert (options["do_sample"], options["max_length"]) == (False, 8)
    assert "(rule: violence)" in gate.refusal(["a saw at work"], "prompt")
    last = json.loads(gate.file.read_text().splitlines()[-1])
    assert (last["rule"], last["done"]) == ("violence", "refused")


def test_a_judge_that_cannot_be_loaded_closes_the_gate(gates, tmp_path, caplog):
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(POLICY))
    with caplog.at_level(logging.ERROR):
        gate = gates.Gate.from_choice(file)
    assert "'writes.safetensors' is not in models/text_encoders" in caplog.text
    assert "refuses every prompt" in gate.refusal(["a red ball"], "prompt")
    file.write_text(json.dumps(POLICY | {"mode": "off"}))
    assert gates.Gate.from_choice(file) is None  # and loads nothing


def test_a_type_that_is_none_and_a_file_that_only_reads_are_named(
    judge, comfyui, pack, monkeypatch, tmp_path
):
    import comfy.sd
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_full_path", lambda *_: str(tmp_path / "w"))
    with pytest.raises(ConfigError, match="type 'wam' of the judge"):
        judge.language_model(judge.JudgePolicy("w", "wam"))
    monkeypatch.setattr(comfy.sd.CLIP, "generate", lambda *_: None, raising=False)
    reads = pack.load.load_text_encoder("nano (built in)")
    with pytest.raises(ConfigError, match="'w' does not write: .* only reads"):
        judge.answers_of(reads, "w")


def test_a_real_one_answers_from_another_thread_and_leaves_the_hosts_lists_alone(
    judge, comfyui, monkeypatch
):
    import comfy.model_management as mm
    import comfy.sd

    if not hasattr(comfy.sd.CLIP, "generate"):
        pytest.skip("this ComfyUI has no text encoders that write")
    clip = tiny_writer()
    ask = judge.answers_of(clip, "w")
    monkeypatch.setattr(mm, "load_models_gpu", None)  # would be called, and fail
    said = []
    worker = threading.Thread(target=lambda: said.append(ask("Which rule?", "a red ball")))
    worker.start()
    worker.join()
    assert said == [ask("Which rule?", "a red ball")]  # the likeliest words, so the same
    assert isinstance(said[0], str)


def test_the_server_goes_on_while_the_judge_thinks(gates, comfyui):
    guard = importlib.import_module("longtake.host.policy.middleware")
    threads = []

    def ask(*_):
        threads.append(threading.current_thread())
        return "none"

    posted = {"prompt": {"1": {"class_type": "X", "inputs": {"text": "a red ball"}}}}
    gate = gates.Gate(gates.Policy(), judge=Judge(ask, ("violence",)))
    assert asyncio.run(guard._answered(gate, posted)) is None
    assert threads[0] is not threading.main_thread()
