import DataflowOperator
import DataflowTesting
import Testing

@testable import PgSink

@Suite(.enabled(if: TestServer.isThere), .serialized)
struct CheckpointCrashTests {
    @Test func `a death around the manifest, the commit and its mark leaves every row once`() async throws {
        let deaths = CommitDeaths(
            place: Workplace.init,
            sink: { place, pipeline in
                try pipeline.add(
                    "table", PgSink.self, place.config("t") { $0.maxBatch = ByteSize(bytes: 1024) }, from: "texts")
            },
            written: { try $0.rows("select t from t order by t collate \"C\"").map { $0[0] } })
        #expect(try await deaths.findings() == [])
    }
}
