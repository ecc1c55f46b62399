import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowTesting
import JSONParse
import Testing

/// Settings from the YAML words, through the declared schema.
func config(
    _ columns: [(String, String)], rows: String? = nil, onMismatch: String? = nil, keep: [String] = [],
    eventTime: [(String, String)]? = nil, more: [(String, ConfigNode)] = []
) throws -> JSONParseConfig {
    var entries: [(String, ConfigNode)] = [("columns", .mapping(columns.map { ($0.0, .text($0.1)) }))]
    if let rows { entries.append(("rows", .text(rows))) }
    if let onMismatch { entries.append(("on_mismatch", .text(onMismatch))) }
    if !keep.isEmpty { entries.append(("keep", ConfigNode(.sequence(keep.map { .text($0) })))) }
    if let eventTime { entries.append(("event_time", .mapping(eventTime.map { ($0.0, .text($0.1)) }))) }
    return try JSONParseConfig(decoding: .mapping(entries + more))
}

let valueSchema = Schema([Field("value", .bytes)])

func batch(_ documents: [String?], split: Int32 = 0) -> RecordBatch {
    RecordBatch(valueSchema, [.bytes(documents.map { $0.map { Array($0.utf8) } })], split: split)
}

func parse(_ documents: [String?], _ config: JSONParseConfig) throws -> Emitted {
    let harness = try OperatorHarness(JSONParse.self, config, input: Stream(valueSchema))
    try harness.process(batch(documents))
    #expect(harness.accountsForEveryRow)
    return harness.output
}

