import DataflowColumnar

/// Splits one CSV record into fields (RFC 4180): a quoted field may hold delimiters, line ends and doubled quotes.
struct CSVRecord {
    /// Where a field's bytes stand in the record; `escaped` when doubled quotes must become single ones.
    struct Span {
        var range: Range<Int>
        var escaped: Bool
    }

    /// The fields, or nil when a quote is not closed or something follows a closing one. O(bytes).
    static func split(_ bytes: UnsafeRawBufferPointer, delimiter: UInt8) -> [Span]? {
        var spans: [Span] = []
        var i = 0
        while true {
            if i < bytes.count, bytes[i] == 0x22 {
                let start = i + 1
                var escaped = false
                i = start
                while true {
                    guard i < bytes.count else { return nil }
                    if bytes[i] == 0x22 {
                        if i + 1 < bytes.count, bytes[i + 1] == 0x22 {
                            escaped = true
                            i += 2
                            continue
                        }
                        break
                    }
                    i += 1
                }
                spans.append(Span(range: start..<i, escaped: escaped))
                i += 1
                guard i == bytes.count || bytes[i] == delimiter else { return nil }
            } else {
                let start = i
                while i < bytes.count, bytes[i] != delimiter { i += 1 }
                spans.append(Span(range: start..<i, escaped: false))
            }
            if i == bytes.count { return spans }
            i += 1
        }
    }

    /// The text of a field, doubled quotes made single.
    static func unescape(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
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
