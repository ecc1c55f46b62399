import DataflowOperator
import Glibc

/// The checkpoints of one pipeline in a folder of a local file system.
///
///     <root>/<pipeline>/
///         lock                    held (flock) by the run that is alive
///         fence                   generation and highest checkpoint id, rising
///         chk-00000000000000000012/
///             state               the tables that are written whole, one after another
///             manifest            written last: the checkpoint exists when this does
///             committed           the sinks have committed
///         increments/00000000000000000012
///                                 what had changed of incremental tables; later checkpoints refer to it
///         spilled/00000000000000000012-1
///                                 state beyond the memory budget, as the run wrote it; later checkpoints refer to it too
///         spill/                  files of the run that is alive
///         nodes/<node>/           files that an operator keeps for itself
///
/// Every file is written under another name, synced, renamed, and its directory synced; every one carries length and
/// checksum. All calls block: they belong on a `BlockingExecutor`.
public final class LocalCheckpointStore: Sendable {
    /// The folder of this pipeline.
    public let directory: String
    public let pipeline: String
    public let retained: Int
    let files: any CheckpointFiles

    /// - Parameters:
    ///   - root: the setting `checkpoint.directory`; made when a run starts.
    ///   - pipeline: the pipeline's name.
    ///   - retained: how many complete checkpoints are kept; at least one.
    ///   - files: the file operations, replaced in tests.
    public init(root: String, pipeline: String, retaining retained: Int = 3, files: any CheckpointFiles = LocalFiles())
    {
        directory = Self.path(root, Self.component(pipeline))
        self.pipeline = pipeline
        self.retained = max(1, retained)
        self.files = files
    }

    /// Where a node may keep durable files of its own; made by ``makeStateDirectory(of:)``.
    public func stateDirectory(of node: String) -> String {
        Self.path(directory, "nodes", Self.component(node))
    }

    /// Makes the folder of ``stateDirectory(of:)``.
    public func makeStateDirectory(of node: String) throws(CheckpointError) {
        try files.makeDirectory(stateDirectory(of: node))
    }

    /// Takes the fence: an exclusive lock and a new generation.
    ///
    /// - Throws: `.alreadyRunning` while another run is alive; a dead one's lock is gone with it. `.file` when the folder
    ///   cannot be made or written.
    public func acquire() throws(CheckpointError) -> CheckpointSession {
        try files.makeDirectory(directory)
        guard let lock = try files.lock(path("lock")) else { throw alreadyRunning() }
        do {
            return try CheckpointSession(store: self, lock: lock)
        } catch {
            lock.release()
            throw error
        }
    }

    private func alreadyRunning() -> CheckpointError {
        let owner = (try? readFence()).flatMap { $0 }
        let who = owner.map { " (process \($0.process) on \($0.host), generation \($0.generation))" } ?? ""
        return CheckpointError(
            .alreadyRunning,
            "pipeline '\(pipeline)' is already running\(who) and holds \(path("lock")); two runs must not write the same checkpoints. Stop that run first, or give this one another checkpoint.directory or pipeline name"
        )
    }

    /// The complete checkpoints, newest first, without the lock; for display. Damaged ones are left out.
    public func list() throws(CheckpointError) -> [(manifest: CheckpointManifest, status: CheckpointStatus)] {
        var found: [(CheckpointManifest, CheckpointStatus)] = []
        for id in try checkpointIDs() {
            guard let manifest = try? readManifest(id) else { continue }
            let marked = (try files.read(path(of: id, "committed"), 0..<0)) != nil
            found.append((manifest, CheckpointStatus(manifest: manifest, isMarkedCommitted: marked)))
        }
        return found
    }

    // MARK: reading

    /// - Parameter isExpected: whether there are checkpoints, before which the fence was written.
    func readFence(isExpected: Bool = false) throws(CheckpointError) -> CheckpointFence? {
        guard let bytes = try files.read(path("fence"), nil) else {
            guard isExpected else { return nil }
            throw CheckpointError(.damaged, "\(path("fence")) is missing, but there are checkpoints")
        }
        return try Envelope.decode(
            CheckpointFence.self, bytes, kind: "fence", formats: CheckpointFence.format...CheckpointFence.format,
            path: path("fence"))
    }

    /// The ids of all checkpoint folders, complete or not, newest first.
    func checkpointIDs() throws(CheckpointError) -> [CheckpointID] {
        try (files.list(directory) ?? [])
            .compactMap { name in
                // A folder that somebody else made: its number could leave no room for a next one.
                guard name.hasPrefix("chk-"), let number = Int64(name.dropFirst(4)), number > 0 else { return nil }
                let id = CheckpointID(UInt64(number))
                return path(of: id) == path(name) ? id : nil
            }
            .sorted(by: >)
    }

    /// nil if the checkpoint was never published.
    func readManifest(_ id: CheckpointID) throws(CheckpointError) -> CheckpointManifest? {
        let path = path(of: id, "manifest")
        guard let bytes = try files.read(path, nil) else { return nil }
        let manifest = try Envelope.decode(
            CheckpointManifest.self, bytes, kind: "manifest", formats: CheckpointManifest.readableFormats, path: path)
        guard manifest.pipeline == pipeline, manifest.id == id.number else {
            throw CheckpointError(
                .incompatible,
                "\(path) belongs to checkpoint \(manifest.id) of pipeline '\(manifest.pipeline)', not to \(id) of '\(pipeline)'; was the folder copied?"
            )
        }
        return manifest
    }

