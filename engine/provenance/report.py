"""What the Content Credentials in a file say, as a value and in words.

All of it is a claim by whoever signed the file. What is verified is only that the file has not
changed since, and which certificate signed it.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .signing import MIME, offline_context

# An IPTC digital source type as an answer to the one question: was it made by AI?
AI = {
    "trainedAlgorithmicMedia": "all",
    "compositeWithTrainedAlgorithmicMedia": "part",
    "compositeSynthetic": "part",
    **dict.fromkeys(
        (
            *("digitalCapture", "computationalCapture", "negativeFilm", "positiveFilm", "print"),
            *("minorHumanEdits", "humanEdits", "compositeCapture", "algorithmicallyEnhanced"),
            *("digitalArt", "digitalCreation", "dataDrivenMedia", "algorithmicMedia"),
            *("screenCapture", "virtualRecording", "composite"),
        ),
        "no",
    ),
}
MEANING = {
    "assertion.bmffHash.mismatch": "the pictures, the sound or the index are not what was signed",
    "assertion.bmffHash.malformed": "the checksum of the video is damaged",
    "assertion.dataHash.mismatch": "the content is not what was signed",
    "assertion.boxesHash.mismatch": "the content is not what was signed",
    "assertion.hashedURI.mismatch": "a statement was changed after it was signed",
    "assertion.missing": "a statement was removed after it was signed",
    "assertion.action.malformed": "the list of what was done is not well formed",
    "claimSignature.mismatch": "the signature does not match what it signs",
    "claimSignature.missing": "the signature is missing",
    "claimSignature.outsideValidity": "it was signed outside its certificate's period of validity",
    "signingCredential.expired": "the certificate has expired, and no timestamp shows that it was "
    "valid when it signed",
    "signingCredential.invalid": "the certificate is not one for signing content",
    "signingCredential.revoked": "the certificate was revoked",
    "manifest.inaccessible": "its credentials are stored at a network address, which is never "
    "contacted",
    "ingredient.manifest.mismatch": "its credentials were changed",
    "ingredient.hashedURI.mismatch": "its credentials were changed",
}
UNTRUSTED = "signingCredential.untrusted"  # the issuer is unknown here; nothing else is wrong
DEEPEST = 32  # generations of sources that are followed
LONGEST = 120  # characters of a text that comes from the file
VERDICTS = {
    "none": "No Content Credentials in this file.",
    "unsupported": "Files of this kind cannot carry Content Credentials.",
    "unreadable": "This file is damaged, or not what its name says: no credentials can be read.",
    "remote": "It holds no credentials, only a network address, which is never contacted.",
    "changed": "CHANGED after it was signed. Its credentials no longer apply to it.",
    "invalid": "The credentials are NOT VALID.",
    "valid": "Valid: unchanged since it was signed, by an issuer that is not known here.",
    "trusted": "Valid and trusted: unchanged since it was signed, by an issuer trusted here.",
    "own": "Valid: unchanged since it was signed, on this installation of Longtake.",
}


@dataclass(frozen=True)
class Ingredient:
    """A source that a file names.

    Attributes:
        title: what the file calls it.
        role: "parent" for the video that was continued, else "input".
        signed: whether it has credentials of its own.
        ai: as in Report, of those credentials and of the sources they name.
        faults: C2PA's codes for what is wrong with them.
    """

    title: str
    role: str
    signed: bool
    ai: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What a file says of itself.

    Attributes:
        verdict: a key of VERDICTS.
        ai: "all", "part", "no" (the signer says how it was made, and not by AI) or "unknown".
        made_with: programs and their versions.
        signer: the name on the certificate.
        signed_at: the time on the signature, or "".
        workflow: SHA-256 of the graph, if Longtake made it.
        models: "kind SHA-256" of each weights file, if Longtake made it.
        ingredients: the sources.
        faults: C2PA's codes for what is wrong.
        details: c2pa's own report, in full.
    """

    verdict: str
    ai: str = "unknown"
    made_with: tuple[str, ...] = ()
    signer: str = ""
    signed_at: str = ""
    workflow: str = ""
    models: tuple[str, ...] = ()
    ingredients: tuple[Ingredient, ...] = ()
    faults: tuple[str, ...] = ()
    details: Any = None

    @property
    def intact(self) -> bool:
        """Whether there are credentials and the file is unchanged since they were signed."""
        return self.verdict in ("valid", "trusted", "own")

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "intact": self.intact}, indent=2, ensure_ascii=False)


