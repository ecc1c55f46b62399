import DataflowCheckpoint
import Synchronization

/// A file system in memory that knows what is durable, and dies on request before or after its n-th changing operation.
///
/// After `crash(keepingAll: false)` nothing is left but what was synced: a file's bytes by `sync`, a directory's entries by
/// `syncDirectory` (the worst that a power loss may do). With `true` all that was done is there, as after kill −9.
final class SimulatedFiles: CheckpointFiles {
    struct Died: Equatable {
        var operation: String
    }

    private final class Node: Sendable {
        let state: Mutex<Contents>
        init(_ contents: Contents) { state = Mutex(contents) }
    }

    private struct Contents {
        var isDirectory = false
        var bytes: [UInt8] = []
        var durableBytes: [UInt8] = []
        var entries: [String: Node] = [:]
        var durableEntries: [String: Node] = [:]
    }

    struct Failpoint: Equatable {
        var operation: Int
        var after: Bool
    }

    private let root = Node(Contents(isDirectory: true))
    private struct Control {
        var operations = 0
        var failpoint: Failpoint?
        var isDead = false
        var lives = 0
        var held: Set<String> = []
        var log: [String] = []
    }
    private let control = Mutex(Control())

    var operationCount: Int { control.withLock(\.operations) }
    var isDead: Bool { control.withLock(\.isDead) }
    func arm(_ failpoint: Failpoint?) { control.withLock { ($0.operations, $0.failpoint) = (0, failpoint) } }

    static let death = CheckpointError(.file(errno: -1), "died")

    /// The machine comes up again.
    func restart(keepingAll: Bool) {
        if !keepingAll { revert(root) } else { settle(root) }
        control.withLock { $0 = Control(lives: $0.lives + 1) }
    }

    private func revert(_ node: Node) {
        let entries = node.state.withLock { contents in
            contents.entries = contents.durableEntries
            contents.bytes = contents.durableBytes
            return contents.entries
        }
        entries.values.forEach(revert)
    }

    private func settle(_ node: Node) {
        let entries = node.state.withLock { contents in
            contents.durableEntries = contents.entries
            contents.durableBytes = contents.bytes
            return contents.entries
        }
        entries.values.forEach(settle)
    }

    private func changing<T>(_ name: String, _ body: () throws(CheckpointError) -> T) throws(CheckpointError) -> T {
        let (dieBefore, dieAfter) = try alive { control -> (Bool, Bool) in
            let here = control.failpoint?.operation == control.operations
            control.operations += 1
            control.log.append(name)
            let after = control.failpoint?.after ?? false
            if here { control.isDead = true }
            return (here && !after, here && after)
        }
        if dieBefore { throw Self.death }
        let result = try body()
        if dieAfter { throw Self.death }
        return result
    }

    private func alive<T>(_ body: (inout Control) -> T) throws(CheckpointError) -> T {
        guard let result = control.withLock({ $0.isDead ? nil : body(&$0) }) else { throw Self.death }
        return result
    }

    private func find(_ path: some Sequence<Substring>) -> Node? {
        var node: Node? = root
        for part in path { node = node.flatMap { $0.state.withLock { $0.entries[String(part)] } } }
        return node
    }

    private func split(_ path: String) -> (parent: Node?, name: String) {
        let parts = path.split(separator: "/")
        return (find(parts.dropLast()), String(parts.last ?? ""))
    }

    private func parent(of path: String) throws(CheckpointError) -> (Node, String) {
        let (parent, name) = split(path)
        guard let parent else { throw CheckpointError(.file(errno: 2), "no such directory: \(path)") }
        return (parent, name)
    }

    func makeDirectory(_ path: String) throws(CheckpointError) {
        try changing("mkdir \(path)") { () throws(CheckpointError) in
            var node = root
            for part in path.split(separator: "/") {
                node = node.state.withLock { contents in
                    if let next = contents.entries[String(part)] { return next }
                    let made = Node(Contents(isDirectory: true))
                    contents.entries[String(part)] = made
                    return made
                }
            }
        }
    }

    func list(_ path: String) throws(CheckpointError) -> [String]? {
        try alive { _ in }
        return find(path.split(separator: "/"))?.state.withLock { Array($0.entries.keys) }
    }

