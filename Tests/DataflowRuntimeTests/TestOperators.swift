import DataflowColumnar
import DataflowConfig
import DataflowOperator
import Glibc

struct KeyCountConfig: OperatorConfig {
    var key = "key"
    /// Emit `.more` after each of this many rows of output.
    var step = 0
    /// What a count means; changes nothing but that.
    var meaning = "rows"
    init() {}
    init(key: String, step: Int = 0) {
        self.key = key
        self.step = step
    }
    static let schema = ConfigSchema<Self> {
        ConfigField("key", \.key, "Column to count by.")
        ConfigField("step", \.step, "Rows of output a call.")
        ConfigField("meaning", \.meaning, .definesState, "What is counted.")
    }
}

/// Counts rows by a text column: an upsert stream whose changes leave before each barrier and at the end.
final class KeyCount: Transform {
    typealias Config = KeyCountConfig
    static let info = OperatorInfo("key-count", .transform, "Counts by key.")
    static var isStateful: Bool { true }
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [Stream(schema, kind: .upsert(key: ["key"]))]
    }
    static func partitioning(_ config: Config, inputs: [Stream]) throws(ConfigError) -> Partitioning {
        .hash([config.key])
    }
    static let schema = Schema([Field("key", .string, nullable: false), Field("count", .int64, nullable: false)])
    static let stateSchema = Schema([
        Field("group", .int32, nullable: false), Field("key", .string, nullable: false),
        Field("count", .int64, nullable: false),
    ])

    private let config: Config
    private let context: OperatorContext
    private var counts: [String: (number: Int32, group: Int32, count: Int64)] = [:]
    private var keys: [String] = []
    private let table = IncrementalTable("counts", distribution: .keyGroup(column: 0), KeyCount.stateSchema)
    private var changed: Set<String> = []
    private var pending: [String] = []

    init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
    }

    func open(restoring state: StateSnapshot) throws(OperatorError) {
        for row in state["counts"]?.batches.flatMap(\.rows) ?? [] {
            guard case .int(let group) = row[0], case .string(let key) = row[1], case .int(let count) = row[2] else {
                throw OperatorError(.engine, .never, "bad_state", "the state is not that of key-count")
            }
            let owner = KeyGroup.subtask(of: Int32(group), parallelism: context.parallelism)
            precondition(owner == context.subtask, "subtask \(context.subtask) was given a key of \(owner)")
            precondition(counts[key] == nil, "\(key) was given twice")
            table.willChange(number(of: key, Int32(group)), rows)
            counts[key]?.count = count
        }
    }

    private func number(of key: String, _ group: Int32) -> Int32 {
        if let known = counts[key] { return known.number }
        let number = Int32(keys.count)
        counts[key] = (number, group, 0)
        keys.append(key)
        return number
    }

    private func rows(_ numbers: UnsafeBufferPointer<Int32>) -> RecordBatch {
        RecordBatch(
            Self.stateSchema,
            rows: numbers.map { number in
                let key = keys[Int(number)]
                let entry = counts[key] ?? (0, 0, 0)
                return [.int(Int64(entry.group)), .string(key), .int(entry.count)]
            })
    }

    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress
    {
        guard let column = batch[config.key] else { preconditionFailure("no column \(config.key)") }
        let hashes = RowHash.hashes([column], count: batch.rowCount)
        for row in 0..<batch.rowCount {
            guard case .string(let key) = column.value(at: row) else { continue }
            let group = KeyGroup.of(hash: hashes[row])
            precondition(
                KeyGroup.subtask(of: group, parallelism: context.parallelism) == context.subtask,
                "a row of another subtask")
            table.willChange(number(of: key, group), rows)
            counts[key]?.count += 1
            changed.insert(key)
        }
        context.counters.add(aggregated: batch.rowCount)
        return .done
    }

    func prepareSnapshot(_ checkpoint: CheckpointID, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        emitChanges(&output)
    }

    func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress { emitChanges(&output) }

    func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress { emitPending(&output) }

    private func emitChanges(_ output: inout OutputBuffer) -> Progress {
        pending = changed.sorted()
        changed = []
        return emitPending(&output)
    }

    private func emitPending(_ output: inout OutputBuffer) -> Progress {
        let part = config.step > 0 ? Array(pending.prefix(config.step)) : pending
        pending.removeFirst(part.count)
        let rows = part.map { [Value.string($0), .int(counts[$0]?.count ?? 0)] }
        output.emit(RecordBatch(Self.schema, rows: rows))
        return pending.isEmpty ? .done : .more
    }

    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { [table.snapshot(rows)] }

    func continueSnapshot(
        until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot
    ) throws(OperatorError) -> Progress { table.proceed(until: deadline, into: &snapshot, rows) }
}

