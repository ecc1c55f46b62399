import Glibc

/// Long text of rows, appended to chunks that are shared with columns by reference.
///
/// A chunk is a ``Buffer`` of which only the first bytes are in use. Bytes are written once, before a view of them is
/// handed out, and never again: so columns that share a chunk may be read on other tasks while more is appended.
struct TextArena {
    private(set) var chunks: [Buffer] = []
    private var used = 0
    private var capacity = 0
    /// Bytes of text appended since the last ``removeAll``.
    private(set) var appendedByteCount = 0

    /// Where a text was put.
    struct Place {
        var chunk: Int
        var offset: Int

        /// As the second word of a text slot.
        var word: UInt64 { UInt64(truncatingIfNeeded: chunk) | UInt64(truncatingIfNeeded: offset) << 32 }
    }

    /// Copies `bytes` in. Amortised O(bytes).
    mutating func append(_ bytes: UnsafeRawBufferPointer) -> Place {
        if used + bytes.count > capacity {
            capacity = max(min(max(4096, capacity * 2), 1 << 20), bytes.count)
            chunks.append(Buffer(byteCount: capacity) { _ in })
            used = 0
        }
        let place = Place(chunk: chunks.count - 1, offset: used)
        if let source = bytes.baseAddress { memcpy(chunks[place.chunk].base + used, source, bytes.count) }
        used += bytes.count
        appendedByteCount += bytes.count
        return place
    }

    /// Lets all chunks go. O(chunks).
    mutating func removeAll() {
        chunks = []
        used = 0
        capacity = 0
        appendedByteCount = 0
    }
}
