"""Which texts of a graph can reach its samplers as negative prompts alone.

A negative prompt names what shall not be seen, and "nsfw" stands in most of them. No text encoder
knows what its text is for; the wires behind it do. A text counts as negative only where everything
that it is wired to is known here, and ends at the `negative` input of samplers that steer away from
it: their cfg is a number in the graph that is at least 1, Preset's or Style's, and their model is
from nodes that leave guidance as it is. Whatever else there is, the text counts like any other.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

PAIR = {"positive": (0,), "negative": (1,)}
PASSING: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    # class -> input -> outputs that hold what came in there
    "CLIPTextEncode": {"text": (0,)},
    "LongtakePrompt": {"text": (0,)},
    "LongtakeStyle": {"text": (0,), "negative": (1,)},
    "LongtakeCamera": {"text": (0,), "negative": (1,)},
    "LongtakeCameraPath": {"positive": (2,), "negative": (3,)},
    "PrimitiveString": {"value": (0,)},
    "PrimitiveStringMultiline": {"value": (0,)},
    "StringConcatenate": dict.fromkeys(("string_a", "string_b", "delimiter"), (0,)),
    "ConditioningZeroOut": {"conditioning": (0,)},
    "FluxGuidance": {"conditioning": (0,)},
    **dict.fromkeys(
        (
            "ControlNetApplyAdvanced", "HunyuanVideo15ImageToVideo", "LTXVAddGuide",
            "LTXVConditioning", "LTXVCropGuides", "LTXVImgToVideo", "LongtakeMotionBrush",
            "Wan22FunControlToVideo", "WanCameraImageToVideo", "WanFirstLastFrameToVideo",
            "WanFunControlToVideo", "WanFunInpaintToVideo", "WanImageToVideo",
            "WanMoveTrackToVideo", "WanTrackToVideo", "WanVaceToVideo",
        ),
        PAIR,
    ),
}  # fmt: skip
OURS = {"LongtakeSample", "LongtakeLongTake", "LongtakeExperts"}  # a cfg of 0: the model's own
GUIDED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # class that takes a negative prompt -> its MODELs, its cfgs
    **dict.fromkeys(
        (
            "CFGGuider", "KSampler", "KSamplerAdvanced", "LongtakeLongTake", "LongtakeSample",
            "SamplerCustom",
        ),
        (("model",), ("cfg",)),
    ),
    "LongtakeExperts": (("high", "low"), ("cfg_high", "cfg_low")),
}  # fmt: skip
MODELS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # class that has a MODEL, guided as any other -> the same
    **dict.fromkeys(("CheckpointLoaderSimple", "LongtakeLoadModel", "UNETLoader"), ((), ())),
    **dict.fromkeys(
        (
            "EasyCache", "LazyCache", "LongtakeLoadLora", "LoraLoader", "LoraLoaderModelOnly",
            "ModelSamplingAuraFlow", "ModelSamplingFlux", "ModelSamplingLTXV", "ModelSamplingSD3",
        ),
        (("model",), ()),
    ),
    "LongtakeExperts": GUIDED["LongtakeExperts"],
}  # fmt: skip
CFGS = {("LongtakePreset", 2), ("LongtakeStyle", 2)}  # outputs that are never below 1
GUIDERS = {"CFGGuider", "LongtakeExperts"}  # their first output must go to the host's own sampler


class Use(NamedTuple):
    """What an output is wired to.

    Attributes:
        node, input: that take it.
        slot: of the output, as it was sent.
        direct: whether the wire is all that the input is given.
    """

    node: str
    input: str
    slot: Any
    direct: bool


class Wiring:
    """The wires of a graph in API form, of which nothing is believed that is not looked at."""

    def __init__(self, graph: Any):
        nodes = graph.items() if isinstance(graph, Mapping) else ()
        self._nodes: dict[str, Mapping[str, Any]] = {
            key: node
            for key, node in nodes
            if isinstance(node, Mapping) and isinstance(node.get("inputs"), Mapping)
        }
        self._uses: dict[str, list[Use]] = defaultdict(list)
        for key, node in self._nodes.items():
            for name, value in node["inputs"].items():
                for link in _links(value):
                    self._uses[str(link[0])].append(Use(key, name, link[1], link is value))
        self._negative: dict[tuple[str, int], bool] = {}

    def is_negative(self, node: str, name: str) -> bool:
        """Whether what is typed into, or comes into, an input is nothing but a negative prompt."""
        outputs = PASSING.get(self._class(node), {}).get(name, ())
        return bool(outputs) and all(self._ends_negative(node, slot) for slot in outputs)

    def holds(self, node: str, name: str, text: str) -> bool:
        """Whether a text is that of an input which is nothing but a negative prompt."""
        inputs = self._nodes.get(node, {}).get("inputs", {})
        return inputs.get(name) == text and self.is_negative(node, name)

    def _class(self, node: str) -> str:
        kind = self._nodes.get(node, {}).get("class_type")
        return kind if isinstance(kind, str) else ""

    def _ends_negative(self, node: str, slot: int) -> bool:
        if (node, slot) not in self._negative:
            self._negative[node, slot] = False  # for a ring of wires
            uses = [u for u in self._uses[node] if u.slot == slot or type(u.slot) is not int]
            self._negative[node, slot] = bool(uses) and all(map(self._steers_away, uses))
        return self._negative[node, slot]

    def _steers_away(self, use: Use) -> bool:
        if not use.direct or type(use.slot) is not int:
            return False
        kind = self._class(use.node)
        if kind not in GUIDED or use.input != "negative":
            return self.is_negative(use.node, use.input)
        return self._is_guided(use.node, GUIDED[kind]) and self._is_sampled(use.node, kind)

    def _is_guided(
        self, node: str, named: tuple[tuple[str, ...], tuple[str, ...]], above: tuple[str, ...] = ()
    ) -> bool:
        """Whether a node's cfgs lead away from negative prompts, as those of its MODELs do."""
        kind, inputs, (models, cfgs) = self._class(node), self._nodes[node]["inputs"], named
        if node in above or not all(self._leads_away(inputs.get(cfg), kind) for cfg in cfgs):
            return False
        links = [inputs.get(model) for model in models]
        return all(
            isinstance(link, list)
            and len(link) == 2
            and isinstance(link[0], str)
            and self._class(link[0]) in MODELS
            and self._is_guided(link[0], MODELS[self._class(link[0])], (*above, node))
            for link in links
        )

    def _is_sampled(self, node: str, kind: str) -> bool:
        """Whether a guider goes to the host's own sampler alone."""
        return kind not in GUIDERS or all(
            (self._class(use.node), use.input) == ("SamplerCustomAdvanced", "guider")
            for use in self._uses[node]
            if use.slot == 0 or type(use.slot) is not int
        )

    def _leads_away(self, cfg: Any, kind: str) -> bool:
        """Whether a cfg leads away from the negative prompt, or leaves it out."""
        if isinstance(cfg, list):
            known = len(cfg) == 2 and isinstance(cfg[0], str) and type(cfg[1]) is int
            return known and (self._class(cfg[0]), cfg[1]) in CFGS
        if isinstance(cfg, bool) or not isinstance(cfg, int | float):
            return False
        return cfg >= 1 or (cfg == 0 and kind in OURS)


def _links(value: Any) -> Iterator[list]:
    """All that may be a wire in what an input is given, however deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list):
            if len(one) == 2 and isinstance(one[0], str | int):
                yield one
            waiting.extend(one)
