import DataflowOperator

extension AggregationPlan {
    /// Adds an aggregate and checks its arguments' types.
    ///
    /// - Throws: all findings at once, at their places in the file.
    static func append(
        _ name: String, _ text: AggregateText, _ calls: inout AggregateCalls, _ schema: Schema, retracts: Bool
    ) throws(ConfigError) {
        let call = text.parsed
        var collector = DiagnosticCollector()
        func refuse(_ message: String, _ hint: String?, _ offset: Int, _ length: Int) -> Diagnostic {
            Diagnostic(
                .error, "aggregate", message, at: text.text.mark(atUTF8Offset: offset), length: length, hint: hint)
        }
        do throws(AggregateCalls.Refusal) {
            try calls.append(name, call)
        } catch {
            collector.append(refuse(error.message, error.hint, error.offset, error.length))
        }
        for argument in call.arguments + call.order.map(\.expression) {
            collector.attempt { () throws(ConfigError) in _ = try typed(argument, text, schema) }
        }
        if let filter = call.filter {
            collector.attempt { () throws(ConfigError) in _ = try typed(filter, text, schema, expecting: .bool) }
        }
        try collector.throwErrors()
        guard let item = calls.items.last, !call.star else { return }
        let key = calls.keys[item.accumulator]
        if retracts, !key.family.retracts {
            let (message, hint) = AggregateMeaning.refusalOverUpserts(call)
            throw ConfigError(refuse(message, hint, call.offset, call.length))
        }
        let types = try key.arguments.map { argument throws(ConfigError) in try typed(argument, text, schema).type }
        let kind = AccumulatorKind(key.family, types, retracts: retracts)
        guard let kind, kind.gives(item.finish) else {
            throw ConfigError(
                refuse("\(call.name) takes \(key.family.wanted), found \(types[0])", nil, call.offset, call.length))
        }
    }
}
