import DataflowConfig
import DataflowOperator
import DataflowTesting
import Synchronization
import Testing

@testable import Lookup

@Suite struct LookupTests {
    let file: TableFile

    init() throws { file = try TableFile() }

    private func harness(
        _ change: [(String, ConfigNode)] = [], input: Stream = Stream(orders), usedColumns: ColumnSet = .all
    ) throws -> OperatorHarness<Lookup> {
        try OperatorHarness(Lookup.self, file.config(change), input: input, usedColumns: usedColumns)
    }

    @Test func `rows get the columns of the table's row with their key, null where there is none`() throws {
        let harness = try harness()
        try harness.process(someOrders)
        #expect(
            harness.output.rows() == [
                [1, "de", 10, "Germany", vat(1900)], [2, "xx", 20, nil, nil], [3, nil, 30, nil, nil],
                [4, "fr", 40, "France, la \"douce\"", vat(2000)],
            ])
        #expect(harness.accountsForEveryRow)
        #expect(harness.outputs[0].schema.description.hasSuffix("name string, vat decimal(4,2)"))
    }

    @Test func `columns may get other names, and the key itself may be added`() throws {
        let harness = try harness([("columns", .mapping([("tax", .text("vat")), ("known", .text("code"))]))])
        try harness.process(someOrders)
        #expect(harness.outputs[0].schema.names == ["id", "country", "amount", "tax", "known"])
        #expect(harness.output.rows().map { $0[4] } == ["de", nil, nil, "fr"])
    }

    @Test func `rows without a match are dropped and counted as filtered`() throws {
        let harness = try harness([("missing", .text("drop"))])
        try harness.process(someOrders)
        #expect(harness.output.rows().map { $0[0] } == [1, 4])
        #expect(harness.context.counters.filtered.load(ordering: .relaxed) == 2)
        #expect(harness.accountsForEveryRow)
    }

    @Test func `rows without a match go to errors with their key`() throws {
        let harness = try harness([("missing", .text("error"))])
        try harness.process(someOrders)
        #expect(harness.output.rows().map { $0[0] } == [1, 4])
        #expect(harness.output.errors.map(\.code) == ["no_match", "no_match"])
        #expect(
            harness.output.errors.map(\.reason) == [
                "the lookup table has no row with code = 'xx'", "the lookup table has no row with code = null",
            ])
        #expect(harness.accountsForEveryRow)
    }

    @Test func `an upsert stream keeps its kind, and a row without a match takes its key back`() throws {
        let input = Stream(orders, kind: .upsert(key: ["id"]))
        let kept = try harness(input: input)
        #expect(kept.outputs[0].kind == .upsert(key: ["id"]))
        #expect(!kept.outputs[0].deletes)
        for missing in ["drop", "error"] {
            let harness = try harness([("missing", .text(missing))], input: input)
            #expect(harness.outputs[0].deletes)
            try harness.process(
                RecordBatch(
                    orders, rows: [[1, "de", 10], [2, "xx", 20], [3, nil, nil]], deletes: [false, false, true]))
            #expect(harness.output.changes().map(\.isDelete) == [false, true, true])
            #expect(harness.output.errors.count == (missing == "error" ? 1 : 0))
            #expect(harness.accountsForEveryRow)
        }
    }

    @Test func `splits, marks and event time go on`() throws {
        let input = Stream(Schema(orders.fields + [Field("at", .timestamp)]), eventTime: "at")
        let harness = try harness([("missing", .text("drop"))], input: input)
        #expect(harness.outputs[0].eventTime == "at")
        let rows = RecordBatch(
            input.schema, rows: [[1, "xx", 1, .timestamp(5)], [2, "de", 1, .timestamp(4)]]
        ).withSplit(7, splitWatermark: Values([.min, 5]))
        try harness.process(rows)
        #expect(harness.output.batches()[0].split == 7)
        #expect(harness.output.batches()[0].splitWatermark?.array == [5])
    }

    @Test func `only what is used downstream is taken`() throws {
        let config = try file.config()
        #expect(
            Lookup.columnsUsed(config, inputs: [Stream(orders)], downstream: .some(["id", "vat"]))
                == [.some(["id", "country"])])
        let harness = try harness(usedColumns: .some(["id", "vat"]))
        try harness.process(someOrders)
        #expect(harness.output.rows()[0] == [1, "de", 10, nil, vat(1900)])
    }

    @Test func `several columns make a key, numbers too`() throws {
        file.write("code,year,rate\nde,2024,19\nde,2025,20\n")
        let schema = Schema([Field("country", .string), Field("y", .int32)])
        let csv = ConfigNode.mapping([
            ("path", .text(file.path)),
            (
                "columns",
                .mapping([("code", .text("string")), ("year", .text("int32")), ("rate", .text("float64"))])
            ),
        ])
        let harness = try harness(
            [
                ("csv", csv), ("on", .mapping([("country", .text("code")), ("y", .text("year"))])),
                ("columns", ConfigNode(.sequence([.text("rate")]))), ("missing", .text("error")),
            ], input: Stream(schema))
        try harness.process(RecordBatch(schema, rows: [["de", 2025], ["de", 2023], ["de", 2024]]))
        #expect(harness.output.rows().map { $0[2] } == [20.0, 19.0])
        #expect(harness.output.errors[0].reason == "the lookup table has no row with code = 'de', year = 2023")
    }

    @Test func `an empty field of a text column is null, an empty text stands in quotes`() throws {
        file.write("code,name,vat\nde,,19\nfr,\"\",\n")
        let harness = try harness()
        try harness.process(someOrders)
        #expect(
            harness.output.rows().map { [$0[1], $0[3], $0[4]] } == [
                ["de", nil, vat(1900)], ["xx", nil, nil], [nil, nil, nil], ["fr", "", nil],
            ])
    }

    @Test func `rows with a null in their key are in no one's way, and an empty table matches nothing`() throws {
        file.write("code,n\n,1\n,2\n7,3\n")
        let schema = Schema([Field("k", .int64)])
        func lookup(_ text: String) throws -> [[Value]] {
            file.write(text)
            let csv = ConfigNode.mapping([
                ("path", .text(file.path)), ("columns", .mapping([("code", .text("int64")), ("n", .text("int64"))])),
            ])
            let harness = try harness(
                [
                    ("csv", csv), ("on", .mapping([("k", .text("code"))])),
                    ("columns", ConfigNode(.sequence([.text("n")]))),
                ], input: Stream(schema))
            try harness.process(RecordBatch(schema, rows: [[7], [nil], [8]]))
            return harness.output.rows()
        }
        #expect(try lookup("code,n\n,1\n,2\n7,3\n") == [[7, 3], [nil, nil], [8, nil]])
        #expect(try lookup("code,n\n") == [[7, nil], [nil, nil], [8, nil]])
        #expect(try lookup("code,n\n7,\n") == [[7, nil], [nil, nil], [8, nil]])
    }

    @Test func `large tables are found whole`() throws {
        let count = 50_000
        file.write("code,name,vat\n" + (0..<count).map { "key number \($0),n\($0),1.00\n" }.joined())
        let harness = try harness()
        try harness.process(batch((0..<count).map { [.int(Int64($0)), .string("key number \($0 * 2)"), 0] }))
        let rows = harness.output.rows()
        #expect(rows.prefix(count / 2).allSatisfy { $0[3] != .null })
        #expect(rows[count / 2 - 1][3] == .string("n\(count - 2)"))
        #expect(rows.suffix(count / 2).allSatisfy { $0[3] == .null })
    }

    @Test func `lookup conforms`() throws {
        for missing in ["keep", "drop", "error"] {
            #expect(
                try OperatorConformance.check(
                    Lookup.self, file.config([("missing", .text(missing))]), inputs: [Stream(orders)],
                    batches: [someOrders, batch([[5, "ch", 1]])]) == [])
        }
    }
}

