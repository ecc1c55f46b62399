/// The file operations of the checkpoint store, one by one, so that a test can die before and after each.
///
/// Every call blocks. A failure is a `CheckpointError` of kind `.file` that names the operation, the path and what to do.
public protocol CheckpointFiles: Sendable {
    /// Makes one directory and those above it. It is no error if it exists.
    func makeDirectory(_ path: String) throws(CheckpointError)
    /// The names in a directory, in no order; nil if there is no such directory.
    func list(_ path: String) throws(CheckpointError) -> [String]?
    /// The bytes of `range` (or all) of a file, fewer where it ends early; nil if there is no such file.
    func read(_ path: String, _ range: Range<Int>?) throws(CheckpointError) -> [UInt8]?
    /// Writes a file anew; what it held is gone.
    func write(_ bytes: [UInt8], to path: String) throws(CheckpointError)
    /// Adds to the end of a file, which is made if missing.
    func append(_ bytes: [UInt8], to path: String) throws(CheckpointError)
    /// Returns when the file's bytes are durable.
    func sync(_ path: String) throws(CheckpointError)
    /// Returns when the directory's entries are durable.
    func syncDirectory(_ path: String) throws(CheckpointError)
    /// Atomic; replaces what `to` named.
    func rename(_ from: String, to: String) throws(CheckpointError)
    /// Gives a file that never changes a second name, or copies it to another file system; `to` must not exist.
    func adopt(_ path: String, as other: String) throws(CheckpointError)
    /// Removes a file or a whole directory. It is no error if it is missing.
    func remove(_ path: String) throws(CheckpointError)
    /// An exclusive lock that ends with the returned object or with the process; nil while another holds it.
    func lock(_ path: String) throws(CheckpointError) -> (any CheckpointLock)?
}

/// A held lock; released by ``release()`` or when the last reference goes.
public protocol CheckpointLock: AnyObject, Sendable {
    /// Whether the lock file is still the one at the path: it is not when someone has removed or replaced the folder.
    func isInPlace() -> Bool
    func release()
}
