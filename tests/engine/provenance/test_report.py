"""What is made of C2PA's findings: whom to believe, and what a file inherits from its sources."""

import pytest

from longtake.engine.provenance.report import (
    AI,
    UNTRUSTED,
    VERDICTS,
    Report,
    describe_report,
    read_report,
    report_of,
)
from longtake.engine.provenance.signing import IPTC

CHANGED = "assertion.bmffHash.mismatch"
EXPIRED = "signingCredential.expired"


def findings(*codes: str) -> dict:
    return {"activeManifest": {"failure": [{"code": code} for code in codes]}}


def manifest(*kinds: str, sources=(), label="c2pa.actions.v2") -> dict:
    """One whose actions have digital source types, and that names sources by their manifests."""
    actions = [{"action": "c2pa.created", "digitalSourceType": IPTC + kind} for kind in kinds]
    return {
        "assertions": [{"label": label, "data": {"actions": actions}}],
        "ingredients": [
            {"label": f"source{n}", "relationship": "parentOf", "active_manifest": source}
            for n, source in enumerate(sources)
        ],
    }


def store(state="Valid", codes=(), **manifests) -> dict:
    """A file whose own manifest is "top"."""
    return {
        "active_manifest": "top",
        "manifests": {"top": manifest("algorithmicMedia"), **manifests},
        "validation_state": state,
        "validation_results": findings(*codes),
    }


@pytest.mark.parametrize(
    ("state", "codes", "verdict"),
    [
        ("Trusted", [], "trusted"),
        ("Valid", [], "valid"),
        ("Valid", [UNTRUSTED], "valid"),
        # Whatever c2pa calls the whole, a fault that it names is not passed over.
        ("Valid", [CHANGED], "changed"),
        ("Valid", [UNTRUSTED, CHANGED], "changed"),
        ("Valid", [UNTRUSTED, "assertion.missing"], "changed"),
        ("Valid", ["claimSignature.missing"], "changed"),
        ("Valid", [EXPIRED], "invalid"),
        ("Valid", [UNTRUSTED, "signingCredential.revoked"], "invalid"),
        ("Trusted", [CHANGED], "changed"),
        ("Trusted", [EXPIRED], "invalid"),
        ("Invalid", [CHANGED], "changed"),
        ("Invalid", ["something.new"], "invalid"),
        ("Invalid", [], "invalid"),
        ("Invalid", [UNTRUSTED], "invalid"),
        ("trusted", [], "invalid"),
        (None, [], "invalid"),
    ],
)
def test_only_what_is_without_fault_is_valid(state, codes, verdict):
    report = report_of(store(state, codes))
    assert report.verdict == verdict
    assert report.intact == (verdict in ("valid", "trusted"))
    assert set(report.faults) == set(codes)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_words_promise_no_more_than_the_verdict(verdict):
    words = describe_report(Report(verdict, ai="all", signer="somebody"))
    assert ("unchanged since it was signed" in words) == Report(verdict).intact
    assert ("anybody can make a certificate" in words) == (verdict == "valid")
    assert ("this installation;" in words) == (verdict == "own")
    if verdict in ("changed", "invalid"):
        assert "a claim that is not valid for this file" in words
    if "Made by AI" not in words:
        assert verdict in ("none", "unsupported", "unreadable", "remote")


def test_each_fault_is_a_line_but_an_unknown_issuer_is_none():
    report = Report("invalid", faults=(UNTRUSTED, EXPIRED, "something.new"))
    assert [line for line in describe_report(report).split("\n") if line.startswith("- ")] == [
        "- the certificate has expired, and no timestamp shows that it was valid when it signed",
        "- something.new",
    ]


