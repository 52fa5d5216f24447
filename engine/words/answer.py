"""A language model's answer: tidied up, and looked at for what the prompt said and it does not.

Small models forget, explain, refuse and format. An answer is used only if nothing of that is found.
"""

import re

THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)|<\|?[a-z_]+\|?>", re.DOTALL | re.IGNORECASE)
LABEL = re.compile(
    r"^\s*(?:here(?:'s| is)[^\n:]{0,60}|(?:video |final |expanded )?prompt|output):\s*",
    re.IGNORECASE,
)
MARKDOWN = re.compile(r"\*\*|__|^#{1,6} |^\s*(?:[-*•]|\d+[.)])\s|```|^\s*\|", re.MULTILINE)
REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|an ai)|i (?:can(?:no|')t|will not|won't)|as an ai|"
    r"cannot (?:assist|help|comply|create)|against (?:my|the) (?:policy|guidelines))\b",
    re.IGNORECASE,
)
QUOTED = re.compile('"([^"\n]{2,})"|“([^”\n]{2,})”|«([^»\n]{2,})»')
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
NUMBERS = {word: str(number) for number, word in enumerate(COUNTED.split(" "))}
# Words whose absence changes nothing: they join others, or are said in another way.
SAID_OTHERWISE = """
the and but with without from into onto over under above below near that this these those
who which what when where while then than his her its their them they she him you your our
has have had was were are been being for not very just some any all more most also only
out off down through across along there here about after before between video clip film
scene shot show shows showing footage make makes create
"""
LIGHT = frozenset(SAID_OTHERWISE.split())
ENDINGS = ("ingly", "ings", "ing", "edly", "ed", "es", "ly", "s", "e")


def tidied(answer: str) -> str:
    """Without thoughts, a label in front, quotation marks around it all, and blank lines."""
    text = LABEL.sub("", THOUGHTS.sub("", answer).strip())
    if len(text) > 1 and text[0] in "\"“'" and text[-1] in "\"”'" and not QUOTED.search(text[1:-1]):
        text = text[1:-1]
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def fault_of(prompt: str, answer: str, words: tuple[int, int]) -> str:
    """What is wrong with a tidied answer, in a few words; "" for nothing.

    Args:
        words: the least and most that it may have. A prompt that is longer asks for no less.
    """
    count, (least, most) = len(WORD.findall(answer)), words
    if not count:
        return "no answer"
    if REFUSAL.search(answer) and not REFUSAL.search(prompt):
        return "a refusal"
    if MARKDOWN.search(answer):
        return "lists or Markdown"
    most = max(most, 2 * len(WORD.findall(prompt)))
    if not least <= count <= most:
        return f"{count} words, not {least} to {most}"
    return missing_from(prompt, answer)


def missing_from(prompt: str, answer: str) -> str:
    """The first thing that a prompt says and an answer does not."""
    for match in QUOTED.finditer(prompt):
        speech = next(filter(None, match.groups()))
        if _plain(speech) not in _plain(answer):
            return f'without the speech "{speech}"'
    said = {_number(word) for word in WORD.findall(answer.lower())}
    stems = {stem(word) for word in said}
    for word in WORD.findall(prompt):
        low = _number(word.lower())
        if low.isdigit() and low not in said:
            return f"without the number {word}"
        if len(low) > 2 and low not in LIGHT and stem(low) not in stems:
            return f"without {word!r}"
    return ""


def stem(word: str) -> str:
    """A word without its ending, so that "bounces" is found in "bouncing"."""
    if word.endswith(("ies", "ied")):
        return f"{word[:-3]}y"
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def _number(word: str) -> str:
    return NUMBERS.get(word, word)


def _plain(text: str) -> str:
    return " ".join(text.replace("’", "'").split()).strip(" .,!?").lower()
