import DataflowColumnar
import Glibc

/// Parts of URLs, percent escapes, and networks of IP addresses.
enum Addresses {
    /// The parts of `scheme://user@host:port/path?query#fragment`.
    struct URLParts {
        var scheme: Range<Int>?
        var host: Range<Int>?
        var port: Range<Int>?
        var path: Range<Int>
        var query: Range<Int>?

        init(_ text: UnsafeRawBufferPointer) {
            func find(_ character: Unicode.Scalar, from: Int, to: Int) -> Int? {
                (from..<max(from, to)).first { text[$0] == UInt8(ascii: character) }
            }
            let fragment = find("#", from: 0, to: text.count) ?? text.count
            let mark = find("?", from: 0, to: fragment)
            if let mark { query = mark + 1..<fragment }
            let end = mark ?? fragment
            var start = 0
            if let colon = find(":", from: 0, to: end), URLParts.isScheme(text[0..<colon]) {
                scheme = 0..<colon
                start = colon + 1
            }
            guard start + 2 <= end, text[start] == UInt8(ascii: "/"), text[start + 1] == UInt8(ascii: "/") else {
                path = start..<end
                return
            }
            start += 2
            let slash = find("/", from: start, to: end) ?? end
            path = slash..<end
            var hostStart = start
            for i in start..<slash where text[i] == UInt8(ascii: "@") { hostStart = i + 1 }
            var hostEnd = slash
            // The colons of an IPv6 address stand in brackets.
            let close = (hostStart..<slash).last { text[$0] == UInt8(ascii: "]") } ?? hostStart
            if let colon = find(":", from: close, to: slash) {
                hostEnd = colon
                if colon + 1 < slash { port = colon + 1..<slash }
            }
            host = hostStart..<hostEnd
        }

        /// A letter, then letters, digits, `+`, `-` and `.` (RFC 3986, 3.1).
        private static func isScheme(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
            for (index, byte) in text.enumerated() {
                switch Unicode.Scalar(byte) {
                case "a"..."z", "A"..."Z": continue
                case "0"..."9", "+", "-", ".": if index == 0 { return false }
                default: return false
                }
            }
            return !text.isEmpty
        }
    }

    /// The first value of a query's parameter, still escaped. Names in the query may have escapes, `name` has none.
    static func parameter(
        _ name: UnsafeRawBufferPointer, _ text: UnsafeRawBufferPointer, in query: Range<Int>
    ) -> Range<Int>? {
        var start = query.lowerBound
        while start <= query.upperBound {
            let end = (start..<query.upperBound).first { text[$0] == UInt8(ascii: "&") } ?? query.upperBound
            let equals = (start..<end).first { text[$0] == UInt8(ascii: "=") } ?? end
            if isEscaped(UnsafeRawBufferPointer(rebasing: text[start..<equals]), of: name) {
                return min(equals + 1, end)..<end
            }
            start = end + 1
        }
        return nil
    }

    private static func hex(_ byte: UInt8) -> UInt8? { Character(Unicode.Scalar(byte)).hexDigitValue.map { UInt8($0) } }

    /// The byte at `position` with `%41` resolved and `+` as a space; moves behind it. Broken escapes stay as they are.
    @inline(__always)
    private static func decodedByte(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) -> UInt8 {
        let byte = bytes[position]
        if byte == UInt8(ascii: "%"), position + 2 < bytes.count, let high = hex(bytes[position + 1]),
            let low = hex(bytes[position + 2])
        {
            position += 3
            return high << 4 | low
        }
        position += 1
        return byte == UInt8(ascii: "+") ? 0x20 : byte
    }

    /// Whether `bytes` without their escapes are `text`.
    private static func isEscaped(_ bytes: UnsafeRawBufferPointer, of text: UnsafeRawBufferPointer) -> Bool {
        var position = 0
        for byte in text {
            guard position < bytes.count, decodedByte(bytes, &position) == byte else { return false }
        }
        return position == bytes.count
    }

    /// Writes a text with `%41` resolved; `+` becomes a space. Broken escapes stay as they are.
    ///
    /// - Returns: nil, or why the row has no value: what the escapes stand for is not UTF-8.
    static func decode(_ bytes: UnsafeRawBufferPointer, to output: inout TextOutput) -> RowError? {
        var position = 0
        while position < bytes.count { output.append(decodedByte(bytes, &position)) }
        if output.isRowUTF8 { return nil }
        output.restartRow()
        let text = Casts.excerpt(String(decoding: bytes, as: UTF8.self))
        return RowError(.invalidArgument, "cannot decode \(text) to a string: its bytes are not UTF-8")
    }

