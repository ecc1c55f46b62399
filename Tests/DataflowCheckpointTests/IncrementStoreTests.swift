import DataflowCheckpoint
import DataflowOperator
import Testing

/// Checkpoints whose tables lie in files of earlier ones too.
@Suite struct `Increments of checkpoints` {
    typealias Table = CheckpointManifest.Table

    static func bytes(_ id: UInt64, _ part: Int) -> [UInt8] {
        Array("increment \(id).\(part) ".utf8) + [UInt8](repeating: UInt8(id % 251), count: 40)
    }

    /// What a run knows of the table that it writes: the entries of the checkpoints that still count.
    struct Run {
        let session: CheckpointSession
        var kept: [[Table]] = []

        /// Writes one checkpoint that counts on the last `keeps` ones.
        mutating func write(keeps: Int, parts: Int, seen: (CheckpointID) -> Void = { _ in }) throws -> CheckpointID {
            let id = try session.begin()
            seen(id)
            var entries: [Table] = []
            for part in 0..<parts {
                let place = try session.append(bytes(id.number, part), to: id, .increments)
                entries.append(
                    Table(
                        subtask: 0, name: "t", version: 1, distribution: .subtask, rowCount: part, offset: place.offset,
                        length: place.length, crc32: place.crc32, isNumbered: true, increments: id.number))
            }
            let own = try session.append(Array("own".utf8), to: id)
            let whole = Table(
                subtask: 0, name: "w", version: 1, distribution: .subtask, rowCount: 1, offset: own.offset,
                length: own.length, crc32: own.crc32)
            kept = Array(kept.suffix(keeps)) + [entries]
            let node = CheckpointManifest.Node(
                name: "n", type: "x", parallelism: 1, tables: [whole] + kept.joined())
            _ = try session.publish(id, lineage: "l", finished: false, nodes: [node])
            return id
        }
    }

    static func store(_ files: SimulatedFiles, retaining: Int = 2) -> LocalCheckpointStore {
        LocalCheckpointStore(root: "/root", pipeline: "p", retaining: retaining, files: files)
    }

    /// Every checkpoint that is listed can be restored, each byte of it; and no file lies there that none needs.
    static func check(_ session: CheckpointSession, _ files: SimulatedFiles, _ place: Comment) throws {
        var needed: Set<UInt64> = []
        for (manifest, _) in try session.store.list() {
            needed.formUnion(manifest.references)
            let (restored, reports) = try session.restore(.checkpoint(manifest.checkpoint))
            #expect(reports.isEmpty, place)
            let tables = try #require(restored?.manifest.nodes.first?.tables)
            var parts: [UInt64: Int] = [:]
            for table in tables {
                guard let id = table.increments else {
                    #expect(try restored?.bytes(of: table) == Array("own".utf8), place)
                    continue
                }
                #expect(try restored?.bytes(of: table) == bytes(id, parts[id, default: 0]), place)
                parts[id, default: 0] += 1
            }
        }
        let present = Set(try files.list("/root/p/increments") ?? []).compactMap { UInt64($0) }
        #expect(Set(present) == needed, place)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `retention deletes what no checkpoint needs and nothing else`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let files = SimulatedFiles()
        let place: Comment = "seed \(seed)"
        for _ in 0..<4 {
            let session = try Self.store(files, retaining: Int.random(in: 1...4, using: &random)).acquire()
            try Self.check(session, files, place)
            _ = try session.restore(.latest)
            var run = Run(session: session)
            for _ in 0..<Int.random(in: 1...12, using: &random) {
                _ = try run.write(
                    keeps: Int.random(in: 0...6, using: &random), parts: Int.random(in: 1...3, using: &random))
                if Int.random(in: 0..<4, using: &random) > 0 {
                    try session.retain()
                    try Self.check(session, files, place)
                }
            }
            // A checkpoint that is never published leaves nothing.
            let dead = try session.begin()
            _ = try session.append([1, 2, 3], to: dead, .increments)
            session.release()
        }
    }

