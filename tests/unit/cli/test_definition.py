"""The command line: help loads nothing, unknown commands are named, commands get their options."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_vertex_provider.cli.definition import COMMANDS, main


@pytest.mark.parametrize("line", [["--help"], ["-h"], []])
def test_help_names_every_command(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == (0 if line else 2)
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate"]) == 2
    assert "found 'emulate'; allowed: doctor, emulator" in capsys.readouterr().err


def test_command_has_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["emulator", "--help"])
    assert ended.value.code == 0
    assert "--state-dir" in capsys.readouterr().out


def test_command_tells_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", "--max-processes", "0"]) == 1
    assert "max_processes" in capsys.readouterr().err


def test_help_loads_neither_airflow_nor_the_emulator() -> None:
    code = (
        "import sys; from airflow_vertex_provider.cli.definition import main; main(['--help']);"
        "print([name for name in sys.modules if name.startswith(('airflow.', 'starlette', 'google.cloud'))])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = eval(ran.stdout.strip().splitlines()[-1])
    assert [name for name in loaded if not name.startswith("google.cloud")] == []
