import DataflowOperator

/// The best rows of a stream of facts, told as they change.
final class AppendTop: Top {
    let plan: TopNPlan
    private let output: Schema
    private let tops: PartitionTops
    /// The first place of each partition that has changed since it was told.
    private var firstChanged: [Int32] = []
    private var changed: [Int32] = []

    // What is being told.
    private var emitting: [Int32] = []
    private var ranks: [Int64] = []
    private var position = 0

    var stateByteCount: Int { tops.stateByteCount }

    init(_ plan: TopNPlan, output: Schema) {
        self.plan = plan
        self.output = output
        tops = PartitionTops(plan, state: "rows")
    }

    var hasChanges: Bool { !changed.isEmpty }

    func process(_ batch: RecordBatch) { take(batch.columns, count: batch.rowCount) }
    func restore(_ columns: [Column], count: Int) { take(columns, count: count) }

    func restored() {
        for partition in changed { firstChanged[Int(partition)] = .max }
        changed = []
    }

    private func take(_ columns: [Column], count: Int) {
        tops.offer(columns, count: count) { partition, place, _ in
            let index = Int(partition)
            while firstChanged.count <= index { firstChanged.append(.max) }
            if firstChanged[index] == .max { changed.append(partition) }
            firstChanged[index] = min(firstChanged[index], Int32(truncatingIfNeeded: place))
        }
    }

    func collectChanges() {
        emitting = []
        ranks = []
        position = 0
        for partition in changed {
            let first = Int(firstChanged[Int(partition)])
            emitting += tops[partition][first...]
            tops.appendRanks(of: partition, from: first, to: &ranks)
            firstChanged[Int(partition)] = .max
        }
        changed = []
    }

    func emit(_ output: inout OutputBuffer) -> Progress {
        while position < emitting.count {
            if output.isFull { return .more }
            let end = min(emitting.count, position + RecordBatch.defaultRowCount)
            output.emit(tops.batch(self.output, emitting[position..<end], ranks: ranks[position..<end]))
            position = end
        }
        emitting = []
        ranks = []
        position = 0
        return .done
    }

    func snapshot() -> StateTable { tops.snapshot() }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        tops.continueSnapshot(until: deadline, into: &snapshot)
    }
}
