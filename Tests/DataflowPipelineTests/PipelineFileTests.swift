import DataflowConfig
@testable import DataflowPipeline
import Testing

private func root(_ text: String) throws(ConfigError) -> ConfigNode {
    try PipelineFile(text: text, path: "p.yaml").root
}

private func problem(_ text: String) -> String {
    do throws(ConfigError) {
        _ = try PipelineFile(text: text, path: "p.yaml")
        return ""
    } catch {
        return error.diagnostics.map { $0.rendered(.short) }.joined(separator: "\n")
    }
}

@Suite struct PipelineFileTests {
    @Test func `values keep their place`() throws {
        let node = try root("a: 1\nb:\n  c: [x, 'y']\n")
        #expect(node["a"]?.mark.description == "p.yaml:1:4")
        #expect(node.value(at: "b.c")?.elements?[1].mark.description == "p.yaml:3:10")
        #expect(node.value(at: "b.c")?.keyMark?.description == "p.yaml:3:3")
    }

    @Test(arguments: [
        ("a: 1\na: 2\n", "p.yaml:2:1: error: the key `a` stands here twice"),
        ("a:\n\tb: 1\n", "p.yaml:2:1: error: a tab cannot stand here: YAML is indented with spaces"),
        ("a: @b\n", "p.yaml:1:4: error: a value cannot begin with `@`: put it in quotes"),
        ("a: b: c\n", "p.yaml:1:5: error: a `:` cannot stand here"),
        ("a: 'b\n", "p.yaml:1:4: error: this quoted text has no end"),
        ("a: [b\n", "p.yaml:1:4: error: this list has no end: expected `]`"),
        ("a: {b: c\n", "p.yaml:1:4: error: this mapping has no end: expected `}`"),
        ("a: 1\nb\n", "p.yaml:2:1: error: expected `:` after this key"),
        ("a: 1\n---\nb: 2\n", "p.yaml:2:1: error: a second YAML document begins here: a file holds one pipeline"),
        ("", "p.yaml:1:1: error: the file is empty: expected a pipeline"),
        ("# nothing\n", "p.yaml:1:1: error: the file is empty: expected a pipeline"),
        ("- a\n", "p.yaml:1:1: error: expected a mapping with `pipeline` and `nodes`, found a list"),
        ("a: *b\n", "p.yaml:1:4: error: there is no anchor `&` of this alias's name above"),
        ("a: !foo b\n", "p.yaml:1:4: error: the tag `!foo` means nothing in a pipeline file"),
        ("? [a]\n: b\n", "p.yaml:1:3: error: a key is a text, not a list or a mapping"),
        ("a: &x [*x]\n", "p.yaml:1:4: error: this value contains itself through an alias"),
        ("a: \"\u{1}\"\n", "p.yaml:1:5: error: control characters are not allowed: YAML is UTF-8 text"),
        ("a: 1\n  b: 2\n", "p.yaml:2:4: error: a `:` cannot stand here"),
        ("<<: 3\n", "p.yaml:1:5: error: `<<` takes a mapping, such as `*defaults`, or a list of them"),
    ])
    func `what is no pipeline file is refused at its place`(_ text: String, _ expected: String) {
        #expect(problem(text) == expected)
    }

    @Test func `merge keys give what the mapping lacks`() throws {
        let node = try root("x-base: &base { a: 1, b: 2 }\nm:\n  <<: *base\n  b: 3\n")
        #expect(node["m"]?.plainDescription == "{b: 3, a: 1}")
    }

    @Test func `brackets nested a hundred thousand deep are refused at once`() {
        let deep = String(repeating: "[", count: 100_000)
        #expect(problem("a: " + deep) == "p.yaml:1:67: error: values are nested more than 64 levels deep")
        let blocks = (0..<400).map { String(repeating: " ", count: $0) + "-" }.joined(separator: "\n")
        #expect(problem("a:\n" + blocks).hasSuffix("error: values are nested more than 64 levels deep"))
    }

    @Test func `aliases that multiply are refused`() {
        var text = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        for level in 1..<8 {
            text +=
                "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
                + "]\n"
        }
        #expect(problem(text).contains("more than 100000 values"))
    }

