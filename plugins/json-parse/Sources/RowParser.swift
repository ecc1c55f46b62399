import CSimdJSON
import DataflowColumnar

/// A column to build, as declared.
struct ColumnPlan {
    var name: String
    var type: DataType
    /// From the row's value.
    var path: JSONPath
    /// Missing and null are errors.
    var isRequired = false
    /// A value that does not fit becomes null instead of failing its row.
    var nullOnMismatch = false
    /// What numbers in a timestamp column count.
    var unit: EpochUnit?
    /// False where nothing downstream reads the column: it is not built, and only checked when it is required.
    var isUsed = true
}

/// Parses documents and builds columns of their rows: the operator without its contract.
final class RowParser {
    /// Something that became no row.
    struct Rejected {
        enum Kind { case document, row }
        var kind: Kind
        /// Which text of the call.
        var text: Int
        var code: String
        var reason: String
        /// The text it was found in, in the caller's memory; valid until the next call.
        var raw: UnsafeRawBufferPointer
    }

    /// Texts are parsed in runs of so many bytes, so that tape and strings stay in the cache between the passes.
    private static let chunkByteCount = 16 << 10

    private let columns: [ColumnPlan]
    private let writers: [ColumnWriter?]
    private let tree: FieldTree
    private let source: SourceText
    private var finder: RowFinder
    private var chunk: ParsedChunk?
    private var texts: [csimdjson_text] = []
    private var found: UnsafeMutablePointer<UnsafePointer<Slot>>
    /// The input row of each row so far.
    private var origins = Growable<Int32>()
    /// Positions, among the rows so far, of rows to be left out.
    private var refused: [Int32] = []
    private(set) var rejected: [Rejected] = []
    /// Texts that became at least one row, or rightly none.
    private(set) var passedTexts = 0

    /// Rows gathered since the last ``finish()``, the refused ones included.
    var rowCount: Int { origins.count }

    /// Nil when there is no memory for a parser.
    ///
    /// - Parameter keepsWholeDocuments: to have fields on the tape that no column asks for; for tests.
    init?(
        rows: JSONPath, columns: [ColumnPlan], maxDocumentBytes: Int, maxDepth: Int, keepsWholeDocuments: Bool = false
    ) {
        guard let source = SourceText(maxDocumentBytes: maxDocumentBytes, maxDepth: maxDepth) else { return nil }
        self.source = source
        self.columns = columns
        finder = RowFinder(rows)
        writers = columns.enumerated().map { number, plan in
            plan.isUsed
                ? ColumnWriter.make(
                    plan.type, column: number, unit: plan.unit, nullOnMismatch: plan.nullOnMismatch) : nil
        }
        tree = FieldTree(
            columns.enumerated().filter { ($1.isUsed || $1.isRequired) && !$1.path.steps.isEmpty }.map {
                ($0, $1.path.steps[...])
            })
        found = .allocate(capacity: max(columns.count, 1))
        // Where each document is a row, nothing but the columns' fields is looked at.
        if !keepsWholeDocuments, rows.steps.isEmpty,
            columns.allSatisfy({ !$0.isUsed || !$0.path.steps.isEmpty })
        {
            source.want(tree.names)
        }
    }

    deinit {
        found.deallocate()
    }

