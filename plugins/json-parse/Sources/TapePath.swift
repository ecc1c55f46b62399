import DataflowColumnar

/// Says where a value stands and what it is: for messages only, since it walks from the document's root.
enum TapePath {
    /// The path of a value from the root of its document, such as `$.rows[3].row.price`.
    static func path(of slot: Slot, tape: Tape) -> String {
        let base = tape.base(slot.document)
        let target = slot.index
        var index = base + 1
        var text = "$"
        while index < target {
            let word = tape.words[index]
            let end = tape.next(index, base: base) - 1
            var child = index + 1
            var position = 0
            switch word >> 56 {
            case Tag.object:
                while child < end {
                    let after = tape.next(child + 1, base: base)
                    if target < after {
                        text +=
                            JSONPath.Step.field(Array(tape.string(tape.words[child], document: slot.document)))
                            .description
                        break
                    }
                    child = after
                }
                index = child + 1
            case Tag.array:
                while child < end {
                    let after = tape.next(child, base: base)
                    if target < after { break }
                    position += 1
                    child = after
                }
                text += "[\(position)]"
                index = child
            default: return text
            }
        }
        return text
    }

    /// The JSON type of a value, in words.
    static func kind(_ slot: Slot) -> String {
        switch slot.tag {
        case Tag.object: "an object"
        case Tag.array: "a list"
        case Tag.string: "text"
        case Tag.int64, Tag.uint64, Tag.double: "a number"
        case Tag.yes, Tag.no: "a boolean"
        case Tag.null: "null"
        default: "nothing"
        }
    }
}
