"""What can happen in the little world, and the many ways of saying it.

A `Scene` holds words only; `training.world.render` turns it into pictures. Some pairs of colour and
shape, and of colour and motion, are never sampled for training: prompts made of them show
whether the model puts words together or remembers pictures.
"""

from dataclasses import dataclass, replace
from random import Random

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SHAPES = ("ball", "cube", "cone")
SIZES = ("small", "medium", "big")
MOTIONS = ("still", "left", "right", "rises", "falls", "bounces", "grows", "shrinks", "spins")
GROUNDS = ("grass", "sand", "snow", "road")
TIMES = ("day", "sunset", "night")
CAMERAS = ("static", "pan left", "pan right", "zoom in", "zoom out")

HELD_OUT = frozenset(
    {
        ("red", "cone"),
        ("blue", "ball"),
        ("yellow", "cube"),
        ("yellow", "still"),
        ("green", "left"),
        ("purple", "right"),
        ("red", "rises"),
        ("cyan", "falls"),
        ("pink", "bounces"),
        ("blue", "grows"),
        ("orange", "shrinks"),
        ("green", "spins"),
    }
)


@dataclass(frozen=True)
class Thing:
    """One object: what it looks like and what it does.

    Attributes:
        colour, shape, size, motion: of COLOURS, SHAPES, SIZES and MOTIONS.
    """

    colour: str
    shape: str
    size: str = "medium"
    motion: str = "still"

    @property
    def held_out(self) -> bool:
        """Whether training never shows this combination."""
        return bool({(self.colour, self.shape), (self.colour, self.motion)} & HELD_OUT)


@dataclass(frozen=True)
class Shot:
    """One place, seen without a cut.

    Attributes:
        ground, time, camera: of GROUNDS, TIMES and CAMERAS.
        things: one or two.
        post: whether there is one, which hides what passes behind it for a moment.
    """

    ground: str
    time: str
    things: tuple[Thing, ...]
    camera: str = "static"
    post: bool = False


@dataclass(frozen=True)
class Scene:
    """One clip: a shot, or two with a hard cut between them."""

    shots: tuple[Shot, ...]

    @property
    def things(self) -> tuple[Thing, ...]:
        """Everything in every shot, in order."""
        return tuple(thing for shot in self.shots for thing in shot.things)

    @property
    def held_out(self) -> bool:
        """Whether training never shows this scene."""
        return any(thing.held_out for thing in self.things)


@dataclass(frozen=True)
class Mix:
    """How often the harder parts of the world turn up; the default is the whole world.

    Attributes:
        two: fraction of shots with two objects. cut: of clips with one.
        camera: fraction of shots in which it moves. size: of objects that are not medium.
        synonyms: fraction of captions not in the plain words and order.
        motions: what objects do, each as often as it is named here.
        post: fraction of clips in which something passes behind one.
        crossing: fraction of shots with two objects in which they pass one another.
        wide: fraction of words for which one may stand that the shipped weights never saw.
    """

    two: float = 0.3
    cut: float = 0.12
    camera: float = 0.35
    size: float = 0.6
    synonyms: float = 1.0
    motions: tuple[str, ...] = MOTIONS
    post: float = 0.0
    crossing: float = 0.0
    wide: float = 0.0


WHOLE_WORLD = Mix()
EASY_WORLD = Mix(
    two=0.0,
    cut=0.05,
    camera=0.05,
    size=0.0,
    synonyms=0.3,
    motions=("still", "left", "right", "rises", "falls"),
)


def sample_scene(rng: Random, mix: Mix = WHOLE_WORLD) -> Scene:
    """A random scene that training may show: never a held-out pair."""
    if mix.post and rng.random() < mix.post:
        return Scene((_sample_passage(rng, mix),))
    shots = 2 if rng.random() < mix.cut else 1
    first = _sample_shot(rng, mix)
    if shots == 1:
        return Scene((first,))
    while True:
        second = _sample_shot(rng, replace(mix, two=0.0))
        if second.ground != first.ground or second.time != first.time:
            return Scene((first, second))


def held_out_scenes(n: int, seed: int, mix: Mix = WHOLE_WORLD) -> list[Scene]:
    """`n` scenes whose first object is a pair training never shows; motions take turns."""
    scenes = []
    for k in range(n):
        motions = list(mix.motions)
        Random(f"{seed} {k // len(motions)}").shuffle(motions)
        scenes.append(_held_out_scene(Random(f"{seed} {k}"), mix, motions[k % len(motions)]))
    return scenes


