import DataflowOperator
import DataflowTesting
import Testing

@testable import Join

private func l(_ id: Int64, _ key: String?, _ time: Int64?, _ x: Int64? = nil) -> [Value] {
    ModelRow(id: id, key: key, time: time, number: x).values
}

private let leftSchema = left.schema
private let rightSchema = right.schema
private let none = [Value](repeating: .null, count: 4)

extension OperatorHarness<Join> {
    fileprivate func left(_ rows: [Value]...) throws { try process(RecordBatch(leftSchema, rows: rows)) }
    fileprivate func right(_ rows: [Value]...) throws {
        try process(RecordBatch(rightSchema, rows: rows), from: InputPort(index: 1))
    }
}

@Suite struct IntervalJoinTests {
    private func harness(_ kind: JoinKind, _ change: (inout JoinConfig) throws -> Void = { _ in }) throws
        -> OperatorHarness<Join>
    {
        var config = try settings(kind, hasCondition: false, lateness: 0)
        config.within = within(10, 2)
        try change(&config)
        return try OperatorHarness(Join.self, config, inputs: [left, right])
    }

    @Test func `a pair leaves as soon as both rows are there`() throws {
        let join = try harness(.inner)
        try join.left(l(1, "a", 20))
        #expect(join.output.rows() == [])
        try join.right(l(7, "a", 10), l(8, "a", 9), l(9, "a", 22), l(10, "a", 23), l(11, "b", 20), l(12, nil, 20))
        #expect(join.take().rows() == [l(1, "a", 20) + l(7, "a", 10), l(1, "a", 20) + l(9, "a", 22)])
        try join.left(l(2, "a", 21), l(3, nil, 20))
        #expect(
            join.output.rows() == [
                l(2, "a", 21) + l(9, "a", 22), l(2, "a", 21) + l(10, "a", 23),
            ])
        #expect(join.accountsForEveryRow)
    }

    @Test func `a left row without a match leaves when no match can come, and the watermark waits for it`() throws {
        let join = try harness(.left)
        try join.left(l(1, "a", 20), l(2, nil, 20), l(3, "b", 30))
        try join.advance(to: .time(22))
        #expect(join.output.rows() == [])
        #expect(join.output.watermarks == [.time(20)])
        try join.advance(to: .time(23))
        #expect(join.output.rows() == [l(1, "a", 20) + none, l(2, nil, 20) + none])
        #expect(join.output.watermarks == [.time(20), .time(21)])
        try join.finish()
        #expect(join.output.rows().last == l(3, "b", 30) + none)
        #expect(join.output.watermarks.last == .end)
    }

    @Test func `a full join has the time of the row that is there`() throws {
        let join = try harness(.full)
        #expect(join.outputs[0].eventTime == "join_time")
        try join.left(l(1, "a", 20))
        try join.right(l(7, "a", 18), l(8, "b", 18))
        try join.advance(to: .time(28))
        #expect(join.output.watermarks == [.time(18)])
        try join.advance(to: .time(29))
        #expect(
            bag(join.output.rows())
                == bag([
                    [.timestamp(20)] + l(1, "a", 20) + l(7, "a", 18), [.timestamp(18)] + none + l(8, "b", 18),
                ]))
    }

    @Test func `a row of a split that was idle and finds its partners gone is late`() throws {
        let join = try harness(.inner)
        try join.advance(to: .time(100))
        try join.left(l(1, "a", 99), l(2, "a", 100))
        try join.right(l(7, "a", 99))
        #expect(join.output.rows(OutputPort(index: 1)) == [l(1, "a", 99)])
        #expect(join.output.rows(OutputPort(index: 2)) == [l(7, "a", 99)])
        #expect(join.accountsForEveryRow)
    }

    @Test func `a condition without a value is an error and no match`() throws {
        let join = try harness(.left) { $0.condition = try ExpressionText("10 / x > y") }
        try join.left(l(1, "a", 20, 0), l(2, "a", 20, 1))
        try join.right(l(7, "a", 20, 5))
        try join.finish()
        #expect(bag(join.output.rows()) == bag([l(2, "a", 20, 1) + l(7, "a", 20, 5), l(1, "a", 20, 0) + none]))
        #expect(join.output.errors.count == 1)
        #expect(join.accountsForEveryRow)
    }

    @Test func `columns are computed of both sides, and a time that is not passed on is no event time`() throws {
        var config = try settings(.inner, hasCondition: false, lateness: 0)
        config.within = within(10, 2)
        config.columns = ["both": try ExpressionText("x + y"), "started": try ExpressionText("at")]
        let join = try OperatorHarness(Join.self, config, inputs: [left, right])
        #expect(join.outputs[0].eventTime == "started")
        try join.left(l(1, "a", 20, 3))
        try join.right(l(7, "a", 20, 4))
        #expect(join.output.rows() == [[7, .timestamp(20)]])
        config.columns = ["both": try ExpressionText("x + y")]
        let timeless = try OperatorHarness(Join.self, config, inputs: [left, right])
        #expect(timeless.outputs[0].eventTime == nil)
        try timeless.advance(to: .time(50))
        #expect(timeless.output.watermarks == [])
    }

    @Test func `columns that nobody uses are not held`() throws {
        var config = try settings(.inner, hasCondition: false, lateness: 0)
        config.within = within(10, 2)
        let join = try OperatorHarness(
            Join.self, config, inputs: [left, right], usedColumns: .some(["y"]))
        try join.left(l(1, "a", 20, 3))
        try join.right(l(7, "a", 20, 4))
        #expect(
            join.output.rows() == [[.null, .null, .timestamp(20), .null, .null, .null, .null, 4]])
        let used = Join.columnsUsed(config, inputs: [left, right], downstream: .some(["y"]))
        #expect(used == [.some(["k", "at"]), .some(["rk", "rat", "y"])])
        // `x` may be read of the late rows, too.
        #expect(
            Join.columnsUsed(config, inputs: [left, right], downstream: .some(["x"])) == [
                .some(["k", "at", "x"]), .some(["rk", "rat"]),
            ])
        #expect(
            try join.checkpoint()["left"]?.batches[0].schema.names == [
                "key_group", "first_window", "matched", "row.k", "row.at",
            ])
    }

    @Test func `a hot key costs no more than its pairs`() throws {
        let join = try harness(.inner) { $0.within = within(0, 0) }
        let count = 20_000
        var random = SplitMix(state: 9)
        let times = (0..<Int64(count)).shuffled(using: &random)
        // By nested loops these were 400 million comparisons.
        try join.process(RecordBatch(left.schema, rows: times.map { l($0, "hot", $0) }))
        try join.process(
            RecordBatch(right.schema, rows: times.reversed().map { l($0, "hot", $0) }), from: InputPort(index: 1))
        #expect(join.output.batches().reduce(0) { $0 + $1.rowCount } == count)
        try join.finish()
        let state = try join.checkpoint()
        #expect(state["left"]?.rowCount == 0 && state["right"]?.rowCount == 0)
    }
}

