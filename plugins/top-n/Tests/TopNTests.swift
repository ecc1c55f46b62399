import DataflowOperator
import DataflowTesting
import Testing

@testable import TopN

func settings(_ partition: [String], _ order: [String], _ n: Int) throws -> TopNConfig {
    var config = TopNConfig()
    config.partitionBy = partition.map { Located($0) }
    config.orderBy = try order.map { try OrderText($0) }
    config.n = n
    return config
}

let schema = Schema([
    Field("id", .int64, nullable: false), Field("category", .string), Field("name", .string), Field("sugar", .float64),
    Field("tags", .list(.string)),
])

func randomRow(_ id: Int64, _ random: inout SplitMix) -> [Value] {
    func maybe(_ value: @autoclosure () -> Value) -> Value { random.next() % 8 == 0 ? .null : value() }
    let long = "a name too long for a view, number "
    return [
        .int(id), maybe(.string(["snacks", "sodas", "a long category name"][Int(random.next() % 3)])),
        maybe(.string((random.next() % 2 == 0 ? "" : long) + "\(random.next() % 20)")),
        maybe(.float(Double(random.next() % 12) / 2)), maybe(.list([.string("t\(random.next() % 3)")])),
    ]
}

/// Rows in the order of a list of `(column, descending)`, nulls last, as SQL sorts them.
func sorted(_ rows: [[Value]], _ order: [(Int, Bool)]) -> [[Value]] {
    func less(_ a: Value, _ b: Value) -> Bool {
        switch (a, b) {
        case (.int(let a), .int(let b)): a < b
        case (.float(let a), .float(let b)): a < b
        case (.string(let a), .string(let b)): a.utf8.lexicographicallyPrecedes(b.utf8)
        case (.list(let a), .list(let b)): a.lexicographicallyPrecedes(b, by: less)
        default: false
        }
    }
    return rows.sorted { a, b in
        for (column, descending) in order where a[column] != b[column] {
            if a[column] == .null || b[column] == .null { return b[column] == .null }
            return descending ? less(b[column], a[column]) : less(a[column], b[column])
        }
        return false
    }
}

/// What several instances hold, divided again for another number of them.
func redistributed(_ states: [StateSnapshot], to parallelism: Int) -> [StateSnapshot] {
    (0..<parallelism).map { subtask in
        var table = states[0][0]
        table.batches = states.flatMap { $0[0].batches }.map { batch in
            batch.filter(
                Bitmap(count: batch.rowCount) { row in
                    guard case .int(let group) = batch.columns[0].value(at: row) else { return false }
                    return KeyGroup.subtask(of: Int32(group), parallelism: parallelism) == subtask
                })
        }
        return [table]
    }
}

/// Drives instances as an exchange by `columns` does and keeps what a sink would hold.
struct Fleet {
    let config: TopNConfig
    let input: Stream
    let columns: [String]
    let key: [String]
    var instances: [OperatorHarness<TopN>]
    var table: [[Value]: [Value]] = [:]

    init(_ config: TopNConfig, _ input: Stream, by columns: [String]) throws {
        self.config = config
        self.input = input
        self.columns = columns
        instances = [try OperatorHarness(TopN.self, config, input: input)]
        key = instances[0].outputs[0].kind.key ?? []
    }

    mutating func process(_ rows: [[Value]], deletes: [Bool]? = nil) throws {
        let batch = RecordBatch(schema, rows: rows, deletes: deletes)
        let hashes = RowHash.hashes(columns.compactMap { batch[$0] }, count: batch.rowCount)
        for (index, instance) in instances.enumerated() {
            let own = Bitmap(count: batch.rowCount) {
                KeyGroup.subtask(of: KeyGroup.of(hash: hashes[$0]), parallelism: instances.count) == index
            }
            if own.setCount > 0 { try instance.process(batch.filter(own)) }
        }
    }

    mutating func collect() {
        for instance in instances {
            for batch in instance.take().batches() {
                let indices = key.compactMap { batch.schema.index(of: $0) }
                for (row, values) in batch.rows.enumerated() {
                    table[indices.map { values[$0] }] = batch.deletes?[row] == true ? nil : values
                }
            }
        }
    }

    mutating func tick() throws {
        for instance in instances { try instance.advanceClock(by: .seconds(1)) }
        collect()
    }

    mutating func restart(at parallelism: Int) throws {
        let states = try instances.map { try $0.checkpoint() }
        collect()
        instances = try redistributed(states, to: parallelism).enumerated().map { index, state in
            try OperatorHarness(
                TopN.self, config, input: input, restoring: state, subtask: index, parallelism: parallelism)
        }
    }
}

