import CSVParse
import DataflowCodec
import DataflowConfig
import DataflowOperator
import DataflowTesting
import DataflowText
import Synchronization
import Testing

private let input = Schema([Field("value", .bytes), Field("offset", .int64)])

private func columns(_ pairs: KeyValuePairs<String, DataType>) -> ConfigMap<CSVColumnConfig> {
    ConfigMap(
        pairs.map { name, type in
            var column = CSVColumnConfig()
            column.type = ColumnType(type)
            return .init(name, column)
        })
}

private func settings(
    _ pairs: KeyValuePairs<String, DataType>, _ change: (inout CSVParseConfig) -> Void = { _ in }
) -> CSVParseConfig {
    var config = CSVParseConfig()
    config.columns = columns(pairs)
    change(&config)
    return config
}

private func batch(_ texts: [String?]) -> RecordBatch {
    RecordBatch(
        input, [.bytes(texts.map { $0.map { Array($0.utf8) } }), .int64(texts.indices.map { Int64($0) })])
}

private func harness(_ config: CSVParseConfig, _ texts: [String?], usedColumns: ColumnSet = .all) throws
    -> OperatorHarness<CSVParse>
{
    let harness = try OperatorHarness(CSVParse.self, config, input: Stream(input), usedColumns: usedColumns)
    try harness.process(batch(texts))
    return harness
}