def _held_out_scene(rng: Random, mix: Mix, motion: str) -> Scene:
    """A random scene, its first object replaced by a held-out one with this motion."""
    first, *rest = sample_scene(rng, mix).shots
    while True:
        thing = _held_out_thing(rng, mix, motion)
        if thing.colour not in {other.colour for other in first.things[1:]}:
            return Scene((replace(first, things=(thing, *first.things[1:])), *rest))


def _sample_shot(rng: Random, mix: Mix) -> Shot:
    camera = rng.choice(CAMERAS[1:]) if rng.random() < mix.camera else "static"
    things = [_sample_thing(rng, mix)]
    wanted = 2 if rng.random() < mix.two else 1
    while len(things) < wanted:
        other = _sample_thing(rng, mix)
        if other.colour != things[0].colour:
            things.append(other)
    if wanted == 2 and mix.crossing and rng.random() < mix.crossing:
        things = _sample_crossing(rng, mix)
    return Shot(rng.choice(GROUNDS), rng.choice(TIMES), tuple(things), camera)


def _sample_crossing(rng: Random, mix: Mix) -> list[Thing]:
    """Two things that pass one another: one goes left, the other right."""
    while True:
        ways = rng.sample(("left", "right"), 2)
        things = [_sample_thing(rng, replace(mix, motions=(way,))) for way in ways]
        if things[0].colour != things[1].colour:
            return things


def _sample_passage(rng: Random, mix: Mix) -> Shot:
    """Something that moves left or right behind a post, which hides it for a moment."""
    while True:
        sideways = replace(mix, two=0.0, motions=("left", "right"))
        shot = _sample_shot(rng, sideways)
        if shot.things[0].size != "big":
            return replace(shot, camera="static", post=True)


def _sample_thing(rng: Random, mix: Mix) -> Thing:
    while True:
        size = rng.choice(("small", "big")) if rng.random() < mix.size else "medium"
        thing = Thing(rng.choice(COLOURS), rng.choice(SHAPES), size, rng.choice(mix.motions))
        if not thing.held_out:
            return thing


def _held_out_thing(rng: Random, mix: Mix, motion: str) -> Thing:
    """A thing with this motion, held out by its shape or by its motion, about equally often."""
    by_motion = rng.random() < 0.5
    while True:
        size = rng.choice(("small", "big")) if rng.random() < mix.size else "medium"
        thing = Thing(rng.choice(COLOURS), rng.choice(SHAPES), size, motion)
        if thing.held_out and by_motion == ((thing.colour, motion) in HELD_OUT):
            return thing


