import DataflowOperator
import Glibc

/// One run's right to write a pipeline's checkpoints: it holds the lock from ``LocalCheckpointStore/acquire()`` until
/// ``release()``. Every call blocks.
public final class CheckpointSession: Sendable {
    /// What a start restores from.
    public enum Restore: Hashable, Sendable {
        /// The newest complete checkpoint that is not damaged; without any, a new lineage.
        case latest
        /// Nothing: a new lineage.
        case none
        case checkpoint(CheckpointID)
    }

    private struct State {
        var nextID: UInt64
        /// Ids of this history, newest first: what retention keeps the head of.
        var history: [CheckpointID] = []
        var writing: Writing?
        var hasPublished = false
        /// What the manifests in the folder refer to.
        var references: [CheckpointID: References] = [:]
    }

    /// Which files a manifest needs: increments by checkpoint, spilled ones by name.
    private enum References {
        case known(Set<UInt64>, spilled: Set<String>)
        /// The manifest cannot be read: any file that is not newer may be needed.
        case unknown

        func contains(_ file: UInt64, of id: CheckpointID) -> Bool {
            switch self {
            case .known(let files, _): files.contains(file)
            case .unknown: file <= id.number
            }
        }

        func contains(_ spilled: (name: String, checkpoint: UInt64), of id: CheckpointID) -> Bool {
            switch self {
            case .known(_, let names): names.contains(spilled.name)
            case .unknown: spilled.checkpoint <= id.number
            }
        }
    }

    private struct Writing {
        var id: CheckpointID
        var length = 0
        var checksum = Checksum()
        var incrementsLength = 0
        var spilledCount = 0
    }

    /// Where the bytes of a table go.
    public enum Destination: Hashable, Sendable {
        /// The checkpoint's own file, which goes when the checkpoint goes.
        case state
        /// A file that later checkpoints may refer to.
        case increments
    }

    public let store: LocalCheckpointStore
    public let generation: UInt64
    /// What was found damaged or left over when the fence was taken; to be logged.
    public let reports: [String]
    private let lock: any CheckpointLock
    private let state: Lock<State>

    private var files: any CheckpointFiles { store.files }

    init(store: LocalCheckpointStore, lock: any CheckpointLock) throws(CheckpointError) {
        self.store = store
        self.lock = lock
        var reports: [String] = []
        let ids = try store.checkpointIDs()
        var fence = CheckpointFence()
        do {
            fence = try store.readFence(isExpected: !ids.isEmpty) ?? fence
        } catch let error where error.kind == .damaged {
            // Generations that left no manifest are unknown now: leave room for them, so that none comes twice.
            for id in ids {
                if let manifest = try? store.readManifest(id) {
                    fence.generation = max(fence.generation, manifest.generation)
                }
            }
            fence.generation += 1_000_000
            fence.highestCheckpoint = (ids.first?.number ?? 0) + 1_000_000
            reports.append("\(error.message); going on with generation \(fence.generation + 1)")
        }
        fence.generation += 1
        fence.highestCheckpoint = max(fence.highestCheckpoint, ids.first?.number ?? 0)
        fence.process = getpid()
        fence.host = Self.hostName()
        fence.takenAt = Self.now()
        let bytes = try Envelope.encode(fence, kind: "fence", format: CheckpointFence.format)
        try store.writeDurably(bytes, store.path("fence"), in: store.directory)
        generation = fence.generation
        state = Lock(State(nextID: fence.highestCheckpoint + 1))

        // What a dead run left unfinished. Its ids are in the fence now.
        for id in ids where try store.files.read(store.path(of: id, "manifest"), 0..<0) == nil {
            try store.files.remove(store.path(of: id))
        }
        for name in try store.files.list(store.directory) ?? [] where name.hasPrefix("deleting-") {
            try store.files.remove(store.path(name))
        }
        self.reports = reports
        for id in ids {
            let references: References?
            do throws(CheckpointError) {
                references = try store.readManifest(id).map { .known($0.references, spilled: $0.spilledFiles) }
            } catch {
                references = .unknown
            }
            if let references { state.withLock { $0.references[id] = references } }
        }
        try removeUnused()
        try files.remove(store.spillDirectory)
    }

    // MARK: restore

