import Testing

@testable import DataflowColumnar

@Suite struct GroupTableTests {
    /// Key columns of all shapes with few distinct values, nulls, text short and long.
    private static func keys(_ types: [DataType], rows: Int, _ random: inout SplitMix) -> [Column] {
        types.map { type in
            Column(type, (0..<rows).map { _ in Self.value(type, &random) })
        }
    }

    private static func value(_ type: DataType, _ random: inout SplitMix) -> Value {
        let n = Int64.random(in: 0..<12, using: &random)
        if n == 0 { return .null }
        switch type {
        case .bool: return .bool(n % 2 == 0)
        case .int32, .int64: return .int(n - 5)
        case .date: return .date(Int32(n))
        case .timestamp: return .timestamp(n * 200_000)
        case .float32, .float64:
            return n == 1 ? .float(-0.0) : n == 2 ? .float(.nan) : n == 3 ? .float(0) : .float(Double(n) / 2)
        case .decimal(_, let scale): return .decimal(Int128(n) << 70, scale: scale)
        case .string: return .string(String(repeating: "ü", count: Int(n) * 2))
        case .bytes: return .bytes(Array(repeating: UInt8(n), count: Int(n) * 3))
        case .list(let element): return .list((0..<n % 4).map { _ in value(element, &random) })
        case .structure(let fields): return .structure(fields.map { value($0.type, &random) })
        }
    }

    /// Equal keys as equal text: one zero, one NaN.
    private static func text(_ columns: [Column], _ row: Int) -> String {
        columns.map { "\($0.value(at: row))".replacing("-0.0", with: "0.0") }.joined(separator: "|")
    }

    static let shapes: [[DataType]] = [
        [], [.int64], [.timestamp], [.string], [.string, .string], [.timestamp, .string], [.float64],
        [.float32, .bool],
        [.decimal(precision: 38, scale: 2), .date], [.bytes, .int32, .string], [.list(.string), .int64],
        [.structure([Field("a", .int64), Field("b", .string)])],
    ]

    @Test(arguments: shapes)
    func `groups agree with a dictionary while keys come and go`(types: [DataType]) {
        for seed in 1...2 as ClosedRange<UInt64> {
            var random = SplitMix(state: seed)
            let table = GroupTable(types)
            var expected: [String: Int32] = [:]
            for _ in 0..<12 {
                let rows = [1, 7, 300, 1100].randomElement(using: &random) ?? 1
                let columns = Self.keys(types, rows: rows, &random)
                let known = table.find(columns, count: rows)
                let texts = (0..<rows).map { Self.text(columns, $0) }
                #expect(known == texts.map { expected[$0] ?? -1 }, "seed \(seed)")
                let ids = table.findOrInsert(columns, count: rows)
                var moved = 0
                for (row, text) in texts.enumerated() {
                    if let id = expected[text], id != ids[row] { moved += 1 }
                    expected[text] = ids[row]
                }
                #expect(moved == 0, "seed \(seed)")
                #expect(table.count == expected.count && Set(expected.values).count == expected.count, "seed \(seed)")
                #expect(table.allIDs == expected.values.sorted())
                let order = expected.sorted { $0.key < $1.key }
                let decoded = table.keys.columns(order.map(\.value))
                #expect(order.indices.map { Self.text(decoded, $0) } == order.map(\.key), "seed \(seed)")
                for (text, id) in order where Int.random(in: 0..<3, using: &random) == 0 {
                    table.remove(id)
                    expected[text] = nil
                }
            }
        }
    }

    @Test func `many keys get as many numbers and memory is let go`() {
        let table = GroupTable([.int64])
        for start in stride(from: 0, to: 200_000, by: 8000) {
            let column = Column.int64((start..<start + 8000).map { Int64($0) })
            let ids = table.findOrInsert([column], count: 8000)
            #expect(ids.first == Int32(start) && ids.last == Int32(start + 7999))
        }
        #expect(table.count == 200_000)
        #expect(table.byteCount < 200_000 * 52)
        for id in 0..<199_999 as Range<Int32> { table.remove(id) }
        #expect(table.find([.int64([199_999, 5])], count: 2) == [199_999, -1])
        table.remove(199_999)
        #expect(table.count == 0 && table.upperBound == 0 && table.byteCount < 1 << 17)
    }

    @Test func `columns read back stay as they were when the table changes and collects its garbage`() {
        let table = GroupTable([.string])
        let names = (0..<2000).map {
            "a name that does not fit into a view, number \($0)" + String(repeating: "x", count: 1000)
        }
        let ids = table.findOrInsert([.string(names)], count: names.count)
        let before = table.keys.columns(ids)
        for id in ids.dropFirst(10) { table.remove(id) }
        let again = table.findOrInsert([.string(names.map { "y" + $0 })], count: names.count)
        #expect(Set(again).count == names.count)
        #expect(before[0].allValues == names.map { .string($0) })
        #expect(table.keys.columns(Array(ids.prefix(10)))[0].allValues == names.prefix(10).map { .string($0) })
        #expect(table.byteCount < 2 * 2010 * 1100 + (2 << 20))
    }

    @Test func `rows of a store compare as their columns do`() {
        for seed in 1...3 as ClosedRange<UInt64> {
            var random = SplitMix(state: seed)
            let types: [DataType] = [
                .bool, .int32, .int64, .float32, .float64, .decimal(precision: 38, scale: 2), .string, .bytes,
                .timestamp,
                .date, .list(.string), .structure([Field("a", .int64), Field("b", .string)]),
            ]
            let columns = Self.keys(types, rows: 60, &random)
            let store = RowStore(types)
            let ids = store.insert(columns, count: 60)
            let block = store.makeBlock()
            store.fill(block, columns, 0..<60)
            for (c, column) in columns.enumerated() {
                let term = RowOrdering.Term(column: c)
                var wrong = 0
                for i in 0..<60 {
                    for j in 0..<60 {
                        let expected = column.compareWithNulls(i, column, j).signum()
                        if store.compare(ids[i], ids[j], [term]).signum() != expected { wrong += 1 }
                        if store.compare(block, i, ids[j], [term]).signum() != expected { wrong += 1 }
                    }
                }
                #expect(wrong == 0, "\(column.type), seed \(seed)")
                #expect("\(store.columns(ids)[c].allValues)" == "\(column.allValues)")
            }
        }
    }
}
