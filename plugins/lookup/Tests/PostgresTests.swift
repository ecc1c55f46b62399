import DataflowConfig
import DataflowOperator
import DataflowPostgres
import DataflowTesting
import Glibc
import Testing

@testable import Lookup

/// The server of the tests (`make test` starts one and sets this); nil: these tests are skipped.
private let serverURL = getenv("DATAFLOW_TEST_PG_URL").map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }

/// A schema of its own for a test, gone when it is let go.
private final class Place {
    let name = "lookup\(UInt64.random(in: 0 ... .max))"
    let connection: PgConnection

    init() throws {
        connection = try PgConnection(PgSettings(parsing: serverURL ?? ""), timeout: .seconds(60)) { _, _ in }
        try connection.execute("create schema \(name); set search_path = \(name)")
    }

    deinit { _ = try? connection.execute("drop schema \(name) cascade") }

    func config(
        _ query: String, columns: [(String, String)], on: String = "code", added: [String], connection: String? = nil
    ) throws -> LookupConfig {
        try LookupConfig(
            decoding: .mapping([
                (
                    "postgres",
                    .mapping([
                        ("connection", .text(connection ?? serverURL ?? "")), ("query", .text(query)),
                        ("columns", .mapping(columns.map { ($0.0, ConfigNode.text($0.1)) })),
                    ])
                ), ("on", .mapping([("country", .text(on))])),
                ("columns", ConfigNode(.sequence(added.map { .text($0) }))), ("refresh", .text("1m")),
            ]))
    }
}

@Suite(.enabled(if: serverURL != nil)) struct PostgresTests {
    @Test func `a query is the table, and a refresh sees its new rows`() throws {
        let place = try Place()
        try place.connection.execute(
            """
            create table countries (code text primary key, name varchar(80), vat numeric(6,2));
            insert into countries values ('de', 'Germany', 19), ('fr', E'a\\tb\\\\n"c', null)
            """)
        let config = try place.config(
            "select code, name, vat from \(place.name).countries -- all of them\n;",
            columns: [("code", "string"), ("name", "string"), ("vat", "decimal(4,2)")], added: ["name", "vat"])
        let harness = try OperatorHarness(Lookup.self, config, input: Stream(orders))
        try harness.process(someOrders)
        #expect(
            harness.take().rows().map { Array($0.suffix(2)) } == [
                ["Germany", vat(1900)], [nil, nil], [nil, nil], ["a\tb\\n\"c", nil],
            ])
        try place.connection.execute("update countries set name = 'Deutschland' where code = 'de'")
        try harness.advanceClock(by: .seconds(60))
        harness.transform.refresh.waitForLoad()
        try harness.process(someOrders)
        #expect(harness.take().rows()[0][3] == "Deutschland")
        // The table goes: the old one stays.
        try place.connection.execute("drop table countries")
        try harness.advanceClock(by: .seconds(60))
        harness.transform.refresh.waitForLoad()
        try harness.process(someOrders)
        #expect(harness.take().rows()[0][3] == "Deutschland")
        #expect(harness.transform.failures == 1)
    }

    @Test func `every scalar type comes over as it stands`() throws {
        let place = try Place()
        let query = """
            select 'de'::text as code, true as b, (-7)::int4 as i, 9223372036854775807::int8 as l, 0.1::float4 as f,
                   1e300::float8 as d, 12345678901234567890.12::numeric as n, '\\x00ff'::bytea as y,
                   timestamp with time zone '2024-05-01 12:30:00.25+02' as t, date '1969-12-31' as a,
                   '5e7a1f6e-0000-4000-8000-000000000001'::uuid as u, '{"a": 1}'::jsonb as j
            """
        let columns = [
            ("code", "string"), ("b", "bool"), ("i", "int32"), ("l", "int64"), ("f", "float32"), ("d", "float64"),
            ("n", "decimal(22,2)"), ("y", "bytes"), ("t", "timestamp"), ("a", "date"), ("u", "string"),
            ("j", "string"),
        ]
        let config = try place.config(query, columns: columns, added: columns.dropFirst().map(\.0))
        let harness = try OperatorHarness(Lookup.self, config, input: Stream(orders))
        try harness.process(batch([[1, "de", 1]]))
        #expect(
            Array(harness.output.rows()[0].dropFirst(3)) == [
                true, -7, .int(.max), .float(Double(Float(0.1))), 1e300,
                .decimal(1_234_567_890_123_456_789_012, scale: 2), .bytes([0, 255]),
                .timestamp(1_714_559_400_250_000), .date(-1), "5e7a1f6e-0000-4000-8000-000000000001", #"{"a": 1}"#,
            ])
    }

    @Test(arguments: [
        ("select 'de' as code, 'dear' as vat", "the query's column `vat` is text, but `columns` says decimal(4,2)"),
        ("select 'de' as code, 1 as price", "the query gives no column `vat`; it gives code, price"),
        ("select 'de' as code, 1 as vat, 2 as vat", "the query gives two columns `vat`"),
        ("select 'de' as code, 100.5 as vat", "column `vat`: "),
        ("select code, 1 as vat from nowhere", "relation \"nowhere\" does not exist"),
        ("select 'de' as code, 1 as vat union all select 'de', 2", "row 2 has the key code = 'de' a second time"),
        ("create table x (a int)", "`query` gives no rows: it must be a select"),
    ])
    func `a query that does not fit is refused at the start`(_ query: String, _ message: String) throws {
        let place = try Place()
        let config = try place.config(
            query, columns: [("code", "string"), ("vat", "decimal(4,2)")], added: ["vat"])
        let error = #expect(throws: OperatorError.self) {
            try OperatorHarness(Lookup.self, config, input: Stream(orders))
        }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        guard case .user? = error?.domain, case .never? = error?.retry else {
            Issue.record("only a person can mend it: \(String(describing: error))")
            return
        }
    }

    @Test func `many rows come over whole`() throws {
        let place = try Place()
        let config = try place.config(
            "select 'k' || n as code, n from generate_series(1, 30000) n",
            columns: [("code", "string"), ("n", "int64")],
            added: ["n"])
        let harness = try OperatorHarness(Lookup.self, config, input: Stream(orders))
        try harness.process(batch((1...30_000).map { [1, .string("k\($0)"), .int($0)] }))
        #expect(harness.output.rows().allSatisfy { $0[2] == $0[3] })
    }
}

@Suite struct PostgresFailureTests {
    @Test func `a server that is not there is tried again by the run, and the password is not shown`() throws {
        var config = LookupConfig()
        config.postgres = PostgresTableConfig()
        config.postgres?.connection = Secret("postgresql://someone:hunter2@127.0.0.1:1/db")
        config.postgres?.query = "select 1"
        config.postgres?.columns = ["code": try TypeText("string")]
        config.on = ["country": "code"]
        config.columns = AddedColumns([("other", "code")])
        let error = #expect(throws: OperatorError.self) {
            try OperatorHarness(Lookup.self, config, input: Stream(orders))
        }
        guard case .external? = error?.domain, case .withBackoff? = error?.retry else {
            Issue.record("it may pass: \(String(describing: error))")
            return
        }
        #expect(error?.message.contains("hunter2") == false)
        #expect(error?.message.contains("someone@127.0.0.1:1/db") == true)
    }
}
