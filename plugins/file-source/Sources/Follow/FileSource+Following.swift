import DataflowColumnar
import DataflowFiles
import DataflowOperator

/// `follow: true`: the calls of the contract, executed on a ``FileFollower``.
extension FileSource {
    /// Subtasks besides the first have nothing to follow.
    private var isFollower: Bool { context.subtask == 0 }

    func openFollowing(_ state: StateSnapshot) throws(OperatorError) {
        guard isFollower else { return }
        let now = context.clock.now
        follower?.nextNumber = firstFreeNumber(state)
        try follower?.restore(state, now)
        if let known = follower?.files, !known.isEmpty { follower?.events.append(.assigned(known.map(\.number))) }
        try follower?.scan(now)
        nextScan = now.advanced(by: config.scanInterval)
    }

    func pollFollowing(
        until deadline: ContinuousClock.Instant, into output: inout OutputBuffer
    ) throws(OperatorError) -> PollResult {
        guard isFollower else { return .endOfInput }
        let now = context.clock.now
        if now >= nextScan {
            try follower?.scan(now)
            nextScan = now.advanced(by: config.scanInterval)
        }
        tell(into: &output)
        var hasEmitted = false
        while !output.isFull, let index = follower?.nextReady() {
            hasEmitted = try read(index, now, into: &output) || hasEmitted
            if output.rowLimit != nil, hasEmitted { break }
        }
        tell(into: &output)
        emitErrors(into: &output)
        return hasEmitted ? .emitted : .idle
    }

    private func tell(into output: inout OutputBuffer) {
        for event in follower?.events ?? [] { output.emit(event) }
        follower?.events = []
        for loss in follower?.losses ?? [] {
            errors.append(
                code: "bytes_lost",
                reason: "\(loss.path) \(loss.reason) before \(loss.byteCount) bytes that stood in it had been read",
                position: "\(loss.path):\(loss.position)")
        }
        follower?.losses = []
    }

    /// Reads a chunk.
    /// - Returns: whether there were rows.
    private func read(
        _ index: Int, _ now: ContinuousClock.Instant, into output: inout OutputBuffer
    ) throws(OperatorError) -> Bool {
        guard var known = follower?.files[index], let file = known.file else { return false }
        let status = try file.status()
        if try !known.content.isContinued(by: file, status) {
            try follower?.restart(index, status, now)
            return false
        }
        try known.content.noteHead(file, status)
        known.seenByteCount = status.byteCount
        let reader: RecordReader
        if let open = known.reader {
            reader = open
        } else {
            reader = try RecordReader(
                file, from: known.content.position, chunkByteCount: config.chunk.bytes,
                maxRecordByteCount: config.maxRecord.bytes, quoted: config.format == .csv, isGrowing: true)
        }
        var oversize: [OversizeRecord] = []
        var chunk = try reader.next(
            oversize: &oversize, expecting: Int(clamping: status.byteCount - known.content.position + 1))
        for record in oversize { report(record, of: known.path) }
        if config.format == .csv, known.fields == nil, chunk != nil {
            known.fields = try csvFields(try file.reopened())
        }
        let unread = output.rowLimit.flatMap { cut(&chunk, to: $0) }
        if let chunk {
            emit(chunk, Split(number: known.number, path: known.path, fields: known.fields), into: &output)
        }
        try known.content.advance(to: unread ?? reader.position, in: file)
        known.isReady = chunk != nil
        known.reader = unread != nil || reader.takesRest ? nil : reader
        if chunk != nil {
            known.isIdle = false
        } else if !known.isIdle {
            known.isIdle = true
            follower?.events.append(.idle(known.number))
        }
        follower?.files[index] = known
        return chunk != nil
    }
}

