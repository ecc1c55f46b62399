import DataflowColumnar
import DataflowOperator
import Testing

/// Rows by number, and what a table of them gives to checkpoints.
private struct World {
    static let schema = Schema([Field("value", .int64, nullable: false), Field("name", .string)])

    let table: IncrementalTable
    var rows: [Int32: Int64] = [:]
    var free: [Int32] = []
    var upperBound: Int32 = 0
    var history = IncrementHistory()
    /// Parts of the snapshot under way, and the rows at its barrier.
    var parts: [StateTable] = []
    var barrier: [Int32: Int64] = [:]

    init() { table = IncrementalTable("rows", distribution: .subtask, World.schema) }

    static func name(_ value: Int64) -> String { "the name of the value \(value)" }

    /// What the operator would answer for these numbers, now. Traps for a row that is not there.
    func read(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        RecordBatch(
            World.schema,
            rows: ids.map { id in
                guard let value = rows[id] else { preconditionFailure("row \(id) is read and is not there") }
                return [.int(value), .string(World.name(value))]
            })
    }

    mutating func add(_ count: Int, _ value: Int64) {
        var ids: [Int32] = []
        for _ in 0..<count {
            if let id = free.popLast() {
                ids.append(id)
            } else {
                ids.append(upperBound)
                upperBound += 1
            }
        }
        // A new row may be in the operator's table before it says so.
        for id in ids { rows[id] = value }
        table.willChange(ids, read)
    }

    mutating func change(_ ids: [Int32], _ value: Int64, singly: Bool) {
        if singly { for id in ids { table.willChange(id, read) } } else { table.willChange(ids + ids.prefix(2), read) }
        for id in ids { rows[id] = value }
    }

    mutating func remove(_ ids: [Int32], singly: Bool) {
        if singly {
            for id in ids {
                table.willRemove(id, read)
                rows[id] = nil
            }
        } else {
            table.willRemove(ids, read)
            for id in ids { rows[id] = nil }
        }
        free += ids
        if rows.isEmpty {
            free = []
            upperBound = 0
        }
    }

    mutating func begin() {
        parts = [table.snapshot(read)]
        barrier = rows
    }

    mutating func proceed(until deadline: ContinuousClock.Instant = .now) -> Progress {
        table.proceed(until: deadline, into: &parts, read)
    }

    /// The whole table at the last barrier, as a restore would see it.
    mutating func finish() throws -> [Int64] {
        while proceed() == .more {}
        let values = try history.add(parts).flatMap(\.rows).map { row -> Int64 in
            guard case .int(let value) = row[0], row[1] == .string(World.name(value)) else { return -1 }
            return value
        }
        parts = []
        return values.sorted()
    }

    /// Rows that the snapshot under way, or the one just read, wrote.
    var written: Int { parts.flatMap(\.batches).filter { $0.columns.count > 1 }.reduce(0) { $0 + $1.rowCount } }
}

@Suite struct `An incremental table` {
    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func `gives every checkpoint the rows of its barrier, whatever changes while they are read`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let limits = IncrementalTable.Limits(
            whole: [0, 20, 200].randomElement(using: &random) ?? 0, part: [1, 7, 64].randomElement(using: &random) ?? 1)
        try IncrementalTable.$limits.withValue(limits) {
            var world = World()
            var value: Int64 = 0
            for checkpoint in 0..<60 {
                func step() {
                    value += 1
                    let live = world.rows.keys.sorted()
                    switch Int.random(in: 0..<10, using: &random) {
                    case 0...3: world.add(Int.random(in: 1...60, using: &random), value)
                    case 4...7:
                        let ids = (0..<8).compactMap { _ in live.randomElement(using: &random) }
                        world.change(Array(Set(ids)), value, singly: value % 3 == 0)
                    case 8:
                        let ids = live.filter { _ in Int.random(in: 0..<4, using: &random) == 0 }
                        world.remove(ids, singly: value % 2 == 0)
                    default: if checkpoint % 9 == 0 { world.remove(live, singly: false) }
                    }
                }
                for _ in 0..<Int.random(in: 0..<5, using: &random) { step() }
                world.begin()
                while world.proceed() == .more { if Int.random(in: 0..<3, using: &random) == 0 { step() } }
                step()
                let rows = try world.finish()
                #expect(rows == world.barrier.values.sorted(), "seed \(seed), checkpoint \(checkpoint)")
                #expect(world.history.count <= 66)
            }
        }
    }

    @Test func `writes what has changed, as much again of the rest, and forgets old checkpoints`() throws {
        try IncrementalTable.$limits.withValue(.init(whole: 1000, part: 512)) {
            var world = World()
            world.add(10_000, 0)
            world.begin()
            let first = try world.finish()
            #expect(first.count == 10_000)
            var random = SplitMix(state: 5)
            var total = 0
            for round in 1...100 as ClosedRange<Int64> {
                let ids = Set((0..<100).map { _ in Int32.random(in: 0..<10_000, using: &random) })
                world.change(Array(ids), round, singly: false)
                world.begin()
                while world.proceed() == .more {}
                #expect(world.written <= 100 + 156 + 64 && world.written >= 156)
                total += world.written
                let rows = try world.finish()
                #expect(rows == world.barrier.values.sorted())
                #expect(world.history.count <= 65)
            }
            #expect(total < 100 * 320)
            // Nothing has changed: only the turn goes on.
            world.begin()
            while world.proceed() == .more {}
            #expect(world.written <= 156 + 64)
            _ = try world.finish()
            // Most have changed: all is written and nothing else counts.
            world.change((0..<6000).map { $0 }, 1000, singly: false)
            world.begin()
            while world.proceed() == .more {}
            #expect(world.written == 10_000)
            let rows = try world.finish()
            #expect(rows == world.barrier.values.sorted())
            #expect(world.history.count == 1)
        }
    }

    @Test func `of few rows gives all at once and no later checkpoint needs them`() throws {
        var world = World()
        world.add(8000, 1)
        let table = world.table.snapshot(world.read)
        #expect(table.rowCount == 8000 && !world.table.isUnfinished)
        #expect(table.increment?.isComplete == true && table.increment?.isKept == false)
    }

    @Test func `of many rows gives none at the barrier`() throws {
        var world = World()
        world.add(20_000, 1)
        world.begin()
        #expect(world.parts[0].rowCount == 0 && world.parts[0].increment?.isComplete == false)
        #expect(world.table.isUnfinished)
        #expect(world.proceed() == .more)
        #expect(try world.finish().count == 20_000)
        #expect(!world.table.isUnfinished)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
