"""Words put before and behind a prompt; in a storyboard, into what holds for every shot."""

from ..take.storyboard_text import read_storyboard, write_storyboard
from .slots import sentence


def is_storyboard(text: str) -> bool:
    """Whether a text has blocks, [0s] and so on."""
    return any(line.lstrip().startswith("[") for line in text.splitlines())


def amended(text: str, before: str = "", behind: str = "") -> str:
    """A prompt with words before and sentences behind it; of a storyboard, its [all].

    Raises:
        StoryboardError: for a storyboard that cannot be read.
    """
    if is_storyboard(text):
        shots, standing = read_storyboard(text)
        return write_storyboard(shots, amended(standing, before, behind))
    if not text.strip():
        return " ".join(filter(None, (before, sentence(behind))))
    middle = sentence(text) if behind else text.strip()
    return " ".join(filter(None, (before, middle, sentence(behind))))


def joined_lists(*lists: str) -> str:
    """Negative prompts one after another, each of their parts once."""
    parts = [part.strip() for text in lists for part in text.split(",")]
    return ", ".join(dict.fromkeys(part for part in parts if part))
