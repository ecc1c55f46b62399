import DataflowConfig
import Testing

struct Offset: OperatorConfig {
    var param = "offset"
    var limit = 100
    init() {}
    static let schema = ConfigSchema<Self> {
        ConfigField("param", \.param, "The query parameter of the offset.")
        ConfigField("limit", \.limit, "Rows a page.") { $0 > 0 ? nil : "must be positive" }
    }
}

struct Paginate: OperatorConfig {
    var offset: Offset?
    var page: String?
    init() {}
    static let schema = ConfigSchema<Self>(rules: [.exactlyOne(of: "offset", "page")]) {
        ConfigField("offset", \.offset, "By row offset.")
        ConfigField("page", \.page, "By page number.")
    }
}

struct Shape: OperatorConfig {
    var isGlobal = false
    var tumbling: Duration?
    init() {}
    static let schema = ConfigSchema<Self>(shorthands: [
        .word("global", "One group for all time.") {
            var shape = Shape()
            shape.isGlobal = true
            return shape
        }
    ]) {
        ConfigField("tumbling", \.tumbling, "Windows of this size, one after the other.")
    }
}

struct ColumnSpec: OperatorConfig {
    var type = "string"
    var path: String?
    init() {}
    static let schema = ConfigSchema<Self>(shorthands: [.field("type")]) {
        ConfigField("type", \.type, "The column's type.")
        ConfigField("path", \.path, "Where it is in the document.")
    }
}

struct Example: OperatorConfig {
    var url = ""
    var linger: Duration = .milliseconds(10)
    var paginate: Paginate?
    var window = Shape()
    var columns: ConfigMap<ColumnSpec> = [:]
    var password = Secret("default")
    var old: String?
    var low = 0
    var high = 10
    init() {}
    static let schema = ConfigSchema<Self> {
        ConfigField("url", \.url, .required, "What to read.", examples: ["https://example.org"])
        ConfigField("linger", \.linger, .advanced, "Longest wait.") { $0 > .zero ? nil : "must be positive" }
        ConfigField("paginate", \.paginate, "How to get the next page.")
        ConfigField("window", \.window, "The window.")
        ConfigField("columns", \.columns, "The columns.")
        ConfigField("password", \.password, "The password.")
        ConfigField("old", \.old, .deprecated("use `url`"), "Before.")
        ConfigField("low", \.low, "Low.")
        ConfigField("high", \.high, "High.")
    }
    func validate() -> [Diagnostic] {
        low <= high ? [] : [.error(field: "low", "`low` must not be above `high`")]
    }
}

func entry(_ key: String, _ value: ConfigNode, line: Int) -> ConfigNode.Entry {
    var value = value
    value.mark = Mark(file: "p.yaml", line: line, column: 10)
    value.keyMark = Mark(file: "p.yaml", line: line, column: 3)
    return .init(key, value, keyMark: Mark(file: "p.yaml", line: line, column: 3))
}

@Suite struct ConfigSchemaTests {
    func section(_ entries: [ConfigNode.Entry]) -> ConfigNode {
        ConfigNode(
            .mapping(entries), mark: Mark(file: "p.yaml", line: 2, column: 3),
            keyMark: Mark(file: "p.yaml", line: 1, column: 1))
    }

    func problems(_ node: ConfigNode) -> [String] {
        do throws(ConfigError) {
            _ = try Example(decoding: node)
            return []
        } catch {
            return error.diagnostics.map { $0.rendered(.short) }
        }
    }

    @Test func `a section is read with its defaults`() throws {
        let node = section([
            entry("url", .text("https://x"), line: 2),
            entry("paginate", .mapping([("offset", .mapping([("limit", .text("5"))]))]), line: 3),
            entry("window", .text("global"), line: 4),
            entry(
                "columns",
                .mapping([("a", .text("int64")), ("b", .mapping([("type", .text("date")), ("path", .text("$.b"))]))]),
                line: 5),
        ])
        let example = try Example(decoding: node)
        #expect(example.url == "https://x")
        #expect(example.linger == .milliseconds(10))
        #expect(example.paginate?.offset?.limit == 5)
        #expect(example.paginate?.offset?.param == "offset")
        #expect(example.window.isGlobal)
        #expect(example.columns["a"]?.type == "int64")
        #expect(example.columns["b"]?.path == "$.b")
    }

