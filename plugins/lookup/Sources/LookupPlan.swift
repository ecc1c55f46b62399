import DataflowConfig
import DataflowOperator

/// What a lookup table has to hold: the columns of its keys, then the others that are wanted.
struct TableShape: Sendable {
    var columns: [(name: String, type: DataType)]
    /// How many of the columns, from the first, are the key.
    var keyCount: Int
    var duplicates: DuplicatePolicy
    var maxRows: Int

    var keyNames: [String] { columns.prefix(keyCount).map(\.name) }
}

/// A lookup whose settings have been checked against its input.
struct LookupPlan {
    /// The stream's key columns, in the order of the table's.
    var keys: [Int]
    /// Which column of the table each added column is.
    var added: [Int]
    var shape: TableShape
    var output: Stream

    init(_ config: LookupConfig, _ input: Stream) throws(ConfigError) {
        var found = DiagnosticCollector()
        let declared = config.tableColumns
        var columns: [(name: String, type: DataType)] = []
        keys = []
        for entry in config.on {
            guard let index = input.schema.index(of: entry.key) else {
                found.append(LookupPlan.unknown(entry.key, "the stream", input.schema.names, entry.keyMark))
                continue
            }
            guard let type = declared[entry.value.value]?.parsed else {
                found.append(
                    LookupPlan.unknown(entry.value.value, "the table", declared.map(\.key), entry.value.mark))
                continue
            }
            let wanted = input.schema.fields[index].type
            guard wanted == type else {
                found.append(
                    Diagnostic(
                        .error, "type-mismatch",
                        "`\(entry.key)` is \(wanted), but the table's `\(entry.value.value)` is \(type)",
                        at: entry.value.mark, length: entry.value.value.count,
                        hint: "declare `\(entry.value.value): \(wanted)`, or cast the stream's column in a select"))
                continue
            }
            keys.append(index)
            columns.append((entry.value.value, type))
        }
        let keyCount = columns.count
        added = []
        var fields = input.schema.fields
        for (name, column) in config.columns.entries {
            guard let type = declared[column.value]?.parsed else {
                found.append(LookupPlan.unknown(column.value, "the table", declared.map(\.key), column.mark))
                continue
            }
            if fields.contains(where: { $0.name == name.value }) {
                found.append(
                    Diagnostic(
                        .error, "duplicate-column", "there is a column `\(name.value)` already", at: name.mark,
                        length: name.value.count,
                        hint: "give the added one another name: `columns: { table_\(name.value): \(column.value) }`"))
            }
            fields.append(Field(name.value, type))
            if let index = columns.firstIndex(where: { $0.name == column.value }) {
                added.append(index)
            } else {
                added.append(columns.count)
                columns.append((column.value, type))
            }
        }
        try found.throwErrors()
        shape = TableShape(
            columns: columns, keyCount: keyCount, duplicates: config.duplicates, maxRows: config.maxRows)
        output = Stream(
            Schema(fields), kind: input.kind,
            deletes: input.kind != .append && (input.deletes || config.missing != .keep), eventTime: input.eventTime)
    }

    private static func unknown(_ name: String, _ place: String, _ names: [String], _ mark: Mark) -> Diagnostic {
        Diagnostic(
            .error, "unknown-column", "\(place) has no column `\(name)`\(Suggestion.phrase(for: name, among: names))",
            at: mark, length: name.count, hint: "its columns are \(names.joined(separator: ", "))")
    }
}
