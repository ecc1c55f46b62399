import DataflowSchemaRegistry

/// What stands in front of a message whose schema is in a registry: Confluent's five bytes, then which of the schema's
/// messages it is: how many numbers, and the numbers, in zigzag; a single zero for the first message.
/// Source: Confluent, "Schema Registry: wire format".
struct MessageFrame: SchemaFrame {
    var schemaID: Int32
    /// The place of the message among those of the schema, then among those nested in it.
    var path: [Int32]
    /// Bytes of all of it.
    var byteCount: Int

    private static let maxDepth = 64

    /// Nil where the bytes are no such frame.
    init?(_ message: UnsafeRawBufferPointer) {
        guard let frame = ConfluentFrame(message) else { return nil }
        schemaID = frame.schemaID
        var at = frame.byteCount
        func number() -> Int? {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while at < message.count, shift < 35 {
                let byte = message[at]
                at += 1
                value |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return Int(value >> 1) * (value & 1 == 0 ? 1 : -1) - (value & 1 == 0 ? 0 : 1) }
                shift += 7
            }
            return nil
        }
        guard let count = number(), 0...MessageFrame.maxDepth ~= count else { return nil }
        path = count == 0 ? [0] : []
        for _ in 0..<count {
            guard let place = number().flatMap({ Int32(exactly: $0) }), place >= 0 else { return nil }
            path.append(place)
        }
        byteCount = at
    }

    /// The bytes in front of messages.
    static func bytes(_ schemaID: Int32, path: [Int32]) -> [UInt8] {
        var bytes = ConfluentFrame.bytes(schemaID)
        if path == [0] { return bytes + [0] }
        for number in [Int32(path.count)] + path {
            var rest = UInt32(bitPattern: number << 1 ^ number >> 31)
            while rest >= 0x80 {
                bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
                rest >>= 7
            }
            bytes.append(UInt8(truncatingIfNeeded: rest))
        }
        return bytes
    }
}