/// Passes rows on and keeps all of them as state, by number.
final class Remember: Transform {
    struct Config: OperatorConfig {
        static let schema = ConfigSchema<Self> {}
    }
    static let info = OperatorInfo("remember", .transform, "Passes rows on and keeps them.")
    static var isStateful: Bool { true }
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] { inputs }
    static func partitioning(_ config: Config, inputs: [Stream]) throws(ConfigError) -> Partitioning { .single }

    private let context: OperatorContext
    private var values: [Value] = []
    private let table: IncrementalTable
    init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.context = context
        let input = context.inputs[0].schema.fields[0]
        table = IncrementalTable("values", distribution: .subtask, Schema([input]))
    }

    func open(restoring state: StateSnapshot) throws(OperatorError) {
        for batch in try state.batches("values", table.schema) { take(batch) }
    }

    private func rows(_ numbers: UnsafeBufferPointer<Int32>) -> RecordBatch {
        RecordBatch(table.schema, rows: numbers.map { [values[Int($0)]] })
    }

    private func take(_ batch: RecordBatch) {
        let numbers = (0..<batch.rowCount).map { Int32(values.count + $0) }
        table.willChange(numbers, rows)
        values += (0..<batch.rowCount).map { batch.columns[0].value(at: $0) }
    }

    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress
    {
        take(batch)
        output.emit(batch)
        context.counters.add(passed: batch.rowCount)
        return .done
    }

    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { [table.snapshot(rows)] }

    func continueSnapshot(
        until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot
    ) throws(OperatorError) -> Progress { table.proceed(until: deadline, into: &snapshot, rows) }
}

struct PassConfig: OperatorConfig {
    /// A value of the first column that goes to the errors port.
    var refused: String?
    var hasLatePort = false
    init() {}
    init(refused: String? = nil) { self.refused = refused }
    static let schema = ConfigSchema<Self> {}
}

/// Passes everything on; rows whose first column is `refused` go to the errors port, a batch of `late` rows to `late`.
final class Pass: Transform {
    typealias Config = PassConfig
    static let info = OperatorInfo("pass", .transform, "Passes rows on.", extraPorts: ["late"])
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] { [inputs[0], inputs[0]] }

    private let config: Config
    private let context: OperatorContext

    init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
    }

    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress
    {
        guard let refused = config.refused else {
            output.emit(batch)
            context.counters.add(passed: batch.rowCount)
            return .done
        }
        let isRefused = Bitmap(count: batch.rowCount) { batch.columns[0].value(at: $0) == .string(refused) }
        let isLate = Bitmap(count: batch.rowCount) { batch.columns[0].value(at: $0) == .string("late") }
        let passed = batch.filter(~(isRefused | isLate))
        output.emit(passed)
        output.emit(batch.filter(isLate), to: OutputPort(index: 1))
        var errors = ErrorRows(context)
        for _ in 0..<isRefused.setCount { errors.append(code: "refused", reason: "it is \(refused)") }
        output.emit(errors.finish(), to: .errors)
        context.counters.add(passed: passed.rowCount, late: isLate.setCount, errors: isRefused.setCount)
        return .done
    }
}

/// Takes rows and refuses all of them when it flushes.
final class RefusingSink: Sink {
    struct Config: OperatorConfig {
        static let schema = ConfigSchema<Self> {}
    }
    static let info = OperatorInfo("refusing-sink", .sink, "Refuses every row.", maxParallelism: 1)
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] { [] }

    private let context: OperatorContext
    private var held = 0

    init(_ config: Config, _ context: OperatorContext) throws(OperatorError) { self.context = context }

    func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) { held += batch.rowCount }

    func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {
        guard held > 0 else { return }
        var rows = ErrorRows(context)
        for _ in 0..<held { rows.append(code: "refused", reason: "the sink takes nothing") }
        held = 0
        errors.emit(rows.finish(), to: .errors)
    }
}

let keySchema = Schema([Field("key", .string)])

func keys(_ keys: String...) -> RecordBatch { RecordBatch(keySchema, rows: keys.map { [.string($0)] }) }

/// Set to print figures: `DATAFLOW_MEASURE=1 swift test -c release`.
let isMeasuring = getenv("DATAFLOW_MEASURE") != nil
/// Long runs: `DATAFLOW_SOAK=1`.
let isSoaking = getenv("DATAFLOW_SOAK") != nil
