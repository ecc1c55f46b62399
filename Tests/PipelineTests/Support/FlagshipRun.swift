import Foundation

/// `dataflow run pipelines/openfood.yaml` with the settings of a test.
struct FlagshipRun {
    var api: String
    var database: String
    var checkpoints: String
    var rows: Int
    var settings: [String] = []
    var arguments: [String] = []

    /// Starts it.
    func start(settings more: [String] = [], arguments: [String] = []) throws -> ChildProcess {
        var line = ["run", "\(Repository.root)/pipelines/openfood.yaml"]
        for setting in settings + more { line += ["--set", setting] }
        return try ChildProcess(
            Repository.program("dataflow"), line + self.arguments + arguments,
            environment: [
                "OPENFOOD_URL": api, "PG_URL": database, "CHECKPOINT_PATH": checkpoints, "MAX_OFFSET": "\(rows)",
                "BATCH_LENGTH": "100",
            ])
    }
}
