public import DataflowOperator

/// Makes rows from a seed: for tests, demonstrations and benchmarks.
///
/// Row i has the same values whatever the parallelism. The rows are dealt out in blocks of 8,192 to 128 splits, the
/// splits to the subtasks; a checkpoint keeps each split's next block and the rows taken of it, so a restart goes on
/// exactly there at any parallelism.
public final class GenerateSource: Source {
    public typealias Config = GenerateSourceConfig

    public static let info = OperatorInfo("generate-source", .source, "Makes rows from a seed, at a rate.")

    private static let splitCount = 128
    private static let blockRows = Int64(RecordBatch.defaultRowCount)
    private static let stateSchema = Schema([
        Field("split", .string, nullable: false), Field("next_row", .int64, nullable: false),
    ])

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        let schema = Schema(
            config.columns.map { entry in
                Field(
                    entry.key, ValueGenerator(kindOnly(entry.value), seed: 0).type, nullable: entry.value.nulls > 0)
            })
        if let column = config.eventTime?.column {
            guard let field = schema[column.value] else {
                throw ConfigError(
                    "unknown-column", "there is no column `\(column.value)` to take event time from", at: column.mark)
            }
            guard field.type == .timestamp, !field.nullable else {
                throw ConfigError(
                    "event-time",
                    "event time needs a timestamp column without nulls, `\(column.value)` is \(field.type)",
                    at: column.mark)
            }
        }
        return [Stream(schema, eventTime: config.eventTime?.column.value)]
    }

    /// The same kind of generator without its tables: enough to know the type.
    private static func kindOnly(_ config: GeneratorConfig) -> GeneratorConfig {
        var copy = config
        copy.zipf?.keys = 1
        return copy
    }

    private let context: OperatorContext
    private let schema: Schema
    private let generators: [ValueGenerator]
    private let count: Int64
    private let interval: Duration?
    /// Rows that make up a batch of the usual size, so that memory does not depend on how long the texts are.
    private let batchRows: Int64
    /// The next row of each split of this subtask: block b belongs to split b % 128.
    private var nextRow: [Int: Int64] = [:]
    private var started: ContinuousClock.Instant?
    private var emitted: Int64 = 0
    /// All rows of a subtask are one sequence in time.
    private var watermarks: SplitWatermarks?
    private let timeColumn: Int?

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.context = context
        schema = context.outputs.first?.schema ?? Schema([])
        generators = config.columns.entries.enumerated().map { index, entry in
            ValueGenerator(entry.value, seed: RowHash.hash(UInt64(bitPattern: Int64(config.seed))) &+ UInt64(index))
        }
        count = config.count.map(Int64.init) ?? .max
        let rowBytes = generators.reduce(0) { $0 + $1.valueByteCount }
        batchRows = Int64(max(1, RecordBatch.defaultByteCount / max(1, rowBytes)))
        // A rate above one row an attosecond is none.
        interval = config.rate.map { $0.interval * context.parallelism }.flatMap { $0 > .zero ? $0 : nil }
        timeColumn = config.eventTime.flatMap { [schema] in schema.index(of: $0.column.value) }
        watermarks = config.eventTime.map {
            SplitWatermarks(outOfOrderness: $0.outOfOrderness, idleTimeout: $0.idleTimeout)
        }
    }

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        for split in 0..<GenerateSource.splitCount where split % context.parallelism == context.subtask {
            nextRow[split] = Int64(split) * GenerateSource.blockRows
        }
        for batch in state["splits"]?.batches ?? [] {
            for row in batch.rows {
                guard case .string(let name) = row[0], let split = Int(name), case .int(let next) = row[1] else {
                    continue
                }
                if nextRow[split] != nil { nextRow[split] = next }
            }
        }
        for batch in state["watermark"]?.batches ?? [] {
            for row in batch.rows {
                if case .int(let latest) = row[0] { watermarks?.restore(split: splitNumber, latest: latest) }
            }
        }
        watermarks?.apply(.assigned([splitNumber]), now: context.clock.now)
    }

    private var splitNumber: Int32 { Int32(truncatingIfNeeded: context.subtask) }

    public func poll(
        until deadline: ContinuousClock.Instant, into output: inout OutputBuffer
    ) async throws(OperatorError) -> PollResult {
        // The split that lies furthest behind, so that rows come nearly in order.
        guard let (split, row) = nextRow.min(by: { ($0.value, $0.key) < ($1.value, $1.key) }), row < count else {
            return .endOfInput
        }
        let blockEnd = min((row / GenerateSource.blockRows + 1) * GenerateSource.blockRows, count)
        var wanted = min(blockEnd - row, batchRows, output.rowLimit.map(Int64.init) ?? .max)
        if let interval {
            let allowed = try await allowance(interval, until: deadline)
            if allowed == 0 { return .idle }
            wanted = min(wanted, allowed)
        }
        let rows = row..<row + wanted
        let columns = schema.fields.indices.map { index in
            context.usedColumns.contains(schema.fields[index].name) || index == timeColumn
                ? generators[index].column(rows) : .nulls(schema.fields[index].type, count: rows.count)
        }
        let marks = timeColumn.flatMap { columns[$0].int64Values }.flatMap {
            watermarks?.observe($0, split: splitNumber)
        }
        output.emit(
            RecordBatch(schema, columns, rowCount: rows.count, splitWatermark: marks, split: splitNumber))
        if let watermark = watermarks?.next() { output.emit(watermark) }
        context.counters.add(passed: rows.count)
        emitted += wanted
        let isBlockDone = rows.upperBound % GenerateSource.blockRows == 0
        nextRow[split] =
            isBlockDone
            ? rows.upperBound + Int64(GenerateSource.splitCount - 1) * GenerateSource.blockRows : rows.upperBound
        return .emitted
    }

    /// How many rows the rate allows now, waiting up to the deadline for the first; 0 when it allows none by then.
    private func allowance(_ interval: Duration, until deadline: ContinuousClock.Instant) async throws(OperatorError)
        -> Int64
    {
        let now = context.clock.now
        let start = started ?? now
        started = start
        let due = start.advanced(by: interval * Int(emitted))
        if due > now {
            guard due <= deadline else {
                try? await Task.sleep(until: deadline, clock: .continuous)
                return 0
            }
            try? await Task.sleep(until: due, clock: .continuous)
        }
        // At most a tenth of a second's rows at once, so that a pause does not become a flood.
        let behind = Double(max(1, (start.duration(to: context.clock.now) / interval))) - Double(emitted)
        let burst = max(1, Duration.milliseconds(100) / interval)
        if behind > burst {
            started = context.clock.now.advanced(by: interval * -Int(emitted + Int64(burst)))
            return Int64(burst)
        }
        return Int64(max(1, behind))
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        let rows: [[Value]] = nextRow.sorted { $0.key < $1.key }.map { [.string(String($0.key)), .int($0.value)] }
        let latest = watermarks?.latest.map { [Value.int($0.time)] } ?? []
        return [
            StateTable(
                "splits", distribution: .split(column: 0), [RecordBatch(GenerateSource.stateSchema, rows: rows)]),
            StateTable(
                "watermark", distribution: .subtask,
                [RecordBatch(Schema([Field("latest", .int64, nullable: false)]), rows: latest)]),
        ]
    }
}

/// `generate-source`.
public enum GenerateSourcePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.source(GenerateSource.self)]
}
