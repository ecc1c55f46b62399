package import DataflowOperator
import Glibc

/// The text of a schema that a setting names by its path. Reads a file: called when a node opens.
package func readSchemaFile(_ path: String) throws(OperatorError) -> String {
    String(decoding: try readSchemaBytes(path), as: UTF8.self)
}

/// The bytes of such a file.
package func readSchemaBytes(_ path: String) throws(OperatorError) -> [UInt8] {
    func failure(_ reason: String) -> OperatorError {
        OperatorError(.user, .never, "no_such_schema", "the schema file \(path) cannot be read: \(reason)")
    }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(String(cString: strerror(errno))) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count == 0 { return bytes }
        if count < 0 {
            if errno == EINTR { continue }
            throw failure(String(cString: strerror(errno)))
        }
        bytes += chunk[..<count]
        guard bytes.count <= 16 << 20 else { throw failure("it has more than 16 MiB") }
    }
}
