import DataflowCodec
package import DataflowConfig
import DataflowOperator
import DataflowText

/// Messages that another implementation has written, with the rows that they hold: a file of Tests/Resources/codecs.
package struct RecordedMessages {
    package struct Case {
        package var message: [UInt8]
        package var row: JSONValue
    }

    package let file: JSONValue
    package let cases: [Case]
    /// The columns to read, by name and type.
    package let columns: [(name: String, type: DataType)]

    /// - Parameter path: of the file.
    package init(_ path: String) throws {
        file = try JSONValue(parsing: readSchemaFile(path).utf8)
        cases = (file["cases"]?.elements ?? []).map {
            Case(message: RecordedMessages.bytes($0["message"]?.text ?? ""), row: $0["row"] ?? .null)
        }
        columns = try (file["columns"]?.elements ?? []).map { pair in
            let words = pair.elements ?? []
            return (words[0].text ?? "", try ColumnType(decoding: .text(words[1].text ?? "")).type)
        }
    }

    /// Bytes of their hexadecimal text.
    package static func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = Array(hexadecimal.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
        }
    }

    /// As many messages of the file, in each some bytes changed, put in or cut off.
    package func mutated(_ count: Int, using random: inout SplitMix) -> [[UInt8]] {
        (0..<count).map { _ in
            var bytes = cases[Int.random(in: 0..<cases.count, using: &random)].message
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.removeSubrange(place...)
                case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
                default: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                }
            }
            return bytes
        }
    }

    /// A row of a batch as the files have it: JSON, decimals as text, the entries of maps by key.
    package static func row(_ batch: RecordBatch, _ row: Int) throws -> JSONValue {
        var batch = batch.slice(row..<row + 1)
        for (index, field) in batch.schema.fields.enumerated() {
            guard case .decimal = field.type else { continue }
            let text = try Expression.compile("cast(\"\(field.name)\" as string)", schema: batch.schema)
                .evaluate(batch).column
            var (fields, columns) = (batch.schema.fields, batch.columns)
            fields[index] = Field(field.name, .string)
            columns[index] = text
            batch = RecordBatch(Schema(fields), columns, rowCount: 1)
        }
        var buffer = TextBuffer()
        JSONRows(batch.schema).write(batch, into: &buffer)
        return try JSONValue(parsing: buffer.text.utf8)
    }

    /// Whether two values are the same; numbers by value, entries of maps in any order.
    package static func isSame(_ left: JSONValue, _ right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.int(let a), .int(let b)): a == b
        case (.int(let a), .double(let b)), (.double(let b), .int(let a)): Double(a) == b
        case (.double(let a), .double(let b)): a == b
        case (.string(let a), .string(let b)): a == b
        case (.array(let a), .array(let b)):
            a.count == b.count && zip(entries(a), entries(b)).allSatisfy { isSame($0, $1) }
        case (.object(let a), .object(let b)):
            a.count == b.count && zip(a, b).allSatisfy { $0.0 == $1.0 && isSame($0.1, $1.1) }
        default: false
        }
    }

    private static func entries(_ list: [JSONValue]) -> [JSONValue] {
        guard list.allSatisfy({ $0["key"] != nil }) else { return list }
        return list.sorted { ($0["key"]?.serialized() ?? "") < ($1["key"]?.serialized() ?? "") }
    }
}
