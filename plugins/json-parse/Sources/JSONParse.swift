public import DataflowColumnar
public import DataflowConfig
public import DataflowOperator

/// The plugin of `json-parse`.
public enum JSONParsePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(JSONParse.self)]
}

/// `json-parse`: JSON documents to typed columns.
///
/// Documents are parsed by simdjson; the columns are built from its tape, chunk by chunk. Only columns that something
/// downstream uses are built (others are emitted as nulls); unused parts of a document cost a comparison of their key.
/// What cannot be read goes to the errors port: a whole document, or one of its rows while the others go on.
public final class JSONParse: Transform {
    public typealias Config = JSONParseConfig

    public static let info = OperatorInfo(
        "json-parse", .transform, "Parses JSON documents into typed columns and declares event time.")

    /// The rest of a batch whose output did not fit the buffer.
    private struct Pending {
        var batch: RecordBatch
        var next: Int
    }

    private let config: Config
    private let context: OperatorContext
    private let plans: [ColumnPlan]
    private let parser: RowParser
    private let position: SourcePosition
    private let outputSchema: Schema
    private let inputColumn: Int
    /// The input columns to keep; those that nothing uses are not.
    private let kept: [(index: Int, isUsed: Bool)]
    private let eventTimeColumn: Int?
    private let watermarks: WatermarkGenerator?
    private var pending: Pending?
    private var nullColumns: [Column?]
    /// What one call has refused so far.
    private var errors: ErrorRows?

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        var found = DiagnosticCollector()
        guard let input = inputs.first else {
            throw ConfigError("missing-input", "json-parse needs an input: add `from: <node>`")
        }
        if case .upsert(let key) = input.kind {
            found.append(
                Diagnostic(
                    .error, "upsert-input",
                    "json-parse reads append streams, but its input is an upsert stream keyed by "
                        + key.joined(separator: ", ")))
        }
        check(config.column, in: input.schema, &found)
        if let type = input.schema[config.column.value]?.type, type != .bytes, type != .string {
            found.append(
                Diagnostic(
                    .error, "type-mismatch",
                    "the column `\(config.column.value)` is \(type), but JSON text is bytes or string",
                    at: config.column.mark))
        }
        for name in config.keep {
            check(name, in: input.schema, &found)
            if config.columns.keys.contains(name.value) {
                found.append(
                    Diagnostic(
                        .error, "duplicate-column",
                        "the column `\(name.value)` is both kept and read from the document", at: name.mark,
                        hint: "leave it out of `keep`, or give the column of `columns` another name"))
            }
        }
        if Set(config.keep.map(\.value)).count < config.keep.count {
            found.append(
                Diagnostic(.error, "duplicate-column", "`keep` names a column twice", at: config.keep[0].mark))
        }
        if let eventTime = config.eventTime {
            check(eventTime, config, &found)
            if let twice = eventTime.alreadyDeclared(in: input) { found.append(twice) }
        }
        try found.throwErrors()
        return [
            Stream(
                schema(config, input.schema),
                eventTime: config.eventTime?.column.value
                    ?? input.eventTime.flatMap { name in config.keep.contains { $0.value == name } ? name : nil })
        ]
    }

    private static func check(_ name: Located<String>, in schema: Schema, _ found: inout DiagnosticCollector) {
        guard schema.index(of: name.value) == nil else { return }
        let nearest = Suggestion.nearest(to: name.value, among: schema.names)
        found.append(
            Diagnostic(
                .error, "unknown-column", "the input has no column `\(name.value)`", at: name.mark,
                hint: nearest.map { "did you mean `\($0)`?" }
                    ?? "its columns are \(schema.names.joined(separator: ", "))"))
    }

    private static func check(_ eventTime: EventTimeConfig, _ config: Config, _ found: inout DiagnosticCollector) {
        let name = eventTime.column
        guard let column = config.columns[name.value] else {
            let nearest = Suggestion.nearest(to: name.value, among: config.columns.keys)
            found.append(
                Diagnostic(
                    .error, "unknown-column", "`columns` has no column `\(name.value)`", at: name.mark,
                    hint: nearest.map { "did you mean `\($0)`?" }))
            return
        }
        if column.type.type != .timestamp {
            found.append(
                Diagnostic(
                    .error, "type-mismatch",
                    "event time is a timestamp, but the column `\(name.value)` is \(column.type.type)", at: name.mark,
                    hint: "write `\(name.value): timestamp`, with `unit:` if the document has numbers"))
        }
    }

    private static func schema(_ config: Config, _ input: Schema) -> Schema {
        var fields = config.columns.map { entry in
            Field(
                entry.key, entry.value.type.type,
                nullable: !entry.value.required && config.eventTime?.column.value != entry.key)
        }
        fields += config.keep.compactMap { input[$0.value] }
        return Schema(fields)
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        let kept = config.keep.map(\.value).filter { downstream.contains($0) }
        return [.some(Set([config.column.value] + kept + SourcePosition.names))]
    }

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        guard let input = context.inputs.first?.schema, let column = input.index(of: config.column.value) else {
            throw OperatorError(
                .user, .never, "unknown_column",
                "the input has no column `\(config.column.value)`, which json-parse was told to read")
        }
        self.config = config
        self.context = context
        outputSchema = JSONParse.schema(config, input)
        inputColumn = column
        eventTimeColumn = config.eventTime.flatMap { config.columns.keys.firstIndex(of: $0.column.value) }
        let eventTimeName = config.eventTime?.column.value
        plans = config.columns.map { entry in
            ColumnPlan(
                name: entry.key, type: entry.value.type.type, path: entry.value.path?.value ?? .field(entry.key),
                isRequired: entry.value.required || entry.key == eventTimeName,
                nullOnMismatch: (entry.value.onMismatch.policy ?? config.onMismatch) == .null, unit: entry.value.unit,
                isUsed: entry.key == eventTimeName || context.usedColumns.contains(entry.key))
        }
        kept = config.keep.compactMap { name in
            input.index(of: name.value).map { ($0, context.usedColumns.contains(name.value)) }
        }
        position = SourcePosition(input)
        nullColumns = [Column?](repeating: nil, count: outputSchema.fields.count)
        watermarks = config.eventTime.map { WatermarkGenerator($0, context) }
        guard
            let parser = RowParser(
                rows: config.rows.value, columns: plans, maxDocumentBytes: config.maxDocumentSize.bytes,
                maxDepth: config.maxDepth)
        else { throw JSONParse.noMemory }
        self.parser = parser
    }

    private static let noMemory = OperatorError(
        .external, .withBackoff, "no_memory",
        "there was no memory for parsing; give the process more, or lower max_document_size or the sources' batch sizes"
    )

    // MARK: - Rows

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        try run(Pending(batch: batch, next: 0), &output)
    }

    public func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        guard let pending else { return .done }
        self.pending = nil
        return try run(pending, &output)
    }

    private func run(_ work: Pending, _ output: inout OutputBuffer) throws(OperatorError) -> Progress {
        let batch = work.batch
        guard let storage = batch.columns[inputColumn].viewValues else {
            throw OperatorError(
                .engine, .never, "type_mismatch", "the column `\(config.column.value)` holds no text or bytes")
        }
        let validity = batch.columns[inputColumn].validity
        var next = work.next
        try storage.withUnsafeViews { (views) throws(OperatorError) in
            // Every buffer has readable bytes behind its end, so no text is copied.
            var bases = [storage.views.withUnsafeBufferPointer { UnsafeRawBufferPointer($0) }]
            bases += storage.buffers.map { UnsafeRawBufferPointer(start: $0.base, count: $0.byteCount) }
            while next < batch.rowCount, !output.isFull {
                let first = next
                guard let after = parser.parse(views, bases: bases, from: next, isNull: { validity?[$0] == false })
                else { throw JSONParse.noMemory }
                next = after
                context.counters.add(
                    passed: parser.passedTexts, errors: after - first - parser.passedTexts)
                if !parser.rejected.isEmpty { gatherErrors(batch) }
                if parser.rowCount >= RecordBatch.defaultRowCount { emitRows(batch, &output) }
            }
        }
        emitRows(batch, &output)
        emitErrors(&output)
        guard next < batch.rowCount else { return .done }
        pending = Pending(batch: batch, next: next)
        return .more
    }

    private func gatherErrors(_ batch: RecordBatch) {
        if errors == nil { errors = ErrorRows(context) }
        for rejected in parser.rejected {
            errors?.append(
                code: OperatorError.Code(rawValue: rejected.code), reason: rejected.reason,
                position: position.text(batch, row: rejected.text), raw: rejected.raw)
        }
    }

    private func emitErrors(_ output: inout OutputBuffer) {
        if let rows = errors?.finish() { output.emit(rows, to: .errors) }
        errors = nil
    }

    private func emitRows(_ batch: RecordBatch, _ output: inout OutputBuffer) {
        guard parser.rowCount > 0 else { return }
        let (built, origins) = parser.finish()
        let count = origins.count
        guard count > 0 else { return }
        var columns = built.enumerated().map { number, column in column ?? nulls(number, count) }
        let isWhole = count == batch.rowCount && (0..<count).allSatisfy { origins[$0] == Int32($0) }
        for (number, kept) in kept.enumerated() {
            let place = plans.count + number
            let column = batch.columns[kept.index]
            columns.append(!kept.isUsed ? nulls(place, count) : isWhole ? column : column.take(origins))
        }
        var marks = batch.splitWatermark.map { isWhole ? $0 : $0.take(origins) }
        if let eventTimeColumn, let times = columns[eventTimeColumn].int64Values {
            marks = watermarks?.observe(times, split: batch.split)
        }
        let rows = RecordBatch(
            outputSchema, columns, rowCount: count, splitWatermark: marks, split: batch.split)
        // A large document may have more rows than a batch should.
        let step = 2 * RecordBatch.defaultRowCount
        if count <= step {
            output.emit(rows)
        } else {
            for start in stride(from: 0, to: count, by: RecordBatch.defaultRowCount) {
                output.emit(rows.slice(start..<min(start + RecordBatch.defaultRowCount, count)))
            }
        }
        watermarks?.emitWatermark(into: &output)
    }

    /// Nulls for a column that nothing uses: one of them for all batches, mostly.
    private func nulls(_ number: Int, _ count: Int) -> Column {
        if let column = nullColumns[number], column.count >= count { return column.slice(0..<count) }
        let column = Column.nulls(outputSchema.fields[number].type, count: max(count, 1024))
        nullColumns[number] = column
        return column.slice(0..<count)
    }

    // MARK: - Event time

    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        if let watermarks { watermarks.advance(to: watermark, into: &output) } else { output.emit(watermark) }
        return .done
    }

    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        if let watermarks { watermarks.split(event, into: &output) } else { output.emit(event) }
        return .done
    }

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        watermarks?.tick(now, into: &output)
        return .done
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) { try watermarks?.open(restoring: state) }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        watermarks?.snapshot() ?? []
    }
}