/// Tables that are refused.
@Suite struct TableErrorTests {
    let file: TableFile

    init() throws { file = try TableFile() }

    @Test(arguments: [
        (
            "code,name,vat\nde,a,1\nfr,b,1\nde,c,1\n",
            "row 3 has the key code = 'de' a second time; make it unique, or set `duplicates: first`", "duplicate_key"
        ),
        ("code,name,vat\nde,a,1\nfr,b,dear\n", "row 2, column `vat`: ", "bad_lookup_value"),
        ("code,name\nde,a\n", "has no column `vat`; its header has code, name", "no_such_column"),
        ("", "has no line, expected a header with the names of its columns", "bad_csv"),
        ("code,name,vat\nde,a\n", "row 1 has an open quote or fewer than 3 fields", "bad_csv"),
        ("code,name,vat\nde,a,1\nfr,b,1\nch,c,1\nat,d,1\n", "has more than 3 rows", "lookup_too_large"),
    ])
    func `a table that is wrong is refused at the start`(_ text: String, _ message: String, _ code: String) throws {
        file.write(text)
        let config = try file.config([("max_rows", .text("3"))])
        let error = #expect(throws: OperatorError.self) {
            try OperatorHarness(Lookup.self, config, input: Stream(orders))
        }
        #expect(error?.code.rawValue == code)
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains(file.path) == true)
    }

    @Test func `text in the table that is not UTF-8 is refused`() throws {
        file.write(bytes: Array("code,name,vat\nde,a,1\nfr,".utf8) + [0xE9] + Array(",2\n".utf8))
        let error = #expect(throws: OperatorError.self) {
            try OperatorHarness(Lookup.self, file.config(), input: Stream(orders))
        }
        #expect(error?.code.rawValue == "bad_lookup_value")
        #expect(error?.message == "\(file.path): row 2, column `name`: the text is not UTF-8")
    }

    @Test func `of duplicates the first counts where that is wanted`() throws {
        file.write("code,name,vat\nde,a,1\nfr,b,1\nde,c,1\n")
        let harness = try OperatorHarness(
            Lookup.self, file.config([("duplicates", .text("first"))]), input: Stream(orders))
        try harness.process(someOrders)
        #expect(harness.output.rows().map { $0[3] } == ["a", nil, nil, "b"])
    }

    @Test func `a file that is not there ends the start`() throws {
        var config = try file.config()
        config.csv?.path = "/nonexistent/countries.csv"
        let error = #expect(throws: OperatorError.self) {
            try OperatorHarness(Lookup.self, config, input: Stream(orders))
        }
        #expect(error?.code == "no_such_file")
    }

    @Test(arguments: [
        ("on", ConfigNode.mapping([("land", .text("code"))]), "the stream has no column `land`"),
        ("on", .mapping([("country", .text("cod"))]), "the table has no column `cod`, did you mean `code`?"),
        ("on", .mapping([("amount", .text("code"))]), "`amount` is int64, but the table's `code` is string"),
        ("columns", ConfigNode(.sequence([.text("price")])), "the table has no column `price`"),
        ("columns", .mapping([("amount", .text("vat"))]), "there is a column `amount` already"),
    ])
    func `settings that do not fit the stream are refused`(_ key: String, _ node: ConfigNode, _ message: String) throws
    {
        let config = try file.config([(key, node)])
        let error = #expect(throws: ConfigError.self) { try Lookup.outputs(config, inputs: [Stream(orders)]) }
        #expect("\(String(describing: error))".contains(message), "\(String(describing: error))")
    }

    @Test func `a table has one origin and scalars only`() throws {
        #expect(throws: ConfigError.self) {
            try LookupConfig(
                decoding: .mapping([
                    ("on", .mapping([("a", .text("b"))])), ("columns", ConfigNode(.sequence([.text("b")]))),
                ]))
        }
        let csv = ConfigNode.mapping([
            ("path", .text("a.csv")), ("columns", .mapping([("b", .text("list<string>"))])),
        ])
        #expect(throws: ConfigError.self) { try file.config([("csv", csv)]) }
    }
}

