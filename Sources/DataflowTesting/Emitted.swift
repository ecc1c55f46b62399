import DataflowOperator

/// What an operator has emitted, in order, with the views that tests ask for.
public struct Emitted: Sendable {
    public private(set) var elements: [OutputBuffer.Element] = []

    public init() {}

    package mutating func append(_ new: [OutputBuffer.Element]) { elements += new }

    /// The batches of a port, in order.
    public func batches(_ port: OutputPort = .main) -> [RecordBatch] {
        elements.compactMap { if case .batch(let batch, port) = $0 { batch } else { nil } }
    }

    /// The boxed rows of a port, over all its batches.
    public func rows(_ port: OutputPort = .main) -> [[Value]] { batches(port).flatMap(\.rows) }

    /// The rows of a port with whether each is a delete.
    public func changes(_ port: OutputPort = .main) -> [(row: [Value], isDelete: Bool)] {
        batches(port).flatMap { batch in
            batch.rows.enumerated().map { (row: $1, isDelete: batch.deletes?[$0] ?? false) }
        }
    }

    /// What went to the errors port; `raw` is empty where there are no bytes.
    public var errors: [(code: String, reason: String, raw: String)] {
        rows(.errors).map { row in
            guard case .string(let code) = row[1], case .string(let reason) = row[2] else { return ("", "", "") }
            guard case .bytes(let raw) = row[5] else { return (code, reason, "") }
            return (code, reason, String(decoding: raw, as: UTF8.self))
        }
    }

    public var watermarks: [Watermark] {
        elements.compactMap { if case .watermark(let watermark) = $0 { watermark } else { nil } }
    }

    public var splitEvents: [SplitEvent] {
        elements.compactMap { if case .split(let event) = $0 { event } else { nil } }
    }

    /// The last row of each key, without deleted ones: what an upsert sink would hold. `key` are column names.
    public func table(key: [String], _ port: OutputPort = .main) -> [[Value]: [Value]] {
        var table: [[Value]: [Value]] = [:]
        for batch in batches(port) {
            let indices = key.compactMap(batch.schema.index(of:))
            for (index, row) in batch.rows.enumerated() {
                table[indices.map { row[$0] }] = batch.deletes?[index] == true ? nil : row
            }
        }
        return table
    }
}
