import Testing

@testable import DataflowColumnar

/// A seeded generator, so that a failing case can be run again.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite struct KernelsTests {
    @Test func `rows taken of a uniform column are its own memory, or a copy where it has not as many`() {
        let ones = Values<Int64>.uniform(1, count: 4)
        let some = ones.slice(1..<3).take(Values([1, 0, 1, 1] as [Int32]))
        #expect(some.array == [1, 1, 1, 1])
        #expect(some.owner === ones.owner)
        let more = ones.take(Values([3, 2, 1, 0, 3] as [Int32]))
        #expect(more.array == [1, 1, 1, 1, 1])
        #expect(more.owner !== ones.owner)
    }

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func `take, filter, slice and concatenate agree with the same work on boxed rows`(seed: UInt64) {
        var random = SplitMix(state: seed)
        let indices = (0..<200).map { _ in Int32.random(in: 0..<3, using: &random) }
        let batch = everyType.take(Values(indices))
        let rows = indices.map { everyType.rows[Int($0)] }
        #expect(batch.rows == rows)
        #expect(batch.deletes?.array == indices.map { $0 == 1 })

        let keep = (0..<200).map { _ in Bool.random(using: &random) }
        let filtered = batch.filter(Bitmap(keep))
        #expect(filtered.rows == zip(rows, keep).filter(\.1).map(\.0))

        let cut = Int.random(in: 0...200, using: &random)
        let parts = [batch.slice(0..<cut), batch.slice(cut..<200)]
        #expect(parts[1].rows == Array(rows[cut...]))
        let whole = RecordBatch.concatenate(batch.schema, parts)
        #expect(whole.rows == rows)
        #expect(whole.deletes == batch.deletes)
        let again = RecordBatch.concatenate(batch.schema, [parts[1], filtered, parts[0].compacted()])
        #expect(again.rows == Array(rows[cut...]) + filtered.rows + Array(rows[..<cut]))
    }

    @Test func `a slice of a slice of a bitmap has the same bits`() {
        var random = SplitMix(state: 7)
        let bits = (0..<500).map { _ in Bool.random(using: &random) }
        let bitmap = Bitmap(bits).slice(3..<450).slice(70..<300)
        #expect(bitmap.array == Array(bits[73..<303]))
        #expect(bitmap.setCount == bits[73..<303].filter { $0 }.count)
        #expect(bitmap.setIndices.array == bits[73..<303].enumerated().filter(\.element).map { Int32($0.offset) })
        #expect((~bitmap & bitmap).setCount == 0)
        #expect((~bitmap | bitmap).setCount == 230)
    }

    @Test func `compacted text does not keep the read buffer alive`() {
        weak var buffer: Buffer?
        var compacted: Column?
        do {
            let large = Buffer([UInt8](repeating: 120, count: 1 << 20))
            buffer = large
            var builder = ViewBuilder()
            let index = builder.adopt(large)
            large.withUnsafeBytes { bytes in
                builder.append(UnsafeRawBufferPointer(rebasing: bytes[100..<200]), inBuffer: index, offset: 100)
            }
            compacted = builder.finish().compacted()
        }
        #expect(buffer == nil)
        #expect(compacted?.value(at: 0) == .string(String(repeating: "x", count: 100)))
    }
}

@Suite struct RowKeysTests {
    @Test func `keys are equal exactly when the rows are, and read back as columns`() {
        let rows = everyType.take(Values([0, 1, 2, 0, 1, 2] as [Int32]))
        let keys = RowKeys(rows.columns, count: rows.rowCount)
        let encoded = (0..<6).map { row in keys.withKey(row) { Array($0) } }
        for i in 0..<6 {
            for j in 0..<6 {
                #expect((encoded[i] == encoded[j]) == (i % 3 == j % 3))
                #expect((keys.hashes[i] == keys.hashes[j]) == (i % 3 == j % 3))
            }
        }
        let decoded = keys.bytes.withUnsafeBytes { bytes in
            RowKeys.decode(
                rows.schema.fields.map(\.type),
                keys: (0..<6).map {
                    UnsafeRawBufferPointer(rebasing: bytes[keys.offsets[$0]..<keys.offsets[$0 + 1]])
                })
        }
        #expect(RecordBatch(rows.schema, decoded).rows == rows.rows)
    }

    @Test func `zeros and NaNs are one key each`() {
        let column = Column.float64([0.0, -0.0, .nan, -Double.nan])
        let keys = RowKeys([column], count: 4)
        #expect(keys.hashes[0] == keys.hashes[1])
        #expect(keys.hashes[2] == keys.hashes[3])
        #expect(keys.withKey(0) { Array($0) } == keys.withKey(1) { Array($0) })
    }

    @Test func `the hash does not change from version to version`() {
        let hashes = RowHash.hashes(
            [.string(["", "a", "dataflow", "a text of more than sixteen bytes"]), .int64([0, 1, nil, -1])], count: 4)
        #expect(
            hashes.array.map { String($0, radix: 16) } == [
                "51436d32aaed3db9", "ae7e0534efc92892", "78882639170d81c7", "6eb8525a8c136563",
            ])
    }
}

@Suite struct RowOrderingTests {
    @Test func `nulls sort last both ways and text by bytes`() {
        let batch = RecordBatch(
            Schema([Field("s", .string), Field("n", .int64)]),
            rows: [["b", 1], [nil, 2], ["a", 3], ["é", 4], ["B", 5]])
        #expect(RowOrdering([.init(column: 0)]).sortedIndices(batch).array == [4, 2, 0, 3, 1])
        #expect(RowOrdering([.init(column: 0, descending: true)]).sortedIndices(batch).array == [3, 0, 2, 4, 1])
        #expect(RowOrdering([.init(column: 0, nullsFirst: true)]).sortedIndices(batch).array == [1, 4, 2, 0, 3])
    }
}