@Suite struct RefreshTests {
    let file: TableFile

    init() throws { file = try TableFile() }

    private func harness() throws -> OperatorHarness<Lookup> {
        try OperatorHarness(Lookup.self, file.config([("refresh", .text("10m"))]), input: Stream(orders))
    }

    /// Germany's name, as the next row sees it.
    private func name(_ harness: OperatorHarness<Lookup>) throws -> Value {
        try harness.process(batch([[1, "de", 1]]))
        return harness.take().rows()[0][3]
    }

    @Test func `the table is loaded anew beside the stream, and taken between two batches`() throws {
        let harness = try harness()
        file.write("code,name,vat\nde,Deutschland,19\n")
        try harness.advanceClock(by: .seconds(599))
        #expect(try name(harness) == "Germany")
        try harness.advanceClock(by: .seconds(1))
        harness.transform.refresh.waitForLoad()
        #expect(try name(harness) == "Deutschland")
        file.write("code,name,vat\nde,Allemagne,19\n")
        try harness.advanceClock(by: .seconds(599))
        #expect(try name(harness) == "Deutschland", "the next refresh counts from the last one's end")
        try harness.advanceClock(by: .seconds(1))
        harness.transform.refresh.waitForLoad()
        #expect(try name(harness) == "Allemagne")
    }

    @Test func `without rows a load is still taken over`() throws {
        let harness = try harness()
        try harness.advanceClock(by: .seconds(600))
        harness.transform.refresh.waitForLoad()
        file.write("code,name,vat\nde,Deutschland,19\n")
        try harness.advanceClock(by: .seconds(1))
        try harness.advanceClock(by: .seconds(600))
        harness.transform.refresh.waitForLoad()
        #expect(try name(harness) == "Deutschland")
    }

    @Test func `where a refresh fails the old table stays, and it is tried again after growing pauses`() throws {
        let harness = try harness()
        file.write("code,name,vat\nde,Deutschland,dear\n")
        try harness.advanceClock(by: .seconds(600))
        harness.transform.refresh.waitForLoad()
        #expect(try name(harness) == "Germany")
        #expect(harness.transform.failures == 1)
        // After one second, then after two more. A file that was just cut to be written anew is no empty table.
        file.write("")
        try harness.advanceClock(by: .seconds(1))
        harness.transform.refresh.waitForLoad()
        #expect(try name(harness) == "Germany")
        #expect(harness.transform.failures == 2)
        file.write("code,name,vat\nde,Deutschland,19\n")
        try harness.advanceClock(by: .seconds(1))
        harness.transform.refresh.waitForLoad()
        #expect(try name(harness) == "Germany", "it is not yet time")
        try harness.advanceClock(by: .seconds(1))
        harness.transform.refresh.waitForLoad()
        #expect(try name(harness) == "Deutschland")
        #expect(harness.transform.failures == 0)
    }

    @Test func `without refresh no tick is asked for`() throws {
        let harness = try OperatorHarness(Lookup.self, file.config(), input: Stream(orders))
        #expect(harness.context.tick.next == nil)
    }
}
