import DataflowConfig
import DataflowOperator
import DataflowPipeline
import Testing

private func pipeline(_ nodes: String) -> String {
    "pipeline: p\nnodes:\n"
        + nodes.split(separator: "\n", omittingEmptySubsequences: false).map { "  " + $0 }.joined(separator: "\n")
}

@Suite struct PipelineGraphTests {
    @Test func `nodes come in the order that rows travel`() throws {
        let definition = try validate(
            pipeline(
                """
                out: { type: log-sink, from: two }
                two: { type: pick, from: one, column: b }
                one: { type: pick, from: rows }
                rows: { type: rows-source }
                """))
        #expect(definition.graph.nodes.map(\.name) == ["rows", "one", "two", "out"])
        #expect(definition.graph.nodes[3].inputStreams[0].schema.description == "b string")
    }

    @Test func `only what the sinks need is used`() throws {
        let definition = try validate(
            pipeline(
                """
                rows: { type: rows-source, columns: { a: int64, b: string, c: string } }
                one: { type: pick, from: rows, on_error: drop }
                two: { type: pick, from: one, column: b, on_error: drop }
                out: { type: log-sink, from: two }
                """))
        #expect(definition.graph.nodes.map(\.usedColumns) == [.some(["b"]), .some(["b"]), .all, .some([])])
    }

    @Test func `rows that are set aside are whole, and the columns that a port's reader needs are used`() throws {
        let definition = try validate(
            pipeline(
                """
                rows: { type: rows-source, columns: { a: int64, b: string, c: string } }
                aside: { type: pick, from: rows }
                two: { type: pick, from: aside, column: b, on_error: drop }
                out: { type: log-sink, from: two }
                """))
        #expect(definition.graph.nodes.prefix(2).map(\.usedColumns) == [.all, .all])
        let read = try validate(
            pipeline(
                """
                rows: { type: rows-source, columns: { a: int64, b: string, c: string } }
                one: { type: pick, from: rows }
                two: { type: pick, from: one, column: b, on_error: drop }
                late: { type: pick, from: one.late, column: c, on_error: drop }
                out: { type: log-sink, from: two }
                also: { type: log-sink, from: late }
                """))
        #expect(read.graph.nodes.prefix(2).map(\.usedColumns) == [.some(["b", "c"]), .some(["b", "c"])])
    }

    @Test func `the key of an upsert stream is always used`() throws {
        let definition = try validate(
            pipeline(
                """
                rows: { type: rows-source, key: [a], columns: { a: int64, b: string, c: string } }
                two: { type: pick, from: rows, column: b }
                out: { type: log-sink, from: two }
                """))
        #expect(definition.graph.nodes[0].usedColumns == .some(["a", "b"]))
    }

    @Test func `unconnected ports get the hidden sink`() throws {
        let definition = try validate(
            pipeline("rows: { type: rows-source }\nout: { type: log-sink, from: rows }")
                + "\ndead_letter: { path: /tmp/dead }")
        let sink = try #require(definition.graph.deadLetter)
        #expect(sink.name == "dead-letter")
        #expect((sink.config as? NullConfig)?.path == "/tmp/dead")
        let none = try validate(
            pipeline("rows: { type: rows-source, on_error: drop }\nout: { type: log-sink, from: rows, on_error: fail }")
        )
        #expect(none.graph.deadLetter == nil)
    }

    @Test func `ports and unions feed a node`() throws {
        let definition = try validate(
            pipeline(
                """
                rows: { type: rows-source }
                more: { type: rows-source }
                all: { type: pick, from: [rows, more] }
                late: { type: log-sink, from: all.late }
                bad: { type: log-sink, from: [rows.errors, all.errors, out.errors] }
                out: { type: log-sink, from: all }
                """))
        let nodes = definition.graph.nodes
        let bad = try #require(nodes.first { $0.name == "bad" })
        #expect(bad.inputs[0].map(\.port) == [.errors, .errors, .errors])
        #expect(bad.inputStreams[0].schema == ErrorRows.schema)
        #expect(try #require(nodes.first { $0.name == "late" }).inputs[0][0].port == OutputPort(index: 1))
    }

    @Test func `the defaults of a type fill in what its nodes leave out`() throws {
        let text = pipeline(
            "rows: { type: rows-source }\nout: { type: log-sink, from: rows, path: own }\nother: { type: log-sink, from: rows }"
        )
        let definition = try validate(text + "\ndefaults:\n  log-sink: { path: common, format: x, on_error: drop }\n")
        let configs = definition.graph.nodes.compactMap { $0.config as? NullConfig }
        #expect(configs.map(\.path) == ["own", "common"])
        #expect(configs.map(\.format) == ["x", "x"])
        #expect(definition.graph.nodes[1].onError == .drop)
    }

