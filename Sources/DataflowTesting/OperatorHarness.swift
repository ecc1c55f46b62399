import DataflowOperator

/// Drives one transform by hand, synchronously, as a task would: `.more` is followed by `resume`, a local stage runs in
/// front of its node, and every emitted batch is compared with the schema that `outputs` promised.
///
///     let harness = try OperatorHarness(Select.self, config, input: Stream(schema))
///     try harness.process(batch)
///     #expect(harness.output.rows() == [[1, "a"]])
///     let restored = try OperatorHarness(Select.self, config, input: Stream(schema), restoring: harness.checkpoint())
public final class OperatorHarness<T: Transform> {
    public let config: T.Config
    public let context: OperatorContext
    public let clock: ManualClock
    /// What `T.outputs` promised: the main stream, then the extra ports.
    public let outputs: [Stream]
    /// What was emitted since the start or the last ``take()``.
    public private(set) var output = Emitted()
    /// Rows given to `process`, of all inputs.
    public private(set) var rowsIn = 0

    /// The operator itself, for what only it can tell.
    public let transform: T
    private let localStage: (stage: any Transform, tick: TickRequest, counters: OperatorCounters)?
    private var nextCheckpoint: UInt64 = 1
    /// What a snapshot under way has given so far.
    private var parts: StateSnapshot = []
    private var histories: [String: IncrementHistory] = [:]

    /// Checks the configuration, builds and opens the operator.
    ///
    /// - Throws: `ConfigError` as `validate` would, or the operator's own error.
    public init(
        _ type: T.Type = T.self, _ config: T.Config, inputs: [Stream], restoring state: StateSnapshot = [],
        subtask: Int = 0, parallelism: Int = 1, usedColumns: ColumnSet = .all, clock: ManualClock = ManualClock(),
        node: String = "node", memory: MemoryBudget? = nil
    ) throws {
        self.config = config
        self.clock = clock
        outputs = try T.outputs(config, inputs: inputs)
        let stage = try T.localStage(config, inputs: inputs)
        context = .testing(
            node: node, subtask: subtask, parallelism: parallelism, inputs: stage.map { [$0.output] } ?? inputs,
            outputs: outputs, usedColumns: usedColumns, clock: clock, memory: memory)
        if let stage {
            let own = OperatorContext.testing(
                node: node, subtask: subtask, parallelism: parallelism, inputs: inputs, outputs: [stage.output],
                clock: clock)
            let made = try stage.make(own)
            try made.open(restoring: [])
            localStage = (made, own.tick, own.counters)
        } else {
            localStage = nil
        }
        transform = try T(config, context)
        try transform.open(restoring: state)
    }

    /// The same for an operator with one input.
    public convenience init(
        _ type: T.Type = T.self, _ config: T.Config, input: Stream, restoring state: StateSnapshot = [],
        subtask: Int = 0, parallelism: Int = 1, usedColumns: ColumnSet = .all, clock: ManualClock = ManualClock(),
        node: String = "node", memory: MemoryBudget? = nil
    ) throws {
        try self.init(
            type, config, inputs: [input], restoring: state, subtask: subtask, parallelism: parallelism,
            usedColumns: usedColumns, clock: clock, node: node, memory: memory)
    }

    // MARK: driving

    public func process(_ batch: RecordBatch, from port: InputPort = .main) throws {
        rowsIn += batch.rowCount
        guard let localStage else {
            try run { buffer in try self.transform.process(batch, from: port, into: &buffer) }
            return
        }
        try runStage(localStage.stage) { buffer in try localStage.stage.process(batch, from: port, into: &buffer) }
    }

    /// Boxed rows in the schema of the input.
    public func process(_ rows: [[Value]], schema: Schema, from port: InputPort = .main) throws {
        try process(RecordBatch(schema, rows: rows), from: port)
    }

    /// Has the operator put its state on disk, as the runtime does where the memory budget is exceeded.
    public func spill() throws { try transform.spill() }

    public func advance(to watermark: Watermark) throws {
        if let stage = localStage?.stage {
            try runStage(stage) { buffer in try stage.advance(to: watermark, into: &buffer) }
        } else {
            try run { buffer in try self.transform.advance(to: watermark, into: &buffer) }
        }
    }

    public func split(_ event: SplitEvent) throws {
        if let stage = localStage?.stage {
            try runStage(stage) { buffer in try stage.split(event, into: &buffer) }
        } else {
            try run { buffer in try self.transform.split(event, into: &buffer) }
        }
    }

