import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

private let second: Int64 = 1_000_000

@Suite struct SliceTableTests {
    private func table(_ window: WindowShape) throws -> SliceTable {
        let config = try settings(groups: ["g"], [("n", "count(*)")], window: window, time: "t")
        let schema = Schema([Field("t", .timestamp), Field("g", .int64, nullable: false)])
        let plan = try AggregationPlan(config, input: Stream(schema, eventTime: "t"))
        guard let grid = plan.window.grid else { preconditionFailure("windows without a grid") }
        return SliceTable(try PartialShape(config, partial: plan.partial), grid)
    }

    private func merge(_ table: SliceTable, _ slice: (first: Int64, last: Int64), keys: [Int64]) {
        let bounds = table.windowColumnCount == 2 ? [slice.first, slice.last] : [slice.last]
        let columns: [Column] =
            bounds.map { start in .timestamp(keys.map { _ in start }) }
            + [.int64(keys), .int64(keys.map { _ in 1 })]
        _ = table.merge(columns[...], count: keys.count)
    }

    @Test(arguments: [WindowShape.tumbling(.seconds(10)), .sliding(.seconds(60), every: .seconds(10))])
    func `numbers of groups and states are given out again when keys come and go`(window: WindowShape) throws {
        let table = try table(window)
        for step in 0..<200 as Range<Int64> {
            let time = step * 10 * second
            merge(table, table.grid.slice(of: time), keys: (0..<500).map { step * 400 + $0 })
            let closed = table.grid.firstEnding(after: time)
            table.free(before: closed)
            let (groups, states) = table.bounds
            #expect(groups <= 8 * 500 && states <= 8 * 500)
        }
        table.free(before: .max)
        #expect(table.isEmpty)
        #expect(table.bounds == (0, 0))
    }

    @Test func `many slices with keys of their own take no place for the keys of others`() throws {
        let table = try table(.tumbling(.seconds(1)))
        for step in 0..<500 as Range<Int64> {
            merge(table, (step * second, step * second), keys: (0..<50).map { step * 50 + $0 })
        }
        // All once more, in one batch that changes its slice with each row.
        let keys = (0..<25_000 as Range<Int64>).map { ($0 % 500) * 50 + $0 / 500 }
        let columns: [Column] = [
            .timestamp(keys.map { $0 / 50 * second }), .int64(keys), .int64(keys.map { _ in 1 }),
        ]
        _ = table.merge(columns[...], count: keys.count)
        #expect(table.bounds == (25_000, 25_000))
        #expect(table.slices.allSatisfy { $0.ids.count == 50 })
        for slice in table.slices {
            let numbers = table.gather(slice.first, table.slices)
            let rows = numbers.withUnsafeBufferPointer { table.rows($0) }
            #expect(rows.results[0].int64Values?.array == [Int64](repeating: 2, count: 50))
            #expect(
                Set(rows.keys[0].int64Values?.array ?? [])
                    == Set((0..<50).map { slice.first / second * 50 + $0 }))
            table.release(numbers)
        }
    }
}
