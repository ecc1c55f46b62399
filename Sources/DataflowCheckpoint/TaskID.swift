/// One running task: a chain of nodes, named after its first, and the number of the parallel instance.
public struct TaskID: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
    public var node: String
    public var subtask: Int

    public init(node: String, subtask: Int) {
        self.node = node
        self.subtask = subtask
    }

    public var description: String { "\(node)[\(subtask)]" }

    public static func < (a: TaskID, b: TaskID) -> Bool { (a.node, a.subtask) < (b.node, b.subtask) }
}
