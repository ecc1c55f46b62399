import DataflowEndToEnd
import Foundation

/// A pipeline with all that it needs, whose faults and output the harness knows.
///
/// An instance is one life of the pipeline: its checkpoints, its input, and what it has written so far.
package protocol Scenario: AnyObject, SendableMetatype {
    static var name: String { get }
    /// What can go wrong for it.
    static var faults: [Fault.Kind] { get }
    /// Whether what it needs is on this machine.
    static var isAvailable: Bool { get }

    /// Starts the servers that it needs.
    ///
    /// - Parameter rows: how much input there is; the same number gives the same input.
    init(rows: Int) throws

    /// The pipeline file.
    var pipeline: String { get }
    /// Of this life alone; `ROWS`, `CHECKPOINT_PATH` and `RATE` are set by the harness.
    var environment: [String: String?] { get }
    /// Further words of the command line for input that lasts so long; nil: to its end, as fast as it goes, without faults.
    func arguments(lasting: Duration?) -> [String]
    /// Sees to it that input comes, where that is not the pipeline's own affair. Called before each fault.
    ///
    /// - Parameter share: of the faults, that have happened by the next call; after the last one 1: all input must be there.
    func feed(share: Double) throws

    /// Gets ready for a fault, while the program runs.
    func prepare(_ fault: Fault) throws
    /// Lets a fault happen; what happens to the program itself is the harness's.
    func begin(_ fault: Fault) throws
    /// Mends it again.
    func end(_ fault: Fault) throws

    /// Everything that was written, by place, in an order that does not depend on when it was written.
    func output() throws -> [String: [String]]
    /// What did not happen that the scenario is there for. Asked when the faults are over, before the last run, and behind it.
    ///
    /// - Parameters:
    ///   - checkpoints: the checkpoint folder; the program does not run.
    ///   - log: what the last run has written to its standard error; nil before it.
    func shortcomings(checkpoints: String, log: String?) throws -> [String]
    /// What ``output()`` must be: without a better way to know, what a life without faults writes.
    static func expected(rows: Int) throws -> [String: [String]]
    /// What else is worth knowing of this life, before the last run is `over` and behind it.
    func remarks(over: Bool) throws -> [String]
}

extension Scenario {
    package static var isAvailable: Bool { true }
    package func arguments(lasting: Duration?) -> [String] { [] }
    package func feed(share: Double) throws {}
    package func prepare(_ fault: Fault) throws {}
    package func begin(_ fault: Fault) throws {}
    package func end(_ fault: Fault) throws {}
    package func shortcomings(checkpoints: String, log: String?) throws -> [String] { [] }
    package static func expected(rows: Int) throws -> [String: [String]] {
        try ChaosRun.withoutFaults(Self(rows: rows), rows: rows)
    }
    package func remarks(over: Bool) -> [String] { [] }
}

package enum Scenarios {
    package static var all: [any Scenario.Type] {
        [
            FilesScenario.self, SpillScenario.self, PostgresScenario.self, OpenFoodScenario.self,
            KafkaSinkScenario.self, KafkaScenario.self,
        ]
    }
}

/// `Tests/Resources/chaos/files.yaml`.
package final class FilesScenario: Scenario {
    package static let name = "files"
    package static let faults: [Fault.Kind] = [.kill, .stop, .clockJump, .slowDisk, .diskFull]

    private let folder: TemporaryFolder

    package init(rows: Int) throws { folder = try TemporaryFolder() }

    package var pipeline: String { "\(Repository.root)/Tests/Resources/chaos/files.yaml" }
    package var environment: [String: String?] { ["OUT": folder.path] }

    package func output() throws -> [String: [String]] {
        var found: [String: [String]] = [:]
        for place in ["rows", "windows", "visits"] { found[place] = try folder.lines(inPartsOf: place) }
        return found
    }
}

extension TemporaryFolder {
    /// The lines of all parts that a file-sink has left in a folder, sorted.
    func lines(inPartsOf place: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(place)").filter { $0.hasSuffix(".ndjson") }
            .flatMap { text("\(place)/\($0)").split(separator: "\n").map(String.init) }.sorted()
    }
}