    /// Moves the clock on and gives the ticks that were asked for until then.
    public func advanceClock(by duration: Duration) throws {
        clock.advance(by: duration)
        let now = clock.now
        if let (stage, tick, _) = localStage, tick.takeDue(now) {
            try runStage(stage) { buffer in try stage.tick(now, into: &buffer) }
        }
        if context.tick.takeDue(now) { try run { buffer in try self.transform.tick(now, into: &buffer) } }
    }

    /// `prepareSnapshot`, then the whole snapshot; the state as a restart would read it.
    public func checkpoint() throws -> StateSnapshot {
        try beginCheckpoint()
        return try finishCheckpoint()
    }

    /// `prepareSnapshot`, then `snapshot`, as at a barrier. What comes before ``finishCheckpoint()`` is not in it.
    public func beginCheckpoint() throws {
        let id = CheckpointID(nextCheckpoint)
        nextCheckpoint += 1
        if let stage = localStage?.stage {
            try runStage(stage) { buffer in try stage.prepareSnapshot(id, into: &buffer) }
        }
        try run { buffer in try self.transform.prepareSnapshot(id, into: &buffer) }
        parts = try transform.snapshot(id)
    }

    /// Lets the operator read a part of the snapshot that ``beginCheckpoint()`` has begun, as the runtime does between batches.
    ///
    /// - Returns: whether there is more.
    @discardableResult
    public func continueCheckpoint() throws -> Bool {
        try transform.continueSnapshot(until: .now, into: &parts) == .more
    }

    /// `continueSnapshot` to the end; the state of ``beginCheckpoint()`` as a restart would read it.
    public func finishCheckpoint() throws -> StateSnapshot {
        while try continueCheckpoint() {}
        var tables: StateSnapshot = []
        for table in parts where !tables.contains(where: { $0.name == table.name }) {
            var whole = table
            if table.increment != nil {
                let all = parts.filter { $0.name == table.name }
                whole.batches = try histories[table.name, default: IncrementHistory()].add(all)
                whole.increment = nil
            }
            tables.append(whole)
        }
        parts = []
        return try tables.throughCheckpoint()
    }

    /// The end of all inputs, behind the last watermark if event time flows.
    public func finish(lastWatermark: Bool = true) throws {
        if lastWatermark { try advance(to: .end) }
        if let stage = localStage?.stage { try runStage(stage) { buffer in try stage.finish(into: &buffer) } }
        try run { buffer in try self.transform.finish(into: &buffer) }
    }

    /// What was emitted since the last call.
    public func take() -> Emitted {
        defer { output = Emitted() }
        return output
    }

    /// Whether every row that came in was counted exactly once as passed, filtered, aggregated, late or error.
    public var accountsForEveryRow: Bool { (localStage?.counters ?? context.counters).total == rowsIn }

    // MARK: inside

    private func run(_ call: (inout OutputBuffer) throws -> Progress) throws {
        var buffer = OutputBuffer()
        var progress = try call(&buffer)
        collect(buffer.drain())
        while progress == .more {
            progress = try transform.resume(into: &buffer)
            collect(buffer.drain())
        }
    }

    private func runStage(_ stage: any Transform, _ call: (inout OutputBuffer) throws -> Progress) throws {
        var buffer = OutputBuffer()
        var progress = try call(&buffer)
        while true {
            for element in buffer.drain() {
                switch element {
                // The ports of a local stage besides the main one are the node's own.
                case .batch(let batch, let port) where port != .main: collect([.batch(batch, port)])
                case .batch(let batch, _):
                    try run { inner in try self.transform.process(batch, from: .main, into: &inner) }
                case .watermark(let watermark):
                    try run { inner in try self.transform.advance(to: watermark, into: &inner) }
                case .split(let event): try run { inner in try self.transform.split(event, into: &inner) }
                }
            }
            guard progress == .more else { return }
            progress = try stage.resume(into: &buffer)
        }
    }

    private func collect(_ elements: [OutputBuffer.Element]) {
        for case .batch(let batch, let port) in elements {
            let promised = port == .errors ? ErrorRows.schema : outputs[port.index].schema
            precondition(
                batch.schema == promised,
                "\(T.info.name) emitted \(batch.schema) where outputs(_:inputs:) says \(promised)")
        }
        output.append(elements)
    }
}
