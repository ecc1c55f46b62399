public import DataflowColumnar

/// Rows of an operator's state that lie on disk, in segments: written once, in order, and never changed.
///
/// The file goes with the last reference to it, so a state that is put together anew only lets go of the old files; a
/// checkpoint that needs one has given it another name by then. Files of a checkpoint are only read.
///
/// Each segment, and the list of them at the end of the file, has a checksum that is compared when it is read.
public final class SpillFile: Sendable {
    /// Rows that are read together: about a mebibyte, of one key group.
    public struct Segment: Hashable, Sendable {
        /// The key group of all its rows (``KeyGroup``).
        public var keyGroup: Int32
        /// A number of the operator's, e.g. of a window.
        public var part: Int64
        public var rowCount: Int
        public var byteCount: Int
        var offset: Int
        var checksum: UInt64
    }

    /// Where the list of segments lies in the file.
    package struct Directory: Hashable, Sendable {
        package var offset: Int
        package var byteCount: Int
        package var checksum: UInt64

        package init(offset: Int, byteCount: Int, checksum: UInt64) {
            self.offset = offset
            self.byteCount = byteCount
            self.checksum = checksum
        }
    }

    /// Bytes that are not what was written.
    package struct Damage: Error, CustomStringConvertible {
        package let description: String
    }

    package let path: String
    package let directory: Directory
    /// In the order they were written: that of key groups, in each of parts.
    public let segments: [Segment]
    private let isOwned: Bool
    private let keptName: Lock<String?>

    init(path: String, segments: [Segment], directory: Directory) {
        self.path = path
        self.segments = segments
        self.directory = directory
        isOwned = true
        keptName = Lock(nil)
    }

    /// A file of a checkpoint.
    ///
    /// - Parameters:
    ///   - name: what the checkpoint calls it.
    ///   - bytes: the list of segments.
    package init(
        keptAs name: String, path: String, directory: Directory, _ bytes: [UInt8]
    ) throws(Damage) {
        self.path = path
        self.directory = directory
        guard bytes.count == directory.byteCount, SpillFile.checksum(bytes) == directory.checksum else {
            throw Damage(description: "wrong checksum of its list of segments")
        }
        segments = try SpillFile.decode(bytes, before: directory.offset)
        isOwned = false
        keptName = Lock(name)
    }

    deinit { if isOwned { SpillIO.remove(path) } }

    public var rowCount: Int { segments.reduce(0) { $0 + $1.rowCount } }
    public var byteCount: Int { segments.reduce(0) { $0 + $1.byteCount } }

    /// What the checkpoints call it, if one has taken it in.
    package var nameInCheckpoints: String? { keptName.withLock { $0 } }

    /// A checkpoint has taken the file in.
    package func keep(as name: String) { keptName.withLock { $0 = name } }

    // MARK: Reading

    /// The segments of a key group, in order. O(log segments).
    public func segments(of keyGroup: Int32) -> ArraySlice<Segment> {
        func first(atLeast group: Int32) -> Int {
            var low = 0
            var high = segments.count
            while low < high {
                let middle = (low + high) / 2
                if segments[middle].keyGroup < group { low = middle + 1 } else { high = middle }
            }
            return low
        }
        return segments[first(atLeast: keyGroup)..<first(atLeast: keyGroup + 1)]
    }

    /// The batches of a segment, in order. Blocks for the disk.
    ///
    /// - Throws: `external`, to be retried from the last checkpoint, when the file cannot be read or is damaged.
    public func read(_ segment: Segment) throws(OperatorError) -> [RecordBatch] {
        let bytes = try SpillIO.read(path, offset: segment.offset, count: segment.byteCount)
        guard SpillFile.checksum(bytes) == segment.checksum else { throw damaged("wrong checksum", segment) }
        var batches: [RecordBatch] = []
        var offset = 0
        while offset < bytes.count {
            let length = SpillFile.length(bytes, at: offset)
            guard length > 0, length <= bytes.count - offset - 8 else {
                throw damaged("it ends within a batch", segment)
            }
            do {
                let range = (offset + 8)..<(offset + 8 + length)
                batches.append(
                    try bytes.withUnsafeBytes {
                        try RecordBatchCoder.decode(UnsafeRawBufferPointer(rebasing: $0[range]))
                    })
            } catch {
                throw damaged("\(error)", segment)
            }
            offset += 8 + length
        }
        return batches
    }

    /// Compares every byte with its checksum. Blocks for the disk.
    package func verify() throws(OperatorError) {
        for segment in segments {
            let bytes = try SpillIO.read(path, offset: segment.offset, count: segment.byteCount)
            guard SpillFile.checksum(bytes) == segment.checksum else { throw damaged("wrong checksum", segment) }
        }
    }

    private func damaged(_ what: String, _ segment: Segment) -> OperatorError {
        OperatorError(
            .external, .withBackoff, "spill_damaged",
            "the spill file \(path) is damaged at byte \(segment.offset): \(what). The state goes back to the last checkpoint; check the disk"
        )
    }

