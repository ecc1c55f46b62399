import DataflowCheckpoint
import Glibc

/// A folder that goes with its last reference.
public final class TemporaryDirectory: Sendable {
    public let path: String

    public init() throws(CheckpointError) {
        var template = Array("/tmp/dataflow-test-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        guard let made else { throw .file("make a folder below", "/tmp") }
        path = made
    }

    deinit { try? LocalFiles().remove(path) }
}
