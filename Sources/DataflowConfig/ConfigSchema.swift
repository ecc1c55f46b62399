/// The declaration of a section: its fields, its short spellings, and the rules among its keys.
public struct ConfigSchema<Root: OperatorConfig>: Sendable {
    public let fields: [ConfigField<Root>]
    let shorthands: [ConfigShorthand<Root>]
    let rules: [ConfigRule]

    /// - Parameters:
    ///   - shorthands: scalars that stand for a whole section; words are tried before a field.
    ///   - rules: which keys exclude or require each other.
    public init(
        shorthands: [ConfigShorthand<Root>] = [], rules: [ConfigRule] = [],
        @ConfigFieldsBuilder<Root> _ fields: () -> [ConfigField<Root>]
    ) {
        self.fields = fields()
        self.shorthands = shorthands
        self.rules = rules
        assert(Set(self.fields.map(\.name)).count == self.fields.count, "a key of \(Root.self) is declared twice")
    }

    /// Reads a section. Throws every error at once, each with its place; keys of `otherKeys` are somebody else's and are
    /// passed over, but may be suggested for a misspelt one.
    public func decode(_ node: ConfigNode, otherKeys: [String] = []) throws(ConfigError) -> Root {
        if !node.isNull, node.entries == nil {
            return try decodeShorthand(node)
        }
        let entries = node.entries ?? []
        var root = Root()
        var collector = DiagnosticCollector()
        for entry in entries where !otherKeys.contains(entry.key) {
            guard let field = fields.first(where: { $0.name == entry.key }) else {
                collector.append(unknownKey(entry, otherKeys: otherKeys))
                continue
            }
            do throws(ConfigError) {
                try field.decode(entry.value, &root)
            } catch {
                let isSecret = field.holdsSecrets()
                for diagnostic in error.diagnostics {
                    collector.append(
                        (isSecret ? diagnostic.hiding(entry.value) : diagnostic).about(field: entry))
                }
            }
        }
        for field in fields where field.traits.isRequired && !entries.contains(where: { $0.key == field.name }) {
            collector.append(
                Diagnostic(
                    .error, "missing-key", "the key `\(field.name)` is missing: \(field.typeName())",
                    at: node.keyMark ?? node.mark, hint: field.summary, path: field.name))
        }
        for rule in rules {
            if let problem = rule.violation(entries.map(\.key)) {
                collector.append(
                    Diagnostic(
                        .error, "key-combination", problem.message, at: place(of: problem.key, in: node),
                        path: problem.key))
            }
        }
        if !collector.hasErrors {
            for diagnostic in root.validate() {
                collector.append(placed(diagnostic, in: node))
            }
        }
        try collector.throwErrors()
        return root
    }

