import DataflowColumnar
import DataflowFiles
import DataflowOperator

/// Finds the records of messages and, in each, the fields that are wanted.
final class RecordFields {
    /// A message, or a record of one, that cannot be read.
    struct Problem {
        var code: OperatorError.Code
        var reason: String
        var raw: UnsafeRawBufferPointer
    }

    private let names: [String]
    private let delimiter: UInt8
    /// Where the wanted fields stand, where no header tells.
    private let places: [Int]?
    /// The most fields that a record needs, where no header tells.
    private let width: Int
    /// Of each record: the row of its message, and where it stands in it.
    private(set) var messages: [Int32] = []
    private var records: [RecordSpan] = []
    /// The wanted fields of each record, from its message's start.
    private(set) var spans: [CSVRecord.Span] = []
    private var found: [RecordSpan] = []
    private var split: [CSVRecord.Span] = []

    /// - Parameters:
    ///   - names: the wanted fields.
    ///   - fields: all fields in order; nil where each message begins with a line of their names.
    init(names: [String], fields: [String]?, delimiter: UInt8) {
        self.names = names
        self.delimiter = delimiter
        places = fields.map { fields in names.map { fields.firstIndex(of: $0) ?? 0 } }
        width = places.map { ($0.max() ?? -1) + 1 } ?? 0
    }

    /// Records read so far.
    var count: Int { messages.count }

    /// How many fields of each record are kept.
    var fieldCount: Int { names.count }

    /// A record's bytes.
    func record(_ row: Int, _ views: UnsafeViews) -> UnsafeRawBufferPointer {
        let bytes = views.bytes(Int(messages[row]))
        return UnsafeRawBufferPointer(rebasing: bytes[records[row].offset..<records[row].offset + records[row].length])
    }

    /// Begins anew.
    func removeAll() {
        messages.removeAll(keepingCapacity: true)
        records.removeAll(keepingCapacity: true)
        spans.removeAll(keepingCapacity: true)
    }

    /// Reads the records of a message; answers those that cannot be read. O(bytes).
    ///
    /// - Parameter flush: called, in a message of very many records, to take those read so far away.
    func read(_ views: UnsafeViews, _ row: Int, flush: () -> Void) -> [Problem] {
        let bytes = views.bytes(row)
        let bom = bytes.count >= 3 && bytes[0] == 0xEF && bytes[1] == 0xBB && bytes[2] == 0xBF ? 3 : 0
        found.removeAll(keepingCapacity: true)
        _ = RecordReader.cut(bytes, from: bom, quoted: true, atEnd: true, into: &found)
        var rest = found[...]
        var places = places ?? []
        var width = width
        if self.places == nil {
            guard let header = rest.popFirst() else { return [] }
            let titles = self.titles(slice(bytes, header))
            places = []
            for name in names {
                guard let place = titles.firstIndex(of: name) else {
                    return [
                        Problem(
                            code: "no_such_field",
                            reason: "the header has no field `\(name)`; it has \(titles.joined(separator: ", "))",
                            raw: bytes)
                    ]
                }
                places.append(place)
            }
            width = (places.max() ?? -1) + 1
        }
        var problems: [Problem] = []
        for record in rest {
            let raw = slice(bytes, record)
            split.removeAll(keepingCapacity: true)
            guard CSVRecord.split(raw, delimiter: delimiter, width: width, into: &split) else {
                problems.append(
                    Problem(
                        code: "bad_record",
                        reason:
                            "expected at least \(width) fields, and quotes around a whole field: a quote is not closed, text stands behind a closing one, or there are fewer fields",
                        raw: raw))
                continue
            }
            for place in places {
                var span = split[place]
                span.range = span.range.lowerBound + record.offset..<span.range.upperBound + record.offset
                spans.append(span)
            }
            messages.append(Int32(truncatingIfNeeded: row))
            records.append(record)
            if messages.count >= 2 * RecordBatch.defaultRowCount { flush() }
        }
        return problems
    }

    private func slice(_ bytes: UnsafeRawBufferPointer, _ record: RecordSpan) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[record.offset..<record.offset + record.length])
    }

    private func titles(_ header: UnsafeRawBufferPointer) -> [String] {
        (CSVRecord.split(header, delimiter: delimiter) ?? []).map { span in
            let field = UnsafeRawBufferPointer(rebasing: header[span.range])
            return String(decoding: span.escaped ? CSVRecord.unescape(field) : Array(field), as: UTF8.self)
        }
    }
}
