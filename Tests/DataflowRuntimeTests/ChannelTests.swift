import DataflowCheckpoint
import DataflowColumnar
import DataflowOperator
import DataflowRuntime
import DataflowTesting
import Testing

@Suite struct `Channel between tasks` {
    let schema = Schema([Field("n", .int64, nullable: false)])

    /// A batch of 8 bytes a row; its first value is `tag`.
    func batch(_ tag: Int64, rows: Int = 1) -> RecordBatch {
        RecordBatch(schema, [Column(.int64, .int64(Values(repeating: tag, count: rows)))])
    }

    func channel(lanes: Int = 1, bytes: Int = 1 << 20, batches: Int = 64) -> Channel {
        Channel(lanes: lanes, capacity: ChannelCapacity(bytes: bytes, batches: batches), clock: SystemClock())
    }

    /// What came, in short: `0:5` batch 5 on lane 0, `b1` barrier, `w` watermark, `end`.
    func describe(_ received: Received) -> String {
        switch received {
        case .closed: return "closed"
        case .deadline: return "deadline"
        case .element(let element, let lane):
            switch element {
            case .batch(let batch): return "\(lane):\(batch.columns[0].int64Values?[0] ?? -1)"
            case .watermark(.time(let time)): return "\(lane):w\(time)"
            case .watermark(.idle): return "\(lane):idle"
            case .split: return "\(lane):split"
            case .barrier(let barrier): return "\(lane):b\(barrier.id)"
            case .endOfInput: return "\(lane):end"
            }
        }
    }

    func drain(_ channel: Channel, _ count: Int) async throws -> [String] {
        var received: [String] = []
        for _ in 0..<count { received.append(describe(try await channel.next())) }
        return received
    }

    @Test func `elements of a lane keep their order and lanes take turns`() async throws {
        let channel = channel(lanes: 2)
        for n in 0..<3 { try await channel.send(batch(Int64(n)), lane: 0) }
        try await channel.send(batch(7), lane: 1)
        try channel.signal(.barrier(CheckpointBarrier(id: CheckpointID(1), purpose: .periodic)), lane: 1)
        try channel.signal(.endOfInput, lane: 0)
        #expect(try await drain(channel, 6) == ["0:0", "1:7", "0:1", "1:b1", "0:2", "0:end"])
    }

    @Test func `a watermark behind a watermark replaces it, one behind a batch does not`() async throws {
        let channel = channel()
        for time in 1...3 { try channel.signal(.watermark(.time(Int64(time))), lane: 0) }
        try await channel.send(batch(5), lane: 0)
        try channel.signal(.watermark(.time(9)), lane: 0)
        #expect(try await drain(channel, 3) == ["0:w3", "0:5", "0:w9"])
    }

    @Test func `a blocked lane keeps its elements while the others go on`() async throws {
        let channel = channel(lanes: 2)
        channel.block(lane: 0)
        try await channel.send(batch(1), lane: 0)
        try await channel.send(batch(2), lane: 1)
        #expect(try await drain(channel, 1) == ["1:2"])
        channel.unblock(lanes: [0])
        #expect(try await drain(channel, 1) == ["0:1"])
    }