@Suite struct TopNTests {
    @Test(arguments: [1, 3, 7], [1, 7, 8192])
    func `the best facts of each partition equal a sort, at any parallelism`(n: Int, size: Int) throws {
        for seed in 1...3 as ClosedRange<UInt64> {
            var random = SplitMix(state: seed)
            var fleet = try Fleet(
                try settings(["category"], ["sugar desc", "name"], n), Stream(schema), by: ["category"])
            #expect(fleet.key == (n == 1 ? ["category"] : ["category", "rank"]))
            #expect(!fleet.instances[0].outputs[0].deletes)
            var rows: [[Value]] = []
            for step in 0..<(size == 8192 ? 3 : 60) {
                let new = (0..<(size == 8192 ? 700 : size)).map { _ in randomRow(Int64(random.next() % 9), &random) }
                rows += new
                try fleet.process(new)
                if random.next() % 3 == 0 { try fleet.tick() }
                if step % 20 == 1 { try fleet.restart(at: [1: 3, 3: 2][fleet.instances.count, default: 1]) }
            }
            for instance in fleet.instances { try instance.finish() }
            fleet.collect()
            var expected: [[Value]: [Value]] = [:]
            for (category, rows) in Dictionary(grouping: rows, by: { $0[1] }) {
                let top = sorted(rows, [(3, true), (2, false), (0, false), (4, false)]).prefix(n)
                for (index, row) in top.enumerated() {
                    let rank = Value.int(Int64(index + 1))
                    expected[n == 1 ? [category] : [category, rank]] = n == 1 ? row : row + [rank]
                }
            }
            #expect(fleet.table == expected, "seed \(seed)")
        }
    }

    @Test(arguments: [1, 3, 10], [1, 7, 8192])
    func `the best rows of an upsert stream shrink and grow as a sort says, at any parallelism`(
        n: Int, size: Int
    ) throws {
        for (seed, partition) in [(1, ["category"]), (2, ["category"]), (3, []), (4, ["name"])] as [(UInt64, [String])]
        {
            var random = SplitMix(state: seed)
            // The category is part of the key, the name is not.
            let input = Stream(schema, kind: .upsert(key: ["id", "category"]), deletes: true)
            let config = try settings(partition, ["sugar desc"], n)
            let isSpread = partition == ["category"]
            #expect(try TopN.partitioning(config, inputs: [input]) == (isSpread ? .hash(["category"]) : .single))
            var fleet = try Fleet(config, input, by: isSpread ? ["category"] : [])
            #expect(fleet.key == partition + ["id", "category"].filter { !partition.contains($0) })
            var live: [[Value]: [Value]] = [:]
            for step in 0..<(size == 8192 ? 4 : 90) {
                var rows: [[Value]] = []
                var deletes: [Bool] = []
                for _ in 0..<(size == 8192 ? 600 : size) {
                    let row = randomRow(Int64(random.next() % 40), &random)
                    let isDelete = random.next() % 3 == 0
                    live[[row[0], row[1]]] = isDelete ? nil : row
                    rows.append(isDelete ? [row[0], row[1], .null, .null, .null] : row)
                    deletes.append(isDelete)
                }
                try fleet.process(rows, deletes: deletes)
                if random.next() % 3 == 0 { try fleet.tick() }
                if step % 15 == 2 || size == 8192 {
                    try fleet.restart(at: isSpread ? [1: 3, 3: 2][fleet.instances.count, default: 1] : 1)
                    let index = ["category": 1, "name": 2]
                    var expected: [[Value]: [Value]] = [:]
                    let groups = Dictionary(grouping: live.values) { row in partition.map { row[index[$0] ?? 0] } }
                    for (group, rows) in groups {
                        for row in sorted(Array(rows), [(3, true), (0, false), (1, false), (2, false), (4, false)])
                            .prefix(n)
                        {
                            expected[group + (isSpread ? [row[0]] : [row[0], row[1]])] = row
                        }
                    }
                    #expect(fleet.table == expected, "seed \(seed) step \(step)")
                }
            }
            #expect(fleet.instances.allSatisfy { $0.accountsForEveryRow })
            let last = Array(live.values)
            if !last.isEmpty { try fleet.process(last, deletes: last.map { _ in true }) }
            try fleet.restart(at: 1)
            #expect(fleet.table.isEmpty, "seed \(seed)")
        }
    }

