import DataflowColumnar

/// Why an expression has no value for a row.
public struct RowError: Error, Hashable, Sendable {
    /// The kinds, from a bounded set: metric labels.
    public enum Code: String, Hashable, Sendable, CaseIterable {
        case overflow
        case divisionByZero = "division_by_zero"
        case invalidCast = "invalid_cast"
        case invalidArgument = "invalid_argument"
        case tooLong = "too_long"
        /// Null where the node needs a value, such as an event time; no expression fails with it.
        case missingValue = "missing_value"
    }

    public var code: Code
    /// What happened, with the value where that helps, e.g. `cannot cast 'abc' to int64`.
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

/// The rows of a batch for which an expression failed, with the first reason of each.
public struct RowErrors: Sendable {
    /// How many rows the batch has.
    public let rowCount: Int
    /// One bit a row; no words while nothing failed.
    private var bits: [UInt64] = []
    private var entries: [(row: Int32, error: RowError)] = []
    private var sorted = true

    /// No errors among `rowCount` rows.
    public init(rowCount: Int) {
        self.rowCount = rowCount
    }

    public var isEmpty: Bool { entries.isEmpty }
    /// How many rows failed.
    public var count: Int { entries.count }

    /// Notes that a row failed; a row that failed already keeps its first reason. Amortised O(1).
    public mutating func insert(_ error: @autoclosure () -> RowError, at row: Int) {
        if bits.isEmpty { bits = [UInt64](repeating: 0, count: (rowCount + 63) / 64) }
        let mask: UInt64 = 1 << UInt64(row & 63)
        guard bits[row >> 6] & mask == 0 else { return }
        bits[row >> 6] |= mask
        if let last = entries.last, last.row > Int32(truncatingIfNeeded: row) { sorted = false }
        entries.append((Int32(truncatingIfNeeded: row), error()))
    }

    /// Adds the rows of another expression over the same batch.
    public mutating func formUnion(_ other: RowErrors) {
        precondition(rowCount == other.rowCount, "errors of batches of \(rowCount) and \(other.rowCount) rows")
        for (row, error) in other.entries { insert(error, at: Int(row)) }
    }

    /// Whether the row failed. O(1).
    public func contains(_ row: Int) -> Bool {
        !bits.isEmpty && bits[row >> 6] >> UInt64(row & 63) & 1 != 0
    }

    /// 1 where the row failed; nil when none did.
    public var failed: Bitmap? { isEmpty ? nil : Bitmap(words: Values(bits), count: rowCount) }

    /// 1 where the row did not fail; nil when none did.
    public var succeeded: Bitmap? { failed.map { ~$0 } }

    /// The failed rows, ascending, with their reasons. O(n log n) when they were not found in order.
    public var rows: [(row: Int, error: RowError)] {
        let ordered = sorted ? entries : entries.sorted { $0.row < $1.row }
        return ordered.map { (Int($0.row), $0.error) }
    }
}
