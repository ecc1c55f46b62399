public import DataflowColumnar

/// State is named tables of rows: one format for data and state.
///
/// A snapshot is taken by reference: tables share buffers with the operator, which replaces but never changes them.
public struct StateTable: Sendable {
    /// How a restore at another parallelism may divide the rows again.
    public enum Distribution: Hashable, Sendable {
        /// The rows belong to the subtask that wrote them; with fewer subtasks, subtask i gets those of every old
        /// subtask j with j % parallelism == i.
        case subtask
        /// Each row belongs to the split named in this column (string); on restore every subtask gets all rows of all
        /// old subtasks and takes what it owns.
        case split(column: Int)
        /// Each row belongs to the key group in this column (int32, 0 ..< ``KeyGroup/count``); on restore a subtask
        /// gets the rows of its key groups.
        case keyGroup(column: Int)
    }

    public var name: String
    /// Rises when the meaning of the rows changes; the operator refuses versions that it cannot read.
    public var version: UInt32
    public var distribution: Distribution
    /// The rows, in one or more batches of one schema.
    public var batches: [RecordBatch]
    /// Rows that lie on disk, besides those of `batches`; the oldest first. A checkpoint refers to the files, it does not copy
    /// them. For tables of key groups.
    public var files: [File]
    /// Nil where `batches` is the whole table; a restore always gives whole tables.
    public var increment: Increment?

    public init(
        _ name: String, version: UInt32 = 1, distribution: Distribution, _ batches: [RecordBatch], files: [File] = [],
        increment: Increment? = nil
    ) {
        self.name = name
        self.version = version
        self.distribution = distribution
        self.batches = batches
        self.files = files
        self.increment = increment
    }

    /// A file of which the rows of some key groups belong to the table.
    public struct File: Sendable {
        public var contents: SpillFile
        /// Rows of other key groups in it are another subtask's.
        public var keyGroups: Range<Int32>
        /// A number of the operator's, kept with the checkpoint.
        public var mark: Int

        public init(_ contents: SpillFile, keyGroups: Range<Int32>, mark: Int = 0) {
            self.contents = contents
            self.keyGroups = keyGroups
            self.mark = mark
        }
    }

    /// Batches of an ``IncrementalTable``: the first column is the row's number, a batch of only that column says which
    /// numbers are gone. Of a number's rows in several checkpoints the newest counts.
    public struct Increment: Hashable, Sendable {
        /// How many checkpoints before this one still count for the table: the latest so many.
        public var keeps = 0
        /// Whether later checkpoints may still count on this one.
        public var isKept = false
        /// False where ``Transform/continueSnapshot(until:into:)`` has to give more rows of this table.
        public var isComplete = true

        public init() {}

        /// The column in front.
        public static let number = Field("__row_number", .int32, nullable: false)
    }

    /// How many rows all batches have together.
    public var rowCount: Int { batches.reduce(0) { $0 + $1.rowCount } }
}

/// The state of one operator instance at one checkpoint. Empty: it has none.
public typealias StateSnapshot = [StateTable]

extension [StateTable] {
    /// The table of that name, or nil.
    public subscript(name: String) -> StateTable? { first { $0.name == name } }
}

/// Keyed state is divided in 128 key groups, so that a checkpoint restores at any parallelism up to that.
public enum KeyGroup {
    public static let count = 128

    /// The key group of a key's hash (``RowKeys``): the low bits, so hash tables should use the high ones. O(1).
    @inlinable
    public static func of(hash: UInt64) -> Int32 { Int32(truncatingIfNeeded: hash & UInt64(count - 1)) }

    /// The key groups that a subtask owns. O(parallelism).
    public static func range(of subtask: Int, parallelism: Int) -> Range<Int32> {
        func first(_ subtask: Int) -> Int32 {
            Int32(truncatingIfNeeded: (subtask * count + parallelism - 1) / parallelism)
        }
        return first(subtask)..<first(subtask + 1)
    }

    /// Which of `parallelism` subtasks owns a key group: contiguous ranges. O(1).
    @inlinable
    public static func subtask(of group: Int32, parallelism: Int) -> Int { Int(group) * parallelism / count }
}
