import DataflowConfig
import DataflowOperator
import DataflowTesting
import Testing

@testable import GenerateSource

private func config(_ events: NexmarkEvents, count: Int? = 10_000) -> GenerateSourceConfig {
    var config = GenerateSourceConfig()
    config.kind = .nexmark
    config.events = events
    config.count = count
    return config
}

private func read(_ config: GenerateSourceConfig) async throws -> Emitted {
    let source = try await SourceHarness(GenerateSource.self, config)
    try await source.readAll()
    return source.take()
}

/// The rows in an order of their own: events of one kind by id or, for bids, as they are.
private func sorted(_ rows: [[Value]]) -> [String] { rows.map { "\($0)" }.sorted() }

private func int(_ value: Value) -> Int64 {
    switch value {
    case .int(let value), .timestamp(let value): value
    default: .min
    }
}

private func text(_ value: Value) -> String { if case .string(let text) = value { text } else { "" } }

@Suite struct NexmarkTests {
    @Test func `of fifty events one is a person, three are auctions and the rest bids`() async throws {
        let people = try await read(config(.person)).rows()
        let auctions = try await read(config(.auction)).rows()
        let bids = try await read(config(.bid)).rows()
        #expect(people.count == 200)
        #expect(auctions.count == 600)
        #expect(bids.count == 9200)
        #expect(people.map { int($0[0]) }.sorted() == Array(1000..<1200))
        #expect(auctions.map { int($0[0]) }.sorted() == Array(1000..<1600))
    }

    @Test(arguments: [0, 1, 2, 4, 5, 49, 50, 51, 123]) func `the end cuts a cycle anywhere`(count: Int) async throws {
        var sum = 0
        for kind in [NexmarkEvents.person, .auction, .bid] {
            sum += try await read(config(kind, count: count)).rows().count
        }
        #expect(sum == count)
        #expect(try await read(config(.all, count: count)).rows().count == count)
    }

    @Test func `all events are those of the three kinds`() async throws {
        let all = try await read(config(.all)).rows()
        for (type, kind) in [NexmarkEvents.person, .auction, .bid].enumerated() {
            let own = all.filter { int($0[0]) == type }
            #expect(own.allSatisfy { row in (0..<3).allSatisfy { (row[1 + $0] == .null) == ($0 != type) } })
            let members = own.map { row -> [Value] in
                guard case .structure(let members) = row[1 + type] else { return [] }
                return members
            }
            let alone = try await read(config(kind)).rows()
            #expect(sorted(members) == sorted(alone), "\(kind)")
            let time = NexmarkRows.schema(kind).index(of: "date_time") ?? 0
            #expect(zip(own, members).allSatisfy { $0[4] == $1[time] })
        }
    }

    @Test(arguments: [NexmarkEvents.all, .person, .auction, .bid])
    func `the rows are the same at any parallelism, in batches of any size and across restarts`(events: NexmarkEvents)
        async throws
    {
        var config = config(events, count: 5001)
        config.eventTime = EventTimeConfig()
        config.eventTime?.column = "date_time"
        config.disorder = .milliseconds(20)
        let expected = try await read(config)
        let first = try await SourceHarness(GenerateSource.self, config)
        for rows in [1, 7, 300, 10, 1000] { try await first.poll(rowLimit: rows) }
        var again = first.take().batches()
        let state = try first.checkpoint()
        for subtask in 0..<3 {
            let part = try await SourceHarness(
                GenerateSource.self, config, restoring: state, subtask: subtask, parallelism: 3)
            try await part.poll(rowLimit: 5)
            try await part.readAll()
            again += part.take().batches()
        }
        #expect(sorted(again.flatMap(\.rows)) == sorted(expected.rows()))
        // Which rows are behind does not depend on who makes them, nor when.
        #expect(marked(again) == marked(expected.batches()))
        #expect(marked(again).contains { !$0.hasSuffix("-") } == (events != .person))
    }

    /// Each row with the watermark that it lies behind.
    private func marked(_ batches: [RecordBatch]) -> [String] {
        batches.flatMap { batch in
            batch.rows.enumerated().map { i, row in
                let mark = batch.splitWatermark?[i] ?? .min
                return "\(row.last ?? .null) \(batch.split) \(mark == .min ? "-" : "\(mark)")"
            }
        }.sorted()
    }

    @Test func `more subtasks than splits have nothing to do`() async throws {
        var config = config(.bid)
        config.splits = 2
        var rows = 0
        for subtask in 0..<4 {
            let part = try await SourceHarness(GenerateSource.self, config, subtask: subtask, parallelism: 4)
            try await part.readAll()
            let count = part.take().rows().count
            #expect((count == 0) == (subtask >= 2))
            rows += count
        }
        #expect(rows == 9200)
    }

    @Test func `event time runs on with the events, in disorder up to the bound`() async throws {
        var config = config(.bid)
        config.disorder = .milliseconds(5)
        config.eventTime = EventTimeConfig()
        config.eventTime?.column = "date_time"
        config.eventTime?.outOfOrderness = .milliseconds(5)
        config.splits = 1
        let output = try await read(config)
        #expect(output.batches().allSatisfy { $0.splitWatermark == nil })
        #expect(!output.watermarks.isEmpty)
        for (i, row) in output.rows().enumerated() {
            let turn = 1_735_689_600_000_000 + Int64(i / 46 * 50 + 4 + i % 46) * 100
            #expect(int(row[5]) <= turn && int(row[5]) > turn - 5000)
        }
        config.eventTime?.outOfOrderness = .milliseconds(1)
        #expect(try await read(config).batches().contains { $0.splitWatermark != nil })
    }

