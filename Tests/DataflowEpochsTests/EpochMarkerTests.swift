import DataflowEpochs
import DataflowOperator
import Testing

/// The comparison of the target's marker with the checkpoint, as a table.
struct MarkerDecisionTests {
    typealias Situation = MarkerDecision.Situation

    static func marker(_ epoch: UInt64, lineage: String = "A", generation: UInt64 = 3) -> CommitMarker {
        CommitMarker(lineage: lineage, generation: generation, epoch: epoch)
    }

    static func situation(
        restored: UInt64? = 10, pending: Bool = false, accept: Bool = false, last: UInt64? = 9, previous: UInt64 = 7,
        idempotent: Bool = false, marker: CommitMarker?
    ) -> Situation {
        Situation(
            lineage: "A", generation: 4, restored: restored, commitPending: pending, acceptDuplicates: accept,
            state: last.map { EpochState(last: $0, previous: previous) }, isIdempotent: idempotent, marker: marker)
    }

    static let table: [(name: String, situation: Situation, decision: MarkerDecision)] = [
        ("new history, new table", situation(restored: nil, last: nil, marker: nil), .proceed(epoch: 0, note: nil)),
        (
            "new history takes over the table of another, whatever its generation",
            situation(restored: nil, last: nil, marker: marker(50, lineage: "B", generation: 99)),
            .proceed(epoch: 0, note: .takenOver(from: marker(50, lineage: "B", generation: 99)))
        ),
        (
            "a second start of a history before its first epoch",
            situation(restored: nil, last: nil, marker: marker(0)), .proceed(epoch: 0, note: nil)
        ),
        (
            "a run without checkpoint that was overtaken",
            situation(restored: nil, last: nil, marker: marker(0, generation: 5)),
            .refuse(.fenced(by: 5))
        ),
        ("a node that is new in an old history", situation(last: nil, marker: nil), .proceed(epoch: 0, note: nil)),
        ("equal", situation(marker: marker(9)), .proceed(epoch: 9, note: nil)),
        ("nothing was ever written", situation(last: 0, previous: 0, marker: marker(0)), .proceed(epoch: 0, note: nil)),
        (
            "the commit of the restored checkpoint is pending",
            situation(pending: true, last: 10, previous: 9, marker: marker(9)), .proceed(epoch: 9, note: nil)
        ),
        (
            "the pending commit got through", situation(pending: true, last: 10, previous: 9, marker: marker(10)),
            .proceed(epoch: 10, note: nil)
        ),
        (
            "pending, but of an empty epoch: the one before must be there",
            situation(pending: true, last: 9, previous: 7, marker: marker(7)),
            .refuse(.behind(marker: 7, expected: 9))
        ),
        (
            "behind the pending epoch", situation(pending: true, last: 10, previous: 9, marker: marker(7)),
            .refuse(.behind(marker: 7, expected: 9))
        ),
        (
            "not pending and not committed", situation(last: 10, previous: 9, marker: marker(9)),
            .refuse(.behind(marker: 9, expected: 10))
        ),
        ("the marker is gone", situation(marker: nil), .refuse(.behind(marker: nil, expected: 9))),
        (
            "the marker is gone although nothing was written", situation(last: 0, previous: 0, marker: nil),
            .refuse(.behind(marker: nil, expected: 0))
        ),
        ("ahead", situation(marker: marker(12)), .refuse(.ahead(marker: 12, expected: 9))),
        (
            "ahead of an upsert stream that never deletes", situation(idempotent: true, marker: marker(12)),
            .proceed(epoch: 9, note: .writtenAgain(since: 9, until: 12))
        ),
        (
            "ahead, with consent", situation(accept: true, marker: marker(12)),
            .proceed(epoch: 9, note: .writtenAgain(since: 9, until: 12))
        ),
        (
            "behind, and consent to duplicates does not help against loss",
            situation(accept: true, marker: marker(3)), .refuse(.behind(marker: 3, expected: 9))
        ),
        (
            "another history wrote since", situation(idempotent: true, marker: marker(9, lineage: "B")),
            .refuse(.otherLineage(marker(9, lineage: "B")))
        ),
        (
            "another history wrote since, with consent", situation(accept: true, marker: marker(2, lineage: "B")),
            .proceed(epoch: 9, note: .takenOver(from: marker(2, lineage: "B")))
        ),
        ("overtaken", situation(marker: marker(9, generation: 5)), .refuse(.fenced(by: 5))),
        (
            "overtaken, consent does not help", situation(accept: true, marker: marker(9, generation: 5)),
            .refuse(.fenced(by: 5))
        ),
    ]

    @Test(arguments: table.indices)
    func `the decision follows the table`(_ index: Int) {
        let row = MarkerDecisionTests.table[index]
        #expect(MarkerDecision.decide(row.situation) == row.decision, "\(row.name)")
    }
}

struct EpochStateTests {
    @Test func `what a checkpoint holds of the epochs comes back`() throws {
        let state = EpochState(last: 12, previous: 9)
        #expect(try EpochState(restoring: state.snapshot) == state)
        #expect(try EpochState(restoring: []) == nil)
    }
}
