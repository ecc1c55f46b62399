import DataflowCheckpoint
import DataflowOperator

/// The file operations of the checkpoint store, dying before or after the n-th changing one. From then on nothing works:
/// a dead process writes no more. What was written stays, as after kill −9; the next run opens the folder with ``LocalFiles``.
public final class CrashingStore: CheckpointFiles {
    private struct State {
        var operations = 0
        var isDead = false
        var names: [String] = []
    }

    /// What every call throws once the store is dead.
    public static let death = CheckpointError(.file(errno: -1), "the store was told to die")

    private let files = LocalFiles()
    private let operation: Int?
    private let after: Bool
    private let state = Lock(State())

    /// - Parameters:
    ///   - operation: which changing operation it dies at, from 0; nil never.
    ///   - after: whether that operation still happens.
    public init(dyingAt operation: Int?, after: Bool = false) {
        self.operation = operation
        self.after = after
    }

    /// Changing operations so far.
    public var operationCount: Int { state.withLock(\.operations) }
    public var isDead: Bool { state.withLock(\.isDead) }
    /// What each operation was.
    public var operationNames: [String] { state.withLock(\.names) }

    private func change<T>(_ name: String, _ body: () throws(CheckpointError) -> T) throws(CheckpointError) -> T {
        let (isAlive, isHere) = state.withLock { state in
            let isHere = state.operations == operation
            state.operations += 1
            state.names.append(name)
            let isAlive = !state.isDead
            if isHere { state.isDead = true }
            return (isAlive, isHere)
        }
        guard isAlive, !(isHere && !after) else { throw Self.death }
        let result = try body()
        if isHere { throw Self.death }
        return result
    }

    private func look<T>(_ body: () throws(CheckpointError) -> T) throws(CheckpointError) -> T {
        if isDead { throw Self.death }
        return try body()
    }

    public func makeDirectory(_ path: String) throws(CheckpointError) {
        try change("mkdir \(path)") { () throws(CheckpointError) in try files.makeDirectory(path) }
    }
    public func list(_ path: String) throws(CheckpointError) -> [String]? {
        try look { () throws(CheckpointError) in try files.list(path) }
    }
    public func read(_ path: String, _ range: Range<Int>?) throws(CheckpointError) -> [UInt8]? {
        try look { () throws(CheckpointError) in try files.read(path, range) }
    }
    public func write(_ bytes: [UInt8], to path: String) throws(CheckpointError) {
        try change("write \(path)") { () throws(CheckpointError) in try files.write(bytes, to: path) }
    }
    public func append(_ bytes: [UInt8], to path: String) throws(CheckpointError) {
        try change("append \(path)") { () throws(CheckpointError) in try files.append(bytes, to: path) }
    }
    public func sync(_ path: String) throws(CheckpointError) {
        try change("sync \(path)") { () throws(CheckpointError) in try files.sync(path) }
    }
    public func syncDirectory(_ path: String) throws(CheckpointError) {
        try change("sync directory \(path)") { () throws(CheckpointError) in try files.syncDirectory(path) }
    }
    public func rename(_ from: String, to: String) throws(CheckpointError) {
        try change("rename \(to)") { () throws(CheckpointError) in try files.rename(from, to: to) }
    }
    public func adopt(_ path: String, as other: String) throws(CheckpointError) {
        try change("adopt \(other)") { () throws(CheckpointError) in try files.adopt(path, as: other) }
    }
    public func remove(_ path: String) throws(CheckpointError) {
        try change("remove \(path)") { () throws(CheckpointError) in try files.remove(path) }
    }
    public func lock(_ path: String) throws(CheckpointError) -> (any CheckpointLock)? {
        try change("lock \(path)") { () throws(CheckpointError) in try files.lock(path) }
    }
}
