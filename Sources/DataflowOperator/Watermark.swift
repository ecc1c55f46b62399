/// A promise about event time: no row with an earlier time will come, or none for the moment is to be waited for.
public enum Watermark: Hashable, Sendable {
    /// Every row with a time before this many microseconds since the epoch has been seen.
    case time(Int64)
    /// The sender has nothing to say for now; the watermark of the others counts alone.
    case idle

    /// The last watermark of a bounded input: closes every window.
    public static let end = Watermark.time(.max)
}

/// What a source tells about its splits, so that watermarks can be kept a split where event time is declared.
///
/// A split is an ordered sequence: a partition, a file, a page cursor. Its number is ``RecordBatch/split``.
public enum SplitEvent: Hashable, Sendable {
    /// The splits that this subtask reads from now on, those not yet started included: each holds the watermark back
    /// until it has been seen, has ended or is idle.
    case assigned([Int32])
    /// No row of this split will come again.
    case ended(Int32)
    /// Nothing has come for the source's idle time; the next batch of the split wakes it.
    case idle(Int32)
}

/// The number of a checkpoint; rises by one or more each time and is never used twice in a lineage.
public struct CheckpointID: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    public let number: UInt64

    public init(_ number: UInt64) { self.number = number }

    public static func < (left: CheckpointID, right: CheckpointID) -> Bool { left.number < right.number }
    public var description: String { String(number) }

    public init(from decoder: any Decoder) throws {
        self.init(try decoder.singleValueContainer().decode(UInt64.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(number)
    }
}