    @Test func `deep nesting is refused`() {
        #expect(
            problem("a: " + String(repeating: "[", count: 70) + String(repeating: "]", count: 70)).contains(
                "more than 64 levels"))
    }

    @Test func `a file that is not there says so`() {
        do throws(ConfigError) {
            _ = try PipelineFile(path: "/nowhere/p.yaml")
        } catch {
            #expect(error.diagnostics[0].code == "no-such-file")
            #expect(
                error.diagnostics[0].message
                    == "cannot read the pipeline file `/nowhere/p.yaml`: No such file or directory")
        }
    }

    /// The place of a word within a scalar, in each of YAML's styles.
    @Test(arguments: [
        "a: one two THREE four",
        "a: one\n   two\n   THREE four",
        "a: 'one ''two'' THREE'",
        "a: \"one \\\"two\\\" \\u00e9 THREE\"",
        "a: \"one \\\n  two THREE\"",
        "a: |\n  one\n  two THREE\n",
        "a: |-\n    one\n      two THREE\n",
        "a: >-\n  one\n  two THREE\n  four\n",
        "a: >\n  one\n\n  two\n    more\n  THREE\n",
        "a: &x\n  one THREE",
        "a: é ö THREE",
    ])
    func `an offset in a scalar is found in the file`(_ text: String) throws {
        let node = try #require(try root(text)["a"])
        let value = try #require(node.scalar?.text)
        let found = try #require(value.range(of: "THREE"))
        let mark = node.mark(atUTF8Offset: value.utf8.distance(from: value.startIndex, to: found.lowerBound))
        let line = try #require(mark.source.line(mark.line))
        #expect(
            String(line.unicodeScalars.dropFirst(mark.column - 1).prefix(5).map(Character.init)) == "THREE", "\(mark)")
    }
}

extension String {
    fileprivate func range(of needle: String) -> Range<Index>? {
        indices.first { self[$0...].hasPrefix(needle) }.map { $0..<index($0, offsetBy: needle.count) }
    }
}

@Suite struct InterpolationTests {
    private func value(_ text: String, _ environment: [String: String] = [:]) throws(ConfigError) -> ConfigNode {
        let file = try PipelineFile(text: "a: \(text)\n", path: "p.yaml")
        let (root, references) = file.interpolated(EnvironmentVariables(environment))
        if references.collector.hasErrors { throw ConfigError(references.collector.diagnostics) }
        return root["a"] ?? .null
    }

    private func problem(_ text: String, _ environment: [String: String] = [:]) -> String {
        do throws(ConfigError) {
            _ = try value(text, environment)
            return ""
        } catch {
            return error.diagnostics.map { $0.rendered(.short) }.joined(separator: "\n")
        }
    }

    @Test(arguments: [
        ("${X}", "1"), ("a${X}b${X}", "a1b1"), ("${Y:-d}", "d"), ("${EMPTY:-d}", "d"), ("${EMPTY}", ""),
        ("$$${X}", "$1"),
        ("$.rows[*]", "$.rows[*]"), ("$$X", "$X"), ("'$'", "$"), ("${Y:-${X}2}", "12"), ("${Y:-}", ""),
        ("${Y:-{a}}", "{a}"),
        ("${X:?needed}", "1"), ("\"${Y:-a: [b}\"", "a: [b"),
    ])
    func `references are replaced`(_ text: String, _ expected: String) throws {
        #expect(try value(text, ["X": "1", "EMPTY": ""]).scalar?.text == expected)
    }

    @Test(arguments: [
        ("${Y}", "p.yaml:1:4: error: the environment variable `Y` is not set"),
        ("a ${Y:?say where}", "p.yaml:1:6: error: `Y` is not set: say where"),
        ("b ${Y", "p.yaml:1:6: error: this `${` has no `}`"),
        ("${1a}", "p.yaml:1:4: error: `${1a}` is no reference"),
        ("${Y-b}", "p.yaml:1:4: error: `${Y-b}` is no reference"),
        ("${file:/nowhere/x}", "p.yaml:1:4: error: cannot read `/nowhere/x`: No such file or directory"),
    ])
    func `a reference without a value is an error at its place`(_ text: String, _ expected: String) {
        #expect(problem(text) == expected)
    }

