extension ConfigSchema {
    /// The JSON schema of the section, for editors.
    public var jsonSchema: JSONSchema {
        var properties: [(String, JSONValue)] = []
        let defaults = Root()
        for field in fields {
            var json = field.schema().json.setting("description", .string(field.summary))
            if field.traits.deprecation != nil { json = json.setting("deprecated", true) }
            if let text = defaultText(of: field, defaults) { json = json.setting("default", .string(text)) }
            properties.append((field.name, json))
        }
        var object: [(String, JSONValue)] = [
            ("type", "object"), ("properties", .object(properties)), ("additionalProperties", false),
        ]
        let required = fields.filter(\.traits.isRequired).map { JSONValue.string($0.name) }
        if !required.isEmpty { object.append(("required", .array(required))) }
        guard !shorthands.isEmpty else { return JSONSchema(.object(object)) }
        var forms: [JSONValue] = []
        for shorthand in shorthands {
            switch shorthand.form {
            case .word(let word, _): forms.append(["const": .string(word), "description": .string(shorthand.summary)])
            case .field(let name):
                if let field = fields.first(where: { $0.name == name }) { forms.append(field.schema().json) }
            }
        }
        return JSONSchema(["anyOf": .array(forms + [.object(object)])])
    }

    /// Every key of the section and of the sections within it.
    public var fieldReferences: [FieldReference] {
        let defaults = Root()
        return fields.flatMap { field in
            let own = FieldReference(
                name: field.name, typeName: field.typeName(), summary: field.summary,
                isRequired: field.traits.isRequired,
                isAdvanced: field.traits.isAdvanced, deprecation: field.traits.deprecation,
                defaultText: defaultText(of: field, defaults), examples: field.examples().map(\.flowText))
            let nested = field.references().map { reference in
                var nested = reference.below(field.name)
                nested.isAdvanced = nested.isAdvanced || field.traits.isAdvanced
                return nested
            }
            return [own] + nested
        }
    }

    /// The reference page's tables of the section: its fields, then the advanced ones.
    public var markdown: String {
        let references = fieldReferences
        var text = Self.table(references.filter { !$0.isAdvanced })
        let advanced = references.filter(\.isAdvanced)
        if !advanced.isEmpty { text += "\nAdvanced:\n\n" + Self.table(advanced) }
        return text
    }

    private static func table(_ references: [FieldReference]) -> String {
        guard !references.isEmpty else { return "No settings.\n" }
        func cell(_ text: String) -> String { text.split(separator: "\n").joined(separator: " ").escapingBars }
        var text = "| key | type | default | |\n|---|---|---|---|\n"
        for reference in references {
            let fallback = reference.isRequired ? "**required**" : reference.defaultText.map { "`\($0)`" } ?? ""
            var summary = reference.summary
            if let deprecation = reference.deprecation { summary = "*Deprecated: \(deprecation).* " + summary }
            if !reference.examples.isEmpty {
                summary += " E.g. " + reference.examples.map { "`\($0)`" }.joined(separator: ", ") + "."
            }
            text += "| `\(reference.name)` | \(cell(reference.typeName)) | \(cell(fallback)) | \(cell(summary)) |\n"
        }
        return text
    }

    /// A commented section to start from: required keys to fill in, the others with their default in comments;
    /// advanced ones are left out.
    public func template(indent: Int = 0) -> String {
        let defaults = Root()
        let margin = String(repeating: " ", count: indent)
        var text = ""
        for field in fields where field.traits.deprecation == nil && !field.traits.isAdvanced {
            text += "\(margin)# \(field.summary)\n"
            let example = field.examples().first?.flowText
            if field.traits.isRequired {
                text += "\(margin)\(field.name): \(example ?? "# \(field.typeName())")\n"
            } else {
                text += "\(margin)# \(field.name): \(defaultText(of: field, defaults) ?? example ?? "…")\n"
            }
        }
        return text
    }

    private func defaultText(of field: ConfigField<Root>, _ defaults: Root) -> String? {
        guard !field.traits.isRequired else { return nil }
        let node = field.encode(defaults)
        guard !node.isNull, node.scalar?.text != "", node.elements?.isEmpty != true, node.entries?.isEmpty != true
        else {
            return nil
        }
        return node.flowText
    }
}

extension String {
    fileprivate var escapingBars: String {
        var text = ""
        for character in self { text += character == "|" ? "\\|" : String(character) }
        return text
    }
}

extension ConfigNode {
    /// The node as YAML on one line.
    public var flowText: String {
        switch kind {
        case .scalar(let scalar): scalar.flowText
        case .sequence(let elements): "[" + elements.map(\.flowText).joined(separator: ", ") + "]"
        case .mapping(let entries) where entries.isEmpty: "{}"
        case .mapping(let entries):
            "{ "
                + entries.map { "\(Scalar($0.key, style: .doubleQuoted).flowText): \($0.value.flowText)" }.joined(
                    separator: ", ") + " }"
        }
    }
}

extension Scalar {
    /// The scalar as YAML on one line; quoted only where it has to be.
    fileprivate var flowText: String {
        if style == .plain { return text }
        let words = ["", "~", "null", "true", "false", "yes", "no", "on", "off"]
        let isSafe =
            !words.contains(text.lowercased())
            && text.unicodeScalars.allSatisfy {
                $0.isASCII && $0.value > 32 && !"{}[],&*#?|<>=!%@\\\"'`:".unicodeScalars.contains($0) || $0 == " "
            }
            && !text.hasPrefix(" ") && !text.hasSuffix(" ") && !text.hasPrefix("-") && Double(text) == nil
        return isSafe ? text : JSONValue.string(text).serialized(indent: 0)
    }
}
