import DataflowOperator
import DataflowTesting
import Testing

@testable import Join

/// Joins of random streams against nested loops, through the operator alone.
@Suite struct RandomJoinTests {
    static let seeds: [UInt64] = [1, 2, 3, 4, 5, 6]

    private func check(
        _ harness: OperatorHarness<Join>, _ input: ModelInput, rows: [[Value]], late: [[[Value]]], _ comment: Comment
    ) throws {
        let found = harness.output
        #expect(difference(found.rows(), rows) == [], comment)
        for side in [0, 1] {
            #expect(difference(found.rows(OutputPort(index: side + 1)), late[side]) == [], comment)
        }
        #expect(harness.accountsForEveryRow, comment)
        #expect(harness.rowsIn == input.count, comment)
        #expect(try overtaken(found, harness.outputs[0]) == [], comment)
        let missing = [0, 1].flatMap { input.rows($0) }.filter { $0.time == nil }.count
        #expect(found.errors.count == missing, comment)
        #expect(missing > 0)
        let state = try harness.checkpoint()
        #expect(state["left"]?.rowCount == 0 && state["right"]?.rowCount == 0, comment)
    }

    @Test(arguments: seeds, JoinKind.allCases)
    func `an interval join is what nested loops find, whatever the size of batches`(
        seed: UInt64, kind: JoinKind
    ) throws {
        let input = ModelInput(seed: seed, rows: 120)
        let lateness: Int64 = seed % 2 == 0 ? 0 : 7
        let model = Model(kind: kind, lateness: lateness, hasCondition: seed % 3 == 0)
        let (before, after): (Int64, Int64) = [(0, 0), (8, 0), (0, 5), (6, 9)][Int(seed % 4)]
        let expected = model.interval(input, before: before, after: after)
        #expect(expected.count > 5)
        #expect(lateness > 0 || model.late(input, side: 0).count > 1)
        for size in [1, 7, 8192] {
            var config = try settings(kind, hasCondition: model.hasCondition, lateness: lateness)
            config.within = within(before, after)
            let harness = try OperatorHarness(Join.self, config, inputs: [left, right])
            try drive(harness, input, size: size, seed: seed &* 31 &+ UInt64(size))
            try check(
                harness, input, rows: expected, late: [0, 1].map { model.late(input, side: $0) },
                "seed \(seed), batches of \(size), \(kind)")
        }
    }

    @Test(arguments: seeds, JoinKind.allCases)
    func `a window join is what nested loops find, whatever the size of batches`(
        seed: UInt64, kind: JoinKind
    ) throws {
        let input = ModelInput(seed: seed &+ 100, rows: 120)
        let lateness: Int64 = seed % 2 == 0 ? 0 : 7
        let model = Model(kind: kind, lateness: lateness, hasCondition: seed % 3 == 0)
        let (size, every, offset): (Int64, Int64, Int64) = [(10, 10, 0), (12, 5, 3), (10, 10, 4), (20, 4, 0)][
            Int(seed % 4)]
        let expected = model.windows(input, size: size, every: every, offset: offset)
        #expect(expected.rows.count > 5)
        #expect(lateness > 0 || expected.late.joined().count > 0)
        for batchSize in [1, 7, 8192] {
            var config = try settings(kind, hasCondition: model.hasCondition, lateness: lateness)
            config.window = window(size, every: every == size ? nil : every, offset: offset)
            let harness = try OperatorHarness(Join.self, config, inputs: [left, right])
            try drive(harness, input, size: batchSize, seed: seed &* 31 &+ UInt64(batchSize))
            try check(
                harness, input, rows: expected.rows, late: expected.late,
                "seed \(seed), batches of \(batchSize), \(kind)")
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `a row index is a sorted list`(seed: UInt64) {
        var random = SplitMix(state: seed)
        let index = TimeIndex()
        index.reserve(1000)
        var times = [Int64](repeating: 0, count: 1000)
        var root: Int32 = 0
        var present: Set<Int32> = []
        for _ in 0..<4000 {
            let id = Int32(random.next() % 999 + 1)
            if present.contains(id) {
                index.remove(id, from: &root, times)
                present.remove(id)
            } else {
                times[Int(id)] = Int64(random.next() % 200)
                index.insert(id, into: &root, times)
                present.insert(id)
            }
        }
        let sorted = present.sorted { (times[Int($0)], $0) < (times[Int($1)], $1) }
        #expect(index.first(root) == sorted.first)
        for from in [Int64(-1), 0, 50, 199, 500] {
            var cursor = TimeIndex.Cursor()
            index.seek(&cursor, root, from: from, times)
            var found: [Int32] = []
            while true {
                let id = index.next(&cursor)
                guard id != 0 else { break }
                found.append(id)
            }
            #expect(found == sorted.filter { times[Int($0)] >= from }, "seed \(seed), from \(from)")
        }
    }
}