@Suite struct WindowJoinTests {
    private func config(_ kind: JoinKind, _ shape: JoinWindow) throws -> JoinConfig {
        var config = try settings(kind, hasCondition: false, lateness: 0)
        config.window = shape
        return config
    }

    @Test func `rows of one window meet when it closes`() throws {
        let join = try OperatorHarness(Join.self, config(.left, window(10)), inputs: [left, right])
        try join.left(l(1, "a", 3), l(2, "a", 12), l(3, nil, 4))
        try join.right(l(7, "a", 9), l(8, "a", 10))
        try join.advance(to: .time(9))
        #expect(join.output.rows() == [])
        try join.advance(to: .time(10))
        let first: [Value] = [.timestamp(0), .timestamp(10)]
        #expect(bag(join.output.rows()) == bag([first + l(1, "a", 3) + l(7, "a", 9), first + l(3, nil, 4) + none]))
        #expect(join.output.watermarks == [.time(0), .time(10)])
        #expect(join.outputs[0].eventTime == "window_start")
        try join.finish()
        #expect(
            join.output.rows().last == [.timestamp(10), .timestamp(20)] + l(2, "a", 12) + l(8, "a", 10))
        #expect(join.accountsForEveryRow)
    }

    @Test func `windows before 1970 are cut like those behind it`() throws {
        let join = try OperatorHarness(Join.self, config(.inner, window(10)), inputs: [left, right])
        try join.left(l(1, "a", -1))
        try join.right(l(7, "a", -10), l(8, "a", -11))
        try join.finish()
        #expect(join.output.rows() == [[.timestamp(-10), .timestamp(0)] + l(1, "a", -1) + l(7, "a", -10)])
    }

    @Test func `a row is late where no window takes it, and in the others it is joined`() throws {
        let join = try OperatorHarness(Join.self, config(.inner, window(10, every: 5)), inputs: [left, right])
        func marked(_ row: [Value], _ mark: Int64) -> RecordBatch {
            RecordBatch(left.schema, rows: [row]).withSplit(0, splitWatermark: Values([mark]))
        }
        try join.right(l(7, "a", 6))
        // Of the windows [0, 10) and [5, 15) the first is over for the row's split.
        try join.process(marked(l(1, "a", 6), 12))
        try join.process(marked(l(2, "a", 6), 15))
        #expect(join.output.rows(OutputPort(index: 1)) == [l(2, "a", 6)])
        try join.finish()
        #expect(join.output.rows() == [[.timestamp(5), .timestamp(15)] + l(1, "a", 6) + l(7, "a", 6)])
    }

    @Test func `a large window leaves piece by piece`() throws {
        let config = try config(.inner, window(10))
        let context = OperatorContext.testing(
            inputs: [left, right], outputs: try Join.outputs(config, inputs: [left, right]))
        let join = try Join(config, context)
        try join.open(restoring: [])
        let rows = (0..<1000).map { l($0, "a", 3) }
        var output = OutputBuffer()
        _ = try join.process(RecordBatch(left.schema, rows: rows), from: .main, into: &output)
        _ = try join.process(RecordBatch(right.schema, rows: rows), from: InputPort(index: 1), into: &output)
        #expect(join.heldRows == [1000, 1000])
        var progress = try join.advance(to: .time(10), into: &output)
        var pieces: [Int] = []
        while true {
            var count = 0
            for case .batch(let batch, .main) in output.drain() { count += batch.rowCount }
            pieces.append(count)
            guard case .more = progress else { break }
            progress = try join.resume(into: &output)
        }
        #expect(pieces.reduce(0, +) == 1_000_000)
        #expect(pieces.count > 7)
        #expect(pieces.allSatisfy { $0 <= 16 * RecordBatch.defaultRowCount })
        #expect(join.heldRows == [0, 0])
    }
}

