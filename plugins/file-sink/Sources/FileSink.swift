public import DataflowColumnar
public import DataflowConfig
public import DataflowOperator
import DataflowText
import Glibc
import Logging

/// The plugin of `file-sink`.
public enum FileSinkPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.sink(FileSink.self)]
}

/// `file-sink`: rows to files, exactly once.
///
/// Rows go to a hidden file. At a checkpoint it is written to the disk under a name that carries the checkpoint's number;
/// at the commit it is renamed to `part-<checkpoint>-<subtask>.ndjson`, or with `single_file` appended to the one file
/// at an offset that the checkpoint knows. Both may be done again without harm. At a start, hidden files that the restored
/// checkpoint does not know are removed, and the one file is cut to the length that it knows.
public final class FileSink: Sink {
    public typealias Config = FileSinkConfig

    /// A file that is complete and on the disk, and where it belongs.
    public struct Committable: Codable, Sendable, Equatable {
        /// The hidden file's name.
        var prepared: String
        /// The name that readers see.
        var published: String
        var byteCount: Int
        /// Where the bytes go in the published file; nil: they are all of it.
        var offset: Int?
    }

    public static let info = OperatorInfo(
        "file-sink", .sink, "Writes rows to files as NDJSON or CSV, exactly once.", maxParallelism: 1, blocks: true)

    /// Text is gathered up to this size before it is written.
    private static let bufferByteCount = 1 << 20

