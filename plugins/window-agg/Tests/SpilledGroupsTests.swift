import DataflowOperator
import DataflowTesting
import Synchronization
import Testing

@testable import WindowAgg

/// Groups on disk: the same results as in memory.
@Suite struct SpilledGroupsTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func budget(_ limit: Int = 1 << 20) -> MemoryBudget {
        MemoryBudget(limit: limit, spillingTo: folder.path + "/spill")
    }

    private func fleet(
        _ config: WindowAggConfig, _ input: Stream, _ states: [StateSnapshot], _ memory: MemoryBudget?
    ) throws -> Fleet {
        let instances = try states.enumerated().map { index, state in
            try OperatorHarness(
                WindowAgg.self, config, input: input, restoring: state, subtask: index, parallelism: states.count,
                memory: memory)
        }
        return Fleet(instances: instances) { batch in
            RowHash.hashes(["g", "k"].compactMap { batch[$0] }, count: batch.rowCount)
        }
    }

    private func files(_ states: [StateSnapshot]) -> Int {
        states.reduce(0) { $0 + ($1["spilled"]?.files.count ?? 0) }
    }

    @Test(arguments: [1, 64, 8192], [1, 2, 3, 4] as [UInt64])
    func `groups put on disk at any moment equal the same computed a row at a time, at any parallelism`(
        size: Int, seed: UInt64
    ) throws {
        var random = SplitMix(state: seed)
        let rows = (0..<(size == 1 ? 400 : 3000)).map { randomRow(Int64($0), time: 0, &random) }
        let config = try settings(groups: ["g", "k"], aggregateTexts(ordered: true))
        let input = Stream(schema)
        var table: [[Value]: [Value]] = [:]
        // With a share of less than a key group takes, groups are put together in parts.
        let memory = budget(seed % 2 == 0 ? 1 << 20 : 1)
        var fleet = try fleet(config, input, [[]], memory)
        var start = 0
        var hadFiles = false
        while start < rows.count {
            let end = min(rows.count, start + size)
            try fleet.process(RecordBatch(schema, rows: Array(rows[start..<end])))
            start = end
            if random.next() % 3 == 0 { try fleet.advanceClock(by: .milliseconds(120)) }
            for instance in fleet.instances where random.next() % 3 == 0 { try instance.spill() }
            if random.next() % (size == 1 ? 40 : 8) == 0 || size == 8192 {
                let states = try fleet.checkpoint()
                hadFiles = hadFiles || files(states) > 0
                apply(fleet.take(), keys: 2, to: &table)
                #expect(fleet.accountsForEveryRow)
                let parallelism = [1: 3, 3: 2, 2: 1][states.count, default: 1]
                // Once without a budget: everything comes back into memory.
                let isBounded = random.next() % 4 != 0
                fleet = try self.fleet(
                    config, input, redistributed(states, to: parallelism), isBounded ? memory : nil)
            }
        }
        for instance in fleet.instances { try instance.spill() }
        try fleet.finish()
        apply(fleet.take(), keys: 2, to: &table)
        #expect(table == expected(rows, by: { [$0[2], $0[3]] }, ordered: true), "seed \(seed)")
        #expect(hadFiles || size == 8192)
        #expect(fleet.accountsForEveryRow)
    }

    /// A row each of these ids.
    private func batch(_ ids: Range<Int64>) -> RecordBatch {
        var random = SplitMix(state: 1)
        return RecordBatch(schema, rows: ids.map { randomRow($0, time: 0, &random) })
    }

    /// Rows that come as far as the groups: the stage in front of them holds none back.
    private func feed(_ harness: OperatorHarness<WindowAgg>, _ ids: Range<Int64>) throws {
        try harness.process(batch(ids))
        try harness.advanceClock(by: .milliseconds(200))
    }

    @Test func `results are told once they have changed, and not again`() throws {
        let config = try settings(groups: ["id"], [("n", "count(*)")])
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema), memory: budget())
        try harness.process(batch(0..<100))
        try harness.advanceClock(by: .seconds(2))
        #expect(harness.take().rows().count == 100)
        try harness.spill()
        try harness.process(batch(50..<150))
        try harness.spill()
        #expect(harness.take().rows().isEmpty, "a run is written without being told")
        try harness.advanceClock(by: .seconds(2))
        let told = harness.take().rows()
        #expect(Set(told) == Set((50..<150).map { [.int($0), .int($0 < 100 ? 2 : 1)] }))
        #expect(told.count == 100)
        let state = try harness.checkpoint()
        #expect(harness.take().rows().isEmpty)
        // Told results are known to be told behind a restart, and at the end.
        let next = try OperatorHarness(
            WindowAgg.self, config, input: Stream(schema), restoring: state, memory: budget())
        try next.finish()
        #expect(next.output.rows().isEmpty)
        try next.process(batch(149..<151))
        try next.finish()
        #expect(Set(next.output.rows()) == [[.int(149), .int(2)], [.int(150), .int(1)]])
    }

    @Test func `what has not been told at a checkpoint is told behind the restart`() throws {
        let config = try settings(groups: ["id"], [("n", "count(*)")], emit: .every(.seconds(3600)))
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema), memory: budget())
        try feed(harness, 0..<10)
        #expect(harness.take().rows().count == 10, "the first results are told at once")
        try harness.spill()
        try feed(harness, 5..<15)
        let state = try harness.checkpoint()
        #expect(harness.output.rows().isEmpty)
        for memory in [budget(), nil] {
            let next = try OperatorHarness(
                WindowAgg.self, config, input: Stream(schema), restoring: state, memory: memory)
            try next.finish()
            #expect(Set(next.output.rows()) == Set((5..<15).map { [.int($0), .int($0 < 10 ? 2 : 1)] }))
            #expect(next.output.rows().count == 10)
        }
    }

    @Test func `many runs are merged into few`() throws {
        let config = try settings(groups: ["id"], [("n", "count(*)"), ("l", "last(s)")], emit: .every(.seconds(3600)))
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema), memory: budget())
        let straight = try OperatorHarness(WindowAgg.self, config, input: Stream(schema))
        var most = 0
        for step in 0..<200 as Range<Int64> {
            for one in [harness, straight] { try feed(one, step..<(step + 40)) }
            try harness.spill()
            most = max(most, try harness.transform.snapshot(CheckpointID(1))["spilled"]?.files.count ?? 0)
        }
        #expect(most == 32)
        try harness.finish()
        try straight.finish()
        #expect(harness.output.table(key: ["id"]) == straight.output.table(key: ["id"]))
        #expect(harness.output.table(key: ["id"]).count == 239)
    }

    @Test func `state_ttl keeps groups in memory, and what lies on disk comes back`() throws {
        var config = try settings(groups: ["id"], [("n", "count(*)")])
        let first = try OperatorHarness(WindowAgg.self, config, input: Stream(schema), memory: budget())
        #expect(first.transform.canSpill)
        try feed(first, 0..<10)
        try first.spill()
        let state = try first.checkpoint()
        config.stateTTL = .seconds(10)
        let second = try OperatorHarness(
            WindowAgg.self, config, input: Stream(schema), restoring: state, memory: budget())
        #expect(!second.transform.canSpill)
        try second.process(batch(5..<15))
        try second.finish()
        #expect(Set(second.output.rows()) == Set((5..<15).map { [.int($0), .int($0 < 10 ? 2 : 1)] }))
        let bytes = second.transform.stateByteCount
        #expect(bytes > 15 * 24)
    }

    @Test func `the memory of groups is counted, and gone when they are on disk`() throws {
        let config = try settings(groups: ["id"], [("n", "count(*)"), ("s", "sum(x)")])
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema), memory: budget())
        try feed(harness, 0..<8192)
        // 24 bytes of a key, 8 of each count, 32 of a sum: and what stands beside.
        #expect(harness.transform.stateByteCount > 8192 * 72)
        #expect(harness.transform.stateByteCount < 8192 * 72 + 2 << 20)
        try harness.spill()
        #expect(harness.transform.stateByteCount < 16 << 10)
        #expect(harness.context.counters.spilledBytes.load(ordering: .relaxed) > 8192 * 40)
    }

    @Test func `while a snapshot is being read nothing is put on disk`() throws {
        try IncrementalTable.$limits.withValue(.init(whole: 0, part: 64)) {
            let config = try settings(groups: ["id"], [("n", "count(*)")])
            let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema), memory: budget())
            try harness.process(batch(0..<1000))
            try harness.beginCheckpoint()
            try feed(harness, 500..<1500)
            try harness.spill()
            let before = try harness.finishCheckpoint()
            try harness.spill()
            #expect(before["spilled"] == nil)
            #expect(before["groups"]?.rowCount == 1000)
            let behind = try harness.checkpoint()
            #expect(behind["groups"]?.rowCount == 0)
            #expect(behind["spilled"]?.files.map(\.contents.rowCount) == [1500])
        }
    }

    @Test func `a disk that takes nothing is an error`() throws {
        let config = try settings(groups: ["id"], [("n", "count(*)")])
        let nowhere = MemoryBudget(limit: 1 << 20, spillingTo: "/proc/nowhere")
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema), memory: nowhere)
        try feed(harness, 0..<10)
        let error = #expect(throws: OperatorError.self) { try harness.spill() }
        #expect(error?.code == "spill_failed")
    }
}
