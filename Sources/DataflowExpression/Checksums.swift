/// Hashes that fit a number: for spreading and comparing, not for secrets.
enum Checksums {
    // MARK: CRC-32, ISO-HDLC (zlib, gzip, PNG)

    private static let crc32Table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 0 ? value >> 1 : 0xEDB8_8320 ^ (value >> 1) }
    }

    /// O(bytes).
    static func crc32(_ bytes: UnsafeRawBufferPointer) -> Int64 {
        crc32Table.withUnsafeBufferPointer { table in
            var value = UInt32.max
            for byte in bytes { value = table[Int((value ^ UInt32(byte)) & 255)] ^ (value >> 8) }
            return Int64(~value)
        }
    }

    // MARK: XXH64 with the seed 0 (xxhash.com, specification 0.1.1)

    private static let p1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let p2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let p3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let p4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let p5: UInt64 = 0x27D4_EB2F_1656_67C5

    private static func rotateLeft(_ value: UInt64, _ count: UInt64) -> UInt64 {
        value &<< count | value &>> (64 &- count)
    }

    private static func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
        rotateLeft(lane &+ input &* p2, 31) &* p1
    }

    /// O(bytes).
    static func xxhash64(_ bytes: UnsafeRawBufferPointer) -> Int64 {
        func word(_ offset: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        var position = 0
        var hash: UInt64
        if bytes.count >= 32 {
            var lanes = (p1 &+ p2, p2, UInt64(0), 0 &- p1)
            while position + 32 <= bytes.count {
                lanes.0 = round(lanes.0, word(position))
                lanes.1 = round(lanes.1, word(position + 8))
                lanes.2 = round(lanes.2, word(position + 16))
                lanes.3 = round(lanes.3, word(position + 24))
                position += 32
            }
            hash =
                rotateLeft(lanes.0, 1) &+ rotateLeft(lanes.1, 7) &+ rotateLeft(lanes.2, 12) &+ rotateLeft(lanes.3, 18)
            for lane in [lanes.0, lanes.1, lanes.2, lanes.3] { hash = (hash ^ round(0, lane)) &* p1 &+ p4 }
        } else {
            hash = p5
        }
        hash = hash &+ UInt64(bytes.count)
        while position + 8 <= bytes.count {
            hash = rotateLeft(hash ^ round(0, word(position)), 27) &* p1 &+ p4
            position += 8
        }
        if position + 4 <= bytes.count {
            let half = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
            hash = rotateLeft(hash ^ (UInt64(half) &* p1), 23) &* p2 &+ p3
            position += 4
        }
        while position < bytes.count {
            hash = rotateLeft(hash ^ (UInt64(bytes[position]) &* p5), 11) &* p1
            position += 1
        }
        hash = (hash ^ (hash >> 33)) &* p2
        hash = (hash ^ (hash >> 29)) &* p3
        return Int64(bitPattern: hash ^ (hash >> 32))
    }
}