@Suite struct LookupJoinTests {
    private let users = Stream(
        Schema([Field("rk", .string), Field("name", .string)]), kind: .upsert(key: ["rk"]), deletes: true)

    private func config(_ kind: JoinKind) -> JoinConfig {
        var config = JoinConfig()
        config.kind = kind
        config.on = JoinKeys([("k", "rk")])
        config.lookup = .latest
        return config
    }

    @Test func `a right join is refused with the way to write it`() {
        let error = #expect(throws: ConfigError.self) { try JoinKind(decoding: .text("right")) }
        #expect(error?.diagnostics.first?.message == "expected one of `inner`, `left`, `full`, found `right`")
        #expect(error?.diagnostics.first?.hint == "swap the inputs and use `kind: left`")
        let misspelt = #expect(throws: ConfigError.self) { try JoinKind(decoding: .text("lef")) }
        #expect(misspelt?.diagnostics.first?.hint == "did you mean `left`?")
    }

    @Test func `a left row meets the row that is current when it arrives`() throws {
        let join = try OperatorHarness(Join.self, config(.left), inputs: [left, users])
        let port = InputPort(index: 1)
        try join.left(l(1, "a", 1))
        try join.process(
            RecordBatch(users.schema, rows: [["a", "Ann"], ["b", "Bob"], ["a", "Anna"], [nil, "nobody"]]), from: port)
        try join.left(l(2, "a", 2), l(3, "b", 3), l(4, nil, 4))
        try join.process(
            RecordBatch(users.schema, rows: [["a", nil], ["c", "Cy"], ["c", nil]], deletes: [true, false, true]),
            from: port)
        try join.left(l(5, "a", 5), l(6, "c", 6))
        #expect(
            join.output.rows() == [
                l(1, "a", 1) + [nil, nil], l(2, "a", 2) + ["a", "Anna"], l(3, "b", 3) + ["b", "Bob"],
                l(4, nil, 4) + [nil, nil], l(5, "a", 5) + [nil, nil], l(6, "c", 6) + [nil, nil],
            ])
        #expect(join.outputs[0].eventTime == "at")
        #expect(join.accountsForEveryRow)
        #expect(try join.checkpoint()["right"]?.rowCount == 1)
    }

    @Test func `an inner lookup leaves out rows without a match, and keeps marks of lateness`() throws {
        var config = config(.inner)
        config.condition = try ExpressionText("name <> 'Bob'")
        let join = try OperatorHarness(Join.self, config, inputs: [left, users])
        try join.process(
            RecordBatch(users.schema, rows: [["a", "Ann"], ["b", "Bob"]]), from: InputPort(index: 1))
        let rows = [l(1, "x", 1), l(2, "b", 2), l(3, "a", 3)]
        try join.process(RecordBatch(left.schema, rows: rows).withSplit(3, splitWatermark: Values([1, 2, 9])))
        #expect(join.output.rows() == [l(3, "a", 3) + ["a", "Ann"]])
        #expect(join.output.batches()[0].splitWatermark?.array == [9])
        #expect(join.output.batches()[0].split == -1)
        #expect(join.accountsForEveryRow)
        try join.advance(to: .time(9))
        #expect(join.output.watermarks == [.time(9)])
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `a random table is a dictionary`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        var join = try OperatorHarness(Join.self, config(.left), inputs: [left, users])
        var table: [String: String] = [:]
        var expected: [[Value]] = []
        var found: [[Value]] = []
        for step in 0..<60 {
            if step % 20 == 19 {
                found += join.take().rows()
                join = try OperatorHarness(
                    Join.self, config(.left), inputs: [left, users], restoring: try join.checkpoint())
            }
            let keys = (0..<random.next() % 12).map { _ in "user with a long name \(random.next() % 9)" }
            if random.next() % 2 == 0 {
                let deletes = keys.map { _ in random.next() % 3 == 0 }
                let names = keys.map { _ in "name number \(random.next() % 1000)" }
                for (index, key) in keys.enumerated() { table[key] = deletes[index] ? nil : names[index] }
                try join.process(
                    RecordBatch(
                        users.schema, rows: zip(keys, names).map { [.string($0), .string($1)] }, deletes: deletes),
                    from: InputPort(index: 1))
            } else {
                let rows = keys.enumerated().map { l(Int64($0), $1, Int64(step)) }
                for (row, key) in zip(rows, keys) {
                    expected.append(row + (table[key].map { [.string(key), .string($0)] } ?? [nil, nil]))
                }
                try join.process(RecordBatch(left.schema, rows: rows))
            }
        }
        found += join.take().rows()
        #expect(found == expected, "seed \(seed)")
        #expect(try join.checkpoint()["right"]?.rowCount == table.count)
    }
}

