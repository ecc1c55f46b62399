import DataflowCheckpoint
import DataflowOperator

/// Gives the state of a checkpoint to the nodes of a pipeline, whatever parallelism either has.
struct StateRestorer: Sendable {
    let checkpoint: LoadedCheckpoint

    /// Compares the manifest with the nodes that are about to run.
    ///
    /// - Parameters:
    ///   - stages: every stage of the plan that can hold state.
    ///   - forgotten: names of nodes whose state the user gives up.
    /// - Throws: `.incompatible`: state that no node takes, of another operator, or keyed otherwise.
    init(
        _ checkpoint: LoadedCheckpoint, for stages: [StageIdentity], forgetting forgotten: Set<String>
    ) throws(CheckpointError) {
        self.checkpoint = checkpoint
        for node in checkpoint.manifest.nodes where !node.isStateless && !forgotten.contains(node.name) {
            let advice =
                "Give the node its former name and settings, or start with --forget-state \(node.name) to give its state up"
            let id = checkpoint.manifest.id
            func refuse(_ what: String) -> CheckpointError { CheckpointError(.incompatible, "\(what). \(advice)") }
            guard let stage = stages.first(where: { $0.name == node.name }) else {
                throw refuse(
                    "checkpoint \(id) holds state of node '\(node.name)', which the pipeline does not have any more")
            }
            guard stage.type == node.type else {
                throw refuse(
                    "checkpoint \(id) holds state of node '\(node.name)' as \(node.type), now it is \(stage.type)")
            }
            let changed = Self.changed(node.settings ?? stage.settings, stage.settings)
            guard changed.isEmpty || node.tables.isEmpty else {
                throw refuse(
                    "the state of node '\(node.name)' in checkpoint \(id) was kept with \(changed.count == 1 ? "another" : "other") \(changed.map { "`\($0)`" }.joined(separator: ", "))"
                )
            }
            let isKeyed = node.tables.contains { table in
                if case .keyGroup = table.distribution { true } else { false }
            }
            guard !isKeyed || stage.key == node.key else {
                throw refuse(
                    "the state of node '\(node.name)' in checkpoint \(id) is keyed by \(Self.list(node.key)), the pipeline now says \(Self.list(stage.key))"
                )
            }
        }
        self.forgotten = forgotten
    }

    private let forgotten: Set<String>

    /// The names of settings that differ, in order.
    private static func changed(_ old: [String: UInt32], _ new: [String: UInt32]) -> [String] {
        Set(old.keys).union(new.keys).filter { old[$0] != new[$0] }.sorted()
    }

    private static func list(_ key: [String]) -> String { "(\(key.joined(separator: ", ")))" }

    /// The tables that one subtask takes up.
    func state(of stage: StageIdentity, subtask: Int) throws(CheckpointError) -> StateSnapshot {
        guard let node = checkpoint.manifest[node: stage.name], !forgotten.contains(stage.name) else { return [] }
        var tables: [StateTable] = []
        // Of an incremental table's rows the newest count: entries come newest first, by the subtask that wrote them.
        var mergers: [Int: [String: IncrementMerger]] = [:]
        let numbered = node.tables.filter { $0.isNumbered == true }
        for entry in node.tables.filter({ $0.isNumbered != true }) + numbered.reversed() {
            func read() throws(CheckpointError) -> [RecordBatch] {
                let batches = try StateTableCoder.read(entry, of: checkpoint)
                guard entry.isNumbered == true else { return batches }
                var merger = mergers[entry.subtask]?[entry.name] ?? IncrementMerger()
                mergers[entry.subtask]?[entry.name] = nil
                defer { mergers[entry.subtask, default: [:]][entry.name] = merger }
                var rows: [RecordBatch] = []
                do throws(IncrementMerger.Damage) {
                    for batch in batches.reversed() { if let part = try merger.take(batch) { rows.append(part) } }
                } catch {
                    throw CheckpointError(
                        .damaged,
                        "the state table '\(entry.name)' of checkpoint \(checkpoint.manifest.id) cannot be read: \(error)"
                    )
                }
                return rows
            }
            let distribution = StateTable.Distribution(entry.distribution)
            if let spilled = entry.spilled {
                let owned = KeyGroup.range(of: subtask, parallelism: stage.parallelism)
                    .clamped(to: spilled.firstKeyGroup..<max(spilled.firstKeyGroup, spilled.endKeyGroup))
                guard !owned.isEmpty else { continue }
                let file = StateTable.File(
                    try checkpoint.file(of: entry, spilled), keyGroups: owned, mark: spilled.mark)
                if let index = tables.firstIndex(where: { $0.name == entry.name }) {
                    tables[index].files.append(file)
                } else {
                    tables.append(
                        StateTable(entry.name, version: entry.version, distribution: distribution, [], files: [file]))
                }
                continue
            }
            var batches: [RecordBatch]
            switch distribution {
            case .subtask:
                guard entry.subtask % stage.parallelism == subtask else { continue }
                batches = try read()
            case .split:
                batches = try read()
            case .keyGroup(let column):
                let isUnchanged = stage.parallelism == node.parallelism
                if isUnchanged, entry.subtask != subtask { continue }
                batches = try read()
                if !isUnchanged {
                    batches = batches.compactMap { Self.rows(of: $0, column, subtask, stage.parallelism) }
                }
            }
            if let index = tables.firstIndex(where: { $0.name == entry.name }) {
                tables[index].batches += batches
            } else {
                tables.append(StateTable(entry.name, version: entry.version, distribution: distribution, batches))
            }
        }
        return tables
    }

    /// The rows whose key group belongs to the subtask.
    private static func rows(
        of batch: RecordBatch, _ column: Int, _ subtask: Int, _ parallelism: Int
    ) -> RecordBatch? {
        guard let groups = batch.columns[column].int32Values else {
            preconditionFailure("column \(column) of a state table holds no key groups (int32)")
        }
        let owned = Bitmap(count: batch.rowCount) { row in
            KeyGroup.subtask(of: groups[row], parallelism: parallelism) == subtask
        }
        return owned.setCount == 0 ? nil : batch.filter(owned)
    }

    /// What a subtask's sinks have to commit again.
    func committables(of stage: StageIdentity, subtask: Int) -> [String] {
        guard !forgotten.contains(stage.name) else { return [] }
        return (checkpoint.manifest[node: stage.name]?.committables ?? [])
            .filter { $0.subtask % stage.parallelism == subtask }.map(\.json)
    }
}
