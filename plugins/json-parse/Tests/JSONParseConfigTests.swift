import DataflowCodec
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowTesting
import JSONParse
import Testing

@Suite struct JSONParseConfigTests {
    @Test(arguments: ["$", "$.a.b", "$.rows[*].row", "$['a b'][3].c", "$[*]", #"$['it\'s']"#])
    func `a path's description reads back`(text: String) throws {
        #expect(try JSONPath(decoding: .text(text)).description == text)
    }

    @Test(arguments: ["", "a", "$a", "$.", "$..a", "$[", "$[x]", "$['a'", "$[-1]"])
    func `a malformed path is refused`(text: String) {
        #expect(throws: ConfigError.self) { try JSONPath(decoding: .text(text)) }
    }

    private func problems(_ config: JSONParseConfig, _ stream: Stream = Stream(valueSchema)) -> [String] {
        do {
            _ = try JSONParse.outputs(config, inputs: [stream])
            return []
        } catch {
            return error.diagnostics.map(\.code)
        }
    }

    @Test func `columns and input are checked against each other`() throws {
        let schema = Schema([Field("body", .bytes), Field("n", .int64)])
        var parsed = try config([("a", "int64"), ("n", "string")], keep: ["n", "m"])
        #expect(problems(parsed, Stream(schema)) == ["unknown-column", "duplicate-column", "unknown-column"])
        parsed = try config([("a", "int64")], more: [("column", .text("n"))])
        #expect(problems(parsed, Stream(schema)) == ["type-mismatch"])
        #expect(
            problems(try config([("a", "int64")]), Stream(valueSchema, kind: .upsert(key: ["value"]))) == [
                "upsert-input"
            ])
    }

    @Test func `event time must be a timestamp column`() throws {
        #expect(problems(try config([("a", "int64")], eventTime: [("column", "a")])) == ["type-mismatch"])
        #expect(problems(try config([("a", "int64")], eventTime: [("column", "b")])) == ["unknown-column"])
        let good = try config([("a", "timestamp")], eventTime: [("column", "a")])
        #expect(try JSONParse.outputs(good, inputs: [Stream(valueSchema)])[0].eventTime == "a")
    }

    @Test func `only what is needed is asked of the input`() throws {
        let schema = Schema([Field("value", .bytes), Field("n", .int64), Field("m", .int64)])
        let used = JSONParse.columnsUsed(
            try config([("a", "int64")], keep: ["n", "m"]), inputs: [Stream(schema)], downstream: .some(["a", "n"]))
        #expect(used[0].contains("value") && used[0].contains("n") && !used[0].contains("m"))
    }

    @Test func `settings that make no sense are refused`() {
        #expect(throws: ConfigError.self) { try config([]) }
        #expect(throws: ConfigError.self) { try config([("a", "int64")], more: [("colums", .text("x"))]) }
        #expect(throws: ConfigError.self) {
            try JSONParseConfig(
                decoding: .mapping([
                    ("columns", .mapping([("a", .mapping([("type", .text("string")), ("unit", .text("ms"))]))]))
                ]))
        }
        #expect(throws: ConfigError.self) {
            try JSONParseConfig(
                decoding: .mapping([
                    ("columns", .mapping([("a", .mapping([("type", .text("string")), ("path", .text("$.a[*]"))]))]))
                ]))
        }
    }
}
