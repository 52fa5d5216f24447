"""Ways for the wires of the workflows around their nodes, by points that the browser bends them at.

    .venv/bin/python tests/workflows/wires.py [NAME ...]

writes them into the graph that web/templates/index.json calls NAME. A wire leaves a node at its
right, runs up or down between two columns, crosses a column above, between or below its nodes, and
enters at the left.
"""

import heapq
import json
import math
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.workflows.templates import TEMPLATES, graph_file

HEADER = 30  # a node's title is drawn above its position
HIGHER = 28  # Nodes 2.0 of older front-ends draw nodes so much higher, and points where they are
ROW, FIRST_ROW = 20, 14  # from socket to socket, and from a node's top to the first
INSIDE = 10  # of a node is where its sockets are drawn
OUTSIDE = 30  # from the outermost node to a wire that goes around
CORNER = 14  # how far before and after a turn its points are
SOFT = 80.0  # the longest arm of a curve at a point, see Reroute.maxSplineOffset
COST_OF_CROSSING, COST_OF_TURN = 90, 40

Point = tuple[float, float]


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def holds(self, point: Point, margin: float = 0) -> bool:
        x, y = point
        return (
            self.left - margin < x < self.right + margin
            and self.top - margin < y < self.bottom + margin
        )


class Wire(NamedTuple):
    """A link: its number, its sockets' nodes, where it begins and ends."""

    number: int
    source: int
    target: int
    start: Point
    end: Point


def box_of(node: dict) -> Box:
    """Where a node is drawn by any front-end."""
    (x, y), (width, height) = node["pos"], node["size"]
    return Box(x, y - HEADER - HIGHER, x + width, y + height)


def wires_of(graph: dict) -> list[Wire]:
    nodes = {node["id"]: node for node in graph["nodes"]}
    found = []
    for number, source, out, target, into, _ in graph["links"]:
        (x, y), (width, _) = nodes[source]["pos"], nodes[source]["size"]
        start = x + width - INSIDE, y + FIRST_ROW + ROW * out
        x, y = nodes[target]["pos"]
        end = x + INSIDE, y + FIRST_ROW + ROW * into
        found.append(Wire(number, source, target, start, end))
    return found


def points_of(graph: dict) -> dict[int, list[Point]]:
    """What each wire is bent at, by its link's number, from its start on."""
    extra = graph["extra"]
    known = {point["id"]: point for point in extra.get("reroutes", [])}
    found: dict[int, list[Point]] = {link[0]: [] for link in graph["links"]}
    for link in extra.get("linkExtensions", []):
        at = link.get("parentId")
        while at is not None:
            found[link["id"]].insert(0, tuple(known[at]["pos"]))
            at = known[at].get("parentId")
    return found


def drawn(wire: Wire, points: list[Point]) -> Iterator[Point]:
    """A wire as the browser draws it, every few pixels: Bézier curves from point to point."""
    places = [wire.start, *points, wire.end]
    slopes = [0.0]
    for before, here, after in zip(places, places[1:], places[2:], strict=False):
        came, goes = _direction(before, here), _direction(here, after)
        half = (came - goes) / 2
        slopes.append(came - (half + math.pi if abs(half) > math.pi / 2 else half))
    slopes.append(0.0)
    for n, (here, there) in enumerate(pairwise(places)):
        length = math.dist(here, there)
        arms = [
            length / 4 if k in (0, len(places) - 1) else min(SOFT, length / 4) for k in (n, n + 1)
        ]
        one = here[0] + arms[0] * math.cos(slopes[n]), here[1] + arms[0] * math.sin(slopes[n])
        two = (
            there[0] - arms[1] * math.cos(slopes[n + 1]),
            there[1] - arms[1] * math.sin(slopes[n + 1]),
        )
        steps = max(4, int(length / 4))
        for t in (step / steps for step in range(steps)):
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            yield tuple(
                a * p + b * q + c * r + d * s
                for p, q, r, s in zip(here, one, two, there, strict=True)
            )


