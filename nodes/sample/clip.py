"""Nodes that only a worker has: its driver sends graphs that end in them."""

import json
import os
import sys
import threading
from typing import Any

from comfy_api.latest import io

from ...host.cluster.clip_job import ClipJob, sample_clip
from ...host.cluster.crew import DRIVERS_OWN
from ...host.cluster.graph_terms import terms_of
from ...models.errors import InputError
from ..inputs.kinds import Line
from ..inputs.shared import each_time
from .long_take import LongTake, asked_recipe

JOB = Line("job")
ASKED = Line("asked")


class ClipNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [i for i in LongTake.define_schema().inputs if i.id not in DRIVERS_OWN]
        return io.Schema(
            node_id="LongtakeClip",
            display_name="Clip of a Long Take (Longtake)",
            category="Longtake/Sample",
            description="Samples one clip of a take for another machine.",
            inputs=[*inputs, JOB.widget("Which clip.")],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        return each_time()

    @classmethod
    def execute(cls, job: str, **inputs: Any) -> io.NodeOutput:
        asked = ClipJob.read(job)
        done = sample_clip(asked_recipe(**inputs), asked)
        return io.NodeOutput(ui={"longtake": [done]})


class TermsNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeTerms",
            display_name="Terms of a Worker (Longtake)",
            category="Longtake/Sample",
            description="Says what this machine would sample a graph with.",
            inputs=[ASKED.widget("A graph, and the weights whose hashes are wanted.")],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        return each_time()

    @classmethod
    def execute(cls, asked: str) -> io.NodeOutput:
        try:
            told = json.loads(asked)
            graph = {str(k): {"class_type": v["class_type"], "inputs": dict(v["inputs"])}
                     for k, v in told["graph"].items()}  # fmt: skip
            files = list(map(str, told["files"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError("asked: what Long Take sends to a worker, nothing else.") from None
        return io.NodeOutput(ui={"longtake": [terms_of(graph, files).to_json()]})


WORKER_NODES: list[type[io.ComfyNode]] = [ClipNode, TermsNode]


def end_with_parent() -> None:
    """End this process with the one that started it, however that ends: it holds our stdin."""

    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="longtake-parent", daemon=True).start()