    @Test func `no value changes the shape of the tree`() throws {
        #expect(try value("${X}", ["X": "[1, 2]\nb: 3"]).scalar?.text == "[1, 2]\nb: 3")
        #expect(try value("${X}", ["X": "null"]).isNull == false)
    }

    private func sql(_ text: String, _ environment: [String: String]) throws -> String {
        let node = try value(text, environment)
        return PositionedText(sql: try #require(node.scalar), mark: node.mark).text
    }

    @Test func `within an expression a value is a literal`() throws {
        #expect(try sql("a > ${N}", ["N": "-1.5e3"]) == "a > -1.5e3")
        #expect(try sql("a = ${N}", ["N": "x' or 1=1 --"]) == "a = 'x'' or 1=1 --'")
        #expect(try sql("a = '${N}-b'", ["N": "it's"]) == "a = 'it''s-b'")
        #expect(try sql("'x' = ${N}".quotedYAML, ["N": "1 or 1=1"]) == "'x' = '1 or 1=1'")
        #expect(try sql("a /* ${N} */ + 1", ["N": "*/ drop"]) == "a /*  */ + 1")
        #expect(try sql("\\\"${N}\\\" > 1".quotedYAML, ["N": "a\"b"]) == "\"a\"\"b\" > 1")
    }

    @Test func `positions behind a replaced value are those of the file`() throws {
        let node = try value("a = ${N} and WRONG", ["N": "a rather long value"])
        let text = PositionedText(sql: try #require(node.scalar), mark: node.mark)
        let offset = text.text.utf8.count - "WRONG".utf8.count
        #expect(text.mark(atUTF8Offset: offset).column == 4 + "a = ${N} and ".count)
        #expect(text.mark(atUTF8Offset: 8).column == 4 + "a = ".count)
    }

    @Test func `an environment file has quotes, comments and exports`() throws {
        let path = "/tmp/dataflow-env-\(UInt32.random(in: 0 ... .max))"
        try #require(writeFile(path, "# c\nexport A=1\nB='x # y'\nC=\"l\\n\\\"q\\\"\" \nD=bare # comment\n\n"))
        let values = try EnvironmentVariables.parse(envFile: path)
        #expect(values == ["A": "1", "B": "x # y", "C": "l\n\"q\"", "D": "bare"])
        removeFile(path)
    }
}

extension String {
    fileprivate var quotedYAML: String { "\"" + self + "\"" }
}

@Suite struct SettingTests {
    let text = """
        pipeline: p
        nodes:
          s: { type: rows-source, url: a }
          t: { type: log-sink, from: s }
        """

    @Test func `any path can be set`() throws {
        var file = try PipelineFile(text: text, path: "p.yaml")
        try file.set("checkpoint.interval=200ms")
        try file.set("nodes.s.url=https://x?a=b")
        try file.set("nodes.t.from=[s]")
        #expect(file.root.value(at: "checkpoint.interval")?.scalar?.text == "200ms")
        #expect(file.root.value(at: "nodes.s.url")?.scalar?.text == "https://x?a=b")
        #expect(file.root.value(at: "nodes.t.from")?.elements?.count == 1)
    }

    @Test(arguments: [
        (
            "checkpoint.interval=5",
            "--set:1:21: error: `interval`: expected a duration with its unit, such as `10s` or `500ms`, found `5`"
        ),
        ("nodes.q.url=5", "--set:1:7: error: there is no node `q`"),
        ("nodes.s.ulr=5", "--set:1:9: error: unknown key `ulr`, did you mean `url`?"),
        ("nonsense", "--set:1:1: error: expected PATH=VALUE, such as `checkpoint.interval=200ms`"),
        ("a..b=1", "--set:1:1: error: the path has an empty part"),
        ("nodes.t.from=[s", "--set:1:14: error: this list has no end: expected `]`"),
        ("nodes.t.from=${NOPE}", "--set:1:14: error: the environment variable `NOPE` is not set"),
    ])
    func `a wrong setting is shown where it was written`(_ setting: String, _ expected: String) {
        #expect(problems(text, set: [setting]).first == expected)
    }
}