    @Test func `only what has changed is told`() throws {
        let harness = try OperatorHarness(
            TopN.self, try settings(["category"], ["sugar desc"], 2), input: Stream(schema))
        func row(_ id: Int64, _ category: String, _ sugar: Double) -> [Value] {
            [.int(id), .string(category), .null, .float(sugar), .null]
        }
        try harness.process([row(1, "a", 5), row(2, "a", 3), row(3, "b", 1)], schema: schema)
        try harness.advanceClock(by: .seconds(1))
        #expect(harness.take().rows().count == 3)
        // Worse than the worst: nothing. Between the two: rank 2 only.
        try harness.process([row(4, "a", 2)], schema: schema)
        try harness.advanceClock(by: .seconds(1))
        #expect(harness.take().rows().isEmpty)
        try harness.process([row(5, "a", 4)], schema: schema)
        try harness.advanceClock(by: .seconds(1))
        #expect(harness.take().rows() == [row(5, "a", 4) + [2]])
        _ = try harness.checkpoint()
        #expect(harness.take().rows().isEmpty)
    }

    @Test func `a row that leaves the top is a delete of its key`() throws {
        let input = Stream(schema, kind: .upsert(key: ["id"]))
        let harness = try OperatorHarness(TopN.self, try settings([], ["sugar desc"], 1), input: input)
        func row(_ id: Int64, _ sugar: Double) -> [Value] { [.int(id), "c", .null, .float(sugar), .null] }
        try harness.process([row(1, 5), row(2, 3)], schema: schema)
        try harness.advanceClock(by: .seconds(1))
        try harness.process([row(1, 1)], schema: schema)
        try harness.advanceClock(by: .seconds(1))
        let changes = harness.output.changes().map { "\($0.row[0]) \($0.isDelete)" }
        #expect(changes == ["int(1) false", "int(1) true", "int(2) false"])
    }

    @Test func `numbers in order agree with a sorted array`() {
        var random = SplitMix(state: 5)
        var ordered = OrderedIDs()
        var expected: [Int32] = []
        let isBefore: (Int32, Int32) -> Bool = { $0 > $1 }
        for round in 0..<20_000 {
            if (round / 5000) % 2 == 0 || expected.isEmpty {
                let id = Int32(truncatingIfNeeded: random.next() % 100_000)
                guard !expected.contains(id) else { continue }
                ordered.insert(id, isBefore)
                expected.append(id)
            } else {
                let id = expected.remove(at: Int(random.next() % UInt64(expected.count)))
                ordered.remove(id, isBefore)
            }
            if round % 500 == 0 {
                let sorted = expected.sorted(by: >)
                #expect(ordered.prefix(.max) == sorted && ordered.prefix(7) == Array(sorted.prefix(7)))
            }
        }
        #expect(ordered.count == expected.count)
    }

    @Test(
        arguments: [
            (["categry"], ["sugar"], 1, "there is no column `categry`, did you mean `category`?"),
            (["category", "category"], ["sugar"], 1, "`category` is there twice in `partition_by`"),
            ([], ["sugr desc"], 1, "there is no column `sugr`, did you mean `sugar`?"),
            ([], ["sugar * 2 desc"], 1, "`sugar * 2` is not a column, expected one of the input's"),
            ([], ["sugar", "sugar desc"], 1, "`sugar` is there twice in `order_by`"),
        ] as [([String], [String], Int, String)])
    func `a wrong name is found before running`(
        partition: [String], order: [String], n: Int, message: String
    ) throws {
        let error = #expect(throws: ConfigError.self) {
            _ = try TopN.outputs(try settings(partition, order, n), inputs: [Stream(schema)])
        }
        #expect(error?.diagnostics.first?.message == message)
    }

    @Test func `a column named rank is in the way of the one that is added`() throws {
        let input = Schema(schema.fields + [Field("rank", .int64)])
        #expect(throws: ConfigError.self) {
            _ = try TopN.outputs(try settings([], ["sugar"], 2), inputs: [Stream(input)])
        }
        #expect(try TopN.outputs(try settings([], ["sugar"], 1), inputs: [Stream(input)])[0].schema == input)
    }

    @Test func `top-n keeps to what every operator has to`() throws {
        var random = SplitMix(state: 11)
        let batches = (0..<4).map { _ in
            RecordBatch(schema, rows: (0..<20).map { randomRow(Int64($0 % 12), &random) })
        }
        for input in [Stream(schema), Stream(schema, kind: .upsert(key: ["id"]))] {
            for n in [1, 3] {
                let config = try settings(["category"], ["sugar desc", "name nulls first"], n)
                #expect(try OperatorConformance.check(TopN.self, config, inputs: [input], batches: batches) == [])
            }
        }
    }
}
