import Testing

@testable import DataflowColumnar

/// A batch with every type, nulls, empty and long text.
let everyType: RecordBatch = {
    let schema = Schema([
        Field("flag", .bool), Field("i", .int32), Field("l", .int64), Field("f", .float32), Field("d", .float64),
        Field("m", .decimal(precision: 20, scale: 2)), Field("s", .string), Field("b", .bytes), Field("t", .timestamp),
        Field("day", .date), Field("tags", .list(.string)),
        Field("names", .list(.structure([Field("lang", .string), Field("n", .int64)]))),
        Field("point", .structure([Field("x", .float64), Field("label", .string)])),
    ])
    return RecordBatch(
        schema,
        rows: [
            [
                true, 1, 2, 1.5, 2.5, .decimal(12345, scale: 2), "short", .bytes([1, 2]), .timestamp(5), .date(3),
                ["a", nil, "a text that is longer than twelve bytes"], [.structure(["en", 1]), .null],
                .structure([1.0, "p"]),
            ],
            Array(repeating: Value.null, count: 13),
            [
                false, -1, .int(.min), -0.0, .float(.infinity), .decimal(-1, scale: 2), "", .bytes([]),
                .timestamp(-1), .date(-1), [], [.structure([nil, nil])],
                .structure([nil, "another text that does not fit inline"]),
            ],
        ], deletes: [false, true, false])
}()

@Suite struct ColumnBuilderTests {
    /// Appending was quadratic once: this took minutes.
    @Test func `a column of many boxed values is built in linear time`() {
        let texts = (0..<300_000).map { Value.string("value \($0)") }
        let column = Column(.list(.string), [.list(texts), .null])
        #expect(column.value(at: 0) == .list(texts))
        #expect(column.isNull(1))
    }
}

@Suite struct RecordBatchCoderTests {
    @Test func `every type, null and nesting comes back`() throws {
        let decoded = try RecordBatchCoder.decode(RecordBatchCoder.encode(everyType))
        #expect(decoded.schema == everyType.schema)
        #expect(decoded.rows == everyType.rows)
        #expect(decoded.deletes == everyType.deletes)
    }

    @Test func `slices and taken rows keep only what they refer to`() throws {
        let big = RecordBatch(
            Schema([Field("s", .string), Field("l", .list(.int64))]),
            rows: (0..<1000).map { [.string(String(repeating: "x", count: 100)), [.int($0)]] })
        let bytes = RecordBatchCoder.encode(big.slice(500..<502))
        #expect(bytes.count < 500)
        #expect(try RecordBatchCoder.decode(bytes).rows == big.slice(500..<502).rows)
    }

    @Test func `a batch without rows or without columns comes back`() throws {
        #expect(try RecordBatchCoder.decode(RecordBatchCoder.encode(.empty(everyType.schema))).rowCount == 0)
        let none = RecordBatch(Schema([]), [], rowCount: 7)
        #expect(try RecordBatchCoder.decode(RecordBatchCoder.encode(none)).rowCount == 7)
    }

    @Test func `damaged bytes give an error or a batch, never a trap`() {
        let bytes = RecordBatchCoder.encode(everyType)
        for end in 0..<bytes.count {
            #expect(throws: RecordBatchCodingError.self) { try RecordBatchCoder.decode(Array(bytes[..<end])) }
        }
        var generator = SystemRandomNumberGenerator()
        for position in bytes.indices {
            var damaged = bytes
            damaged[position] ^= UInt8.random(in: 1...255, using: &generator)
            if let batch = try? RecordBatchCoder.decode(damaged) { _ = batch.rows.count }
        }
    }
}