    private let config: Config
    private let context: OperatorContext
    private let folder: SinkFolder
    /// The file's name where there is one file.
    private let fileName: String?
    private let rows: RowText
    private var text = TextBuffer(capacity: FileSink.bufferByteCount + (64 << 10))
    private var history: HistoryFile?
    /// The hidden file that rows are going to.
    private var current: OutputFile?
    /// Hidden files of this checkpoint that are full, and those bytes' number.
    private var full: [(name: String, byteCount: Int)] = []
    private var nextTemporary = 0
    /// With `single_file`: the length that the file has when all checkpoints so far are committed.
    private var length = 0
    private var hasHeader = false

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        guard let input = inputs.first else {
            throw ConfigError("missing-input", "file-sink needs an input: add `from: <node>`")
        }
        if case .upsert(let key) = input.kind {
            throw ConfigError(
                "upsert-input",
                "file-sink appends rows, but its input is an upsert stream keyed by \(key.joined(separator: ", ")), whose "
                    + "rows replace earlier ones",
                hint: "write it with pg-sink, or write the rows in front of the aggregation")
        }
        return []
    }

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
        rows = RowText(config.format)
        if config.singleFile {
            let slash = config.path.lastIndex(of: "/")
            fileName = String(slash.map { config.path[config.path.index(after: $0)...] } ?? config.path[...])
            folder = SinkFolder(
                path: slash.map { $0 == config.path.startIndex ? "/" : String(config.path[..<$0]) } ?? ".")
        } else {
            fileName = nil
            var path = config.path
            while path.count > 1, path.hasSuffix("/") { path.removeLast() }
            folder = SinkFolder(path: path)
        }
    }

    // MARK: - Names

    private static let preparedSuffix = ".prepared"
    private static let temporarySuffix = ".tmp"

    /// What hidden files of this sink begin with.
    private var hiddenPrefix: String { fileName.map { ".\($0)." } ?? ".part-" }

    private func temporaryName() -> String {
        nextTemporary += 1
        return "\(hiddenPrefix)\(nextTemporary)\(FileSink.temporarySuffix)"
    }

    private static func digits(_ number: UInt64) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, 8 - text.utf8.count)) + text
    }

    /// `part-00000012-0.ndjson`; further parts of a checkpoint get a number, and a part that would replace one of another
    /// history the lineage's beginning.
    private func partName(_ checkpoint: CheckpointID, _ number: Int) -> String {
        let stem = "part-\(FileSink.digits(checkpoint.number))-\(context.subtask)" + (number == 0 ? "" : "-\(number)")
        let name = "\(stem).\(config.format.rawValue)"
        guard folder.size(of: name) != nil else { return name }
        return "\(stem)-\(context.lineage.prefix(8)).\(config.format.rawValue)"
    }

    /// The hidden name of a complete file; the checkpoint's number is found again by ``epoch(ofPrepared:)``.
    private func preparedName(_ checkpoint: CheckpointID, _ number: Int) -> String {
        "\(hiddenPrefix)\(FileSink.digits(checkpoint.number))-\(number)\(FileSink.preparedSuffix)"
    }

    private func epoch(ofPrepared name: String) -> UInt64? {
        guard name.hasPrefix(hiddenPrefix), name.hasSuffix(FileSink.preparedSuffix) else { return nil }
        let middle = name.dropFirst(hiddenPrefix.count).dropLast(FileSink.preparedSuffix.count)
        return middle.split(separator: "-").first.flatMap { UInt64($0) }
    }

    // MARK: - Opening

    private static let stateName = "file"
    private static let stateVersion: UInt32 = 1
    private static let stateSchema = Schema([Field("length", .int64, nullable: false)])

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        try folder.make()
        let name = fileName.map { ".\($0).history" } ?? ".history"
        let history = try HistoryFile(folder.path(of: name), output: config.path)
        self.history = history
        let published = try history.read()
        if let published, let restored = context.restored, published.lineage == context.lineage,
            published.epoch > restored.id.number, !restored.acceptDuplicates
        {
            throw OperatorError(
                .user, .never, "sink_ahead",
                "\(config.path) has the rows of checkpoint \(published.epoch), but checkpoint \(restored.id) is being "
                    + "restored: its later rows would be written again; restore a later checkpoint, or if there is none that "
                    + "can be used, write them twice with --restore \(restored.id) --accept-duplicates")
        }
        try removeLeftovers()
        if let table = state[FileSink.stateName], let row = table.batches.first?["length"]?.int64Values, row.count > 0 {
            guard table.version == FileSink.stateVersion else {
                throw OperatorError(
                    .user, .never, "state_version",
                    "the checkpoint's state of file-sink has version \(table.version), expected \(FileSink.stateVersion)"
                )
            }
            length = Int(row[0])
        }
        if let fileName, context.restored != nil { try openPublished(fileName) }
        if context.restored == nil {
            if fileName == nil, try folder.names().contains(where: { $0.hasPrefix("part-") }) {
                context.logger.warning(
                    "\(config.path) has parts already; this run begins anew and puts its rows beside them: empty the folder if they should not stand there twice"
                )
            }
            try history.write(HistoryFile.Entry(lineage: context.lineage, epoch: 0))
        }
    }

    /// Hidden files of checkpoints that never became durable. What the pending commit needs stays.
    private func removeLeftovers() throws(OperatorError) {
        for name in try folder.names() where name.hasPrefix(hiddenPrefix) {
            if let epoch = epoch(ofPrepared: name) {
                if let restored = context.restored, restored.commitPending, epoch == restored.id.number { continue }
                try folder.remove(name)
            } else if name.hasSuffix(FileSink.temporarySuffix) {
                try folder.remove(name)
            }
        }
    }

    /// Cuts the file to what the checkpoint knows of it: more may have been appended by a commit that was not finished.
    private func openPublished(_ name: String) throws(OperatorError) {
        guard length > 0, let restored = context.restored, !restored.commitPending else { return }
        guard let size = folder.size(of: name), size >= length else {
            throw OperatorError(
                .user, .never, "target_replaced",
                "\(config.path) is shorter than the \(length) bytes that checkpoint \(restored.id) has written: it was "
                    + "replaced or cut; bring it back, or begin anew with --restore none")
        }
        if size > length {
            let file = try OutputFile(updating: folder.path(of: name))
            try file.truncate(to: length)
            try file.sync()
        }
    }

    // MARK: - Rows

    public func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {
        let file = try openFile(batch.schema)
        // Slices bound the text of one batch, whatever its size.
        var start = 0
        while start < batch.rowCount {
            let end = min(start + 1024, batch.rowCount)
            rows.write(start == 0 && end == batch.rowCount ? batch : batch.slice(start..<end), into: &text)
            start = end
            if text.count >= FileSink.bufferByteCount { try push(to: file) }
        }
        context.counters.add(passed: batch.rowCount)
        if fileName == nil, file.byteCount + text.count >= config.maxPartSize.bytes { try closeFile() }
    }

    private func openFile(_ schema: Schema) throws(OperatorError) -> OutputFile {
        if let current { return current }
        let file = try OutputFile(creating: folder.path(of: temporaryName()))
        current = file
        // The one file begins with the header once, each part with its own.
        let isBeginning = fileName == nil || (length == 0 && full.isEmpty)
        if config.header, isBeginning { rows.writeHeader(schema, into: &text) }
        return file
    }

    private func push(to file: OutputFile) throws(OperatorError) {
        try text.withUnsafeBytes { (bytes) throws(OperatorError) in try file.write(bytes) }
        text.removeAll()
    }

    private func closeFile() throws(OperatorError) {
        guard let file = current else { return }
        try push(to: file)
        try file.sync()
        let name = String(file.path.dropFirst(folder.path(of: "").count))
        full.append((name, file.byteCount))
        current = nil
    }

    // MARK: - Checkpoints

    public func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {
        // A run without rows still leaves its file: empty, or with the header.
        if fileName != nil, length == 0, full.isEmpty, current == nil {
            _ = try openFile(context.inputs.first?.schema ?? Schema([]))
        }
        try closeFile()
    }

    public func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [Committable] {
        guard !full.isEmpty else { return [] }
        var committables: [Committable] = []
        for (number, file) in full.enumerated() {
            let prepared = preparedName(checkpoint, number)
            try folder.rename(file.name, to: prepared)
            committables.append(
                Committable(
                    prepared: prepared, published: fileName ?? partName(checkpoint, number),
                    byteCount: file.byteCount, offset: fileName == nil ? nil : length))
            if fileName != nil { length += file.byteCount }
        }
        try folder.sync()
        full.removeAll()
        return committables
    }

    public func commit(_ committables: [Committable], _ checkpoint: CheckpointID) async throws(OperatorError) {
        try history?.write(HistoryFile.Entry(lineage: context.lineage, epoch: checkpoint.number))
        guard !committables.isEmpty else { return }
        for file in committables {
            if let offset = file.offset {
                try append(file, at: offset)
            } else if folder.size(of: file.prepared) != nil {
                try folder.rename(file.prepared, to: file.published)
            } else {
                try requirePublished(file, size: file.byteCount, checkpoint)
            }
        }
        try folder.sync()
        for file in committables where file.offset != nil { try folder.remove(file.prepared) }
    }

    /// Copies a prepared file to its place in the one file; does nothing where that was done before.
    private func append(_ file: Committable, at offset: Int) throws(OperatorError) {
        guard let size = folder.size(of: file.prepared) else {
            return try requirePublished(file, size: offset + file.byteCount, nil)
        }
        let target = try OutputFile(updating: folder.path(of: file.published))
        guard offset <= (try target.size()) else {
            throw OperatorError(
                .user, .never, "target_replaced",
                "\(folder.path(of: file.published)) is shorter than the \(offset) bytes written before: it was replaced or "
                    + "cut; bring it back, or begin anew with --restore none")
        }
        let source = try OutputFile(updating: folder.path(of: file.prepared))
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(max(size, 1), FileSink.bufferByteCount), alignment: 1)
        defer { memory.deallocate() }
        var done = 0
        while done < file.byteCount {
            let got = try source.read(into: memory, at: done)
            guard got > 0 else { throw fileFailure("read", folder.path(of: file.prepared), code: EIO) }
            try target.write(UnsafeRawBufferPointer(rebasing: memory[..<got]), at: offset + done)
            done += got
        }
        try target.truncate(to: offset + file.byteCount)
        try target.sync()
    }

    private func requirePublished(
        _ file: Committable, size: Int, _ checkpoint: CheckpointID?
    ) throws(OperatorError) {
        // A published part may have been taken away by its readers: the rename is known to have happened, since only a
        // commit removes the prepared name.
        guard file.offset != nil else { return }
        guard let found = folder.size(of: file.published), found >= size else {
            throw OperatorError(
                .user, .never, "target_replaced",
                "\(folder.path(of: file.published)) lacks rows that were written to it: it was replaced or cut; bring it "
                    + "back, or begin anew with --restore none")
        }
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        guard fileName != nil else { return [] }
        return [
            StateTable(
                FileSink.stateName, version: FileSink.stateVersion, distribution: .subtask,
                [RecordBatch(FileSink.stateSchema, [.int64([Int64(length)])])])
        ]
    }

    public func close() async {
        // Rows since the last checkpoint are given up: the next start writes them again.
        if let current { try? folder.remove(String(current.path.dropFirst(folder.path(of: "").count))) }
        current = nil
        for file in full { try? folder.remove(file.name) }
        full.removeAll()
        history = nil
    }
}