def _direction(here: Point, there: Point) -> float:
    return math.atan2(there[1] - here[1], there[0] - here[0])


def hidden(graph: dict, margin: float = 0) -> list[tuple[int, int]]:
    """(link, node) of each wire that runs behind a node."""
    points = points_of(graph)
    boxes = {node["id"]: box_of(node) for node in graph["nodes"]}
    return [
        (wire.number, node)
        for wire in wires_of(graph)
        for node in behind(wire, points[wire.number], boxes, margin)
    ]


def behind(wire: Wire, points: list[Point], boxes: dict[int, Box], margin: float = 0) -> set[int]:
    """The nodes that a wire runs behind. Its own it may touch where its sockets are."""
    found = set()
    for point in drawn(wire, points):
        near = min(math.dist(point, wire.start), math.dist(point, wire.end)) < 2 * INSIDE
        for node, box in boxes.items():
            own = node in (wire.source, wire.target)
            if box.holds(point, 0 if own else margin) and not (own and near):
                found.add(node)
    return found


class Columns:
    """Where there is room: channels between columns, and heights at which a column is crossed."""

    def __init__(self, boxes: dict[int, Box]):
        self.columns: list[list[Box]] = []
        for box in sorted(boxes.values()):
            if self.columns and box.left < max(other.right for other in self.columns[-1]):
                self.columns[-1].append(box)
            else:
                self.columns.append([box])
        lefts = [min(box.left for box in column) for column in self.columns]
        rights = [max(box.right for box in column) for column in self.columns]
        self.channels = [
            (lefts[0] - 2 * OUTSIDE, lefts[0]),
            *zip(rights[:-1], lefts[1:], strict=True),
            (rights[-1], rights[-1] + 2 * OUTSIDE),
        ]
        top = min(box.top for box in boxes.values()) - OUTSIDE
        self.heights = {top}
        for column in self.columns:
            tops = sorted(column, key=lambda box: box.top)
            self.heights |= {(a.bottom + b.top) / 2 for a, b in pairwise(tops)}
            self.heights.add(tops[-1].bottom + OUTSIDE)
            self.heights.add(tops[0].top - OUTSIDE)

    def before(self, x: float) -> int:
        """The number of the channel to the left of the column that is at x."""
        return next(n for n, column in enumerate(self.columns) if x <= max(b.right for b in column))

    def way(self, start: tuple[int, float], end: tuple[int, float]) -> list[tuple[int, float]]:
        """The shortest way from a (channel, height) to another, turn by turn."""
        queue: list = [(0.0, start, (start,))]
        seen = set()
        while queue:
            cost, here, path = heapq.heappop(queue)
            if here == end:
                return list(path)
            if here in seen:
                continue
            seen.add(here)
            channel, y = here
            for height in (*self.heights, end[1]):
                if height != y and (len(path) < 2 or path[-2][0] != channel):
                    there = channel, height
                    step = abs(height - y) + COST_OF_TURN
                    heapq.heappush(queue, (cost + step, there, (*path, there)))
            for column, to in ((channel, channel + 1), (channel - 1, channel - 1)):
                if (
                    0 <= column < len(self.columns)
                    and 0 <= to < len(self.channels)
                    and self._free(column, y)
                ):
                    there = to, y
                    heapq.heappush(queue, (cost + COST_OF_CROSSING, there, (*path, there)))
        raise ValueError(f"no way from {start} to {end}")

    def between(self, wire: Wire) -> list[tuple[int, float]]:
        """The way of a wire."""
        start = self.before(wire.start[0]) + 1, wire.start[1]
        return self.way(start, (self.before(wire.end[0]), wire.end[1]))

    def _free(self, column: int, y: float) -> bool:
        return not any(box.top - 4 < y < box.bottom + 4 for box in self.columns[column])


