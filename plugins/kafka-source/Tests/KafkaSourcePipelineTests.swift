import DataflowCodec
import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import DataflowTesting
import JSONParse
import Testing

@testable import KafkaSource

/// The source in a running pipeline, with the parser behind it that declares event time.
@Suite(.serialized, .enabled(if: KafkaTestBroker.isThere)) struct `kafka-source in a pipeline` {
    private static let rowCount = 3000

    /// A topic of four partitions: JSON rows, and now and then rubbish.
    private func filledTopic() throws -> TestTopic {
        let topic = try TestTopic(partitions: 4, prefix: "pipeline")
        for index in 0..<Self.rowCount {
            let text =
                #"{"id":\#(index),"at":"2026-01-01T00:\#(10 + index / 60 % 50):\#(10 + index % 50)Z"}"#
            try topic.producer.send(topic.name, partition: Int32(index % 4), text)
            if index % 40 == 7 { try topic.producer.send(topic.name, partition: Int32(index % 4), "rubbish \(index)") }
        }
        try topic.producer.flush()
        return topic
    }

    private func pipeline(_ topic: TestTopic, _ rows: CollectedRows) throws -> TestPipeline {
        var parse = JSONParseConfig()
        var (id, time) = (JSONColumnConfig(), JSONColumnConfig())
        id.type = ColumnType(.int64)
        time.type = ColumnType(.timestamp)
        time.required = true
        parse.columns = ["id": id, "at": time]
        var eventTime = EventTimeConfig()
        eventTime.column = "at"
        eventTime.outOfOrderness = .seconds(5)
        parse.eventTime = eventTime
        var pipeline = TestPipeline()
        pipeline.config.checkpoint.interval = .milliseconds(10)
        try pipeline.add("orders", KafkaSource.self, topic.config())
        try pipeline.add("parsed", JSONParse.self, parse, from: "orders", onError: .drop)
        try pipeline.add("table", CollectingSink.self, .init(rows), from: "parsed")
        return pipeline
    }

    private func ids(_ rows: CollectedRows) -> [Int64] {
        rows.rows.compactMap { row in if case .int(let id) = row[0] { id } else { nil } }.sorted()
    }

    private let all = (0..<Int64(rowCount)).map { $0 }

    @Test func `gives each row once in pieces of any parallelism, and nothing of rubbish`() async throws {
        let topic = try filledTopic()
        let rows = CollectedRows()
        try await pipeline(topic, rows).run(inPieces: [1, 4, 2], rows: Self.rowCount)
        #expect(ids(rows) == all)
    }

    @Test(arguments: CollectedRows.Failpoint.allCases)
    func `gives each row once when the sink dies at any step`(_ failpoint: CollectedRows.Failpoint) async throws {
        let topic = try filledTopic()
        let rows = CollectedRows()
        rows.fail(at: failpoint, afterPasses: 1)
        var pipeline = try pipeline(topic, rows)
        pipeline.parallelism = 2
        let folder = try TemporaryDirectory()
        _ = try await pipeline.runner(
            checkpoints: folder.path, retry: DataflowRuntime.RetryPolicy(attempts: 3, backoff: .milliseconds(1))
        ).run()
        #expect(ids(rows) == all)
    }

    @Test(arguments: 0..<3) func `goes on where it stood when the process died while it wrote a checkpoint`(step: Int)
        async throws
    {
        let topic = try filledTopic()
        let rows = CollectedRows()
        let folder = try TemporaryDirectory()
        do {
            _ = try await pipeline(topic, rows).runner(
                checkpoints: folder.path, files: CrashingStore(dyingAt: 4 + step * 6, after: step % 2 == 0)
            ).run()
        } catch {}
        _ = try await pipeline(topic, rows).runner(checkpoints: folder.path).run()
        #expect(ids(rows) == all)
    }

    @Test func `finished and started again changes nothing, and goes on with what came since`() async throws {
        let topic = try filledTopic()
        let rows = CollectedRows()
        let folder = try TemporaryDirectory()
        for _ in 0..<2 {
            _ = try await pipeline(topic, rows).runner(checkpoints: folder.path).run()
            #expect(ids(rows) == all)
        }
        try topic.send([#"{"id":-1,"at":"2026-01-02T00:00:00Z"}"#])
        _ = try await pipeline(topic, rows).runner(checkpoints: folder.path).run()
        #expect(ids(rows) == [-1] + all)
        let committed = try (0..<4).map { try topic.admin.committed(topic.name, topic.name, $0) ?? -1 }
        #expect(try committed == (0..<4).map { try topic.admin.end(topic.name, $0) })
    }
}
