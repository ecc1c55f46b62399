import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

/// From the definition: the rows of each group in order of arrival, so many at a time. Keys are number and group.
func countWindows(_ rows: [[Value]], of size: Int, aggregates: ([[Value]]) -> [Value]) -> [[Value]: [Value]] {
    var table: [[Value]: [Value]] = [:]
    for (group, members) in Dictionary(grouping: rows, by: { $0[2] }) {
        for (number, start) in stride(from: 0, to: members.count, by: size).enumerated() {
            table[[.int(Int64(number)), group]] = aggregates(
                Array(members[start..<min(members.count, start + size)]))
        }
    }
    return table
}

@Suite struct CountWindowTests {
    private func orderedAggregates(_ rows: [[Value]]) -> [Value] {
        aggregateNames(ordered: true).map { oracles[$0]?.compute(rows) ?? .null }
    }

    @Test(arguments: [1, 7, 8192], [1, 3, 100])
    func `so many rows of a group are a window, however the rows are cut, restored at any parallelism`(
        size: Int, rowsAWindow: Int
    ) throws {
        let seed = UInt64(size * 1000 + rowsAWindow)
        var random = SplitMix(state: seed)
        let rows = (0..<(size == 1 ? 300 : 1500)).map { randomRow(Int64($0), time: 0, &random) }
        let config = try settings(
            groups: ["g"], aggregateTexts(ordered: true), window: .count(rowsAWindow), condition: "k >= 0")
        func isCounted(_ row: [Value]) -> Bool { if case .int(let k) = row[3] { k >= 0 } else { false } }
        let counted = rows.filter(isCounted)
        func make(_ states: [StateSnapshot]) throws -> Fleet {
            let instances = try states.enumerated().map { index, state in
                try OperatorHarness(
                    WindowAgg.self, config, input: Stream(schema), restoring: state, subtask: index,
                    parallelism: states.count)
            }
            return Fleet(instances: instances) { RowHash.hashes([$0["g"]].compactMap { $0 }, count: $0.rowCount) }
        }
        var fleet = try make([[]])
        #expect(fleet.instances[0].outputs[0].kind == .append)
        #expect(fleet.instances[0].outputs[0].schema.names.prefix(2) == ["window_number", "g"])
        var emitted: [[Value]] = []
        var start = 0
        let parts = size == 8192 ? 400 : size
        while start < rows.count {
            let end = min(rows.count, start + parts)
            try fleet.process(RecordBatch(schema, rows: Array(rows[start..<end])))
            start = end
            if random.next() % UInt64(size == 8192 ? 1 : 40) == 0 {
                let states = try fleet.checkpoint()
                emitted += fleet.take().flatMap { $0.rows() }
                #expect(fleet.accountsForEveryRow)
                let full = countWindows(
                    rows[..<end].filter(isCounted), of: rowsAWindow,
                    aggregates: { [.int(Int64($0.count))] })
                #expect(
                    emitted.count == full.values.filter { $0 == [.int(Int64(rowsAWindow))] }.count, "seed \(seed)")
                fleet = try make(redistributed(states, to: [3, 1, 4][start % 3]))
            }
        }
        try fleet.finish()
        emitted += fleet.take().flatMap { $0.rows() }
        #expect(fleet.accountsForEveryRow)
        let table = Dictionary(emitted.map { (Array($0.prefix(2)), Array($0.dropFirst(2))) }) { _, _ in
            Issue.record("a window left twice, seed \(seed)")
            return []
        }
        #expect(
            table == countWindows(counted, of: rowsAWindow, aggregates: orderedAggregates), "seed \(seed)")
        // Numbers go on in a later run; nothing is left to leave.
        let later = try make(redistributed(try fleet.checkpoint(), to: 1))
        try later.finish()
        #expect(later.take().flatMap { $0.rows() }.isEmpty)
    }

    @Test func `windows of all rows, and of more rows than there are`() throws {
        let narrow = Schema([Field("t", .timestamp), Field("v", .int64)])
        let config = try settings([("s", "sum(v)"), ("first", "first(v)")], window: .count(4))
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(narrow, eventTime: "t"))
        #expect(harness.outputs[0].eventTime == nil)
        try harness.process((1...10).map { [.null, .int($0)] }, schema: narrow)
        try harness.advance(to: .time(5))
        #expect(harness.output.watermarks.isEmpty)
        #expect(harness.take().rows() == [[0, 10, 1], [1, 26, 5]])
        _ = try harness.checkpoint()
        try harness.finish()
        #expect(harness.take().rows() == [[2, 19, 9]])
    }

    @Test func `a batch that fills more windows than may leave at once is cut in pieces`() throws {
        let narrow = Schema([Field("v", .int64)])
        let config = try settings(groups: ["v"], [("n", "count(*)")], window: .count(1))
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(narrow))
        let values = (0..<200_000).map { Int64($0 % 1000) }
        try harness.process(RecordBatch(narrow, [.int64(values)]))
        let rows = harness.take().batches()
        #expect(rows.reduce(0) { $0 + $1.rowCount } == values.count)
        #expect(rows.allSatisfy { $0.rowCount <= RecordBatch.defaultRowCount })
        let numbers = rows.flatMap { $0.columns[0].int64Values?.array ?? [] }
        #expect(numbers == values.indices.map { Int64($0 / 1000) })
    }

    @Test func `count windows keep to what every operator keeps to`() throws {
        var random = SplitMix(state: 5)
        let rows = (0..<60).map { randomRow(Int64($0), time: 0, &random) }
        let batches = [0..<20, 20..<45, 45..<60].map { RecordBatch(schema, rows: Array(rows[$0])) }
        let config = try settings(groups: ["g"], aggregateTexts(ordered: true), window: .count(7))
        #expect(try OperatorConformance.check(WindowAgg.self, config, inputs: [Stream(schema)], batches: batches) == [])
    }

    @Test func `what has no meaning with them is refused`() throws {
        var config = try settings([("window_number", "count(*)")], window: .count(5), time: "t", lateness: .seconds(1))
        config.emit = .every(.seconds(1))
        #expect(
            config.validate().map { $0.message.split(separator: "`").first } == [
                "time", "allowed_lateness", "emit: 1s",
            ])
        let error = #expect(throws: ConfigError.self) {
            _ = try WindowAgg.outputs(
                try settings([("window_number", "count(*)")], window: .count(5)), inputs: [Stream(schema)])
        }
        #expect(error?.diagnostics.map(\.message) == ["the output already has a column `window_number`"])
        for shape in [WindowShape.count(5), .session(.seconds(1))] {
            let error = #expect(throws: ConfigError.self) {
                _ = try WindowAgg.outputs(
                    try settings([("n", "count(*)")], window: shape),
                    inputs: [Stream(schema, kind: .upsert(key: ["id"]))])
            }
            #expect(error?.diagnostics.map(\.code) == ["stream-kind"])
        }
    }
}
