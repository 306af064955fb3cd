"""``airflow-vertex doctor``: a connection in, what is missing for jobs to run with it out.

Asks Google's services who may do what (``testIamPermissions``), lists one job and looks for the bucket. It
changes nothing. The commands that would grant what is missing are printed, not run.

Exit codes: 0 nothing is missing, 1 something is, 2 the line or the DAG file cannot be used, 3 nothing is
missing as far as it is known, but something is not known.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow.exceptions import AirflowException  # type: ignore[attr-defined]

from airflow_vertex_provider.checks import is_template
from airflow_vertex_provider.cli.target import Target, stored_connection
from airflow_vertex_provider.exceptions import VertexProviderError
from airflow_vertex_provider.permissions import ACCOUNT, BUCKET, CLIENT, PROJECT, WORKLOAD, Permission, needed

YES, NO, UNKNOWN = "yes", "no", "not known"
DEFAULT_CONNECTION = "google_cloud_default"
#: Options that a DAG file takes the place of.
_OF_A_CONNECTION = (
    "conn_id",
    "project",
    "location",
    "pipeline_root",
    "workload_account",
    "impersonation_chain",
)
RUN_TIME = "a template, known only at run time"


@dataclass
class Report:
    """What was found of one target.

    :param accounts: client and workload, as far as they are known.
    :param checks: one dict for each, with the columns of the table.
    :param commands: what would help.
    """

    target: str
    accounts: dict[str, str] = field(default_factory=dict)
    checks: list[dict[str, str]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def add(self, who: str, what: str, where: str, found: bool | str, wanted_for: str) -> None:
        """Add a row; a text for ``found`` says why it is not known."""
        result = {True: YES, False: NO}.get(found, UNKNOWN) if isinstance(found, bool) else UNKNOWN
        note = wanted_for if isinstance(found, bool) else f"{wanted_for} ({found})"
        self.checks.append({"who": who, "needs": what, "on": where, "has": result, "for": note})

    def suggest(self, *words: str) -> None:
        """Add a command, once."""
        line = shlex.join(words)
        if line not in self.commands:
            self.commands.append(line)

    def code(self) -> int:
        """Return the exit code that this report alone would have."""
        found = {check["has"] for check in self.checks}
        return 1 if NO in found else 3 if UNKNOWN in found else 0


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    arguments = _arguments(argv)
    try:
        # Airflow logs to the standard output, which is the report's.
        with contextlib.redirect_stdout(sys.stderr):
            reports = [examine(target) for target in _targets(arguments)]
    except AirflowException as error:
        print(f"airflow-vertex doctor: {error}", file=sys.stderr)
        return 2
    _print(reports, arguments.output)
    codes = {report.code() for report in reports}
    return 1 if 1 in codes else max(codes, default=0)


def examine(target: Target) -> Report:
    """Ask everything that jobs of a target depend on.

    :raises VertexConfigurationError: the connection is not there, or holds what is not allowed.
    """
    report = Report(target.name)
    chain = target.impersonation_chain
    for what, said in (
        ("a connection", target.conn_id),
        ("a project", target.project),
        *(("an account to act as", link) for link in ([chain] if isinstance(chain, str) else chain or ())),
    ):
        if is_template(said):
            report.add(CLIENT, what, str(said), RUN_TIME, "everything")
            return report
    with stored_connection(target.conn_id):
        hook = target.hook()
    target = target.completed(hook)
    if hook.extras.get("is_anonymous"):
        _ask_api(report, hook, target)
        why = "the connection sends no credentials"
        report.add(CLIENT, "permissions", "all", why, "anything but the emulator")
        return report
    client = _ask_credentials(report, hook)
    if client is None:
        return report
    _ask_api(report, hook, target)
    _ask_permissions(report, hook, target, client)
    return report


def _ask_credentials(report: Report, hook: Any) -> str | None:
    """Find out who calls; see :func:`~airflow_vertex_provider.hooks.permissions.acting_account`."""
    from airflow_vertex_provider.hooks.permissions import acting_account

    account, text = acting_account(hook)
    report.add(CLIENT, "credentials", f"connection {hook.gcp_conn_id}", account is not None, text)
    return account


def _ask_api(report: Report, hook: Any, target: Target) -> None:
    """List one job in the target's location."""
    from airflow_vertex_provider.hooks.failures import explanation, said
    from airflow_vertex_provider.settings.machine_table import location_problem

    location = target.location
    if location is None or is_template(location):
        why = RUN_TIME if location else "neither group nor connection name a location"
        report.add(CLIENT, "an answer of Vertex AI", str(location or "-"), why, "everything")
        return
    problem = location_problem(location)
    if problem:
        report.add(CLIENT, "a location", location, False, f"allowed: {problem}")
        return
    try:
        hook.ask_once(location)
    except VertexProviderError as error:
        report.add(CLIENT, "an answer of Vertex AI", location, False, said(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        text = explanation(error, location=location)
        if "gcloud services enable" in text:
            report.suggest(
                "gcloud", "services", "enable", "aiplatform.googleapis.com", f"--project={hook.project}"
            )
        report.add(CLIENT, "an answer of Vertex AI", location, False, text)
    else:
        report.add(CLIENT, "an answer of Vertex AI", location, True, f"project {hook.project}")


def _ask_permissions(report: Report, hook: Any, target: Target, client: str) -> None:
    from airflow_vertex_provider.hooks.permissions import PermissionQuestions

    resources = {PROJECT: hook.project, ACCOUNT: target.workload, BUCKET: _bucket(target.pipeline_root)}
    _ask_as(report, PermissionQuestions.of_client(hook), CLIENT, client, resources)
    workload = target.workload
    if workload is None:
        for permission in needed(WORKLOAD):
            why = "no workload account is named: jobs run as the project's default account"
            report.add(WORKLOAD, permission.name, permission.on, why, permission.needed_for)
    elif is_template(workload):
        for permission in needed(WORKLOAD):
            report.add(WORKLOAD, permission.name, permission.on, RUN_TIME, permission.needed_for)
    else:
        same = workload == client
        questions = (
            PermissionQuestions.of_client(hook) if same else PermissionQuestions.of_workload(hook, workload)
        )
        _ask_as(report, questions, WORKLOAD, workload, resources)


def _ask_as(
    report: Report, questions: Any, identity: str, account: str, resources: dict[str, str | None]
) -> None:
    """Ask for all that one identity needs, resource by resource."""
    report.accounts[identity] = account or "not known by name"
    for on, resource in resources.items():
        wanted = [each for each in needed(identity, optional=True) if each.on == on]
        if not wanted:
            continue
        if resource is None or is_template(resource):
            why = RUN_TIME if resource else f"there is no {on} named"
            for each in wanted:
                report.add(identity, each.name, on, why, each.needed_for)
            continue
        answers = questions.held(on, resource, [each.name for each in wanted])
        for each in wanted:
            found = answers[each.name]
            if each.optional and found is False:
                # Nobody has to have it; whoever wants it finds it in the list.
                report.add(identity, each.name, resource, "needed by schedules alone: no", each.needed_for)
                continue
            report.add(identity, each.name, resource, found, each.needed_for)
            if found is False:
                report.suggest(*_grant(each, account, resource))


def _grant(permission: Permission, account: str, resource: str) -> tuple[str, ...]:
    """Return the command that would grant a permission by the smallest of Google's own roles."""
    kind = "user" if account and not account.endswith(".gserviceaccount.com") else "serviceAccount"
    binding = (f"--member={kind}:{account or 'ACCOUNT'}", f"--role={permission.role}")
    command = {
        PROJECT: ("gcloud", "projects", "add-iam-policy-binding", resource),
        ACCOUNT: ("gcloud", "iam", "service-accounts", "add-iam-policy-binding", resource),
        BUCKET: ("gcloud", "storage", "buckets", "add-iam-policy-binding", f"gs://{resource}"),
    }[permission.on]
    return (*command, *binding)


def _bucket(root: str | None) -> str | None:
    if root is None or is_template(root):
        return root
    return root.removeprefix("gs://").partition("/")[0]


def _targets(arguments: argparse.Namespace) -> Iterator[Target]:
    if arguments.dag_file is None:
        yield Target(
            name=f"connection {arguments.conn_id or DEFAULT_CONNECTION}",
            conn_id=arguments.conn_id or DEFAULT_CONNECTION,
            impersonation_chain=_chain(arguments.impersonation_chain),
            project=arguments.project,
            location=arguments.location,
            pipeline_root=arguments.pipeline_root,
            workload=arguments.workload_account,
        )
        return
    from airflow_vertex_provider.cli.dag_file import targets_of

    yield from targets_of(arguments.dag_file, arguments.dag_id)


def _chain(text: str | None) -> list[str] | None:
    return [each.strip() for each in text.split(",") if each.strip()] if text else None


def _print(reports: Sequence[Report], output: str) -> None:
    if output != "table":
        data = [
            {
                "target": report.target,
                "accounts": report.accounts,
                "checks": report.checks,
                "commands": report.commands,
            }
            for report in reports
        ]
        if output == "json":
            print(json.dumps(data, indent=2))
        else:
            import yaml

            print(yaml.safe_dump(data, sort_keys=False), end="")
        return
    from airflow.cli.simple_table import AirflowConsole

    console = AirflowConsole()
    for report in reports:
        print(f"\n{report.target}")
        for identity, account in report.accounts.items():
            print(f"{identity}: {account}")
        print()
        console.print_as_table(data=report.checks)
        if report.commands:
            print("\nThis would grant what is missing; nothing was changed:\n")
            for command in report.commands:
                print(f"  {command}")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the line; one that says what would go unheard ends here, with exit code 2."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.dag_file is None and arguments.dag_id is not None:
        parser.error("--dag-id: found without --dag-file; allowed: both, or neither")
    for name in _OF_A_CONNECTION if arguments.dag_file is not None else ():
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            parser.error(f"{option}: found beside --dag-file; allowed: one of them, since the groups say it")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="airflow-vertex doctor",
        description="Tell what is missing for jobs to run with a connection. Changes nothing.",
    )
    parser.add_argument("--conn-id", help=f"the connection; {DEFAULT_CONNECTION} if not given")
    parser.add_argument("--dag-file", type=Path, help="look at what the Vertex task groups of this file say")
    parser.add_argument("--dag-id", help="only of this DAG of the file")
    parser.add_argument("--project", help="project of the jobs, if not the connection's")
    parser.add_argument("--location", help="region of the jobs, if not the connection's")
    parser.add_argument("--pipeline-root", help="gs://bucket/path, if not the connection's")
    parser.add_argument("--workload-account", help="account that jobs run as, if not the connection's")
    parser.add_argument("--impersonation-chain", help="account to act as, or several with commas")
    parser.add_argument("--output", choices=("table", "json", "yaml"), default="table")
    return parser