# The first of each row is the plain word. Verbs: (what it does, doing it).
_COLOUR_WORDS = {c: (c,) for c in COLOURS} | {
    "cyan": ("cyan", "turquoise"),
    "purple": ("purple", "violet"),
}
_SHAPE_WORDS = {
    "ball": ("ball", "sphere", "round ball"),
    "cube": ("cube", "box", "block"),
    "cone": ("cone", "pointed cone"),
}
_SIZE_WORDS = {
    "small": ("small", "little", "tiny"),
    "medium": ("", "", "", "medium", "medium sized"),
    "big": ("big", "large", "huge"),
}
_MOTION_WORDS = {
    "still": (
        ("stays still", "staying still"),
        ("sits still", "sitting still"),
        ("does not move", "not moving"),
        ("stands still", "standing still"),
        ("rests", "resting"),
    ),
    "left": (
        ("moves left", "moving left"),
        ("moves to the left", "moving to the left"),
        ("goes left", "going left"),
        ("slides to the left", "sliding to the left"),
        ("travels left", "travelling left"),
        ("rolls to the left", "rolling to the left"),
        ("moves from right to left", "moving from right to left"),
    ),
    "right": (
        ("moves right", "moving right"),
        ("moves to the right", "moving to the right"),
        ("goes right", "going right"),
        ("slides to the right", "sliding to the right"),
        ("travels right", "travelling right"),
        ("rolls to the right", "rolling to the right"),
        ("moves from left to right", "moving from left to right"),
    ),
    "rises": (
        ("rises", "rising"),
        ("goes up", "going up"),
        ("moves up", "moving up"),
        ("floats up", "floating up"),
        ("flies upward", "flying upward"),
        ("rises into the air", "rising into the air"),
    ),
    "falls": (
        ("falls", "falling"),
        ("falls down", "falling down"),
        ("drops", "dropping"),
        ("moves down", "moving down"),
        ("comes down", "coming down"),
        ("falls from the sky", "falling from the sky"),
    ),
    "bounces": (
        ("bounces", "bouncing"),
        ("bounces up and down", "bouncing up and down"),
        ("hops", "hopping"),
        ("jumps up and down", "jumping up and down"),
    ),
    "grows": (
        ("grows", "growing"),
        ("gets bigger", "getting bigger"),
        ("grows larger", "growing larger"),
        ("expands", "expanding"),
    ),
    "shrinks": (
        ("shrinks", "shrinking"),
        ("gets smaller", "getting smaller"),
        ("becomes smaller", "becoming smaller"),
    ),
    "spins": (
        ("spins", "spinning"),
        ("rotates", "rotating"),
        ("spins around", "spinning around"),
        ("turns around", "turning around"),
    ),
}
_GROUND_WORDS = {
    "grass": ("on the grass", "on grass", "over the grass", "in a meadow", "on a lawn"),
    "sand": ("on the sand", "on sand", "over the sand", "on a beach", "in the desert"),
    "snow": ("on the snow", "on snow", "over the snow", "in the snow", "in a snowy field"),
    "road": ("on the road", "on a road", "over the road", "on a street", "on asphalt"),
}
_TIME_WORDS = {
    "day": ("during the day", "by day", "in daylight", "on a sunny day", "", ""),
    "sunset": ("at sunset", "at sunset", "at dusk", "in the evening"),
    "night": ("at night", "at night", "by night", "in the dark", "under the stars"),
}
_CAMERA_WORDS = {
    "static": ("", "", "", "", "the camera is still", "static camera"),
    "pan left": ("the camera pans left", "the camera pans to the left", "camera panning left"),
    "pan right": ("the camera pans right", "the camera pans to the right", "camera panning right"),
    "zoom in": ("the camera zooms in", "camera zooming in", "the camera slowly zooms in"),
    "zoom out": ("the camera zooms out", "camera zooming out", "the camera slowly zooms out"),
}
_POST_WORDS = ("behind a post", "behind a pillar", "behind a column")
# What people also say. Held apart, so that the exam asks in the words of the shipped weights.
_WIDER = {
    "red": ("crimson", "scarlet", "ruby red"),
    "orange": ("tangerine", "amber"),
    "yellow": ("golden", "lemon yellow", "gold"),
    "green": ("emerald", "lime green", "emerald green"),
    "cyan": ("teal", "aqua"),
    "blue": ("azure", "navy blue", "royal blue"),
    "purple": ("lilac", "lavender", "indigo"),
    "pink": ("magenta", "rose", "hot pink"),
    "ball": ("orb", "globe", "round thing"),
    "cube": ("square block", "crate", "dice"),
    "cone": ("traffic cone", "party hat", "spike"),
    "small": ("mini", "miniature", "small sized"),
    "big": ("giant", "enormous", "massive"),
    "on the grass": ("on green grass", "in a field", "in a park", "on a grassy plain"),
    "on the sand": ("at the beach", "on a sandy beach", "on the dunes", "by the sea"),
    "on the snow": ("on a snowy plain", "in winter", "on ice", "in a white landscape"),
    "on the road": ("on a highway", "in the street", "on tarmac", "on the pavement"),
    "during the day": ("at noon", "at midday", "in the afternoon", "in bright sunlight"),
    "at sunset": ("at twilight", "at golden hour", "as the sun sets", "at dawn"),
    "at night": ("at midnight", "by moonlight", "under a starry sky", "late at night"),
    "the camera pans left": ("pan left", "the view moves left", "a slow pan to the left"),
    "the camera pans right": ("pan right", "the view moves right", "a slow pan to the right"),
    "the camera zooms in": ("zoom in", "the camera moves closer", "a slow zoom in"),
    "the camera zooms out": ("zoom out", "the camera moves away", "a slow zoom out"),
}
_ARTICLES = ("a", "a", "a", "one")
_CUTS = ("then cut to", "then a cut to", "cut to", "then the scene cuts to")

