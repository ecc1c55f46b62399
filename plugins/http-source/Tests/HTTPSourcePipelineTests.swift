import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import DataflowTesting
import Foundation
import Testing

@testable import HTTPSource

/// The source in a running pipeline: pages into a sink that commits with checkpoints.
@Suite(.serialized) struct HTTPSourcePipelineTests {
    private let server: TestServer

    init() throws {
        // Every seventh request fails, in turns.
        server = try TestServer { request, number in
            switch number % 28 {
            case 6: .text(503, "<html/>")
            case 13: .cut(after: 10, body: Array(rowsPage(request, total: 300).utf8))
            case 20: .json("{}")
            case 27: .text(429, "", headers: [("Retry-After", "0")])
            default: .json(rowsPage(request, total: 300))
            }
        }
    }

    private func pipeline(_ rows: CollectedRows, until: Int? = nil) throws -> TestPipeline {
        var config = HTTPSourceConfig()
        config.url = server.url
        config.concurrency = 2
        config.retry.initialDelay = .milliseconds(1)
        var offset = OffsetConfig()
        offset.limitParam = "length"
        offset.limit = 10
        offset.until = until
        offset.items = BodyPathSetting("$.rows")
        config.paginate = PaginateConfig()
        config.paginate?.offset = offset
        var pipeline = TestPipeline()
        pipeline.config.checkpoint.interval = .milliseconds(10)
        try pipeline.add("pages", HTTPSource.self, config)
        try pipeline.add("table", CollectingSink.self, .init(rows), from: "pages")
        return pipeline
    }

    private func offsets(_ rows: CollectedRows) -> [Value] { rows.rows.map { $0[2] } }
    private let all = (0..<30).map { Value.int($0 * 10) }

    @Test(arguments: CollectedRows.Failpoint.allCases, [0, 2])
    func `a crash at any step of the sink loses no page and doubles none`(
        _ failpoint: CollectedRows.Failpoint, _ passes: Int
    ) async throws {
        let folder = try TemporaryDirectory()
        let rows = CollectedRows()
        rows.fail(at: failpoint, afterPasses: passes)
        let runner = try pipeline(rows).runner(
            checkpoints: folder.path, retry: DataflowRuntime.RetryPolicy(attempts: 3, backoff: .milliseconds(1)))
        _ = try await runner.run()
        #expect(offsets(rows) == all)
        server.stop()
    }

    @Test(arguments: 0..<6) func `a process that dies while it writes a checkpoint goes on where it stood`(_ step: Int)
        async throws
    {
        let folder = try TemporaryDirectory()
        let rows = CollectedRows()
        do {
            _ = try await pipeline(rows).runner(
                checkpoints: folder.path, files: CrashingStore(dyingAt: 4 + step * 6, after: step % 2 == 0)
            ).run()
        } catch {}
        _ = try await pipeline(rows).runner(checkpoints: folder.path).run()
        #expect(offsets(rows) == all)
        server.stop()
    }

    @Test func `a finished run started again changes nothing, and goes on when until is raised`() async throws {
        let folder = try TemporaryDirectory()
        let rows = CollectedRows()
        _ = try await pipeline(rows, until: 100).runner(checkpoints: folder.path).run()
        #expect(offsets(rows) == Array(all[..<10]))
        let asked = server.requests.count
        _ = try await pipeline(rows, until: 100).runner(checkpoints: folder.path).run()
        #expect(offsets(rows) == Array(all[..<10]))
        #expect(server.requests.count == asked)
        _ = try await pipeline(rows).runner(checkpoints: folder.path).run()
        #expect(offsets(rows) == all)
        server.stop()
    }

    @Test func `the flagship's page source is what its file says`() throws {
        let file = try PipelineFile(
            text: """
                pages:
                  type: http-source
                  url: https://datasets-server.huggingface.co/rows
                  query: { dataset: openfoodfacts/product-database, config: default, split: food }
                  paginate:
                    offset: { param: offset, limit_param: length, limit: 100, until: 3808300, items: $.rows, total: $.num_rows_total }
                  rate_limit: 30/min
                  retry: { max_attempts: 5, max_elapsed: null, statuses: [429, 5xx] }
                  auth: { basic: { user: off, password: off } }
                """, path: "test.yaml")
        let node = try #require(file.root["pages"])
        let config = try HTTPSourceConfig.schema.decode(node, otherKeys: ["type"])
        #expect(config.pagination.parameters == ["offset", "length"])
        #expect(config.retry.policy.maxElapsed == nil)
        #expect(config.retry.policy.maxAttempts == 5)
        #expect(config.auth?.basic?.user == "off")
    }
}