    func read(_ path: String, _ range: Range<Int>?) throws(CheckpointError) -> [UInt8]? {
        try alive { _ in }
        return find(path.split(separator: "/"))?.state.withLock { contents in
            Array(contents.bytes[(range ?? 0..<contents.bytes.count).clamped(to: 0..<contents.bytes.count)])
        }
    }

    private func file(_ path: String) throws(CheckpointError) -> Node {
        let (parent, name) = try parent(of: path)
        return parent.state.withLock { contents in
            if let node = contents.entries[name] { return node }
            let made = Node(Contents())
            contents.entries[name] = made
            return made
        }
    }

    func write(_ bytes: [UInt8], to path: String) throws(CheckpointError) {
        try changing("write \(path)") { () throws(CheckpointError) in
            try file(path).state.withLock { $0.bytes = bytes }
        }
    }

    func append(_ bytes: [UInt8], to path: String) throws(CheckpointError) {
        try changing("append \(path)") { () throws(CheckpointError) in
            try file(path).state.withLock { $0.bytes += bytes }
        }
    }

    func sync(_ path: String) throws(CheckpointError) {
        try changing("sync \(path)") { () throws(CheckpointError) in
            guard let node = find(path.split(separator: "/")) else {
                throw CheckpointError(.file(errno: 2), "sync \(path)")
            }
            node.state.withLock { $0.durableBytes = $0.bytes }
        }
    }

    func syncDirectory(_ path: String) throws(CheckpointError) {
        try changing("sync directory \(path)") { () throws(CheckpointError) in
            // The directory's own entry: the store makes its folder with real files through makeDirectory, which syncs.
            var node = root
            for part in path.split(separator: "/") {
                guard let next = node.state.withLock({ $0.entries[String(part)] }) else {
                    throw CheckpointError(.file(errno: 2), "sync directory \(path)")
                }
                if part == "root" || part == "p" { node.state.withLock { $0.durableEntries[String(part)] = next } }
                node = next
            }
            node.state.withLock { $0.durableEntries = $0.entries }
        }
    }

    func rename(_ from: String, to: String) throws(CheckpointError) {
        try changing("rename \(to)") { () throws(CheckpointError) in
            let (source, old) = try parent(of: from)
            let (target, new) = try parent(of: to)
            guard let node = source.state.withLock({ $0.entries.removeValue(forKey: old) }) else {
                throw CheckpointError(.file(errno: 2), "rename \(from)")
            }
            target.state.withLock { $0.entries[new] = node }
        }
    }

    /// The file itself lies on the real disk, where the operator wrote it.
    func adopt(_ path: String, as other: String) throws(CheckpointError) {
        try changing("adopt \(other)") { () throws(CheckpointError) in
            let bytes = try LocalFiles().read(path, nil) ?? []
            try file(other).state.withLock { $0.bytes = bytes }
        }
    }

    func remove(_ path: String) throws(CheckpointError) {
        try changing("remove \(path)") { () throws(CheckpointError) in
            let (parent, name) = split(path)
            _ = parent?.state.withLock { $0.entries.removeValue(forKey: name) }
        }
    }

    /// Damages a file as a failing disk would.
    func alter(_ path: String, _ body: (inout [UInt8]) -> Void) {
        find(path.split(separator: "/"))?.state.withLock { body(&$0.bytes) }
    }

    func lock(_ path: String) throws(CheckpointError) -> (any CheckpointLock)? {
        try changing("lock \(path)") { () throws(CheckpointError) in
            _ = try file(path)
            return control.withLock { control in
                control.held.insert(path).inserted ? Lock(self, path, life: control.lives) : nil
            }
        }
    }

    private final class Lock: CheckpointLock {
        let files: SimulatedFiles
        let path: String
        let life: Int

        init(_ files: SimulatedFiles, _ path: String, life: Int) {
            (self.files, self.path, self.life) = (files, path, life)
        }

        func isInPlace() -> Bool { files.find(path.split(separator: "/")) != nil }

        func release() {
            files.control.withLock { control in
                if control.lives == life { control.held.remove(path) }
            }
        }
    }
}
