package import DataflowColumnar
package import DataflowConfig
package import DataflowOperator

/// What the settings of every node that parses messages have in common: the column that holds them, the columns to
/// read from them, the columns to keep beside, and event time.
package struct ParseSettings {
    /// A column that is read from the messages.
    package struct Column {
        package var name: String
        package var type: DataType
        /// Rows where it is missing or null go to `errors`.
        package var isRequired: Bool

        package init(_ name: String, _ type: DataType, isRequired: Bool) {
            self.name = name
            self.type = type
            self.isRequired = isRequired
        }
    }

    /// The operator's name, for messages.
    package var operatorName: String
    /// What the messages are, for messages of ours: `JSON text`.
    package var content: String
    package var column: Located<String>
    package var columns: [Column]
    package var keep: [Located<String>]
    package var eventTime: EventTimeConfig?
    /// What to add where event time names a column of another type.
    package var timestampHint: String

    package init(
        operatorName: String, content: String, column: Located<String>, columns: [Column], keep: [Located<String>],
        eventTime: EventTimeConfig?, timestampHint: String = ""
    ) {
        self.operatorName = operatorName
        self.content = content
        self.column = column
        self.columns = columns
        self.keep = keep
        self.eventTime = eventTime
        self.timestampHint = timestampHint
    }

    /// The stream that leaves the node. Throws everything that is wrong with the settings, seen from the input.
    package func output(of inputs: [Stream]) throws(ConfigError) -> Stream {
        var found = DiagnosticCollector()
        guard let input = inputs.first else {
            throw ConfigError("missing-input", "\(operatorName) needs an input: add `from: <node>`")
        }
        if case .upsert(let key) = input.kind {
            found.append(
                Diagnostic(
                    .error, "upsert-input",
                    "\(operatorName) reads append streams, but its input is an upsert stream keyed by "
                        + key.joined(separator: ", ")))
        }
        ParseSettings.check(column, in: input.schema, &found)
        if let type = input.schema[column.value]?.type, type != .bytes, type != .string {
            found.append(
                Diagnostic(
                    .error, "type-mismatch",
                    "the column `\(column.value)` is \(type), but \(content) is bytes or string", at: column.mark))
        }
        for name in keep {
            ParseSettings.check(name, in: input.schema, &found)
            if columns.contains(where: { $0.name == name.value }) {
                found.append(
                    Diagnostic(
                        .error, "duplicate-column",
                        "the column `\(name.value)` is both kept and read from the document", at: name.mark,
                        hint: "leave it out of `keep`, or give the column of `columns` another name"))
            }
        }
        if Set(keep.map(\.value)).count < keep.count {
            found.append(Diagnostic(.error, "duplicate-column", "`keep` names a column twice", at: keep[0].mark))
        }
        if let eventTime {
            check(eventTime, &found)
            if let twice = eventTime.alreadyDeclared(in: input) { found.append(twice) }
        }
        try found.throwErrors()
        return Stream(
            schema(input.schema),
            eventTime: eventTime?.column.value
                ?? input.eventTime.flatMap { name in keep.contains { $0.value == name } ? name : nil })
    }

    /// A finding where `schema` has no column of that name.
    package static func check(_ name: Located<String>, in schema: Schema, _ found: inout DiagnosticCollector) {
        guard schema.index(of: name.value) == nil else { return }
        let nearest = Suggestion.nearest(to: name.value, among: schema.names)
        found.append(
            Diagnostic(
                .error, "unknown-column", "the input has no column `\(name.value)`", at: name.mark,
                hint: nearest.map { "did you mean `\($0)`?" }
                    ?? "its columns are \(schema.names.joined(separator: ", "))"))
    }

    private func check(_ eventTime: EventTimeConfig, _ found: inout DiagnosticCollector) {
        let name = eventTime.column
        guard let column = columns.first(where: { $0.name == name.value }) else {
            let nearest = Suggestion.nearest(to: name.value, among: columns.map(\.name))
            found.append(
                Diagnostic(
                    .error, "unknown-column", "`columns` has no column `\(name.value)`", at: name.mark,
                    hint: nearest.map { "did you mean `\($0)`?" }))
            return
        }
        if column.type != .timestamp {
            found.append(
                Diagnostic(
                    .error, "type-mismatch",
                    "event time is a timestamp, but the column `\(name.value)` is \(column.type)", at: name.mark,
                    hint: "write `\(name.value): timestamp`\(timestampHint)"))
        }
    }

    /// The columns that are read, then those that are kept.
    package func schema(_ input: Schema) -> Schema {
        var fields = columns.map { Field($0.name, $0.type, nullable: !isRequired($0)) }
        fields += keep.compactMap { input[$0.value] }
        return Schema(fields)
    }

    /// Whether rows without a value in the column are refused.
    package func isRequired(_ column: Column) -> Bool {
        column.isRequired || column.name == eventTime?.column.value
    }

    /// Which columns of the input the node needs.
    package func columnsUsed(downstream: ColumnSet) -> [ColumnSet] {
        let kept = keep.map(\.value).filter { downstream.contains($0) }
        return [.some(Set([column.value] + kept + SourcePosition.names))]
    }
}
