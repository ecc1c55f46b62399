import DataflowEndToEnd
import Foundation
import Testing

/// A pipeline of a few nodes that reads `input.ndjson` of a folder of its own and writes into a database of its own.
final class SmallPipeline {
    struct Run {
        var exit: ChildProcess.Exit?
        var errors: String

        /// A node's numbers in the table that a run ends with.
        func counts(_ node: String) -> [String: Int] {
            let rows = errors.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            guard let header = rows.first(where: { $0.first == "node" }),
                let row = rows.first(where: { $0.first == node && $0.count == header.count })
            else { return [:] }
            return Dictionary(
                uniqueKeysWithValues: zip(header, row).compactMap { name, text in
                    Int(text.filter { $0 != "," }).map { (name, $0) }
                })
        }
    }

    let database: TestDatabase
    private let folder: TemporaryFolder

    /// - Parameter nodes: the nodes behind `lines`, in YAML; `${PG_URL}` is the database.
    init(_ nodes: String) throws {
        folder = try TemporaryFolder()
        database = try TestDatabase(TestServer.shared())
        try write(nodes)
    }

    var checkpoints: String { folder.path + "/state" }

    /// Replaces the nodes behind `lines`.
    func write(_ nodes: String) throws {
        let indented = nodes.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n")
        let text = """
            pipeline: p
            parallelism: 1
            checkpoint: { interval: 1h, directory: \(checkpoints) }
            restart: { attempts: 1, backoff: 10ms }
            nodes:
              lines: { type: file-source, path: \(folder.path)/input.ndjson }
            \(indented)

            """
        try text.write(toFile: folder.path + "/p.yaml", atomically: true, encoding: .utf8)
    }

    /// Adds lines to the input.
    func append(_ lines: String...) throws {
        let old = folder.text("input.ndjson")
        try (old + lines.map { $0 + "\n" }.joined()).write(
            toFile: folder.path + "/input.ndjson", atomically: false, encoding: .utf8)
    }

    /// Runs it to the end of the input.
    func run(_ arguments: String..., url: String? = nil) throws -> Run {
        let process = try ChildProcess(
            Repository.program("dataflow"), ["run", folder.path + "/p.yaml"] + arguments,
            environment: ["PG_URL": url ?? database.url])
        let exit = process.wait(timeout: .seconds(60))
        return Run(exit: exit, errors: process.errors)
    }

    /// Runs it to the end of the input and expects that it goes well.
    @discardableResult
    func succeed(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) throws -> Run {
        let process = try ChildProcess(
            Repository.program("dataflow"), ["run", folder.path + "/p.yaml"] + arguments,
            environment: ["PG_URL": database.url])
        let result = Run(exit: process.wait(timeout: .seconds(60)), errors: process.errors)
        try #require(result.exit == .code(0), "\(result.errors)", sourceLocation: sourceLocation)
        return result
    }

    /// What went to the dead letters, in order.
    func deadLetters() throws -> [DeadLetter] {
        let path = checkpoints + "/p/dead-letter"
        let names = try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".ndjson") }
        return try names.sorted().flatMap { name in
            try String(contentsOfFile: "\(path)/\(name)", encoding: .utf8).split(separator: "\n").map {
                try JSONDecoder().decode(DeadLetter.self, from: Data($0.utf8))
            }
        }
    }

    struct DeadLetter: Decodable {
        var node: String
        var code: String
        var reason: String
        var raw: String
    }
}
