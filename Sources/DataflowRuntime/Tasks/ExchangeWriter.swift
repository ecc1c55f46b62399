import DataflowColumnar
import DataflowOperator
import DataflowPipeline
import Synchronization

/// One producing subtask's way into an exchange: decides which consuming subtask gets which rows.
///
/// Belongs to its task; not Sendable. Cost: forward and rebalance O(columns) a batch, hash O(rows).
package final class ExchangeWriter {
    /// A lane of a consuming subtask's channel.
    package struct Target {
        var channel: Channel
        var lane: Int

        package init(channel: Channel, lane: Int) {
            self.channel = channel
            self.lane = lane
        }
    }

    private enum Rule {
        case direct
        case rebalance
        case hash(columns: [Int])
    }

    private let targets: [Target]
    private let rule: Rule
    private let metrics: EdgeMetrics
    private var turn: Int

    /// - Parameters:
    ///   - targets: every consuming subtask in order; for `forward` only the one of the same number.
    ///   - subtask: the producer's number: where a rebalance begins.
    package init(
        _ distribution: PhysicalPlan.Distribution, schema: Schema, targets: [Target], subtask: Int,
        metrics: EdgeMetrics
    ) {
        self.targets = targets
        self.metrics = metrics
        turn = subtask % targets.count
        if targets.count == 1 {
            rule = .direct
        } else {
            switch distribution {
            case .forward: preconditionFailure("a forward exchange with \(targets.count) targets")
            case .rebalance: rule = .rebalance
            case .hash(let names):
                rule = .hash(
                    columns: names.map { name in
                        guard let index = schema.index(of: name) else {
                            preconditionFailure("exchange by column \(name), which the stream does not have")
                        }
                        return index
                    })
            }
        }
    }

    /// - Parameter whileFull: called again and again while there is no room, as long as it answers true.
    /// - Returns: how long the producer had to wait for room.
    package func send(
        _ batch: RecordBatch, whileFull: (() async throws -> Bool)? = nil
    ) async throws -> Duration {
        switch rule {
        case .direct:
            return try await send(batch, to: targets[0], whileFull)
        case .rebalance:
            let target = targets[turn]
            turn = turn + 1 == targets.count ? 0 : turn + 1
            return try await send(batch, to: target, whileFull)
        case .hash(let columns):
            var waited = Duration.zero
            for (target, part) in partition(batch, by: columns) {
                waited += try await send(part, to: targets[target], whileFull)
            }
            return waited
        }
    }

    private func send(
        _ batch: RecordBatch, to target: Target, _ whileFull: (() async throws -> Bool)?
    ) async throws -> Duration {
        metrics.rowsSent.add(batch.rowCount, ordering: .relaxed)
        metrics.batchesSent.add(1, ordering: .relaxed)
        return try await target.channel.send(batch, lane: target.lane, whileFull: whileFull)
    }

    /// Sends a watermark, split event, barrier or end to every target.
    func broadcast(_ element: StreamElement) throws {
        for target in targets { try target.channel.signal(element, lane: target.lane) }
    }

    /// The rows of each target in their order; targets without rows are left out. A counting sort.
    private func partition(_ batch: RecordBatch, by columns: [Int]) -> [(Int, RecordBatch)] {
        let rows = batch.rowCount
        let parallelism = targets.count
        let hashes = RowHash.hashes(columns.map { batch.columns[$0] }, count: rows)
        var starts = [Int](repeating: 0, count: parallelism + 1)
        let owners = [UInt8](unsafeUninitializedCapacity: rows) { owners, count in
            hashes.withUnsafeBufferPointer { hashes in
                for row in 0..<rows {
                    let owner = KeyGroup.subtask(of: KeyGroup.of(hash: hashes[row]), parallelism: parallelism)
                    owners[row] = UInt8(truncatingIfNeeded: owner)
                    starts[owner + 1] += 1
                }
            }
            count = rows
        }
        if let only = (0..<parallelism).first(where: { starts[$0 + 1] == rows }) { return [(only, batch)] }
        for target in 0..<parallelism { starts[target + 1] += starts[target] }
        var next = starts
        let order = Values<Int32>(count: rows) { order in
            for row in 0..<rows {
                let owner = Int(owners[row])
                order[next[owner]] = Int32(truncatingIfNeeded: row)
                next[owner] += 1
            }
        }
        return (0..<parallelism).compactMap { target in
            let range = starts[target]..<starts[target + 1]
            return range.isEmpty ? nil : (target, batch.take(order.slice(range)))
        }
    }
}
