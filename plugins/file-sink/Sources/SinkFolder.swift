import DataflowOperator
import Glibc

/// The folder that a sink writes into: names, renames and what must be on the disk.
struct SinkFolder {
    let path: String

    func path(of name: String) -> String { path == "/" ? "/\(name)" : "\(path)/\(name)" }

    /// Makes the folder and those above it.
    func make() throws(OperatorError) {
        var at = path.startIndex
        while at < path.endIndex {
            let next = path[path.index(after: at)...].firstIndex(of: "/") ?? path.endIndex
            let parent = String(path[..<next])
            if mkdir(parent, 0o755) != 0, errno != EEXIST, errno != EISDIR {
                // A folder above may be unwritable and yet be there.
                let code = errno
                var information = stat()
                guard stat(parent, &information) == 0 else { throw fileFailure("make the folder", parent, code: code) }
            }
            at = next
        }
        var information = stat()
        guard stat(path, &information) == 0 else { throw fileFailure("open", path) }
        guard information.st_mode & S_IFMT == S_IFDIR else { throw fileFailure("write into", path, code: ENOTDIR) }
    }

    /// The names in the folder, in no order.
    func names() throws(OperatorError) -> [String] {
        guard let stream = opendir(path) else { throw fileFailure("read the folder", path) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            names.append(name)
        }
        return names
    }

    /// The size of a file; nil where there is none.
    func size(of name: String) -> Int? {
        var information = stat()
        return stat(path(of: name), &information) == 0 ? Int(information.st_size) : nil
    }

    func rename(_ old: String, to new: String) throws(OperatorError) {
        guard Glibc.rename(path(of: old), path(of: new)) == 0 else { throw fileFailure("rename", path(of: old)) }
    }

    /// Removes a file; one that is missing is no error.
    func remove(_ name: String) throws(OperatorError) {
        guard unlink(path(of: name)) == 0 || errno == ENOENT else { throw fileFailure("remove", path(of: name)) }
    }

    /// Returns when names made, changed and removed are on the disk.
    func sync() throws(OperatorError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw fileFailure("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw fileFailure("write the folder", path) }
    }
}