    /// Chooses and verifies the checkpoint to go on from. May be called again when a failed run starts over: a choice
    /// other than `.latest` then holds until this session has published a checkpoint of its own.
    ///
    /// - Returns: nil to start anew, and what to report to the user (damaged checkpoints that were passed over).
    /// - Throws: `.damaged` if there are checkpoints but none can be read, `.notFound`, `.incompatible`, `.file`.
    public func restore(
        _ choice: Restore
    ) throws(CheckpointError) -> (checkpoint: LoadedCheckpoint?, reports: [String]) {
        let ids = try store.checkpointIDs()
        switch state.withLock({ $0.hasPublished }) ? .latest : choice {
        case .none:
            state.withLock { $0.history = [] }
            return (nil, [])
        case .checkpoint(let id):
            guard let restored = try load(id) else {
                let known = ids.map { String($0.number) }.joined(separator: ", ")
                throw CheckpointError(
                    .notFound,
                    "there is no checkpoint \(id) of pipeline '\(store.pipeline)' in \(store.directory); there is \(known.isEmpty ? "none" : known)"
                )
            }
            state.withLock { $0.history = ids.filter { $0 <= id } }
            return (restored, [])
        case .latest:
            var reports: [String] = []
            for id in ids {
                do {
                    guard let restored = try load(id) else { continue }
                    state.withLock { $0.history = ids.filter { $0 <= id } }
                    if !reports.isEmpty { reports.append("checkpoint \(id), the one before, is used instead") }
                    return (restored, reports)
                } catch let error where error.kind == .damaged {
                    reports.append(error.message)
                }
            }
            guard reports.isEmpty else {
                throw CheckpointError(
                    .damaged,
                    "no checkpoint of pipeline '\(store.pipeline)' can be read: \(reports.joined(separator: "; ")). --restore none starts anew"
                )
            }
            state.withLock { $0.history = [] }
            return (nil, [])
        }
    }

    private func load(_ id: CheckpointID) throws(CheckpointError) -> LoadedCheckpoint? {
        guard let manifest = try store.readManifest(id) else { return nil }
        try store.verifyState(manifest)
        let marked = try files.read(store.path(of: id, "committed"), 0..<0) != nil
        return LoadedCheckpoint(
            store: store, manifest: manifest, status: CheckpointStatus(manifest: manifest, isMarkedCommitted: marked))
    }

    // MARK: writing

    /// Gives out the next id and makes it durable, so that it is never given out again. One checkpoint is written at a time.
    public func begin() throws(CheckpointError) -> CheckpointID {
        try checkFence()
        let id = state.withLock { state in
            let id = CheckpointID(state.nextID)
            state.nextID += 1
            state.writing = Writing(id: id)
            return id
        }
        try files.makeDirectory(store.path(of: id))
        try files.syncDirectory(store.directory)
        return id
    }

    /// Adds one encoded table, or a part of one, to a file of the checkpoint being written. Callable from several threads.
    ///
    /// - Returns: where it lies.
    public func append(
        _ bytes: [UInt8], to id: CheckpointID, _ destination: Destination = .state
    ) throws(CheckpointError) -> (offset: Int, length: Int, crc32: UInt32) {
        let crc32 = Checksum(of: bytes).value
        let result = state.withLock { state -> Result<Int, CheckpointError> in
            guard var writing = state.writing, writing.id == id else {
                preconditionFailure("state for checkpoint \(id), which is not being written")
            }
            defer { state.writing = writing }
            do throws(CheckpointError) {
                switch destination {
                case .state:
                    try files.append(bytes, to: store.path(of: id, "state"))
                    defer { writing.length += bytes.count }
                    writing.checksum.update(bytes)
                    return .success(writing.length)
                case .increments:
                    if writing.incrementsLength == 0 { try files.makeDirectory(store.increments) }
                    try files.append(bytes, to: store.incrementsPath(id.number))
                    defer { writing.incrementsLength += bytes.count }
                    return .success(writing.incrementsLength)
                }
            } catch {
                return .failure(error)
            }
        }
        return (try result.get(), bytes.count, crc32)
    }

    /// Takes a file of state into the checkpoint being written, unless an earlier one has: it gets a name in `spilled`, of which
    /// it keeps hold until no checkpoint refers to it.
    ///
    /// - Returns: the name.
    public func keep(_ file: SpillFile, for id: CheckpointID) throws(CheckpointError) -> String {
        if let name = file.nameInCheckpoints { return name }
        let number = state.withLock { state in
            state.writing?.spilledCount += 1
            return state.writing?.spilledCount ?? 0
        }
        let name = LocalCheckpointStore.spilledName(id, number)
        if number == 1 { try files.makeDirectory(store.spilled) }
        try files.adopt(file.path, as: store.spilledPath(name))
        try files.sync(store.spilledPath(name))
        file.keep(as: name)
        return name
    }

