import DataflowCheckpoint
import DataflowOperator
import Testing

#if canImport(Glibc)
    import Glibc
#endif

private func ids(_ store: LocalCheckpointStore) throws -> [UInt64] {
    try store.list().map(\.manifest.id)
}

@Suite struct `Local checkpoint store` {
    func state(_ id: UInt64) -> [UInt8] {
        Array("state of \(id) ".utf8) + [UInt8](repeating: UInt8(id % 251), count: 100)
    }

    /// Begins, writes and publishes one checkpoint; its state tells its id.
    @discardableResult
    func write(
        _ session: CheckpointSession, lineage: String = "l", commits: Bool = false,
        begun: (CheckpointID) -> Void = { _ in }
    ) throws -> CheckpointID {
        let id = try session.begin()
        begun(id)
        let bytes = state(id.number)
        let place = try session.append(bytes, to: id)
        let table = CheckpointManifest.Table(
            subtask: 0, name: "t", version: 1, distribution: .subtask, rowCount: 1, offset: place.offset,
            length: place.length, crc32: place.crc32)
        let node = CheckpointManifest.Node(
            name: "n", type: "x", parallelism: 1, tables: [table],
            committables: commits ? [.init(subtask: 0, json: "{}")] : [])
        _ = try session.publish(id, lineage: lineage, finished: false, nodes: [node])
        if commits { try session.markCommitted(id) }
        try session.retain()
        return id
    }

    func restoredID(_ session: CheckpointSession, _ choice: CheckpointSession.Restore = .latest) throws -> UInt64? {
        let (restored, _) = try session.restore(choice)
        guard let restored else { return nil }
        let table = try #require(restored.manifest.nodes.first?.tables.first)
        #expect(try restored.bytes(of: table) == state(restored.manifest.id), "the state is that of its checkpoint")
        return restored.manifest.id
    }