    @Test(arguments: [true, false])
    func `dying before or after any file operation loses nothing that a checkpoint needs`(keepingAll: Bool) throws {
        let whole = SimulatedFiles()
        var last: (begun: UInt64, published: UInt64) = (0, 0)
        try Self.life(whole, &last)
        let operations = whole.operationCount
        #expect(operations > 100)
        for operation in 0..<operations {
            for after in [false, true] {
                let files = SimulatedFiles()
                files.arm(.init(operation: operation, after: after))
                var last: (begun: UInt64, published: UInt64) = (0, 0)
                #expect(throws: SimulatedFiles.death) { try Self.life(files, &last) }
                files.restart(keepingAll: keepingAll)
                let place = Comment("operation \(operation), \(after ? "after" : "before")")
                let session = try Self.store(files).acquire()
                #expect(session.reports.isEmpty, place)
                let (restored, reports) = try session.restore(.latest)
                #expect(reports.isEmpty, place)
                #expect(restored?.manifest.id ?? 0 >= last.published, place)
                try Self.check(session, files, place)
                _ = try session.restore(.latest)
                var run = Run(session: session)
                let id = try run.write(keeps: 0, parts: 2)
                #expect(id.number > last.begun, place)
                try session.retain()
                try Self.check(session, files, place)
            }
        }
    }

    static func life(_ files: SimulatedFiles, _ last: inout (begun: UInt64, published: UInt64)) throws {
        for _ in 0..<2 {
            let session = try store(files).acquire()
            _ = try session.restore(.latest)
            var run = Run(session: session)
            for keeps in [0, 1, 2, 2, 0] {
                last.published = try run.write(keeps: keeps, parts: 2) { last.begun = $0.number }.number
                try session.retain()
            }
            session.release()
        }
    }

    enum Damage: CaseIterable { case torn, bit, missing }

    @Test(arguments: Damage.allCases)
    func `a damaged increment spoils the checkpoints that need it and no other`(damage: Damage) throws {
        let files = SimulatedFiles()
        let session = try Self.store(files, retaining: 3).acquire()
        _ = try session.restore(.latest)
        var run = Run(session: session)
        for keeps in [0, 0, 1] { _ = try run.write(keeps: keeps, parts: 1) }
        session.release()
        let path = "/root/p/increments/00000000000000000002"
        switch damage {
        case .torn: files.alter(path) { $0.removeLast() }
        case .bit: files.alter(path) { $0[5] ^= 1 }
        case .missing: try files.remove(path)
        }
        let next = try Self.store(files, retaining: 3).acquire()
        let (restored, reports) = try next.restore(.latest)
        #expect(restored?.manifest.id == 1)
        #expect(reports.count == 3)
        #expect(reports[0].contains(path) && reports[0].contains("chk-00000000000000000003"))
        #expect(reports[1].contains(path) && reports[1].contains("chk-00000000000000000002"))
        #expect(reports[2] == "checkpoint 1, the one before, is used instead")
    }

    @Test func `a manifest that cannot be read keeps the files that it may need`() throws {
        let files = SimulatedFiles()
        let session = try Self.store(files, retaining: 3).acquire()
        _ = try session.restore(.latest)
        var run = Run(session: session)
        for keeps in [0, 1, 0] { _ = try run.write(keeps: keeps, parts: 1) }
        session.release()
        files.alter("/root/p/chk-00000000000000000002/manifest") { $0[30] ^= 1 }
        let next = try Self.store(files, retaining: 1).acquire()
        let held = Set(try files.list("/root/p/increments") ?? [])
        #expect(held.count == 3)
        _ = try next.restore(.latest)
        var again = Run(session: next)
        _ = try again.write(keeps: 0, parts: 1)
        try next.retain()
        #expect(try files.list("/root/p/increments") == ["00000000000000000004"])
    }

    @Test func `a manifest of the format before is read`() throws {
        let files = SimulatedFiles()
        let session = try Self.store(files).acquire()
        _ = try session.restore(.latest)
        let id = try `Local checkpoint store`().write(session)
        session.release()
        files.alter("/root/p/chk-00000000000000000001/manifest") { bytes in
            // `dataflow-manifest 2 LENGTH CRC`: the number in the header line, and the same in the page.
            let page = String(decoding: bytes.drop { $0 != UInt8(ascii: "\n") }.dropFirst(), as: UTF8.self)
                .replacing("\"format\":2", with: "\"format\":1")
            bytes = Array(
                "dataflow-manifest 1 \(page.utf8.count) \(Checksum(of: Array(page.utf8)).value)\n\(page)".utf8)
        }
        let next = try Self.store(files).acquire()
        #expect(try `Local checkpoint store`().restoredID(next) == id.number)
    }
}

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
