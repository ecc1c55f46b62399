import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct GlobalAggregationTests {
    private func fleet(
        _ config: WindowAggConfig, _ input: Stream, _ states: [StateSnapshot], _ route: [String]
    ) throws -> Fleet {
        let instances = try states.enumerated().map { index, state in
            try OperatorHarness(
                WindowAgg.self, config, input: input, restoring: state, subtask: index, parallelism: states.count)
        }
        return Fleet(instances: instances) { batch in
            RowHash.hashes(route.compactMap { batch[$0] }, count: batch.rowCount)
        }
    }

    @Test(arguments: [1, 7, 8192], [1, 2] as [UInt64])
    func `groups of a stream of facts equal the same computed a row at a time, at any parallelism`(
        size: Int, seed: UInt64
    ) throws {
        var random = SplitMix(state: seed)
        let rows = (0..<(size == 1 ? 400 : 3000)).map { randomRow(Int64($0), time: 0, &random) }
        let config = try settings(groups: ["g", "k"], aggregateTexts(ordered: true))
        let input = Stream(schema)
        var table: [[Value]: [Value]] = [:]
        var fleet = try fleet(config, input, [[]], ["g", "k"])
        var start = 0
        var step = 0
        while start < rows.count {
            let end = min(rows.count, start + size)
            try fleet.process(RecordBatch(schema, rows: Array(rows[start..<end])))
            start = end
            step += 1
            if random.next() % 5 == 0 { try fleet.advanceClock(by: .milliseconds(400)) }
            if [1, rows.count / size / 3, rows.count / size / 2].contains(step) {
                let states = try fleet.checkpoint()
                apply(fleet.take(), keys: 2, to: &table)
                let sofar = expected(Array(rows.prefix(end)), by: { [$0[2], $0[3]] }, ordered: true)
                #expect(table == sofar, "every change is told before a checkpoint, seed \(seed)")
                #expect(fleet.accountsForEveryRow)
                let parallelism = [1: 3, 2: 2, 3: 2][states.count, default: 1]
                fleet = try self.fleet(
                    config, input, redistributed(states, to: size == 8192 ? 1 : parallelism), ["g", "k"])
            }
        }
        try fleet.finish()
        apply(fleet.take(), keys: 2, to: &table)
        #expect(table == expected(rows, by: { [$0[2], $0[3]] }, ordered: true), "seed \(seed)")
        #expect(fleet.accountsForEveryRow)
    }

    @Test(arguments: [1, 7, 8192], [1, 2, 3] as [UInt64])
    func `rows of an upsert stream are taken back, at any parallelism`(size: Int, seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let config = try settings(groups: ["g"], aggregateTexts(ordered: false), condition: "flag")
        // g is a column of the key: rows spread by it.
        let input = Stream(schema, kind: .upsert(key: ["id", "g"]), deletes: true)
        #expect(try WindowAgg.partitioning(config, inputs: [input]) == .hash(["g"]))
        #expect(try WindowAgg.localStage(config, inputs: [input]) == nil)
        var live: [[Value]: [Value]] = [:]
        var table: [[Value]: [Value]] = [:]
        var fleet = try fleet(config, input, [[]], ["g"])
        for step in 0..<(size == 8192 ? 4 : size == 1 ? 300 : 120) {
            var rows: [[Value]] = []
            var deletes: [Bool] = []
            for _ in 0..<(size == 8192 ? 900 : size) {
                let row = randomRow(Int64(random.next() % 60), time: 0, &random)
                let isDelete = random.next() % 4 == 0
                live[[row[1], row[2]]] = isDelete ? nil : row
                rows.append(isDelete ? row.indices.map { [1, 2].contains($0) ? row[$0] : .null } : row)
                deletes.append(isDelete)
            }
            try fleet.process(RecordBatch(schema, rows: rows, deletes: deletes))
            if random.next() % 3 == 0 { try fleet.advanceClock(by: .milliseconds(700)) }
            if step % 40 == 20 || size == 8192 {
                let states = try fleet.checkpoint()
                apply(fleet.take(), keys: 1, to: &table)
                let kept = live.values.filter { $0[at["flag"] ?? 0] == .bool(true) }
                #expect(table == expected(Array(kept), by: { [$0[2]] }, ordered: false), "seed \(seed) step \(step)")
                #expect(fleet.accountsForEveryRow)
                fleet = try self.fleet(
                    config, input, redistributed(states, to: [1: 3, 3: 2][states.count, default: 1]), ["g"])
            }
        }
        // Everything goes: so do the groups.
        let last = Array(live.values)
        if !last.isEmpty {
            try fleet.process(RecordBatch(schema, rows: last, deletes: last.map { _ in true }))
        }
        try fleet.finish()
        apply(fleet.take(), keys: 1, to: &table)
        #expect(table.isEmpty, "seed \(seed)")
    }

    @Test func `where the key of an upsert stream and group_by have nothing in common one subtask does it all`() throws
    {
        let config = try settings(groups: ["g"], [("n", "count(*)")])
        let input = Stream(schema, kind: .upsert(key: ["id"]))
        #expect(try WindowAgg.partitioning(config, inputs: [input]) == .single)
        let output = try WindowAgg.outputs(config, inputs: [input])[0]
        #expect(output.kind == .upsert(key: ["g"]) && output.deletes)
        let harness = try OperatorHarness(WindowAgg.self, config, input: input)
        var row = [Value](repeating: .null, count: columns.count)
        row[1] = 7
        row[2] = "old"
        try harness.process([row], schema: schema)
        try harness.advanceClock(by: .seconds(1))
        row[2] = "new"
        try harness.process([row], schema: schema)
        try harness.advanceClock(by: .seconds(1))
        let changes = harness.output.changes().map { "\($0.row[0]) \($0.isDelete)" }
        #expect(changes == [#"string("old") false"#, #"string("old") true"#, #"string("new") false"#])
    }

    @Test func `without group_by there is one row, also before the first input`() throws {
        let config = try settings([("n", "count(*)"), ("s", "sum(x)")])
        for kind in [StreamKind.append, .upsert(key: ["id"])] {
            let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema, kind: kind))
            try harness.finish()
            #expect(harness.output.rows() == [[0, .null]])
            #expect(harness.outputs[0].kind == .upsert(key: []) && !harness.outputs[0].deletes)
        }
    }

    @Test func `updates of a group are no closer than emit, and only changed groups are told`() throws {
        let config = try settings(groups: ["g"], [("n", "count(*)")], emit: .every(.seconds(1)))
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema))
        func row(_ group: Value) -> [Value] { columns.indices.map { $0 == 2 ? group : $0 == 1 ? 1 : .null } }
        try harness.process([row("a"), row("b"), row(.null)], schema: schema)
        try harness.advanceClock(by: .milliseconds(200))
        try harness.advanceClock(by: .zero)
        #expect(Set(harness.take().rows()) == [["a", 1], ["b", 1], [.null, 1]])
        for _ in 0..<8 {
            try harness.process([row("a")], schema: schema)
            try harness.advanceClock(by: .milliseconds(100))
        }
        #expect(harness.take().rows() == [])
        try harness.advanceClock(by: .milliseconds(500))
        try harness.advanceClock(by: .milliseconds(500))
        #expect(harness.take().rows() == [["a", 9]])
        try harness.finish()
        #expect(harness.take().rows() == [])
    }

    @Test func `keys that hardly repeat go past the pre-aggregation and count all the same`() throws {
        let config = try settings(groups: ["k"], [("n", "count(*)"), ("s", "sum(v)"), ("m", "mode(v)")])
        let narrow = Schema([Field("k", .int64), Field("v", .int64)])
        let stage = try #require(try WindowAgg.localStage(config, inputs: [Stream(narrow)]))
        let context = OperatorContext.testing(inputs: [Stream(narrow)], outputs: [stage.output])
        let local = try stage.make(context)
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(narrow))
        var partials = 0
        for start in stride(from: 0, to: 80_000, by: 8_000) {
            let ids = (start..<start + 8_000).map { Int64($0 % 40_000) }
            let batch = RecordBatch(narrow, [.int64(ids), .int64(ids.map { $0 % 3 == 0 ? nil : $0 })])
            var output = OutputBuffer()
            _ = try local.process(batch, from: .main, into: &output)
            for case .batch(let partial, .main) in output.drain() { partials += partial.rowCount }
            try harness.process(batch)
        }
        #expect(partials == 80_000, "nothing waits in the table")
        try harness.finish()
        let table = harness.output.table(key: ["k"])
        #expect(table.count == 40_000 && table.allSatisfy { $0.value[1] == 2 })
        #expect(table[[3]] == [3, 2, .null, .null] && table[[4]] == [4, 2, 8, 4])
    }

    @Test func `a group without rows for state_ttl is forgotten without a delete and begins anew`() throws {
        var config = try settings(groups: ["g"], [("n", "count(*)")], emit: .every(.milliseconds(500)))
        config.stateTTL = .seconds(10)
        let clock = ManualClock()
        func make(_ state: StateSnapshot) throws -> OperatorHarness<WindowAgg> {
            try OperatorHarness(WindowAgg.self, config, input: Stream(schema), restoring: state, clock: clock)
        }
        func row(_ group: Value) -> [Value] { columns.indices.map { $0 == 2 ? group : $0 == 1 ? 1 : .null } }
        func pass(_ seconds: Int, _ harness: OperatorHarness<WindowAgg>) throws {
            for _ in 0..<seconds { try harness.advanceClock(by: .seconds(1)) }
        }
        let first = try make([])
        try first.process([row("a"), row("b")], schema: schema)
        try pass(6, first)
        try first.process([row("a")], schema: schema)
        try pass(3, first)
        let state = try first.checkpoint()
        #expect(state["groups"]?.rowCount == 2)
        #expect(first.output.table(key: ["g"]) == [["a"]: ["a", 2], ["b"]: ["b", 1]])

        // The time goes on through a restart: b has been silent for 9 s.
        let second = try make(state)
        try pass(4, second)
        #expect(try second.checkpoint()["groups"]?.rowCount == 1)
        try second.process([row("b"), row("a")], schema: schema)
        try pass(1, second)
        #expect(Set(second.take().rows()) == [["b", 1], ["a", 3]])
        try pass(9, second)
        #expect(try second.checkpoint()["groups"]?.rowCount == 2)
        try pass(4, second)
        #expect(try second.checkpoint()["groups"]?.rowCount == 0)
        #expect(second.take().changes().isEmpty, "no delete")
        #expect(second.accountsForEveryRow)

        // Without the setting the same state is kept for ever, and the other way round it begins to age.
        config.stateTTL = nil
        let third = try make(state)
        try pass(30, third)
        let kept = try third.checkpoint()
        #expect(kept["groups"]?.rowCount == 2)
        config.stateTTL = .seconds(10)
        let fourth = try make(kept)
        try pass(9, fourth)
        #expect(try fourth.checkpoint()["groups"]?.rowCount == 2)
        try pass(4, fourth)
        #expect(try fourth.checkpoint()["groups"]?.rowCount == 0)
    }

    @Test func `a change that was not told yet is told before its group is forgotten`() throws {
        var config = try settings(groups: ["g"], [("n", "count(*)")], emit: .every(.seconds(60)))
        config.stateTTL = .seconds(1)
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema))
        func row(_ group: Value) -> [Value] { columns.indices.map { $0 == 2 ? group : $0 == 1 ? 1 : .null } }
        try harness.process([row("a")], schema: schema)
        for _ in 0..<4 { try harness.advanceClock(by: .milliseconds(250)) }
        try harness.process([row("b")], schema: schema)
        for _ in 0..<100 { try harness.advanceClock(by: .seconds(1)) }
        #expect(harness.take().rows() == [["a", 1], ["b", 1]])
        #expect(try harness.checkpoint()["groups"]?.rowCount == 0)
    }
}
