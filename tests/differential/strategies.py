"""Nothing in, random descriptions out: what docs/translation.md says a Vertex task group carries.

What the document refuses is left out here rather than drawn and refused; the tests count what is refused
all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.differential.descriptions import Before, Description, Group, Member

T = TypeVar("T")

MOST_MEMBERS = 25
DEEPEST = 3

VALUES = (
    "None", "1", "'text'", "{}", "[]", "''", "False", "0", "[[]]", "{'a': [None, {'b': (1, 2)}]}",
    "[1, [2, []]]", "{'': {}}", "'it\\'s \"q\" \\\\ ☃'", "(1, ('a',))", "0.1", "2**53 + 1",
)  # fmt: skip
LISTS = ("[1, 2, 3]", "[2]", "[1]", "[]", "['a', 2, None]", "[[], {}, 2]", "{'k': 1, 'l': 2}", "[1, 3]")
TRUTHS = ("True", "False", "0", "[]", "'yes'", "None", "[0]")

RULES = (
    "all_success", "all_failed", "all_done", "one_success", "one_failed", "one_done", "none_failed",
    "none_failed_min_one_success", "none_skipped", "all_skipped", "all_done_min_one_success", "always",
)  # fmt: skip
#: Rules below a mapped task: after a failure a pipeline knows that there was one, not how many.
RULES_BELOW_MAPPED = (
    "all_success", "none_failed", "none_failed_min_one_success", "all_done", "one_failed",
)  # fmt: skip
#: The same where the task takes the mapped task's values.
RULES_WITH_MAPPED_VALUES = ("all_success", "none_failed", "none_failed_min_one_success")
#: Rules in a mapped group that may be skipped as a whole.
RULES_IN_SKIPPED_GROUP = ("all_success", "none_failed_min_one_success")

KINDS = (
    *["ok"] * 6, *["plain"] * 3, *["bad"] * 2, *["skip"] * 2, "silent", "bash", "bash", "bash_bad",
    "bash_skip", *["branch"] * 3, "short", "short", "short_direct", "empty", "empty",
)  # fmt: skip
BEFORE_KINDS = ("ok", "ok", "ok", "bad", "skip")
EACH_KINDS = ("ok", "ok", "ok", "bad", "skip", "silent")


@st.composite
def descriptions(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Description:
    """Draw a whole DAG."""
    return _Builder(draw).build()


class _Builder:
    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw
        self._number = 0
        self._left = draw(st.integers(1, MOST_MEMBERS))
        self._members: dict[str, Member] = {}
        #: Name of a node to the names of all above it, groups resolved to their members.
        self._ancestors: dict[str, set[str]] = {}
        #: Name of a group to the names of its members; of a member to itself.
        self._contents: dict[str, tuple[str, ...]] = {}
        #: Members that are mapped, or stand in a mapped group.
        self._mapped: set[str] = set()
        self._in_mapped_group: set[str] = set()
        self.given: dict[str, str] = {}

    # Small draws

    def _one(self, items: Sequence[T]) -> T:
        return self._draw(st.sampled_from(items))  # type: ignore[no-any-return]

    def _some(self, items: Sequence[T], most: int) -> tuple[T, ...]:
        if not items:
            return ()
        # One more often than none, and more than one less often: a simple example has no edges.
        size = min(self._one((0, 1, 1, 1, 2, 2, 3)), most, len(items))
        chosen: list[T] = []
        for _ in range(size):
            chosen.append(self._one([item for item in items if item not in chosen]))
        return tuple(chosen)

    def _rarely(self, one_in: int) -> bool:
        # The simple value, to which a shrinking example tends, is "no".
        return bool(self._draw(st.integers(0, one_in - 1)) == one_in - 1)

    def _name(self, letter: str) -> str:
        self._number += 1
        return f"{letter}{self._number}"

    # The whole

    def build(self) -> Description:
        for _ in range(self._draw(st.integers(0, 2))):
            self.given[self._name("o")] = self._one(LISTS)
        nodes: list[Member | Group] = []
        while self._left > 0:
            nodes += self._node(self._visible(nodes), 0)
        if self._rarely(4):
            nodes = self._with_setup(nodes)
        after = [self._outer(nodes) for _ in range(self._draw(st.integers(0, 2)))]
        return Description(tuple(nodes), self.given, tuple(after), self._before())

    def _before(self) -> tuple[Before, ...]:
        """Draw tasks that the group comes after, as a whole or by some members; most of them succeed."""
        if not self._rarely(3):
            return ()
        result: list[Before] = []
        # With another rule an edge from outside to a member is refused.
        members = [
            name
            for name, member in self._members.items()
            if member.rule == "all_success"
            and name not in self._in_mapped_group
            and not member.setup
            and not member.teardown_of
            and name[0] == "t"
        ]
        for _ in range(self._draw(st.integers(1, 2))):
            above = self._some([other.name for other in result], 1)
            below = self._some(members, 1) if self._rarely(3) else ("g",)
            result.append(Before(self._name("b"), self._one(BEFORE_KINDS), above, below))
        return tuple(result)

    def _visible(self, nodes: Iterable[Member | Group]) -> list[str]:
        return [node.name for node in nodes]

    def _node(self, visible: Sequence[str], depth: int) -> list[Member | Group]:
        if depth < DEEPEST and self._left > 2 and self._rarely(5):
            return [self._mapped_group(visible) if self._rarely(3) else self._plain_group(visible, depth + 1)]
        return [self._member(visible)]

    def _plain_group(self, visible: Sequence[str], depth: int) -> Group:
        name = self._name("n")
        above = self._some(visible, 2)
        nodes: list[Member | Group] = []
        for _ in range(self._draw(st.integers(1, 5))):
            if self._left > 0:
                # An edge from the group's own above reaches its members; more of the same adds nothing.
                nodes += self._node([*visible, *self._visible(nodes)], depth)
        self._contents[name] = tuple(one for node in nodes for one in self._contents[node.name])
        reached = self._reach(above)
        for member in self._contents[name]:
            self._ancestors[member] |= reached
        group = Group(name, tuple(nodes), above)
        return self._cautious(group) if above else group

    def _cautious(self, group: Group) -> Group:
        """Give members of a group that comes after something rules that hold with it above them."""
        reached = self._reach(group.above)
        mapped_above = bool(set(self._direct(group.above)) & self._mapped)
        return self._checked(group, mapped_above, reached)

    def _checked(self, group: Group, mapped_above: bool, reached: set[str]) -> Group:
        nodes: list[Member | Group] = []
        for node in group.nodes:
            if isinstance(node, Group):
                if node.over:
                    node = self._all_strict(node)
                nodes.append(self._checked(node, mapped_above, reached))
                continue
            rule = node.rule
            if rule == "always" or (mapped_above and rule not in RULES_WITH_MAPPED_VALUES):
                rule = "all_success"
            if node.over and rule != "all_success":
                rule = "all_success"
            nodes.append(self._register(replace(node, rule=rule)))
        return replace(group, nodes=tuple(nodes))

    def _all_strict(self, group: Group) -> Group:
        return replace(
            group,
            nodes=tuple(
                self._register(replace(node, rule="all_success")) if isinstance(node, Member) else node
                for node in group.nodes
            ),
        )

    def _mapped_group(self, visible: Sequence[str]) -> Group:
        name = self._name("m")
        above = self._some(visible, 1) if self._rarely(3) else ()
        over, source = self._over(visible)
        reached = self._reach((*above, *source))
        # A loop fails as a whole, so what comes after it must come after all of it that may fail: with other
        # rules inside, edges from its last tasks alone are mostly refused.
        rules = RULES if not (above or source) and self._rarely(5) else RULES_IN_SKIPPED_GROUP
        nodes: list[Member | Group] = []
        for number in range(self._draw(st.integers(1, 4))):
            if self._left <= 0 and number:
                break
            member = self._item_member(self._visible(nodes), rules)
            self._ancestors[member.name] |= reached
            self._mapped.add(member.name)
            self._in_mapped_group.add(member.name)
            nodes.append(member)
        if self._cut_off(reached):
            nodes = [self._register(replace(node, rule="all_success")) for node in nodes]  # type: ignore[arg-type]
        self._contents[name] = tuple(node.name for node in nodes)
        return Group(name, tuple(nodes), above, over)

    def _item_member(self, visible: Sequence[str], rules: Sequence[str]) -> Member:
        self._left -= 1
        above = self._some(visible, 2)
        item = not self._rarely(4)
        member = Member(
            self._name("t"),
            kind=self._one(EACH_KINDS) if item else self._one(("ok", "plain", "silent", "bash")),
            rule=self._rule(above, (), rules) if above else "all_success",
            above=above,
            item=item,
            literal=self._one(VALUES),
        )
        if member.kind != "bash":
            member = replace(member, values=self._values(above, member.rule))
        return self._register(member)

    def _member(self, visible: Sequence[str]) -> Member:
        self._left -= 1
        name = self._name("t")
        above = self._some(visible, 3)
        if self._rarely(6):
            return self._mapped_member(name, visible, above)
        kind = self._one(KINDS)
        values: tuple[str, ...] = ()
        if kind in ("ok", "bad", "skip", "plain", "silent"):
            values = self._some([one for one in above if one in self._members and self._has_value(one)], 2)
        rule = self._rule(above, values, RULES)
        literal = self._one(LISTS if kind == "plain" and not values else VALUES)
        if kind.startswith("short"):
            literal = self._one(TRUTHS)
        return self._register(
            Member(
                name,
                kind,
                rule,
                above,
                values,
                literal,
                choice=tuple(self._draw(st.lists(st.integers(0, 5), max_size=2))) if kind == "branch" else (),
                retries=1 if kind == "bad" and self._rarely(4) else 0,
                machine=kind in ("ok", "bad", "plain") and self._rarely(10),
            )
        )

    def _mapped_member(self, name: str, visible: Sequence[str], above: tuple[str, ...]) -> Member:
        over, source = self._over(visible)
        above = tuple(one for one in above if one not in source)
        reached = self._reach((*above, *source))
        values = self._some([one for one in above if one in self._members and self._has_value(one)], 1)
        rule = "all_success"
        # With another rule an outer task above a member is refused; over a member's output only this one is.
        if not over.startswith("<") and not self._cut_off(reached):
            rule = self._rule(above, values, RULES)
        member = Member(
            name, self._one(EACH_KINDS), rule, (*above, *source), values, self._one(VALUES), over=over
        )
        self._mapped.add(name)
        return self._register(member)

    def _over(self, visible: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """Draw what something is mapped over, and the member that gives it, if one does."""
        how = self._draw(st.integers(0, 3))
        givers = [
            one
            for one in visible
            if one in self._members
            and one not in self._in_mapped_group
            and (self._members[one].kind == "ok" or self._members[one].kind == "plain" or one in self._mapped)
        ]
        if how >= 2 and givers:
            giver = self._one(givers)
            return f"<{giver}>", (giver,)
        if how == 1 and self.given:
            return f"<{self._one(sorted(self.given))}>", ()
        return self._one(LISTS), ()

    def _rule(self, above: Sequence[str], values: Sequence[str], rules: Sequence[str]) -> str:
        if not above or not self._rarely(3):
            return "all_success"
        direct = self._direct(above)
        allowed = list(rules)
        if set(direct) & self._mapped - self._in_mapped_group or any(
            one in self._in_mapped_group and one not in above for one in direct
        ):
            allowed = [rule for rule in allowed if rule in RULES_BELOW_MAPPED]
        if set(values) & self._mapped:
            allowed = [rule for rule in allowed if rule in RULES_WITH_MAPPED_VALUES]
        deciding = any(self._members[one].kind in ("branch", "short", "short_direct") for one in direct)
        if values or deciding or self._cut_off(self._reach(above)):
            allowed = [rule for rule in allowed if rule != "always"]
        return self._one(allowed) if allowed else "all_success"

    def _values(self, above: Sequence[str], rule: str) -> tuple[str, ...]:
        return () if rule == "always" else self._some([one for one in above if self._has_value(one)], 1)

    def _has_value(self, name: str) -> bool:
        return self._members[name].kind not in ("empty", "branch")

    def _direct(self, names: Iterable[str]) -> list[str]:
        return [member for name in names for member in self._contents[name]]

    def _reach(self, names: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for member in self._direct(names):
            found |= {member, *self._ancestors[member]}
        return found

    def _cut_off(self, ancestors: Iterable[str]) -> bool:
        """Tell whether a short circuit stands above: Airflow skips no expanded instances far below it."""
        return any(self._members[one].kind == "short" for one in ancestors)

    def _register(self, member: Member) -> Member:
        self._members[member.name] = member
        self._contents[member.name] = (member.name,)
        self._ancestors.setdefault(member.name, set()).update(self._reach(member.above))
        return member

    # Around the rest

    def _with_setup(self, nodes: list[Member | Group]) -> list[Member | Group]:
        start = self._register(
            Member(
                "setup", self._one(("ok", "ok", "ok", "bad", "skip")), literal=self._one(VALUES), setup=True
            )
        )
        users = [node for node in nodes if isinstance(node, Member) and node.rule == "all_success"]
        chosen = self._some([node.name for node in users], 3)
        result: list[Member | Group] = [start]
        for node in nodes:
            if isinstance(node, Member) and node.name in chosen:
                node = self._register(replace(node, above=(*node.above, "setup")))
            result.append(node)
        work = self._some(chosen, 2)
        stop = Member(
            "teardown",
            self._one(("ok", "ok", "bad", "silent")),
            above=(*work, "setup"),
            values=("setup",) if self._rarely(2) else (),
            teardown_of="setup",
        )
        return [*result, self._register(stop)]

    def _outer(self, nodes: Sequence[Member | Group]) -> Member:
        if self._rarely(2):
            # Below the mirrors Airflow itself decides, so any rule will do.
            rule = self._one([rule for rule in RULES if rule != "always"])
            return Member(self._name("z"), self._one(("ok", "plain")), rule, after_group=True)
        names = [
            name
            for node in nodes
            for name in self._contents[node.name]
            if name != "teardown" and self._members[name].kind != "empty"
        ]
        above = self._some(names, 3)
        values = self._some(above, 2)
        rule = self._rule(above, values, [rule for rule in RULES if rule != "always"])
        return Member(self._name("z"), self._one(("ok", "plain")), rule, above, values)
