import DataflowColumnar

/// Puts the rows of an ``IncrementalTable`` together again, from the batches of all checkpoints that count.
///
/// Batches are given the newest first; of each number the first row seen is the one that counts.
package struct IncrementMerger {
    /// Batches that no incremental table wrote.
    package struct Damage: Error, CustomStringConvertible {
        package let description: String
    }

    private var seen: [UInt64] = []

    package init() {}

    /// The rows of a batch that count, without their numbers; nil if there are none. O(rows).
    package mutating func take(_ batch: RecordBatch) throws(Damage) -> RecordBatch? {
        guard let first = batch.schema.fields.first, first == StateTable.Increment.number,
            let numbers = batch.columns[0].int32Values
        else { throw Damage(description: "a batch of an incremental table without the numbers of its rows") }
        var isNew = [Bool](repeating: false, count: batch.rowCount)
        var newCount = 0
        for row in 0..<batch.rowCount {
            let number = Int(numbers[row])
            guard number >= 0 else { throw Damage(description: "the row number \(number)") }
            let word = number >> 6
            let bit: UInt64 = 1 << UInt64(number & 63)
            if word >= seen.count { seen += repeatElement(0, count: max(word + 1, seen.count * 2) - seen.count) }
            if seen[word] & bit == 0 {
                seen[word] |= bit
                isNew[row] = true
                newCount += 1
            }
        }
        guard batch.columns.count > 1, newCount > 0 else { return nil }
        let rows = RecordBatch(
            Schema(Array(batch.schema.fields.dropFirst())), Array(batch.columns.dropFirst()), rowCount: batch.rowCount)
        return newCount == batch.rowCount ? rows : rows.filter(Bitmap(isNew))
    }
}

/// The checkpoints of an incremental table of which the last ones count, the oldest first. For tests.
package struct IncrementHistory: Sendable {
    private var checkpoints: [[RecordBatch]] = []

    package init() {}

    /// Takes all parts of the table at one checkpoint.
    ///
    /// - Returns: all its rows.
    package mutating func add(_ parts: [StateTable]) throws -> [RecordBatch] {
        let increment = parts.first?.increment ?? StateTable.Increment()
        precondition(increment.keeps <= checkpoints.count, "checkpoints that were not kept still count")
        checkpoints = Array(checkpoints.suffix(increment.keeps)) + [parts.flatMap(\.batches)]
        var merger = IncrementMerger()
        var rows: [RecordBatch] = []
        for batch in checkpoints.joined().reversed() { if let part = try merger.take(batch) { rows.append(part) } }
        if !increment.isKept { checkpoints = [] }
        return rows
    }

    /// How many checkpoints count, with the newest.
    package var count: Int { checkpoints.count }
}
