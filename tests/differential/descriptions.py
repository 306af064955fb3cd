"""A random group as plain data in, the text of its DAG out.

Names say where things stand: a node knows the names of those above it, and stands after them in the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: Kinds of members, beside ``branch``, ``short`` (circuit) and ``empty``.
WORK = ("ok", "bad", "skip", "plain", "silent", "bash", "bash_bad", "bash_skip")

#: What the members do; the mapped ones treat item 2 in their own way.
FUNCTIONS = """
@task
def ok(name, value=None):
    def made(value):  # of what Airflow hands on of a mapped task, which it cannot store
        if isinstance(value, list):
            return [made(item) for item in value]
        return list(value) if type(value).__name__.startswith("Lazy") else value

    MARK(name)
    return [name, made(value)]


@task
def bad(name, value=None):
    MARK(name)
    raise ValueError(name)


@task
def skip(name, value=None):
    from airflow.exceptions import AirflowSkipException

    MARK(name)
    raise AirflowSkipException(name)


@task
def plain(name, value=None):
    def made(value):  # of what Airflow hands on of a mapped task, which it cannot store
        if isinstance(value, list):
            return [made(item) for item in value]
        return list(value) if type(value).__name__.startswith("Lazy") else value

    MARK(name)
    return made(value)


@task
def silent(name, value=None):
    MARK(name)


@task
def each_ok(name, x, value=None):
    def made(value):  # of what Airflow hands on of a mapped task, which it cannot store
        if isinstance(value, list):
            return [made(item) for item in value]
        return list(value) if type(value).__name__.startswith("Lazy") else value

    MARK(f"{name}[{x}]")
    return [name, x, made(value)]


@task
def each_bad(name, x, value=None):
    MARK(f"{name}[{x}]")
    if x == 2:
        raise ValueError(name)
    return x


@task
def each_skip(name, x, value=None):
    from airflow.exceptions import AirflowSkipException

    MARK(f"{name}[{x}]")
    if x == 2:
        raise AirflowSkipException(name)
    return x


@task
def each_silent(name, x, value=None):
    MARK(f"{name}[{x}]")
    return None if x == 2 else x


@task.branch
def branch(name, choice):
    MARK(name)
    return choice


@task.short_circuit
def short(name, value):
    MARK(name)
    return value


@task.short_circuit(ignore_downstream_trigger_rules=False)
def short_direct(name, value):
    MARK(name)
    return value