def routed(graph: dict) -> dict[int, list[Point]]:
    """Points for each wire, by its link's number; none where it is seen whole without."""
    boxes = {node["id"]: box_of(node) for node in graph["nodes"]}
    space = Columns(boxes)
    wires = wires_of(graph)
    lanes = {key: n for n, key in enumerate(dict.fromkeys(wire.start for wire in wires))}
    found = {}
    for wire in wires:
        found[wire.number] = []
        if not behind(wire, [], boxes, margin=4):
            continue
        shift = (lanes[wire.start] - (len(lanes) - 1) / 2) / max(1, len(lanes) - 1)  # -1/2 to 1/2
        turns = _placed(space, space.between(wire), shift)
        found[wire.number] = _mended(wire, _rounded(turns), boxes)
    return found


def _placed(space: Columns, way: list[tuple[int, float]], shift: float) -> list[Point]:
    """Where the turns of a way are, each wire in a lane of its own."""
    places = []
    for channel, y in way:
        left, right = space.channels[channel]
        x = (left + right) / 2 + shift * min(right - left - 30, 60)
        places.append((round(x), y))
    first, last = way[0][1], way[-1][1]
    return [(x, y if y in (first, last) else round(y + shift * 14)) for x, y in places]


def _rounded(turns: list[Point]) -> list[Point]:
    """Two points for each turn, just before and after it, so that curves stay near the lines."""
    points = [turns[0]]
    for before, here, after in zip(turns, turns[1:], turns[2:], strict=False):
        if _direction(before, here) == _direction(here, after):
            continue
        points += [_towards(here, before), _towards(here, after)]
    return [*points, turns[-1]]


def _towards(here: Point, there: Point, far: float = CORNER) -> Point:
    share = min(0.5, far / max(math.dist(here, there), 1))
    return tuple(round(a + share * (b - a)) for a, b in zip(here, there, strict=True))


def _mended(wire: Wire, points: list[Point], boxes: dict[int, Box]) -> list[Point]:
    """More points near the turns of what is still bent too far; fewer where none is missed."""
    for _ in range(3):
        if not behind(wire, points, boxes):
            break
        more: list[Point] = []
        for here, there in pairwise(points):
            more.append(here)
            if math.dist(here, there) > 6 * CORNER:
                more += [_towards(here, there, 2 * CORNER), _towards(there, here, 2 * CORNER)]
        points = [*more, points[-1]]
    for point in list(points):
        fewer = [other for other in points if other is not point]
        if not behind(wire, fewer, boxes, margin=6):
            points = fewer
    return points


def with_points(graph: dict) -> dict:
    """The graph with points for its wires; those of one socket are shared as far as they agree."""
    known: dict[tuple, dict] = {}
    ends = []
    for number, points in sorted(routed(graph).items()):
        source = next(link[1:3] for link in graph["links"] if link[0] == number)
        parent = None
        for n, point in enumerate(points):
            key = (n, *source, *points[: n + 2])  # and the next one: a point has one direction
            if key not in known:
                known[key] = {"id": len(known) + 1, "pos": list(point), "linkIds": []}
                if parent is not None:
                    known[key]["parentId"] = parent
            known[key]["linkIds"].append(number)
            parent = known[key]["id"]
        if parent is not None:
            ends.append({"id": number, "parentId": parent})
    extra = {k: v for k, v in graph["extra"].items() if k not in ("reroutes", "linkExtensions")}
    if ends:
        extra |= {"reroutes": [*known.values()], "linkExtensions": ends}
    return {**graph, "extra": extra}


def main(names: list[str]) -> None:
    for name in names or TEMPLATES:
        path = graph_file(name)
        graph = with_points(json.loads(path.read_text(encoding="utf-8")))
        path.write_text(json.dumps(graph, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        count = len(graph["extra"].get("reroutes", []))
        print(f"{name}: {count} points, {len(hidden(graph))} wires behind nodes")


if __name__ == "__main__":
    main(sys.argv[1:])
