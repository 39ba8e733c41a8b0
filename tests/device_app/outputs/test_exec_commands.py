import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_app.config import ExecConfig
from device_app.outputs import exec_commands
from device_app.outputs.exec_commands import ExecCommands, fill_in
from tests.device_app.outputs.conftest import wait_until

Make = Callable[..., ExecCommands]


def line(sound: str = "bell", kind: str = "start", **more: object) -> dict[str, object]:
    return {"schema": 1, "type": kind, "id": "a" * 32, "sound": sound, "score": 3.5, "runner_up": None, **more}


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[ExecCommands] = []

    def build(commands: dict[str, tuple[str, ...]], **config: object) -> ExecCommands:
        made.append(ExecCommands(ExecConfig(commands=commands, **config)))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for commands in made:
        commands.close()


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def test_each_argument_arrives_as_one_and_no_shell_looks_at_it(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    tell = f"import json, sys; open({str(out)!r}, 'w').write(json.dumps(sys.argv[1:]))"
    commands = make({"a 'b' & c": python(tell, "{sound}; rm -rf $HOME `id`", "{score}", "{none}", "*")})
    commands.put(line("a 'b' & c"))
    wait_until(lambda: out.exists() and bool(out.read_text()), "command")
    assert json.loads(out.read_text()) == ["a 'b' & c; rm -rf $HOME `id`", "3.5", "{none}", "*"]


def test_what_is_filled_in_is_not_looked_at_again() -> None:
    assert fill_in(("{clip}", "x{runner_up}y"), {"clip": "{sound}", "sound": "z", "runner_up": None}) == [
        "{sound}",
        "xy",
    ]


def test_the_event_is_on_standard_input_and_in_variables_and_our_settings_are_not(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARMARK_WEBHOOK_TOKEN", "secret")
    out = tmp_path / "out.json"
    code = f"import json, os, sys; open({str(out)!r}, 'w').write(json.dumps([json.load(sys.stdin), dict(os.environ)]))"
    make({"*": python(code)}).put(line())
    wait_until(lambda: out.exists() and bool(out.read_text()), "command")
    event, environment = json.loads(out.read_text())
    assert event == line()
    ours = {name: value for name, value in environment.items() if name.startswith("EARMARK_")}
    assert ours["EARMARK_EVENT_SOUND"] == "bell"
    assert ours["EARMARK_EVENT_SCORE"] == "3.5"
    assert set(ours) == {f"EARMARK_EVENT_{name.upper()}" for name in line()}


def test_only_what_is_configured_for_a_sound_and_a_moment_is_run(make: Make, tmp_path: Path) -> None:
    commands = make(
        {"dog": ("touch", str(tmp_path / "dog-{type}")), "*": ("touch", str(tmp_path / "every-{sound}-{type}"))},
        on=("start",),
    )
    commands.put(line("bell", "start"))
    commands.put(line("bell", "end"))
    commands.put(line("dog", "start"))
    wait_until(lambda: len(list(tmp_path.iterdir())) == 3, "three files")
    commands.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dog-start", "every-bell-start", "every-dog-start"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            python("import sys; print('out of paper', file=sys.stderr); sys.exit(3)"),
            "ended with status 3: out of paper",
        ),
        (("/nonexistent/program",), "cannot be run"),
        (("touch", "a\0b"), "cannot be run"),
    ],
)
def test_a_command_that_fails_is_reported(
    make: Make, caplog: pytest.LogCaptureFixture, command: tuple[str, ...], expected: str
) -> None:
    make({"bell": command}).put(line())
    wait_until(lambda: expected in caplog.text, "complaint")
    assert f"exec: {command[0]} for bell {expected}" in caplog.text


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '60']);"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid)); child.wait()"
    )
    make({"bell": python(code)}, timeout_s=2.0).put(line())
    wait_until(lambda: "ran for longer than 2 s" in caplog.text, "complaint")
    child = int(pid_file.read_text())
    wait_until(lambda: not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text(), "end")


def test_what_a_command_leaves_in_the_background_is_not_waited_for(make: Make, tmp_path: Path) -> None:
    commands = make({"bell": ("sh", "-c", f"sleep 20 & touch {tmp_path}/done")})
    commands.put(line())
    wait_until((tmp_path / "done").exists, "command")
    begun = time.monotonic()
    commands.close()
    assert time.monotonic() - begun < 5.0


def test_what_runs_when_the_settings_are_read_again_comes_to_its_end(make: Make, tmp_path: Path) -> None:
    commands = make({"bell": ("sh", "-c", f"sleep 1; touch {tmp_path}/done")})
    commands.put(line())
    begun = time.monotonic()
    commands.retire()
    assert time.monotonic() - begun < 0.5
    wait_until((tmp_path / "done").exists, "end of the command")


def test_listening_never_waits_for_a_command_and_too_many_are_refused_aloud(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_commands, "_MOST_WAITING", 2)
    monkeypatch.setattr(exec_commands, "_CLOSE_S", 0.1)
    commands = make({"bell": ("sleep", "30")})
    begun = time.monotonic()
    for _ in range(8):
        commands.put(line())
    assert time.monotonic() - begun < 5.0
    assert caplog.text.count("none for this bell") == 2
    commands.close()
    assert "was ended with the program" in caplog.text