    @Test func `a sink delivers exactly once where it can and is asked to`() throws {
        let definition = try validate(
            pipeline(
                """
                rows: { type: rows-source }
                a: { type: log-sink, from: rows }
                b: { type: file-sink, from: rows }
                c: { type: file-sink, from: rows, delivery: at_least_once }
                """))
        #expect(definition.graph.nodes.map(\.exactlyOnce) == [false, false, true, false])
    }

    @Test func `a node that nobody reads is a warning`() throws {
        let definition = try validate(pipeline("rows: { type: rows-source }\nx: { type: pick, from: rows }"))
        #expect(
            definition.warnings.map { $0.rendered(.short) } == [
                "p.yaml:4:3: warning: nothing reads `x`: its rows are counted and dropped"
            ])
    }

    @Test(arguments: [
        (
            "a: { type: rows-sourc }",
            "p.yaml:3:14: error: there is no operator `rows-sourc`, did you mean `rows-source`?"
        ),
        ("a: {}", "p.yaml:3:3: error: the node `a` has no `type`"),
        ("a: 3", "p.yaml:3:6: error: expected the settings of the node `a`, found `3`"),
        ("a.b: { type: rows-source }", "p.yaml:3:3: error: `a.b` is no name of a node"),
        (
            "dead-letter: { type: rows-source }",
            "p.yaml:3:3: error: `dead-letter` is the name of the pipeline's own sink"
        ),
        ("a: { type: log-sink }", "p.yaml:3:3: error: the node `a` has no `from`"),
        (
            "a: { type: rows-source, from: a }",
            "p.yaml:3:27: error: `a` is a source (rows-source): it reads from no node"
        ),
        (
            "a: { type: rows-source }\nb: { type: log-sink, from: aa }",
            "p.yaml:4:30: error: there is no node `aa`, did you mean `a`?"
        ),
        (
            "a: { type: rows-source }\nb: { type: log-sink, from: a.eror }",
            "p.yaml:4:32: error: `a` (rows-source) has no port `eror`, did you mean `errors`?"
        ),
        (
            "a: { type: rows-source }\nb: { type: log-sink, from: [a, a] }",
            "p.yaml:4:34: error: `a` stands twice in the list: its rows would be taken twice"
        ),
        (
            "a: { type: rows-source }\nb: { type: log-sink, from: { x: a } }",
            "p.yaml:4:30: error: log-sink has one input: expected the name of a node, or a list of names, found a mapping"
        ),
        (
            "a: { type: rows-source }\nb: { type: join, from: a }",
            "p.yaml:4:26: error: join has 2 inputs: write `from: { left: …, right: … }`"
        ),
        (
            "a: { type: rows-source }\nb: { type: join, from: { left: a, rihgt: a } }",
            "p.yaml:4:20: error: the input `right` is missing"
        ),
        (
            "a: { type: pick, from: b }\nb: { type: pick, from: c }\nc: { type: pick, from: a }",
            "p.yaml:3:26: error: the nodes form a cycle: `a` → `c` → `b` → `a`"
        ),
        ("a: { type: pick, from: a }", "p.yaml:3:26: error: the nodes form a cycle: `a` → `a`"),
        (
            "a: { type: rows-source }\nb: { type: log-sink, from: a }\nc: { type: log-sink, from: b }",
            "p.yaml:5:30: error: `b` is a sink (log-sink): only its errors can be read, as `b.errors`"
        ),
        (
            "a: { type: rows-source, on_error: drop }\nb: { type: log-sink, from: a.errors }",
            "p.yaml:4:30: error: `a.errors` has no rows: the node says `on_error: drop`"
        ),
        (
            "a: { type: rows-source, parallelism: 2 }",
            "p.yaml:3:40: error: rows-source runs as at most 1 subtask, found `2`"
        ),
        (
            "a: { type: rows-source, parallelism: 0 }",
            "p.yaml:3:40: error: `parallelism` must be from 1 to 128, found `0`"
        ),
        (
            "a: { type: rows-source, delivery: exactly_once }",
            "p.yaml:3:37: error: `delivery` belongs to sinks, and rows-source is a source"
        ),
        (
            "a: { type: rows-source }\nb: { type: log-sink, from: a, delivery: exactly_once }",
            "p.yaml:4:43: error: log-sink cannot deliver exactly once: it has no commit"
        ),
        (
            "a: { type: rows-source, key: [a], deletes: true }\nb: { type: file-sink, from: a, delivery: at_least_once }",
            "p.yaml:4:44: error: `at_least_once` is not possible here: rows of this stream can be deleted, and a delete that came twice could remove a newer row"
        ),
        (
            "a: { type: rows-source }\nb: { type: rows-source, columns: { a: string, b: string } }\nc: { type: log-sink, from: [a, b] }",
            "p.yaml:5:34: error: the column `a` is string in `b`, but int64 in `a`"
        ),
        (
            "a: { type: rows-source }\nb: { type: rows-source, key: [a] }\nc: { type: log-sink, from: [a, b] }",
            "p.yaml:5:34: error: `b` is an upsert stream (upsert by a): it cannot be in a list, where rows of the others would replace its own"
        ),
        (
            "a: { type: rows-source }\nb: { type: pick, from: a, column: bb }\nc: { type: log-sink, from: b }",
            "p.yaml:4:37: error: there is no column `bb`, did you mean `b`?"
        ),
        (
            "a: { type: rows-source, on_eror: drop }",
            "p.yaml:3:27: error: unknown key `on_eror`, did you mean `on_error`?"
        ),
    ])
    func `a mistake among the nodes is reported at its place`(_ nodes: String, _ expected: String) {
        #expect(problems(pipeline(nodes)).contains(expected), "\(problems(pipeline(nodes)))")
        #expect(problems(pipeline(nodes)).count <= 2)
    }

    @Test func `one mistake hides no other`() {
        let text = """
            pipeline: a b
            checkpont: {}
            nodes:
              rows: { type: rows-source, linger: 3 }
              one: { type: pick, from: rows, linger: 3 }
              two: { type: pick, from: nowhere }
              three: { type: pick, from: more, column: "${NOPE}" }
              more: { type: rows-source }
            """
        #expect(
            problems(text) == [
                "p.yaml:1:11: error: `pipeline` must be letters, digits, `-`, `_` and `.`, and begin with a letter or digit, found `a b`",
                "p.yaml:2:1: error: unknown key `checkpont`, did you mean `checkpoint`?",
                "p.yaml:4:30: error: unknown key `linger`",
                "p.yaml:5:42: error: `linger`: expected a duration with its unit, such as `10s` or `500ms`, found `3`",
                "p.yaml:6:28: error: there is no node `nowhere`",
                "p.yaml:7:45: error: the environment variable `NOPE` is not set",
            ])
        #expect(problems(text, ["NOPE": "x"])[5] == "p.yaml:7:44: error: there is no column `x`")
    }

    @Test func `a mistake in the defaults is reported once`() {
        let text = pipeline(
            "rows: { type: rows-source }\na: { type: log-sink, from: rows }\nb: { type: log-sink, from: rows }")
        #expect(
            problems(text + "\ndefaults: { log-sink: { pth: x } }").map(\.self) == [
                "p.yaml:6:25: error: unknown key `pth`, did you mean `path`?"
            ])
        #expect(
            problems(text + "\ndefaults: { lgo-sink: { path: x } }") == [
                "p.yaml:6:13: error: there is no operator `lgo-sink`, did you mean `log-sink`?"
            ])
    }

    @Test func `a value that an operator quotes is shown as its reference`() {
        let text = pipeline("rows: { type: rows-source }\na: { type: pick, from: rows, column: \"${PW}\" }")
        #expect(problems(text, ["PW": "hunter2"]) == ["p.yaml:4:40: error: there is no column `${PW}`"])
    }

    @Test func `a secret is in no message`() {
        let text = pipeline(
            "rows: { type: rows-source }\na: { type: log-sink, from: rows, password: [\"${PW}\"], format: [\"${PW}\"] }"
        )
        for line in problems(text, ["PW": "hunter2"]) { #expect(!line.contains("hunter2")) }
        #expect(problems(text, ["PW": "hunter2"]).count == 2)
    }

    @Test(arguments: [
        (
            "m: { type: pick, from: [rows, many] }",
            "it has the inputs `rows`, `many`, whose splits do not begin together"
        ),
        ("m: { type: join, from: { left: rows, right: many } }", "it has the inputs `rows`, `many`"),
        ("m: { type: gather, from: many }", "brings rows of different splits together"),
        ("m: { type: pick, from: many, parallelism: 2 }", "`parallelism: 2` would deal the rows of a split out"),
        ("m: { type: pick, from: rows, parallelism: 2 }", "leave it out here, or write `parallelism: 2` at `rows`"),
    ])
    func `event time is refused behind a node that cannot keep splits`(_ node: String, _ message: String) throws {
        let text = pipeline(
            """
            rows: { type: rows-source }
            many: { type: many-source }
            \(node)
            timed: { type: pick, from: m, event_time: { column: a } }
            """)
        let error = #expect(throws: ConfigError.self) { try validate(text) }
        let finding = try #require(error?.diagnostics.first { $0.code == "event-time" })
        #expect(finding.message.contains("event time is declared behind `m`, at `timed`"))
        #expect((finding.message + (finding.hint ?? "")).contains(message), "\(finding)")
        #expect(finding.mark.line == 5)
    }

    @Test(arguments: [
        "m: { type: gather, from: rows }", "m: { type: pick, from: many, parallelism: 3 }",
        "m: { type: pick, from: many.errors, parallelism: 2 }",
    ])
    func `event time is taken behind a node that keeps splits`(_ node: String) throws {
        let text = pipeline(
            """
            rows: { type: rows-source }
            many: { type: many-source, parallelism: 3 }
            \(node)
            timed: { type: pick, from: m, event_time: { column: a } }
            """)
        let graph = try validate(text).graph
        #expect(graph.nodes.indices.filter(graph.keepsSplits).count >= 2)
    }
}