    @Test func `all errors are reported at once, each at its place`() {
        let node = section([
            entry("lnger", .text("1s"), line: 2), entry("linger", .text("0s"), line: 3),
            entry("low", .text("x"), line: 4),
            entry(
                "paginate", .mapping([("offset", .mapping([("limit", .text("-5"))])), ("page", .text("p"))]), line: 5),
            entry("window", .text("globl"), line: 6),
        ])
        #expect(
            problems(node) == [
                "p.yaml:2:3: error: unknown key `lnger`, did you mean `linger`?",
                "p.yaml:3:10: error: `linger` must be positive, found `0s`",
                "p.yaml:4:10: error: `low`: expected an integer, found `x`",
                "p.yaml:5:10: error: `limit` must be positive, found `-5`",
                "p.yaml:5:10: error: `offset` and `page` exclude each other: only one of them can be given",
                "p.yaml:6:10: error: `window`: expected `global` or a mapping, found `globl`",
                "p.yaml:1:1: error: the key `url` is missing: string",
            ])
    }

    @Test func `keys that exclude each other are refused`() {
        let both = section([
            entry("url", .text("x"), line: 2),
            entry("paginate", .mapping([("offset", .mapping([])), ("page", .text("p"))]), line: 5),
        ])
        #expect(
            problems(both) == [
                "p.yaml:5:10: error: `offset` and `page` exclude each other: only one of them can be given"
            ])
        let none = section([entry("url", .text("x"), line: 2), entry("paginate", .mapping([]), line: 5)])
        #expect(problems(none) == ["p.yaml:5:3: error: `paginate`: one of `offset` or `page` is needed"])
    }

    @Test func `a check across fields is placed at its field`() {
        let node = section([entry("url", .text("x"), line: 2), entry("low", .text("11"), line: 7)])
        #expect(problems(node) == ["p.yaml:7:10: error: `low` must not be above `high`"])
    }

    @Test func `paths are those that --set takes`() {
        let node = section([
            entry("url", .text("x"), line: 2),
            entry("paginate", .mapping([("offset", .mapping([("limit", .text("x"))]))]), line: 5),
        ])
        do throws(ConfigError) {
            _ = try Example(decoding: node)
        } catch {
            #expect(error.diagnostics.map(\.path) == ["paginate.offset.limit"])
        }
    }

    @Test func `a deprecated key is a warning`() {
        let node = section([entry("url", .text("x"), line: 2), entry("old", .text("y"), line: 9)])
        #expect(
            Example.lint(node).map { $0.rendered(.short) } == [
                "p.yaml:9:3: warning: the key `old` is deprecated: use `url`"
            ])
    }

    @Test func `what is encoded decodes to the same`() throws {
        var example = Example()
        example.url = "https://x"
        example.linger = .seconds(90)
        example.paginate = Paginate()
        example.paginate?.offset = Offset()
        example.paginate?.offset?.limit = 7
        let again = try Example(decoding: example.encoded)
        #expect(again.encoded.flowText == example.encoded.flowText)
        #expect(example.encoded.flowText == "{ url: \"https://x\", linger: 1m30s, paginate: { offset: { limit: 7 } } }")
    }

    @Test func `the reference page has every key once with its default`() {
        let page = Example.schema.markdown
        #expect(page.contains("| `url` | string | **required** | What to read. E.g. `\"https://example.org\"`. |"))
        #expect(page.contains("| `linger` | duration | `10ms` | Longest wait. |"))
        #expect(page.contains("| `paginate.offset.limit` | integer | `100` | Rows a page. |"))
        #expect(page.contains("| `columns.<name>.type` | string | `string` | The column's type. |"))
        #expect(page.contains("*Deprecated: use `url`.*"))
        #expect(!page.contains("default\"`"))
    }

    @Test func `the template starts with the required keys`() {
        #expect(
            Example.schema.template().hasPrefix(
                "# What to read.\nurl: \"https://example.org\"\n# How to get the next page.\n# paginate: …\n"))
    }

    @Test func `the JSON schema refuses unknown keys and keeps defaults`() {
        let json = Example.schema.jsonSchema.json
        #expect(json["additionalProperties"]?.serialized() == "false")
        #expect(json["required"]?.serialized(indent: 0) == "[\"url\"]")
        #expect(json["properties"]?["linger"]?["default"]?.serialized() == "\"10ms\"")
        #expect(json["properties"]?["password"]?["default"]?.serialized() == "\"\\\"***\\\"\"")
    }
}
