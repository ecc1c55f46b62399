import DataflowColumnar
import Glibc

/// Splits one CSV record into fields (RFC 4180): a quoted field may hold delimiters, line ends and doubled quotes.
package struct CSVRecord {
    /// Where a field's bytes stand in the record.
    package struct Span {
        package var range: Range<Int>
        /// Doubled quotes must become single ones.
        package var escaped: Bool
        /// Nothing stands there, not even quotes: `""` is the empty text.
        package var isNull: Bool
    }

    /// Every field, or nil when a quote is not closed or something follows a closing one. O(bytes).
    package static func split(_ bytes: UnsafeRawBufferPointer, delimiter: UInt8) -> [Span]? {
        var spans: [Span] = []
        return scan(bytes, delimiter: delimiter, { spans.append($0) }) ? spans : nil
    }

    /// Appends the first `width` fields; false, and nothing appended, where the record is wrong or has fewer. O(bytes).
    package static func split(_ bytes: UnsafeRawBufferPointer, delimiter: UInt8, width: Int, into spans: inout [Span])
        -> Bool
    {
        let before = spans.count
        var count = 0
        let isWhole = scan(bytes, delimiter: delimiter) { span in
            if count < width { spans.append(span) }
            count += 1
        }
        if isWhole && count >= width { return true }
        spans.removeSubrange(before...)
        return false
    }

    @inline(__always)
    private static func scan(
        _ bytes: UnsafeRawBufferPointer, delimiter: UInt8, _ take: (Span) -> Void
    ) -> Bool {
        var i = 0
        while true {
            if i < bytes.count, bytes[i] == 0x22 {
                let start = i + 1
                var escaped = false
                i = start
                while true {
                    guard let quote = find(0x22, in: bytes, from: i) else { return false }
                    i = quote
                    guard i + 1 < bytes.count, bytes[i + 1] == 0x22 else { break }
                    escaped = true
                    i += 2
                }
                take(Span(range: start..<i, escaped: escaped, isNull: false))
                i += 1
                guard i == bytes.count || bytes[i] == delimiter else { return false }
            } else {
                let start = i
                i = find(delimiter, in: bytes, from: i) ?? bytes.count
                take(Span(range: start..<i, escaped: false, isNull: i == start))
            }
            if i == bytes.count { return true }
            i += 1
        }
    }

    private static func find(_ byte: UInt8, in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard start < bytes.count, let base = bytes.baseAddress,
            let found = memchr(base + start, Int32(byte), bytes.count - start)
        else { return nil }
        return UnsafeRawPointer(found) - base
    }

    /// The text of a field, doubled quotes made single.
    package static func unescape(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var i = 0
        while i < bytes.count {
            result.append(bytes[i])
            i += bytes[i] == 0x22 ? 2 : 1
        }
        return result
    }
}