@Suite struct CSVParseTests {
    @Test func `each message is a record whose fields stand in the order of the columns`() throws {
        let config = settings([
            "id": .int64, "name": .string, "price": .decimal(precision: 10, scale: 2), "at": .timestamp, "on": .date,
            "ok": .bool, "raw": .bytes,
        ])
        let harness = try harness(
            config,
            [
                "1,a name that is longer than a view,12.50,2025-01-02T03:04:05Z,2025-01-02,true,x",
                "2,\"quoted, \"\"twice\"\"\",,,,,",
            ])
        #expect(
            harness.output.rows() == [
                [
                    1, "a name that is longer than a view", .decimal(1250, scale: 2), .timestamp(1_735_787_045_000_000),
                    .date(20090), true, .bytes([0x78]),
                ],
                [2, "quoted, \"twice\"", nil, nil, nil, nil, nil],
            ])
        #expect(harness.output.errors.isEmpty && harness.accountsForEveryRow)
    }

    @Test func `a message of many lines gives many rows, each with the kept columns of its message`() throws {
        let config = settings(["a": .int64, "b": .string]) { $0.keep = ["offset"] }
        let harness = try harness(config, ["1,x\n2,\"two\nlines\"\r\n3,z", "4,w\n"])
        #expect(harness.output.rows() == [[1, "x", 0], [2, "two\nlines", 0], [3, "z", 0], [4, "w", 1]])
        #expect(harness.context.counters.passed.load(ordering: .relaxed) == 2)
    }

    @Test func `a header names the fields of its message`() throws {
        let config = settings(["price": .float64, "id": .int64]) {
            $0.header = true
            $0.columns.entries[0].value.field = "Unit price"
        }
        let harness = try harness(config, ["id;x", "id,Unit price\n1,2.5\n2,3", "\u{FEFF}Unit price,other,id\n4,_,5"])
        #expect(harness.output.rows() == [[2.5, 1], [3.0, 2], [4.0, 5]])
        #expect(harness.output.errors.map(\.code) == ["no_such_field"])
        #expect(harness.output.errors[0].reason.contains("`Unit price`"))
        #expect(harness.accountsForEveryRow)
    }

    @Test func `an empty field is null, an empty text stands in quotes`() throws {
        let harness = try harness(settings(["a": .string, "b": .string]), [",\"\"", "\"\","])
        #expect(harness.output.rows() == [[nil, ""], ["", nil]])
    }

    @Test func `text behind a closing quote is named among what a record may suffer from`() throws {
        let harness = try harness(settings(["a": .string, "b": .int64]), ["\"x\"y,2"])
        #expect(harness.output.rows().isEmpty)
        guard case .string(let reason)? = harness.output.rows(.errors).first?[2] else {
            Issue.record("the record is no error")
            return
        }
        #expect(reason.contains("text stands behind a closing one"))
    }

    @Test func `a wrong record goes to errors alone, with its own text`() throws {
        let config = settings(["a": .int64, "b": .string]) { $0.columns.entries[1].value.required = true }
        let harness = try harness(config, ["1,x\nzwei,y\n3\n4,\n\"5,a", nil, "6,v"])
        #expect(harness.output.rows() == [[1, "x"], [6, "v"]])
        let errors = harness.output.rows(.errors)
        #expect(
            errors.map { $0[1] } == ["bad_record", "bad_record", "no_value", "invalid_cast", "missing_value"])
        #expect(errors.map { $0[3] } == ["0", "0", "1", "0", "0"])
        #expect(errors[3][5] == .bytes(Array("zwei,y".utf8)))
        #expect(harness.context.counters.errors.load(ordering: .relaxed) == 1)
        #expect(harness.accountsForEveryRow)
    }

    @Test func `bytes that are no UTF-8 are refused as text and taken as bytes`() throws {
        let raw: [UInt8] = [0x61, 0xFF, 0x2C, 0xFE]
        let rows = RecordBatch(input, [.bytes([raw]), .int64([0])])
        let text = try OperatorHarness(
            CSVParse.self, settings(["a": .string, "b": .bytes]), input: Stream(input))
        try text.process(rows)
        #expect(text.output.rows().isEmpty && text.output.errors.map(\.code) == ["invalid_cast"])
        let bytes = try OperatorHarness(CSVParse.self, settings(["a": .bytes, "b": .bytes]), input: Stream(input))
        try bytes.process(rows)
        #expect(bytes.output.rows() == [[.bytes([0x61, 0xFF]), .bytes([0xFE])]])
    }

    @Test func `on_mismatch null makes null of what does not fit`() throws {
        let config = settings(["a": .int64, "b": .int32]) { $0.columns.entries[1].value.onMismatch = .init(.null) }
        let harness = try harness(config, ["1,99999999999", "x,2"])
        #expect(harness.output.rows() == [[1, nil]])
        #expect(harness.output.errors.map(\.code) == ["invalid_cast"])
    }

    @Test func `a field that nothing uses is not read and cannot fail its row`() throws {
        let harness = try harness(settings(["a": .int64, "b": .int64]), ["1,x"], usedColumns: .some(["a"]))
        #expect(harness.output.rows() == [[1, nil]])
    }

    @Test func `a message of very many records leaves in batches of the usual size`() throws {
        let text = (0..<50_000).map { "\($0),name \($0) that is not inline" }.joined(separator: "\n")
        let harness = try harness(settings(["id": .int64, "name": .string]), [text, "1,x"])
        let ids = harness.output.rows().map { $0[0] }
        #expect(ids == (0..<50_000).map { .int($0) } + [1])
        #expect(harness.output.batches().allSatisfy { $0.rowCount <= 2 * RecordBatch.defaultRowCount })
        #expect(harness.accountsForEveryRow)
    }

    @Test func `event time marks rows that are behind`() throws {
        let config = settings(["at": .timestamp, "n": .int64]) {
            $0.eventTime = EventTimeConfig()
            $0.eventTime?.column = "at"
        }
        let harness = try harness(config, ["2025-01-01T00:00:10Z,1", "2025-01-01T00:00:05Z,2", ",3"])
        #expect(harness.output.rows().count == 2)
        #expect(harness.output.batches()[0].splitWatermark != nil)
        #expect(harness.output.errors.map(\.code) == ["missing_value"])
    }

    @Test func `what file-sink writes as CSV reads back`() throws {
        let schema = Schema([Field("a", .string), Field("b", .float64), Field("c", .bytes), Field("d", .timestamp)])
        let rows: [[Value]] = [
            ["plain", 1.5, .bytes([0x41]), .timestamp(1)], ["", nil, nil, nil],
            [nil, -0.25, .bytes([]), .timestamp(-1)],
            ["with, \"all\" of\r\nit", 1e300, nil, .timestamp(1_700_000_000_123_456)],
        ]
        var text = TextBuffer()
        CSVRows(schema).write(RecordBatch(schema, rows: rows), into: &text)
        let config = settings(["a": .string, "b": .float64, "c": .bytes, "d": .timestamp])
        #expect(try harness(config, [text.text]).output.rows() == rows)
    }

    @Test func `no rubbish stops it, and every message is accounted for`() throws {
        var random = SplitMix(state: 7)
        let alphabet = Array("0123456789,,,,\"\"\"\n\r\tabc;é\u{0}".utf8) + [0xFF, 0xC3]
        let config = settings(["a": .int64, "b": .string, "c": .timestamp])
        for _ in 0..<200 {
            let texts: [[UInt8]?] = (0..<20).map { _ in
                (0..<Int.random(in: 0...60, using: &random)).map { _ in
                    alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
                }
            }
            let harness = try OperatorHarness(CSVParse.self, config, input: Stream(input))
            try harness.process(RecordBatch(input, [.bytes(texts), .int64(texts.indices.map { Int64($0) })]))
            #expect(harness.accountsForEveryRow)
        }
    }

    @Test func `settings that do not fit together are refused`() {
        var config = settings(["a": .list(.string), "b": .int64]) { $0.fields = ["a", "c", "c"] }
        var found = config.validate().map(\.message)
        #expect(found.count == 3)
        config = settings(["a": .int64]) {
            $0.header = true
            $0.fields = ["a"]
        }
        found = config.validate().map(\.message)
        #expect(found.count == 1 && found[0].contains("goes without `header`"))
    }

    @Test func `csv-parse keeps to what every operator has to`() throws {
        let batches = [batch(["1,a", "x,b", nil]), batch(["2,c\n3,d"])]
        let config = settings(["id": .int64, "name": .string]) { $0.keep = ["offset"] }
        #expect(try OperatorConformance.check(CSVParse.self, config, inputs: [Stream(input)], batches: batches) == [])
    }
}
