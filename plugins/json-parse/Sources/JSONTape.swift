import CSimdJSON
import Glibc

/// A value on the tape: the tag of its word in the top byte, then 24 bits for the document's number in the chunk and
/// 32 for the word's index in the chunk's tape. Zero: no value.
typealias Slot = UInt64

/// simdjson's tags, which stand in the top byte of a tape word.
enum Tag {
    static let object = UInt64(UInt8(ascii: "{"))
    static let array = UInt64(UInt8(ascii: "["))
    static let string = UInt64(UInt8(ascii: "\""))
    static let int64 = UInt64(UInt8(ascii: "l"))
    static let uint64 = UInt64(UInt8(ascii: "u"))
    static let double = UInt64(UInt8(ascii: "d"))
    static let yes = UInt64(UInt8(ascii: "t"))
    static let no = UInt64(UInt8(ascii: "f"))
    static let null = UInt64(UInt8(ascii: "n"))
    static let missing: UInt64 = 0
}

extension Slot {
    @inline(__always) static func make(word: UInt64, document: Int, index: Int) -> Slot {
        (word & 0xFF00_0000_0000_0000) | UInt64(truncatingIfNeeded: document) << 32
            | UInt64(truncatingIfNeeded: index)
    }
    @inline(__always) var tag: UInt64 { self >> 56 }
    @inline(__always) var document: Int { Int(truncatingIfNeeded: self >> 32 & 0xFF_FFFF) }
    @inline(__always) var index: Int { Int(truncatingIfNeeded: self & 0xFFFF_FFFF) }
    /// Nothing there, or JSON's null.
    @inline(__always) var isNull: Bool { tag == Tag.missing || tag == Tag.null }
}

/// The documents of one call of the parser: pointers into its memory, valid until the next call.
struct Tape {
    let words: UnsafePointer<UInt64>
    let strings: UnsafePointer<UInt8>
    let documents: UnsafePointer<csimdjson_document>

    /// The bytes of the string with the tape word `word` in `document`; a 4-byte length stands in front of them.
    @inline(__always)
    func string(_ word: UInt64, document: Int) -> UnsafeRawBufferPointer {
        let start = strings + Int(truncatingIfNeeded: documents[document].strings &+ (word & 0x00FF_FFFF_FFFF_FFFF))
        let length = UnsafeRawPointer(start).loadUnaligned(as: UInt32.self)
        return UnsafeRawBufferPointer(start: start + 4, count: Int(length))
    }

    /// The bytes of the string in `slot`.
    @inline(__always)
    func string(_ slot: Slot) -> UnsafeRawBufferPointer { string(words[slot.index], document: slot.document) }

    /// The slot of the word at `index`, which must begin a value of `document`.
    @inline(__always)
    func slot(document: Int, index: Int) -> Slot { .make(word: words[index], document: document, index: index) }

    /// The index behind the value that begins at `index` in a document whose tape begins at `base`. O(1).
    @inline(__always)
    func next(_ index: Int, base: Int) -> Int {
        let word = words[index]
        switch word >> 56 {
        case Tag.object, Tag.array: return base &+ Int(truncatingIfNeeded: word & 0xFFFF_FFFF)
        case Tag.int64, Tag.uint64, Tag.double: return index &+ 2
        default: return index &+ 1
        }
    }

    @inline(__always)
    func base(_ document: Int) -> Int { Int(truncatingIfNeeded: documents[document].tape) }
}
