"""One spelling for what people write in many ways, so that a list need hold a word only once."""

import re
import unicodedata

# Letters that look like others'; Greek and Cyrillic words lose nothing, since lists are folded too.
LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһкмтвнοαεινρτυκ" + "ßøđł",
    "aeopcyxijsdhkmtbhoaeivptuk" + "sodl",
)  # fmt: skip
LEET = str.maketrans("0134578@$!|+", "oieastbasiit")
LEET_SIGN = re.compile(r"(?<=\w)[@$!|+](?=\w)|(?<!\w)[@$](?=[^\W\d])")
WORD = re.compile(r"[^\W_]+")
INSIDE = re.compile(r"(?<=\w)[^\w\s]+(?=\w)|_")
LONG_RUN = re.compile(r"(\w)\1{2,}")
WIDE = re.compile(r"\s{2,}")
SPELT_OUT = re.compile(r"(?<!\S)\w(?: \w){2,}(?!\S)")


def visible(text: str) -> str:
    """Without accents, invisible characters and other scripts' lookalikes; capitals stay."""
    apart = unicodedata.normalize("NFKD", text)
    kept = (c for c in apart if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    return unicodedata.normalize("NFKC", "".join(kept)).translate(LOOKALIKES)


def plain_letters(text: str) -> str:
    """The same in lower case."""
    return visible(text).casefold().translate(LOOKALIKES)


def forms(text: str) -> tuple[str, ...]:
    """The ways in which a text may be meant, as words with a space between them.

    By its own words; with what was written inside of words taken out ("n.u_d*e"); with letters that
    stand alone drawn together ("n u d e"), where words may have more than a space between them.
    """
    clear = LEET_SIGN.sub(lambda sign: sign[0].translate(LEET), plain_letters(text))
    found = [" ".join(map(_folded, WORD.findall(t))) for t in (clear, INSIDE.sub("", clear))]
    found = [SPELT_OUT.sub(lambda run: f"{run[0]} {run[0].replace(' ', '')}", t) for t in found]
    if SPELT_OUT.search(found[0]):
        parts = [WORD.findall(part) for part in WIDE.split(clear)]
        found.append(" ".join(_folded("".join(p)) if _is_spelt(p) else " ".join(map(_folded, p))
                              for p in parts))  # fmt: skip
    return tuple(dict.fromkeys(found))


def _is_spelt(words: list[str]) -> bool:
    return len(words) > 1 and all(len(word) == 1 for word in words)


def _folded(word: str) -> str:
    """A word with digits read as letters, i and l as one, and no letter three times."""
    if not word.isdecimal():
        word = word.translate(LEET)
    return LONG_RUN.sub(r"\1", word).replace("l", "i")  # in this order: "killing" is no "king"


def term(words: str) -> str:
    """A regular expression for an entry of a list, to be searched for in one of `forms`."""
    ends = words.endswith("*")
    folded = " ".join(map(_folded, WORD.findall(plain_letters(words.rstrip("*")))))
    return rf"{re.escape(folded)}\S*" if ends else re.escape(folded)


def any_of(terms: list[str] | tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for whole words, of any of a list; it matches nothing where there are none."""
    found = sorted(filter(None, map(term, terms)), key=len, reverse=True)
    return re.compile(rf"(?<!\S)(?:{'|'.join(found)})(?!\S)") if found else re.compile(r"(?!)")
