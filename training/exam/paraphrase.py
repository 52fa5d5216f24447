"""The little world in words that the built-in model was never shown: prompts as people write them.

Written before the tables that translate such prompts (engine/words/little_world.json), and not
changed with them: what the tables do not know counts as wrong.
"""

import re
from random import Random

from ..world.captions import Mix, Scene, Shot, Thing, held_out_scenes, sample_scene

COLOUR = {
    "red": ("crimson", "scarlet", "ruby", "cherry red", "vermilion", "fire-engine red"),
    "orange": ("tangerine", "amber", "pumpkin-coloured", "apricot"),
    "yellow": ("lemon", "golden", "canary yellow", "sunflower yellow", "mustard"),
    "green": ("emerald", "lime", "olive", "jade", "mossy"),
    "cyan": ("teal", "aqua", "aquamarine", "sky-blue"),
    "blue": ("navy", "azure", "cobalt", "sapphire", "indigo"),
    "purple": ("lavender", "mauve", "plum", "lilac", "amethyst"),
    "pink": ("rose", "magenta", "salmon", "fuchsia", "bubblegum"),
}
SHAPE = {
    "ball": ("orb", "globe", "marble", "bubble", "beach ball", "football", "spherical thing"),
    "cube": ("crate", "dice", "brick", "cubic object", "parcel", "square block"),
    "cone": ("traffic cone", "party hat", "funnel", "pyramid", "spike", "conical shape"),
}
SIZE = {
    "small": ("miniature", "petite", "wee", "mini", "palm-sized"),
    "medium": ("", "", "average", "ordinary", "normal-sized"),
    "big": ("giant", "enormous", "massive", "gigantic", "colossal", "towering"),
}
MOTION = {  # said after the thing: "a crimson orb ..."
    "still": ("lies motionless", "is at rest", "stays put", "remains in place",
              "is frozen in place"),
    "left": ("drifts leftwards", "glides toward the left", "heads left", "scoots off to the left",
             "crosses from the right side to the left side"),
    "right": ("drifts rightwards", "glides toward the right", "heads right",
              "scoots off to the right", "crosses from the left side to the right side"),
    "rises": ("ascends", "soars skyward", "climbs into the sky", "lifts off", "levitates"),
    "falls": ("plummets", "tumbles down", "descends", "sinks to the ground", "plunges"),
    "bounces": ("leaps up and down", "springs up again and again", "dribbles", "bobs up and down"),
    "grows": ("swells", "inflates", "becomes larger", "balloons in size", "enlarges"),
    "shrinks": ("contracts", "dwindles", "becomes tinier", "deflates", "diminishes"),
    "spins": ("twirls", "whirls", "revolves", "pirouettes", "gyrates"),
}  # fmt: skip
GROUND = {
    "grass": ("on a green field", "in a park", "in a pasture", "across the turf", "on the prairie"),
    "sand": ("on the dunes", "at the seaside", "by the shore", "in the Sahara", "on the coast"),
    "snow": ("on a glacier", "in a wintry landscape", "on the ice", "in the Arctic",
             "on a frosty plain"),
    "road": ("on a highway", "on the pavement", "along an avenue", "in a car park",
             "on the motorway"),
}  # fmt: skip
TIME = {
    "day": ("at noon", "in bright sunshine", "in the morning", "under a clear blue sky",
            "in the afternoon"),
    "sunset": ("at sundown", "at golden hour", "at twilight", "as the sun goes down",
               "at nightfall"),
    "night": ("at midnight", "by moonlight", "under a starry sky", "after dark",
              "in the moonlight"),
}  # fmt: skip
CAMERA = {
    "static": ("", "", "", "locked-off shot", "tripod shot"),
    "pan left": ("the camera swings to the left", "slow pan toward the left", "we look leftwards"),
    "pan right": ("the camera swings to the right", "slow pan toward the right",
                  "we look rightwards"),
    "zoom in": ("the camera moves closer", "slow push-in", "dolly in", "the lens closes in on it"),
    "zoom out": ("the camera pulls back", "slow pull-out", "dolly out", "the view widens"),
}  # fmt: skip
FRAMES = (
    "A {thing} {does} {place} {time}. {camera}",
    "{time}, a {thing} {does} {place}; {camera}",
    "Picture this: {place}, a {thing} {does} {time}. {camera}",
    "{camera}: {place} {time}, a {thing} {does}.",
    "Cinematic footage of a {thing} that {does} {place}, {time}, beautiful, 4k. {camera}",
    "a {thing} which {does} {time} {place}, photorealistic, {camera}",
)
ONE, MOVING = Mix(two=0, cut=0, camera=0), Mix(two=0, cut=0, camera=1)


def paraphrased(count: int, seed: int) -> list[tuple[Scene, str]]:
    """Scenes of one object, half of them held out, each with a sentence in other people's words.

    In one of three the camera moves.
    """
    found = []
    for k in range(count):
        rng, mix = Random(f"paraphrase {seed} {k}"), MOVING if k % 3 == 2 else ONE
        scene = held_out_scenes(1, 7000 * seed + k, mix)[0] if k % 2 else sample_scene(rng, mix)
        found.append((scene, sentence(scene.shots[0], rng)))
    return found


def sentence(shot: Shot, rng: Random) -> str:
    """One shot with one thing, in words that training never used."""
    parts = {
        "thing": _noun(shot.things[0], rng),
        "does": rng.choice(MOTION[shot.things[0].motion]),
        "place": rng.choice(GROUND[shot.ground]),
        "time": rng.choice(TIME[shot.time]),
        "camera": rng.choice(CAMERA[shot.camera]),
    }
    text = rng.choice(FRAMES).format(**parts)
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", " ".join(text.split()))
    return text.strip(" ,;:")


def _noun(thing: Thing, rng: Random) -> str:
    words = rng.choice(SIZE[thing.size]), rng.choice(COLOUR[thing.colour])
    return " ".join(word for word in (*words, rng.choice(SHAPE[thing.shape])) if word)
