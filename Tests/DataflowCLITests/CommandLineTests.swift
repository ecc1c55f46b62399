import DataflowBuiltins
import DataflowCLI
import DataflowOperator
import DataflowTesting
import Glibc
import Synchronization
import Testing

private let golden = String(#filePath.dropLast("CommandLineTests.swift".count)) + "Golden"
private let updates = getenv("DATAFLOW_UPDATE_GOLDEN") != nil

private final class Text: Sendable {
    private let text = Mutex("")
    var stream: Console.Stream { Console.Stream { piece in self.text.withLock { $0 += piece } } }
    var value: String { text.withLock { $0 } }
}

/// One command line, run within the test.
private struct Called {
    var status: Int32
    var product: String
    var messages: String

    init(_ arguments: String...) async {
        let product = Text()
        let messages = Text()
        let console = Console(product: product.stream, messages: messages.stream)
        status = await DataflowCLI.run(
            arguments,
            Invocation(registry: OperatorRegistry(BuiltinPlugins.all), console: console, handlesSignals: false))
        self.product = product.value
        self.messages = messages.value
    }
}

private func write(_ path: String, _ text: String) throws {
    let file = try #require(fopen(path, "w"))
    fputs(text, file)
    fclose(file)
}

private func read(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    while case let byte = fgetc(file), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
    return String(decoding: bytes, as: UTF8.self)
}

/// Compares with a golden file, or writes it.
private func expectGolden(_ name: String, _ text: String) throws {
    if updates { try write("\(golden)/\(name)", text) }
    #expect(text == read("\(golden)/\(name)"), "Golden/\(name)")
}

@Suite struct VerbTests {
    @Test func `a misspelt verb is corrected`() async {
        let called = await Called("vaildate", "x.yaml")
        #expect(called.status == 64)
        #expect(called.messages.hasPrefix("dataflow: there is no verb `vaildate`, did you mean `validate`?\n"))
    }

    @Test func `help is the product and no mistake`() async {
        for arguments in [["--help"], ["help"], ["help", "run"], ["run", "--help"], []] {
            let product = Text()
            let messages = Text()
            let console = Console(product: product.stream, messages: messages.stream)
            let invocation = Invocation(registry: OperatorRegistry([]), console: console, handlesSignals: false)
            #expect(await DataflowCLI.run(arguments, invocation) == 0)
            #expect(product.value.contains("USAGE: dataflow"), "\(arguments)")
            #expect(messages.value.isEmpty)
        }
    }

    @Test(arguments: [
        ["validate"], ["run"], ["graph", "a", "b"], ["run", "a", "--for", "10"],
        ["run", "a", "--for", "10s", "--limit", "5"],
        ["run", "a", "--restore", "oldest"], ["run", "a", "--accept-duplicates"], ["run", "a", "--parallelism", "0"],
        ["validate", "a", "--format", "xml"], ["run", "a", "--limit", "0"],
    ])
    func `wrong arguments end with 64 and say so on stderr`(_ arguments: [String]) async {
        let messages = Text()
        let product = Text()
        let console = Console(product: product.stream, messages: messages.stream)
        let invocation = Invocation(registry: OperatorRegistry([]), console: console, handlesSignals: false)
        #expect(await DataflowCLI.run(arguments, invocation) == 64)
        #expect(messages.value.contains("Usage: dataflow") || messages.value.contains("USAGE"))
        #expect(product.value.isEmpty)
    }

    @Test func `a file that is not there ends every verb with 66`() async {
        for verb in ["validate", "run", "graph"] {
            let called = await Called(verb, "/nowhere/p.yaml")
            #expect(called.status == 66)
            #expect((called.product + called.messages).contains("cannot read the pipeline file `/nowhere/p.yaml`"))
        }
    }
}

@Suite final class ValidateTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func bad() throws -> String {
        let path = folder.path + "/p.yaml"
        try write(
            path,
            "pipeline: p\ncheckpoint: { interval: 10 }\nnodes:\n  src: { type: file-source, path: x }\n  out: { type: stdout-sink, from: scr }\n"
        )
        return path
    }

    @Test func `a good file shows its paths with their guarantees`() async {
        let called = await Called("validate", "\(golden)/shop.yaml")
        #expect(called.status == 0)
        #expect(
            called.product == """
                \(golden)/shop.yaml: ok, 7 nodes, 3 sinks
                  orders → parsed → items → item_rows: exactly once
                  orders → parsed → tags → tag_rows: exactly once
                  orders → parsed.errors → broken: exactly once

                """)
        #expect(called.messages.isEmpty)
    }

    @Test func `findings have a line, a caret and a hint`() async throws {
        let path = try bad()
        let called = await Called("validate", path)
        #expect(called.status == 1)
        #expect(
            called.product == """
                \(path):2:25: error: `interval`: expected a duration with its unit, such as `10s` or `500ms`, found `10`
                    2 | checkpoint: { interval: 10 }
                      |                         ^~
                  help: a bare number has no unit: `10s` is seconds, `10ms` milliseconds
                \(path):5:35: error: there is no node `scr`, did you mean `src`?
                    5 |   out: { type: stdout-sink, from: scr }
                      |                                   ^~~

                """)
        #expect(called.messages == "\(path): 2 errors\n")
    }

    @Test func `short findings are a line each`() async throws {
        let path = try bad()
        let called = await Called("validate", path, "--format", "short")
        #expect(called.product.split(separator: "\n").count == 2)
        #expect(called.status == 1)
    }

    @Test func `findings for programs have place, code and path`() async throws {
        let path = try bad()
        let json = await Called("validate", path, "--format", "json")
        #expect(json.status == 1)
        for part in [
            "\"code\": \"type-mismatch\"", "\"line\": 2", "\"column\": 25", "\"path\": \"checkpoint.interval\"",
            "\"ok\": false",
        ] { #expect(json.product.contains(part), "\(part)") }
        let sarif = await Called("validate", path, "--format", "sarif")
        for part in [
            "\"version\": \"2.1.0\"", "\"ruleId\": \"unknown-node\"", "\"startColumn\": 35", "\"level\": \"error\"",
        ] {
            #expect(sarif.product.contains(part), "\(part)")
        }
    }

    @Test func `a setting on the command line is checked and shown like the file`() async {
        let called = await Called(
            "validate", "\(golden)/shop.yaml", "--set", "nodes.items.colunm=tags", "--format", "short")
        #expect(called.product == "--set:1:13: error: unknown key `colunm`, did you mean `column`?\n")
    }

    @Test func `an environment file gives what the process does not`() async throws {
        try write(
            folder.path + "/p.yaml",
            "pipeline: ${PIPELINE_NAME_OF_TEST}\nnodes:\n  src: { type: file-source, path: x }\n")
        try write(folder.path + "/env", "PIPELINE_NAME_OF_TEST=shop\n")
        let without = await Called("validate", folder.path + "/p.yaml")
        #expect(without.status == 1)
        let with = await Called("validate", folder.path + "/p.yaml", "--env-file", folder.path + "/env")
        #expect(with.status == 0)
        #expect(with.product.contains("warning: nothing reads `src`"))
    }
}