def read_report(file: Path, anchors: str = "", own: str = "") -> Report:
    """The credentials in a file, which is neither decoded nor changed.

    Args:
        file: any picture, video or sound.
        anchors: PEM of the root certificates to trust.
        own: PEM of this installation's root, to tell its own files from others that are trusted.
    """
    import c2pa

    mime = MIME.get(file.suffix.lower())
    if mime is None:
        return Report("unsupported")
    try:
        report = report_of(_store(file, mime, anchors))
        mine = own and report.verdict == "trusted" and report_of(_store(file, mime, own))
    except c2pa.C2paError.ManifestNotFound:
        return Report("none")
    except c2pa.C2paError as error:
        remote = str(error).startswith("Remote")  # c2pa has no class for it
        return Report("remote" if remote else "unreadable", details=_clean(str(error)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Report("unreadable")  # JSON that is not shaped like C2PA's
    return replace(report, verdict="own") if mine and mine.verdict == "trusted" else report


def _store(file: Path, mime: str, anchors: str) -> dict[str, Any]:
    import c2pa

    with (
        offline_context(anchors) as settings,
        file.open("rb") as opened,
        c2pa.Reader(mime, opened, context=settings) as reader,
    ):
        return json.loads(reader.json())


def report_of(store: dict[str, Any]) -> Report:
    """A manifest store, as c2pa reads and validates it, condensed."""
    manifests = store["manifests"]
    active = manifests[store["active_manifest"]]
    faults = tuple(dict.fromkeys(_failures(store.get("validation_results", {}))))
    signature = active.get("signature_info", {})
    kinds = _kinds(active)
    parameters = _parameters(active)
    return Report(
        verdict=_verdict(store.get("validation_state"), faults),
        ai=_ai(kinds),
        made_with=tuple(dict.fromkeys(_agents(active))),
        signer=_clean(signature.get("common_name") or signature.get("issuer") or ""),
        signed_at=_clean(signature.get("time") or ""),
        workflow=_clean(parameters.get("longtake.workflow_sha256", "")),
        models=tuple(
            f"{_clean(model['kind'])} {_clean(model['sha256'])}"
            for model in parameters.get("longtake.models", [])
        ),
        ingredients=tuple(_ingredients(active, manifests, _deltas(store))),
        faults=faults,
        details=store,
    )


def _verdict(state: str | None, faults: tuple[str, ...]) -> str:
    if state == "Trusted" and not faults:
        return "trusted"
    if state == "Valid" and not set(faults) - {UNTRUSTED}:
        return "valid"
    changes = (".mismatch", "assertion.missing", "claimSignature.missing")
    return "changed" if any(code.endswith(changes) for code in faults) else "invalid"


def _failures(results: dict[str, Any]) -> Iterator[str]:
    for failure in results.get("activeManifest", {}).get("failure", []):
        yield _clean(failure["code"])


def _deltas(store: dict[str, Any]) -> dict[str, list[str]]:
    """Faults of ingredients that were not there when they were signed in, by assertion label."""
    found: dict[str, list[str]] = {}
    for delta in store.get("validation_results", {}).get("ingredientDeltas", []):
        label = delta.get("ingredientAssertionURI", "").rsplit("/", 1)[-1]
        failures = delta.get("validationDeltas", {}).get("failure", [])
        found.setdefault(label, []).extend(_clean(failure["code"]) for failure in failures)
    return found


def _ingredients(
    manifest: dict[str, Any], manifests: dict[str, Any], deltas: dict[str, list[str]]
) -> Iterator[Ingredient]:
    for number, ingredient in enumerate(manifest.get("ingredients", [])):
        label = ingredient.get("active_manifest")
        own = manifests.get(label) if label else None
        faults = [
            *_failures(ingredient.get("validation_results", {})),
            *deltas.get(ingredient.get("label", ""), []),
            *(_older_faults(own, manifests) if own else ()),
        ]
        yield Ingredient(
            title=_clean(ingredient.get("title") or f"source {number + 1}"),
            role="parent" if ingredient.get("relationship") == "parentOf" else "input",
            signed=own is not None,
            ai=_inherited(own, manifests) if own else "unknown",
            faults=tuple(dict.fromkeys(code for code in faults if code != UNTRUSTED)),
        )


def _older_faults(manifest: dict[str, Any], manifests: dict[str, Any]) -> Iterator[str]:
    """Faults of the sources of a source, and of theirs."""
    for ancestor in _lineage(manifest, manifests):
        for ingredient in ancestor.get("ingredients", []):
            yield from _failures(ingredient.get("validation_results", {}))


def _lineage(manifest: dict[str, Any], manifests: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A manifest and those of its sources, theirs and so on, each once, the nearest first."""
    seen, waiting = {id(manifest)}, [(manifest, 0)]
    while waiting:
        one, depth = waiting.pop(0)
        yield one
        for ingredient in one.get("ingredients", []) if depth < DEEPEST else ():
            older = manifests.get(ingredient.get("active_manifest") or "")
            if older is not None and id(older) not in seen:
                seen.add(id(older))
                waiting.append((older, depth + 1))


def _inherited(manifest: dict[str, Any], manifests: dict[str, Any]) -> str:
    """Whether a source was made by AI: by its own account, or else partly if one of its own was."""
    own, *older = (_ai(_kinds(one)) for one in _lineage(manifest, manifests))
    if own in ("all", "part"):
        return own
    return "part" if {"all", "part"} & set(older) else own


def _actions(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for assertion in manifest.get("assertions", []):
        if assertion["label"].startswith("c2pa.actions"):
            yield from assertion["data"].get("actions", [])


def _kinds(manifest: dict[str, Any]) -> list[str]:
    """The digital source types of a manifest's actions, without the address before them."""
    kinds = (action.get("digitalSourceType", "") for action in _actions(manifest))
    return [kind.rsplit("/", 1)[-1] for kind in kinds if kind]


def _ai(kinds: list[str]) -> str:
    found = {AI.get(kind, "unknown") for kind in kinds}
    return next((answer for answer in ("all", "part", "no") if answer in found), "unknown")


def _agents(manifest: dict[str, Any]) -> Iterator[str]:
    for generator in manifest.get("claim_generator_info", []):
        yield _program(generator)
    for action in _actions(manifest):
        agent = action.get("softwareAgent")
        if agent:
            yield _program(agent) if isinstance(agent, dict) else _clean(agent)


def _program(generator: dict[str, Any]) -> str:
    return _clean(f"{generator.get('name', 'unnamed')} {generator.get('version', '')}")


def _parameters(manifest: dict[str, Any]) -> dict[str, Any]:
    return {k: v for action in _actions(manifest) for k, v in action.get("parameters", {}).items()}


def _clean(text: Any) -> str:
    """A text from the file on one line, and not endless."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def describe_report(report: Report) -> str:
    """The report in words, one fact a line."""
    lines = [VERDICTS[report.verdict]]
    if report.verdict == "none":
        lines.append("That proves nothing: copying, editing and uploading remove credentials.")
    if report.verdict in ("none", "unsupported", "unreadable", "remote"):
        return "\n".join(lines)
    lines += [f"- {MEANING.get(code, code)}" for code in report.faults if code != UNTRUSTED]
    lines.append(f"Made by AI: {_ai_words(report)}")
    lines.append(f"Made with: {', '.join(report.made_with) or 'not stated'}")
    when = f", {report.signed_at}" if report.signed_at else ""
    lines.append(f"Signed by: {report.signer or 'not stated'}{when}{_issuer_note(report)}")
    lines += [f"Source: {_ingredient_words(one)}" for one in report.ingredients]
    return "\n".join(lines)


def _ai_words(report: Report) -> str:
    inherited = any(one.ai in ("all", "part") for one in report.ingredients)
    answer = {
        "all": "yes, all of it",
        "part": "yes, a part of it",
        "no": "no",
        "unknown": "not stated",
    }[report.ai]
    if report.ai in ("no", "unknown") and inherited:
        answer += "; but one of its sources was"
    return f"{answer} (a claim that is not valid for this file)" if not report.intact else answer


def _issuer_note(report: Report) -> str:
    if report.verdict == "own":
        return " (this installation; other computers and public sites show an unknown issuer)"
    return " (anybody can make a certificate of this name)" if report.verdict == "valid" else ""


def _ingredient_words(one: Ingredient) -> str:
    role = "the video it continues" if one.role == "parent" else "used as an input"
    if one.faults:
        problems = "; ".join(MEANING.get(code, code) for code in one.faults)
        return f"{one.title}, {role}: FAULT: {problems}"
    if not one.signed:
        return f"{one.title}, {role}, without credentials of its own"
    origin = {"all": "made by AI", "part": "partly made by AI", "no": "not made by AI"}
    return f"{one.title}, {role}, with credentials: {origin.get(one.ai, 'origin not stated')}"
