"""The last step of a save: what is signed, what is saved unsigned, and what is not saved."""

import importlib

import pytest

from longtake.models.errors import InputError, OutputError


@pytest.fixture
def credentials(host):
    return importlib.import_module("longtake.host.provenance.credentials")


@pytest.fixture
def signing_step(credentials, monkeypatch):
    """Makes the step with a choice, where signing gives a value or raises an error."""

    def step(choice, result):
        def signed(self, whole):
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(credentials.Signing, "_signed", signed)
        return credentials.Signing(choice, None)

    return step


def test_off_signs_nothing(signing_step, tmp_path):
    step = signing_step("off", AssertionError("it was asked to sign"))
    assert step(tmp_path / "a.mp4") == tmp_path / "a.mp4"
    assert step.note == ""


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_the_signed_copy_is_what_is_published(signing_step, tmp_path, choice):
    step = signing_step(choice, tmp_path / "signed.mp4")
    assert step(tmp_path / "a.mp4") == tmp_path / "signed.mp4"
    assert step.note == "signed with Content Credentials"


@pytest.mark.parametrize("error", [OutputError("the pen is empty"), OSError("the pen is empty")])
def test_what_cannot_be_signed_is_saved_unsigned_only_if_that_is_allowed(
    signing_step, tmp_path, error
):
    step = signing_step("auto", error)
    assert step(tmp_path / "a.mp4") == tmp_path / "a.mp4"
    assert step.note == "not signed: the pen is empty"
    with pytest.raises(type(error), match="the pen is empty"):
        signing_step("required", error)(tmp_path / "a.mp4")


def test_an_unknown_error_is_never_a_reason_to_save_unsigned(signing_step, tmp_path):
    with pytest.raises(ZeroDivisionError):
        signing_step("auto", ZeroDivisionError())(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("choice", "suffix", "missing", "message"),
    [
        ("required", ".mp4", "c2pa is missing", "are required, but c2pa is missing"),
        ("required", ".webm", None, ".webm files cannot carry any"),
        ("required", ".mp4", None, None),
        ("auto", ".webm", "c2pa is missing", None),
        ("off", ".webm", "c2pa is missing", None),
    ],
)
def test_only_what_is_required_is_refused_before(
    credentials, monkeypatch, choice, suffix, missing, message
):
    monkeypatch.setattr(credentials.signing, "why_unavailable", lambda: missing)
    if message is None:
        credentials.check_choice(choice, suffix)
    else:
        with pytest.raises(InputError, match=message):
            credentials.check_choice(choice, suffix)
