"""The completion of the shell, as bash runs it once it is installed."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = "import sys\nfrom automation.cli import main\nsys.exit(main())\n"
COMPLETE = """
. ~/.bashrc
COMP_WORDS=({words}) COMP_CWORD={last}
complete -p automation | grep -q -- '-F _automation_completion' || exit 9
_automation_completion automation
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of somebody who has installed the completion."""
    home = tmp_path_factory.mktemp("home")
    command = home / "bin" / "automation"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\n{BEGIN}")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    bash(home, "automation --install-completion")
    return home


def bash(home: Path, script: str) -> str:
    env = os.environ | {"HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    # not as its only command, which bash would become instead of running it
    done = subprocess.run(
        ["bash", "-c", f"{script}\ntrue"], env=env, cwd=home, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("automation exec", ["executions"]),
        ("automation dead-letters re", ["redrive"]),
        ("automation executions list --sta", ["--status"]),
        ("automation executions list --status C", ["COMPLETED", "CANCELLED"]),
        ("automation keys create --scope e", ["events:write", "execute"]),
    ],
)
def test_bash_completes_commands_options_and_values(home: Path, line: str, offered: list[str]) -> None:
    words = line.split()

    said = bash(home, COMPLETE.format(words=" ".join(words), last=len(words) - 1))

    assert said.split() == offered