    @Test func `a new folder starts anew and the next start goes on from the newest checkpoint`() throws {
        let files = SimulatedFiles()
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: files)
        let session = try store.acquire()
        #expect(session.generation == 1)
        #expect(try restoredID(session) == nil)
        try write(session)
        let last = try write(session)
        session.release()
        let next = try store.acquire()
        #expect(next.generation == 2)
        #expect(try restoredID(next) == last.number)
        let new = try next.begin()
        #expect(new > last)
    }

    @Test func `a second run is refused while the first lives and takes over when it is gone`() throws {
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: SimulatedFiles())
        let first = try store.acquire()
        let error = #expect(throws: CheckpointError.self) { try store.acquire() }
        #expect(error?.kind == .alreadyRunning)
        #expect(error?.exitCode == 75)
        #expect(error?.message.contains("process \(getpid())") == true)
        #expect(error?.message.contains("generation 1") == true)
        first.release()
        #expect(try store.acquire().generation == 2)
    }

    @Test func `retention keeps the newest checkpoints`() throws {
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", retaining: 2, files: SimulatedFiles())
        let session = try store.acquire()
        _ = try session.restore(.latest)
        for _ in 0..<5 { try write(session) }
        #expect(try ids(store) == [5, 4])
    }

    @Test func `after an older checkpoint was chosen the abandoned ones go with the first new one`() throws {
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: SimulatedFiles())
        let session = try store.acquire()
        _ = try session.restore(.latest)
        for _ in 0..<3 { try write(session) }
        session.release()
        let next = try store.acquire()
        let choice = CheckpointSession.Restore.checkpoint(CheckpointID(1))
        #expect(try restoredID(next, choice) == 1)
        #expect(try restoredID(next, choice) == 1, "the choice holds until a checkpoint was published")
        let new = try write(next)
        #expect(new.number == 4)
        #expect(try ids(store) == [4, 1])
        let previous = try store.list().first?.manifest.previous
        #expect(previous == 1)
        #expect(try restoredID(next, choice) == 4, "a failed run that starts over does not go back again")
    }

    @Test func `restore none starts a new lineage with ids that go on rising`() throws {
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: SimulatedFiles())
        let session = try store.acquire()
        _ = try session.restore(.latest)
        try write(session)
        #expect(try restoredID(session, .none) == 1, "this session has published")
        session.release()
        let next = try store.acquire()
        #expect(try restoredID(next, .none) == nil)
        #expect(try write(next, lineage: "m").number == 2)
        let lineages = try store.list().map(\.manifest.lineage)
        #expect(lineages == ["m"])
    }

    @Test func `a checkpoint that does not exist is named with those that do`() throws {
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: SimulatedFiles())
        let session = try store.acquire()
        _ = try session.restore(.latest)
        try write(session)
        session.release()
        let next = try store.acquire()
        let error = #expect(throws: CheckpointError.self) { try next.restore(.checkpoint(CheckpointID(9))) }
        #expect(error?.kind == .notFound)
        #expect(error?.message.hasSuffix("there is 1") == true)
    }

    enum Damage: String, CaseIterable { case manifestTorn, manifestBit, stateTorn, stateBit, stateMissing }

    @Test(arguments: Damage.allCases)
    func `a damaged newest checkpoint is reported and the one before is used`(damage: Damage) throws {
        let files = SimulatedFiles()
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: files)
        let session = try store.acquire()
        _ = try session.restore(.latest)
        try write(session)
        try write(session)
        session.release()
        let folder = "/root/p/chk-00000000000000000002/"
        switch damage {
        case .manifestTorn: files.alter(folder + "manifest") { $0.removeLast(5) }
        case .manifestBit: files.alter(folder + "manifest") { $0[$0.count - 9] ^= 1 }
        case .stateTorn: files.alter(folder + "state") { $0.removeLast() }
        case .stateBit: files.alter(folder + "state") { $0[3] ^= 4 }
        case .stateMissing: try files.remove(folder + "state")
        }
        let next = try store.acquire()
        let (restored, reports) = try next.restore(.latest)
        #expect(restored?.manifest.id == 1)
        #expect(reports.count == 2)
        #expect(reports.first?.contains("chk-00000000000000000002") == true)
        #expect(reports.last == "checkpoint 1, the one before, is used instead")
        #expect(try write(next).number == 3)
        #expect(try ids(store) == [3, 1])
    }

    @Test func `when every checkpoint is damaged the start is refused`() throws {
        let files = SimulatedFiles()
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: files)
        let session = try store.acquire()
        _ = try session.restore(.latest)
        try write(session)
        files.alter("/root/p/chk-00000000000000000001/manifest") { $0 = [] }
        session.release()
        let error = try #require(throws: CheckpointError.self) { try store.acquire().restore(.latest) }
        #expect(error.kind == .damaged)
        #expect(error.message.contains("--restore none"))
        #expect(error.exitCode == 78)
    }

    @Test func `a damaged fence leaves room for the generations it may have known`() throws {
        let files = SimulatedFiles()
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: files)
        let session = try store.acquire()
        _ = try session.restore(.latest)
        try write(session)
        session.release()
        files.alter("/root/p/fence") { $0.removeLast(3) }
        let next = try store.acquire()
        #expect(next.generation > 1_000_000)
        #expect(next.reports.count == 1)
        #expect(try restoredID(next) == 1)
        #expect(try next.begin().number > 1_000_000)
    }

    @Test func `a fence that is missing beside checkpoints is as good as damaged`() throws {
        let files = SimulatedFiles()
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: files)
        let session = try store.acquire()
        _ = try session.restore(.latest)
        try write(session)
        session.release()
        try files.remove("/root/p/fence")
        let next = try store.acquire()
        #expect(next.generation > 1_000_000)
        #expect(next.reports.first?.contains("/root/p/fence is missing") == true)
        #expect(try restoredID(next) == 1)
    }

    @Test func `folders that only look like checkpoints are left alone`() throws {
        let files = SimulatedFiles()
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: files)
        let alien = ["chk-18446744073709551615", "chk-9223372036854775808", "chk-7", "chk-", "chk-x", "chk--1"]
        for name in alien { try files.makeDirectory("/root/p/\(name)") }
        let session = try store.acquire()
        #expect(session.generation == 1)
        #expect(try restoredID(session) == nil)
        #expect(try write(session).number == 1)
        #expect(Set(try files.list("/root/p") ?? []).isSuperset(of: alien))
    }

    @Test func `a manifest of another format is refused and not passed over`() throws {
        let files = SimulatedFiles()
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: files)
        let session = try store.acquire()
        _ = try session.restore(.latest)
        try write(session)
        files.alter("/root/p/chk-00000000000000000001/manifest") { $0.replaceSubrange(18..<19, with: Array("9".utf8)) }
        session.release()
        let error = #expect(throws: CheckpointError.self) { try store.acquire().restore(.latest) }
        #expect(error?.kind == .incompatible)
    }

    @Test func `a folder that is removed under a running pipeline is told and not written to`() throws {
        let files = SimulatedFiles()
        let store = LocalCheckpointStore(root: "/root", pipeline: "p", files: files)
        let session = try store.acquire()
        try files.remove("/root/p")
        let error = #expect(throws: CheckpointError.self) { try session.begin() }
        #expect(error?.kind == .fenced)
    }

    /// The whole life of a folder: three starts with two checkpoints each. Dies at one place, comes up, and goes on.
    @Test(arguments: [true, false])
    func `dying before or after any file operation loses no checkpoint and reuses no id`(keepingAll: Bool) throws {
        let whole = SimulatedFiles()
        var all = Seen()
        try life(whole, &all)
        let operations = whole.operationCount
        #expect(operations > 60)
        for operation in 0..<operations {
            for after in [false, true] {
                let files = SimulatedFiles()
                files.arm(.init(operation: operation, after: after))
                var seen = Seen()
                #expect(throws: SimulatedFiles.death) { try life(files, &seen) }
                files.restart(keepingAll: keepingAll)

                let place = Comment("operation \(operation), \(after ? "after" : "before")")
                let store = LocalCheckpointStore(root: "/root", pipeline: "p", retaining: 2, files: files)
                let session = try store.acquire()
                #expect(session.generation > seen.generation, place)
                #expect(session.reports.isEmpty, place)
                let (restored, reports) = try session.restore(.latest)
                #expect(reports.isEmpty, place)
                #expect(restored?.manifest.id ?? 0 >= seen.published, place)
                if let restored, restored.manifest.id == seen.marked, keepingAll {
                    #expect(restored.status == .ready, place)
                }
                let id = try write(session)
                #expect(id.number > seen.begun, place)
                #expect(try restoredID(session) == id.number, place)
            }
        }
    }

    /// What a run had been told before it died.
    struct Seen {
        var generation: UInt64 = 0
        var begun: UInt64 = 0
        var published: UInt64 = 0
        var marked: UInt64 = 0
    }

    func life(_ files: SimulatedFiles, _ seen: inout Seen) throws {
        for _ in 0..<3 {
            let store = LocalCheckpointStore(root: "/root", pipeline: "p", retaining: 2, files: files)
            let session = try store.acquire()
            seen.generation = session.generation
            _ = try session.restore(.latest)
            for _ in 0..<2 {
                let id = try session.begin()
                seen.begun = id.number
                let place = try session.append(state(id.number), to: id)
                let table = CheckpointManifest.Table(
                    subtask: 0, name: "t", version: 1, distribution: .subtask, rowCount: 1, offset: place.offset,
                    length: place.length, crc32: place.crc32)
                _ = try session.publish(
                    id, lineage: "l", finished: false,
                    nodes: [
                        .init(
                            name: "n", type: "x", parallelism: 1, tables: [table],
                            committables: [.init(subtask: 0, json: "1")])
                    ])
                seen.published = id.number
                try session.markCommitted(id)
                seen.marked = id.number
                try session.retain()
            }
            session.release()
        }
    }
}

