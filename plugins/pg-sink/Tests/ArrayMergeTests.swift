import DataflowOperator
import DataflowPostgres
import DataflowTesting
import Testing

@testable import PgSink

/// Small segments with a key: by arrays, or by way of the temporary table, the outcome is the same.
@Suite(.enabled(if: TestServer.isThere))
struct ArrayMergeTests {
    static let schema = Schema([
        Field("id", .int64, nullable: false), Field("day", .date, nullable: false), Field("s", .int64),
        Field("i", .int64),
        Field("n", .float64), Field("v", .string), Field("c", .string), Field("f", .float64), Field("u", .string),
        Field("j", .string), Field("e", .string), Field("ts", .timestamp), Field("b", .bytes), Field("flag", .bool),
        Field("d", .decimal(precision: 20, scale: 3)),
    ])

    static let good: [Value] = [
        .int(0), .date(20_000), .int(-5), .int(7), .float(12.25), "abc", "x", .float(1e30),
        "6f1b3c9e-2a7d-4c58-9d3b-1f0e8a7c6b5d", #"{"a": [1, "é"]}"#, "red", .timestamp(1_700_000_000_123_456),
        .bytes([0, 255]), .bool(true), .decimal(-12_345, scale: 3),
    ]

    static func row(_ id: Int64, _ changes: [Int: Value] = [:]) -> [Value] {
        var row = good
        row[0] = .int(id)
        for (column, value) in changes { row[column] = value }
        return row
    }

    /// Rows with every column null in turn, values that the table refuses, replaced and deleted ones.
    static var epochs: [(rows: [[Value]], deletes: [Bool])] {
        var first = (2..<good.count).map { row(Int64($0), [$0: .null]) }
        first += [
            row(100), row(101, [5: "abcd"]), row(102, [6: "abcde"]), row(103, [2: .int(13)]), row(104, [10: "blue"]),
        ]
        first += [row(100, [3: .int(8)]), row(105)]
        let second: [[Value]] = [row(100), row(105, [5: "zzz"]), row(2), row(200), row(105, [5: .null])]
        return [
            (first, first.map { _ in false }), (second, [true, false, true, false, false]),
            ([row(200)], [true]),
        ]
    }

    @Test func `arrays and the temporary table write the same rows and refuse the same`() async throws {
        var tables: [[[String?]]] = []
        var refused: [[String]] = []
        for arrayRows in [0, 2000] {
            let place = try Workplace()
            try place.connection.execute(
                """
                create type color as enum ('red', 'green');
                create domain small as smallint check (value <> 13);
                create table t (id int, day date, s small, i int, n numeric(4,1), v varchar(3), c char(4), f real, u uuid,
                  j jsonb, e color, ts timestamp(3), b bytea, flag bool, d numeric(20,3), primary key (id, day))
                """)
            let stream = DataflowOperator.Stream(Self.schema, kind: .upsert(key: ["id", "day"]), deletes: true)
            let driver = try SinkHarness(
                building: PgSink.self, place.config("t", key: ["id", "day"]), input: stream,
                stateDirectory: place.folder)
            driver.sink.arrayRows = arrayRows
            var statements: [String] = []
            driver.sink.session.observe = { (moment) throws(PgFailure) in
                if case .willSend(let sql) = moment { statements.append(sql) }
            }
            try await driver.open()
            var reasons: [String] = []
            for (number, epoch) in Self.epochs.enumerated() {
                try await driver.write(RecordBatch(Self.schema, rows: epoch.rows, deletes: epoch.deletes))
                try await driver.checkpoint(UInt64(number + 1))
                reasons += driver.take().errors.map { "\($0.code) \($0.raw)" }
            }
            #expect(statements.contains(ArrayMerge.rowsName) == (arrayRows > 0))
            #expect(statements.contains(ArrayMerge.deletesName) == (arrayRows > 0))
            #expect(statements.contains { $0.contains("from stdin") } == (arrayRows == 0))
            tables.append(try place.rows("select * from t order by id"))
            refused.append(reasons.sorted())
            await driver.close()
        }
        #expect(tables[0] == tables[1])
        #expect(tables[0].count == 13)
        #expect(tables[0].contains { $0[0] == "105" && $0[5] == nil })
        #expect(refused[0] == refused[1])
        #expect(refused[0].count == 4)
    }

    @Test func `segments above the limit, and keys that hold a null and are deleted, go by the temporary table`()
        async throws
    {
        let place = try Workplace()
        let schema = Schema([Field("k", .string), Field("n", .int64)])
        let stream = DataflowOperator.Stream(schema, kind: .upsert(key: ["k"]), deletes: true)
        let driver = try SinkHarness(
            building: PgSink.self, place.config("t", key: ["k"]), input: stream, stateDirectory: place.folder)
        driver.sink.arrayRows = 3
        var copies = 0
        driver.sink.session.observe = { (moment) throws(PgFailure) in
            if case .willSend(let sql) = moment, sql.contains("from stdin") { copies += 1 }
        }
        try await driver.open()
        func epoch(_ number: UInt64, _ rows: [(String?, Int64)], deletes: Bool = false) async throws {
            try await driver.write(
                RecordBatch(
                    schema, rows: rows.map { [$0.0.map { .string($0) } ?? .null, .int($0.1)] },
                    deletes: rows.map { _ in deletes }))
            try await driver.checkpoint(number)
        }
        try await epoch(1, [("a", 1), (nil, 2), ("b", 3)])
        #expect(copies == 0)
        try await epoch(2, [("a", 4), ("b", 5), ("c", 6), (nil, 7)])
        #expect(copies == 1)
        try await epoch(3, [(nil, 0), ("b", 0)], deletes: true)
        #expect(copies == 2)
        #expect(try place.rows("select k, n from t order by k") == [["a", "4"], ["c", "6"]])
    }
}
