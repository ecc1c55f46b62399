public import DataflowConfig
public import DataflowOperator

/// The reference page of an operator and the JSON schema of pipeline files: generated from the declarations, never written.
public enum Reference {
    /// The page of one operator, as Markdown.
    public static func page(of descriptor: OperatorDescriptor) -> String {
        let info = descriptor.info
        var text = "# \(info.name)\n\n\(info.summary)\(info.summary.hasSuffix(".") ? "" : ".")\n\n"
        var facts = ["A \(info.role.rawValue)"]
        if info.stability != .stable { facts.append("\(info.stability.rawValue)") }
        switch info.maxParallelism {
        case 1: facts.append("one subtask")
        case let most?: facts.append("at most \(most) subtasks")
        case nil: break
        }
        if case .sink(let commits, _) = descriptor.factory {
            facts.append(commits ? "delivers exactly once (two-phase commit)" : "delivers at least once")
        }
        if case .transform(let factory) = descriptor.factory {
            facts.append(factory.isStateful ? "keeps state" : "keeps no state")
        }
        text += facts.joined(separator: "; ") + ".\n\n"
        if !info.inputs.isEmpty {
            text += "Inputs, named in `from: { \(info.inputs.map { "\($0): …" }.joined(separator: ", ")) }`.\n\n"
        }
        var ports = (["errors"] + info.extraPorts.map(\.name)).map { "`<node>.\($0)`" }
        if let setting = info.portsSetting { ports.append("`<node>.<name>` for each name in `\(setting)`") }
        text += "Ports besides the main output: \(ports.joined(separator: ", ")).\n\n"
        text += "## Settings\n\n\(descriptor.markdown())\n"
        text +=
            "Every node also has the keys `type`, `from`, `on_error`, `parallelism` and, for sinks, `delivery`: see [the pipeline format](../pipeline-format.md).\n\n"
        text += "## Template\n\n```yaml\nnodes:\n  \(exampleName(info)):\n    type: \(info.name)\n"
        if info.role != .source {
            text +=
                info.inputs.isEmpty
                ? (info.separatesInputs ? "    from: […, …]\n" : "    from: …\n")
                : "    from: { \(info.inputs.map { "\($0): …" }.joined(separator: ", ")) }\n"
        }
        let template = descriptor.template().split(separator: "\n").map { "    \($0)\n" }.joined()
        return text + template + "```\n"
    }

    private static func exampleName(_ info: OperatorInfo) -> String {
        info.name.split(separator: "-").dropLast(info.role == .transform ? 0 : 1).joined(separator: "_")
    }

    /// The list of all operators, as Markdown.
    public static func index(of registry: OperatorRegistry) -> String {
        var text = "# Operators\n\n"
        for role in OperatorInfo.Role.allCases {
            text += "## \(role.rawValue.prefix(1).uppercased())\(role.rawValue.dropFirst())s\n\n"
            for descriptor in registry.all where descriptor.info.role == role {
                text += "- [\(descriptor.info.name)](\(descriptor.info.name).md): \(descriptor.info.summary)\n"
            }
            text += "\n"
        }
        text.removeLast()
        return text
    }

    /// The page of the pipeline format with the tables between its markers replaced by those of the declarations.
    public static func filled(_ page: String) -> String {
        var lines: [Substring] = []
        var isReplaced = false
        for line in page.split(separator: "\n", omittingEmptySubsequences: false) {
            let table: String? =
                switch line {
                case "<!-- pipeline keys -->": PipelineConfig.schema.markdown
                case "<!-- node keys -->": NodeKeys.schema.markdown
                default: nil
                }
            if line == "<!-- end -->" { isReplaced = false }
            if !isReplaced { lines.append(line) }
            if let table {
                lines += table.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
                isReplaced = true
            }
        }
        return lines.joined(separator: "\n")
    }

    /// Every generated file below `docs/`, by its path there; `page` is the text of `pipeline-format.md` as it is.
    public static func files(of registry: OperatorRegistry, page: String) -> [(path: String, text: String)] {
        registry.all.map { ("operators/\($0.info.name).md", Reference.page(of: $0)) } + [
            ("operators/README.md", index(of: registry)),
            ("schema/pipeline.json", jsonSchema(of: registry).serialized() + "\n"),
            ("pipeline-format.md", filled(page)),
            ("functions.md", FunctionReference.markdown),
        ]
    }

    /// The JSON schema of a pipeline file for this build's operators.
    public static func jsonSchema(of registry: OperatorRegistry) -> JSONValue {
        let types = JSONValue.array(registry.all.map { .string($0.info.name) })
        let from: JSONValue = [
            "description":
                "The node whose rows it takes: a name, `name.port`, a list of names (a union), or names by input.",
            "anyOf": [
                ["type": "string"], ["type": "array", "items": ["type": "string"], "minItems": 1],
                [
                    "type": "object",
                    "additionalProperties": [
                        "anyOf": [["type": "string"], ["type": "array", "items": ["type": "string"]]]
                    ],
                ],
            ],
        ]
        let shared = NodeKeys.schema.jsonSchema.json["properties"] ?? .object([])
        let cases = registry.all.map { descriptor -> JSONValue in
            var properties = descriptor.jsonSchema().json["properties"] ?? .object([])
            if case .object(let entries) = shared {
                for (key, value) in entries where properties[key] == nil { properties = properties.setting(key, value) }
            }
            properties = properties.setting(
                "type", ["const": .string(descriptor.info.name), "description": .string(descriptor.info.summary)])
            if descriptor.info.role != .source { properties = properties.setting("from", from) }
            var required: [JSONValue] = descriptor.info.role == .source ? [] : ["from"]
            // A required key may come from `defaults`, so the schema can only ask for `from`.
            required.append("type")
            return [
                "if": ["properties": ["type": ["const": .string(descriptor.info.name)]]],
                "then": ["properties": properties, "required": .array(required), "additionalProperties": false],
            ]
        }
        var pipeline = PipelineConfig.schema.jsonSchema.json
        var properties = pipeline["properties"] ?? .object([])
        properties = properties.setting(
            "defaults",
            [
                "type": "object", "description": "Settings by operator type; a node's own keys win.",
                "properties": .object(
                    registry.all.map {
                        (
                            $0.info.name,
                            ["type": "object", "properties": $0.jsonSchema().json["properties"] ?? .object([])]
                        )
                    }),
                "additionalProperties": false,
            ])
        properties = properties.setting(
            "nodes",
            [
                "type": "object", "description": "The nodes by name.", "minProperties": 1,
                "propertyNames": ["pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]*$"],
                "additionalProperties": [
                    "type": "object", "properties": ["type": ["enum": types, "description": "The operator."]],
                    "required": ["type"],
                    "allOf": .array(cases),
                ],
            ])
        pipeline = pipeline.setting("properties", properties).setting("required", ["pipeline", "nodes"])
            .setting("patternProperties", ["^x-": ["description": "Not read: a place for anchors."]])
        guard case .object(let entries) = pipeline else { return pipeline }
        return .object(
            [("$schema", "https://json-schema.org/draft/2020-12/schema"), ("title", "dataflow pipeline")] + entries)
    }
}
