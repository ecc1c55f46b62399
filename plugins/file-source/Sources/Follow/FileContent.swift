import DataflowColumnar
import DataflowFiles
import DataflowOperator

/// What tells a file's content from another: a hash of some bytes at one place.
struct Fingerprint: Equatable {
    /// Of the beginning; Vector takes as many.
    static let headLength = 256
    /// Of what stands in front of the position: more, because lines often end alike.
    static let tailLength = 4096

    var byteCount = 0
    var hash: UInt64 = 0

    init() {}

    init(_ bytes: [UInt8]) {
        byteCount = bytes.count
        hash = bytes.withUnsafeBytes { RowHash.hash($0) }
    }

    init(byteCount: Int, hash: UInt64) {
        self.byteCount = byteCount
        self.hash = hash
    }

    /// Whether the bytes of `file` that begin at `offset` are those that were hashed. One read.
    func matches(_ file: InputFile, at offset: Int64) throws(OperatorError) -> Bool {
        guard byteCount > 0 else { return true }
        guard offset >= 0 else { return false }
        return Fingerprint(try file.bytes(from: offset, count: byteCount)) == self
    }
}

/// What has been read of a file: how it begins, what stands in front of the position, and the position.
///
/// The inode alone does not do: it is given again when its file was deleted, and it stays when a file is cut and written anew.
struct FileContent: Equatable {
    var head = Fingerprint()
    /// The bytes in front of ``position``.
    var tail = Fingerprint()
    /// Of the next record that has not been read.
    var position: Int64 = 0

    /// Whether the head is long enough to know the content again in a file of another inode.
    var isDistinct: Bool { head.byteCount == Fingerprint.headLength }

    /// Whether `file` holds what was read, so that reading can go on at the position.
    func isContinued(by file: InputFile, _ status: InputFile.Status) throws(OperatorError) -> Bool {
        guard status.byteCount >= position else { return false }
        guard try head.matches(file, at: 0) else { return false }
        return try tail.matches(file, at: position - Int64(tail.byteCount))
    }

    /// Takes note of the beginning, as far as it has come to be.
    mutating func noteHead(_ file: InputFile, _ status: InputFile.Status) throws(OperatorError) {
        guard head.byteCount < Fingerprint.headLength, status.byteCount > Int64(head.byteCount) else { return }
        head = Fingerprint(try file.bytes(from: 0, count: Fingerprint.headLength))
    }

    /// Moves on behind what was read.
    mutating func advance(to position: Int64, in file: InputFile) throws(OperatorError) {
        guard position != self.position else { return }
        let count = Int(min(position, Int64(Fingerprint.tailLength)))
        tail = Fingerprint(try file.bytes(from: position - Int64(count), count: count))
        self.position = position
    }
}

/// What the system calls a file, whatever its names are.
struct FileKey: Hashable {
    var device: UInt64
    var inode: UInt64
}

extension FileKey {
    init(_ status: InputFile.Status) { self.init(device: status.device, inode: status.inode) }
}

/// One file that is followed, under whatever name it has.
struct FollowedFile {
    /// The split's number.
    let number: Int32
    /// Its name, or the last that it had.
    var path: String
    var device: UInt64
    var inode: UInt64
    var content = FileContent()
    /// What stood in it until it was cut: a copy that was made of it is read on from there.
    var former: FileContent?
    /// The file that this one is a copy of, by number: it waits for what becomes of that.
    var copyOf: Int32?
    /// Nil behind a restart, until it has been found again.
    var file: InputFile?
    var reader: RecordReader?
    /// Which field of a record each column is, once the header is known.
    var fields: [Int]?
    /// How long it was when its content was last known to be the one that is read: what is behind the position can be lost.
    var seenByteCount: Int64 = 0
    /// As it was when last looked at.
    var byteCount: Int64 = 0
    var modified: Int64 = 0
    /// Since when it has not changed.
    var quietSince: ContinuousClock.Instant
    /// Since when no name that is followed leads to it.
    var unnamedSince: ContinuousClock.Instant?
    /// Whether there is something to read, as far as is known.
    var isReady = false
    /// Whether it has been said that nothing comes from it.
    var isIdle = false

    var key: FileKey { FileKey(device: device, inode: inode) }

    init(
        number: Int32, path: String, device: UInt64, inode: UInt64, content: FileContent = FileContent(),
        now: ContinuousClock.Instant
    ) {
        self.number = number
        self.path = path
        self.device = device
        self.inode = inode
        self.content = content
        quietSince = now
    }
}
