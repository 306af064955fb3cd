"""The command line ``airflow-vertex``: arguments in, one lazily loaded command run.

Only names and help texts stand here, so that asking for help loads nothing else. Each command takes the rest
of the line and has its own parser beside its code.

Exit codes: 0 well, 1 the command failed, 2 the line could not be read.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

#: Command -> module with ``main(argv)``, and one line of help.
COMMANDS = {
    "doctor": (
        "airflow_vertex_provider.cli.doctor",
        "tell which permissions are missing for jobs to run with a connection",
    ),
    "emulator": (
        "airflow_vertex_provider.emulator.__main__",
        "serve the Vertex AI API on this machine, for development and tests",
    ),
}


def usage() -> str:
    """Return the text of ``airflow-vertex --help``."""
    commands = "\n".join(f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items())
    return (
        "usage: airflow-vertex COMMAND [options]\n\n"
        "Run Airflow task groups as Vertex AI pipelines.\n\n"
        f"commands:\n{commands}\n\n"
        "airflow-vertex COMMAND --help tells a command's options.\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"airflow-vertex: found {name!r}; allowed: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    code: int = importlib.import_module(COMMANDS[name][0]).main(rest)
    return code
