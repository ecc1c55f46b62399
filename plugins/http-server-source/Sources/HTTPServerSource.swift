import DataflowColumnar
public import DataflowConfig
public import DataflowOperator
import Glibc
import Logging

/// Takes rows by HTTP: a request is answered with 202 when its rows are on the disk.
///
/// The server is a thread of its own (``WebhookServer``); accepted requests stand in a log (``RequestLog``) below the
/// checkpoint directory, from which this class reads. Its state is the next position in the log; files that a completed
/// checkpoint covers are removed. So each acknowledged row comes through exactly once, whenever the process is killed.
public final class HTTPServerSource: Source {
    public static let info = OperatorInfo(
        "http-server-source", .source, "Takes rows by HTTP POST; an accepted one is on the disk.", maxParallelism: 1,
        blocks: true)

    private static let tableName = "position"
    private static let stateSchema = Schema([
        Field("split", .string, nullable: false), Field("position", .int64, nullable: false),
    ])

    public static func outputs(_ config: HTTPServerSourceConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [Stream(RequestRows.schema)]
    }

    private let config: HTTPServerSourceConfig
    private let context: OperatorContext
    private var rows: RequestRows
    private var log: RequestLog?
    private var reader: LogReader?
    private var server: Int32?
    /// The port that it listens on, once it does.
    public private(set) var port: UInt16?
    private var position: Int64 = 0
    /// Positions of checkpoints that are not known to be complete, oldest first.
    private var snapshots: [(id: CheckpointID, position: Int64)] = []
    /// Position of the last complete checkpoint: what is before it may go when the next one is complete, so that the one before
    /// the last can be restored as well.
    private var lastComplete: Int64?
    private var isAnnounced = false
    private var isIdle = false

    public init(_ config: HTTPServerSourceConfig, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
        rows = RequestRows(used: context.usedColumns)
    }

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        let restored = try state.batches(HTTPServerSource.tableName, HTTPServerSource.stateSchema)
            .compactMap { $0["position"]?.int64Values?[0] }.max()
        guard let address = ListenAddress(config.listen) else {
            throw OperatorError(.user, .never, "bad_address", "`listen: \(config.listen)` is no address with a port")
        }
        // First the port: a second process that is started by mistake shall not touch the log.
        let (listener, port) = try address.listen()
        do throws(OperatorError) {
            let log = try RequestLog.open(context.stateDirectory, from: restored) { context.logger.warning("\($0)") }
            position = restored ?? log.start
            self.log = log
            reader = LogReader(log)
            server = try WebhookServer.start(settings, log, listener: listener)
        } catch {
            if log == nil { Glibc.close(listener) }
            throw error
        }
        self.port = port
        context.logger.info("listening on http://\(address.isIPv6 ? "[\(address.host)]" : address.host):\(port)")
    }

    private var settings: WebhookServer.Settings {
        WebhookServer.Settings(
            paths: config.path.elements, format: config.format, bearer: config.auth?.bearer,
            bufferByteCount: config.buffer.bytes, maxBodyByteCount: config.maxBody.bytes,
            maxConnections: config.maxConnections, requestTimeout: config.requestTimeout, keepAlive: config.keepAlive,
            keepsHeaders: context.usedColumns.contains("headers"),
            segmentByteCount: max(1 << 20, min(64 << 20, config.buffer.bytes / 8)), clock: context.clock,
            logger: context.logger)
    }

    /// Waits for requests until the deadline. A request's rows are emitted together.
    public func poll(
        until deadline: ContinuousClock.Instant, into output: inout OutputBuffer
    ) async throws(OperatorError) -> PollResult {
        guard let log, let reader else {
            throw OperatorError(.engine, .never, "not_open", "http-server-source was polled before it was opened")
        }
        if !isAnnounced {
            output.emit(.assigned([0]))
            isAnnounced = true
        }
        guard try log.wait(behind: position, until: deadline) > position,
            let chunk = try reader.read(from: position, limit: output.rowLimit ?? .max), let last = chunk.records.last
        else {
            if !isIdle { output.emit(.idle(0)) }
            isIdle = true
            return .idle
        }
        isIdle = false
        let count = rows.emit(chunk, limit: output.rowLimit, into: &output)
        context.counters.add(passed: count.rows)
        position =
            chunk.position
            + Int64(count.records == chunk.records.count ? last.end : chunk.records[count.records - 1].end)
        return .emitted
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        snapshots.append((checkpoint, position))
        let row: [Value] = ["requests", .int(position)]
        return [
            StateTable(
                HTTPServerSource.tableName, distribution: .split(column: 0),
                [RecordBatch(HTTPServerSource.stateSchema, rows: [row])])
        ]
    }

    public func checkpointCompleted(_ checkpoint: CheckpointID) async throws(OperatorError) {
        guard let index = snapshots.lastIndex(where: { $0.id <= checkpoint }) else { return }
        let covered = snapshots[index].position
        snapshots.removeFirst(index + 1)
        log?.release(covered, removable: lastComplete ?? 0)
        lastComplete = covered
    }

    public func close() async {
        if let server, let log { WebhookServer.stop(server, log) }
        server = nil
        reader = nil
        log = nil
    }
}

/// `http-server-source`.
public enum HTTPServerSourcePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.source(HTTPServerSource.self)]
}
