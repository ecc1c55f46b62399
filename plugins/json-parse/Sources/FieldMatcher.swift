import CSimdJSON
import Glibc

/// Finds the wanted fields of objects.
///
/// Objects of one kind mostly have their fields in one order, so each key remembers which key followed it last: where
/// the guess is right, a field costs a comparison of its length and eight or sixteen bytes, whether it is wanted or
/// not. Where a field occurs twice in an object, the last one counts.
struct FieldMatcher: ~Copyable {
    struct Key {
        /// The first eight bytes, zeros behind the end.
        var prefix: UInt64
        var prefixMask: UInt64
        /// The last eight bytes of a key longer than eight.
        var suffix: UInt64
        var length: UInt32
        /// Which column of slots it goes to; -1: not wanted.
        var target: Int32
        /// Where the key's bytes stand in `text`.
        var textOffset: Int32
        /// The key that followed it last.
        var next: Int32
    }

    /// Unwanted keys remembered; beyond that, they are looked up each time.
    private static let maxKeys = 1024

    private var keys = Growable<Key>()
    private var text = Growable<UInt8>()
    private var table: [Int32]
    /// How many wanted fields there are.
    let targetCount: Int

    /// - Parameter names: the wanted fields, by target; distinct.
    init(_ names: [[UInt8]]) {
        targetCount = names.count
        var size = 64
        while size < names.count * 4 { size *= 2 }
        table = [Int32](repeating: -1, count: max(size, FieldMatcher.maxKeys * 2))
        // Key 0 stands in front of the first field; its length fits no key.
        keys.append(
            Key(prefix: 0, prefixMask: 0, suffix: 0, length: .max, target: -1, textOffset: 0, next: 0))
        for (target, name) in names.enumerated() {
            // Padded: comparisons read eight bytes at a time.
            (name + [UInt8](repeating: 0, count: 8)).withUnsafeBytes { bytes in
                _ = add(UnsafeRawBufferPointer(rebasing: bytes[..<name.count]), target: Int32(target))
            }
        }
    }

    @inline(__always)
    private static func load(_ bytes: UnsafeRawPointer) -> UInt64 { bytes.loadUnaligned(as: UInt64.self) }

    private static func mask(_ length: Int) -> UInt64 { length >= 8 ? .max : (1 << UInt64(length * 8)) - 1 }

    private mutating func add(_ key: UnsafeRawBufferPointer, target: Int32) -> Int32 {
        guard let start = key.baseAddress else { return 0 }
        let number = Int32(keys.count)
        let mask = FieldMatcher.mask(key.count)
        text.reserve(key.count + 8)
        memcpy(text.base + text.count, start, key.count)
        keys.append(
            Key(
                prefix: FieldMatcher.load(start) & mask, prefixMask: mask,
                suffix: key.count > 8 ? FieldMatcher.load(start + key.count - 8) : 0, length: UInt32(key.count),
                target: target, textOffset: Int32(text.count), next: 0))
        text.count += key.count
        var place = bucket(key)
        while table[place] >= 0 { place = (place + 1) & (table.count - 1) }
        table[place] = number
        return number
    }

    private func bucket(_ key: UnsafeRawBufferPointer) -> Int {
        guard let start = key.baseAddress else { return 0 }
        var hash = UInt64(key.count) ^ (FieldMatcher.load(start) & FieldMatcher.mask(key.count))
        if key.count > 8 { hash ^= FieldMatcher.load(start + key.count - 8) &* 0x9E37_79B9_7F4A_7C15 }
        hash = (hash ^ hash >> 29) &* 0xBF58_476D_1CE4_E5B9
        return Int(truncatingIfNeeded: hash >> 32) & (table.count - 1)
    }

    @inline(__always)
    private func matches(_ number: Int32, _ start: UnsafeRawPointer, _ length: UInt32) -> Bool {
        let key = keys.base + Int(number)
        guard key.pointee.length == length,
            (FieldMatcher.load(start) & key.pointee.prefixMask) == key.pointee.prefix
        else { return false }
        if length <= 8 { return true }
        guard FieldMatcher.load(start + Int(length) - 8) == key.pointee.suffix else { return false }
        return length <= 16 || memcmp(start, text.base + Int(key.pointee.textOffset), Int(length)) == 0
    }

    /// The number of a key that the guess missed; 0 for an unwanted key that there is no room to remember.
    private mutating func look(_ key: UnsafeRawBufferPointer) -> Int32 {
        guard let start = key.baseAddress else { return 0 }
        var place = bucket(key)
        while table[place] >= 0 {
            if matches(table[place], start, UInt32(key.count)) { return table[place] }
            place = (place + 1) & (table.count - 1)
        }
        return keys.count < FieldMatcher.maxKeys ? add(key, target: -1) : 0
    }

    /// Writes the slots of the wanted fields of `count` objects, one column of `count` slots a target. A slot that
    /// holds no object leaves its row without values.
    mutating func match(
        _ objects: UnsafePointer<Slot>, count: Int, tape: Tape, into columns: UnsafeMutablePointer<Slot>
    ) {
        memset(columns, 0, count * targetCount * MemoryLayout<Slot>.stride)
        let words = tape.words
        for row in 0..<count {
            let object = objects[row]
            guard object.tag == Tag.object else { continue }
            let document = object.document
            let documentBits = UInt64(truncatingIfNeeded: document) << 32
            let base = tape.base(document)
            let strings = UnsafeRawPointer(tape.strings) + Int(truncatingIfNeeded: tape.documents[document].strings)
            var index = object.index
            // The last word of the object is its closing brace.
            let end = base &+ Int(truncatingIfNeeded: words[index] & 0xFFFF_FFFF) &- 1
            index &+= 1
            var previous: Int32 = 0
            while index < end {
                let start = strings + Int(truncatingIfNeeded: words[index] & 0x00FF_FFFF_FFFF_FFFF)
                let length = start.loadUnaligned(as: UInt32.self)
                var number = keys.base[Int(previous)].next
                if !matches(number, start + 4, length) {
                    // One field left out is common: try the one behind it.
                    number = keys.base[Int(number)].next
                    if !matches(number, start + 4, length) {
                        number = look(UnsafeRawBufferPointer(start: start + 4, count: Int(length)))
                        keys.base[Int(previous)].next = number
                    }
                }
                previous = number
                index &+= 1
                let word = words[index]
                let target = Int(keys.base[Int(number)].target)
                if target >= 0 {
                    columns[target &* count &+ row] =
                        (word & 0xFF00_0000_0000_0000) | documentBits | UInt64(truncatingIfNeeded: index)
                }
                index = tape.next(index, base: base)
            }
        }
    }
}
