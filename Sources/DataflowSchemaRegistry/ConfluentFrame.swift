/// The five bytes in front of a message whose schema is in a registry: zero, then the schema's number, big endian.
/// Source: Confluent, "Schema Registry: wire format".
@usableFromInline
package struct ConfluentFrame: SchemaFrame {
    package let schemaID: Int32
    @usableFromInline package var byteCount: Int { 5 }

    @usableFromInline
    package init?(_ message: UnsafeRawBufferPointer) {
        guard message.count >= 5, message[0] == 0 else { return nil }
        schemaID = Int32(bigEndian: message.loadUnaligned(fromByteOffset: 1, as: Int32.self))
    }

    /// The frame of a schema's number.
    package static func bytes(_ schemaID: Int32) -> [UInt8] {
        let id = UInt32(bitPattern: schemaID)
        return [0] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: id >> $0) }
    }

    /// What to say of bytes that are no frame.
    @usableFromInline package static let expected =
        "expected a zero byte and the number of a schema (Confluent's wire format); messages without it are read with a schema file"
}
