import DataflowColumnar
import DataflowText
import Testing

private func json(_ column: Column) -> [String] {
    let cell = JSONCell.make(column.type)
    cell.prepare(column)
    return (0..<column.count).map { row in
        var text = TextBuffer()
        cell.write(row, into: &text)
        return text.text
    }
}

@Suite struct JSONTextTests {
    @Test func `scalars have their JSON form`() {
        #expect(json(.bool([true, false, nil])) == ["true", "false", "null"])
        #expect(json(.int32([0, -1, .max, .min])) == ["0", "-1", "2147483647", "-2147483648"])
        #expect(
            json(.int64([9, 10, 99, 100, .max, .min])) == [
                "9", "10", "99", "100", "9223372036854775807", "-9223372036854775808",
            ])
        #expect(
            json(.date([0, -1, 19782, 2_932_897])) == [
                #""1970-01-01""#, #""1969-12-31""#, #""2024-02-29""#, #""+010000-01-01""#,
            ])
    }

    @Test func `floats have the shortest text that reads back`() {
        let values: [Double] = [
            0, -0.0, 0.1, 0.01, 0.005, 1.5, -12.34, 100, 3, 1e15, 1e16, 123456789.12, 0.1 + 0.2, .pi,
            .leastNonzeroMagnitude, 1e308,
            1.005,
            999999999999.99, 2.675, 1e-7, 4503599627370497.5,
        ]
        let texts = json(.float64(values))
        for (value, text) in zip(values, texts) {
            #expect(text == value.description, "\(value)")
            #expect(Double(text) == value)
        }
        #expect(json(.float64([.nan, .infinity, -.infinity])) == [#""NaN""#, #""Infinity""#, #""-Infinity""#])
        #expect(json(Column(.float32, .float32(Values<Float>([0.1, 3.4e38])))) == ["0.1", "3.4e+38"])
    }

    @Test func `many floats read back`() {
        var state: UInt64 = 88172645463325252
        var values: [Double] = []
        for i in 0..<20_000 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            let value = i % 2 == 0 ? Double(bitPattern: state) : Double(Int64(bitPattern: state) >> 20) / 100
            if value.isFinite { values.append(value) }
        }
        for (value, text) in zip(values, json(.float64(values))) {
            #expect(Double(text)?.bitPattern == value.bitPattern)
            #expect(text == value.description)
        }
    }

    @Test func `decimals are exact`() {
        func decimals(_ values: [Int128], _ scale: Int) -> [String] {
            json(Column(.decimal(precision: 38, scale: scale), .decimal(Values(values))))
        }
        #expect(decimals([0, 1, -1, 1250, -100, 99], 2) == ["0.00", "0.01", "-0.01", "12.50", "-1.00", "0.99"])
        #expect(decimals([0, -7, 1_000_000_000_000_000_000], 0) == ["0", "-7", "1000000000000000000"])
        let large = Int128("99999999999999999999999999999999999999") ?? 0
        #expect(decimals([large, -large], 0) == ["\(large)", "-\(large)"])
        #expect(decimals([large], 38) == ["0.\(large)"])
        #expect(decimals([5], 38) == ["0." + String(repeating: "0", count: 37) + "5"])
        #expect(
            decimals([1_000_000_000_000_000_000, 10_000_000_000_000_000_000], 18) == [
                "1.000000000000000000", "10.000000000000000000",
            ])
    }

    @Test func `timestamps have microseconds and Z`() {
        #expect(
            json(.timestamp([0, -1, 1_735_787_045_678_901, 253_402_300_800_000_000, -62_167_219_200_000_001])) == [
                #""1970-01-01T00:00:00.000000Z""#, #""1969-12-31T23:59:59.999999Z""#, #""2025-01-02T03:04:05.678901Z""#,
                #""+010000-01-01T00:00:00.000000Z""#, #""-000001-12-31T23:59:59.999999Z""#,
            ])
    }

    @Test func `a time that comes again has the same text, however long it is`() {
        let times: [Int64] = [.min, 0, -62_167_219_200_000_001, .max, 1_735_787_045_678_901]
        let single = times.map { json(.timestamp([$0]))[0] }
        #expect(single[0] == #""-290308-12-21T19:59:05.224192Z""#)
        #expect(json(.timestamp(times + times.reversed())) == single + single.reversed())
        #expect(json(.timestamp(times.flatMap { [$0, $0, $0] })) == single.flatMap { [$0, $0, $0] })
    }

    @Test func `strings are escaped where they must be`() {
        #expect(
            json(.string(["", "a\"b", "back\\slash", "\n\t\r\u{8}\u{c}\u{1}\u{1f}", "é😀/"])) == [
                #""""#, #""a\"b""#, #""back\\slash""#, #""\n\t\r\b\f\u0001\u001f""#, #""é😀/""#,
            ])
    }

    @Test(arguments: 0..<40) func `special bytes are found at every place`(length: Int) {
        for place in 0..<max(length, 1) where length > 0 {
            var characters = [Character](repeating: "x", count: length)
            characters[place] = "\""
            let expected = "\"" + characters.map { $0 == "\"" ? "\\\"" : String($0) }.joined() + "\""
            #expect(json(.string([String(characters)])) == [expected])
        }
        #expect(
            json(.string([String(repeating: "y", count: length)])) == [
                "\"" + String(repeating: "y", count: length) + "\""
            ])
    }

    @Test func `bytes are text where they are UTF-8, else base64`() {
        #expect(
            json(.bytes([Array("grün".utf8), [0xFF], [0xFF, 0], [0xFF, 0, 1], [], nil])) == [
                #""grün""#, #""/w==""#, #""/wA=""#, #""/wAB""#, #""""#, "null",
            ])
    }

    @Test func `lists and structs nest, also in slices`() {
        let type = DataType.list(.structure([Field("a", .int64), Field("b\"", .list(.string))]))
        let column = Column(
            type,
            [
                [.structure([1, ["x", nil]])], nil, [], [.structure([nil, nil]), nil],
            ])
        let expected = [#"[{"a":1,"b\"":["x",null]}]"#, "null", "[]", #"[{"a":null,"b\"":null},null]"#]
        #expect(json(column) == expected)
        #expect(json(column.slice(1..<4)) == Array(expected[1...]))
    }
}

