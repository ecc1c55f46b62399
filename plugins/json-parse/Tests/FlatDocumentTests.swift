import CSimdJSON
import DataflowColumnar
import DataflowTesting
import Testing

@testable import JSONParse

/// Documents of plain fields take a way of their own; whatever they hold, nobody may see that.
@Suite struct FlatDocumentTests {
    private struct Parsed: Equatable {
        var columns: [[Value]] = []
        var rejected: [[String]] = []
        var passed = 0
    }

    private static let columns: [(String, DataType)] = [
        ("a", .int64), ("name", .string), ("price", .float64), ("at", .timestamp), ("ok", .bool), ("raw", .bytes),
        ("m", .decimal(precision: 12, scale: 2)), ("a long name of a field", .string), ("", .int32), ("ä", .string),
        ("list", .list(.int64)),
    ]

    private func parse(
        _ documents: [[UInt8]], _ columns: [(String, DataType)], whole: Bool, nullOnMismatch: Bool = false
    ) throws -> Parsed {
        let plans = columns.enumerated().map { number, column in
            ColumnPlan(
                name: column.0, type: column.1, path: .field(column.0), isRequired: number == 0 && !nullOnMismatch,
                nullOnMismatch: nullOnMismatch)
        }
        let parser = try #require(
            RowParser(
                rows: .root, columns: plans, maxDocumentBytes: 700, maxDepth: 8,
                keepsWholeDocuments: whole))
        let storage = try #require(Column.bytes(documents).viewValues)
        var parsed = Parsed()
        storage.withUnsafeViews { views in
            var bases = [storage.views.withUnsafeBufferPointer { UnsafeRawBufferPointer($0) }]
            bases += storage.buffers.map { UnsafeRawBufferPointer(start: $0.base, count: $0.byteCount) }
            var next = 0
            while next < documents.count {
                next = parser.parse(views, bases: bases, from: next, isNull: { _ in false }) ?? documents.count
                parsed.passed += parser.passedTexts
                parsed.rejected += parser.rejected.map {
                    ["\($0.text)", $0.code, $0.reason, String(decoding: $0.raw, as: UTF8.self)]
                }
            }
        }
        let (built, origins) = parser.finish()
        parsed.columns =
            built.map { $0.map { column in (0..<column.count).map { column.value(at: $0) } } ?? [] }
            + [(0..<origins.count).map { .int(Int64(origins[$0])) }]
        return parsed
    }

    /// Texts as they come: spaces or none, fields twice, in any order, with values of any type, some damaged.
    private func document(_ bits: inout SplitMix, isTame: Bool) -> [UInt8] {
        func pick(_ texts: [String]) -> String { texts.randomElement(using: &bits) ?? "" }
        let wild = isTame ? 0 : 12
        let space = bits.next() % 4 == 0 ? " " : ""
        let fields = (0..<Int.random(in: 0..<9, using: &bits)).map { _ -> String in
            let name = pick(
                ["a", "name", "price", "at", "ok", "raw", "m", "a long name of a field", "", "ä", "list", "b", "other"]
                    + (bits.next() % 64 < UInt64(wild)
                        ? ["a\\u0062", "qu\\\"ote", String(repeating: "k", count: 70)] : []))
            let value: String
            switch Int.random(in: 0..<(16 + wild), using: &bits) {
            case 0...3: value = "\(Int64(bitPattern: bits.next()) >> Int64.random(in: 0...63, using: &bits))"
            case 4: value = "\(Double(Int64.random(in: -1_000_000...1_000_000, using: &bits)) / 100)"
            case 5: value = "\(Double.random(in: -1e9...1e9, using: &bits))"
            case 6: value = pick(["0", "-0", "0.0", "-0.0", "7.25", "0.1", "9007199254740993.5", "123456789012345678"])
            case 7: value = "\"2025-01-02T03:04:05.\(Int.random(in: 100...999, using: &bits))Z\""
            case 8: value = pick(["true", "false", "null"])
            case 9...12:
                value = "\"" + String(repeating: "täxt ", count: Int.random(in: 0..<12, using: &bits)) + "\""
            case 13...15: value = pick(["\"\"", "\"x\"", "\"12.345\"", "\"{\"", "\",\\u0041\"", "\"]}\""])
            case 16...18: value = pick(["[1,2]", "{}", "[]", "{\"a\":1}", "[[[[[[[[[1]]]]]]]]]"])
            case 19...21:
                value = pick(["1e3", "1E400", "01", "1.", ".5", "-", "+1", "18446744073709551616", "12x", "1 2"])
            case 22...24: value = pick(["tru", "nulll", "\"a\"b", "\"a\"\"b\"", "\"\u{1}\"", "\"\\x\"", "\"\\ud800\""])
            default: value = pick(["", " ", "\t3\n", "\"line\nbreak\"", "\"open"])
            }
            return "\"\(name)\"\(space):\(space)\(value)"
        }
        var bytes = Array(("{" + fields.joined(separator: space + "," + space) + "}").utf8)
        if !isTame, bits.next() % 6 == 0 {
            let place = Int.random(in: 0..<bytes.count, using: &bits)
            switch bits.next() % 5 {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &bits)
            case 1: bytes.remove(at: place)
            case 2: bytes.insert(Array("{}[]\",:\\0-e.".utf8).randomElement(using: &bits) ?? 0, at: place)
            case 3: bytes.removeLast(bytes.count - place)
            default: bytes += Array(pick([" ", "{}", "1", "\"", ",", "}"]).utf8)
            }
        }
        return bytes
    }

    @Test(arguments: 0..<24)
    func `rows and refusals are those of whole documents, damaged neighbours or not`(seed: Int) throws {
        var bits = SplitMix(state: UInt64(seed))
        // Mostly whole runs without fault, so that the way for flat documents is taken; some with much of it.
        let damage = [0, 1, 3, 40][seed % 4]
        let documents = (0..<500).map { _ in
            document(&bits, isTame: Int.random(in: 0..<100, using: &bits) >= damage)
        }
        for columns in [FlatDocumentTests.columns, [("b", .string)], [("price", .float64), ("name", .string)]] {
            for nullOnMismatch in [false, true] {
                let flat = try parse(documents, columns, whole: false, nullOnMismatch: nullOnMismatch)
                let whole = try parse(documents, columns, whole: true, nullOnMismatch: nullOnMismatch)
                #expect(flat == whole)
            }
        }
    }

    @Test func `a document is read as alone where the one before leaves a text open`() throws {
        let documents = [
            #"{"a":"open"#, #"{"a":"b"}"#, #"","b":1}"#, #"{"a":1}"#, #"{"a":2}{"a":3}"#, #"{"a":4,"#, #""b":5}"#, "",
            #"{"a":6}"#,
        ].map { Array($0.utf8) }
        // Each alone finds its fault; together they begin where another one's text seems to go on.
        for length in 1...documents.count {
            let part = Array(documents[..<length])
            let columns: [(String, DataType)] = [("a", .string), ("b", .int64)]
            #expect(try parse(part, columns, whole: false) == parse(part, columns, whole: true))
        }
    }

    @Test func `of flat documents the tape has the wanted fields only, of others all`() throws {
        let parser = try #require(csimdjson_create(1 << 20, 16))
        defer { csimdjson_destroy(parser) }
        let lines = [
            #"{"id":1,"name":"one","price":2.5}"#, #"{"name":"a\nb","id":2}"#, #"{ "price" : -3 , "id" : 3 }"#,
            #"{"id":4,"more":[1]}"#, #"{"price": 12345678.875, "id": 5, "name": "of more than twelve bytes"}"#, "{}",
        ]
        var text = Array(lines.joined(separator: "\r\n").utf8)
        var offset: UInt64 = 0
        let texts = lines.map { line in
            defer { offset += UInt64(line.utf8.count) + 2 }
            return csimdjson_text(offset: offset, length: UInt64(line.utf8.count))
        }
        text += [UInt8](repeating: 0, count: Int(CSIMDJSON_PADDING))
        let names = Array("namepriceextra".utf8)
        names.withUnsafeBufferPointer { names in
            guard let base = names.baseAddress else { return }
            csimdjson_want(parser, [base, base + 4, base + 9], [4, 5, 5], 3)
        }
        var documents = [csimdjson_document](repeating: csimdjson_document(), count: lines.count)
        withUnsafeTemporaryAllocation(of: csimdjson_output.self, capacity: 1) { output in
            guard let result = output.baseAddress else { return }
            #expect(csimdjson_parse(parser, text, text.count, texts, texts.count, &documents, result) == 0)
            let tape = result.pointee.tape
            func keys(_ number: Int) -> [String] {
                documents.withUnsafeBufferPointer { documents in
                    guard let base = documents.baseAddress else { return [] }
                    let whole = Tape(words: tape, strings: result.pointee.strings, documents: base)
                    let origin = whole.base(number)
                    var keys: [String] = []
                    var index = origin + 2
                    while tape[index] >> 56 != UInt64(UInt8(ascii: "}")) {
                        keys.append(String(decoding: whole.string(tape[index], document: number), as: UTF8.self))
                        index = whole.next(index + 1, base: origin)
                    }
                    return keys
                }
            }
            #expect(documents.map(\.error) == [0, 0, 0, 0, 0, 0])
            #expect(documents.map(\.is_part) == [1, 0, 0, 0, 1, 1])
            #expect(
                (0..<6).map(keys) == [
                    ["name", "price"], ["name", "id"], ["price", "id"], ["id", "more"], ["price", "name"], [],
                ])
            #expect(tape[Int(documents[0].tape) + 5] >> 56 == UInt64(UInt8(ascii: "d")))
            #expect(Double(bitPattern: tape[Int(documents[0].tape) + 6]) == 2.5)
        }
    }
}
