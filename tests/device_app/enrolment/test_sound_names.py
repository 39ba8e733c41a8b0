"""What a sound may be called."""

import pytest

from device_app.enrolment.sound_names import group_name, refuse_twins, sound_name
from device_app.errors import ProfileError


@pytest.mark.parametrize("name", ["dog", "Türklingel", "दरवाज़ा", "ประตู", "문", "St. Paul's +1", "3a"])
def test_a_name_may_be_in_any_script(name: str) -> None:
    assert sound_name(name) == name
    assert group_name(f"-{name}") == f"-{name}"


def test_an_accent_of_its_own_is_the_same_name() -> None:
    assert sound_name("Tu\N{COMBINING DIAERESIS}rklingel") == "Türklingel"


BAD = ["", ".", "..", "../x", "a/b", "a\\b", "C:x", "x\0", "\x1b[31m", "x\n", "a\u202eb", "\u0301x", "_", "\ud800"]
TOO_LONG = ["x" * 65, "\N{MATHEMATICAL BOLD SMALL A}" * 64]


@pytest.mark.parametrize("name", [*BAD, *TOO_LONG])
def test_a_name_that_could_be_anything_else_is_refused_and_shown_harmlessly(name: str) -> None:
    with pytest.raises(ProfileError, match="cannot be a sound's name") as caught:
        sound_name(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_a_new_name_may_not_differ_from_another_in_case_alone() -> None:
    refuse_twins(["Dog", "dog", "cat"], known=["Dog", "dog"])  # as some profiles are
    for names in (["Straße", "STRASSE"], ["STRASSE", "Straße"]):
        with pytest.raises(ProfileError, match="call it 'Straße'"):
            refuse_twins(names, known=["Straße"])
