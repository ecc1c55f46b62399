import CProtobuf
import DataflowCodec
import DataflowOperator

/// A compiled schema: a handle of libprotobuf's, acquired in `init` and released in `deinit`.
final class ProtobufSchema {
    /// A schema that cannot be read.
    struct Malformed: Error {
        var message: String
    }

    /// `FieldDescriptorProto.Type`.
    enum FieldType: Int32 {
        case double = 1, float, int64, uint64, int32, fixed64, fixed32, bool, string, group, message, bytes, uint32
        case enumeration, sfixed32, sfixed64, sint32, sint64

        /// The wire type of a single value.
        var wire: UInt64 {
            switch self {
            case .double, .fixed64, .sfixed64: 1
            case .float, .fixed32, .sfixed32: 5
            case .string, .bytes, .message: 2
            case .group: 3
            default: 0
            }
        }

        var isInteger: Bool {
            switch self {
            case .int64, .uint64, .int32, .fixed64, .fixed32, .uint32, .sfixed32, .sfixed64, .sint32, .sint64: true
            default: false
            }
        }
    }

    struct Field {
        var name: String
        var number: Int
        var type: FieldType
        var message: Int32
        var enumeration: Int32
        var oneof: Int32
        var isRepeated: Bool
        var isMap: Bool
        var isPacked: Bool
        var hasPresence: Bool
    }

    private let pointer: OpaquePointer

    private init(_ pointer: OpaquePointer?) throws(Malformed) {
        guard let pointer else { throw Malformed(message: "there is no memory to read it") }
        self.pointer = pointer
        if let error = cprotobuf_error(pointer) { throw Malformed(message: String(cString: error)) }
    }

    deinit { cprotobuf_free(pointer) }

    /// Compiles a text.
    ///
    /// - Parameters:
    ///   - imports: what it imports, by name; further files are looked up below `folder`.
    convenience init(
        _ text: String, name: String = "schema.proto", imports: [(name: String, text: String)] = [],
        folder: String? = nil
    ) throws(Malformed) {
        let all = [(name: name, text: text)] + imports
        // Copies with a stable place, for the time of the call.
        let names = all.map { Array($0.name.utf8CString) }
        let texts = all.map { Array($0.text.utf8CString) }
        let files = UnsafeMutablePointer<cprotobuf_file>.allocate(capacity: all.count)
        defer { files.deallocate() }
        func call(_ index: Int) -> OpaquePointer? {
            guard index < all.count else {
                return folder.map { folder in folder.withCString { cprotobuf_compile(files, all.count, $0) } }
                    ?? cprotobuf_compile(files, all.count, nil)
            }
            return names[index].withUnsafeBufferPointer { name in
                texts[index].withUnsafeBufferPointer { text in
                    guard let name = name.baseAddress, let base = text.baseAddress else { return nil }
                    (files + index).initialize(to: cprotobuf_file(name: name, text: base, length: text.count - 1))
                    return call(index + 1)
                }
            }
        }
        try self.init(call(0))
    }

    /// Reads a set of descriptors.
    convenience init(descriptors: [UInt8]) throws(Malformed) {
        try self.init(
            descriptors.withUnsafeBufferPointer { bytes in
                bytes.baseAddress.flatMap { cprotobuf_read($0, bytes.count) }
            })
    }

    /// Reads a file that a setting names: descriptors where its name ends in `.desc`, `.pb` or `.binpb`, else text.
    static func file(_ path: String) throws(OperatorError) -> ProtobufSchema {
        let bytes = try readSchemaBytes(path)
        do throws(Malformed) {
            if [".desc", ".pb", ".binpb", ".protoset"].contains(where: { path.hasSuffix($0) }) {
                return try ProtobufSchema(descriptors: bytes)
            }
            let parts = path.split(separator: "/", omittingEmptySubsequences: false)
            let folder = parts.dropLast().joined(separator: "/")
            return try ProtobufSchema(
                String(decoding: bytes, as: UTF8.self), name: String(parts.last ?? "schema.proto"),
                folder: parts.count == 1 ? "." : folder.isEmpty ? "/" : folder)
        } catch {
            throw OperatorError(
                .user, .never, "bad_schema", "\(path) is no Protobuf schema: \(error.message)")
        }
    }

    /// The number of a message; nil where there is none of that name.
    func message(_ name: String) -> Int32? {
        let number = cprotobuf_find_message(pointer, name)
        return number < 0 ? nil : number
    }

    /// The number of a message of the main file, by its place.
    func message(at path: [Int32]) -> Int32? {
        let number = cprotobuf_message_at(pointer, path, path.count)
        return number < 0 ? nil : number
    }

    /// The place of a message in the main file; empty where it is imported.
    func path(_ message: Int32) -> [Int32] {
        var path = [Int32](repeating: 0, count: 64)
        let count = cprotobuf_message_path(pointer, message, &path, path.count)
        return count > path.count ? [] : Array(path[..<count])
    }

    /// The names of the main file's messages, for messages of ours.
    var messageNames: String { String(cString: cprotobuf_message_names(pointer)) }

    func name(_ message: Int32) -> String { String(cString: cprotobuf_message_name(pointer, message)) }

    func fields(_ message: Int32) -> [Field] {
        (0..<cprotobuf_field_count(pointer, message)).compactMap { index in
            let field = cprotobuf_field_at(pointer, message, index)
            return FieldType(rawValue: field.type).map {
                Field(
                    name: String(cString: field.name), number: Int(field.number), type: $0, message: field.message,
                    enumeration: field.enumeration, oneof: field.oneof, isRepeated: field.is_repeated,
                    isMap: field.is_map, isPacked: field.is_packed, hasPresence: field.has_presence)
            }
        }
    }

    /// The symbols of an enum, in the order of the schema; several may have one number.
    func symbols(_ enumeration: Int32) -> [(name: String, number: Int32)] {
        (0..<cprotobuf_symbol_count(pointer, enumeration)).map { index in
            var number: Int32 = 0
            let name = String(cString: cprotobuf_symbol(pointer, enumeration, index, &number))
            return (name, number)
        }
    }
}
