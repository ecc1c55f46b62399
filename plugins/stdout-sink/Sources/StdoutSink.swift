public import DataflowColumnar
public import DataflowConfig
public import DataflowOperator
import DataflowText
import Glibc
import Synchronization

/// The plugin of `stdout-sink`.
public enum StdoutSinkPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.sink(StdoutSink.self)]
}

/// `stdout-sink`: rows to the standard output, at least once: after a crash the rows since the last checkpoint are
/// printed again. Rows of an upsert stream say whether they set or delete their key.
///
/// A batch is out when `write` returns, in pieces of about 64 KiB: rows wait for `linger` at their source and no second
/// time here. Only whole lines are written, and one sink at a time writes.
public final class StdoutSink: Sink {
    public typealias Config = StdoutSinkConfig

    public static let info = OperatorInfo(
        "stdout-sink", .sink, "Prints rows as NDJSON, CSV or a table.", maxParallelism: 1, blocks: true)

    /// Where to write; tests set another descriptor.
    @TaskLocal package static var descriptor: Int32 = STDOUT_FILENO

    private static let bufferByteCount = 64 << 10
    /// Several sinks of a pipeline share the output: their lines must not mix.
    private static let turn = Mutex<Void>(())

    private let config: Config
    private let context: OperatorContext
    private let key: [String]?
    private let descriptor: Int32
    private var text = TextBuffer(capacity: StdoutSink.bufferByteCount + 4096)
    private var json: JSONRows?
    private var csv: CSVRows?
    private var table: TableRows?

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        guard !inputs.isEmpty else {
            throw ConfigError("missing-input", "stdout-sink needs an input: add `from: <node>`")
        }
        return []
    }

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
        key = context.inputs.first?.kind.key
        descriptor = StdoutSink.descriptor
    }

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        // A reader that goes away is an error of write(2), not the end of the process.
        signal(SIGPIPE, SIG_IGN)
    }

    public func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {
        var start = 0
        while start < batch.rowCount {
            let end = min(start + 1024, batch.rowCount)
            append(start == 0 && end == batch.rowCount ? batch : batch.slice(start..<end))
            start = end
            if text.count >= StdoutSink.bufferByteCount { try push() }
        }
        try push()
        context.counters.add(passed: batch.rowCount)
    }

    private func append(_ batch: RecordBatch) {
        switch config.format {
        case .ndjson:
            let rows = json ?? JSONRows(batch.schema, key: key)
            json = rows
            rows.write(batch, into: &text)
        case .csv:
            if csv == nil {
                let rows = CSVRows(batch.schema, key: key)
                rows.writeHeader(into: &text)
                csv = rows
            }
            csv?.write(batch, into: &text)
        case .table:
            let rows = table ?? TableRows(batch.schema, key: key)
            table = rows
            rows.write(batch, into: &text)
        }
    }

    public func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {}

    private func push() throws(OperatorError) {
        guard !text.isEmpty else { return }
        let failure = StdoutSink.turn.withLock { _ in text.withUnsafeBytes { writeAll($0) } }
        text.removeAll()
        if let failure { throw failure }
    }

    private func writeAll(_ bytes: UnsafeRawBufferPointer) -> OperatorError? {
        guard let start = bytes.baseAddress else { return nil }
        var done = 0
        while done < bytes.count {
            let written = Glibc.write(descriptor, start + done, bytes.count - done)
            if written >= 0 {
                done += written
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&ready, 1, -1)
            case EPIPE:
                return OperatorError(
                    .external, .never, "output_closed",
                    "nobody reads the standard output any more; the rows since the last checkpoint are printed again by "
                        + "the next run")
            default:
                return OperatorError(
                    .external, .never, "output_failed",
                    "cannot write to the standard output: \(String(cString: strerror(errno)))")
            }
        }
        return nil
    }
}