    @Test func `a full lane suspends its producer until there is room, and holds exactly its bytes`() async throws {
        // 16 rows of 8 bytes: eight such batches fill 1,024 bytes.
        let channel = channel(bytes: 1024, batches: 64)
        let sent = Gate()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for n in 0..<9 { try await channel.send(batch(Int64(n), rows: 16), lane: 0) }
                sent.open()
            }
            while channel.held.batches < 8 { await Task.yield() }
            for _ in 0..<100 { await Task.yield() }
            #expect(channel.held == (1024, 8))
            #expect(!sent.isOpen)
            #expect(try await drain(channel, 3).last == "0:2")
            for _ in 0..<100 { await Task.yield() }
            #expect(!sent.isOpen, "it goes on when half of the lane is free")
            #expect(try await drain(channel, 1) == ["0:3"])
            try await sent.wait()
            #expect(channel.held == (640, 5))
            #expect(try await drain(channel, 5).last == "0:8")
            try await group.waitForAll()
        }
    }

    @Test func `a batch larger than the capacity is admitted alone`() async throws {
        let channel = channel(bytes: 100, batches: 4)
        #expect(try await channel.send(batch(1, rows: 1000), lane: 0) == .zero)
        #expect(channel.held.bytes == 8000)
        try await withThrowingTaskGroup(of: Duration.self) { group in
            group.addTask { try await channel.send(batch(2, rows: 1000), lane: 0) }
            for _ in 0..<100 { await Task.yield() }
            #expect(channel.held.batches == 1)
            #expect(try await drain(channel, 2) == ["0:1", "0:2"])
            let waited = try await group.next() ?? .zero
            #expect(waited > .zero, "the wait is told")
        }
    }

    @Test func `the number of batches bounds a lane, too`() async throws {
        let channel = channel(bytes: 1 << 20, batches: 2)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for n in 0..<5 { try await channel.send(batch(Int64(n)), lane: 0) } }
            while channel.held.batches < 2 { await Task.yield() }
            for _ in 0..<100 { await Task.yield() }
            #expect(channel.held.batches == 2)
            let received = try await drain(channel, 5)
            #expect(received == ["0:0", "0:1", "0:2", "0:3", "0:4"])
        }
    }

    @Test func `a cancelled producer and a cancelled consumer come back`() async throws {
        let channel = channel(bytes: 8, batches: 1)
        try await channel.send(batch(1), lane: 0)
        let producer = Task { try await channel.send(batch(2), lane: 0) }
        producer.cancel()
        await #expect(throws: CancellationError.self) { try await producer.value }
        #expect(channel.held.batches == 1, "its batch is dropped")
        _ = try await channel.next()
        let consumer = Task { try await channel.next() }
        consumer.cancel()
        await #expect(throws: CancellationError.self) { _ = try await consumer.value }
        try await channel.send(batch(3), lane: 0)
        #expect(try await drain(channel, 1) == ["0:3"])
    }

    @Test func `closing wakes everybody and drops what is held`() async throws {
        let channel = channel(bytes: 8, batches: 1)
        try await channel.send(batch(1), lane: 0)
        let waiting = Task { try await channel.send(batch(2), lane: 0) }
        for _ in 0..<100 { await Task.yield() }
        channel.close()
        await #expect(throws: ChannelClosed.self) { _ = try await waiting.value }
        #expect(try await drain(channel, 1) == ["closed"])
        #expect(throws: ChannelClosed.self) { try channel.signal(.endOfInput, lane: 0) }
    }

    @Test func `a consumer comes back at its deadline`() async throws {
        let clock = ManualClock()
        let channel = Channel(lanes: 1, capacity: ChannelCapacity(bytes: 1, batches: 1), clock: clock)
        let start = clock.now
        let received = Task { try await channel.next(until: start.advanced(by: .seconds(5))) }
        for _ in 0..<100 { await Task.yield() }
        clock.advance(by: .seconds(4))
        clock.advance(by: .seconds(2))
        #expect(describe(try await received.value) == "deadline")
        try await channel.send(batch(1), lane: 0)
        #expect(describe(try await channel.next(until: start)) == "0:1", "what is there goes before the deadline")
    }

    @Test func `many producers and one consumer lose nothing`() async throws {
        let channel = channel(lanes: 8, bytes: 64, batches: 4)
        let sums = try await withThrowingTaskGroup(of: Int64.self) { group in
            for lane in 0..<8 {
                group.addTask {
                    for n in 0..<2000 { try await channel.send(batch(Int64(n)), lane: lane) }
                    try channel.signal(.endOfInput, lane: lane)
                    return 0
                }
            }
            group.addTask {
                var sum: Int64 = 0
                var ended = 0
                var last = [Int64](repeating: -1, count: 8)
                while ended < 8 {
                    switch try await channel.next() {
                    case .element(.batch(let batch), let lane):
                        let n = batch.columns[0].int64Values?[0] ?? 0
                        #expect(n == last[lane] + 1)
                        last[lane] = n
                        sum += n
                    case .element(.endOfInput, _): ended += 1
                    case .element, .deadline, .closed: Issue.record("something else came")
                    }
                }
                return sum
            }
            return try await group.reduce(0, +)
        }
        #expect(sums == 8 * 2000 * 1999 / 2)
    }

    @Test(.enabled(if: isMeasuring)) func `measure a hop`() async throws {
        let channel = channel(bytes: 1 << 20, batches: 64)
        let count = 1_000_000
        let batch = batch(1)
        let start = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for _ in 0..<count { try await channel.send(batch, lane: 0) } }
            group.addTask { for _ in 0..<count { _ = try await channel.next() } }
            try await group.waitForAll()
        }
        print("a hop costs \(start.duration(to: .now) / count)")
    }
}
