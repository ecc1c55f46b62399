import DataflowFiles
public import DataflowOperator

/// Reads files record by record, every one exactly once across restarts.
///
/// A file is a split. The files are dealt out to the subtasks by their order; each subtask reads its own one after the
/// other, or, where event time is declared behind it, all at once and in step (always the one of which the smallest part
/// has been read; a subtask that is ahead of another gives way), so that watermarks advance together. A checkpoint keeps
/// the position behind the last record of each file.
///
/// With `follow` the files are those of a ``FileFollower``, on one subtask, and there is no end.
public final class FileSource: Source {
    public typealias Config = FileSourceConfig

    public static let info = OperatorInfo(
        "file-source", .source, "Reads the records of files: lines of JSON or text, or CSV.", blocks: true)

    static let stateSchema = Schema([
        Field("path", .string, nullable: false), Field("inode", .int64, nullable: false),
        Field("byte_count", .int64, nullable: false), Field("position", .int64, nullable: false),
        Field("finished", .bool, nullable: false), Field("number", .int32, nullable: false),
    ])
    /// The number of the next new file: a number is never given twice, because operators behind keep state by it.
    static let numberingSchema = Schema([
        Field("split", .string, nullable: false), Field("next", .int32, nullable: false),
    ])

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        let values =
            switch config.format {
            case .ndjson: [Field("value", .bytes, nullable: false)]
            case .text: [Field("value", .string, nullable: false)]
            case .csv: config.columns.map { Field($0.value, .string) }
            }
        return [
            Stream(
                Schema(values + [Field("path", .string, nullable: false), Field("offset", .int64, nullable: false)]))
        ]
    }

    /// One file of this subtask.
    struct Split {
        var number: Int32
        var path: String
        var reader: RecordReader?
        var identity: InputFile.Identity?
        var position: Int64 = 0
        var finished = false
        /// Which field of a record each column is, once the header is known.
        var fields: [Int]?
    }

    let config: Config
    let context: OperatorContext
    let schema: Schema
    private var splits: [Split] = []
    /// All splits before this one are finished.
    private var firstOpen = 0
    private var nextNumber: Int32 = 0
    private var announced = false
    var errors: ErrorRows
    /// Nil where the files are read once.
    var follower: FileFollower?
    /// When ``follower`` is to look at the files again.
    var nextScan: ContinuousClock.Instant

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
        do throws(ConfigError) {
            schema = try FileSource.outputs(config, inputs: [])[0].schema
        } catch { throw OperatorError(.user, .never, "invalid_configuration", "\(error)") }
        errors = ErrorRows(context)
        nextScan = context.clock.now
        if config.follow { follower = FileFollower(config, context.logger) }
    }

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        if follower != nil { return try openFollowing(state) }
        try requireNoFollowedFiles(state)
        let (files, unmatched) = matchingFiles(config.path.elements)
        if let pattern = unmatched.first, !config.allowMissing {
            throw OperatorError(
                .user, .never, "no_such_file",
                "no file matches \(pattern); set `allow_missing: true` if that is all right")
        }
        var restored: [String: [Value]] = [:]
        for batch in state["files"]?.batches ?? [] {
            guard batch.schema == FileSource.stateSchema else {
                throw OperatorError(
                    .user, .never, "state_version",
                    "the checkpoint's positions were written by another version of file-source; "
                        + "use the build that wrote them, or start anew with --restore none")
            }
            for row in batch.rows { if case .string(let path) = row[0] { restored[path] = row } }
        }
        nextNumber = firstFreeNumber(state)
        for path in files {
            let row = restored.removeValue(forKey: path)
            var split = Split(number: nextNumber, path: path)
            if let row, case .int(let number) = row[5] {
                split.number = Int32(truncatingIfNeeded: number)
            } else {
                nextNumber += 1
            }
            guard Int(split.number) % context.parallelism == context.subtask else { continue }
            if let row { try restore(&split, row) }
            splits.append(split)
        }
        splits.sort { $0.number < $1.number }
        // Positions of files that are gone are forgotten only when they had been read to the end.
        let known = Set(files)
        for (path, row) in restored where !known.contains(path) && row[4] == .bool(false) {
            throw OperatorError(
                .user, .never, "file_vanished",
                "\(path) had not been read to its end and is gone; put it back, or start anew with --restore none")
        }
        if context.eventTimeDownstream {
            for index in splits.indices where !splits[index].finished { try openReader(index) }
        }
    }

    /// Behind every number that a checkpoint names; 0 for a new start.
    func firstFreeNumber(_ state: StateSnapshot) -> Int32 {
        var next: Int32 = 0
        for row in (state["numbering"]?.batches ?? []).flatMap(\.rows) {
            if case .int(let number) = row[1] { next = max(next, Int32(truncatingIfNeeded: number)) }
        }
        return next
    }

    private func restore(_ split: inout Split, _ row: [Value]) throws(OperatorError) {
        guard case .int(let inode) = row[1], case .int(let byteCount) = row[2], case .int(let position) = row[3],
            case .bool(let finished) = row[4]
        else { throw OperatorError(.engine, .never, "bad_state", "the state of \(split.path) cannot be read") }
        guard byteCount >= 0 else { return }
        split.position = position
        split.identity = InputFile.Identity(inode: UInt64(bitPattern: inode), byteCount: byteCount)
        let file = try InputFile(path: split.path)
        if UInt64(bitPattern: inode) != file.identity.inode || file.identity.byteCount < byteCount {
            let what = file.identity.byteCount < byteCount ? "has shrunk" : "was replaced by another file"
            guard finished, file.identity.inode != UInt64(bitPattern: inode) else {
                throw OperatorError(
                    .user, .never, "file_changed",
                    "\(split.path) \(what) since the checkpoint, which stands at byte \(position); put the old file back, or start anew with --restore none"
                )
            }
            // A finished file was replaced: the new one is read from its start.
            split.position = 0
            split.identity = nil
            return
        }
        // A file that was read to the end and has grown since is read on.
        split.finished = finished && file.identity.byteCount == byteCount
    }

    private func openReader(_ index: Int) throws(OperatorError) {
        let file = try InputFile(path: splits[index].path)
        splits[index].identity = file.identity
        if config.format == .csv { splits[index].fields = try csvFields(try file.reopened()) }
        splits[index].reader = try RecordReader(
            file, from: splits[index].position, chunkByteCount: config.chunk.bytes,
            maxRecordByteCount: config.maxRecord.bytes, quoted: config.format == .csv)
    }

    public func poll(
        until deadline: ContinuousClock.Instant, into output: inout OutputBuffer
    ) async throws(OperatorError) -> PollResult {
        if follower != nil { return try pollFollowing(until: deadline, into: &output) }
        if !announced {
            announced = true
            output.emit(.assigned(splits.filter { !$0.finished }.map(\.number)))
        }
        if context.eventTimeDownstream, context.parallelism > 1 { keepInStep(splits) }
        guard let index = nextSplit() else { return .endOfInput }
        if splits[index].reader == nil { try openReader(index) }
        guard let reader = splits[index].reader else { return .idle }
        var oversize: [OversizeRecord] = []
        var chunk = try reader.next(oversize: &oversize)
        for record in oversize { report(record, of: splits[index].path) }
        let unread = output.rowLimit.flatMap { cut(&chunk, to: $0) }
        if let chunk { emit(chunk, splits[index], into: &output) }
        emitErrors(into: &output)
        splits[index].position = unread ?? reader.position
        if unread != nil {
            // What is behind the limit is read again, from there.
            splits[index].reader = nil
        } else if reader.isFinished {
            splits[index].finished = true
            splits[index].reader = nil
            output.emit(.ended(splits[index].number))
        }
        return .emitted
    }

    /// Takes the records behind the first `limit` out of a chunk.
    /// - Returns: the position of the first of them; nil where there is none.
    func cut(_ chunk: inout RecordChunk?, to limit: Int) -> Int64? {
        guard let whole = chunk else { return nil }
        let kept = limit + (config.format == .csv && config.header && whole.position == 0 ? 1 : 0)
        guard whole.records.count > kept else { return nil }
        chunk?.records.removeLast(whole.records.count - kept)
        return whole.position + Int64(whole.records[kept].offset)
    }

    /// The file to read from next: the first that is not finished, or the one with the smallest part read.
    private func nextSplit() -> Int? {
        guard context.eventTimeDownstream else {
            while firstOpen < splits.count, splits[firstOpen].finished { firstOpen += 1 }
            return firstOpen < splits.count ? firstOpen : nil
        }
        let open = splits.indices.filter { !splits[$0].finished }
        return open.min { (splits[$0].reader?.file.fraction ?? 0) < (splits[$1].reader?.file.fraction ?? 0) }
    }

    // MARK: Rows

    func emitErrors(into output: inout OutputBuffer) {
        guard errors.count > 0 else { return }
        context.counters.add(errors: errors.count)
        output.emit(errors.finish(), to: .errors)
    }

    /// Which field each column is: by the header, or by position.
    func csvFields(_ file: InputFile) throws(OperatorError) -> [Int] {
        guard config.header else { return Array(config.columns.indices) }
        let path = file.path
        let reader = try RecordReader(
            file, from: 0, chunkByteCount: 1 << 16, maxRecordByteCount: config.maxRecord.bytes,
            quoted: true)
        var ignored: [OversizeRecord] = []
        guard let chunk = try reader.next(oversize: &ignored), let first = chunk.records.first else { return [] }
        let names = chunk.buffer.withUnsafeBytes { bytes in
            let raw = UnsafeRawBufferPointer(rebasing: bytes[first.offset..<first.offset + first.length])
            return (CSVRecord.split(raw, delimiter: config.delimiter.utf8.first ?? 0x2C) ?? []).map { span in
                let bytes = UnsafeRawBufferPointer(rebasing: raw[span.range])
                return String(decoding: span.escaped ? CSVRecord.unescape(bytes) : Array(bytes), as: UTF8.self)
            }
        }
        var fields: [Int] = []
        for column in config.columns {
            guard let field = names.firstIndex(of: column.value) else {
                throw OperatorError(
                    .user, .never, "no_such_column",
                    "\(path) has no column `\(column.value)`; its header has \(names.joined(separator: ", "))")
            }
            fields.append(field)
        }
        return fields
    }

    func report(_ record: OversizeRecord, of path: String) {
        record.head.withUnsafeBytes {
            errors.append(
                code: "record_too_long",
                reason: "a record of \(record.byteCount) bytes is longer than `max_record`, \(config.maxRecord)",
                position: "\(path):\(record.position)", raw: $0)
        }
    }

    // MARK: State

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        if let follower { return follower.snapshot() }
        // A file that was not opened yet has no identity, but its number is settled.
        let rows: [[Value]] = splits.map { split in
            [
                .string(split.path), .int(Int64(bitPattern: split.identity?.inode ?? 0)),
                .int(split.identity?.byteCount ?? -1), .int(split.position), .bool(split.finished),
                .int(Int64(split.number)),
            ]
        }
        return [
            StateTable("files", distribution: .split(column: 0), [RecordBatch(FileSource.stateSchema, rows: rows)]),
            StateTable(
                "numbering", distribution: .split(column: 0),
                [RecordBatch(FileSource.numberingSchema, rows: [["next", .int(Int64(nextNumber))]])]),
        ]
    }

    public func close() async {
        splits = []
        follower = nil
    }
}

/// `file-source`.
public enum FileSourcePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.source(FileSource.self)]
}