@Suite struct `Local files` {
    let root: String

    init() throws {
        var template = Array("/tmp/dataflow-checkpoint-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        root = try #require(made)
    }

    @Test func `the store works on a real file system, with locks between two openings`() throws {
        let store = LocalCheckpointStore(root: root + "/a/b", pipeline: "web shop/1", retaining: 1)
        let session = try store.acquire()
        #expect(store.directory == root + "/a/b/web%20shop%2F1")
        #expect(throws: CheckpointError.self) { try store.acquire() }
        _ = try session.restore(.latest)
        for _ in 0..<3 { try `Local checkpoint store`().write(session, commits: true) }
        session.release()
        let next = try store.acquire()
        #expect(try `Local checkpoint store`().restoredID(next) == 3)
        #expect(try ids(store) == [3])
        let statuses = try store.list().map(\.status)
        #expect(statuses == [.ready])
        try LocalFiles().remove(root)
        #expect(throws: CheckpointError.self) { try next.begin() }
    }

    @Test func `a refused operation says what, where and what to do`() throws {
        let files = LocalFiles()
        try files.write([1], to: root + "/file")
        let error = #expect(throws: CheckpointError.self) { try files.makeDirectory(root + "/file/below") }
        #expect(error?.kind == .file(errno: ENOTDIR))
        #expect(error?.message.contains(root + "/file/below") == true)
        #expect(error?.message.contains("checkpoint.directory") == true)
        #expect(error?.exitCode == 78)
        let full = #expect(throws: CheckpointError.self) { try files.write([1], to: "/dev/full") }
        #expect(full?.kind == .file(errno: ENOSPC))
        #expect(full?.message.contains("make room") == true)
        #expect(full?.exitCode == 75)
        #expect(try files.read(root + "/missing", nil) == nil)
        try files.append([2, 3], to: root + "/file")
        #expect(try files.read(root + "/file", 1..<9) == [2, 3])
        try files.remove(root)
    }
}