    /// Writes a text with everything but letters, digits and `-._~` as percent escapes.
    static func encode(_ bytes: UnsafeRawBufferPointer, to output: inout TextOutput) {
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in bytes {
            switch Unicode.Scalar(byte) {
            case "a"..."z", "A"..."Z", "0"..."9", "-", ".", "_", "~": output.append(byte)
            default:
                output.append(UInt8(ascii: "%"))
                output.append(digits[Int(byte >> 4)])
                output.append(digits[Int(byte & 15)])
            }
        }
    }

    // MARK: IP

    /// An IPv4 address (as IPv4-mapped IPv6, 96 bits in front) or an IPv6 address; nil when the text is none.
    static func address(_ bytes: UnsafeRawBufferPointer) -> UInt128? {
        guard bytes.count <= 45 else { return nil }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 46) { text -> UInt128? in
            for (i, byte) in bytes.enumerated() { text[i] = CChar(bitPattern: byte) }
            text[bytes.count] = 0
            guard let start = text.baseAddress else { return nil }
            var four = in_addr()
            if inet_pton(AF_INET, start, &four) == 1 {
                return 0xFFFF_0000_0000 | UInt128(UInt32(bigEndian: four.s_addr))
            }
            var six = in6_addr()
            guard inet_pton(AF_INET6, start, &six) == 1 else { return nil }
            return withUnsafeBytes(of: &six) { $0.reduce(UInt128(0)) { $0 << 8 | UInt128($1) } }
        }
    }

    /// Whether the address is IPv4, mapped or not.
    static func isFour(_ address: UInt128) -> Bool { address >> 32 == 0xFFFF }

    /// `10.0.0.0/8`, `2001:db8::/32`, or a single address.
    struct Network: Sendable {
        let base: UInt128
        let mask: UInt128
        /// How many bits are the network's.
        let bits: Int

        init?(_ text: UnsafeRawBufferPointer) {
            let slash = text.firstIndex(of: UInt8(ascii: "/"))
            let head = UnsafeRawBufferPointer(rebasing: text[0..<(slash ?? text.count)])
            guard let address = Addresses.address(head) else { return nil }
            var bits = Int64(Addresses.isFour(address) ? 32 : 128)
            if let slash {
                guard let count = Casts.parseInteger(UnsafeRawBufferPointer(rebasing: text[(slash + 1)...]), Int.self)
                else { return nil }
                bits = Int64(count)
            }
            self.init(address, bits: bits)
        }

        /// The network of an address; nil for more or fewer bits than an address has.
        init?(_ address: UInt128, bits count: Int64) {
            let isFour = Addresses.isFour(address)
            let width: Int64 = isFour ? 32 : 128
            guard 0...width ~= count else { return nil }
            bits = Int(count)
            mask = bits == 0 && !isFour ? 0 : UInt128.max << UInt128(width - count)
            base = address & mask
        }

        /// No IPv4 address is in a network of IPv6, not even in `::/0`.
        func contains(_ address: UInt128) -> Bool {
            address & mask == base && Addresses.isFour(address) == Addresses.isFour(base)
        }

        /// Writes it as `10.0.0.0/8`.
        func write(to output: inout TextOutput) {
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: 46) { text in
                if Addresses.isFour(base) {
                    var four = in_addr(s_addr: UInt32(truncatingIfNeeded: base).bigEndian)
                    inet_ntop(AF_INET, &four, text.baseAddress, 46)
                } else {
                    var six = in6_addr()
                    withUnsafeMutableBytes(of: &six) { bytes in
                        for i in 0..<16 { bytes[i] = UInt8(truncatingIfNeeded: base >> UInt128(8 * (15 - i))) }
                    }
                    inet_ntop(AF_INET6, &six, text.baseAddress, 46)
                }
                output.append(UnsafeRawBufferPointer(start: text.baseAddress, count: text.firstIndex(of: 0) ?? 0))
            }
            output.append(UInt8(ascii: "/"))
            var digits = "\(bits)"
            digits.withUTF8 { output.append(UnsafeRawBufferPointer($0)) }
        }
    }
}
