import CSimdJSON
import DataflowColumnar

/// Why a value could not become a column's value, or a row not a row.
enum Refusal: UInt8 {
    /// Nothing or null where the column is required.
    case missing
    /// Another JSON type than the column's.
    case type
    /// The right type, but outside of the column's range.
    case range
    /// A text that is no timestamp, date or decimal.
    case text
}

/// The documents parsed by one call, the rows found in them and what was refused so far.
///
/// Rows count from 0 within the chunk. A row has one failure, the first.
final class ParsedChunk {
    struct Failure {
        var row: Int
        var column: Int
        /// The refused value; 0 where it is missing.
        var slot: Slot
        var refusal: Refusal
    }

    var tape: Tape
    let source: SourceText
    /// How many rows the chunk has.
    var rowCount = 0
    private(set) var failures: [Failure] = []
    private var hasFailed: [Bool] = []

    init(tape: Tape, source: SourceText) {
        self.tape = tape
        self.source = source
    }

    /// Begins anew with the documents of another call.
    func begin(_ tape: Tape) {
        self.tape = tape
        rowCount = 0
        failures.removeAll(keepingCapacity: true)
        hasFailed.removeAll(keepingCapacity: true)
    }

    func fail(row: Int, column: Int, slot: Slot, _ refusal: Refusal) {
        if hasFailed.isEmpty { hasFailed = [Bool](repeating: false, count: rowCount) }
        guard !hasFailed[row] else { return }
        hasFailed[row] = true
        failures.append(Failure(row: row, column: column, slot: slot, refusal: refusal))
    }
}
