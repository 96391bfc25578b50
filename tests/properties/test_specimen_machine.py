"""Whatever people do with a tube and in whatever order: no illegal move passes, and its history explains its row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.orders.model import ItemState
from cloud.lis.specimens import aliquots, lookup, refusal, rules, undoing, whereabouts
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import SPECIMEN_MOVES, SPECIMEN_UNDO, WHEREABOUTS_MOVES, SpecimenState, Whereabouts
from cloud.lis.storage import discarding
from cloud.lis.storage import service as storage
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.lab import Lab, labelled, open_lab

WHO = "staff:someone"
FINISHED = (SpecimenState.DONE, SpecimenState.REJECTED, SpecimenState.CANCELLED)
WHERE_TESTS_STAND: dict[str, set[str]] = {
    "printed": {"ordered"},
    "collected": {"collected"},
    "in_transit": {"ordered", "collected"},
    "received": {"received"},
    "done": {"released"},
    "rejected": set(),
    "cancelled": set(),
}
laboratory: list[tuple[Lab, str]] = []
"""The one laboratory of this file, with a rack that is large enough."""


@pytest.fixture(scope="module")
def lab(database_server: DatabaseServer) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        opened = open_lab()
        with begin() as session:
            unit = storage.add_unit(session, code="U", name="冰箱", kind="fridge", by=WHO)
            storage.add_rack(session, code="R", name="架", unit_id=unit.id, rows=26, columns=50, keep_days=0, by=WHO)
        laboratory[:] = [(opened, "R")]
        yield opened


class OneTube(RuleBasedStateMachine):
    """A tube with two tests; the model knows only what the tables of moves say."""

    @initialize()
    def printed(self) -> None:
        self.accession = labelled(laboratory[0][0], ("ALT", "AST"))
        self.seen = self._read()[0]

    def _read(self) -> tuple[tuple[str, str], list[tuple[str, dict[str, object]]], set[str], bool]:
        """State and whereabouts, history, states of the tests, and whether a place in a rack is held."""
        with begin() as session:
            tube = specimens.by_barcode(session, self.accession)
            self.id = tube.id
            history = [(each.type, each.detail) for each in lookup.history(session, tube.id)]
            place = storage.place_of(session, tube.id)
            items = {str(each.state) for each in specimens.live_items(session, tube.id)}
            return (tube.state, tube.whereabouts), history, items, place is not None and place[0].left_at is None

    @contextmanager
    def act(self, *, expected: bool) -> Iterator[None]:
        """What is done inside passes exactly when it was expected to; a refusal leaves everything as it was."""
        seen, before, _, _ = self._read()
        refusal_code = ""
        try:
            yield
        except (Conflict, Invalid) as refused:
            refusal_code = refused.code
        self.seen, after, _, _ = self._read()
        assert bool(refusal_code) != expected, f"{refusal_code or 'passed'} in {seen}"
        if refusal_code:
            assert (self.seen, after) == (seen, before)
        else:
            old_state, old_where = SpecimenState(seen[0]), Whereabouts(seen[1])
            assert self.seen[0] in SPECIMEN_MOVES[old_state] | SPECIMEN_UNDO.get(old_state, frozenset()) | {old_state}
            assert self.seen[1] in WHEREABOUTS_MOVES[old_where] | {old_where}
            assert len(after) > len(before)

    @property
    def state(self) -> str:
        return self.seen[0]

    @property
    def where(self) -> str:
        return self.seen[1]

    @rule()
    def collect(self) -> None:
        with self.act(expected=self.state == "printed"), begin() as session:
            specimens.collect(session, self.accession, by=WHO)

    @rule()
    def send(self) -> None:
        with self.act(expected=self.state in ("printed", "collected") and self.where != "lost"), begin() as session:
            specimens.send(session, specimens.by_barcode(session, self.accession), by=WHO)

    @rule()
    def receive(self) -> None:
        with self.act(expected=self.state in ("printed", "collected", "in_transit")), begin() as session:
            specimens.receive(session, self.accession, by=WHO)

    @rule(code=st.sampled_from(["clotted", "haemolysed", "nonsense"]))
    def reject(self, code: str) -> None:
        open_ = self.state in ("printed", "collected", "in_transit", "received")
        with self.act(expected=open_ and code != "nonsense"), begin() as session:
            refusal.reject(session, self.accession, by=WHO, reason_code=code)

    @rule(reason=st.sampled_from(["误扫", " "]))
    def undo_collection(self, reason: str) -> None:
        with self.act(expected=self.state == "collected" and bool(reason.strip())), begin() as session:
            undoing.undo_collection(session, self.accession, by=WHO, reason=reason)

    @rule(reason=st.sampled_from(["误扫", " "]))
    def undo_reception(self, reason: str) -> None:
        with begin() as session:
            poured = bool(lookup.aliquots_of(session, self.id))
        begun = bool({"resulted", "released"} & self._read()[2])
        fits = self.state == "received" and self.where not in ("stored", "discarded") and not poured and not begun
        with self.act(expected=fits and bool(reason.strip())), begin() as session:
            undoing.undo_reception(session, self.accession, by=WHO, reason=reason)

    @rule()
    def undo_rejection(self) -> None:
        with begin() as session:
            defects = [each for each in refusal.defects_of(session, self.id) if not each.undone_at]
        fits = self.state == "rejected" and self.where != "discarded" and bool(defects and defects[0].replacement_id)
        with self.act(expected=fits), begin() as session:
            undoing.undo_rejection(session, self.accession, by=WHO, reason="看错")

    @rule()
    def lose(self) -> None:
        fits = self.state != "printed" and self.where in ("at_hand", "retrieved")
        with self.act(expected=fits), begin() as session:
            whereabouts.lose(session, self.accession, by=WHO, reason="找不到")

    @rule()
    def find_again(self) -> None:
        with self.act(expected=self.where == "lost"), begin() as session:
            whereabouts.found_again(session, self.accession, by=WHO, reason="找到")

    @rule()
    def store(self) -> None:
        here = self.state in ("received", *FINISHED) and self.where in ("at_hand", "stored", "retrieved")
        with self.act(expected=here), begin() as session:
            storage.store(session, laboratory[0][1], self.accession, by=WHO)

    @rule()
    def retrieve(self) -> None:
        with self.act(expected=self.where == "stored"), begin() as session:
            storage.retrieve(session, self.accession, by=WHO, reason="复查")

    @rule()
    def pour(self) -> None:
        fits = self.state in ("received", "done") and self.where in ("at_hand", "retrieved")
        with self.act(expected=fits), begin() as session:
            aliquots.aliquot(session, self.accession, by=WHO)

    @rule()
    def measure_and_release(self) -> None:
        """Every test gets its value and is released: done, if the tube is in the laboratory."""
        if self.state != "received" or not self._read()[2]:
            return
        with self.act(expected=True), begin() as session:
            for each in specimens.live_items(session, self.id):
                each.state = ItemState.RELEASED
            session.flush()
            assert specimens.mark_done(session, self.id, by=WHO)

    @rule()
    def discard(self) -> None:
        """A discard passes whatever it holds; a tube with open work, lost or not here is kept, and so is its row."""
        unfinished = self._read()[2] & {"ordered", "collected", "received", "resulted"}
        gone = (
            self.where in ("at_hand", "stored", "retrieved")
            and self.state in ("received", *FINISHED)
            and not (self.state == "received" and unfinished)
        )
        with begin() as session:
            done = discarding.propose(session, [self.id], by=WHO)
            assert done.count == (1 if gone else 0)
        before, self.seen = self.seen, self._read()[0]
        assert self.seen == ((before[0], "discarded") if gone else before)

    @invariant()
    def everything_says_the_same(self) -> None:
        """The history explains the row, a test stands where its tube does, a stored tube holds one place."""
        row, history, items, stands = self._read()
        assert rules.replay(history) == row == self.seen
        assert items <= WHERE_TESTS_STAND[row[0]]
        assert stands == (row[1] == "stored")


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        OneTube,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.req("LIS-2")
@pytest.mark.usefixtures("lab")
def test_no_illegal_move_of_a_tube_passes_and_its_history_always_explains_it() -> None:
    run(examples=6, steps=16)


@pytest.mark.slow
@pytest.mark.req("LIS-2")
@pytest.mark.usefixtures("lab")
def test_no_illegal_move_passes_in_many_lives_of_a_tube() -> None:
    run(examples=150, steps=30)
