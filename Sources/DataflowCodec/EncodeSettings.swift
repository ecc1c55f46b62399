package import DataflowColumnar
package import DataflowConfig
package import DataflowOperator

/// What the settings of every node that writes messages have in common: the columns that go into a message, the columns
/// that go on beside it, and the name of the column that holds it.
package struct EncodeSettings {
    package var operatorName: String
    /// The columns of a message; nil for all.
    package var columns: [Located<String>]?
    package var keep: [Located<String>]
    /// The name of the bytes column.
    package var name: Located<String>

    package init(operatorName: String, columns: [Located<String>]?, keep: [Located<String>], name: Located<String>) {
        self.operatorName = operatorName
        self.columns = columns
        self.keep = keep
        self.name = name
    }

    /// The names of the columns that go into a message.
    private func names(_ input: Schema) -> [String] { columns?.map(\.value) ?? input.names }

    /// The columns of a message.
    package func message(_ input: Schema) -> Schema { Schema(names(input).compactMap { input[$0] }) }

    /// The stream that leaves the node: the message, then the kept columns. A delete has no message.
    package func output(of inputs: [Stream]) throws(ConfigError) -> Stream {
        var found = DiagnosticCollector()
        guard let input = inputs.first else {
            throw ConfigError("missing-input", "\(operatorName) needs an input: add `from: <node>`")
        }
        for name in (columns ?? []) + keep { ParseSettings.check(name, in: input.schema, &found) }
        for (setting, list) in [("columns", columns ?? []), ("keep", keep)]
        where Set(list.map(\.value)).count < list.count {
            found.append(
                Diagnostic(.error, "duplicate-column", "`\(setting)` names a column twice", at: list[0].mark))
        }
        if columns?.isEmpty == true {
            found.append(Diagnostic(.error, "no-columns", "`columns` names no column", hint: "leave it out for all"))
        }
        if keep.contains(where: { $0.value == name.value }) {
            found.append(
                Diagnostic(
                    .error, "duplicate-column", "the kept column `\(name.value)` has the name of the message's column",
                    at: name.mark, hint: "give the message another name with `as`"))
        }
        if let key = input.kind.key {
            for column in key where !keep.contains(where: { $0.value == column }) {
                found.append(
                    Diagnostic(
                        .error, "key-column",
                        "the key column `\(column)` of the upsert stream must go on beside the message",
                        at: keep.first?.mark ?? name.mark, hint: "add it to `keep`"))
            }
        }
        try found.throwErrors()
        let fields = [Field(name.value, .bytes, nullable: input.deletes)] + keep.compactMap { input.schema[$0.value] }
        return Stream(
            Schema(fields), kind: input.kind, deletes: input.deletes,
            eventTime: input.eventTime.flatMap { name in keep.contains { $0.value == name } ? name : nil })
    }

    /// Which columns of the input the node needs.
    package func columnsUsed(_ input: Stream, downstream: ColumnSet) -> [ColumnSet] {
        var used = Set(keep.map(\.value).filter { downstream.contains($0) } + (input.kind.key ?? []))
        if let eventTime = input.eventTime { used.insert(eventTime) }
        // Messages may be refused, so they are written even where nothing reads them.
        used.formUnion(names(input.schema))
        return [.some(used)]
    }

    /// The columns of a message and of those kept, by their place in the input.
    package func places(_ input: Schema) -> (message: [Int], kept: [Int]) {
        (names(input).compactMap(input.index(of:)), keep.compactMap { input.index(of: $0.value) })
    }
}