@Suite struct JoinConformanceTests {
    private func steps(_ seed: UInt64) -> ([RecordBatch], [InputPort], [Watermark?]) {
        let input = ModelInput(seed: seed, rows: 30, keys: 3)
        var batches: [RecordBatch] = []
        var ports: [InputPort] = []
        var watermarks: [Watermark?] = []
        for index in 0..<4 {
            for side in [0, 1] {
                let split = input.batches(side, 0, size: 8)
                guard index < split.count else { continue }
                batches.append(split[index].batch)
                ports.append(InputPort(index: side))
                let other = input.batches(1 - side, 0, size: 8)
                let least = min(
                    split[index].watermark ?? .min, index < other.count ? other[index].watermark ?? .min : .max)
                watermarks.append(side == 1 ? .time(least) : nil)
            }
        }
        return (batches, ports, watermarks)
    }

    @Test(arguments: JoinKind.allCases)
    func `window and interval joins conform`(kind: JoinKind) throws {
        let (batches, ports, watermarks) = steps(77)
        var config = try settings(kind, hasCondition: true, lateness: 3)
        config.within = within(9, 4)
        #expect(
            try OperatorConformance.check(
                Join.self, config, inputs: [left, right], batches: batches, ports: ports, watermarks: watermarks) == [])
        config.within = nil
        config.window = window(20, every: 7)
        #expect(
            try OperatorConformance.check(
                Join.self, config, inputs: [left, right], batches: batches, ports: ports, watermarks: watermarks) == [])
    }

    @Test func `lookups conform`() throws {
        let table = Stream(right.schema, kind: .upsert(key: ["rk"]))
        let (batches, ports, _) = steps(78)
        var config = try settings(.left, hasCondition: true, lateness: 0)
        config.lookup = .latest
        config.columns = ["id": try ExpressionText("id"), "y": try ExpressionText("y + x")]
        #expect(
            try OperatorConformance.check(Join.self, config, inputs: [left, table], batches: batches, ports: ports)
                == [])
    }
}