# Each part brings its own comma; {does} holds one or two things, {doing} the same as a phrase.
_ORDERS = (
    "{does} {place} {time}, {camera}",
    "{does} {time} {place}, {camera}",
    "{time}, {does} {place}, {camera}",
    "{place} {time}, {does}, {camera}",
    "{camera}, {does} {place} {time}",
    "{doing} {place} {time}, {camera}",
    "there is {doing} {place} {time}, {camera}",
    "{time} {place}, {doing}, {camera}",
    "{does} {place}, {camera}, {time}",
)
_UNSEEN_ORDERS = (
    "{camera}, {time}, {place}, {does}",
    "{place}, {does} {time}, {camera}",
    "{camera} {time}, {doing} {place}",
)
_AFTER_CUT = (
    "{doing} {place} {time}, {camera}",
    "{doing} {time} {place}, {camera}",
    "{doing} {place}, {time}, {camera}",
)


def caption(
    scene: Scene, rng: Random, mix: Mix = WHOLE_WORLD, *, unseen_order: bool = False
) -> str:
    """A sentence for the scene, in lower case; the order of words may be one training lacks.

    Defaults (day, medium, a camera at rest) are often left unsaid.
    """
    orders = _UNSEEN_ORDERS if unseen_order else _ORDERS
    first, *rest = scene.shots
    text = _sentence(first, rng, mix, orders)
    for shot in rest:
        text += f", {_choose(_CUTS, rng, mix)} {_sentence(shot, rng, mix, _AFTER_CUT)}"
    return text


def all_words() -> list[str]:
    """Every phrase a caption may be made of, for building a vocabulary."""
    tables = (
        _COLOUR_WORDS,
        _SHAPE_WORDS,
        _SIZE_WORDS,
        _GROUND_WORDS,
        _TIME_WORDS,
        _CAMERA_WORDS,
    )
    phrases = {phrase for table in tables for row in table.values() for phrase in row}
    phrases |= {phrase for row in _MOTION_WORDS.values() for pair in row for phrase in pair}
    phrases |= {*_ARTICLES, *_CUTS, "an", "there is", "and", "while", "bright"}
    return sorted(phrases - {""})


def _choose(options, rng: Random, mix: Mix):
    if mix.wide and options[0] in _WIDER and rng.random() < mix.wide:
        return rng.choice(_WIDER[options[0]])
    return rng.choice(options) if rng.random() < mix.synonyms else options[0]


def _sentence(shot: Shot, rng: Random, mix: Mix, orders: tuple[str, ...]) -> str:
    text = _choose(orders, rng, mix).format(
        does=_things(shot, rng, mix, 0),
        doing=_things(shot, rng, mix, 1),
        place=_choose(_GROUND_WORDS[shot.ground], rng, mix),
        time=_choose(_TIME_WORDS[shot.time], rng, mix),
        camera=_choose(_CAMERA_WORDS[shot.camera], rng, mix),
    )
    parts = (" ".join(part.split()) for part in text.split(","))
    return ", ".join(part for part in parts if part)


def _things(shot: Shot, rng: Random, mix: Mix, form: int) -> str:
    phrases = [
        f"{_noun(thing, rng, mix)} {_choose(_MOTION_WORDS[thing.motion], rng, mix)[form]}"
        for thing in shot.things
    ]
    rng.shuffle(phrases)
    joints = (" and ", " and ", " while ") if form == 0 else (" and ",)
    text = _choose(joints, rng, mix).join(phrases)
    return f"{text} {_choose(_POST_WORDS, rng, mix)}" if shot.post else text


def _noun(thing: Thing, rng: Random, mix: Mix) -> str:
    size = _choose(_SIZE_WORDS[thing.size], rng, mix)
    colour = _choose(_COLOUR_WORDS[thing.colour], rng, mix)
    if rng.random() < 0.1 * mix.synonyms:
        colour = f"bright {colour}"
    shape = _choose(_SHAPE_WORDS[thing.shape], rng, mix)
    words = " ".join(word for word in (size, colour, shape) if word)
    article = _choose(_ARTICLES, rng, mix)
    return f"{'an' if article == 'a' and words[0] in 'aeiou' else article} {words}"
