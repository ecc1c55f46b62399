public import DataflowOperator

/// Makes rows from a seed: for tests, demonstrations and benchmarks.
///
/// Row i has the same values whatever the parallelism, `due` apart. The rows are dealt out in blocks to splits, the splits to the
/// subtasks; a checkpoint keeps each split's next row, so a restart goes on exactly there at any parallelism.
public final class GenerateSource: Source {
    public typealias Config = GenerateSourceConfig

    public static let info = OperatorInfo("generate-source", .source, "Makes rows from a seed, at a rate.")

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        let schema =
            switch config.kind {
            case .columns:
                Schema(
                    config.columns.map { entry in
                        Field(
                            entry.key, ValueGenerator(kindOnly(entry.value), seed: 0).type,
                            nullable: entry.value.nulls > 0)
                    })
            case .nexmark: NexmarkRows.schema(config.events)
            }
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

    private enum Maker {
        case columns([ValueGenerator])
        case nexmark(NexmarkRows)
    }

    /// A split of this subtask, and how many of its rows have been emitted.
    private struct Split {
        let number: Int64
        let rowCount: Int64
        var position: Int64 = 0
    }

    private let context: OperatorContext
    private let schema: Schema
    private let maker: Maker
    private let blocks: RowBlocks
    private let interval: Duration?
    /// Rows that make up a batch of the usual size, so that memory does not depend on how long the texts are.
    private let batchRows: Int64
    private var splits: [Split] = []
    /// When the first row was due, so that the rate is kept, by both clocks.
    private var started: (instant: ContinuousClock.Instant, wall: Int64)?
    private var emitted: Int64 = 0
    private var watermarks: SplitWatermarks?
    private let timeColumn: Int?

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.context = context
        schema = context.outputs.first?.schema ?? Schema([])
        let rowBytes: Int
        var interval = config.rate?.interval
        switch config.kind {
        case .columns:
            let generators = config.columns.entries.enumerated().map { index, entry in
                ValueGenerator(entry.value, seed: RowHash.hash(UInt64(bitPattern: Int64(config.seed))) &+ UInt64(index))
            }
            maker = .columns(generators)
            blocks = RowBlocks(
                size: Int64(RecordBatch.defaultRowCount), splits: 128,
                rowCount: config.count.map { min(Int64($0), 1 << 55) } ?? 1 << 55)
            rowBytes = generators.reduce(0) { $0 + $1.valueByteCount }
        case .nexmark:
            let rows = NexmarkRows(config)
            maker = .nexmark(rows)
            blocks = rows.blocks
            rowBytes = rows.rowByteCount
            interval = config.rate.map(rows.interval)
        }
        batchRows = min(
            Int64(RecordBatch.defaultRowCount), Int64(max(1, RecordBatch.defaultByteCount / max(1, rowBytes))))
        // A rate above one row an attosecond is none.
        let workers = min(Int64(context.parallelism), blocks.splits)
        self.interval = interval.map { $0 * workers }.flatMap { $0 > .zero ? $0 : nil }
        timeColumn = config.eventTime.flatMap { [schema] in schema.index(of: $0.column.value) }
        watermarks = config.eventTime.map {
            SplitWatermarks(outOfOrderness: $0.outOfOrderness, idleTimeout: $0.idleTimeout)
        }
    }

    // MARK: state

    private static let latestSchema = Schema([
        Field("split", .string, nullable: false), Field("latest", .int64, nullable: false),
    ])

    /// The next row of each split. The name of what is counted stands in it: rows of another kind have other numbers.
    private var stateSchema: Schema {
        let name =
            switch maker {
            case .columns: "next_row"
            case .nexmark(let rows): "next_\(rows.events.rawValue)"
            }
        return Schema([Field("split", .string, nullable: false), Field(name, .int64, nullable: false)])
    }

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        for number in 0..<Int(blocks.splits) where number % context.parallelism == context.subtask {
            splits.append(Split(number: Int64(number), rowCount: blocks.rowCount(of: Int64(number))))
        }
        var restored = 0
        for batch in try state.batches("splits", stateSchema) {
            for row in batch.rows {
                guard case .string(let name) = row[0], let number = Int64(name), case .int(let next) = row[1] else {
                    continue
                }
                guard number < blocks.splits, blocks.split(of: next) == number else { throw mismatch }
                restored += 1
                if let i = splits.firstIndex(where: { $0.number == number }) {
                    splits[i].position = blocks.position(of: next)
                }
            }
        }
        guard restored == 0 || restored == Int(blocks.splits) else { throw mismatch }
        restoreWatermarks(state)
        // A split without rows has ended before it began.
        let open = splits.filter { $0.position < $0.rowCount }.map { sequenceNumber($0.number) }
        watermarks?.apply(.assigned(Array(Set(open))), now: context.clock.now)
    }

    /// Each sequence goes on from the least of what its splits had come to: they may have been parts of different ones.
    private func restoreWatermarks(_ state: StateSnapshot) {
        var found: [Int64: Int64] = [:]
        for batch in state["watermarks"]?.batches ?? [] {
            for row in batch.rows {
                guard case .string(let name) = row[0], let number = Int64(name), case .int(let latest) = row[1] else {
                    continue
                }
                found[number] = latest
            }
        }
        for (sequence, splits) in Dictionary(grouping: splits, by: { sequenceNumber($0.number) }) {
            let latest = splits.map { found[$0.number] ?? .min }.min() ?? .min
            if latest > .min { watermarks?.restore(split: sequence, latest: latest) }
        }
    }

    private var mismatch: OperatorError {
        OperatorError(
            .user, .never, "state_mismatch",
            "the checkpoint was taken with another number of `splits`, expected \(blocks.splits); give the node another name or start with --restore none"
        )
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        let rows: [[Value]] = splits.map { split in
            [.string(String(split.number)), .int(blocks.row(at: split.position, of: split.number))]
        }
        let latest = Dictionary(uniqueKeysWithValues: watermarks?.latest.map { ($0.split, $0.time) } ?? [])
        let times: [[Value]] = splits.compactMap { split in
            latest[sequenceNumber(split.number)].map { [.string(String(split.number)), .int($0)] }
        }
        return [
            StateTable("splits", distribution: .split(column: 0), [RecordBatch(stateSchema, rows: rows)]),
            StateTable("watermarks", distribution: .split(column: 0), [RecordBatch(Self.latestSchema, rows: times)]),
        ]
    }

    // MARK: rows

    /// What the rows of a split are one sequence with: of `columns` all rows of the subtask, of `nexmark` those of the
    /// split.
    private func sequenceNumber(_ split: Int64) -> Int32 {
        switch maker {
        case .columns: Int32(truncatingIfNeeded: context.subtask)
        case .nexmark: Int32(truncatingIfNeeded: split)
        }
    }

    /// The split whose next row comes first of all, so that rows come nearly in order; nil when there are no more.
    private var furthestBehind: Int? {
        var found: (index: Int, row: Int64)?
        for (i, split) in splits.enumerated() where split.position < split.rowCount {
            let row = blocks.row(at: split.position, of: split.number)
            if row < found?.row ?? .max { found = (i, row) }
        }
        return found?.index
    }

    public func poll(
        until deadline: ContinuousClock.Instant, into output: inout OutputBuffer
    ) async throws(OperatorError) -> PollResult {
        guard let behind = furthestBehind else { return .endOfInput }
        let split = splits[behind]
        var wanted = min(split.rowCount - split.position, batchRows, output.rowLimit.map(Int64.init) ?? .max)
        if case .columns = maker { wanted = min(wanted, blocks.size - split.position % blocks.size) }
        if let interval {
            let allowed = try await allowance(interval, until: deadline)
            if allowed == 0 { return .idle }
            wanted = min(wanted, allowed)
        }
        let count = Int(wanted)
        let columns = columns(count, of: split)
        let sequence = sequenceNumber(split.number)
        let marks = timeColumn.flatMap { columns[$0].int64Values }.flatMap {
            watermarks?.observe($0, split: sequence)
        }
        output.emit(RecordBatch(schema, columns, rowCount: count, splitWatermark: marks, split: sequence))
        splits[behind].position += wanted
        if case .nexmark = maker, splits[behind].position == split.rowCount {
            watermarks?.apply(.ended(sequence), now: context.clock.now)
        }
        if let watermark = watermarks?.next() { output.emit(watermark) }
        context.counters.add(passed: count)
        emitted += wanted
        return .emitted
    }

    private func columns(_ count: Int, of split: Split) -> [Column] {
        let isUsed = { [context, schema, timeColumn] name in
            context.usedColumns.contains(name) || timeColumn.map { schema.fields[$0].name } == name
        }
        switch maker {
        case .columns(let generators):
            let first = blocks.row(at: split.position, of: split.number)
            let due = dueTimes
            return schema.fields.indices.map { index in
                isUsed(schema.fields[index].name)
                    ? generators[index].column(first..<first + Int64(count), due: due)
                    : .nulls(schema.fields[index].type, count: count)
            }
        case .nexmark(let rows):
            return rows.columns(count, from: split.position, of: split.number, where: isUsed)
        }
    }

    /// When the next rows are due by the rate; without one now.
    private var dueTimes: DueTimes {
        guard let interval, let started else { return DueTimes(first: context.clock.wallMicroseconds, step: 0) }
        return DueTimes(
            first: started.wall &+ (interval * Int(emitted)).nanoseconds / 1000, step: interval / .microseconds(1))
    }

    /// How many rows the rate allows now, waiting up to the deadline for the first; 0 when it allows none by then.
    private func allowance(_ interval: Duration, until deadline: ContinuousClock.Instant) async throws(OperatorError)
        -> Int64
    {
        let now = context.clock.now
        let start = started?.instant ?? now
        if started == nil { started = (now, context.clock.wallMicroseconds) }
        let due = start.advanced(by: interval * Int(emitted))
        if due > now {
            guard due <= deadline else {
                try? await Task.sleep(until: deadline, clock: .continuous)
                return 0
            }
            // A millisecond's rows at once: a wake-up for every few rows would cost more than the rows.
            let wake = min(deadline, max(due, now.advanced(by: .milliseconds(1))))
            try? await Task.sleep(until: wake, clock: .continuous)
        }
        // At most a tenth of a second's rows at once, so that a pause does not become a flood.
        let behind = Double(max(1, (start.duration(to: context.clock.now) / interval))) - Double(emitted)
        let burst = max(1, Duration.milliseconds(100) / interval)
        if behind > burst {
            let done = interval * Int(emitted + Int64(burst))
            started = (
                context.clock.now.advanced(by: .zero - done),
                context.clock.wallMicroseconds &- done.nanoseconds / 1000
            )
            return Int64(burst)
        }
        return Int64(max(1, behind))
    }
}

/// `generate-source`.
public enum GenerateSourcePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.source(GenerateSource.self)]
}
