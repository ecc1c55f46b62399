import DataflowEpochs
import DataflowOperator
import DataflowTesting
import Glibc
import Testing

@testable import SQLiteSink

/// Rows in epochs: what readers see, and what is there after deaths and restarts.
struct EpochTests {
    @Test func `rows appear with the commit, all of an epoch at once`() async throws {
        let place = try Workplace()
        let sink = try await place.open(place.config(), Rows.append)
        let reader = try place.connect()
        func count() throws -> String? { try reader.query("select count(*) from t").first?[0] }
        for epoch in 1...3 {
            for part in 0..<4 { try await sink.write(Rows.batch([("a", Int64(part)), ("b", nil)])) }
            let checkpoint = try await sink.prepare()
            #expect(try count() == "\((epoch - 1) * 8)")
            try await sink.commit(checkpoint)
            #expect(try count() == "\(epoch * 8)")
        }
        // An epoch without rows changes nothing.
        #expect(try await sink.checkpoint().committables.isEmpty)
        #expect(
            try place.rows("select pipeline, node, generation, epoch from dataflow_commits") == [
                ["test", "node", "1", "3"]
            ])
        await sink.close()
    }

    @Test func `a reader in the middle of a query keeps the epoch that it has begun with`() async throws {
        let place = try Workplace()
        let sink = try await place.open(place.config(), Rows.append)
        try await sink.write(Rows.batch([("a", 1)]))
        try await sink.checkpoint()
        let reader = try place.connect()
        try reader.execute("begin")
        #expect(try reader.query("select count(*) from t") == [["1"]])
        try await sink.write(Rows.batch([("b", 2)]))
        try await sink.checkpoint()
        #expect(try reader.query("select count(*) from t") == [["1"]])
        try reader.execute("commit")
        #expect(try reader.query("select count(*) from t") == [["2"]])
    }

    /// Three epochs with replaced rows and deletes; what the table holds after each.
    static let epochs: [[[(String?, Int64?)]]] = [
        [[("a", 1), ("b", 2), (nil, 3)], [("c", 4), ("a", 5)]],
        [[("a", nil), ("d", 6), (nil, nil)], [("e", 7), ("b", 8), ("d", nil), ("d", 9)]],
        [[("g", 10), (nil, 11)]],
    ]

    static func expected(_ count: Int) -> [[String?]] {
        var table: [String?: Int64] = [:]
        for (key, number) in epochs[..<count].flatMap({ $0 }).flatMap({ $0 }) { table[key] = number }
        return table.map { [$0.key, String($0.value)] }.sorted { "\($0)" < "\($1)" }
    }

    @Test(arguments: [0, 1, 2], [false, true])
    func `a run that dies around a commit is finished by the next one, once`(
        epoch: Int, afterCommit: Bool
    ) async throws {
        let place = try Workplace()
        let config = place.config(key: ["k"])
        var sink = try await place.open(config, Rows.upsert)
        for number in 0..<3 {
            for rows in Self.epochs[number] { try await sink.write(Rows.batch(rows, deletes: true)) }
            let checkpoint = try await sink.prepare()
            if number == epoch {
                // The process dies here: with the commit, or just before it; its files stay.
                if afterCommit { try await sink.commit(checkpoint) }
                sink = try await place.open(config, Rows.upsert, restoring: checkpoint, pending: true, generation: 2)
                // Again, as when the word of the commit is lost a second time.
                try await sink.commit(checkpoint)
            } else {
                try await sink.commit(checkpoint)
            }
            #expect(
                try place.rows("select k, n from t").sorted { "\($0)" < "\($1)" } == Self.expected(number + 1))
        }
        #expect(sink.take().errors.isEmpty)
        await sink.close()
        let names = try #require(opendir(place.logs.path))
        defer { closedir(names) }
        var left = 0
        while let entry = readdir(names) { left += entry.pointee.d_type == UInt8(DT_REG) ? 1 : 0 }
        #expect(left == 0)
    }

    @Test func `rows that were not prepared are gone with their run`() async throws {
        let place = try Workplace()
        let sink = try await place.open(place.config(), Rows.append)
        try await sink.write(Rows.batch([("a", 1)]))
        let durable = try await sink.checkpoint()
        try await sink.write(Rows.batch([("lost", 2)]))
        let next = try await place.open(place.config(), Rows.append, restoring: durable, generation: 2)
        try await next.write(Rows.batch([("b", 3)]))
        try await next.checkpoint()
        #expect(try place.rows("select k from t order by k") == [["a"], ["b"]])
    }

    @Test func `a lost or damaged epoch log is reported with the way out`() async throws {
        for isGone in [true, false] {
            let place = try Workplace()
            let sink = try await place.open(place.config(), Rows.append)
            try await sink.write(Rows.batch([("a", 1)]))
            let pending = try await sink.prepare()
            let path = place.logs.path + "/" + pending.committables[0].file
            if isGone { unlink(path) } else { truncate(path, 30) }
            let error = await failure {
                _ = try await place.open(place.config(), Rows.append, restoring: pending, pending: true, generation: 2)
            }
            #expect(error?.code == "epoch_log_damaged")
            #expect(error?.message.contains("--restore ID") == true)
            #expect(try place.text("select count(*) from t") == "0")
        }
    }

    @Test func `a run that was overtaken cannot write any more`() async throws {
        let place = try Workplace()
        let old = try await place.open(place.config(), Rows.append)
        try await old.write(Rows.batch([("a", 1)]))
        let first = try await old.checkpoint()
        try await old.write(Rows.batch([("old", 2)]))
        let late = try await old.prepare()
        let new = try await place.open(place.config(), Rows.append, restoring: first, generation: 2)
        let error = await failure { try await old.commit(late) }
        #expect(error?.code == "fenced")
        #expect(error?.domain == .user)
        try await new.write(Rows.batch([("new", 3)]))
        try await new.checkpoint()
        #expect(try place.rows("select k from t order by k") == [["a"], ["new"]])
    }

    @Test func `an older checkpoint is refused behind an append stream, unless rows twice are accepted`() async throws {
        let place = try Workplace()
        var sink = try await place.open(place.config(), Rows.append)
        try await sink.write(Rows.batch([("a", 1)]))
        let first = try await sink.checkpoint()
        try await sink.write(Rows.batch([("b", 2)]))
        try await sink.checkpoint()
        let error = await failure {
            _ = try await place.open(place.config(), Rows.append, restoring: first, generation: 2)
        }
        #expect(error?.code == "target_ahead")
        sink = try await place.open(place.config(), Rows.append, restoring: first, accept: true, generation: 2)
        try await sink.write(Rows.batch([("b", 2)]))
        try await sink.checkpoint()
        #expect(try place.rows("select k from t order by k") == [["a"], ["b"], ["b"]])
    }

    @Test func `a database that was replaced is refused, also during the run`() async throws {
        let place = try Workplace()
        let sink = try await place.open(place.config(), Rows.append)
        try await sink.write(Rows.batch([("a", 1)]))
        let first = try await sink.checkpoint()
        for name in ["", "-wal", "-shm"] { unlink(place.path + name) }
        try await sink.write(Rows.batch([("b", 2)]))
        let pending = try await sink.prepare()
        let during = await failure { try await sink.commit(pending) }
        #expect(during?.code == "target_replaced")
        let after = await failure {
            _ = try await place.open(place.config(), Rows.append, restoring: first, generation: 2)
        }
        #expect(after?.code == "target_replaced")
        #expect(after?.message.contains("--restore none") == true)
        #expect(after?.message.contains("there is no file \(place.path)") == true)
        #expect(SQLiteDatabase.isMissing(place.path))
        // Rows may be written twice: then a new one is what the user wants.
        _ = try await place.open(place.config(), Rows.append, restoring: first, accept: true, generation: 3)
        #expect(!SQLiteDatabase.isMissing(place.path))
    }

    @Test func `at least once commits without a checkpoint and leaves no marker`() async throws {
        let place = try Workplace()
        let sink = try await place.open(place.config(key: ["k"]), Rows.upsert, exactlyOnce: false)
        try await sink.write(Rows.batch([("a", 1), ("b", 2)], deletes: true))
        try await sink.idle()
        #expect(try place.text("select count(*) from t") == "2")
        try await sink.write(Rows.batch([("a", nil), ("b", 3)], deletes: true))
        try await sink.checkpoint()
        #expect(try place.rows("select k, n from t") == [["b", "3"]])
        #expect(try place.text("select count(*) from sqlite_schema where name = 'dataflow_commits'") == "0")
    }

    @Test func `sqlite-sink keeps what every sink has to keep`() async throws {
        let place = try Workplace()
        for (table, input) in [("a", Rows.append), ("u", Rows.upsert)] {
            let findings = try await OperatorConformance.check(
                SQLiteSink.self, place.config(table, key: input.kind.key ?? []), input: input,
                stateDirectory: place.logs.path)
            #expect(findings == [])
        }
    }
}
