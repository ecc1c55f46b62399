import CKafka
import DataflowKafka
import DataflowOperator
import Logging

/// `mode: group`: the coordinator says which partitions are ours, the group has their positions.
extension KafkaSource {
    public static func weakness(_ config: Config) -> String? {
        config.mode == .group ? "it reads as a member of a group (`mode: group`), which is at least once" : nil
    }

    /// Does what the coordinator wants as far as it can be done now.
    func serveGroup(_ consumer: KafkaConsumer, into output: inout OutputBuffer) throws(OperatorError) {
        if consumer.openCommits == 0 {
            for action in membership.commitsDone() { try perform(action, consumer, into: &output) }
        }
        for rebalance in consumer.client.takeRebalances() {
            let isCommitting = consumer.openCommits > 0
            let actions = membership.handle(rebalance) { [splits] partition in
                guard let index = splits.index(of: partition) else { return true }
                return !isCommitting && splits[index].committed == splits[index].next
            }
            if case .revoked(let partitions, isLost: true) = rebalance, !partitions.isEmpty {
                context.logger.warning(
                    "Kafka: the group \(groupName) has taken partitions away before their positions were committed; rows since the last checkpoint may come twice"
                )
            }
            for action in actions { try perform(action, consumer, into: &output) }
        }
    }

    private func perform(
        _ action: GroupMembership.Action, _ consumer: KafkaConsumer, into output: inout OutputBuffer
    ) throws(OperatorError) {
        do throws(KafkaFailure) {
            switch action {
            case .take(let partitions): try take(partitions, consumer, into: &output)
            case .close(let partitions):
                for index in partitions.compactMap(splits.index(of:)) { splits.close(index) }
                // The assignment may be gone already.
                do throws(KafkaFailure) { try consumer.pause(partitions) } catch {
                    context.logger.debug("Kafka: \(error)")
                }
            case .giveUp(let partitions):
                for index in partitions.compactMap(splits.index(of:)) {
                    splits.giveUp(index)
                    output.emit(.ended(splits[index].number))
                }
                try consumer.acceptRevocation(partitions)
                context.logger.info("Kafka: given up: \(GroupText.list(partitions))")
            }
        } catch {
            var failure = error.operatorError("cannot follow the group \(groupName)")
            if failure.code != "fenced" { failure.retry = .withBackoff }
            throw failure
        }
    }

    private func take(
        _ partitions: [KafkaPartition], _ consumer: KafkaConsumer, into output: inout OutputBuffer
    ) throws(KafkaFailure) {
        var positions: [(KafkaPartition, Int64)] = []
        do throws(OperatorError) { positions = try groupPositions(partitions, consumer) } catch {
            throw error.underlying as? KafkaFailure ?? KafkaFailure(RD_KAFKA_RESP_ERR__FAIL, error.message)
        }
        let returned = partitions.filter(splits.wasGivenUp)
        var numbers: [Int32] = []
        for (partition, next) in positions {
            numbers.append(
                splits.add(
                    partition, next: next, end: nil, subtask: context.subtask, parallelism: context.parallelism))
            if let index = splits.index(of: partition) { splits[index].committed = next }
        }
        try consumer.acceptAssignment(positions)
        try consumer.resume(returned)
        output.emit(.assigned(numbers))
        context.logger.info("Kafka: taken: \(GroupText.list(partitions))")
    }

    /// Leaves when the group has the positions of the last checkpoint: while members come and go it may refuse them for a moment.
    func leaveGroup(_ consumer: KafkaConsumer) {
        let deadline = ContinuousClock.now.advanced(by: .seconds(10))
        var failures = consumer.commitFailures(waitingUntil: deadline)
        var isLost = false
        while !failures.isEmpty, !isLost, ContinuousClock.now < deadline {
            splits.forgetCommitted()
            // The membership goes on; messages are the next one's who reads from the positions.
            consumer.consume(limit: .max, until: .now.advanced(by: .milliseconds(100))) { _ in }
            for rebalance in consumer.client.takeRebalances() {
                switch rebalance {
                case .assigned(let partitions):
                    try? consumer.acceptAssignment(partitions.map { ($0, Int64(RD_KAFKA_OFFSET_STORED)) })
                case .revoked(let partitions, isLost: true):
                    isLost = true
                    _ = membership.leave()
                    try? consumer.acceptRevocation(partitions)
                case .revoked: _ = membership.handle(rebalance) { _ in false }
                }
            }
            do throws(KafkaFailure) {
                try consumer.commit(splits.takeUncommitted(completed))
                failures = consumer.commitFailures(waitingUntil: deadline)
            } catch { failures = [error] }
        }
        for failure in failures {
            context.logger.warning(
                "Kafka: the group \(groupName) has not taken the positions of the last checkpoint: \(failure); rows since the one before come again"
            )
        }
        if let partitions = membership.leave() { try? consumer.acceptRevocation(partitions) }
        consumer.leave(until: .now.advanced(by: .seconds(5)))
    }

    /// The group's positions; what has none begins where `start` says, and the group is told at once, so that it stays so.
    private func groupPositions(
        _ partitions: [KafkaPartition], _ consumer: KafkaConsumer
    ) throws(OperatorError) -> [(KafkaPartition, Int64)] {
        let committed = try consumer.client.retrying("read the group's positions", limit: config.openTimeout) {
            (timeout) throws(KafkaFailure) in try consumer.client.committed(partitions, timeout: timeout)
        }
        let fresh = committed.filter { $0.offset < 0 }.map(\.partition)
        let starts = try resolve(config.start, fresh, consumer.client)
        do throws(KafkaFailure) {
            try consumer.commit(fresh.map { ($0, starts[$0] ?? 0) })
        } catch { reportCommits([error]) }
        return committed.map { ($0.partition, $0.offset >= 0 ? $0.offset : starts[$0.partition] ?? 0) }
    }
}

private enum GroupText {
    static func list(_ partitions: [KafkaPartition]) -> String {
        partitions.isEmpty ? "nothing" : partitions.sorted().map(\.description).joined(separator: ", ")
    }
}
