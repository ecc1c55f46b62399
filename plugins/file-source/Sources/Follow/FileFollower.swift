import DataflowFiles
import DataflowOperator
import Logging

/// The files that patterns match now and later: finds new ones, knows renamed ones again, notices what was cut.
///
/// A file is known by device and inode together with fingerprints of how it begins and of what stands in front of the position.
/// One subtask follows all files, because a copy must be compared with what it was copied from.
struct FileFollower {
    /// Rows that are known to be lost.
    struct Loss {
        var path: String
        var position: Int64
        var byteCount: Int64
        var reason: String
    }

    let config: FileSourceConfig
    let logger: Logger
    var files: [FollowedFile] = []
    var nextNumber: Int32 = 0
    /// To be told downstream, oldest first.
    var events: [SplitEvent] = []
    /// To be reported, oldest first.
    var losses: [Loss] = []
    /// The split that ended when no other was left: it is kept until there is one, so that time can stand still instead of
    /// waiting for an end of input.
    private var lastEnded: Int32?
    /// How often files were cut.
    private(set) var truncations = 0
    private var warned: Set<String> = []
    /// Losses that a copy found in this scan may still make good, by the number of the file that was cut.
    private var pendingLosses: [Int32: Loss] = [:]
    private var turn = 0

    init(_ config: FileSourceConfig, _ logger: Logger) {
        self.config = config
        self.logger = logger
    }

    // MARK: Looking

    /// Looks at all names and at all files. O(files) calls of the system.
    mutating func scan(_ now: ContinuousClock.Instant) throws(OperatorError) {
        var indices: [FileKey: Int] = [:]
        for index in files.indices { indices[files[index].key] = index }
        var unknown: [(path: String, status: InputFile.Status)] = []
        var named: Set<Int32> = []
        for path in names() {
            guard let status = InputFile.status(of: path) else { continue }
            guard let index = indices[FileKey(status)] else {
                unknown.append((path, status))
                continue
            }
            // The first of several names counts.
            guard named.insert(files[index].number).inserted else { continue }
            files[index].path = path
            files[index].unnamedSince = nil
            if files[index].file == nil { try find(index, at: path) }
        }
        for index in files.indices where !named.contains(files[index].number) {
            if files[index].unnamedSince == nil { files[index].unnamedSince = now }
        }
        for index in files.indices { try look(at: index, now) }
        var seen: Set<FileKey> = []
        for (path, status) in unknown where seen.insert(FileKey(status)).inserted {
            try take(path, now)
        }
        for index in files.indices where files[index].file == nil { try search(index, now) }
        try letGo(now)
        losses += pendingLosses.values.sorted { $0.path < $1.path }
        pendingLosses = [:]
    }

    private mutating func names() -> [String] {
        let (paths, unmatched) = matchingFiles(config.path.elements)
        for pattern in unmatched { warnOnce("no file matches \(pattern) yet; it is looked for") }
        return paths.filter { path in
            guard path.hasSuffix(".gz") else { return true }
            warnOnce("\(path) and other compressed files are passed over: they are not followed")
            return false
        }
    }

    private mutating func warnOnce(_ message: String) {
        if warned.insert(message).inserted { logger.warning("\(message)") }
    }

    /// Opens a file of the checkpoint at `path`.
    private mutating func find(_ index: Int, at path: String) throws(OperatorError) {
        guard let file = try open(path) else { return }
        let status = try file.status()
        guard status.inode == files[index].inode, status.device == files[index].device else { return }
        files[index].file = file
        files[index].isReady = true
    }

    /// Nil where it has gone in the meantime.
    private func open(_ path: String) throws(OperatorError) -> InputFile? {
        do throws(OperatorError) { return try InputFile(path: path) } catch {
            if error.code == "no_such_file", InputFile.status(of: path) == nil { return nil }
            throw error
        }
    }

