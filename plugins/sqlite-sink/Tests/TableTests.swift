import DataflowEpochs
import DataflowOperator
import DataflowTesting
import Testing

@testable import SQLiteSink

/// Types, tables that are made, tables that are there.
struct TableTests {
    static let schema = Schema([
        Field("flag", .bool), Field("small", .int32), Field("big", .int64, nullable: false), Field("half", .float32),
        Field("whole", .float64), Field("money", .decimal(precision: 38, scale: 4)), Field("text", .string),
        Field("raw", .bytes), Field("at", .timestamp), Field("day", .date), Field("tags", .list(.string)),
        Field("place", .structure([Field("x", .int64), Field("y", .string)])),
    ])

    @Test func `every type arrives as it was sent, nulls included`() async throws {
        let place = try Workplace()
        let sink = try await place.open(place.config(), Stream(Self.schema))
        let batch = RecordBatch(
            Self.schema,
            rows: [
                [
                    .bool(true), .int(-2_147_483_648), .int(.max), .float(1.5), .float(-0.1),
                    .decimal(12_345_678_901_234_567_890_123_456_789_012_345_678, scale: 4), .string("grün \"'; 🦊"),
                    .bytes([0, 255, 0]), .timestamp(1_735_787_045_000_006), .date(20_000),
                    .list([.string("a"), .null, .string("\"")]),
                    .structure([.int(.min), .string("z\u{0}")]),
                ],
                [
                    .null, .null, .int(.min), .null, .float(.infinity), .null, .string(""), .bytes([]), .null, .null,
                    .list([]), .null,
                ],
            ])
        try await sink.write(batch)
        try await sink.checkpoint()
        #expect(sink.take().errors.isEmpty)
        let rows = try place.rows(
            """
            select flag, small, big, half, whole, money, text, hex(raw), at, day, tags, place,
              typeof(big) || typeof(whole) || typeof(money) || typeof(raw) || typeof(at), json_extract(tags, '$[2]')
            from t order by big desc
            """)
        #expect(
            rows[0] == [
                "1", "-2147483648", "9223372036854775807", "1.5", "-0.1", "1234567890123456789012345678901234.5678",
                "grün \"'; 🦊", "00FF00", "2025-01-02T03:04:05.000006Z", "2024-10-04", #"["a",null,"\""]"#,
                #"{"x":-9223372036854775808,"y":"z\u0000"}"#, "integerrealtextblobtext", "\"",
            ])
        #expect(
            rows[1] == [
                nil, nil, "-9223372036854775808", nil, "Inf", nil, "", "", nil, nil, "[]", nil,
                "integerrealnullblobnull",
                nil,
            ])
        // Its own functions read the times.
        #expect(try place.text("select strftime('%s', at) from t where flag") == "1735787045")
    }

    @Test func `values that SQLite would change go to errors, the other rows arrive`() async throws {
        let place = try Workplace()
        let schema = Schema([Field("k", .int64, nullable: false), Field("x", .float64), Field("s", .string)])
        let sink = try await place.open(place.config(), Stream(schema))
        try await sink.write(
            RecordBatch(
                schema,
                rows: [
                    [.int(1), .float(.nan), .string("a")], [.int(2), .float(2), .string("b")],
                    [.int(3), .null, .string("zero\u{0}in a text that is longer than its view")],
                    [.int(4), .null, .string("\u{0}")], [.int(5), .float(-.infinity), .null],
                ]))
        try await sink.checkpoint()
        let found = sink.take().errors
        #expect(found.map(\.code) == ["not_a_number", "zero_character", "zero_character"])
        #expect(found[0].reason.hasPrefix("column x: NaN"))
        #expect(found[2].raw == #"{"k":4,"x":null,"s":"\u0000"}"#)
        #expect(try place.rows("select k from t order by k") == [["2"], ["5"]])
    }

    @Test func `a table that does not fit is refused with every column that differs`() async throws {
        let place = try Workplace()
        let schema = Schema([
            Field("a", .int64), Field("b", .string), Field("c", .decimal(precision: 10, scale: 2)),
            Field("d", .float64),
            Field("e", .bytes), Field("f", .string),
        ])
        try place.connect().execute(
            "create table t (A INTEGER, b numeric, c REAL, d varchar(20), e TEXT, g TEXT not null, h as (a + 1))")
        let error = await failure { _ = try await place.open(place.config(key: ["b"]), Stream(schema)) }
        #expect(error?.code == "table_mismatch")
        let message = error?.message ?? ""
        for part in [
            "column b is declared numeric; the stream has string, which needs TEXT or BLOB",
            "column c is declared REAL", "column d is declared varchar(20); the stream has float64, which needs REAL",
            "column e is declared TEXT", #"add it: alter table "t" add column "f" TEXT"#,
            "column g is not null and has no default",
            #"no unique index on the key (b); create it: create unique index "t_key" on "t" ("b")"#,
        ] { #expect(message.contains(part), "\(part)") }
        #expect(!message.contains("column a "))
    }

    @Test func `a table may be wider, narrower in type and older than the stream`() async throws {
        let place = try Workplace()
        try place.connect().execute(
            """
            create table t (id integer primary key, k text unique, n int, at integer, extra text default 'x', twice as (n * 2));
            insert into t (k, n, extra) values ('a', 1, 'kept')
            """)
        let schema = Schema([Field("k", .string, nullable: false), Field("n", .int32), Field("at", .timestamp)])
        let sink = try await place.open(place.config(key: ["k"]), Stream(schema, kind: .upsert(key: ["k"])))
        try await sink.write(
            RecordBatch(schema, rows: [[.string("a"), .int(5), .timestamp(7)], [.string("b"), .int(6), .null]]))
        try await sink.checkpoint()
        #expect(
            try place.rows("select id, k, n, at, extra, twice from t order by id") == [
                ["1", "a", "5", "7", "kept", "10"], ["2", "b", "6", nil, "x", "12"],
            ])
    }

    @Test func `null keys are replaced and deleted like others`() async throws {
        let place = try Workplace()
        let schema = Schema([Field("a", .string), Field("b", .int64), Field("v", .int64)])
        let sink = try await place.open(
            place.config(key: ["a", "b"]), Stream(schema, kind: .upsert(key: ["a", "b"]), deletes: true))
        func write(_ rows: [[Value]], _ deletes: [Bool]) async throws {
            try await sink.write(RecordBatch(schema, rows: rows, deletes: deletes))
            try await sink.checkpoint()
        }
        try await write(
            [
                [.null, .int(1), .int(1)], [.null, .null, .int(2)], [.string("x"), .null, .int(3)],
                [.null, .int(1), .int(4)],
            ],
            [false, false, false, false])
        #expect(try place.rows("select v from t order by v") == [["2"], ["3"], ["4"]])
        try await write([[.null, .null, .int(5)], [.null, .int(1), .null]], [false, true])
        #expect(try place.rows("select v from t order by v") == [["3"], ["5"]])
    }

    @Test func `a table of nothing but its key takes each once`() async throws {
        for nullable in [false, true] {
            let place = try Workplace()
            let schema = Schema([Field("k", .int64, nullable: nullable)])
            let sink = try await place.open(place.config(key: ["k"]), Stream(schema, kind: .upsert(key: ["k"])))
            for _ in 0..<2 {
                try await sink.write(RecordBatch(schema, rows: [[.int(1)], [.int(2)], [.int(1)]]))
                try await sink.checkpoint()
            }
            #expect(try place.rows("select k from t order by k") == [["1"], ["2"]])
        }
    }

    @Test func `rows that a constraint or a trigger refuses go to errors before the checkpoint`() async throws {
        for exactlyOnce in [true, false] {
            let place = try Workplace()
            try place.connect().execute(
                """
                create table t (k text check (k <> 'bad'), n integer unique);
                create trigger no_13 before insert on t when new.n = 13 begin select raise(abort, 'thirteen'); end
                """)
            let sink = try await place.open(place.config(), Rows.append, exactlyOnce: exactlyOnce)
            try await sink.write(Rows.batch([("a", 1), ("bad", 2), ("b", 1)]))
            try await sink.write(Rows.batch([("c", 13), ("d", 3), ("e", nil)]))
            try await sink.checkpoint()
            let found = sink.take().errors
            #expect(found.map(\.code) == ["constraint_check", "constraint_unique", "constraint_trigger"])
            #expect(found.map(\.raw) == [#"{"k":"bad","n":2}"#, #"{"k":"b","n":1}"#, #"{"k":"c","n":13}"#])
            #expect(found[2].reason.hasPrefix("thirteen"))
            #expect(try place.rows("select k from t order by k") == [["a"], ["d"], ["e"]])
            // The next epoch is tried against what is there now.
            try await sink.write(Rows.batch([("f", 3), ("g", 4)]))
            try await sink.checkpoint()
            #expect(sink.take().errors.map(\.code) == ["constraint_unique"])
            #expect(try place.text("select count(*) from t") == "4")
            await sink.close()
        }
    }

    @Test func `a row that another program blocks between checkpoint and commit stops the run and can be mended`()
        async throws
    {
        let place = try Workplace()
        try place.connect().execute("create table t (k text, n integer unique)")
        let sink = try await place.open(place.config(), Rows.append)
        try await sink.write(Rows.batch([("a", 1), ("b", 2)]))
        let pending = try await sink.prepare()
        try place.connect().execute("insert into t values ('intruder', 2)")
        let error = await failure { try await sink.commit(pending) }
        #expect(error?.code == "row_refused")
        #expect(error?.message.contains(#"the row is {"k":"b","n":2}"#) == true, "\(error?.message ?? "")")
        #expect(try place.text("select count(*) from t") == "1")
        try place.connect().execute("delete from t")
        _ = try await place.open(place.config(), Rows.append, restoring: pending, pending: true, generation: 2)
        #expect(try place.rows("select k from t order by k") == [["a"], ["b"]])
    }

    @Test func `existing rows stay, are replaced at the first commit, or are refused`() async throws {
        for policy in [ExistingRows.keep, .delete, .refuse] {
            let place = try Workplace()
            try place.connect().execute("create table t (k text, n integer); insert into t values ('old', 0)")
            let config = place.config { $0.existingRows = policy }
            if policy == .refuse {
                let error = await failure { _ = try await place.open(config, Rows.append) }
                #expect(error?.code == "table_not_empty")
                continue
            }
            let sink = try await place.open(config, Rows.append)
            try await sink.write(Rows.batch([("new", 1)]))
            #expect(try place.rows("select k from t") == [["old"]])
            try await sink.checkpoint()
            #expect(try place.rows("select k from t order by k") == (policy == .keep ? [["new"], ["old"]] : [["new"]]))
            // Only the first.
            try await sink.write(Rows.batch([("newer", 2)]))
            try await sink.checkpoint()
            #expect(try place.text("select count(*) from t") == (policy == .keep ? "3" : "2"))
            await sink.close()
        }
        // Also when the first epoch has no rows.
        let place = try Workplace()
        try place.connect().execute("create table t (k text, n integer); insert into t values ('old', 0)")
        let sink = try await place.open(place.config { $0.existingRows = .delete }, Rows.append)
        try await sink.checkpoint()
        #expect(try place.text("select count(*) from t") == "0")
    }

    @Test func `create never and other things of that name are refused`() async throws {
        let place = try Workplace()
        let never = place.config { $0.create = .never }
        #expect(await failure { _ = try await place.open(never, Rows.append) }?.code == "database_not_writable")
        try place.connect().execute("create view v as select 1 as k, 2 as n")
        let missing = await failure { _ = try await place.open(never, Rows.append) }
        #expect(missing?.code == "table_missing")
        #expect(missing?.message.contains(#"CREATE TABLE "t" ("k" TEXT, "n" INTEGER) STRICT"#) == true)
        let view = await failure { _ = try await place.open(place.config("v"), Rows.append) }
        #expect(view?.code == "not_a_table")
    }

    @Test func `names with quotes, spaces and words of SQL are the user's own`() async throws {
        let place = try Workplace()
        let schema = Schema([Field("select", .int64, nullable: false), Field("a \"b\"; --", .string)])
        let sink = try await place.open(
            place.config("or\"der 'x'", key: ["select"]), Stream(schema, kind: .upsert(key: ["select"])))
        try await sink.write(RecordBatch(schema, rows: [[.int(1), .string("x")], [.int(1), .string("y")]]))
        try await sink.checkpoint()
        #expect(try place.rows(#"select * from "or""der 'x'""#) == [["1", "y"]])
    }

    @Test func `validate finds what cannot work`() throws {
        func findings(_ input: DataflowOperator.Stream, _ key: [String] = []) -> [String] {
            var config = SQLiteSinkConfig()
            config.key = key
            do throws(ConfigError) {
                _ = try SQLiteSink.outputs(config, inputs: [input])
                return []
            } catch { return error.diagnostics.map(\.message) }
        }
        #expect(findings(Rows.append).isEmpty)
        #expect(findings(Rows.append, ["m"]).first?.hasPrefix("the stream has no column `m`") == true)
        #expect(findings(Rows.upsert) == ["the stream replaces rows by [k]; the table needs the same key"])
        #expect(findings(Rows.upsert, ["n"]).first?.hasSuffix("found [n]") == true)
        #expect(findings(Stream(Schema([]))) == ["the stream has no columns, and a table needs at least one"])
        #expect(
            findings(Stream(Schema([Field("a", .int64), Field("A", .int64)]))).first?.contains("the same to SQLite")
                == true)
        var config = SQLiteSinkConfig()
        config.key = ["a", "a"]
        config.table = "T"
        config.commitsTable = "t"
        #expect(config.validate().count == 2)
    }
}
