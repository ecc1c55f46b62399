public import DataflowColumnar

/// A way out of an operator.
public struct OutputPort: Hashable, Sendable {
    /// Position in ``Operator/outputs(_:inputs:)``: 0 is the main port, behind it those of ``Operator/ports(_:)``; -1 is the
    /// errors port.
    public let index: Int
    public init(index: Int) { self.index = index }

    /// The stream that carries the node's name.
    public static let main = OutputPort(index: 0)
    /// What could not be processed, in the shape of ``ErrorRows``: `node.errors`.
    public static let errors = OutputPort(index: -1)
}

/// A way into an operator: 0 for the only input, else the position in ``OperatorInfo/inputs`` or in the list of `from`.
public struct InputPort: Hashable, Sendable {
    public let index: Int
    public init(index: Int = 0) { self.index = index }
    public static let main = InputPort(index: 0)
}

/// Collects, in order, what one call of an operator emits; the runtime sends it on when the call returns.
public struct OutputBuffer: ~Copyable {
    /// One thing that was emitted.
    public enum Element: Sendable {
        case batch(RecordBatch, OutputPort)
        case watermark(Watermark)
        case split(SplitEvent)
    }

    /// When ``isFull`` becomes true.
    private static let maxBatches = 16
    private static let maxRows = 16 * RecordBatch.defaultRowCount

    /// What was emitted so far, oldest first.
    public private(set) var elements: [Element] = []
    private var batchCount = 0
    private var rowCount = 0
    /// How many rows a source may emit in this poll, because the run ends after them (`--limit`); nil for as many as it
    /// likes. One that cannot divide what it has, such as a page, emits more; none of it is lost.
    public let rowLimit: Int?

    public init(rowLimit: Int? = nil) { self.rowLimit = rowLimit }

    /// Sends a batch out of `port`. A batch without rows is dropped.
    public mutating func emit(_ batch: RecordBatch, to port: OutputPort = .main) {
        guard batch.rowCount > 0 else { return }
        elements.append(.batch(batch, port))
        batchCount += 1
        rowCount += batch.rowCount
    }

    /// Sends a watermark out of every port but errors.
    public mutating func emit(_ watermark: Watermark) { elements.append(.watermark(watermark)) }

    /// Sends a split event out of every port but errors.
    public mutating func emit(_ event: SplitEvent) { elements.append(.split(event)) }

    /// True when the operator should stop here and answer `.more`.
    public var isFull: Bool { batchCount >= OutputBuffer.maxBatches || rowCount >= OutputBuffer.maxRows }

    /// Takes everything out.
    public mutating func drain() -> [Element] {
        defer {
            batchCount = 0
            rowCount = 0
        }
        let drained = elements
        elements = []
        return drained
    }
}
