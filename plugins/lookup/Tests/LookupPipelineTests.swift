import DataflowOperator
import DataflowRuntime
import DataflowTesting
import Logging
import Testing

@testable import Lookup

/// Counts the tables that were loaded.
private struct LoadLog: LogHandler {
    let loads: Lock<Int>
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }
    func log(event: LogEvent) {
        if event.message.description == "lookup table loaded" { loads.withLock { $0 += 1 } }
    }
}

@Suite struct LookupPipelineTests {
    @Test func `a running pipeline takes the new table between two batches, also while no rows come`() async throws {
        let file = try TableFile()
        let folder = try TemporaryDirectory()
        let clock = ManualClock()
        let loads = Lock(0)
        let script = MemoryScript(
            orders, splits: [[.batch(batch([[1, "de", 1]])), .pause, .batch(batch([[2, "de", 2]]))]])
        let rows = CollectedRows()
        var pipeline = TestPipeline()
        try pipeline.add("orders", MemorySource.self, .init(script))
        try pipeline.add("named", Lookup.self, file.config([("refresh", .text("10m"))]), from: "orders")
        try pipeline.add("out", CollectingSink.self, .init(rows), from: "named")
        let runner = try pipeline.runner(
            checkpoints: folder.path, clock: clock, logger: Logger(label: "test") { _ in LoadLog(loads: loads) })
        async let summary = runner.run()
        await script.waitForPause()
        file.write("code,name,vat\nde,Deutschland,19\n")
        clock.advance(by: .seconds(600))
        while loads.withLock({ $0 }) < 2 {
            clock.advance(by: .seconds(1))
            await Task.yield()
        }
        script.resume()
        _ = try await summary
        #expect(rows.rows.map { $0[3] } == ["Germany", "Deutschland"])
    }
}
