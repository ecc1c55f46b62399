/// What the folder remembers of its runs: it only ever rises, so that no generation and no checkpoint id comes twice.
struct CheckpointFence: Codable, Equatable, Sendable {
    static let format = 1

    var generation: UInt64 = 0
    /// Ids up to this one have been given out, by whatever run.
    var highestCheckpoint: UInt64 = 0
    /// Who took it, for the message to a second start.
    var process: Int32 = 0
    var host: String = ""
    /// Microseconds since 1970.
    var takenAt: Int64 = 0
}