    /// Warnings about a section that decodes: deprecated keys, and what `validate()` warns about.
    public func lint(_ node: ConfigNode) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for entry in node.entries ?? [] {
            guard let field = fields.first(where: { $0.name == entry.key }) else { continue }
            if let advice = field.traits.deprecation {
                found.append(
                    Diagnostic(
                        .warning, "deprecated-key", "the key `\(field.name)` is deprecated: \(advice)",
                        at: entry.keyMark,
                        length: entry.key.count, path: field.name))
            }
            found += field.lint(entry.value).map { $0.under(field.name) }
        }
        if let root = try? decode(
            node, otherKeys: (node.entries ?? []).map(\.key).filter { key in !fields.contains { $0.name == key } })
        {
            found += root.validate().filter { $0.severity < .error }.map { placed($0, in: node) }
        }
        return found
    }

    /// The section as a mapping of the fields that differ from their default, in the order of the declaration.
    public func encode(_ root: Root) -> ConfigNode {
        let defaults = Root()
        return .mapping(
            fields.compactMap { field in
                let node = field.encode(root)
                let isDefault = node.plainDescription == field.encode(defaults).plainDescription
                return isDefault && !field.traits.isRequired ? nil : (field.name, node)
            })
    }

    /// The values of the fields that define the meaning of state, as text in which runs of white space are one blank.
    public func stateSettings(_ root: Root) -> [(name: String, text: String)] {
        fields.filter(\.traits.definesState).map { field in
            (
                field.name,
                field.encode(root).plainDescription.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            )
        }
    }

    private func decodeShorthand(_ node: ConfigNode) throws(ConfigError) -> Root {
        var words: [String] = []
        for shorthand in shorthands {
            switch shorthand.form {
            case .word(let word, let make):
                if node.scalar?.text == word { return make() }
                words.append(word)
            case .field(let name):
                let entry = ConfigNode.Entry(name, node, keyMark: node.mark)
                let section = ConfigNode(.mapping([entry]), mark: node.mark, keyMark: node.keyMark)
                return try decode(section)
            }
        }
        let spelled = words.map { "`\($0)`" } + ["a mapping"]
        let near = node.scalar.flatMap { Suggestion.nearest(to: $0.text, among: words) }
        let keys = fields.filter { !$0.traits.isAdvanced }.map { "`\($0.name)`" }.joined(separator: ", ")
        throw .expected(
            spelled.joined(separator: " or "), found: node,
            hint: near.map { "did you mean `\($0)`?" } ?? "the mapping's keys are \(keys)")
    }

    private func unknownKey(_ entry: ConfigNode.Entry, otherKeys: [String]) -> Diagnostic {
        let names = fields.filter { $0.traits.deprecation == nil }.map(\.name) + otherKeys
        let suggestion = Suggestion.phrase(for: entry.key, among: names)
        return Diagnostic(
            .error, "unknown-key", "unknown key `\(entry.key)`\(suggestion)", at: entry.keyMark,
            length: entry.key.count,
            hint: names.isEmpty ? "there are no keys here" : "the keys here are \(names.joined(separator: ", "))",
            path: entry.key)
    }

    private func place(of path: String?, in node: ConfigNode) -> Mark {
        guard let path else { return node.keyMark ?? node.mark }
        var best = node.keyMark ?? node.mark
        var current = node
        for key in path.split(whereSeparator: { $0 == "." || $0 == "[" || $0 == "]" }) {
            let next = current[String(key)] ?? Int(key).flatMap { index in current.elements?[checked: index] }
            guard let next else { break }
            best = next.mark
            current = next
        }
        return best
    }

    private func placed(_ diagnostic: Diagnostic, in node: ConfigNode) -> Diagnostic {
        guard !diagnostic.mark.isKnown else { return diagnostic }
        var copy = diagnostic
        copy.mark = place(of: diagnostic.path, in: node)
        return copy
    }
}

extension Array {
    fileprivate subscript(checked index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}

extension Diagnostic {
    /// Without the values of a section in which a secret is: one may stand in the wrong place.
    fileprivate func hiding(_ node: ConfigNode) -> Diagnostic {
        var copy = self
        copy.hidesSource = true
        func hide(_ node: ConfigNode) {
            switch node.kind {
            case .mapping(let entries): for entry in entries { hide(entry.value) }
            case .sequence(let elements): elements.forEach(hide)
            case .scalar(let scalar):
                for (open, close) in [("`", "`"), ("[", "]")] {
                    let shown = open + scalar.displayText + close
                    copy.message = copy.message.replacing(shown, with: "\(open)***\(close)")
                    copy.hint = copy.hint?.replacing(shown, with: "\(open)***\(close)")
                }
            }
        }
        hide(node)
        return copy
    }

    /// Puts the field's key in front of the path, and names it in the message of a finding that knows no path yet.
    fileprivate func about(field entry: ConfigNode.Entry) -> Diagnostic {
        var copy = under(entry.key)
        if path == nil, !message.contains("`\(entry.key)`") { copy.message = "`\(entry.key)`: \(message)" }
        if !copy.mark.isKnown { copy.mark = entry.value.mark }
        return copy
    }
}

extension ConfigRule {
    /// What is wrong and at which key.
    func violation(_ keys: [String]) -> (message: String, key: String?)? {
        func list(_ names: [String], _ word: String) -> String {
            let quoted = names.map { "`\($0)`" }
            guard let last = quoted.last, quoted.count > 1 else { return quoted.joined() }
            return quoted.dropLast().joined(separator: ", ") + " \(word) " + last
        }
        switch kind {
        case .exactlyOne(let names), .atMostOne(let names):
            let present = keys.filter(names.contains)
            if present.count > 1 {
                return ("\(list(present, "and")) exclude each other: only one of them can be given", present[1])
            }
            if case .exactlyOne = kind, present.isEmpty { return ("one of \(list(names, "or")) is needed", nil) }
            return nil
        case .atLeastOne(let names):
            return keys.contains(where: names.contains) ? nil : ("at least one of \(list(names, "or")) is needed", nil)
        case .requires(let name, let others):
            let missing = others.filter { !keys.contains($0) }
            return keys.contains(name) && !missing.isEmpty
                ? ("`\(name)` needs \(list(missing, "and")), too", name) : nil
        }
    }
}
