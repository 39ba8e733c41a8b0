import re
from pathlib import Path

import pytest

from device_app import config_sources
from device_app.__main__ import main
from device_app.config import Config
from device_app.config_sources import load_config, options, user_config_path
from device_app.errors import EarmarkError


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(config_sources, "SYSTEM_CONFIG", tmp_path / "etc" / "earmark" / "config.toml")
    return tmp_path


def write_user(text: str) -> None:
    user_config_path().parent.mkdir(parents=True, exist_ok=True)
    user_config_path().write_text(text)


def write_system(text: str) -> None:
    config_sources.SYSTEM_CONFIG.parent.mkdir(parents=True, exist_ok=True)
    config_sources.SYSTEM_CONFIG.write_text(text)


def test_without_files_variables_and_flags_everything_has_its_default() -> None:
    assert load_config({}, {}) == Config()


def test_the_users_file_is_looked_for_in_the_xdg_folder(folders: Path) -> None:
    assert user_config_path() == folders / "user" / "earmark" / "config.toml"


def test_a_flag_wins_over_a_variable_over_the_users_file_over_the_systems() -> None:
    write_system('[webhook]\ntimeout_s = 1\nmost_waiting = 1\n[listen]\ndevice = "system"\nhistory_days = 1\n')
    write_user('[webhook]\nmost_waiting = 2\n[listen]\ndevice = "user"\nhistory_days = 2\n')
    config = load_config({"device": "flag"}, {"EARMARK_DEVICE": "variable", "EARMARK_HISTORY_DAYS": "3"})
    assert config.listen.device == "flag"
    assert config.listen.history_days == 3.0
    assert config.webhook.most_waiting == 2
    assert config.webhook.timeout_s == 1.0


def test_a_flag_that_was_not_given_hides_nothing() -> None:
    write_user("[listen]\nwait = true\n")
    assert load_config({"wait": None}, {}).listen.wait
    assert not load_config({"wait": False}, {}).listen.wait


SAMPLES = {
    "str": ("text", "text"),
    "int": ("3", 3),
    "float": ("0.25", 0.25),
    "bool": ("yes", True),
    "Path": ("/a/b", Path("/a/b")),
    "tuple": ("start, end", ("start", "end")),
    "Mapping": ("dog=say 'a dog'\n*=log it", {"dog": ("say", "a dog"), "*": ("log", "it")}),
}


@pytest.mark.parametrize("name", sorted(options()))
def test_every_option_is_a_variable_a_key_and_a_flags_destination(name: str) -> None:
    section, key = options()[name]
    text, value = SAMPLES.get(config_sources._type_of(section, key).__name__, ("", ""))
    if name == "webhook_url":
        text = value = "https://example.org/x"
    if name == "format":
        text = value = "f32le"
    by_variable = load_config({}, {f"EARMARK_{name.upper()}": text})
    assert getattr(getattr(by_variable, section), key) == value
    assert load_config({name: text}, {}) == by_variable


def test_an_unknown_key_is_refused_and_the_nearest_named() -> None:
    write_user("[webhook]\ntimout_s = 3\n")
    with pytest.raises(EarmarkError, match=r"config.toml has a key in \[webhook\].*'timout_s'.*'timeout_s'"):
        load_config({}, {})
    write_user("[webhok]\nurl = 'x'\n")
    with pytest.raises(EarmarkError, match=r"section that does not exist, 'webhok': did you mean 'webhook'"):
        load_config({}, {})


def test_a_misspelt_variable_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    load_config({}, {"EARMARK_WEBHOK_URL": "https://example.org", "EARMARK_SHARED": "x"})
    assert caplog.messages == ["the variable EARMARK_WEBHOK_URL means nothing: did you mean EARMARK_WEBHOOK_URL?"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[listen]\nchannel = 'left'\n", r"listen.channel in .*config.toml must be a whole number"),
        ("[listen]\nchannel = 1.5\n", r"listen.channel in .* must be a whole number"),
        ("[listen]\nchannel = -1\n", r"listen.channel=-1"),
        ("[listen]\nwait = 'perhaps'\n", r"listen.wait in .* must be true or false"),
        ("[listen]\ndevice = 3\n", r"listen.device in .* must be a text"),
        ("listen = 3\n", r"listen must be a section"),
        ("[exec]\ntimeout_s = 0\n", r"exec.timeout_s=0.0 must be above 0"),
        ("[exec]\non = ['begin']\n", r"exec.on holds 'begin': choose of start, update, end"),
        ("[exec.commands]\ndog = ''\n", r"exec.commands in .* must be a command for each sound"),
        ("[clips]\npre_roll_s = 100\n", r"clips.pre_roll_s=100.0 must lie in \[0, 60\]"),
        ("[webhook]\nurl = 'ftp://user:secret@host'\n", r"webhook.url must look like https://host/path"),
        ("[webhook]\ntoken = 'a'\ntoken_file = 'b'\n", r"webhook.token or webhook.token_file, not both"),
        ("[listen\n", r"config.toml is not TOML"),
    ],
)
def test_what_cannot_be_is_a_sentence_that_names_the_place(text: str, expected: str) -> None:
    write_user(text)
    with pytest.raises(EarmarkError, match=expected):
        load_config({}, {})


def test_no_secret_is_shown_by_what_shows_a_config_or_an_error() -> None:
    config = load_config({}, {"EARMARK_WEBHOOK_URL": "https://h/secret-path", "EARMARK_WEBHOOK_TOKEN": "secret-token"})
    assert "secret" not in repr(config)
    with pytest.raises(EarmarkError) as refused:
        load_config({}, {"EARMARK_WEBHOOK_URL": "https//secret"})
    assert "secret" not in str(refused.value)


def test_a_command_may_be_a_list_or_one_text() -> None:
    write_user("[exec.commands]\ndog = ['say', 'it is a dog']\ncat = \"say 'it is a cat'\"\n")
    assert load_config({}, {}).exec.commands == {"dog": ("say", "it is a dog"), "cat": ("say", "it is a cat")}


def test_the_documentation_names_every_option() -> None:
    text = (Path(__file__).parents[2] / "docs" / "SERVICE.md").read_text()
    documented = set(re.findall(r"`(EARMARK_[A-Z_]+)`", text))
    assert {f"EARMARK_{name.upper()}" for name in options()} <= documented


def test_every_command_takes_its_profile_from_wherever_it_is_set(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_user(f"[listen]\nprofile = '{folders / 'mine'}'\nverbose = false\n")
    assert main(["sounds"]) == 1
    assert f"nothing has been taught in {folders / 'mine'}" in capsys.readouterr().err
    assert main(["sounds", "--profile", str(folders / "other")]) == 1
    assert f"nothing has been taught in {folders / 'other'}" in capsys.readouterr().err


def test_a_config_that_cannot_be_is_a_sentence_in_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    write_user("[listen]\nprofil = 'x'\n")
    assert main(["sounds"]) == 1
    assert "did you mean 'profile'" in capsys.readouterr().err
