import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowTesting
import Glibc
import StdoutSink
import Testing

private let schema = Schema([Field("id", .int64), Field("name", .string)])

/// Runs `body` with a sink that writes to a pipe; answers what it wrote.
private func printed(
    _ format: String, kind: StreamKind = .append, _ body: (SinkHarness<StdoutSink>) async throws -> Void
) async throws -> String {
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    try await StdoutSink.$descriptor.withValue(ends[1]) {
        let config = try StdoutSinkConfig(decoding: .mapping([("format", .text(format))]))
        let sink = try await SinkHarness(StdoutSink.self, config, input: Stream(schema, kind: kind))
        try await body(sink)
        await sink.close()
    }
    close(ends[1])
    var bytes = [UInt8](repeating: 0, count: 60_000)
    let count = read(ends[0], &bytes, bytes.count)
    close(ends[0])
    return String(decoding: bytes[..<max(count, 0)], as: UTF8.self)
}

@Suite struct StdoutSinkTests {
    @Test func `rows are printed before the next batch comes, a checkpoint or none`() async throws {
        let text = try await printed("ndjson") { sink in
            try await sink.write(RecordBatch(schema, rows: [[1, "a"]]))
            try await sink.checkpoint()
            try await sink.write(RecordBatch(schema, rows: []))
            try await sink.write(RecordBatch(schema, rows: [[2, nil]]))
        }
        #expect(text == #"{"id":1,"name":"a"}"# + "\n" + #"{"id":2,"name":null}"# + "\n")
    }

    @Test func `changes of an upsert stream are told apart`() async throws {
        let batch = RecordBatch(schema, rows: [[1, "a"], [2, nil]], deletes: [false, true])
        let json = try await printed("ndjson", kind: .upsert(key: ["id"])) { sink in
            try await sink.write(batch)
            try await sink.checkpoint()
        }
        #expect(json == #"{"op":"upsert","id":1,"name":"a"}"# + "\n" + #"{"op":"delete","id":2}"# + "\n")
        let csv = try await printed("csv", kind: .upsert(key: ["id"])) { sink in
            try await sink.write(batch)
            try await sink.checkpoint()
        }
        #expect(csv == "op,id,name\nupsert,1,a\ndelete,2,\n")
    }

    @Test func `a table is aligned and has its header once while nothing grows`() async throws {
        let text = try await printed("table", kind: .upsert(key: ["id"])) { sink in
            try await sink.write(RecordBatch(schema, rows: [[1, "apple"], [20, nil]]))
            try await sink.write(RecordBatch(schema, rows: [[20, nil]], deletes: [true]))
            try await sink.checkpoint()
        }
        #expect(
            text == """
                   id  name
                ─  ──  ─────
                +   1  apple
                +  20  
                -  20  

                """)
    }

    @Test func `a reader that went away ends the run with a clear error`() async throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        close(ends[0])
        try await StdoutSink.$descriptor.withValue(ends[1]) {
            let sink = try await SinkHarness(StdoutSink.self, StdoutSinkConfig(), input: Stream(schema))
            let error = await #expect(throws: OperatorError.self) {
                try await sink.write(RecordBatch(schema, rows: [[1, "a"]]))
            }
            #expect(error?.code == "output_closed")
        }
        close(ends[1])
    }
}