    /// Parses documents from `next` on, up to a chunk of them, and appends their rows.
    ///
    /// - Parameter views: the texts, one a row of the input.
    /// - Parameter isNull: whether an input row has no text.
    /// - Returns: the input row to go on with; nil when there was no memory.
    func parse(
        _ views: UnsafeViews, bases: [UnsafeRawBufferPointer], from first: Int, isNull: (Int) -> Bool
    ) -> Int? {
        rejected.removeAll(keepingCapacity: true)
        passedTexts = 0
        texts.removeAll(keepingCapacity: true)
        // A run of texts in one buffer; short ones stand inside the views themselves.
        let region = RowParser.region(views[first])
        let memory = bases[region]
        guard let base = memory.baseAddress else { return nil }
        var next = first
        var byteCount = 0
        while next < views.count, RowParser.region(views[next]) == region,
            byteCount == 0 || byteCount + Int(views[next].length) <= RowParser.chunkByteCount
        {
            if isNull(next) {
                if texts.isEmpty {
                    rejected.append(
                        Rejected(
                            kind: .document, text: next, code: "no_value", reason: "the value is null",
                            raw: UnsafeRawBufferPointer(start: nil, count: 0)))
                    return next + 1
                }
                break
            }
            var bytes = views.bytes(next)
            if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF {
                bytes = UnsafeRawBufferPointer(rebasing: bytes[3...])
            }
            guard let start = bytes.baseAddress else { break }
            texts.append(csimdjson_text(offset: UInt64(start - base), length: UInt64(bytes.count)))
            byteCount += bytes.count + 1
            next += 1
        }
        guard
            let tape = source.parse(
                texts, base: base.assumingMemoryBound(to: UInt8.self), readable: memory.count + Buffer.padding)
        else { return nil }
        parsed(tape, first: first)
        return next
    }

    @inline(__always)
    private static func region(_ view: StringView) -> Int { view.isInline ? 0 : view.bufferIndex + 1 }

    private func parsed(_ tape: Tape, first: Int) {
        let chunk = chunk ?? ParsedChunk(tape: tape, source: source)
        self.chunk = chunk
        chunk.begin(tape)
        finder.begin()
        origins.reserve(texts.count)
        var badTexts = 0
        for number in texts.indices {
            let error = tape.documents[number].error
            if error != 0 {
                refuse(document: number, input: first + number, error)
                badTexts += 1
                continue
            }
            let before = finder.rows.count
            finder.find(in: tape.slot(document: number, index: tape.base(number) + 1), tape: tape)
            let added = finder.rows.count - before
            origins.reserve(added)
            for _ in 0..<added { origins.append(Int32(truncatingIfNeeded: first + number)) }
        }
        let firstRow = origins.count - finder.rows.count
        write(chunk, tape)
        if chunk.failures.isEmpty && finder.failures.isEmpty {
            passedTexts = texts.count - badTexts
        } else {
            refuseRows(chunk, tape, first: first, firstRow: firstRow, badTexts: badTexts)
        }
    }

    private func write(_ chunk: ParsedChunk, _ tape: Tape) {
        let count = finder.rows.count
        guard count > 0 else { return }
        let rows = UnsafePointer(finder.rows.base)
        chunk.rowCount = count
        for number in columns.indices { found[number] = rows }
        tree.find(in: rows, count: count, tape: tape, found: found)
        for row in 0..<count where rows[row].tag != Tag.object {
            // Columns of the row's value itself take any value; fields need an object.
            if columns.contains(where: { !$0.path.steps.isEmpty }) {
                chunk.fail(row: row, column: -1, slot: rows[row], .type)
            }
        }
        for (number, plan) in columns.enumerated() {
            if plan.isRequired {
                let slots = found[number]
                for row in 0..<count where slots[row].isNull {
                    chunk.fail(row: row, column: number, slot: 0, .missing)
                }
            }
            writers[number]?.write(found[number], rows: nil, count: count, chunk: chunk)
        }
    }

    /// The columns so far, without the refused rows, and the input row of each row; begins anew. Nil for columns that
    /// are not used.
    func finish() -> (columns: [Column?], origins: Values<Int32>) {
        var columns = writers.map { $0?.finish() }
        var origins = origins.takeValues()
        if !refused.isEmpty {
            var keep = [Bool](repeating: true, count: origins.count)
            for row in refused { keep[Int(row)] = false }
            let indices = Bitmap(keep).setIndices
            columns = columns.map { $0?.take(indices) }
            origins = origins.take(indices)
            refused.removeAll(keepingCapacity: true)
        }
        return (columns, origins)
    }
}