    /// Notices that an open file has grown, was cut or has been quiet for long.
    private mutating func look(at index: Int, _ now: ContinuousClock.Instant) throws(OperatorError) {
        guard let file = files[index].file else { return }
        let status = try file.status()
        let isChanged = status.byteCount != files[index].byteCount || status.modified != files[index].modified
        if isChanged {
            files[index].quietSince = now
            var isContinued = status.byteCount >= files[index].seenByteCount
            if isContinued { isContinued = try files[index].content.isContinued(by: file, status) }
            if !isContinued { try restart(index, status, now) }
            try files[index].content.noteHead(file, status)
            files[index].seenByteCount = status.byteCount
            files[index].isReady = true
            files[index].byteCount = status.byteCount
            files[index].modified = status.modified
        } else if let timeout = config.lineTimeout, files[index].reader?.takesRest == false,
            status.byteCount > files[index].content.position, files[index].quietSince.duration(to: now) >= timeout
        {
            files[index].reader?.takesRest = true
            files[index].isReady = true
        }
        guard let original = files[index].copyOf else { return }
        if isChanged, let other = files.firstIndex(where: { $0.number == original }),
            try !isCopy(file, status, of: files[other])
        {
            files[index].copyOf = nil
        }
    }

    // MARK: New files

    /// Takes up a file that is not known by its inode: what it holds may be.
    private mutating func take(_ path: String, _ now: ContinuousClock.Instant) throws(OperatorError) {
        guard let file = try open(path) else { return }
        let status = try file.status()
        let head = Fingerprint(try file.bytes(from: 0, count: Fingerprint.headLength))
        // What it may be a copy of may have been cut since it was looked at.
        for index in files.indices where files[index].content.head == head {
            try look(at: index, now)
        }
        // A file of the checkpoint whose device has another number since the machine was started, or that was restored.
        for index in files.indices where files[index].file == nil {
            let known = files[index]
            guard known.content.isDistinct || (known.inode == status.inode && known.content.position > 0),
                try known.content.isContinued(by: file, status)
            else { continue }
            files[index].path = path
            files[index].device = status.device
            files[index].inode = status.inode
            files[index].file = file
            files[index].unnamedSince = nil
            files[index].isReady = true
            return
        }
        var new = FollowedFile(
            number: nextNumber, path: path, device: status.device, inode: status.inode, now: now)
        new.file = file
        new.isReady = true
        new.byteCount = status.byteCount
        new.modified = status.modified
        new.seenByteCount = status.byteCount
        nextNumber += 1
        for index in files.indices {
            if let former = files[index].former, former.isDistinct, try former.isContinued(by: file, status) {
                logger.info("\(path) holds what \(files[index].path) held before it was cut, and is read on from there")
                new.content = former
                files[index].former = nil
                pendingLosses[files[index].number] = nil
                break
            }
            if files[index].copyOf == nil, try isCopy(file, status, of: files[index]) {
                logger.warning(
                    "\(path) holds the same as \(files[index].path) and is taken for a copy of it: it is read when \(files[index].path) is cut or goes, or when the two differ"
                )
                new.copyOf = files[index].number
                break
            }
        }
        try new.content.noteHead(file, status)
        files.append(new)
        events.append(.assigned([new.number]))
        if let ended = lastEnded { events.append(.ended(ended)) }
        lastEnded = nil
    }

    /// How much of the end of two files is compared.
    private static let comparedLength: Int64 = 1 << 20

    /// Whether a file holds nothing but what another one begins with. Compares the first bytes and the last mebibyte.
    private func isCopy(
        _ file: InputFile, _ status: InputFile.Status, of other: FollowedFile
    ) throws(OperatorError) -> Bool {
        guard let original = other.file, other.content.head.byteCount == Fingerprint.headLength,
            status.byteCount >= Int64(Fingerprint.headLength), status.byteCount <= other.byteCount,
            try other.content.head.matches(file, at: 0)
        else { return false }
        let count = Int(min(status.byteCount, FileFollower.comparedLength))
        let last = try file.bytes(from: status.byteCount - Int64(count), count: count)
        guard last.count == count else { return false }
        return try original.bytes(from: status.byteCount - Int64(count), count: count) == last
    }

    // MARK: What was cut

