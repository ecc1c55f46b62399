/// State that is numbered from 0 as batches for a checkpoint: a chunk of numbers that has not changed since the last
/// checkpoint is the same batch again, by reference.
///
/// What a checkpoint costs the stream is so bounded by what has changed: about 10 ns a value of a changed chunk.
public struct SnapshotChunks: Sendable {
    /// Numbers a chunk.
    public static let size = 4096
    private static let shift = 12

    private var batches: [RecordBatch?] = []
    private var dirty: [Bool] = []
    private var generation = 0

    public init() {}

    /// Says that there are numbers below `upperBound`; new chunks are dirty. Cheap when nothing is new.
    public mutating func extend(to upperBound: Int) {
        let chunks = (upperBound + SnapshotChunks.size - 1) >> SnapshotChunks.shift
        while dirty.count < chunks {
            dirty.append(true)
            batches.append(nil)
        }
    }

    /// Says that what belongs to these numbers has changed. O(numbers).
    public mutating func mark(_ ids: UnsafeBufferPointer<Int32>) {
        dirty.withUnsafeMutableBufferPointer { dirty in
            for id in ids {
                // A chunk that is not known yet will be dirty when it is.
                let chunk = Int(id) >> SnapshotChunks.shift
                if chunk < dirty.count { dirty[chunk] = true }
            }
        }
    }

    /// Says that what belongs to this number has changed.
    public mutating func mark(_ id: Int32) {
        withUnsafePointer(to: id) { mark(UnsafeBufferPointer(start: $0, count: 1)) }
    }

    /// Forgets everything.
    public mutating func removeAll() {
        batches = []
        dirty = []
    }

    /// The batches of all chunks below `upperBound`; those that changed are built anew, empty ones left out.
    ///
    /// - Parameter generation: another number than last time (``RowStore/textGeneration``) builds all of them anew, so
    ///   that old text is let go.
    public mutating func take<E: Error>(
        upperBound: Int, generation: Int = 0, _ build: (Range<Int>) throws(E) -> RecordBatch?
    ) throws(E) -> [RecordBatch] {
        extend(to: upperBound)
        if generation != self.generation {
            self.generation = generation
            dirty = dirty.map { _ in true }
        }
        let chunks = (upperBound + SnapshotChunks.size - 1) >> SnapshotChunks.shift
        if chunks < dirty.count {
            dirty.removeLast(dirty.count - chunks)
            batches.removeLast(batches.count - chunks)
        }
        for chunk in 0..<chunks where dirty[chunk] {
            let start = chunk << SnapshotChunks.shift
            batches[chunk] = try build(start..<min(upperBound, start + SnapshotChunks.size))
            dirty[chunk] = false
        }
        return batches.compactMap { $0 }
    }
}