@Suite struct JSONParseTests {
    @Test func `each scalar type is read from its JSON form`() throws {
        let output = try parse(
            [
                #"{"b":true,"i":-5,"l":9007199254740993,"f":1.5,"d":2,"s":"a long string that is not inline","t":"2025-01-02T03:04:05.678Z","y":"2024-02-29","m":12.345}"#
            ],
            config([
                ("b", "bool"), ("i", "int32"), ("l", "int64"), ("f", "float32"), ("d", "float64"), ("s", "string"),
                ("t", "timestamp"), ("y", "date"), ("m", "decimal(10,2)"),
            ]))
        #expect(
            output.rows() == [
                [
                    true, -5, .int(9_007_199_254_740_993), 1.5, 2.0, "a long string that is not inline",
                    .timestamp(1_735_787_045_678_000), .date(19782), .decimal(1235, scale: 2),
                ]
            ])
    }

    @Test func `missing fields and nulls are null`() throws {
        let output = try parse(
            [#"{"a":1}"#, #"{"a":null,"b":"x"}"#, "{}"], config([("a", "int64"), ("b", "string")]))
        #expect(output.rows() == [[1, nil], [nil, "x"], [nil, nil]])
    }

    @Test func `of a field that occurs twice the last one counts`() throws {
        #expect(try parse([#"{"a":1,"b":2,"a":3}"#], config([("a", "int64")])).rows() == [[3]])
    }

    @Test func `fields are found whatever their order and neighbours`() throws {
        var documents: [String] = []
        var expected: [[Value]] = []
        for i in 0..<200 {
            var fields = [#""alpha":\#(i)"#, #""a_very_long_field_name_of_more_than_16_bytes":"\#(i)""#]
            for j in 0..<(i % 5) { fields.append(#""other\#(j)":{"alpha":[1,{"alpha":2}]}"#) }
            if i % 3 == 0 { fields.reverse() }
            if i % 7 == 0 { fields.append(#""a_very_long_field_nome_of_more_than_16_bytes":"no""#) }
            documents.append("{" + fields.joined(separator: ",") + "}")
            expected.append([.int(Int64(i)), .string("\(i)")])
        }
        let output = try parse(
            documents, config([("alpha", "int64"), ("a_very_long_field_name_of_more_than_16_bytes", "string")]))
        #expect(output.rows() == expected)
    }

    @Test func `more distinct keys than are remembered do no harm`() throws {
        let documents = (0..<3000).map { #"{"k\#($0)":0,"wanted":\#($0),"z\#($0)":{"wanted":1}}"# }
        let output = try parse(documents, config([("wanted", "int64")]))
        #expect(output.rows() == (0..<3000).map { [.int($0)] })
    }

    @Test func `each match of rows is a row`() throws {
        let output = try parse(
            [#"{"rows":[{"row":{"a":1}},{"row":{"a":2}}],"n":2}"#, #"{"rows":[]}"#, #"{"rows":null}"#],
            config([("a", "int64")], rows: "$.rows[*].row"))
        #expect(output.rows() == [[1], [2]])
        #expect(output.errors.isEmpty)
    }

    @Test func `a document without the rows path goes to errors whole`() throws {
        let output = try parse(
            [#"{"error":"busy"}"#, #"{"rows":[{"row":{"a":1}}]}"#], config([("a", "int64")], rows: "$.rows[*].row"))
        #expect(output.rows() == [[1]])
        #expect(output.errors.map(\.reason) == ["$.rows: the field is missing"])
        #expect(output.rows(.errors)[0][5] == .bytes(Array(#"{"error":"busy"}"#.utf8)))
    }

    @Test func `a wrong row goes to errors alone, with its path and its own text`() throws {
        let output = try parse(
            [#"{"rows":[{"row":{"a":1}}, {"row": {"a" : "x"} },{"row":{"a":3}},{"no":1}]}"#],
            config([("a", "int64")], rows: "$.rows[*].row"))
        #expect(output.rows() == [[1], [3]])
        #expect(
            Set(output.errors.map(\.reason)) == [
                #"$.rows[1].row.a: column a is int64, not text: "x""#,
                "$.rows[*].row: the field is missing",
            ])
        #expect(
            Set(output.rows(.errors).map { $0[5] }) == [
                .bytes(Array(#"{"a" : "x"}"#.utf8)), .bytes(Array(#"{"no":1}"#.utf8)),
            ])
    }

    @Test func `with on_mismatch null a value that does not fit is null`() throws {
        let output = try parse(
            [#"{"a":"x","b":[1,"y",3]}"#], config([("a", "int64"), ("b", "list<int64>")], onMismatch: "null"))
        #expect(output.rows() == [[nil, [1, nil, 3]]])
        #expect(output.errors.isEmpty)
    }

    @Test func `a column's own on_mismatch wins`() throws {
        let columns = ConfigNode.mapping([
            ("a", .mapping([("type", .text("int64")), ("on_mismatch", .text("null"))])), ("b", .text("int64")),
        ])
        let config = try JSONParseConfig(decoding: .mapping([("columns", columns)]))
        let output = try parse([#"{"a":"x","b":1}"#, #"{"a":2,"b":"x"}"#], config)
        #expect(output.rows() == [[nil, 1]])
        #expect(output.errors.count == 1)
    }

    @Test func `lists and structs nest`() throws {
        let output = try parse(
            [
                #"{"n":[{"lang":"main","text":"Zucker"},{"text":"x","lang":null},null],"s":{"a":{"b":[[1],[],null]}}}"#,
                #"{"n":[],"s":null}"#,
            ],
            config([("n", "list<struct<lang string, text string>>"), ("s", "struct<a struct<b list<list<int64>>>>")]))
        #expect(
            output.rows() == [
                [
                    .list([
                        .structure(["main", "Zucker"]), .structure([nil, "x"]), nil,
                    ]), .structure([.structure([.list([[1], [], nil])])]),
                ],
                [[], nil],
            ])
    }

    @Test func `paths reach into objects and lists`() throws {
        let columns = ConfigNode.mapping([
            ("ts", .mapping([("type", .text("int64")), ("path", .text("$.meta.ts"))])),
            ("second", .mapping([("type", .text("string")), ("path", .text("$.tags[1]"))])),
            ("whole", .mapping([("type", .text("string")), ("path", .text("$"))])),
            ("meta", .text("string")),
        ])
        let config = try JSONParseConfig(decoding: .mapping([("columns", columns)]))
        let output = try parse(
            [#"{"meta":{"ts":7},"tags":["a","b"]}"#, #"{"meta":5,"tags":["a"]}"#], config)
        #expect(
            output.rows() == [
                [7, "b", .string(#"{"meta":{"ts":7},"tags":["a","b"]}"#), #"{"ts":7}"#],
                [nil, nil, .string(#"{"meta":5,"tags":["a"]}"#), "5"],
            ])
    }

    @Test func `a string column holds the source text of any other value`() throws {
        let output = try parse(
            [#"{"s": 1.50 ,"t":{"a": [1, 2]},"u":true,"v":123456789012345678}"#],
            config([("s", "string"), ("t", "string"), ("u", "string"), ("v", "string")]))
        #expect(output.rows() == [["1.50", #"{"a": [1, 2]}"#, "true", "123456789012345678"]])
    }

    @Test func `decimals are exact`() throws {
        let output = try parse(
            [
                #"{"a":0.1,"b":"1234567890123456789012345678.123456789"}"#,
                #"{"a":12345678901234567.89,"b":-0.0000000005}"#, #"{"a":2,"b":1e3}"#, #"{"a":-2.345,"b":""}"#,
                #"{"a":1e30,"b":0}"#,
            ],
            config([("a", "decimal(20,2)"), ("b", "decimal(38,9)")]))
        #expect(
            output.rows() == [
                [.decimal(10, scale: 2), .decimal(Int128("1234567890123456789012345678123456789") ?? 0, scale: 9)],
                [.decimal(1_234_567_890_123_456_789, scale: 2), .decimal(-1, scale: 9)],
                [.decimal(200, scale: 2), .decimal(1_000_000_000_000, scale: 9)],
            ])
        #expect(output.errors.map(\.code) == ["malformed_value", "out_of_range"])
    }

    @Test func `numbers out of their column's range are errors`() throws {
        let output = try parse(
            [
                #"{"i":2147483648}"#, #"{"i":3.0}"#, #"{"i":3.5}"#, #"{"l":18446744073709551615}"#, #"{"f":1e39}"#,
            ], config([("i", "int32"), ("l", "int64"), ("f", "float32")]))
        #expect(output.rows() == [[3, nil, nil]])
        #expect(output.errors.map(\.code) == ["out_of_range", "type_mismatch", "out_of_range", "out_of_range"])
    }

    @Test(arguments: [
        ("2025-01-01T00:00:00Z", 1_735_689_600_000_000), ("2025-01-01 00:00:00.5", 1_735_689_600_500_000),
        ("2025-01-01T02:00:00.123456789+02:00", 1_735_689_600_123_456), ("2025-01-01T00:00", 1_735_689_600_000_000),
        ("2024-12-31T22:30-0130", 1_735_689_600_000_000), ("2025-01-01", 1_735_689_600_000_000),
        ("1969-12-31T23:59:59.999999Z", -1), ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
    ])
    func `ISO timestamps are read`(text: String, expected: Int64) throws {
        #expect(try parse([#"{"t":"\#(text)"}"#], config([("t", "timestamp")])).rows() == [[.timestamp(expected)]])
    }

    @Test(arguments: [
        "", "2025", "2025-13-01", "2025-02-29", "2025-01-01T24:00:00Z", "2025-01-01T00:60:00Z", "2025-01-01T00:00:61Z",
        "2025-01-01T00:00:00.Z", "2025-01-01T00:00:00.1234567890Z", "2025-01-01T00:00:00ZZ", "2025-01-01T00:00:00+1",
        "2025/01/01T00:00:00Z", "2025-01-01T00:00:00Europe/Berlin", "２025-01-01", "2025-01-01T00:00:0",
    ])
    func `what is no timestamp is an error`(text: String) throws {
        let output = try parse([#"{"t":"\#(text)"}"#], config([("t", "timestamp")]))
        #expect(output.rows().isEmpty)
        #expect(output.errors.map(\.code) == ["malformed_value"])
    }

    @Test(arguments: [
        ("s", 1, "1", 1_000_000), ("ms", 1500, "1500", 1_500_000), ("us", 7, "7", 7), ("ns", -1, "-1", -1),
    ])
    func `numbers become timestamps by their unit`(unit: String, _: Int, text: String, expected: Int64) throws {
        let columns = ConfigNode.mapping([("t", .mapping([("type", .text("timestamp")), ("unit", .text(unit))]))])
        let config = try JSONParseConfig(decoding: .mapping([("columns", columns)]))
        #expect(try parse([#"{"t":\#(text)}"#], config).rows() == [[.timestamp(expected)]])
        #expect(try parse([#"{"t":\#(text).0}"#], config).rows() == [[.timestamp(expected)]])
    }

    @Test func `a number in a timestamp column without unit says what to declare`() throws {
        let output = try parse([#"{"t":5}"#], config([("t", "timestamp")]))
        #expect(output.errors[0].reason.contains("declare `unit: s`"))
    }

    @Test func `documents that are no JSON go to errors with the place`() throws {
        let bad = [
            #"{"a":1"#, #"{"a" 1}"#, #"{"a":01}"#, #"{"a":"\#u{1}"}"#, #"{"a":"\x"}"#, #"{"a":tru}"#, "", "   ",
            #"{"a":1}{"a":2}"#, #"{"a":"\ud800"}"#, #"[1,]"#, #"{"a":123456789012345678901234567890}"#, #"{"a":1,}"#,
        ]
        let output = try parse([#"{"a":0}"#] + bad + [#"{"a":9}"#], config([("a", "int64")]))
        #expect(output.rows() == [[0], [9]])
        #expect(output.errors.count == bad.count)
        #expect(
            output.errors.map(\.reason) == [
                "byte 6: ',' or '}' was expected, but the text ends", "byte 5: ':' was expected behind the field name",
                "byte 5: a number has no leading zeros", "byte 6: a control character must be escaped",
                "byte 6: the escape sequence is unknown", "byte 5: 'true' was expected", "byte 0: the text is empty",
                "byte 3: the text is empty", "byte 7: nothing was expected behind the document",
                "byte 6: a surrogate stands alone", "byte 3: a value was expected",
                "byte 5: the number does not fit 64 bits", "byte 7: a quoted field name was expected",
            ])
        #expect(output.rows(.errors).map { $0[5] } == bad.map { .bytes(Array($0.utf8)) })
    }

    @Test func `invalid UTF-8 is an error`() throws {
        let harness = try OperatorHarness(
            JSONParse.self, config([("a", "string")]), input: Stream(valueSchema))
        let bytes: [UInt8] = Array(#"{"a":"x"#.utf8) + [0xFF] + Array(#""}"#.utf8)
        try harness.process(RecordBatch(valueSchema, [.bytes([bytes])]))
        #expect(harness.output.errors.map(\.reason) == ["byte 7: the text is not valid UTF-8"])
    }

    @Test func `a byte order mark is passed over`() throws {
        #expect(try parse(["\u{FEFF}{\"a\":1}"], config([("a", "int64")])).rows() == [[1]])
    }

    @Test func `rows that are no object and null values go to errors`() throws {
        let output = try parse(["[1]", nil, "3", #"{"a":1}"#], config([("a", "int64")]))
        #expect(output.rows() == [[1]])
        #expect(output.errors.map(\.code) == ["type_mismatch", "no_value", "type_mismatch"])
    }

    @Test func `required columns refuse missing and null, used or not`() throws {
        let columns = ConfigNode.mapping([
            ("a", .mapping([("type", .text("int64")), ("required", .text("true"))])), ("b", .text("int64")),
        ])
        let config = try JSONParseConfig(decoding: .mapping([("columns", columns)]))
        for used in [ColumnSet.all, .some(["b"])] {
            let harness = try OperatorHarness(
                JSONParse.self, config, input: Stream(valueSchema), usedColumns: used)
            try harness.process(batch([#"{"a":1,"b":2}"#, #"{"b":2}"#, #"{"a":null,"b":2}"#]))
            #expect(harness.output.rows().map { $0[1] } == [2])
            #expect(harness.output.errors.map(\.code) == ["missing_value", "missing_value"])
            #expect(harness.outputs[0].schema.fields[0].nullable == false)
        }
    }

    @Test func `columns that nothing uses are not built and cannot fail`() throws {
        let harness = try OperatorHarness(
            JSONParse.self, config([("a", "int64"), ("b", "list<string>")]), input: Stream(valueSchema),
            usedColumns: .some(["a"]))
        try harness.process(batch([#"{"a":1,"b":5}"#, #"{"a":2,"b":["x"]}"#]))
        #expect(harness.output.rows() == [[1, nil], [2, nil]])
    }

    @Test func `kept columns follow their rows`() throws {
        let schema = Schema([Field("value", .string), Field("offset", .int64), Field("path", .string)])
        let harness = try OperatorHarness(
            JSONParse.self, config([("a", "int64")], rows: "$[*]", keep: ["offset"]), input: Stream(schema))
        try harness.process(
            [[#"[{"a":1},{"a":2}]"#, 10, "f"], ["[]", 20, "f"], ["x", 30, "f"], [#"[{"a":3}]"#, 40, "f"]],
            schema: schema)
        #expect(harness.output.rows() == [[1, 10], [2, 10], [3, 40]])
        #expect(harness.output.rows(.errors)[0][3] == "f:30")
    }

    @Test func `a large batch is read in pieces and gives the same rows`() throws {
        let count = 30_000
        let documents = (0..<count).map { #"{"n":\#($0),"s":"text number \#($0) that is long"}"# }
        let output = try parse(documents, config([("n", "int64"), ("s", "string")]))
        #expect(output.batches().count > 1)
        #expect(output.rows().map { $0[0] } == (0..<count).map { .int(Int64($0)) })
        #expect(output.rows()[29_999][1] == "text number 29999 that is long")
    }

    @Test func `one document of many rows leaves in several batches`() throws {
        let document = "[" + (0..<50_000).map { #"{"n":\#($0)}"# }.joined(separator: ",") + "]"
        let output = try parse([document], config([("n", "int64")], rows: "$[*]"))
        #expect(output.batches().allSatisfy { $0.rowCount <= 2 * RecordBatch.defaultRowCount })
        #expect(output.rows().map { $0[0] } == (0..<50_000).map { .int(Int64($0)) })
    }

    @Test func `limits of size and depth are errors of the document`() throws {
        let deep = String(repeating: "[", count: 20) + String(repeating: "]", count: 20)
        let output = try parse(
            [#"{"a":1}"#, #"{"a":\#(deep)}"#, #"{"a":"\#(String(repeating: "x", count: 2000))"}"#],
            config([("a", "string")], more: [("max_document_size", .text("1KiB")), ("max_depth", .text("10"))]))
        #expect(output.rows() == [["1"]])
        #expect(output.errors.map(\.code) == ["too_deep", "too_large"])
    }

    @Test func `escapes are resolved`() throws {
        let output = try parse(
            [#"{"a":"\u00e9\n\"\\\/\ud83d\ude00 and more","b\u0061":1}"#], config([("a", "string"), ("ba", "int64")]))
        #expect(output.rows() == [["é\n\"\\/😀 and more", 1]])
    }
}
