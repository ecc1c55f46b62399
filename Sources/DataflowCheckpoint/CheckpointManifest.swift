import DataflowOperator

/// The page that makes a checkpoint: it is written last, and a checkpoint exists when its manifest does.
///
/// State belongs to a node *name* (and the version of each of its tables), not to the node's place in the pipeline file.
public struct CheckpointManifest: Hashable, Sendable, Codable {
    /// The version of this format that this build writes. 2: tables may lie in `increments` files; 3: in `spilled` ones.
    public static let currentFormat = 3
    /// The versions that it reads.
    static let readableFormats = 1...currentFormat

    public var format = CheckpointManifest.currentFormat
    public var pipeline: String
    /// A random id made at a start without checkpoint and kept ever after: commit markers of another lineage mean nothing.
    public var lineage: String
    /// Which run wrote it: rises with every start.
    public var generation: UInt64
    /// Rises within the folder, never reused.
    public var id: UInt64
    /// The checkpoint before it in the same history.
    public var previous: UInt64?
    /// Microseconds since 1970.
    public var createdAt: Int64
    /// Whether every source had reached its end.
    public var finished: Bool
    /// The file with the tables of all nodes that are written whole; nil when there are none.
    public var stateFile: StateFile?
    public var nodes: [Node]

    public init(
        pipeline: String, lineage: String, generation: UInt64, id: CheckpointID, previous: CheckpointID?,
        createdAt: Int64, finished: Bool, stateFile: StateFile? = nil, nodes: [Node]
    ) {
        self.pipeline = pipeline
        self.lineage = lineage
        self.generation = generation
        self.id = id.number
        self.previous = previous?.number
        self.createdAt = createdAt
        self.finished = finished
        self.stateFile = stateFile
        self.nodes = nodes
    }

    public var checkpoint: CheckpointID { CheckpointID(id) }

    /// Whether a sink has something to commit.
    public var needsCommit: Bool { nodes.contains { !$0.committables.isEmpty } }

    public subscript(node name: String) -> Node? { nodes.first { $0.name == name } }

    /// The checkpoints whose `increments` files hold rows of this one.
    public var references: Set<UInt64> { Set(nodes.lazy.flatMap(\.tables).compactMap(\.increments)) }

    /// The `spilled` files that hold rows of this checkpoint.
    public var spilledFiles: Set<String> { Set(nodes.lazy.flatMap(\.tables).compactMap { $0.spilled?.file }) }

    /// A file beside the manifest, with what is needed to find damage.
    public struct StateFile: Hashable, Sendable, Codable {
        public var name: String
        public var length: Int
        public var crc32: UInt32

        public init(name: String, length: Int, crc32: UInt32) {
            self.name = name
            self.length = length
            self.crc32 = crc32
        }
    }

    /// The state of one node, all its subtasks together.
    public struct Node: Hashable, Sendable, Codable {
        public var name: String
        /// The operator type, as in the pipeline file.
        public var type: String
        /// How many subtasks wrote it.
        public var parallelism: Int
        /// The columns that the node's state is keyed by; empty for other nodes. A changed key makes the state useless.
        public var key: [String]
        /// Checksums of the settings that define what the state means, by name; nil in checkpoints of older builds.
        public var settings: [String: UInt32]?
        public var tables: [Table]
        public var committables: [Committable]

        public init(
            name: String, type: String, parallelism: Int, key: [String] = [], settings: [String: UInt32]? = nil,
            tables: [Table] = [], committables: [Committable] = []
        ) {
            self.name = name
            self.type = type
            self.parallelism = parallelism
            self.key = key
            self.settings = settings
            self.tables = tables
            self.committables = committables
        }

        public var isStateless: Bool { tables.isEmpty && committables.isEmpty }

        /// Takes in the part of another subtask of the same node.
        mutating func merge(_ other: Node) {
            tables += other.tables
            committables += other.committables
        }
    }

    /// One state table of one subtask, or a part of one: a slice of a file. The entries of an incremental table stand in the
    /// order of their checkpoints, the oldest first.
    public struct Table: Hashable, Sendable, Codable {
        /// How a restore at another parallelism divides the rows.
        public enum Distribution: Hashable, Sendable, Codable {
            case subtask
            case split(column: Int)
            case keyGroup(column: Int)
        }

        public var subtask: Int
        public var name: String
        public var version: UInt32
        public var distribution: Distribution
        public var rowCount: Int
        public var offset: Int
        public var length: Int
        public var crc32: UInt32
        /// True where the rows carry their numbers: of each number the newest row counts.
        public var isNumbered: Bool?
        /// The checkpoint whose `increments` file holds the rows; nil for this checkpoint's own `state`.
        public var increments: UInt64?
        /// A file of `spilled` that holds the rows: offset and length are those of its list of segments.
        public var spilled: Spilled?

        public struct Spilled: Hashable, Sendable, Codable {
            public var file: String
            /// Only rows of these key groups are the subtask's: from the first up to, but not with, the last.
            public var firstKeyGroup: Int32
            public var endKeyGroup: Int32
            /// A number of the operator's.
            public var mark: Int
            /// Of the list of segments, each of which has a checksum of its own; `crc32` of the table is 0.
            public var checksum: UInt64

            public init(file: String, keyGroups: Range<Int32>, mark: Int, checksum: UInt64) {
                self.file = file
                self.checksum = checksum
                firstKeyGroup = keyGroups.lowerBound
                endKeyGroup = keyGroups.upperBound
                self.mark = mark
            }
        }

        public init(
            subtask: Int, name: String, version: UInt32, distribution: Distribution, rowCount: Int, offset: Int,
            length: Int, crc32: UInt32, isNumbered: Bool? = nil, increments: UInt64? = nil, spilled: Spilled? = nil
        ) {
            self.subtask = subtask
            self.name = name
            self.version = version
            self.distribution = distribution
            self.rowCount = rowCount
            self.offset = offset
            self.length = length
            self.crc32 = crc32
            self.isNumbered = isNumbered
            self.increments = increments
            self.spilled = spilled
        }
    }

    /// What a sink has to commit once the manifest is durable; the JSON text of its `Committable`.
    public struct Committable: Hashable, Sendable, Codable {
        public var subtask: Int
        public var json: String

        public init(subtask: Int, json: String) {
            self.subtask = subtask
            self.json = json
        }
    }
}
