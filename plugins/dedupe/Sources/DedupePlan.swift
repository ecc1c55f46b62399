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

    let input: Schema
    /// Positions of the key's columns.
    let key: [Int]
    let memory: Memory
    let output: Stream

    /// Checks names and the kind of the input.
    ///
    /// - Throws: all findings at once, at their places in the file.
    init(_ config: DedupeConfig, input stream: Stream) throws(ConfigError) {
        var collector = DiagnosticCollector()
        input = stream.schema
        var key: [Int] = []
        for name in config.key.elements {
            let length = name.value.unicodeScalars.count
            guard let index = stream.schema.index(of: name.value) else {
                collector.append(
                    Diagnostic(
                        .error, "unknown-column",
                        "there is no column `\(name.value)`\(Suggestion.phrase(for: name.value, among: stream.schema.names))",
                        at: name.mark, length: length,
                        hint:
                            "the input has \(stream.schema.names.joined(separator: ", ")); compute others in a select node in front of this one"
                    ))
                continue
            }
            if key.contains(index) {
                collector.append(
                    Diagnostic(
                        .error, "duplicate-name", "`\(name.value)` is there twice in `key`", at: name.mark,
                        length: length))
            } else {
                key.append(index)
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
        if let within = config.within.map({ max(1, $0.nanoseconds / 1000) }) {
            if let time = stream.eventTime.flatMap(stream.schema.index(of:)) {
                memory = .eventTime(column: time, within: within)
            } else {
                memory = .processingTime(within: within)
            }
        } else {
            memory = .forEver
        }
        output = Stream(stream.schema, eventTime: stream.eventTime)
    }

    var keyNames: [String] { key.map { input.fields[$0].name } }

    /// The state's columns: the key group, the key, and the time of a row that was kept.
    var state: Schema {
        var fields = [Field("key_group", .int32, nullable: false)]
        fields += key.map { Field("key.\(input.fields[$0].name)", input.fields[$0].type) }
        if memory != .forEver { fields.append(Field("time", .timestamp, nullable: false)) }
        return Schema(fields)
    }
}
