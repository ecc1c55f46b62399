import DataflowConfig
import DataflowOperator
import DataflowTesting
import Testing

@testable import GenerateSource

private func config(count: Int?) -> GenerateSourceConfig {
    var config = GenerateSourceConfig()
    config.count = count
    var id = GeneratorConfig()
    id.sequence = SequenceConfig()
    var price = GeneratorConfig()
    price.number = NumberConfig()
    price.number?.max = 500
    price.number?.decimals = 2
    var country = GeneratorConfig()
    country.choice = ["DE", "FR", "IT"]
    country.nulls = 0.1
    var item = GeneratorConfig()
    item.zipf = ZipfConfig()
    var at = GeneratorConfig()
    at.timestamp = TimestampConfig()
    at.timestamp?.jitter = .milliseconds(3)
    config.columns = ["id": id, "price": price, "country": country, "item": item, "at": at]
    return config
}

private func rows(_ emitted: Emitted) -> [[Value]] {
    emitted.rows().sorted {
        "\($0[0])".count == "\($1[0])".count ? "\($0[0])" < "\($1[0])" : "\($0[0])".count < "\($1[0])".count
    }
}

@Suite struct GenerateSourceTests {
    @Test func `a rate beyond all clocks is none`() async throws {
        var config = config(count: 100)
        config.rate = Rate(.max, per: .seconds(1))
        let source = try await SourceHarness(GenerateSource.self, config)
        try await source.readAll()
        #expect(rows(source.take()).count == 100)
    }

    @Test func `a poll keeps to the limit of its rows`() async throws {
        let source = try await SourceHarness(GenerateSource.self, config(count: 20_000))
        try await source.poll(rowLimit: 3)
        #expect(rows(source.take()).map { $0[0] } == [0, 1, 2])
        try await source.readAll()
        #expect(rows(source.take()).count == 19_997)
    }

    @Test func `the rows are the same at any parallelism and across restarts`() async throws {
        let straight = try await SourceHarness(GenerateSource.self, config(count: 50_000))
        try await straight.readAll()
        let expected = rows(straight.take())
        #expect(expected.count == 50_000)
        #expect(Set(expected.map { $0[0] }).count == 50_000)

        let first = try await SourceHarness(GenerateSource.self, config(count: 50_000))
        for _ in 0..<3 { try await first.poll() }
        var again = rows(first.take())
        let state = try first.checkpoint()
        for subtask in 0..<3 {
            let part = try await SourceHarness(
                GenerateSource.self, config(count: 50_000), restoring: state, subtask: subtask, parallelism: 3)
            try await part.readAll()
            again += part.take().rows()
        }
        #expect(Set(again.map { "\($0)" }) == Set(expected.map { "\($0)" }))
        #expect(again.count == 50_000)
    }

    @Test func `a batch of long texts is no larger than one of short texts`() async throws {
        var config = config(count: 100)
        var long = GeneratorConfig()
        long.text = TextConfig()
        long.text?.length = 1 << 18
        config.columns = ["long": long]
        let source = try await SourceHarness(GenerateSource.self, config)
        var rows = 0
        while rows < 100 {
            try await source.poll()
            let polled = source.take().batches(.main)
            rows += polled.reduce(0) { $0 + $1.rowCount }
            #expect(polled.allSatisfy { $0.byteCount <= RecordBatch.defaultByteCount * 5 / 4 })
        }
        #expect(rows == 100)
    }

    @Test func `values keep to what is declared`() async throws {
        let source = try await SourceHarness(GenerateSource.self, config(count: 20_000))
        try await source.readAll()
        let all = rows(source.take())
        var nulls = 0
        var firstKey = 0
        for row in all {
            guard case .float(let price) = row[1], case .timestamp(let at) = row[4], case .int(let id) = row[0] else {
                Issue.record("unexpected types in \(row)")
                return
            }
            #expect(price >= 0 && price <= 500)
            let turn = 1_735_689_600_000_000 + id * 1000
            #expect(at <= turn && at > turn - 3000)
            if row[2] == .null { nulls += 1 }
            if row[3] == "key-1" { firstKey += 1 }
        }
        #expect(nulls > 1600 && nulls < 2400)
        // 1 / H(1000) = 13.4 % of the rows.
        #expect(firstKey > 2400 && firstKey < 2950)
    }