    /// Reads everything that the checkpoint consists of once and compares lengths and checksums.
    func verifyState(_ manifest: CheckpointManifest) throws(CheckpointError) {
        for node in manifest.nodes {
            for table in node.tables where table.increments != nil { _ = try bytes(of: table, in: manifest) }
        }
        try verifySpilled(manifest)
        guard let expected = manifest.stateFile else { return }
        let path = path(of: manifest.checkpoint, expected.name)
        var checksum = Checksum()
        var offset = 0
        let step = 4 << 20
        while true {
            guard let bytes = try files.read(path, offset..<(offset + step)) else {
                throw CheckpointError(.damaged, "\(path) is missing")
            }
            checksum.update(bytes)
            offset += bytes.count
            if bytes.count < step { break }
        }
        guard offset == expected.length else {
            throw CheckpointError(.damaged, "\(path) is damaged: \(offset) bytes of \(expected.length)")
        }
        guard checksum.value == expected.crc32 else {
            throw CheckpointError(.damaged, "\(path) is damaged: wrong checksum")
        }
    }

    private func verifySpilled(_ manifest: CheckpointManifest) throws(CheckpointError) {
        var seen: Set<String> = []
        for table in manifest.nodes.flatMap(\.tables) {
            guard let spilled = table.spilled, seen.insert(spilled.file).inserted else { continue }
            let file = try spillFile(of: table, spilled, in: manifest)
            do throws(OperatorError) {
                try file.verify()
            } catch {
                throw CheckpointError(
                    .damaged, "\(path(of: manifest.checkpoint)) needs a file that is damaged: \(error.message)")
            }
        }
    }

    /// A file of state beyond the memory budget; its list of segments is compared with its checksum, the rows are not read.
    func spillFile(
        of table: CheckpointManifest.Table, _ spilled: CheckpointManifest.Table.Spilled, in manifest: CheckpointManifest
    ) throws(CheckpointError) -> SpillFile {
        let path = spilledPath(spilled.file)
        let whose = "\(path), which \(self.path(of: manifest.checkpoint)) needs,"
        guard let bytes = try files.read(path, table.offset..<(table.offset + table.length)) else {
            throw CheckpointError(.damaged, "\(whose) is missing")
        }
        do throws(SpillFile.Damage) {
            return try SpillFile(
                keptAs: spilled.file, path: path,
                directory: .init(offset: table.offset, byteCount: table.length, checksum: spilled.checksum), bytes)
        } catch {
            throw CheckpointError(.damaged, "\(whose) is damaged at byte \(table.offset): \(error.description)")
        }
    }

    /// The encoded rows of a table, compared with their checksum.
    func bytes(
        of table: CheckpointManifest.Table, in manifest: CheckpointManifest
    ) throws(CheckpointError) -> [UInt8] {
        if table.length == 0 { return [] }
        let path =
            table.increments.map { incrementsPath($0) }
            ?? path(of: manifest.checkpoint, manifest.stateFile?.name ?? "state")
        // A damaged checkpoint is told by its own name too, whatever file is at fault.
        let whose = table.increments == nil ? "" : ", which \(self.path(of: manifest.checkpoint)) needs,"
        guard let bytes = try files.read(path, table.offset..<(table.offset + table.length)) else {
            throw CheckpointError(.damaged, "\(path)\(whose) is missing")
        }
        guard bytes.count == table.length, Checksum(of: bytes).value == table.crc32 else {
            throw CheckpointError(
                .damaged, "\(path)\(whose) is damaged at byte \(table.offset) (table '\(table.name)')")
        }
        return bytes
    }

    // MARK: paths

    var increments: String { path("increments") }

    func incrementsPath(_ id: UInt64) -> String { Self.path(increments, Self.digits(id)) }

    var spilled: String { path("spilled") }

    func spilledPath(_ name: String) -> String { Self.path(spilled, name) }

    /// The files of `spilled`, and the checkpoint for which each was taken in.
    func spilledNames() throws(CheckpointError) -> [(name: String, checkpoint: UInt64)] {
        try (files.list(spilled) ?? []).compactMap { name in
            name.split(separator: "-").first.flatMap { UInt64($0) }.map { (name, $0) }
        }
    }

    /// A name for the `number`-th file taken in for a checkpoint.
    static func spilledName(_ id: CheckpointID, _ number: Int) -> String { "\(digits(id.number))-\(number)" }

    /// Where a run keeps its spill files; what is there at a start was left by a dead run.
    public var spillDirectory: String { path("spill") }

    /// The checkpoints that have an increments file.
    func incrementIDs() throws(CheckpointError) -> [UInt64] {
        try (files.list(increments) ?? []).compactMap { name in
            UInt64(name).flatMap { Self.digits($0) == name ? $0 : nil }
        }
    }

    private static func digits(_ id: UInt64) -> String {
        let digits = String(id)
        return String(repeating: "0", count: max(0, 20 - digits.count)) + digits
    }

    func path(_ name: String) -> String { Self.path(directory, name) }

    func path(of id: CheckpointID, _ name: String? = nil) -> String {
        let folder = path("chk-" + Self.digits(id.number))
        return name.map { Self.path(folder, $0) } ?? folder
    }

    /// Temp → fsync → rename → fsync(dir).
    func writeDurably(_ bytes: [UInt8], _ path: String, in directory: String) throws(CheckpointError) {
        let temporary = path + ".tmp"
        try files.write(bytes, to: temporary)
        try files.sync(temporary)
        try files.rename(temporary, to: path)
        try files.syncDirectory(directory)
    }

    private static func path(_ parts: String...) -> String { parts.joined(separator: "/") }

    /// A name as one component of a path: what is not a letter, digit, `_`, `-` or inner `.` is written as `%XX`.
    private static func component(_ name: String) -> String {
        var result = ""
        for (index, byte) in name.utf8.enumerated() {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: ".") where index > 0:
                result.append(".")
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                result += "%" + (hex.count < 2 ? "0" : "") + hex
            }
        }
        return result
    }
}
