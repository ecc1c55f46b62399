import DataflowKafkaTesting
import DataflowOperator
import DataflowTesting
import Testing

@testable import KafkaSink

@Suite(.enabled(if: KafkaTestBroker.isThere), .serialized)
struct CheckpointCrashTests {
    @Test func `a death around the manifest, the commit and its mark leaves every row once`() async throws {
        let deaths = CommitDeaths(
            place: { try Workplace() },
            sink: { place, pipeline in
                let config = place.config {
                    $0.value = .column("t")
                    $0.maxBatch = ByteSize(bytes: 1024)
                }
                try pipeline.add("topic", KafkaSink.self, config, from: "texts")
            },
            written: { try $0.values() })
        #expect(try await deaths.findings() == [])
    }
}
