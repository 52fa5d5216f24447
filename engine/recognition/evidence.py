"""What a video itself and the ledger say about whether it was made here, weighed and in words."""

import json
from dataclasses import dataclass
from typing import Any

from ..frames.watermark import ID_BITS, Mark
from ..provenance.report import Report
from .ledger import ALIKE, SIMILAR, SOUND_ALIKE, Known
from .reproduction import Reproduction, describe_reproduction

DIGITS = ID_BITS // 4  # of a mark's id


@dataclass(frozen=True)
class Evidence:
    """All that there is to go by.

    Attributes:
        credentials: what the file's Content Credentials say, or why they cannot be read.
        mark: what was found of the invisible mark.
        picture, sound: the entries of the ledger that it resembles most, by each.
        lines, damaged: of the ledger, how many were compared, and how many cannot be read.
        same_graph: name of a file in the ledger whose graph has the mark's id.
        reproduction: how well a VAE reproduces it, where one was asked.
    """

    credentials: Report | str
    mark: Mark
    picture: Known | None = None
    sound: Known | None = None
    lines: int = 0
    damaged: int = 0
    same_graph: str | None = None
    reproduction: Reproduction | None = None

    @property
    def signed(self) -> bool:
        """Whether the file is as it was signed here."""
        return getattr(self.credentials, "verdict", "") == "own"

    @property
    def seen(self) -> bool:
        return self.picture is not None and self.picture.seen

    @property
    def heard(self) -> bool:
        return self.sound is not None and self.sound.heard

    @property
    def verdict(self) -> str:
        """A key of VERDICTS, the first that holds."""
        if self.signed:
            return "signed"
        if self.seen:
            return "known"
        if self.mark.present:
            return "marked here" if self.same_graph else "marked"
        if self.heard:
            return "sound known"
        return "reproduced" if self.reproduction and self.reproduction.own else "unknown"

    @property
    def made_here(self) -> bool:
        return self.verdict in ("signed", "known", "marked here")

    def as_json(self) -> str:
        """For programs."""
        return json.dumps(
            {
                "verdict": self.verdict,
                "made_here": self.made_here,
                "credentials": getattr(self.credentials, "verdict", "not read"),
                "mark": {"z": round(self.mark.z, 2), "id": self.mark.id},
                "pictures": _as_fields(self.picture, "pictures"),
                "sound": _as_fields(self.sound, "sound"),
                "ledger": {"lines": self.lines, "damaged": self.damaged},
                "vae_ratio": self.reproduction and round(self.reproduction.ratio, 3),
            }
        )


def _as_fields(known: Known | None, which: str) -> dict[str, Any] | None:
    if known is None:
        return None
    found = getattr(known, which)
    named = {"file": known.entry.name, "saved": known.entry.at}
    return {**named, "distance": round(found.distance, 4), "compared": found.common}


VERDICTS = {
    "signed": "Made here: yes. It is as it was signed on this installation of Longtake.",
    "known": "Made here: yes, by its pictures. The ledger has them.",
    "marked here": "Made here: very likely. It bears the mark of a workflow in the ledger.",
    "marked": "Made with Longtake, it seems, here or elsewhere: it bears the mark.",
    "sound known": "Its sound was saved here; its pictures are not known.",
    "reproduced": "It looks like a video out of this VAE, decoded here or elsewhere.",
    "unknown": "Nothing here knows it. That does not mean that no AI made it.",
}


def describe_evidence(evidence: Evidence) -> str:
    """The answer, then what each source says."""
    lines = [VERDICTS[evidence.verdict], _credentials_words(evidence.credentials)]
    lines += [_mark_words(evidence), _picture_words(evidence), _sound_words(evidence)]
    lines.append(describe_reproduction(evidence.reproduction))
    if evidence.damaged:
        lines.append(f"{evidence.damaged} lines of the ledger are damaged and were left out.")
    return "\n".join(filter(None, lines))


def _credentials_words(found: Report | str) -> str:
    if isinstance(found, str):
        return f"Credentials: {found}"
    said = {
        "own": "signed here, unchanged since; whoever has the key of this installation can sign",
        "trusted": "signed by somebody you trust, not here",
        "valid": "signed by somebody who is not known here",
        "none": "none; every re-encoding removes them",
        "unsupported": "files of this kind carry none",
    }
    return f"Credentials: {said.get(found.verdict, found.verdict + ': do not rely on them')}."


def _mark_words(evidence: Evidence) -> str:
    mark = evidence.mark
    if not mark.present:
        return f"Mark: none found ({mark.z:.1f}; 8 are needed). It may have been off, or be lost."
    if evidence.same_graph:
        whose = f", that of {evidence.same_graph}'s workflow"
    else:
        whose = "; no file in the ledger has it"
    carried = "its id cannot be read" if mark.id is None else f"id {mark.id:0{DIGITS}x}{whose}"
    return f"Mark: there ({mark.z:.1f}), {carried}. Anybody can forge or remove it."


def _picture_words(evidence: Evidence) -> str:
    known = evidence.picture
    if not evidence.lines:
        return "Ledger: it is empty. Save Video fills it where its `remember` is on."
    if known is None:
        return f"Ledger: none of its {evidence.lines} videos has pictures to compare."
    found, entry = known.pictures, known.entry
    measure = f"distance {found.distance:.2f} over {found.common} s; below {ALIKE:g} is known"
    if not known.seen and found.distance < SIMILAR:
        return f"Ledger: its pictures resemble {entry.name}'s, and may be of the like ({measure})."
    if not known.seen:
        return f"Ledger: its pictures are in none of {evidence.lines} videos ({measure})."
    return f"Ledger: its pictures are {entry.name}'s, saved {entry.at} ({measure})."


def _sound_words(evidence: Evidence) -> str:
    known = evidence.sound
    if known is None or not known.sound.common:
        return ""
    measure = f"distance {known.sound.distance:.2f}; below {SOUND_ALIKE:g} is known"
    if not known.heard:
        return f"Ledger: its sound is not known ({measure})."
    return f"Ledger: its sound is {known.entry.name}'s, saved {known.entry.at} ({measure})."
