import CSimdJSON
import DataflowColumnar

/// Owns a simdjson parser and the memory of the texts that it parsed last.
///
/// Also finds the source text of a value again, which the tape does not tell: the tape's values and the structural
/// positions of simdjson's first stage come in one order, so both are walked side by side. Asking for values in
/// ascending order costs one walk a document.
final class SourceText {
    private let parser: OpaquePointer
    private(set) var texts: [csimdjson_text] = []
    private var documents = Growable<csimdjson_document>()
    private var base: UnsafePointer<UInt8>?
    private var readable = 0

    // The walk: the token at tape index `index` of `document` stands at structural position `structural`.
    private var document = -1
    private var index = 0
    private var structural = 0
    private var positions: UnsafePointer<UInt32>?
    private var positionCount = 0

    /// Nil when there is no memory for a parser.
    init?(maxDocumentBytes: Int, maxDepth: Int) {
        guard let parser = csimdjson_create(maxDocumentBytes, UInt32(clamping: maxDepth)) else { return nil }
        self.parser = parser
    }

    deinit {
        csimdjson_destroy(parser)
    }

    /// Says that of documents which are objects only these fields are asked for: others may be missing on the tape.
    func want(_ names: [[UInt8]]) {
        Array(names.joined()).withUnsafeBufferPointer { text in
            guard var start = text.baseAddress else { return }
            var starts: [UnsafePointer<UInt8>] = []
            for name in names {
                starts.append(start)
                start += name.count
            }
            csimdjson_want(parser, starts, names.map(\.count), names.count)
        }
    }

    /// Parses each of `texts` (at least one), which lie in the `readable` bytes from `base`. The tape and
    /// ``documents`` are valid until the next call; `base` must stay readable as long.
    /// - Returns: nil when there was no memory for the parser to work in.
    func parse(_ texts: [csimdjson_text], base: UnsafePointer<UInt8>, readable: Int) -> Tape? {
        self.texts = texts
        self.base = base
        self.readable = readable
        document = -1
        documents.reserve(texts.count)
        return withUnsafeTemporaryAllocation(of: csimdjson_output.self, capacity: 1) { output in
            let result = output.baseAddress.unsafelyUnwrapped
            guard csimdjson_parse(parser, base, readable, texts, texts.count, documents.base, result) == 0 else {
                return nil
            }
            return Tape(words: result.pointee.tape, strings: result.pointee.strings, documents: documents.base)
        }
    }

    /// The whole text of a document.
    func text(ofDocument number: Int) -> UnsafeRawBufferPointer {
        guard let base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        let text = texts[number]
        return UnsafeRawBufferPointer(start: base + Int(text.offset), count: Int(text.length))
    }

    /// The source text of a value, without space around it. Nil only when there is no memory left.
    func text(of slot: Slot, tape: Tape) -> UnsafeRawBufferPointer? {
        let number = slot.document
        if tape.documents[number].is_part != 0 { return textInPart(of: slot, tape: tape) }
        let origin = tape.base(number)
        let target = slot.index - origin
        if number != document || target < index, !begin(number) { return nil }
        let whole = text(ofDocument: number)
        guard advance(to: target, tape: tape, origin: origin), let positions else { return nil }
        let start = Int(positions[structural])
        var end: Int
        switch slot.tag {
        case Tag.object, Tag.array:
            // The closing bracket is the last token of the container.
            guard advance(to: tape.next(slot.index, base: origin) - 1 - origin, tape: tape, origin: origin) else {
                return nil
            }
            end = Int(positions[structural]) + 1
        default:
            end = structural + 1 < positionCount ? Int(positions[structural + 1]) : whole.count
            while end > start, whole[end - 1] <= UInt8(ascii: " ") { end -= 1 }
        }
        return UnsafeRawBufferPointer(rebasing: whole[start..<end])
    }

    /// The same where the tape has only some fields: the tokens are then a brace and four a field.
    private func textInPart(of slot: Slot, tape: Tape) -> UnsafeRawBufferPointer? {
        let number = slot.document
        if number != document, !begin(number) { return nil }
        guard let positions else { return nil }
        let whole = text(ofDocument: number)
        let origin = tape.base(number)
        if slot.index == origin + 1 {
            return UnsafeRawBufferPointer(rebasing: whole[Int(positions[0])...Int(positions[positionCount - 1])])
        }
        // Fields of one name share its place among the strings.
        let name = tape.words[slot.index - 1]
        var earlier = 0
        var field = origin + 2
        while field < slot.index - 1 {
            if tape.words[field] == name { earlier += 1 }
            field = tape.next(field + 1, base: origin)
        }
        let wanted = tape.string(name, document: number)
        for token in stride(from: 1, to: positionCount - 3, by: 4) {
            let key = whole[Int(positions[token]) + 1..<Int(positions[token + 1]) - 1]
            guard key.elementsEqual(wanted) else { continue }
            if earlier == 0 {
                return UnsafeRawBufferPointer(
                    rebasing: whole[Int(positions[token + 2])..<Int(positions[token + 3])])
            }
            earlier -= 1
        }
        return nil
    }

    private func begin(_ number: Int) -> Bool {
        guard let base else { return false }
        document = -1
        guard csimdjson_structurals(parser, base, readable, texts[number], &positions, &positionCount) == 0 else {
            return false
        }
        document = number
        // Word 0 of a document's tape is its root mark, which has no token.
        index = 1
        structural = 0
        return positionCount > 0
    }

    private func advance(to target: Int, tape: Tape, origin: Int) -> Bool {
        guard let positions else { return false }
        let bytes = text(ofDocument: document)
        while index < target {
            switch tape.words[origin + index] >> 56 {
            case Tag.int64, Tag.uint64, Tag.double: index += 2
            default: index += 1
            }
            structural += 1
            while structural < positionCount,
                bytes[Int(positions[structural])] == UInt8(ascii: ",")
                    || bytes[Int(positions[structural])] == UInt8(ascii: ":")
            {
                structural += 1
            }
            guard structural < positionCount else { return false }
        }
        return index == target
    }
}