    /// Begins anew with a file whose content is not the one that was read.
    mutating func restart(
        _ index: Int, _ status: InputFile.Status, _ now: ContinuousClock.Instant
    ) throws(OperatorError) {
        let known = files[index]
        truncations += 1
        logger.warning(
            "\(known.path) was cut or written anew: it had been read up to byte \(known.content.position) and has \(status.byteCount) bytes now; it is read from its start",
            metadata: ["truncations": "\(truncations)"])
        if known.seenByteCount > known.content.position {
            pendingLosses[known.number] = Loss(
                path: known.path, position: known.content.position,
                byteCount: known.seenByteCount - known.content.position, reason: "was cut")
        }
        files[index].former = known.content
        files[index].content = FileContent()
        files[index].reader = nil
        files[index].fields = nil
        files[index].seenByteCount = 0
        files[index].byteCount = status.byteCount
        files[index].modified = status.modified
        files[index].quietSince = now
        files[index].isReady = true
        try releaseCopies(of: known)
    }

    /// Copies of a file whose content has gone are read on from where that was.
    private mutating func releaseCopies(of known: FollowedFile) throws(OperatorError) {
        for index in files.indices where files[index].copyOf == known.number {
            files[index].copyOf = nil
            guard let file = files[index].file else { continue }
            let status = try file.status()
            files[index].isReady = true
            if status.byteCount <= known.content.position {
                // All of it had been read in the original.
                try files[index].content.noteHead(file, status)
                try files[index].content.advance(to: status.byteCount, in: file)
            } else if try known.content.isContinued(by: file, status) {
                files[index].content = known.content
            } else {
                continue
            }
            if let original = files.firstIndex(where: { $0.number == known.number }) { files[original].former = nil }
            pendingLosses[known.number] = nil
        }
    }

    // MARK: What has gone

    /// A file of the checkpoint that has no followed name: it may stand beside it under another one.
    private mutating func search(_ index: Int, _ now: ContinuousClock.Instant) throws(OperatorError) {
        let known = files[index]
        for path in neighbours(of: known.path) where !path.hasSuffix(".gz") {
            guard let status = InputFile.status(of: path), status.inode == known.inode,
                status.device == known.device, let file = try open(path),
                try known.content.isContinued(by: file, try file.status())
            else { continue }
            files[index].path = path
            files[index].file = file
            files[index].isReady = true
            return
        }
    }

    private func neighbours(of path: String) -> [String] {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        return matchingFiles([escaped(folder) + "*", escaped(folder) + ".[!.]*"]).files
    }

    /// A path as a pattern that matches it alone.
    private func escaped(_ path: String) -> String {
        path.reduce(into: "") { text, character in
            if "*?[\\".contains(character) { text.append("\\") }
            text.append(character)
        }
    }

    /// Forgets files that have no name any more, when their rest has been read.
    private mutating func letGo(_ now: ContinuousClock.Instant) throws(OperatorError) {
        var index = 0
        while index < files.count {
            let known = files[index]
            guard let since = known.unnamedSince else {
                index += 1
                continue
            }
            if known.file != nil, known.copyOf == nil {
                let isDue = max(since, known.quietSince).duration(to: now) >= config.rotateWait
                guard isDue, !known.isReady else {
                    index += 1
                    continue
                }
                if known.byteCount > known.content.position, known.reader?.takesRest != true {
                    // No line end will come: what stands there is the last line.
                    files[index].reader?.takesRest = true
                    files[index].isReady = true
                    index += 1
                    continue
                }
            } else if known.file == nil {
                logger.warning(
                    "\(known.path) has gone while nobody was reading; what had come to it behind byte \(known.content.position) is lost"
                )
                if known.seenByteCount > known.content.position {
                    losses.append(
                        Loss(
                            path: known.path, position: known.content.position,
                            byteCount: known.seenByteCount - known.content.position, reason: "has gone"))
                }
            }
            try releaseCopies(of: known)
            files.remove(at: index)
            if files.isEmpty {
                events.append(.idle(known.number))
                if let ended = lastEnded { events.append(.ended(ended)) }
                lastEnded = known.number
            } else {
                events.append(.ended(known.number))
            }
        }
    }

    // MARK: Turns

    /// The file to read from next: one after the other, a chunk each; nil where nothing is to be read.
    mutating func nextReady() -> Int? {
        for offset in files.indices {
            let index = (turn + offset) % files.count
            if files[index].isReady, files[index].copyOf == nil, files[index].file != nil {
                turn = index + 1
                return index
            }
        }
        turn = 0
        return nil
    }
}
