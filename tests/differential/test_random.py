"""Random groups: Airflow and the pipeline must do the same with each.

``make differential N=500 SEED=1`` runs more of them than the 25 of ``make test``; it makes the first
difference as small as it can and prints the DAG.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.differential.comparison import compare
from tests.differential.descriptions import FUNCTIONS, Description, body
from tests.differential.laboratory import Laboratory
from tests.differential.refusals import DOCUMENT, DOCUMENTED, problems, undocumented
from tests.differential.strategies import descriptions

pytestmark = pytest.mark.integration

EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "25"))
SEED = os.environ.get("DIFFERENTIAL_SEED")
#: The part of the drawn groups that may be refused, once there are enough to speak of parts.
MOST_REFUSED = 0.2


class Tally:
    """What became of all groups."""

    def __init__(self) -> None:
        self.groups = 0
        self.instances = 0
        self.timed = 0
        self.unstarted = 0
        self.refusals: Counter[str] = Counter()
        self.refused = 0

    def __str__(self) -> str:
        first = (
            f"{self.groups} random groups, {self.refused} refused; {self.instances} task instances compared, "
            f"{self.timed} not, since their outcome in Airflow depends on which task ends first, "
            f"{self.unstarted} not, since a group starts as one"
        )
        return "\n".join([first, *(f"  {count} x {what}" for what, count in self.refusals.most_common())])


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Count over all groups, and say the sums at the end."""
    count = Tally()
    yield count
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{count}")
    if count.groups >= 20:
        assert count.refused <= MOST_REFUSED * count.groups, "the generator draws too much that is refused"


def run_both(description: Description, laboratory: Laboratory, tally: Tally) -> None:
    """Compare both sides of one group."""
    text = body(description)
    airflow = laboratory.run("airflow", text, above=FUNCTIONS)
    assert not airflow.error, f"Airflow alone cannot run it: {airflow.error}\n{text}"
    vertex = laboratory.run("vertex", text, above=FUNCTIONS)
    tally.groups += 1
    if vertex.refused:
        tally.refused += 1
        tally.refusals.update(one.partition("; allowed")[0][:110] for one in problems(vertex.error))
        if unknown := undocumented(vertex.error):
            pytest.fail("\n".join(["refused, but not in the document:", *unknown, "", text]), pytrace=False)
        return
    result = compare(
        airflow,
        vertex,
        lambda: laboratory.run("patient", text, above=FUNCTIONS),
        [member.name for member in description.after if member.rule == "one_done" and member.after_group],
    )
    tally.instances += result.compared
    tally.unstarted += len(result.unstarted)
    tally.timed += len(result.timed)
    if result.differences:
        pytest.fail("\n".join([*result.differences, "", text, vertex.error or vertex.log]), pytrace=False)


@settings(
    max_examples=EXAMPLES,
    derandomize=SEED is None,
    database=None,
    deadline=None,
    # Making an example smaller takes minutes: only where somebody asked for it.
    phases=[Phase.generate] if SEED is None else [Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
@given(description=descriptions())
def _random_groups(description: Description, laboratory: Laboratory, tally: Tally) -> None:
    run_both(description, laboratory, tally)


@pytest.mark.timeout(0)
def test_random_groups(laboratory: Laboratory, tally: Tally) -> None:
    test = _random_groups if SEED is None else seed(int(SEED))(_random_groups)
    test(laboratory=laboratory, tally=tally)


@pytest.mark.parametrize("line", sorted({known.line for known in DOCUMENTED}))
def test_what_may_be_refused_is_documented(line: str) -> None:
    assert any(found.startswith(line) for found in DOCUMENT.read_text().splitlines())


def test_a_refusal_that_the_document_does_not_name_is_found() -> None:
    message = "DAG 'd': 1 problem\n  1. g.a: trigger_rule: found 'never'; allowed: others"
    assert undocumented(message) == ["trigger_rule: found 'never'; allowed: others"]
    assert undocumented("VertexGroupError: no list") == ["VertexGroupError: no list"]