    /// Eight bytes, little endian; -1 where there are none or they make no sense.
    private static func length(_ bytes: [UInt8], at offset: Int) -> Int {
        guard bytes.count - offset >= 8 else { return -1 }
        let length = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[offset + $1]) << (8 * UInt64($1)) }
        return Int(exactly: length) ?? -1
    }

    /// Of all bytes: ``RowHash``, which is about ten times as fast as a CRC and misses damage once in 2^64 times.
    fileprivate static func checksum(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { RowHash.hash($0) } }

    // MARK: The list of segments

    private static let listSchema = Schema([
        Field("key_group", .int32, nullable: false), Field("part", .int64, nullable: false),
        Field("rows", .int64, nullable: false), Field("offset", .int64, nullable: false),
        Field("bytes", .int64, nullable: false), Field("checksum", .int64, nullable: false),
    ])

    static func encode(_ segments: [Segment]) -> [UInt8] {
        func column(_ value: (Segment) -> Int64) -> Column { Column(.int64, .int64(Values(segments.map(value)))) }
        return RecordBatchCoder.encode(
            RecordBatch(
                listSchema,
                [
                    Column(.int32, .int32(Values(segments.map(\.keyGroup)))), column { $0.part },
                    column { Int64($0.rowCount) }, column { Int64($0.offset) }, column { Int64($0.byteCount) },
                    column { Int64(bitPattern: $0.checksum) },
                ], rowCount: segments.count))
    }

    private static func decode(_ bytes: [UInt8], before end: Int) throws(Damage) -> [Segment] {
        let batch: RecordBatch
        do throws(RecordBatchCodingError) {
            batch = try RecordBatchCoder.decode(bytes)
        } catch {
            throw Damage(description: error.description)
        }
        guard batch.schema == listSchema, let groups = batch.columns[0].int32Values,
            let parts = batch.columns[1].int64Values, let rows = batch.columns[2].int64Values,
            let offsets = batch.columns[3].int64Values, let lengths = batch.columns[4].int64Values,
            let checksums = batch.columns[5].int64Values
        else { throw Damage(description: "its list of segments has other columns") }
        var segments: [Segment] = []
        for i in 0..<batch.rowCount {
            guard (0..<Int32(KeyGroup.count)).contains(groups[i]), rows[i] >= 0, offsets[i] >= 0, lengths[i] >= 0,
                offsets[i] <= end, lengths[i] <= Int64(end) - offsets[i],
                segments.last.map({ $0.keyGroup <= groups[i] }) ?? true
            else { throw Damage(description: "segment \(i) lies outside the file") }
            segments.append(
                Segment(
                    keyGroup: groups[i], part: parts[i], rowCount: Int(rows[i]), byteCount: Int(lengths[i]),
                    offset: Int(offsets[i]), checksum: UInt64(bitPattern: checksums[i])))
        }
        return segments
    }
}

/// Writes a ``SpillFile``: key groups in ascending order, in each its parts.
public final class SpillFileWriter {
    /// A segment ends behind so many bytes.
    private static let segmentSize = 1 << 20

    private let path: String
    private let descriptor: Int32
    private var segments: [SpillFile.Segment] = []
    private var bytes: [UInt8] = []
    private var rowCount = 0
    private var offset = 0
    private var place: (keyGroup: Int32, part: Int64) = (0, 0)
    private var isFinished = false

    init(directory: String, name: String) throws(OperatorError) {
        path = "\(directory)/\(name)"
        descriptor = try SpillIO.create(path, in: directory)
    }

    deinit {
        SpillIO.close(descriptor)
        if !isFinished { SpillIO.remove(path) }
    }

    /// Bytes so far.
    public var byteCount: Int { offset + bytes.count }

    /// Adds rows behind those that were added before. Blocks for the disk.
    ///
    /// - Throws: `external`, to be retried: the disk is full, or failed.
    public func append(_ batch: RecordBatch, keyGroup: Int32, part: Int64 = 0) throws(OperatorError) {
        guard batch.rowCount > 0 else { return }
        precondition(
            place <= (keyGroup, part) || segments.isEmpty && bytes.isEmpty, "rows of a spill file out of order")
        if place != (keyGroup, part) || bytes.count >= SpillFileWriter.segmentSize { try endSegment() }
        place = (keyGroup, part)
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: 8))
        RecordBatchCoder.encode(batch, into: &bytes)
        let length = UInt64(bytes.count - start - 8)
        for byte in 0..<8 { bytes[start + byte] = UInt8(truncatingIfNeeded: length >> (8 * UInt64(byte))) }
        rowCount += batch.rowCount
    }

    private func endSegment() throws(OperatorError) {
        guard !bytes.isEmpty else { return }
        try SpillIO.write(bytes, descriptor, path)
        segments.append(
            SpillFile.Segment(
                keyGroup: place.keyGroup, part: place.part, rowCount: rowCount, byteCount: bytes.count, offset: offset,
                checksum: SpillFile.checksum(bytes)))
        offset += bytes.count
        bytes.removeAll(keepingCapacity: true)
        rowCount = 0
    }

    /// Writes what is left. The file is not synced: a checkpoint that takes it in does that.
    public func finish() throws(OperatorError) -> SpillFile {
        try endSegment()
        let list = SpillFile.encode(segments)
        try SpillIO.write(list, descriptor, path)
        isFinished = true
        return SpillFile(
            path: path, segments: segments,
            directory: .init(offset: offset, byteCount: list.count, checksum: SpillFile.checksum(list)))
    }
}