// What was refused, in words: slow, and rare.
extension RowParser {
    private func refuse(document number: Int, input: Int, _ error: Int32) {
        let raw = source.text(ofDocument: number)
        let code: String
        var reason: String
        switch error {
        case csimdjson_error_capacity:
            code = "too_large"
            reason = "the document has \(raw.count) bytes, more than max_document_size"
        case csimdjson_error_depth:
            code = "too_deep"
            reason = "objects and arrays are nested deeper than max_depth"
        case csimdjson_error_memory:
            code = "no_memory"
            reason = "there was no memory for a document of \(raw.count) bytes"
        default:
            code = "invalid_json"
            if let problem = JSONSyntax.problem(in: raw) {
                reason = "byte \(problem.offset): \(problem.reason)"
            } else {
                reason = String(cString: csimdjson_error_message(error))
            }
        }
        rejected.append(Rejected(kind: .document, text: input, code: code, reason: reason, raw: raw))
    }

    private func refuseRows(_ chunk: ParsedChunk, _ tape: Tape, first: Int, firstRow: Int, badTexts: Int) {
        // A text passes unless all it held was refused.
        var attempts = [Int](repeating: 0, count: texts.count)
        var refusals = [Int](repeating: 0, count: texts.count)
        for row in 0..<finder.rows.count { attempts[finder.rows.base[row].document] += 1 }
        for failure in finder.failures {
            let document = failure.slot.document
            attempts[document] += 1
            refusals[document] += 1
            let raw =
                failure.isDocument
                ? source.text(ofDocument: document)
                : source.text(of: failure.slot, tape: tape) ?? source.text(ofDocument: document)
            rejected.append(
                Rejected(
                    kind: failure.isDocument ? .document : .row, text: first + document, code: "no_row",
                    reason: failure.reason, raw: raw))
        }
        for failure in chunk.failures.sorted(by: { $0.row < $1.row }) {
            let row = finder.rows.base[failure.row]
            refused.append(Int32(truncatingIfNeeded: firstRow + failure.row))
            refusals[row.document] += 1
            rejected.append(
                Rejected(
                    kind: .row, text: first + row.document, code: code(failure),
                    reason: reason(failure, row: row, tape),
                    raw: source.text(of: row, tape: tape) ?? source.text(ofDocument: row.document)))
        }
        passedTexts = texts.count - badTexts
        for number in texts.indices where refusals[number] > 0 && refusals[number] == attempts[number] {
            passedTexts -= 1
        }
    }

    private func code(_ failure: ParsedChunk.Failure) -> String {
        switch failure.refusal {
        case .missing: "missing_value"
        case .type: "type_mismatch"
        case .range: "out_of_range"
        case .text: "malformed_value"
        }
    }

    private func reason(_ failure: ParsedChunk.Failure, row: Slot, _ tape: Tape) -> String {
        guard failure.column >= 0 else {
            return "\(TapePath.path(of: row, tape: tape)): an object was expected, not \(TapePath.kind(row))"
        }
        let plan = columns[failure.column]
        guard failure.slot != 0 else {
            let place = TapePath.path(of: row, tape: tape) + plan.path.steps.map(\.description).joined()
            return "\(place): column \(plan.name) is required, but the value is missing or null"
        }
        let place = TapePath.path(of: failure.slot, tape: tape)
        var excerpt = ""
        if let text = source.text(of: failure.slot, tape: tape) {
            excerpt = String(decoding: text.prefix(60), as: UTF8.self) + (text.count > 60 ? "…" : "")
        }
        let expected = "\(place): column \(plan.name) is \(plan.type)"
        switch failure.refusal {
        case .missing: return "\(expected), but the value is missing or null"
        case .type:
            let isCountedTime =
                plan.unit == nil && failure.slot.tag != Tag.string && "\(plan.type)".contains("timestamp")
            return "\(expected), not \(TapePath.kind(failure.slot)): \(excerpt)"
                + (isCountedTime ? " (declare `unit: s`, `ms`, `us` or `ns` to read numbers)" : "")
        case .range: return "\(expected), and \(excerpt) is out of its range"
        case .text: return "\(expected), and \(excerpt) cannot be read as one"
        }
    }
}