    /// Makes the checkpoint being written durable and visible. When this returns, a restart finds it.
    ///
    /// - Returns: the manifest as written.
    public func publish(
        _ id: CheckpointID, lineage: String, finished: Bool, nodes: [CheckpointManifest.Node]
    ) throws(CheckpointError) -> CheckpointManifest {
        try checkFence()
        let (writing, previous) = state.withLock { ($0.writing, $0.history.first) }
        guard let writing, writing.id == id else {
            preconditionFailure("checkpoint \(id) is published but not being written")
        }
        var manifest = CheckpointManifest(
            pipeline: store.pipeline, lineage: lineage, generation: generation, id: id, previous: previous,
            createdAt: Self.now(), finished: finished, nodes: nodes)
        if writing.length > 0 {
            try files.sync(store.path(of: id, "state"))
            manifest.stateFile = .init(name: "state", length: writing.length, crc32: writing.checksum.value)
        }
        if writing.incrementsLength > 0 {
            try files.sync(store.incrementsPath(id.number))
            try files.syncDirectory(store.increments)
            try files.syncDirectory(store.directory)
        }
        if writing.spilledCount > 0 {
            try files.syncDirectory(store.spilled)
            try files.syncDirectory(store.directory)
        }
        let bytes = try Envelope.encode(manifest, kind: "manifest", format: CheckpointManifest.currentFormat)
        try store.writeDurably(bytes, store.path(of: id, "manifest"), in: store.path(of: id))
        state.withLock { state in
            state.writing = nil
            state.hasPublished = true
            state.history.insert(id, at: 0)
            state.references[id] = .known(manifest.references, spilled: manifest.spilledFiles)
        }
        return manifest
    }

    /// Notes that the sinks have committed. Not synced: if the marker is lost, the commit is repeated, which changes nothing.
    public func markCommitted(_ id: CheckpointID) throws(CheckpointError) {
        try checkFence()
        try files.write([], to: store.path(of: id, "committed"))
    }

    /// Deletes what retention does not keep: older checkpoints of this history beyond the newest `retained`, those of
    /// histories that were left (`--restore`), and increments files to which no checkpoint refers any more.
    ///
    /// - Returns: what was deleted.
    @discardableResult
    public func retain() throws(CheckpointError) -> [CheckpointID] {
        try checkFence()
        let kept = state.withLock { state in
            state.history.removeLast(max(0, state.history.count - store.retained))
            return state.history
        }
        guard let newest = kept.first else { return [] }
        var deleted: [CheckpointID] = []
        for id in try store.checkpointIDs() where id < newest && !kept.contains(id) {
            // Renamed first, so that a half deleted checkpoint is never taken for a damaged one.
            let condemned = store.path("deleting-\(id)")
            try files.rename(store.path(of: id), to: condemned)
            try files.remove(condemned)
            deleted.append(id)
        }
        let gone = deleted
        state.withLock { state in for id in gone { state.references[id] = nil } }
        try removeUnused()
        return deleted
    }

    /// Removes the increments and spilled files that no manifest refers to. Not while a checkpoint is being written.
    private func removeUnused() throws(CheckpointError) {
        let references = state.withLock(\.references)
        let unused = try store.incrementIDs().filter { file in
            !references.contains { id, references in references.contains(file, of: id) }
        }
        let unusedSpilled = try store.spilledNames().filter { file in
            !references.contains { id, references in references.contains(file, of: id) }
        }
        guard !unused.isEmpty || !unusedSpilled.isEmpty else { return }
        // Manifests that refer to them must not come back after a power loss.
        try files.syncDirectory(store.directory)
        for file in unused { try files.remove(store.incrementsPath(file)) }
        for file in unusedSpilled { try files.remove(store.spilledPath(file.name)) }
    }

    /// Whether this run may still write.
    public func checkFence() throws(CheckpointError) {
        guard lock.isInPlace() else {
            throw CheckpointError(
                .fenced,
                "the checkpoint directory \(store.directory) was removed or replaced while pipeline '\(store.pipeline)' was running; this run writes nothing more"
            )
        }
    }

    /// Lets another run start. Nothing may be written afterwards.
    public func release() { lock.release() }

    deinit { lock.release() }

    // MARK: the system

    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
    }

    private static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "unknown host" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// A verified checkpoint, from which tables can be read.
public struct LoadedCheckpoint: Sendable {
    let store: LocalCheckpointStore
    public let manifest: CheckpointManifest
    public let status: CheckpointStatus

    /// The encoded rows of a table.
    public func bytes(of table: CheckpointManifest.Table) throws(CheckpointError) -> [UInt8] {
        try store.bytes(of: table, in: manifest)
    }

    /// The file of a table that lies in one.
    public func file(
        of table: CheckpointManifest.Table, _ spilled: CheckpointManifest.Table.Spilled
    ) throws(CheckpointError) -> SpillFile {
        try store.spillFile(of: table, spilled, in: manifest)
    }
}