@Suite struct RowTextTests {
    private let schema = Schema([Field("id", .int64), Field("name", .string), Field("tags", .list(.string))])

    @Test func `a row is an object on a line`() {
        var text = TextBuffer()
        JSONRows(schema).write(RecordBatch(schema, rows: [[1, "a", ["x"]], [2, nil, nil]]), into: &text)
        #expect(text.text == #"{"id":1,"name":"a","tags":["x"]}"# + "\n" + #"{"id":2,"name":null,"tags":null}"# + "\n")
    }

    @Test(arguments: [0, 1, 11, 12, 13, 14, 27, 28, 29, 60]) func `names of any length are written whole`(length: Int) {
        let name = String(repeating: "n", count: length)
        let schema = Schema([Field(name, .int64), Field("b", .int64)])
        var text = TextBuffer(capacity: 1)
        JSONRows(schema).write(RecordBatch(schema, rows: [[1, 2], [3, 4]]), into: &text)
        #expect(text.text == "{\"\(name)\":1,\"b\":2}\n{\"\(name)\":3,\"b\":4}\n")
    }

    @Test func `rows of an upsert stream say what they do, deletes with the key alone`() {
        var text = TextBuffer()
        let batch = RecordBatch(schema, rows: [[1, "a", nil], [2, nil, nil]], deletes: [false, true])
        JSONRows(schema, key: ["id"]).write(batch, into: &text)
        #expect(
            text.text == #"{"op":"upsert","id":1,"name":"a","tags":null}"# + "\n" + #"{"op":"delete","id":2}"# + "\n")
        text.removeAll()
        let csv = CSVRows(schema, key: ["id"])
        csv.writeHeader(into: &text)
        csv.write(batch, into: &text)
        #expect(text.text == "op,id,name,tags\nupsert,1,a,\ndelete,2,,\n")
    }

    @Test func `rows become a column of JSON texts`() {
        let column = JSONRows.column(RecordBatch(schema, rows: [[1, "a", []]]))
        #expect(column.value(at: 0) == .bytes(Array(#"{"id":1,"name":"a","tags":[]}"#.utf8)))
    }

    @Test func `CSV quotes what must be quoted and tells null from empty`() {
        let schema = Schema([
            Field("s", .string), Field("f", .float64), Field("t", .timestamp), Field("l", .list(.string)),
            Field("b", .bytes), Field("a,b", .bool),
        ])
        var text = TextBuffer()
        let csv = CSVRows(schema)
        csv.writeHeader(into: &text)
        csv.write(
            RecordBatch(
                schema,
                rows: [
                    ["plain", 1.5, .timestamp(0), ["a", "b"], .bytes([0xFF]), true],
                    ["a,\"b\"\n", .float(.nan), nil, [], nil, nil], ["", nil, nil, nil, .bytes([]), false],
                    [nil, nil, nil, nil, nil, nil], [" x", nil, nil, nil, nil, nil],
                ]), into: &text)
        #expect(
            text.text == """
                s,f,t,l,b,"a,b"
                plain,1.5,1970-01-01T00:00:00.000000Z,"[""a"",""b""]",/w==,true
                "a,""b""
                ",NaN,,[],,
                "",,,,"",false
                ,,,,,
                " x",,,,,

                """)
    }

    @Test func `a buffer grows and keeps what it has`() {
        var text = TextBuffer(capacity: 1)
        for i in 0..<10_000 { text.append(integer: Int64(i)) }
        #expect(text.text == (0..<10_000).map(String.init).joined())
        text.truncate(to: 3)
        #expect(text.text == "012")
    }
}
