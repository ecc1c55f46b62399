import DataflowOperator
import DataflowPostgres
import DataflowTesting
import Testing

@testable import PgSink

/// Values of every type, through a COPY and back as the server prints them.
@Suite(.enabled(if: TestServer.isThere))
struct TypeTests {
    @Test func `every type arrives as it was sent, nulls included`() async throws {
        let place = try Workplace()
        let member = [Field("lang", .string), Field("n", .float64)]
        let schema = Schema([
            Field("b", .bool), Field("i", .int32), Field("l", .int64), Field("f", .float32), Field("d", .float64),
            Field("m", .decimal(precision: 10, scale: 3)), Field("s", .string), Field("y", .bytes),
            Field("t", .timestamp), Field("day", .date), Field("ls", .list(.string)), Field("li", .list(.int64)),
            Field("st", .structure(member)), Field("lst", .list(.structure(member))),
            Field("lli", .list(.list(.int32))), Field("lm", .list(.decimal(precision: 5, scale: 1))),
        ])
        let batch = RecordBatch(
            schema,
            rows: [
                [
                    true, .int(-7), .int(.max), .float(1.5), .float(-0.1), .decimal(-1_234_567, scale: 3),
                    "über \"x\"\\",
                    .bytes([0, 255, 65]), .timestamp(1_709_210_096_123_456), .date(19782),
                    ["a", nil, "lang genug für einen Puffer", ""], [1, nil, -9], .structure(["de", .float(2)]),
                    .list([.structure(["fr", nil]), nil]), .list([.list([.int(1), nil]), .list([])]),
                    .list([.decimal(15, scale: 1), nil]),
                ],
                Array(repeating: .null, count: schema.fields.count),
                [
                    false, .int(0), .int(.min), .float(.infinity), .float(.nan), .decimal(0, scale: 3), "", .bytes([]),
                    .timestamp(-1), .date(-1), [], [], .structure([nil, .float(.infinity)]), [], [], [],
                ],
            ])
        let driver = try await SinkHarness(
            PgSink.self, place.config("types"), input: Stream(schema), stateDirectory: place.folder)
        try await driver.write(batch)
        try await driver.checkpoint(1)
        let rows = try place.rows(
            """
            select b, i, l, f, d, m, s, encode(y, 'hex'), t at time zone 'UTC', day, ls, li, st, lst, lli, lm from types
            """)
        #expect(
            rows[0] == [
                "t", "-7", "9223372036854775807", "1.5", "-0.1", "-1234.567", "über \"x\"\\", "00ff41",
                "2024-02-29 12:34:56.123456", "2024-02-29", "{a,NULL,\"lang genug für einen Puffer\",\"\"}",
                "{1,NULL,-9}", #"{"n": 2.0, "lang": "de"}"#, #"[{"n": null, "lang": "fr"}, null]"#, "[[1, null], []]",
                "{1.5,NULL}",
            ])
        #expect(rows[1] == Array(repeating: nil, count: schema.fields.count))
        #expect(
            rows[2] == [
                "f", "0", "-9223372036854775808", "Infinity", "NaN", "0.000", "", "", "1969-12-31 23:59:59.999999",
                "1969-12-31", "{}", "{}", #"{"n": "Infinity", "lang": null}"#, "[]", "[]", "{}",
            ])
        #expect(driver.take().errors.isEmpty)
        let types = try place.rows(
            """
            select string_agg(format_type(atttypid, atttypmod), '|' order by attnum) from pg_attribute
            where attrelid = 'types'::regclass and attnum > 0
            """)
        #expect(
            types[0][0] == """
                boolean|integer|bigint|real|double precision|numeric(10,3)|text|bytea|timestamp with time zone|date|\
                text[]|bigint[]|jsonb|jsonb|jsonb|numeric(5,1)[]
                """)
    }

    @Test(arguments: [
        ("0", 0, "0"), ("1", 0, "1"), ("-1", 1, "-0.1"), ("10000", 0, "10000"), ("9999", 4, "0.9999"),
        ("100000000", 4, "10000.0000"), ("1", 38, "0.00000000000000000000000000000000000001"),
        ("99999999999999999999999999999999999999", 0, "99999999999999999999999999999999999999"),
        ("-99999999999999999999999999999999999999", 19, "-9999999999999999999.9999999999999999999"),
        ("99999999999999999999999999999999999999", 38, "0.99999999999999999999999999999999999999"),
        ("18446744073709551616", 1, "1844674407370955161.6"), ("120030004", 5, "1200.30004"),
    ])
    func `a decimal is the same number on the server`(unscaled: String, scale: Int, text: String) async throws {
        let value = try #require(Int128(unscaled))
        let bytes = ByteStore()
        NumericEncoding.append(value, scale: scale, to: bytes)
        #expect(NumericEncoding.text(of: bytes[4..<bytes.count]) == text)
        let place = try Workplace()
        let schema = Schema([Field("v", .decimal(precision: 38, scale: scale))])
        let driver = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(schema), stateDirectory: place.folder)
        try await driver.write(RecordBatch(schema, rows: [[.decimal(value, scale: scale)]]))
        try await driver.checkpoint(1)
        #expect(try place.text("select v from t") == text)
        #expect(try place.text("select v = '\(text)'::numeric from t") == "t")
    }

    @Test func `a float becomes the shortest numeric that reads back as it`() async throws {
        let place = try Workplace()
        try place.connection.execute("create table t (i int, v numeric)")
        let values: [Double] = [
            0, -0.0, 1, -12.5, 1e-7, 123456789.125, 1e22, 1.7976931348623157e308, .leastNonzeroMagnitude, .nan,
            .infinity, -.infinity,
            10000, 0.0001, 99999.99999,
        ]
        let schema = Schema([Field("i", .int32), Field("v", .float64)])
        let driver = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(schema), stateDirectory: place.folder)
        try await driver.write(
            RecordBatch(
                schema,
                rows: values.enumerated().map { (index, value) -> [Value] in [.int(Int64(index)), .float(value)] }))
        try await driver.checkpoint(1)
        let rows = try place.rows("select v::float8::text from t order by i")
        for (value, row) in zip(values, rows) {
            let back = try #require(Double(row[0] ?? ""))
            #expect(back == value || back.isNaN && value.isNaN)
        }
    }

    @Test func `an existing table may have narrower types, and values that do not fit go to errors`() async throws {
        let place = try Workplace()
        try place.connection.execute(
            """
            create type color as enum ('red', 'green');
            create domain small as smallint check (value <> 13);
            create table t (id int, s small, i int, n numeric(4,1), v varchar(3), c char(4), f real, u uuid, j jsonb,
              e color, ts timestamp, a smallint[], extra text default 'x', more int generated always as (id + 1) stored)
            """)
        let schema = Schema([
            Field("id", .int64), Field("s", .int64), Field("i", .int64), Field("n", .float64), Field("v", .string),
            Field("c", .string), Field("f", .float64), Field("u", .string), Field("j", .string), Field("e", .string),
            Field("ts", .timestamp), Field("a", .list(.int64)),
        ])
        let uuid: Value = "6f1b3c9e-2a7d-4c58-9d3b-1f0e8a7c6b5d"
        let good: [Value] = [
            .int(1), .int(-5), .int(7), .float(12.25), "abc", "x", .float(1e30), uuid, #"{"a": [1]}"#, "red",
            .timestamp(0), [1, nil],
        ]
        func bad(_ column: Int, _ value: Value) -> [Value] {
            var row = good
            row[column] = value
            row[0] = .int(Int64(column + 100))
            return row
        }
        let rows = [
            good, bad(1, .int(40000)), bad(1, .int(13)), bad(2, .int(1 << 40)), bad(3, .float(10_000)), bad(4, "abcd"),
            bad(6, .float(1e39)), bad(7, "no uuid"), bad(8, "{"), bad(9, "blue"), bad(10, .timestamp(.max)),
            bad(11, [1, 70000]), bad(8, #"{"z": "\u0000"}"#), good,
        ]
        let driver = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(schema), stateDirectory: place.folder)
        try await driver.write(RecordBatch(schema, rows: rows))
        try await driver.checkpoint(1)
        #expect(
            try place.rows("select s, i, n, v, c, f, u, j, e, ts, a, extra, more from t") == [
                [
                    "-5", "7", "12.3", "abc", "x   ", "1e+30", "6f1b3c9e-2a7d-4c58-9d3b-1f0e8a7c6b5d", #"{"a": [1]}"#,
                    "red", "1970-01-01 00:00:00", "{1,NULL}", "x", "2",
                ],
                [
                    "-5", "7", "12.3", "abc", "x   ", "1e+30", "6f1b3c9e-2a7d-4c58-9d3b-1f0e8a7c6b5d", #"{"a": [1]}"#,
                    "red", "1970-01-01 00:00:00", "{1,NULL}", "x", "2",
                ],
            ])
        let errors = driver.take().errors
        #expect(
            errors.map(\.code) == [
                "value_out_of_range", "value_out_of_range", "value_out_of_range", "invalid_uuid", "value_out_of_range",
                "value_out_of_range", "sqlstate_23514", "sqlstate_22003", "sqlstate_22001", "sqlstate_22P02",
                "sqlstate_22P02", "sqlstate_22P05",
            ])
        #expect(errors[0].reason == "column s: 40000 is out of the range of smallint")
        #expect(errors[5].reason == "column a: element 1: 70000 is out of the range of smallint")
        #expect(errors[6].reason.contains(#"small violates check constraint "small_check" (SQLSTATE 23514)"#))
        #expect(errors[0].raw.hasPrefix(#"{"id":101,"s":40000,"i":7,"n":12.25,"v":"abc","#))
        #expect(errors[8].raw.hasPrefix(#"{"id":104,"s":-5,"i":7,"n":12.25,"v":"abcd","c":"x","f":1e+30,"#))
    }

    @Test func `text with a zero character goes to errors wherever it stands`() async throws {
        let place = try Workplace()
        let schema = Schema([
            Field("i", .int32), Field("s", .string), Field("l", .list(.string)),
            Field("j", .structure([Field("a", .string)])),
        ])
        func row(_ i: Int64, _ s: Value = "ok", _ l: Value = ["ok"], _ j: Value = .structure(["ok"])) -> [Value] {
            [.int(i), s, l, j]
        }
        let zeros: [String] = [
            "\0", "a\0", "1234567\0", "12345678\0", "12345678901\0", "\u{0}23456789012", "a long text with a \0 in it",
        ]
        let fine: [String] = [
            "", "1", "1234567", "12345678", "123456789", "12345678901", "123456789012", "1234567890123", "\u{1}\u{80}",
        ]
        var rows = zeros.enumerated().map { row(Int64($0), .string($1)) }
        rows += fine.enumerated().map { row(Int64(100 + $0), .string($1)) }
        rows.append(row(50, "ok", ["a", "b\0"]))
        rows.append(row(51, "ok", ["a"], .structure(["\0"])))
        let driver = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(schema), stateDirectory: place.folder)
        try await driver.write(RecordBatch(schema, rows: rows))
        try await driver.checkpoint(1)
        #expect(try place.rows("select s from t order by i").map { $0[0] } == fine)
        let errors = driver.take().errors
        #expect(errors.count == zeros.count + 2)
        #expect(errors.allSatisfy { $0.code == "zero_character" })
        #expect(errors[0].raw.contains(#""s":"\u0000""#))
    }

    @Test func `timestamps and dates at the ends of the server's ranges arrive, those beyond go to errors`()
        async throws
    {
        let place = try Workplace()
        let schema = Schema([Field("t", .timestamp), Field("d", .date)])
        let first: Int64 = -211_813_488_000_000_000 + 946_684_800_000_000
        let last: Int64 = 9_223_371_331_199_999_999
        // The largest time that the server has lies beyond what fits in 64 bits since 1970.
        let firstDay: Int32 = -2_451_545 + 10957
        let lastDay: Int32 = 2_145_042_905 - 0
        let driver = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(schema), stateDirectory: place.folder)
        try await driver.write(
            RecordBatch(
                schema,
                rows: [
                    [.timestamp(first), .date(firstDay)], [.timestamp(last), .date(lastDay - 10957)],
                    [.timestamp(first - 1), .date(0)], [.timestamp(.max), .date(0)],
                    [.timestamp(0), .date(firstDay - 1)],
                    [.timestamp(0), .date(.max)],
                ]))
        try await driver.checkpoint(1)
        #expect(try place.text("select count(*) from t") == "2")
        #expect(
            try place.text("select min(t at time zone 'UTC') || ' ' || min(d) from t")?.hasPrefix(
                "4714-11-24 00:00:00 BC") == true)
        #expect(driver.take().errors.map(\.code) == Array(repeating: "value_out_of_range", count: 4))
    }
}