extension FileFollower {
    private static let tableName = "followed"
    private static let schema = Schema([
        Field("path", .string, nullable: false), Field("number", .int32, nullable: false),
        Field("device", .int64, nullable: false), Field("inode", .int64, nullable: false),
        Field("head_bytes", .int64, nullable: false), Field("head", .int64, nullable: false),
        Field("tail_bytes", .int64, nullable: false), Field("tail", .int64, nullable: false),
        Field("position", .int64, nullable: false), Field("byte_count", .int64, nullable: false),
        Field("copy_of", .int32, nullable: false),
    ])

    /// The position of each file, with what tells it from others.
    func snapshot() -> StateSnapshot {
        let rows: [[Value]] = files.map { file in
            [
                .string(file.path), .int(Int64(file.number)), .int(Int64(bitPattern: file.device)),
                .int(Int64(bitPattern: file.inode)), .int(Int64(file.content.head.byteCount)),
                .int(Int64(bitPattern: file.content.head.hash)), .int(Int64(file.content.tail.byteCount)),
                .int(Int64(bitPattern: file.content.tail.hash)), .int(file.content.position), .int(file.seenByteCount),
                .int(Int64(file.copyOf ?? -1)),
            ]
        }
        return [
            StateTable(
                FileFollower.tableName, distribution: .split(column: 0),
                [RecordBatch(FileFollower.schema, rows: rows)]),
            StateTable(
                "numbering", distribution: .split(column: 0),
                [RecordBatch(FileSource.numberingSchema, rows: [["next", .int(Int64(nextNumber))]])]),
        ]
    }

    /// Takes up the files of a checkpoint, also of one that was taken without `follow`.
    mutating func restore(_ state: StateSnapshot, _ now: ContinuousClock.Instant) throws(OperatorError) {
        if state["files"] != nil {
            for batch in try state.readOnce() {
                for row in batch.rows {
                    guard case .string(let path) = row[0], case .int(let inode) = row[1],
                        case .int(let position) = row[3],
                        case .int(let number) = row[5], !path.hasSuffix(".gz"), let status = InputFile.status(of: path)
                    else { continue }
                    var content = FileContent()
                    content.position = position
                    files.append(
                        FollowedFile(
                            number: Int32(truncatingIfNeeded: number), path: path, device: status.device,
                            inode: position == 0 ? status.inode : UInt64(bitPattern: inode), content: content, now: now)
                    )
                }
            }
        } else if !state.isEmpty {
            for batch in try state.batches(FileFollower.tableName, FileFollower.schema) {
                for row in batch.rows {
                    guard case .string(let path) = row[0] else { continue }
                    let numbers = row.map { if case .int(let number) = $0 { number } else { Int64(0) } }
                    var file = FollowedFile(
                        number: Int32(truncatingIfNeeded: numbers[1]), path: path,
                        device: UInt64(bitPattern: numbers[2]), inode: UInt64(bitPattern: numbers[3]), now: now)
                    file.content.head = Fingerprint(
                        byteCount: Int(numbers[4]), hash: UInt64(bitPattern: numbers[5]))
                    file.content.tail = Fingerprint(
                        byteCount: Int(numbers[6]), hash: UInt64(bitPattern: numbers[7]))
                    file.content.position = numbers[8]
                    file.seenByteCount = numbers[9]
                    file.copyOf = numbers[10] < 0 ? nil : Int32(truncatingIfNeeded: numbers[10])
                    files.append(file)
                }
            }
        }
        files.sort { $0.number < $1.number }
    }
}

extension [StateTable] {
    /// The positions of files that are read once.
    fileprivate func readOnce() throws(OperatorError) -> [RecordBatch] { try batches("files", FileSource.stateSchema) }
}

extension FileSource {
    /// Positions of followed files are of no use to a source that reads files once.
    func requireNoFollowedFiles(_ state: StateSnapshot) throws(OperatorError) {
        guard state["followed"] != nil else { return }
        throw OperatorError(
            .user, .never, "state_mismatch",
            "the checkpoint was taken with `follow: true`, whose positions cannot be taken over; set it again, or start anew with --restore none"
        )
    }
}