    @Test func `bids crowd around what is hot, and refer to what there is or soon will be`() async throws {
        let bids = try await read(config(.bid, count: 40_000)).rows()
        var counts = (hotAuction: 0, hotBidder: 0, hotChannel: 0, named: 0, cheap: 0, c: 0)
        for row in bids {
            let (auction, bidder, price) = (int(row[0]), int(row[1]), int(row[2]))
            #expect(auction >= 1000 && bidder >= 1000 && price >= 100 && price <= 100_000_000)
            if auction % 100 == 0 { counts.hotAuction += 1 }
            if bidder % 100 == 1 { counts.hotBidder += 1 }
            let channel = text(row[3])
            if ["Google", "Facebook", "Baidu", "Apple"].contains(channel) {
                counts.hotChannel += 1
            } else {
                #expect(channel.hasPrefix("channel-"))
                if text(row[4]).contains("&channel_id=") { counts.named += 1 }
            }
            if price < 100_000 { counts.cheap += 1 }
            #expect(text(row[4]).hasPrefix("https://www.nexmark.com/"))
            #expect((54..<82).contains(text(row[6]).utf8.count))
        }
        let n = Double(bids.count)
        #expect(abs(Double(counts.hotAuction) / n - 0.505) < 0.015)
        #expect(abs(Double(counts.hotBidder) / n - 0.7525) < 0.015)
        #expect(abs(Double(counts.hotChannel) / n - 0.5) < 0.015)
        #expect(abs(Double(counts.named) / n - 0.45) < 0.015)
        #expect(abs(Double(counts.cheap) / n - 0.5) < 0.015)
        let last = bids.map { int($0[0]) }.max() ?? 0
        #expect(last <= 1000 + 2400 + 10)
    }

    @Test func `auctions are of people, have a category and end after they began`() async throws {
        let auctions = try await read(config(.auction, count: 50_000)).rows()
        #expect(auctions.count == 3000)
        var hot = 0
        var lengths: Int64 = 0
        for row in auctions {
            let (seller, category) = (int(row[7]), int(row[8]))
            #expect(seller >= 1000 && seller < 1000 + 1000 + 10 && category >= 10 && category < 15)
            #expect(int(row[6]) > int(row[5]) && int(row[4]) > int(row[3]))
            for column in [1, 2] { #expect(!text(row[column]).hasPrefix(" ") && !text(row[column]).hasSuffix(" ")) }
            if seller % 100 == 0 { hot += 1 }
            lengths += int(row[6]) - int(row[5])
        }
        #expect(abs(Double(hot) / 3000 - 0.7525) < 0.03)
        // A hundred auctions are 1,666 events of 100 µs.
        #expect(abs(Double(lengths) / 3000 - 167_600) < 6000)
    }

    @Test func `the first events stay what they are`() async throws {
        let person = try await read(config(.person, count: 50)).rows()
        #expect(
            person.map { Array($0.dropLast()) } == [
                [
                    .int(1000), .string("Sarah Walton"), .string("lumiyw@pfbj.com"), .string("3219 4253 8349 7053"),
                    .string("Portland"), .string("CA"), .timestamp(1_735_689_600_000_000),
                ]
            ])
        let auction = try await read(config(.auction, count: 2)).rows()
        #expect(
            auction.map { Array($0.dropLast()) } == [
                [
                    .int(1000), .string("lfiqpplphrx xr"), .string("vtko"), .int(11_312_176), .int(11_313_985),
                    .timestamp(1_735_689_600_000_100), .timestamp(1_735_689_600_069_356), .int(1000), .int(14),
                ]
            ])
        let bid = try await read(config(.bid, count: 5)).rows()
        #expect(
            bid == [
                [
                    .int(1000), .int(1008), .int(7_419_161), .string("Apple"),
                    .string("https://www.nexmark.com/ulkk/aybj/ovq/item.htm?query=1"),
                    .timestamp(1_735_689_600_000_400),
                    .string("fsoglnfmdzlbdhtjzwclgnxlwvopanqfweawbryciqwwbsahqkrqrgvwsirokv"),
                ]
            ])
    }

    @Test func `columns that nobody uses are not made`() async throws {
        let source = try await SourceHarness(
            GenerateSource.self, config(.bid, count: 50), usedColumns: .some(["auction"]))
        try await source.readAll()
        #expect(source.take().rows().allSatisfy { $0[0] != .null && $0[1...].allSatisfy { $0 == .null } })
    }

    @Test func `other settings do not go on from the checkpoint`() async throws {
        let source = try await SourceHarness(GenerateSource.self, config(.bid))
        try await source.poll()
        let state = try source.checkpoint()
        var other = config(.bid)
        other.splits = 4
        await #expect(throws: OperatorError.self) {
            try await SourceHarness(GenerateSource.self, other, restoring: state)
        }
        await #expect(throws: OperatorError.self) {
            try await SourceHarness(GenerateSource.self, config(.all), restoring: state)
        }
    }

    @Test func `settings of one kind are refused for the other`() {
        var settings = config(.bid)
        #expect(settings.validate().isEmpty)
        var column = GeneratorConfig()
        column.sequence = SequenceConfig()
        settings.columns = ["id": column]
        #expect(settings.validate().count == 1)
        settings.kind = .columns
        settings.disorder = .seconds(1)
        #expect(settings.validate().count == 2)
        #expect(GenerateSourceConfig().validate().count == 1)
    }
}
