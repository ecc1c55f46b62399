import Synchronization

/// What the state of a run may take in memory (`memory:` of the pipeline file), shared by all operators that keep state.
///
/// Only large consumers are counted: the keys, rows and aggregates that operators keep between batches
/// (``Transform/stateByteCount``), after every batch. What can be put on disk gives way: an operator that holds more than its
/// ``share`` while the run is over the limit is asked to ``Transform/spill()``. What cannot ends the run with an error when it
/// alone is more than the limit.
public final class MemoryBudget: Sendable {
    /// The least that each operator which can spill may hold, however much the others take: below it spilling would write
    /// files of a few rows.
    static let leastShare = 64 << 10

    private struct State {
        /// Bytes of operators that can spill, and of the others.
        var spillable = 0
        var fixed = 0
        var spillableCount = 0
    }

    /// Bytes.
    public let limit: Int
    /// Where spill files go; made with the first of them.
    public let directory: String
    private let state = Lock(State())
    /// Of the process: a file of an attempt that failed may be removed while the next one writes.
    private static let nextFile = Atomic<Int>(1)

    /// - Parameters:
    ///   - limit: bytes, at least one.
    ///   - directory: a folder that belongs to the run alone.
    public init(limit: Int, spillingTo directory: String) {
        self.limit = max(1, limit)
        self.directory = directory
    }

    /// What an operator that can spill may hold, come what may: an equal part of what those that cannot leave. O(1).
    public var share: Int { state.withLock { share($0) } }

    private func share(_ state: State) -> Int {
        max(MemoryBudget.leastShare, (limit - state.fixed) / max(1, state.spillableCount))
    }

    /// Bytes that operators have reported.
    package var used: Int { state.withLock { $0.spillable + $0.fixed } }

    /// Begins a file of state. Blocks for the disk.
    ///
    /// - Throws: `external`, to be retried, when the folder or the file cannot be made.
    public func makeFile() throws(OperatorError) -> SpillFileWriter {
        let number = MemoryBudget.nextFile.wrappingAdd(1, ordering: .relaxed).oldValue
        return try SpillFileWriter(directory: directory, name: String(number))
    }

    /// A place in the budget for one operator.
    package func reserve(canSpill: Bool) -> MemoryReservation {
        if canSpill { state.withLock { $0.spillableCount += 1 } }
        return MemoryReservation(self, canSpill: canSpill)
    }

    /// - Returns: whether the operator may keep what it holds.
    fileprivate func change(_ reservation: MemoryReservation, by delta: Int, to bytes: Int) -> Bool {
        state.withLock { state in
            if reservation.canSpill {
                state.spillable += delta
                return state.spillable + state.fixed <= limit || bytes <= share(state)
            }
            state.fixed += delta
            return state.fixed <= limit
        }
    }

    fileprivate func release(_ reservation: MemoryReservation, _ bytes: Int) {
        state.withLock { state in
            if reservation.canSpill {
                state.spillable -= bytes
                state.spillableCount -= 1
            } else {
                state.fixed -= bytes
            }
        }
    }
}

/// What one operator has of a ``MemoryBudget``; given back with the last reference.
package final class MemoryReservation {
    private let budget: MemoryBudget
    package let canSpill: Bool
    /// As last reported.
    package private(set) var byteCount = 0

    fileprivate init(_ budget: MemoryBudget, canSpill: Bool) {
        self.budget = budget
        self.canSpill = canSpill
    }

    deinit { budget.release(self, byteCount) }

    package var limit: Int { budget.limit }

    /// Reports what the operator holds now.
    ///
    /// - Returns: false where it is too much: to be spilled, or the end of the run.
    package func resize(to bytes: Int) -> Bool {
        defer { byteCount = bytes }
        return budget.change(self, by: bytes - byteCount, to: bytes)
    }
}
