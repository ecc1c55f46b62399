/// What a later process needs to commit an epoch: which it is, and the log with its rows.
public struct LoggedEpoch: Codable, Sendable {
    package var epoch: UInt64
    /// The epoch before, which the target must hold.
    package var previous: UInt64
    /// The log's file in the node's folder.
    package var file: String
    var length: Int
    var rowCount: Int
    /// Which epoch of its file it is; nil in a checkpoint of a version that gave each epoch a file.
    var serial: UInt64?
}

extension EpochState {
    /// The epoch of `checkpoint` is the newest; its rows are in `log`.
    package mutating func advance(to checkpoint: UInt64, _ log: EpochLog) -> LoggedEpoch {
        defer { self = EpochState(last: checkpoint, previous: last) }
        return LoggedEpoch(
            epoch: checkpoint, previous: last, file: log.name, length: log.length, rowCount: log.rowCount,
            serial: log.serial)
    }
}

extension EpochLog {
    /// The log of an epoch that an earlier process has prepared.
    package convenience init(opening epoch: LoggedEpoch, in directory: String) throws(Failure) {
        try self.init(opening: epoch.file, in: directory, length: epoch.length, serial: epoch.serial ?? 0)
    }
}
