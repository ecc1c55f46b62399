import DataflowOperator

/// What messages are made of: the settings, checked against the stream.
struct MessagePlan {
    enum Key {
        case none
        /// A string or bytes, taken as it is.
        case expression(TypedExpression)
        /// A JSON object of the key of an upsert stream.
        case json(Schema)
    }

    enum Value {
        /// A JSON object of these columns.
        case json(Schema)
        /// A string or bytes, taken as it is.
        case column(String)
    }

    var key: Key
    var value: Value
    var headers: [(name: String, value: TypedExpression)] = []
    var timestamp: TypedExpression?
    let isUpsert: Bool

    /// - Throws: all that is wrong, each with its place in the file.
    init(_ config: KafkaSinkConfig, _ stream: DataflowOperator.Stream) throws(ConfigError) {
        var found = DiagnosticCollector()
        let schema = stream.schema
        isUpsert = stream.kind != .append
        key = .none
        if let names = stream.kind.key { key = .json(Schema(schema.fields.filter { names.contains($0.name) })) }
        value = .json(schema)
        if let text = config.key {
            if let expression = found.attempt({ () throws(ConfigError) in try MessagePlan.text(text, schema) }) {
                key = .expression(expression)
                if let names = stream.kind.key, let other = expression.columnsUsed.first(where: { !names.contains($0) })
                {
                    found.append(
                        Diagnostic(
                            .error, "key-mismatch",
                            "the stream replaces rows by [\(names.joined(separator: ", "))]; a message's key that depends on `\(other)` would not replace the earlier one",
                            at: text.text.mark(atUTF8Offset: 0), length: text.text.text.count,
                            hint: "use the stream's key columns only, or leave `key` out"))
                }
            }
        }
        if let chosen = config.value {
            value = found.attempt { () throws(ConfigError) in try MessagePlan.value(chosen, schema) } ?? value
        }
        for entry in config.headers {
            if entry.key.isEmpty {
                found.append(Diagnostic(.error, "invalid-value", "a header needs a name", at: entry.keyMark))
            }
            if let expression = found.attempt({ () throws(ConfigError) in try MessagePlan.text(entry.value, schema) }) {
                headers.append((entry.key, expression))
            }
        }
        if let text = config.timestamp {
            timestamp = found.attempt { () throws(ConfigError) in
                do throws(ExpressionErrors) { return try text.parsed.check(schema, expecting: .timestamp) } catch {
                    throw text.placed(error)
                }
            }
        }
        try found.throwErrors()
    }

    /// The columns that the messages need.
    var columnsUsed: Set<String> {
        var used = Set(headers.flatMap(\.value.columnsUsed) + (timestamp?.columnsUsed ?? []))
        switch key {
        case .none: break
        case .expression(let expression): used.formUnion(expression.columnsUsed)
        case .json(let schema): used.formUnion(schema.names)
        }
        switch value {
        case .json(let schema): used.formUnion(schema.names)
        case .column(let name): used.insert(name)
        }
        return used
    }

    /// An expression as text or bytes; other types are cast.
    private static func text(_ text: ExpressionText, _ schema: Schema) throws(ConfigError) -> TypedExpression {
        do throws(ExpressionErrors) {
            let typed = try text.parsed.check(schema)
            if typed.type == .string || typed.type == .bytes { return typed }
            return try Expression.parse("cast(\(text.parsed) as string)").check(schema)
        } catch { throw text.placed(error) }
    }

    private static func value(
        _ chosen: MessageValue, _ schema: Schema
    ) throws(ConfigError) -> Value {
        let names: [Located<String>]
        let isList: Bool
        switch chosen {
        case .columns(let columns): (names, isList) = (columns, true)
        case .column(let column): (names, isList) = ([column], false)
        }
        var fields: [Field] = []
        var found = DiagnosticCollector()
        for name in names {
            guard let field = schema[name.value] else {
                found.append(
                    Diagnostic(
                        .error, "unknown-column",
                        "there is no column `\(name.value)`\(Suggestion.phrase(for: name.value, among: schema.names))",
                        at: name.mark, length: name.value.count,
                        hint: "the input has \(schema.names.joined(separator: ", "))"))
                continue
            }
            if !isList, field.type != .string, field.type != .bytes {
                found.append(
                    Diagnostic(
                        .error, "type-mismatch",
                        "the value is taken as it is, a string or bytes, but the column `\(name.value)` is \(field.type)",
                        at: name.mark, length: name.value.count,
                        hint: "write `value: [\(name.value)]` for a JSON object of it, or cast it in a select in front")
                )
            }
            if fields.contains(where: { $0.name == field.name }) {
                found.append(
                    Diagnostic(
                        .error, "duplicate-column", "the column `\(name.value)` is named twice", at: name.mark,
                        length: name.value.count))
            }
            fields.append(field)
        }
        try found.throwErrors()
        if !isList, let only = fields.first { return .column(only.name) }
        return .json(Schema(fields))
    }
}