@Suite struct GraphTests {
    @Test(arguments: ["dot", "mermaid", "json"])
    func `the graph of the file is the golden one`(_ format: String) async throws {
        let called = await Called("graph", "\(golden)/shop.yaml", "--format", format)
        #expect(called.status == 0)
        try expectGolden("shop.\(format)", called.product)
    }

    @Test(arguments: ["dot", "mermaid", "json"])
    func `the graph of the tasks is the golden one`(_ format: String) async throws {
        let called = await Called("graph", "\(golden)/shop.yaml", "--format", format, "--physical")
        try expectGolden("shop-physical.\(format)", called.product)
    }
}

@Suite struct ListTests {
    @Test func `all operators are listed by role`() async {
        let called = await Called("list")
        #expect(called.status == 0)
        #expect(called.product.hasPrefix("sources\n  file-source"))
        #expect(called.product.contains("\nsinks\n"))
    }

    @Test func `an operator has its page`() async {
        let called = await Called("list", "json-parse")
        #expect(called.product.hasPrefix("# json-parse\n"))
        let missing = await Called("list", "jsonparse")
        #expect(missing.status == 64)
        #expect(missing.messages == "dataflow: there is no operator `jsonparse`, did you mean `json-parse`?\n")
    }
}

@Suite final class RunTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    /// The pipeline of the golden files over a folder of its own.
    private func called(_ more: String...) async throws -> (
        status: Int32, messages: String
    ) {
        try write(
            folder.path + "/env",
            "ORDERS=\(folder.path)/orders.ndjson\nOUT=\(folder.path)/out\nSTATE=\(folder.path)/state\n")
        let messages = Text()
        let console = Console(product: Text().stream, messages: messages.stream)
        let invocation = Invocation(
            registry: OperatorRegistry(BuiltinPlugins.all), console: console, handlesSignals: false)
        let status = await DataflowCLI.run(
            ["run", "\(golden)/shop.yaml", "--env-file", folder.path + "/env"] + more, invocation)
        return (status, messages.value)
    }

    @Test func `a bounded run ends with 0 and a table; started again it has nothing to do`() async throws {
        try write(
            folder.path + "/orders.ndjson",
            "{\"id\": 1, \"items\": [{\"sku\": \"a\", \"count\": 2}, {\"sku\": \"b\", \"count\": 1}], \"tags\": []}\nnonsense\n"
        )
        let first = try await called()
        #expect(first.status == 0)
        #expect(first.messages.contains("shop: finished: all input is read and written"))
        #expect(first.messages.contains("item_rows"))
        let second = try await called()
        #expect(second.status == 0)
        #expect(second.messages.contains("nothing new to read"))
    }

    @Test func `an invalid file ends with 78 and its findings on stderr`() async throws {
        let run = try await called("--set", "checkpoint.interval=1")
        #expect(run.status == 78)
        #expect(run.messages.contains("--set:1:21: error: `interval`: expected a duration"))
    }

    @Test(arguments: [["--for", "200ms"], ["--limit", "100"]])
    func `a run for a time or a number of rows stops at a checkpoint`(_ bound: [String]) async throws {
        try write(
            folder.path + "/p.yaml",
            """
            pipeline: p
            checkpoint: { directory: \(folder.path)/state }
            nodes:
              numbers: { type: generate-source, rate: 1000/s, columns: { n: { sequence: {} } } }
              out: { type: file-sink, from: numbers, path: \(folder.path)/out }
            """)
        let run = await Called("run", folder.path + "/p.yaml", bound[0], bound[1], "--parallelism", "1")
        #expect(run.status == 0, "\(run.messages)")
        #expect(run.messages.contains("p: stopped at a checkpoint"))
    }
}
