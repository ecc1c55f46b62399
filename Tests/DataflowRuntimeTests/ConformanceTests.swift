import DataflowColumnar
import DataflowOperator
import DataflowTesting
import Testing

@Suite struct `Operator conformance` {
    @Test(arguments: [0, 1]) func `the counting operator of these tests conforms`(step: Int) throws {
        let batches = [keys("a", "b"), keys("b", "c"), keys("a")]
        let findings = try OperatorConformance.check(
            KeyCount.self, .init(key: "key", step: step), inputs: [Stream(keySchema)], batches: batches)
        #expect(findings == [])
    }

    @Test func `an operator that forgets its state is found out`() throws {
        let findings = try OperatorConformance.check(
            Forgetful.self, .init(), inputs: [Stream(keySchema)], batches: [keys("a"), keys("b")])
        #expect(findings.contains { $0.contains("restored behind batch 1 gives other rows") })
        #expect(findings.contains { $0.contains("counted 0 of") })
    }

    @Test func `sources and sinks of the testing module conform`() async throws {
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a")), .batch(keys("b"))], [.batch(keys("c"))]])
        #expect(try await OperatorConformance.check(MemorySource.self) { .init(script) } == [])
        #expect(
            try await OperatorConformance.check(
                CollectingSink.self, .init(CollectedRows()), input: Stream(keySchema)) == [])
    }
}

/// Emits how many rows it has seen at the end, and keeps nothing.
private final class Forgetful: Transform {
    struct Config: OperatorConfig {
        static let schema = ConfigSchema<Self> {}
    }
    static let info = OperatorInfo("forgetful", .transform, "Forgets.")
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [Stream(Schema([Field("n", .int64)]))]
    }
    private var rows = 0
    init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {}
    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress
    {
        rows += batch.rowCount
        return .done
    }
    func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        output.emit(RecordBatch(Schema([Field("n", .int64)]), rows: [[.int(Int64(rows))]]))
        return .done
    }
}
