import DataflowOperator

/// A checked dedupe.
struct DedupePlan: Sendable {
    /// How a row is told to be a duplicate.
    enum Memory: Sendable, Hashable {
        /// A row with its key has been kept, ever.
        case forEver
        /// One was kept less than so many microseconds away in event time, which is in this column.
        case eventTime(column: Int, within: Int64)
        /// One was kept less than so many microseconds ago.
        case processingTime(within: Int64)
    }

    /// The columns of the rows that come in and go on.
    let rows: Schema
    /// `rows`, and behind them a column for each part of the key that has to be computed.
    let keyed: Schema
    /// The parts of the key that have to be computed, over `rows`.
    let computed: [TypedExpression]
    /// Positions of the key's columns in `keyed`.
    let key: [Int]
    let memory: Memory
    let eventTime: String?

    /// Checks expressions and the kind of the input.
    ///
    /// - Throws: all findings at once, at their places in the file.
    init(_ config: DedupeConfig, input stream: Stream) throws(ConfigError) {
        var collector = DiagnosticCollector()
        rows = stream.schema
        eventTime = stream.eventTime
        var fields = rows.fields
        var key: [Int] = []
        var computed: [TypedExpression] = []
        for part in config.key.elements {
            let expression: TypedExpression
            do throws(ExpressionErrors) { expression = try part.parsed.check(rows) } catch {
                collector.append(contentsOf: part.placed(error).diagnostics)
                continue
            }
            if let name = expression.columnName, let index = rows.index(of: name) {
                if key.contains(index) {
                    collector.append(
                        Diagnostic(
                            .error, "duplicate-name", "`\(name)` is there twice in `key`", at: part.text.mark,
                            length: name.unicodeScalars.count))
                }
                key.append(index)
            } else {
                key.append(fields.count)
                // No name of the input: it has quotes in it.
                fields.append(Field("\"key \(computed.count + 1)\"", expression.type))
                computed.append(expression)
            }
        }
        if let own = stream.kind.key {
            collector.append(
                .error(
                    code: "upsert-input",
                    "dedupe takes a stream of facts: an upsert stream (by \(own.joined(separator: ", "))) has one row a key already, and it is the last"
                ))
        }
        try collector.throwErrors()
        self.key = key
        self.computed = computed
        keyed = Schema(fields)
        if let within = config.within.map({ max(1, $0.nanoseconds / 1000) }) {
            if let time = stream.eventTime.flatMap(rows.index(of:)) {
                memory = .eventTime(column: time, within: within)
            } else {
                memory = .processingTime(within: within)
            }
        } else {
            memory = .forEver
        }
    }

    /// What leaves the node.
    var output: Stream { Stream(rows, eventTime: eventTime) }

    var partitioning: Partitioning { .hash(key.map { keyed.fields[$0].name }) }

    var columnsUsed: [String] {
        computed.flatMap(\.columnsUsed) + key.filter { $0 < rows.fields.count }.map { rows.fields[$0].name }
            + [eventTime].compactMap { $0 }
    }

    /// The state's columns: the key group, the key, and the time of a row that was kept.
    var state: Schema {
        var fields = [Field("key_group", .int32, nullable: false)]
        fields += key.map { Field("key.\(keyed.fields[$0].name)", keyed.fields[$0].type) }
        if memory != .forEver { fields.append(Field("time", .timestamp, nullable: false)) }
        return Schema(fields)
    }
}
