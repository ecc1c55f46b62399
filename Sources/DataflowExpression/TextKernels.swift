import DataflowColumnar
import Glibc

/// Kernels over text. Characters are Unicode scalars, as in PostgreSQL; damaged UTF-8 does no harm.
enum TextKernels {
    static func lower(_ vector: Vector, _ rows: Int) -> Column {
        mapCase(
            vector, rows, first: UInt8(ascii: "A"), last: UInt8(ascii: "Z"), { $0.properties.lowercaseMapping })
    }

    static func upper(_ vector: Vector, _ rows: Int) -> Column {
        mapCase(
            vector, rows, first: UInt8(ascii: "a"), last: UInt8(ascii: "z"), { $0.properties.uppercaseMapping })
    }

    /// ASCII letters from `first` to `last` change by one bit; other text goes through Unicode's tables.
    @inline(__always)
    private static func mapCase(
        _ vector: Vector, _ rows: Int, first: UInt8, last: UInt8, _ mapping: (Unicode.Scalar) -> String
    ) -> Column {
        let step = vector.stride
        return vector.text.withUnsafeViews { views in
            writeText(rows) { row, output in
                let bytes = views.bytes(row &* step)
                var all: UInt8 = 0
                output.append(upTo: bytes.count) { out in
                    for i in 0..<bytes.count {
                        let byte = bytes[i]
                        all |= byte
                        out[i] = byte ^ ((byte &- first) <= (last &- first) ? 0x20 : 0)
                    }
                    return bytes.count
                }
                if all >= 0x80 {
                    output.restartRow()
                    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
                        output.append(mapping(scalar))
                    }
                }
            }
        }
    }

    /// How many characters: bytes that do not continue one. Eight bytes at a time.
    @inline(__always)
    static func characterCount(_ bytes: UnsafeRawBufferPointer) -> Int {
        var position = 0
        var continuations = 0
        while position &+ 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            continuations &+= ((word >> 7) & (~word >> 6) & 0x0101_0101_0101_0101).nonzeroBitCount
            position &+= 8
        }
        while position < bytes.count {
            continuations &+= bytes[position] & 0xC0 == 0x80 ? 1 : 0
            position &+= 1
        }
        return bytes.count &- continuations
    }

    /// The byte offset of character number `index` (from zero); the length when there are fewer.
    @inline(__always)
    static func offset(of index: Int, in bytes: UnsafeRawBufferPointer, isASCII: Bool) -> Int {
        if index <= 0 { return 0 }
        if isASCII { return min(index, bytes.count) }
        var left = index
        var position = 0
        while position < bytes.count {
            if left == 0 { return position }
            position = LikePattern.nextCharacter(bytes, position)
            left -= 1
        }
        return position
    }

    @inline(__always)
    static func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var position = 0
        var all: UInt64 = 0
        while position &+ 8 <= bytes.count {
            all |= bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            position &+= 8
        }
        while position < bytes.count {
            all |= UInt64(bytes[position])
            position &+= 1
        }
        return all & 0x8080_8080_8080_8080 == 0
    }

    /// Characters `start ..< start + length`, counted from 1; parts before the first are cut off, as in PostgreSQL.
    static func substring(_ bytes: UnsafeRawBufferPointer, start: Int64, length: Int64?) -> UnsafeRawBufferPointer {
        let first = max(start, 1) - 1
        var end = Int64.max
        if let length {
            let (sum, overflow) = start.addingReportingOverflow(length)
            end = overflow ? (length < 0 ? 0 : .max) : sum
            end = end == .max ? .max : max(end, 1) - 1
        }
        guard first < end, first < bytes.count else { return UnsafeRawBufferPointer(rebasing: bytes[0..<0]) }
        let ascii = isASCII(bytes)
        let from = offset(of: Int(first), in: bytes, isASCII: ascii)
        let to = end >= bytes.count ? bytes.count : offset(of: Int(end), in: bytes, isASCII: ascii)
        return UnsafeRawBufferPointer(rebasing: bytes[from..<max(from, to)])
    }

    static let substringKernel: Kernel = { arguments, rows, evaluation in
        let starts = arguments[1].operand(Int64.self)
        let lengths = arguments.count > 2 ? arguments[2].operand(Int64.self) : nil
        return sliceText(arguments[0], rows) { row, bytes in
            let start = starts.values[starts.isConstant ? 0 : row]
            var length: Int64?
            if let lengths {
                let value = lengths.values[lengths.isConstant ? 0 : row]
                if value < 0 {
                    evaluation.fail(row, RowError(.invalidArgument, "substr got the negative length \(value)"))
                }
                length = max(value, 0)
            }
            return substring(bytes, start: start, length: length)
        }
    }

    /// `left(text, n)` and `right(text, n)`; a negative n leaves out that many on the other side.
    static func side(isLeft: Bool) -> Kernel {
        { arguments, rows, _ in
            let counts = arguments[1].operand(Int64.self)
            return sliceText(arguments[0], rows) { row, bytes in
                let wanted = counts.values[counts.isConstant ? 0 : row]
                let ascii = isASCII(bytes)
                let total = Int64(ascii ? bytes.count : characterCount(bytes))
                let kept = Int(wanted >= 0 ? min(wanted, total) : max(0, total + max(wanted, -total)))
                if isLeft {
                    let end = offset(of: kept, in: bytes, isASCII: ascii)
                    return UnsafeRawBufferPointer(rebasing: bytes[0..<end])
                }
                let start = offset(of: Int(total) - kept, in: bytes, isASCII: ascii)
                return UnsafeRawBufferPointer(rebasing: bytes[start...])
            }
        }
    }

    struct TrimSides: OptionSet, Sendable {
        let rawValue: Int
        static let start = TrimSides(rawValue: 1)
        static let end = TrimSides(rawValue: 2)
    }

    /// Cuts off spaces, or any of the characters of the second argument.
    static func trim(_ sides: TrimSides) -> Kernel {
        { arguments, rows, _ in
            if arguments.count == 1 {
                return sliceText(arguments[0], rows) { _, bytes in trim(bytes, sides) { $0 == 0x20 } }
            }
            let characters = arguments[1]
            return characters.text.withUnsafeViews { sets in
                sliceText(arguments[0], rows) { row, bytes in
                    let set = sets.bytes(row &* characters.stride)
                    if isASCII(set) { return trim(bytes, sides) { set.contains($0) } }
                    return trimScalars(bytes, sides, set)
                }
            }
        }
    }

    @inline(__always)
    private static func trim(
        _ bytes: UnsafeRawBufferPointer, _ sides: TrimSides, _ isCut: (UInt8) -> Bool
    ) -> UnsafeRawBufferPointer {
        var start = 0
        var end = bytes.count
        if sides.contains(.start) { while start < end, isCut(bytes[start]) { start += 1 } }
        if sides.contains(.end) { while end > start, isCut(bytes[end - 1]) { end -= 1 } }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }

    private static func trimScalars(
        _ bytes: UnsafeRawBufferPointer, _ sides: TrimSides, _ set: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        func isCut(_ range: Range<Int>) -> Bool {
            var position = 0
            while position < set.count {
                let next = LikePattern.nextCharacter(set, position)
                if next - position == range.count,
                    compareBytes(
                        UnsafeRawBufferPointer(rebasing: set[position..<next]),
                        UnsafeRawBufferPointer(rebasing: bytes[range])) == 0
                {
                    return true
                }
                position = next
            }
            return false
        }
        var start = 0
        var end = bytes.count
        if sides.contains(.start) {
            while start < end {
                let next = LikePattern.nextCharacter(bytes, start)
                guard isCut(start..<next) else { break }
                start = next
            }
        }
        if sides.contains(.end) {
            while end > start {
                var before = end - 1
                while before > start, bytes[before] & 0xC0 == 0x80 { before -= 1 }
                guard isCut(before..<end) else { break }
                end = before
            }
        }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }

    static let concatenate: Kernel = { arguments, rows, _ in
        let (s, t) = (arguments[0].stride, arguments[1].stride)
        return arguments[0].text.withUnsafeViews { a in
            arguments[1].text.withUnsafeViews { b in
                writeText(rows) { row, output in
                    output.append(a.bytes(row &* s))
                    output.append(b.bytes(row &* t))
                }
            }
        }
    }

    /// All arguments one behind the other with a separator between; nulls are left out.
    static func join(separator: Bool) -> Kernel {
        { arguments, rows, _ in
            let parts = separator ? Array(arguments.dropFirst()) : arguments
            var output = TextOutput(rows: rows)
            for row in 0..<rows {
                var isFirst = true
                for part in parts {
                    let index = row * part.stride
                    if part.column.isNull(index) { continue }
                    if !isFirst, separator {
                        arguments[0].text.withUnsafeViews { output.append($0.bytes(row * arguments[0].stride)) }
                    }
                    part.text.withUnsafeViews { output.append($0.bytes(index)) }
                    isFirst = false
                }
                output.endRow()
            }
            let validity =
                separator && !arguments[0].isConstant
                ? arguments[0].column.validity
                : separator && arguments[0].isNullConstant ? Bitmap(repeating: false, count: rows) : nil
            return output.finish(validity: validity)
        }
    }

    static let replace: Kernel = { arguments, rows, evaluation in
        let steps = arguments.map(\.stride)
        return arguments[0].text.withUnsafeViews { texts in
            arguments[1].text.withUnsafeViews { parts in
                arguments[2].text.withUnsafeViews { others in
                    writeText(rows) { row, output in
                        let text = texts.bytes(row &* steps[0])
                        let part = parts.bytes(row &* steps[1])
                        let other = others.bytes(row &* steps[2])
                        var position = 0
                        while part.count > 0, let found = LikePattern.find(part, in: text, from: position) {
                            output.append(UnsafeRawBufferPointer(rebasing: text[position..<found]))
                            output.append(other)
                            position = found + part.count
                            if output.rowByteCount > TextOutput.maxRowByteCount {
                                evaluation.fail(row, tooLong("replace"))
                                output.restartRow()
                                return
                            }
                        }
                        output.append(UnsafeRawBufferPointer(rebasing: text[position...]))
                    }
                }
            }
        }
    }

    static func tooLong(_ function: String) -> RowError {
        RowError(.tooLong, "the result of \(function) is longer than \(TextOutput.maxRowByteCount >> 20) MiB")
    }

    /// Part number n (from 1, or from the end for negative n) of a text cut at a separator; empty beyond the last.
    static let splitPart: Kernel = { arguments, rows, evaluation in
        let separators = arguments[1]
        let numbers = arguments[2].operand(Int64.self)
        return separators.text.withUnsafeViews { views in
            sliceText(arguments[0], rows) { row, bytes in
                let separator = views.bytes(row &* separators.stride)
                let number = numbers.values[numbers.isConstant ? 0 : row]
                let empty = UnsafeRawBufferPointer(rebasing: bytes[0..<0])
                if number == 0 {
                    evaluation.fail(
                        row, RowError(.invalidArgument, "split_part counts parts from 1 (or from -1 backwards)"))
                    return empty
                }
                if separator.isEmpty { return number == 1 || number == -1 ? bytes : empty }
                var wanted = number
                if wanted < 0 {
                    var count: Int64 = 1
                    var position = 0
                    while let found = LikePattern.find(separator, in: bytes, from: position) {
                        count += 1
                        position = found + separator.count
                    }
                    // The smallest number has no opposite; nothing has that many parts either.
                    wanted = wanted < -count ? .max : count + wanted + 1
                }
                var start = 0
                while true {
                    let found = LikePattern.find(separator, in: bytes, from: start)
                    if wanted == 1 { return UnsafeRawBufferPointer(rebasing: bytes[start..<(found ?? bytes.count)]) }
                    guard let found else { return empty }
                    wanted -= 1
                    start = found + separator.count
                }
            }
        }
    }

    /// The number of the character where the part starts, from 1; 0 when it does not occur.
    static let position: Kernel = { arguments, rows, _ in
        let (s, t) = (arguments[0].stride, arguments[1].stride)
        return arguments[0].text.withUnsafeViews { texts in
            arguments[1].text.withUnsafeViews { parts in
                Column(
                    .int64,
                    .int64(
                        Values(count: rows) { out in
                            for row in 0..<rows {
                                let text = texts.bytes(row &* s)
                                let found = LikePattern.find(parts.bytes(row &* t), in: text, from: 0)
                                out[row] = Int64(
                                    found.map { characterCount(UnsafeRawBufferPointer(rebasing: text[0..<$0])) + 1 }
                                        ?? 0)
                            }
                        }))
            }
        }
    }

    enum Search: Sendable { case prefix, suffix, anywhere }

    static func search(_ search: Search) -> Kernel {
        { arguments, rows, _ in
            let (s, t) = (arguments[0].stride, arguments[1].stride)
            let bits = arguments[0].text.withUnsafeViews { texts in
                arguments[1].text.withUnsafeViews { parts in
                    switch search {
                    case .prefix: packBits(rows) { LikePattern.hasPrefix(texts.bytes($0 &* s), parts.bytes($0 &* t)) }
                    case .suffix: packBits(rows) { LikePattern.hasSuffix(texts.bytes($0 &* s), parts.bytes($0 &* t)) }
                    case .anywhere:
                        packBits(rows) {
                            LikePattern.find(parts.bytes($0 &* t), in: texts.bytes($0 &* s), from: 0) != nil
                        }
                    }
                }
            }
            return Column(.bool, .bool(bits))
        }
    }

    /// Fills up to n characters with a repeated text, or cuts to n.
    static func pad(isLeft: Bool) -> Kernel {
        { arguments, rows, evaluation in
            let counts = arguments[1].operand(Int64.self)
            let (s, t) = (arguments[0].stride, arguments[2].stride)
            return arguments[0].text.withUnsafeViews { texts in
                arguments[2].text.withUnsafeViews { fills in
                    writeText(rows) { row, output in
                        let text = texts.bytes(row &* s)
                        let fill = fills.bytes(row &* t)
                        let wanted = max(0, counts.values[counts.isConstant ? 0 : row])
                        guard wanted <= Int64(TextOutput.maxRowByteCount) else {
                            evaluation.fail(row, tooLong(isLeft ? "lpad" : "rpad"))
                            return
                        }
                        let length = characterCount(text)
                        if length >= Int(wanted) {
                            output.append(substring(text, start: 1, length: wanted))
                            return
                        }
                        if !isLeft { output.append(text) }
                        var missing = Int(wanted) - length
                        let fillLength = characterCount(fill)
                        while missing > 0, fillLength > 0 {
                            output.append(
                                missing >= fillLength ? fill : substring(fill, start: 1, length: Int64(missing)))
                            missing -= fillLength
                        }
                        if isLeft { output.append(text) }
                    }
                }
            }
        }
    }

    static let `repeat`: Kernel = { arguments, rows, evaluation in
        let counts = arguments[1].operand(Int64.self)
        let step = arguments[0].stride
        return arguments[0].text.withUnsafeViews { texts in
            writeText(rows) { row, output in
                let text = texts.bytes(row &* step)
                let count = max(0, counts.values[counts.isConstant ? 0 : row])
                guard count <= Int64(TextOutput.maxRowByteCount), Int(count) * text.count <= TextOutput.maxRowByteCount
                else {
                    evaluation.fail(row, tooLong("repeat"))
                    return
                }
                for _ in 0..<count { output.append(text) }
            }
        }
    }

    static let reverse: Kernel = { arguments, rows, _ in
        let step = arguments[0].stride
        return arguments[0].text.withUnsafeViews { texts in
            writeText(rows) { row, output in
                let text = texts.bytes(row &* step)
                var end = text.count
                while end > 0 {
                    var start = end - 1
                    while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
                    output.append(UnsafeRawBufferPointer(rebasing: text[start..<end]))
                    end = start
                }
            }
        }
    }

    /// The first letter of each word in upper case, the rest in lower case.
    static let capitalize: Kernel = { arguments, rows, _ in
        let step = arguments[0].stride
        return arguments[0].text.withUnsafeViews { texts in
            writeText(rows) { row, output in
                var isInside = false
                for scalar in String(decoding: texts.bytes(row &* step), as: UTF8.self).unicodeScalars {
                    let isWord = scalar.properties.isAlphabetic || scalar.properties.numericType != nil
                    if isWord {
                        output.append(
                            isInside ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping)
                    } else {
                        output.append(scalar)
                    }
                    isInside = isWord
                }
            }
        }
    }

    /// A number per text.
    @inline(__always)
    static func measure(_ vector: Vector, _ rows: Int, _ measure: (UnsafeRawBufferPointer) -> Int) -> Column {
        let step = vector.stride
        return vector.text.withUnsafeViews { views in
            Column(
                .int64,
                .int64(
                    Values(count: rows) { out in
                        for row in 0..<rows { out[row] = Int64(measure(views.bytes(row &* step))) }
                    }))
        }
    }

    /// `translate(text, from, to)`: characters of `from` become those of `to` at the same place, or nothing.
    static let translate: Kernel = { arguments, rows, _ in
        let steps = arguments.map(\.stride)
        var last: (from: String, to: String, map: [Unicode.Scalar: Unicode.Scalar?])?
        let (froms, tos) = (arguments[1].text, arguments[2].text)
        return arguments[0].text.withUnsafeViews { texts in
            writeText(rows) { row, output in
                if last == nil || steps[1] != 0 || steps[2] != 0 {
                    let from = froms.string(at: row * steps[1])
                    let to = tos.string(at: row * steps[2])
                    if last.map({ $0.from != from || $0.to != to }) ?? true {
                        var map: [Unicode.Scalar: Unicode.Scalar?] = [:]
                        let targets = Array(to.unicodeScalars)
                        for (index, scalar) in from.unicodeScalars.enumerated() where map[scalar] == nil {
                            map[scalar] = .some(index < targets.count ? targets[index] : nil)
                        }
                        last = (from, to, map)
                    }
                }
                for scalar in String(decoding: texts.bytes(row &* steps[0]), as: UTF8.self).unicodeScalars {
                    if let target = last?.map[scalar] {
                        if let target { output.append(target) }
                    } else {
                        output.append(scalar)
                    }
                }
            }
        }
    }
}