    @Test func `watermarks follow the rows, and rows behind them are marked`() async throws {
        var settings = config(count: 30_000)
        settings.eventTime = EventTimeConfig()
        settings.eventTime?.column = "at"
        settings.eventTime?.outOfOrderness = .milliseconds(1)
        let source = try await SourceHarness(GenerateSource.self, settings)
        try await source.readAll()
        let emitted = source.take()
        #expect(emitted.watermarks.count == 4)
        #expect(emitted.batches().contains { ($0.splitWatermark?.array ?? []).contains { $0 > .min } })
        settings.eventTime?.column = "id"
        #expect(throws: ConfigError.self) { try GenerateSource.outputs(settings, inputs: []) }
    }

    @Test func `no row is late when one subtask takes over from two of which one was far ahead`() async throws {
        var settings = config(count: 100_000)
        settings.eventTime = EventTimeConfig()
        settings.eventTime?.column = "at"
        settings.eventTime?.outOfOrderness = .milliseconds(5)
        var parts: [StateSnapshot] = []
        for subtask in 0..<2 {
            let source = try await SourceHarness(GenerateSource.self, settings, subtask: subtask, parallelism: 2)
            for _ in 0..<(subtask == 0 ? 6 : 1) { try await source.poll() }
            parts.append(try source.checkpoint())
        }
        let state = ["splits", "watermarks"].map { name in
            StateTable(name, distribution: .split(column: 0), parts.flatMap { $0[name]?.batches ?? [] })
        }
        let source = try await SourceHarness(GenerateSource.self, settings, restoring: StateSnapshot(state))
        try await source.readAll()
        var count = 0
        var late = 0
        for batch in source.take().batches() {
            count += batch.rowCount
            // Without watermarks no row lies behind one.
            for (row, watermark) in zip(batch.rows, batch.splitWatermark?.array ?? []) {
                if case .timestamp(let at) = row[4], at < watermark { late += 1 }
            }
        }
        #expect(late == 0)
        #expect(count == 100_000 - 7 * RecordBatch.defaultRowCount)
    }

    @Test func `rows know when they are due, however late they are made`() async throws {
        var settings = config(count: nil)
        var due = GeneratorConfig()
        due.due = DueConfig()
        settings.columns = ["due": due]
        settings.rate = Rate(1000, per: .seconds(1))
        let clock = ManualClock()
        let start = clock.wallMicroseconds
        let source = try await SourceHarness(GenerateSource.self, settings, clock: clock)
        try await source.poll()
        #expect(rows(source.take()) == [[.timestamp(start)]])
        clock.advance(by: .milliseconds(50))
        try await source.poll()
        #expect(source.take().rows() == (1..<50).map { [.timestamp(start + $0 * 1000)] })
        // More than a tenth of a second behind: what is too late is given up, and the last row is due now.
        clock.advance(by: .seconds(10))
        try await source.poll()
        let now = start + 10_050_000
        #expect(source.take().rows() == (0..<100).map { [.timestamp(now - 100_000 + $0 * 1000)] })

        settings.rate = nil
        let unpaced = try await SourceHarness(GenerateSource.self, settings, clock: clock)
        try await unpaced.poll()
        #expect(unpaced.take().rows().allSatisfy { $0 == [.timestamp(now)] })
    }

    @Test func `a rate is kept and a poll returns by its deadline`() async throws {
        var settings = config(count: nil)
        settings.rate = Rate(1000, per: .seconds(1))
        let source = try GenerateSource(
            settings, .testing(outputs: try GenerateSource.outputs(settings, inputs: []), clock: RealClock()))
        try await source.open(restoring: [])
        let start = ContinuousClock.now
        var count = 0
        while start.duration(to: .now) < .milliseconds(300) {
            var output = OutputBuffer()
            _ = try await source.poll(until: .now.advanced(by: .milliseconds(20)), into: &output)
            for case .batch(let batch, _) in output.drain() { count += batch.rowCount }
        }
        let seconds = start.duration(to: .now) / .seconds(1)
        #expect(Double(count) <= seconds * 1000 + 2)
        #expect(count > 0)
    }
}

private struct RealClock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 0 }
}