v = {}
"""
_BASH_ENDS = {"bash": "echo {name} done", "bash_bad": "exit 3", "bash_skip": "exit 99"}
MACHINE = '{"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}'


@dataclass(frozen=True)
class Member:
    """One task.

    :param kind: one of :data:`WORK`, ``branch``, ``short``, ``short_direct``, ``empty``; in a mapped place
        ``ok``, ``bad``, ``skip`` and ``silent`` are the functions that look at the item.
    :param above: names of members and groups it comes after.
    :param values: names of members whose values it takes.
    :param literal: text of a literal that it takes too.
    :param over: what a mapped task is mapped over: text of a literal, or a name in angle brackets.
    :param item: whether it takes the item of the mapped group around it.
    :param choice: numbers that choose among what is directly below a branch.
    :param after_group: it comes after the whole group.
    """

    name: str
    kind: str = "ok"
    rule: str = "all_success"
    above: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    literal: str = "None"
    over: str = ""
    item: bool = False
    choice: tuple[int, ...] = ()
    retries: int = 0
    machine: bool = False
    setup: bool = False
    teardown_of: str = ""
    after_group: bool = False


@dataclass(frozen=True)
class Group:
    """A nested group, mapped if ``over`` says over what."""

    name: str
    nodes: tuple[Member | Group, ...]
    above: tuple[str, ...] = ()
    over: str = ""


@dataclass(frozen=True)
class Before:
    """A task before the group.

    :param above: names of such tasks that it comes after.
    :param below: names of members that come after it, or ``g`` for the whole group.
    """

    name: str
    kind: str
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """A whole DAG: values made and tasks that stand before the group, the group, and what comes after it."""

    nodes: tuple[Member | Group, ...]
    given: dict[str, str] = field(default_factory=dict)
    after: tuple[Member, ...] = ()
    before: tuple[Before, ...] = ()


def walk(nodes: Sequence[Member | Group], path: str = "g") -> Iterator[tuple[str, Member | Group]]:
    """Yield every node with the id of the group it stands in."""
    for node in nodes:
        yield path, node
        if isinstance(node, Group):
            yield from walk(node.nodes, f"{path}.{node.name}")


def body(description: Description) -> str:
    """Return the text of the ``with DAG(...)`` block."""
    return "\n".join(_Writer(description).lines()) + "\n"


class _Writer:
    def __init__(self, description: Description) -> None:
        self._description = description
        self._ids = {node.name: f"{path}.{node.name}" for path, node in walk(description.nodes)}
        self._ids |= {member.name: member.name for member in description.after}
        self._below: dict[str, list[str]] = {}
        everything = [node for _, node in walk(description.nodes)] + list(description.after)
        for node in everything:
            for name in (*node.above, *(node.values if isinstance(node, Member) else ())):
                self._below.setdefault(name, []).append(node.name)
            if node.over.startswith("<"):
                self._below.setdefault(node.over.strip("<>"), []).append(node.name)
        self._bash = {
            node.name for node in everything if isinstance(node, Member) and node.kind in _BASH_ENDS
        }

    def lines(self) -> Iterator[str]:
        for name, literal in self._description.given.items():
            yield f"v[{name!r}] = plain.override(task_id={name!r})({name!r}, {literal})"
        for outer in self._description.before:
            yield f"v[{outer.name!r}] = {outer.kind}.override(task_id={outer.name!r})({outer.name!r})"
            yield from self._edges(outer.name, outer.above)
        yield 'with Group("g") as g:'
        yield from _indented(self._nodes(self._description.nodes))
        yield "v['g'] = g"
        for outer in self._description.before:
            for name in outer.below:
                yield from self._edges(name, [outer.name])
        for member in self._description.after:
            yield from self._member(member)
            if member.after_group:
                yield from self._edges(member.name, ["g"])

    def _nodes(self, nodes: Sequence[Member | Group]) -> Iterator[str]:
        for node in nodes:
            yield from self._member(node) if isinstance(node, Member) else self._group(node)

    def _group(self, group: Group) -> Iterator[str]:
        if group.over:
            yield "@task_group"
            yield f"def {group.name}(item):"
            yield from _indented(self._nodes(group.nodes))
            yield f"v[{group.name!r}] = {group.name}.expand(item={self._source(group.over)})"
        else:
            yield f"with TaskGroup({group.name!r}) as {group.name}:"
            yield from _indented(self._nodes(group.nodes))
            yield f"v[{group.name!r}] = {group.name}"
        yield from self._edges(group.name, group.above)

    def _member(self, member: Member) -> Iterator[str]:
        yield f"v[{member.name!r}] = {self._call(member)}"
        taken = (*member.values, member.over.strip("<>") if member.over.startswith("<") else "")
        yield from self._edges(member.name, [name for name in member.above if name not in taken])

    def _edges(self, name: str, above: Sequence[str]) -> Iterator[str]:
        if above:
            yield f"[{', '.join(f'v[{other!r}]' for other in above)}] >> v[{name!r}]"

    def _call(self, member: Member) -> str:
        options = self._options(member)
        if member.kind == "empty":
            return f"EmptyOperator({options})"
        if member.kind in _BASH_ENDS:
            command = f"echo x >> $MARKS/{member.name}; " + _BASH_ENDS[member.kind].format(name=member.name)
            return f"BashOperator({options}, bash_command={command!r})"
        if member.kind == "branch":
            return f"branch.override({options})({member.name!r}, {self._choice(member)})"
        if member.kind in ("short", "short_direct"):
            return f"{member.kind}.override({options})({member.name!r}, {member.literal})"
        value = self._value(member)
        if member.over:
            call = f"each_{member.kind}.override({options}).partial(name={member.name!r}, value={value})"
            call += f".expand(x={self._source(member.over)})"
        elif member.item:
            call = f"each_{member.kind}.override({options})({member.name!r}, item, {value})"
        else:
            call = f"{member.kind}.override({options})({member.name!r}, {value})"
        if member.setup:
            call += ".as_setup()"
        if member.teardown_of:
            call += f".as_teardown(setups=v[{member.teardown_of!r}])"
        return call

    def _options(self, member: Member) -> str:
        options = [f"task_id={member.name!r}"]
        if member.rule != "all_success":
            options.append(f"trigger_rule={member.rule!r}")
        if member.retries:
            options.append(f"retries={member.retries}, retry_delay=timedelta(0)")
        if member.machine:
            options.append(f"executor_config={MACHINE}")
        return ", ".join(options)

    def _choice(self, member: Member) -> str:
        below = sorted({self._ids[name] for name in self._below.get(member.name, ())})
        chosen = sorted({below[number % len(below)] for number in member.choice}) if below else []
        return repr(chosen[0] if len(chosen) == 1 else chosen or None)

    def _value(self, member: Member) -> str:
        taken = [self._taken(name) for name in member.values]
        if len(taken) == 1 and member.literal == "None":
            return taken[0]
        return f"[{', '.join([*taken, member.literal])}]" if taken else member.literal

    def _source(self, over: str) -> str:
        return self._taken(over.strip("<>")) if over.startswith("<") else over

    def _taken(self, name: str) -> str:
        return f"v[{name!r}].output" if name in self._bash else f"v[{name!r}]"


def _indented(lines: Iterator[str]) -> Iterator[str]:
    empty = True
    for line in lines:
        empty = False
        yield "    " + line
    if empty:
        yield "    pass"
