import DataflowCheckpoint
import DataflowOperator

/// Encodes and writes the state of checkpoints as tasks hand it over, and knows what earlier checkpoints hold of each
/// incremental table. Belongs to the coordinator.
struct CheckpointWriter {
    /// About as many bytes go into one entry of the manifest, so that encoding needs little memory beside the state itself.
    private static let entrySize = 4 << 20

    private struct TableID: Hashable {
        var node: String
        var subtask: Int
        var table: String
    }

    /// What has come of a table of the checkpoint being written.
    private struct Part {
        var table: StateTable
        var entries: [CheckpointManifest.Table] = []
        var bytes: [UInt8] = []
        var rowCount = 0
    }

    /// What has come of a task: its nodes, without tables, and the tables in the order they came.
    private struct Task {
        var nodes: [CheckpointManifest.Node] = []
        var order: [TableID] = []
        var parts: [TableID: Part] = [:]
    }

    private let session: CheckpointSession
    private var tasks: [TaskID: Task] = [:]
    /// The entries of each checkpoint that counts for an incremental table, the oldest first. Empty at a start: a table's first
    /// checkpoint after it holds all rows.
    private var history: [TableID: [[CheckpointManifest.Table]]] = [:]
    /// Bytes written for the checkpoint.
    private(set) var byteCount = 0

    init(_ session: CheckpointSession) { self.session = session }

    /// A new checkpoint begins.
    mutating func begin() {
        tasks = [:]
        byteCount = 0
    }

    /// Writes what a task has handed over.
    mutating func write(_ snapshot: TaskSnapshot) throws(CheckpointError) {
        var task = tasks.removeValue(forKey: snapshot.task) ?? Task()
        for stage in snapshot.stages {
            if let index = task.nodes.firstIndex(where: { $0.name == stage.stage.name }) {
                task.nodes[index].committables += stage.committables.map { .init(subtask: stage.subtask, json: $0) }
            } else {
                task.nodes.append(
                    CheckpointManifest.Node(
                        name: stage.stage.name, type: stage.stage.type, parallelism: stage.stage.parallelism,
                        key: stage.stage.key, settings: stage.stage.settings,
                        committables: stage.committables.map { .init(subtask: stage.subtask, json: $0) }))
            }
            for table in stage.tables {
                let id = TableID(node: stage.stage.name, subtask: stage.subtask, table: table.name)
                if task.parts[id] == nil { task.order.append(id) }
                var part = task.parts.removeValue(forKey: id) ?? Part(table: table)
                for batch in table.batches {
                    StateTableCoder.encode(batch, into: &part.bytes)
                    part.rowCount += batch.rowCount
                    if part.bytes.count >= CheckpointWriter.entrySize { try flush(&part, id, snapshot.checkpoint) }
                }
                for file in table.files {
                    let name = try session.keep(file.contents, for: snapshot.checkpoint)
                    let place = file.contents.directory
                    part.entries.append(
                        CheckpointManifest.Table(
                            subtask: id.subtask, name: id.table, version: table.version,
                            distribution: .init(table.distribution), rowCount: file.contents.rowCount,
                            offset: place.offset, length: place.byteCount, crc32: 0,
                            spilled: .init(
                                file: name, keyGroups: file.keyGroups, mark: file.mark, checksum: place.checksum)))
                }
                task.parts[id] = part
            }
        }
        tasks[snapshot.task] = task
    }

    private mutating func flush(
        _ part: inout Part, _ id: TableID, _ checkpoint: CheckpointID
    ) throws(CheckpointError) {
        let isKept = part.table.increment?.isKept == true && !part.bytes.isEmpty
        let place = try session.append(part.bytes, to: checkpoint, isKept ? .increments : .state)
        part.entries.append(
            CheckpointManifest.Table(
                subtask: id.subtask, name: id.table, version: part.table.version,
                distribution: .init(part.table.distribution), rowCount: part.rowCount, offset: place.offset,
                length: place.length, crc32: place.crc32, isNumbered: part.table.increment == nil ? nil : true,
                increments: isKept ? checkpoint.number : nil))
        byteCount += part.bytes.count
        part.bytes.removeAll(keepingCapacity: true)
        part.rowCount = 0
    }

    /// The task has handed over everything.
    ///
    /// - Returns: its nodes, for the manifest.
    mutating func finish(
        _ task: TaskID, _ checkpoint: CheckpointID
    ) throws(CheckpointError) -> [CheckpointManifest.Node] {
        guard let work = tasks.removeValue(forKey: task) else { return [] }
        var nodes = work.nodes
        for id in work.order {
            guard var part = work.parts[id], let index = nodes.firstIndex(where: { $0.name == id.node }) else {
                continue
            }
            if part.entries.isEmpty || !part.bytes.isEmpty { try flush(&part, id, checkpoint) }
            guard let increment = part.table.increment else {
                nodes[index].tables += part.entries
                continue
            }
            let before = history[id] ?? []
            precondition(increment.keeps <= before.count, "table \(id) counts on checkpoints that did not keep it")
            let kept = Array(before.suffix(increment.keeps)) + [part.entries]
            history[id] = increment.isKept ? kept : nil
            nodes[index].tables += kept.joined()
        }
        return nodes
    }
}
