public import DataflowOperator

extension WindowShape {
    private static let expected =
        "`global`, `{ tumbling: 10s }`, `{ sliding: 60s, every: 10s }`, `{ session: 30s }` or `{ count: 1000 }`"

    /// The keys that choose a shape, with what may stand beside each and an example.
    private static let shapes: [(word: String, others: [String], example: String)] = [
        ("tumbling", ["offset"], "{ tumbling: 10s }"),
        ("sliding", ["every", "offset"], "{ sliding: 60s, every: 10s }"),
        ("session", [], "{ session: 30s }"),
        ("count", [], "{ count: 1000 }"),
    ]

    public init(decoding node: ConfigNode) throws(ConfigError) {
        guard let entries = node.entries else {
            try WindowShape.checkGlobal(node)
            self.init(.global, at: node.mark)
            return
        }
        var collector = DiagnosticCollector()
        let words = WindowShape.shapes.map(\.word)
        let chosen = entries.filter { words.contains($0.key) }
        if chosen.count > 1 {
            collector.append(
                Diagnostic(
                    .error, "key-combination",
                    "`window` has two shapes, `\(chosen[0].key)` and `\(chosen[1].key)`, expected one",
                    at: chosen[1].keyMark, length: chosen[1].key.unicodeScalars.count))
            try collector.throwErrors()
        }
        let shape = WindowShape.shapes.first { $0.word == chosen.first?.key }
        let known = shape.map { [$0.word] + $0.others } ?? words
        for entry in entries where !known.contains(entry.key) {
            let place = shape.map { "a \($0.word) window" } ?? "`window`"
            // `{ size: 10s }`, `{ every: 10s }`: a word of another shape is no misspelling.
            let isElsewhere = ["every", "offset"].contains(entry.key)
            collector.append(
                Diagnostic(
                    .error, "unknown-key",
                    isElsewhere && shape != nil
                        ? "`\(entry.key)` has no meaning for \(place)"
                        : "unknown key `\(entry.key)` in \(place)" + Suggestion.phrase(for: entry.key, among: known),
                    at: entry.keyMark, length: entry.key.unicodeScalars.count,
                    hint: shape == nil ? "expected \(WindowShape.expected)" : nil))
        }
        guard let shape else {
            if !collector.hasErrors {
                collector.append(
                    Diagnostic(
                        .error, "missing-key", "`window` has no shape, expected \(WindowShape.expected)", at: node.mark)
                )
            }
            try collector.throwErrors()
            self.init(.global, at: node.mark)
            return
        }
        let kind = WindowShape.kind(shape.word, node, &collector)
        try collector.throwErrors()
        self.init(kind ?? .global, at: node.mark)
    }

    private static func checkGlobal(_ node: ConfigNode) throws(ConfigError) {
        let text = try node.scalarText(expected: expected)
        if text == "global" { return }
        if let shape = shapes.first(where: { $0.word == text }) {
            let what = shape.word == "count" ? "the number of rows" : shape.word == "session" ? "the gap" : "the size"
            throw .expected(expected, found: node, hint: "write \(what): `\(shape.example)`")
        }
        throw .expected(
            expected, found: node,
            hint: Suggestion.nearest(to: text, among: ["global"]).map { "did you mean `\($0)`?" })
    }

    /// Reads the values of a shape whose keys are known to be right; nil where there were errors.
    private static func kind(_ word: String, _ node: ConfigNode, _ collector: inout DiagnosticCollector) -> Kind? {
        func duration(_ key: String, atLeast least: Duration, _ collector: inout DiagnosticCollector) -> Duration? {
            guard let value = node[key] else { return nil }
            return collector.attempt(under: key) { () throws(ConfigError) in
                let duration = try Duration(decoding: value)
                func refuse(_ what: String, _ expected: String) -> ConfigError {
                    ConfigError(
                        "invalid-value", "\(duration.unitDescription) is \(what), expected \(expected)", at: value.mark)
                }
                if duration < least { throw refuse("too short", "at least \(least.unitDescription)") }
                if duration.nanoseconds % 1000 != 0 { throw refuse("finer than time", "whole microseconds") }
                return duration
            }
        }
        func length(_ key: String, _ collector: inout DiagnosticCollector) -> Duration? {
            duration(key, atLeast: .microseconds(1), &collector)
        }
        func offset(_ collector: inout DiagnosticCollector) -> Duration? {
            node["offset"] == nil ? .zero : duration("offset", atLeast: .zero, &collector)
        }
        switch word {
        case "tumbling":
            let size = length("tumbling", &collector)
            guard let offset = offset(&collector), let size else { return nil }
            return .tumbling(size: size, offset: offset)
        case "sliding":
            let size = length("sliding", &collector)
            let offset = offset(&collector)
            guard let value = node["every"] else {
                let example = size?.unitDescription ?? "60s"
                collector.append(
                    Diagnostic(
                        .error, "missing-key", "a sliding window needs `every`: how often one starts", at: node.mark,
                        hint: "write `{ sliding: \(example), every: 10s }`"))
                return nil
            }
            guard let every = length("every", &collector), let size, let offset else { return nil }
            guard every <= size else {
                collector.append(
                    Diagnostic(
                        .error, "invalid-value",
                        "`every: \(every.unitDescription)` is longer than the window, so rows between two windows would be in none, expected at most \(size.unitDescription)",
                        at: value.mark))
                return nil
            }
            return .sliding(size: size, every: every, offset: offset)
        case "session": return length("session", &collector).map { .session(gap: $0) }
        default:
            guard let value = node["count"] else { return nil }
            return collector.attempt(under: "count") { () throws(ConfigError) in
                let rows = try Int(decoding: value)
                guard rows >= 1 else {
                    throw ConfigError(
                        "invalid-value", "a window of \(rows) rows is no window, expected at least 1", at: value.mark)
                }
                return .count(rows: rows)
            }
        }
    }
}
