import DataflowColumnar
import DataflowOperator
import Glibc

/// Where one record stands in a chunk.
package struct RecordSpan {
    package var offset: Int
    package var length: Int
}

/// Whole records of a file in one buffer.
package struct RecordChunk {
    package var buffer: Buffer
    /// Ascending; line ends and empty lines left out.
    package var records: [RecordSpan]
    /// Position in the file of the buffer's first byte.
    package var position: Int64
}

/// A record longer than allowed, which was passed over.
package struct OversizeRecord {
    package var position: Int64
    package var byteCount: Int64
    /// The beginning of it.
    package var head: [UInt8]
}

/// Cuts a file into records: lines, or for CSV lines whose quotes are closed.
///
/// Reads a chunk into fresh memory, finds the last complete record and carries the rest over into the next chunk, so
/// the records of a chunk are slices of one buffer. A record longer than a chunk makes the buffer grow up to the limit.
package final class RecordReader {
    package let file: InputFile
    private let chunkByteCount: Int
    private let maxRecordByteCount: Int
    private let quoted: Bool
    private let isGrowing: Bool
    /// For a file that may grow: what stands behind the last line end is a record too, because no more of it will come.
    package var takesRest = false
    private var carry: [UInt8] = []
    private var atEnd = false
    /// Position behind the last record that was handed out: what a checkpoint keeps.
    package private(set) var position: Int64

    /// - Parameters:
    ///   - position: where to begin; must be the start of a record.
    ///   - quoted: line ends between double quotes belong to the record.
    ///   - isGrowing: the file may grow: what stands behind the last line end waits for its line end, and ``next(oversize:expecting:)``
    ///     may be called again behind nil.
    package init(
        _ file: InputFile, from position: Int64, chunkByteCount: Int, maxRecordByteCount: Int, quoted: Bool,
        isGrowing: Bool = false
    ) throws(OperatorError) {
        self.file = file
        self.chunkByteCount = chunkByteCount
        self.maxRecordByteCount = maxRecordByteCount
        self.quoted = quoted
        self.isGrowing = isGrowing
        self.position = position
        if position != file.position { try file.seek(to: position) }
    }

    /// True when everything has been handed out.
    package var isFinished: Bool { atEnd && carry.isEmpty }

    /// The next records, or nil at the end of the file. `oversize` gets what was passed over on the way.
    ///
    /// - Parameter byteCount: about how much there is to read, so that no more memory than that is taken.
    package func next(
        oversize: inout [OversizeRecord], expecting byteCount: Int = .max
    ) throws(OperatorError) -> RecordChunk? {
        var wanted = min(chunkByteCount, max(byteCount, 4096))
        while true {
            if isFinished { return nil }
            let start = position
            var isAtEndForNow = false
            var filled = 0
            let carried = carry
            let room = max(wanted, carried.count + 1)
            var failure: OperatorError?
            var memory = UnsafeMutableRawPointer.allocate(byteCount: room + Buffer.padding, alignment: 64)
            memory.copyMemory(from: carried, byteCount: carried.count)
            filled = carried.count
            do throws(OperatorError) {
                while filled < room {
                    let count = try file.read(
                        into: UnsafeMutableRawBufferPointer(start: memory + filled, count: room - filled))
                    if count == 0 {
                        if isGrowing, !takesRest { isAtEndForNow = true } else { atEnd = true }
                        break
                    }
                    filled += count
                }
            } catch { failure = error }
            if let failure {
                memory.deallocate()
                throw failure
            }
            let skipped = start == 0 && filled >= 3 && memcmp(memory, [0xEF, 0xBB, 0xBF] as [UInt8], 3) == 0 ? 3 : 0
            var records: [RecordSpan] = []
            records.reserveCapacity(filled / 128 + 8)
            let consumed = RecordReader.cut(
                UnsafeRawBufferPointer(start: memory, count: filled), from: skipped, quoted: quoted, atEnd: atEnd,
                into: &records)
            if consumed == skipped, !atEnd {
                // Not one whole record: read more of it, up to the limit.
                if filled - skipped > maxRecordByteCount {
                    let head = Array(UnsafeRawBufferPointer(start: memory, count: min(filled, 1024)))
                    memory.deallocate()
                    carry = []
                    position = start + Int64(filled)
                    guard let passed = try passOver() else {
                        position = start
                        try file.seek(to: start)
                        return nil
                    }
                    oversize.append(
                        OversizeRecord(position: start, byteCount: Int64(filled) + passed, head: head))
                    wanted = chunkByteCount
                    continue
                }
                carry = Array(UnsafeRawBufferPointer(start: memory, count: filled))
                memory.deallocate()
                if isAtEndForNow { return nil }
                wanted = max(wanted * 2, filled * 2)
                continue
            }
            let rest = filled - consumed
            carry = Array(UnsafeRawBufferPointer(start: memory + consumed, count: rest))
            position = start + Int64(consumed)
            if rest > chunkByteCount / 2, consumed < filled / 2 {
                // Most of it is carried over: do not keep the whole memory alive for a small part.
                let smaller = UnsafeMutableRawPointer.allocate(byteCount: consumed + Buffer.padding, alignment: 64)
                smaller.copyMemory(from: memory, byteCount: consumed)
                memory.deallocate()
                memory = smaller
            }
            let buffer = Buffer(adopting: memory, byteCount: consumed)
            if records.isEmpty {
                if isFinished || isAtEndForNow { return nil }
                continue
            }
            return RecordChunk(buffer: buffer, records: records, position: start)
        }
    }

    /// Finds the records in `bytes` from `first` on; answers how many bytes they take, line ends included. O(bytes).
    ///
    /// - Parameters:
    ///   - quoted: line ends between double quotes belong to the record.
    ///   - atEnd: nothing follows, so that what is left without a line end is a record.
    package static func cut(
        _ bytes: UnsafeRawBufferPointer, from first: Int, quoted: Bool, atEnd: Bool, into records: inout [RecordSpan]
    ) -> Int {
        guard let base = bytes.baseAddress else { return 0 }
        var start = first
        while start < bytes.count {
            let end: Int
            if quoted {
                end = endOfQuotedRecord(bytes, from: start)
            } else if let found = memchr(base + start, 0x0A, bytes.count - start) {
                end = UnsafeRawPointer(found) - base
            } else {
                end = bytes.count
            }
            if end == bytes.count, !atEnd { break }
            var length = end - start
            if length > 0, bytes[start + length - 1] == 0x0D { length -= 1 }
            if length > 0 { records.append(RecordSpan(offset: start, length: length)) }
            start = min(end + 1, bytes.count)
        }
        return start
    }

    /// Where the record that starts at `start` ends: the first line end outside of quotes, or `bytes.count`.
    private static func endOfQuotedRecord(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        guard let base = bytes.baseAddress else { return bytes.count }
        func find(_ byte: Int32, from: Int, to end: Int) -> Int? {
            memchr(base + from, byte, end - from).map { UnsafeRawPointer($0) - base }
        }
        var position = start
        while position < bytes.count {
            // Quotes in front of the next line end come in pairs where it is outside of quotes.
            let end = find(0x0A, from: position, to: bytes.count) ?? bytes.count
            guard var quote = find(0x22, from: position, to: end) else { return end }
            while true {
                guard let closing = find(0x22, from: quote + 1, to: bytes.count) else { return bytes.count }
                position = closing + 1
                guard closing < end, let next = find(0x22, from: position, to: end) else { break }
                quote = next
            }
            if position <= end { return end }
        }
        return bytes.count
    }

    /// Reads on to the next line end without keeping anything; answers how many bytes that were, or nil where the line end is
    /// still to come.
    private func passOver() throws(OperatorError) -> Int64? {
        var total: Int64 = 0
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            var result: Result<Int, OperatorError> = .success(0)
            buffer.withUnsafeMutableBytes { memory in
                do throws(OperatorError) { result = .success(try file.read(into: memory)) } catch {
                    result = .failure(error)
                }
            }
            let count = try result.get()
            if count == 0 {
                if isGrowing, !takesRest { return nil }
                atEnd = true
                return total
            }
            if let end = buffer[..<count].firstIndex(of: 0x0A) {
                carry = Array(buffer[(end + 1)..<count])
                total += Int64(end + 1)
                position += Int64(end + 1)
                return total
            }
            total += Int64(count)
            position += Int64(count)
        }
    }
}
