import DataflowKafka
import DataflowOperator

/// A partition in the state: everything is a "next offset", the offset of the first message that has not been emitted.
struct PartitionPosition: Equatable {
    var partition: KafkaPartition
    var next: Int64
    /// Where a bounded run ends; nil where it does not.
    var end: Int64?
    /// Its split's number; never given to another partition.
    var number: Int32
}

/// What a checkpoint keeps of a source.
struct SourceState: Equatable {
    var partitions: [PartitionPosition] = []
    /// Behind every number that was ever given.
    var nextNumber: Int32 = 0
    /// The cluster that the offsets are of; nil where the brokers do not tell.
    var cluster: String?

    private static let partitionsSchema = Schema([
        Field("split", .string, nullable: false), Field("topic", .string, nullable: false),
        Field("partition", .int32, nullable: false), Field("next", .int64, nullable: false), Field("end", .int64),
        Field("number", .int32, nullable: false),
    ])
    private static let clusterSchema = Schema([
        Field("split", .string, nullable: false), Field("next_number", .int32, nullable: false),
        Field("cluster", .string), Field("mode", .string, nullable: false),
    ])

    init() {}

    /// Reads a checkpoint; nil for a new start.
    init?(_ snapshot: StateSnapshot, mode: KafkaMode) throws(OperatorError) {
        guard !snapshot.isEmpty else { return nil }
        for row in try snapshot.batches("cluster", SourceState.clusterSchema).flatMap(\.rows) {
            guard case .int(let next) = row[1], case .string(let found) = row[3] else { continue }
            guard found == mode.rawValue else {
                throw OperatorError(
                    .user, .never, "state_mismatch",
                    "the checkpoint was taken with `mode: \(found)`, the pipeline now says `mode: \(mode.rawValue)`; "
                        + "the positions stand elsewhere then: give the node another name or start with --restore none")
            }
            nextNumber = max(nextNumber, Int32(truncatingIfNeeded: next))
            if case .string(let cluster) = row[2] { self.cluster = cluster }
        }
        for row in try snapshot.batches("partitions", SourceState.partitionsSchema).flatMap(\.rows) {
            guard case .string(let topic) = row[1], case .int(let partition) = row[2], case .int(let next) = row[3],
                case .int(let number) = row[5]
            else { throw OperatorError(.engine, .never, "bad_state", "the state of a partition cannot be read") }
            let end: Int64? = if case .int(let end) = row[4] { end } else { nil }
            partitions.append(
                PartitionPosition(
                    partition: KafkaPartition(topic, Int32(truncatingIfNeeded: partition)), next: next, end: end,
                    number: Int32(truncatingIfNeeded: number)))
        }
    }

    /// The state as tables. A restart may divide the partitions among more or fewer subtasks.
    func snapshot(mode: KafkaMode) -> StateSnapshot {
        let rows: [[Value]] = partitions.map { position in
            [
                .string(position.partition.description), .string(position.partition.topic),
                .int(Int64(position.partition.number)), .int(position.next), position.end.map { .int($0) } ?? .null,
                .int(Int64(position.number)),
            ]
        }
        let cluster: [Value] = [
            "cluster", .int(Int64(nextNumber)), self.cluster.map { .string($0) } ?? .null, .string(mode.rawValue),
        ]
        return [
            StateTable(
                "partitions", distribution: .split(column: 0), [RecordBatch(SourceState.partitionsSchema, rows: rows)]),
            StateTable(
                "cluster", distribution: .split(column: 0), [RecordBatch(SourceState.clusterSchema, rows: [cluster])]),
        ]
    }

    /// Whether every partition of a bounded run has been read to its end: then another run takes new ends.
    var isFinished: Bool { partitions.allSatisfy { position in position.end.map { position.next >= $0 } ?? false } }
}

/// Which subtask reads a partition, so that all agree without talking: by the topic's name and the partition's number.
///
/// The partitions of a topic go round the subtasks; the name decides which begins, so that topics of one partition spread.
func owner(of partition: KafkaPartition, parallelism: Int) -> Int {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325  // FNV-1a: the same in every run.
    for byte in partition.topic.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return Int((hash >> 33) % UInt64(parallelism) + UInt64(partition.number) % UInt64(parallelism)) % parallelism
}
