import DataflowBuiltins
import DataflowConfig
import DataflowOperator
import DataflowPipeline
import Glibc
import Testing

private let folder = String(#filePath.dropLast("BadPipelineTests.swift".count)) + "BadPipelines"
private let docs = String(#filePath.dropLast("Tests/DataflowPipelineTests/BadPipelineTests.swift".count)) + "docs"
/// Set to write the golden files anew instead of comparing with them.
private let updates = getenv("DATAFLOW_UPDATE_GOLDEN") != nil

private let builtins = OperatorRegistry(BuiltinPlugins.all)

/// The `.yaml` files of the folder, sorted.
private func badPipelines() -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name.hasSuffix(".yaml") { names.append(name) }
    }
    return names.sorted()
}

private func findings(_ name: String) -> [Diagnostic] {
    findings(text: readTextFile("\(folder)/\(name)") ?? "", name: name)
}

private func findings(text: String, name: String) -> [Diagnostic] {
    let environment = EnvironmentVariables(["SECRET": "hunter2", "HOME_DIR": "/home"])
    do throws(ConfigError) {
        let file = try PipelineFile(text: text, path: name)
        _ = try PipelineDefinition(file, registry: builtins, environment: environment)
        return []
    } catch {
        return error.diagnostics
    }
}

@Suite struct BadPipelineTests {
    @Test func `the first diagnostic of every bad pipeline is the one of the table`() throws {
        let names = badPipelines()
        #expect(names.count >= 100)
        let lines = names.map { name in findings(name).first?.rendered(.short) ?? "\(name): accepted" }
        let table = lines.joined(separator: "\n") + "\n"
        let path = "\(folder)/expected.txt"
        if updates { try #require(writeFile(path, table)) }
        let expected = (readTextFile(path) ?? "").split(separator: "\n").map(String.init)
        #expect(expected.count == lines.count)
        for (line, wanted) in zip(lines, expected) { #expect(line == wanted) }
        #expect(!lines.contains { $0.hasSuffix("accepted") })
    }

    @Test func `no diagnostic of a bad pipeline shows a secret`() {
        for name in badPipelines() {
            for finding in findings(name) {
                #expect(!finding.rendered(.human).contains("hunter2"), "\(name)")
            }
        }
    }

    @Test(arguments: [
        "auth: hunter2", "auth: { beaer: hunter2 }", "auth: { bearer: [hunter2] }", "auth: {\n      beaer: hunter2 }",
        "auth: { basic: { user: u, password: hunter2, kind: hunter2 } }",
        "auth:\n      basic:\n        user: u\n        password:\n          - hunter2",
        "secret_query: hunter2", "secret_headers: [hunter2]", "secret_headers: { X: [hunter2] }",
        "headers: { Authorization: [Bearer hunter2] }", "headers: { Cookie: a, Cookie: hunter2 }",
        "query: { kind: token, token: [hunter2] }", "timeout: \"http://u:hunter2@h/\"", "auth: { bearer: hunter2",
    ])
    func `a secret in the wrong place is not shown`(_ setting: String) {
        let text = "pipeline: p\nnodes:\n  a:\n    type: http-source\n    url: http://h/\n    \(setting)\n"
        let all = findings(text: text, name: "p.yaml").map { $0.rendered(.human) + $0.message + ($0.hint ?? "") }
        #expect(!all.isEmpty)
        for finding in all { #expect(!finding.contains("hunter2")) }
    }

    @Test func `every diagnostic has a place`() {
        for name in badPipelines() {
            for finding in findings(name) { #expect(finding.mark.isKnown, "\(name): \(finding.rendered(.short))") }
        }
    }
}

@Suite struct ReferenceTests {
    @Test func `the generated pages are those of the declarations`() throws {
        let page = try #require(readTextFile("\(docs)/pipeline-format.md"))
        for (path, text) in Reference.files(of: builtins, page: page) {
            if updates { try #require(writeFile("\(docs)/\(path)", text)) }
            #expect(readTextFile("\(docs)/\(path)") == text, "docs/\(path) is out of date: make docs")
        }
    }
}
