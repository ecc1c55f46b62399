import Foundation

/// `dataflow run pipelines/openfood.yaml` with the settings of a test.
package struct FlagshipRun {
    package var api: String
    package var database: String
    package var checkpoints: String
    package var rows: Int
    package var settings: [String]
    package var arguments: [String]

    package init(
        api: String, database: String, checkpoints: String, rows: Int, settings: [String] = [], arguments: [String] = []
    ) {
        self.api = api
        self.database = database
        self.checkpoints = checkpoints
        self.rows = rows
        self.settings = settings
        self.arguments = arguments
    }

    /// Starts it.
    package func start(settings more: [String] = [], arguments: [String] = []) throws -> ChildProcess {
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