@pytest.mark.parametrize(
    ("kinds", "ai"),
    [
        (["trainedAlgorithmicMedia"], "all"),
        (["compositeWithTrainedAlgorithmicMedia"], "part"),
        (["digitalCapture"], "no"),
        (["digitalCapture", "trainedAlgorithmicMedia"], "all"),
        (["digitalCapture", "compositeSynthetic"], "part"),
        (["somethingNew"], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_strongest_claim_of_ai_counts(kinds, ai):
    assert report_of(store(top=manifest(*kinds))).ai == ai
    older = report_of(store(top=manifest(*kinds, label="c2pa.actions")))
    assert older.ai == ai


def test_only_three_kinds_of_source_are_ai():
    assert {kind for kind, ai in AI.items() if ai != "no"} == {
        "trainedAlgorithmicMedia",
        "compositeWithTrainedAlgorithmicMedia",
        "compositeSynthetic",
    }


@pytest.mark.parametrize(
    ("own", "older", "ai"),
    [
        # A source that only cut or copied what a model made was partly made by AI.
        ([], ["trainedAlgorithmicMedia"], "part"),
        (["humanEdits"], ["trainedAlgorithmicMedia"], "part"),
        (["humanEdits"], ["compositeSynthetic"], "part"),
        (["trainedAlgorithmicMedia"], ["digitalCapture"], "all"),
        (["compositeSynthetic"], ["trainedAlgorithmicMedia"], "part"),
        (["digitalCapture"], ["digitalCapture"], "no"),
        ([], ["digitalCapture"], "unknown"),
    ],
)
@pytest.mark.parametrize("generations", [1, 2, 5])
def test_a_source_inherits_the_ai_in_its_own_sources(own, older, ai, generations):
    between = {
        f"g{n}": manifest("humanEdits" if own else "somethingNew", sources=[f"g{n + 1}"])
        for n in range(1, generations)
    }
    report = report_of(
        store(
            top=manifest("humanEdits", sources=["g0"]),
            g0=manifest(*own, sources=["g1"]),
            **between,
            **{f"g{generations}": manifest(*older)},
        )
    )
    assert [one.ai for one in report.ingredients] == [ai]
    inherited = ai in ("all", "part")
    assert ("one of its sources was" in describe_report(report)) == inherited


def test_one_source_of_several_is_enough():
    report = report_of(
        store(
            top=manifest(sources=["g0"]),
            g0=manifest(sources=["camera", "missing", "model"]),
            camera=manifest("digitalCapture"),
            model=manifest("trainedAlgorithmicMedia"),
        )
    )
    assert [one.ai for one in report.ingredients] == ["part"]


def test_a_source_without_credentials_says_nothing():
    top = manifest("humanEdits", sources=["not there"])
    (source,) = report_of(store(top=top)).ingredients
    assert (source.signed, source.ai, source.faults) == (False, "unknown", ())


def test_sources_that_name_each_other_come_to_an_end():
    report = report_of(
        store(
            top=manifest(sources=["g0"]),
            g0=manifest(sources=["g1", "g0"]),
            g1=manifest("trainedAlgorithmicMedia", sources=["g0"]),
        )
    )
    assert [one.ai for one in report.ingredients] == ["part"]


def test_a_fault_of_a_source_is_found_wherever_it_is_noted():
    """When it was signed in, in its own sources, or only in this reading."""
    top = manifest("humanEdits", sources=["g0", "g1", "g2"])
    top["ingredients"][0]["validation_results"] = findings(CHANGED, UNTRUSTED)
    g1 = manifest("digitalCapture", sources=["g2"])
    g1["ingredients"][0]["validation_results"] = findings(EXPIRED)
    found = store(top=top, g0=manifest(), g1=g1, g2=manifest())
    found["validation_results"]["ingredientDeltas"] = [
        {
            "ingredientAssertionURI": "self#jumbf=c2pa.assertions/source2",
            "validationDeltas": {"failure": [{"code": "assertion.missing"}, {"code": UNTRUSTED}]},
        }
    ]
    report = report_of(found)
    assert [one.faults for one in report.ingredients] == [
        (CHANGED,),
        (EXPIRED,),
        ("assertion.missing",),
    ]
    assert describe_report(report).count("FAULT") == 3


@pytest.mark.parametrize(
    "found",
    [{}, [], None, {"manifests": {}}, {"manifests": [], "active_manifest": "top"},
     store(top={"assertions": [{}]}), store(top={"ingredients": 7})],
)  # fmt: skip
def test_credentials_of_another_shape_are_unreadable(tmp_path, monkeypatch, found):
    monkeypatch.setattr("longtake.engine.provenance.report._store", lambda *_: found)
    assert read_report(tmp_path / "a.mp4").verdict == "unreadable"


@pytest.mark.parametrize(
    ("trusted_by", "verdict"),
    [({"all"}, "trusted"), ({"all", "own"}, "own"), ({"own"}, "valid"), (set(), "valid")],
)
def test_own_is_what_the_own_root_vouches_for(tmp_path, monkeypatch, trusted_by, verdict):
    def read(file, mime, anchors):
        return store("Trusted" if anchors in trusted_by else "Valid")

    monkeypatch.setattr("longtake.engine.provenance.report._store", read)
    assert read_report(tmp_path / "a.mp4", "all", "own").verdict == verdict
    without = read_report(tmp_path / "a.mp4", "all").verdict
    assert without == ("trusted" if "all" in trusted_by else "valid")
