import DataflowCheckpoint
import DataflowOperator
import DataflowPipeline
import Synchronization

/// The loop around the stages that read from exchanges, transforms and sinks: align barriers, merge watermarks, hand on.
struct InputTask {
    /// What is known of one lane of the channel.
    struct Lane {
        var port: InputPort
        var hasEventTime: Bool
        /// Added to split numbers, so that splits of different sources stay apart behind a union.
        var splitOffset: Int32
        /// Whether what a sink refuses at its flush may come here, behind the end and in front of the barrier.
        var isBehindSink: Bool
        var metrics: EdgeMetrics
    }

    let id: TaskID
    let chain: StageChain
    let channel: Channel
    let lanes: [Lane]
    let control: Mailbox<TaskControl>
    let coordinator: Mailbox<CoordinatorEvent>
    let linger: Duration

    func run() async throws {
        var aligner = BarrierAligner(
            inputs: lanes.count, behindSinks: Set(lanes.indices.filter { lanes[$0].isBehindSink }))
        var merger = WatermarkMerger(eventTime: lanes.map(\.hasEventTime))
        let tellsIdle = chain.hasSinks
        var idleAt: ContinuousClock.Instant?
        var hasEnded = false
        while true {
            var deadline = hasEnded ? nil : chain.nextTick
            if let due = deadline {
                let now = chain.now
                if due <= now {
                    try await chain.tick(now)
                    deadline = chain.nextTick
                }
            }
            if let idle = idleAt { deadline = deadline.map { min($0, idle) } ?? idle }
            if chain.hasUnfinishedSnapshot {
                try chain.continueSnapshot()
                if chain.hasUnfinishedSnapshot {
                    let next = chain.isSnapshotAhead ? chain.now.advanced(by: .milliseconds(1)) : chain.now
                    deadline = deadline.map { min($0, next) } ?? next
                }
            }
            switch try await channel.next(until: deadline) {
            case .closed: return
            case .deadline:
                if let idle = idleAt, idle <= chain.now {
                    idleAt = nil
                    try await chain.idle()
                }
            case .element(.batch(let batch), let lane):
                let input = lanes[lane]
                input.metrics.rowsReceived.add(batch.rowCount, ordering: .relaxed)
                let renumbered =
                    input.splitOffset > 0 && batch.split >= 0
                    ? batch.withSplit(batch.split + input.splitOffset, splitWatermark: batch.splitWatermark) : batch
                try await chain.process(renumbered, from: input.port)
                if tellsIdle { idleAt = chain.now.advanced(by: linger) }
            case .element(.watermark(let watermark), let lane):
                if let merged = merger.update(lane, watermark) { try await chain.advance(to: merged) }
            case .element(.split(let event), let lane):
                try await chain.split(event.offset(by: lanes[lane].splitOffset))
            case .element(.barrier(let barrier), let lane):
                try await perform(aligner.barrier(barrier, on: lane), &idleAt)
            case .element(.endOfInput, let lane):
                if let merged = merger.end(lane) { try await chain.advance(to: merged) }
                let action = aligner.endOfInput(lane)
                if aligner.allEnded {
                    try await chain.finish()
                    hasEnded = true
                    coordinator.post(.ended(id))
                }
                try await perform(action, &idleAt)
            }
        }
    }

    private func perform(_ action: BarrierAligner.Action, _ idleAt: inout ContinuousClock.Instant?) async throws {
        switch action {
        case .none: break
        case .block(let lane): channel.block(lane: lane)
        case .snapshot(let barrier, let unblock):
            try await chain.checkpoint(barrier)
            idleAt = nil
            if chain.awaitsCommit {
                try await chain.finishSnapshot()
                try await commit(barrier.id)
            }
            channel.unblock(lanes: unblock)
        }
    }

    /// A sink with something to commit takes no rows until it has.
    private func commit(_ checkpoint: CheckpointID) async throws {
        while let message = try await control.next() {
            switch message {
            case .commit(checkpoint):
                try await chain.commit(checkpoint)
                coordinator.post(.committed(id, checkpoint))
                return
            case .quit: return
            case .start, .barrier, .commit, .completed, .drain:
                preconditionFailure("\(id) was told \(message) while waiting to commit checkpoint \(checkpoint)")
            }
        }
    }

    /// A restored checkpoint may have commits that have to be executed again, before anything flows.
    func recommit(_ json: (StageIdentity) -> [String]) async throws {
        guard case .commit(let checkpoint)? = try await control.next() else { return }
        try await chain.recommit(checkpoint, json)
        coordinator.post(.committed(id, checkpoint))
    }
}

extension SplitEvent {
    fileprivate func offset(by offset: Int32) -> SplitEvent {
        guard offset > 0 else { return self }
        switch self {
        case .assigned(let splits): return .assigned(splits.map { $0 + offset })
        case .ended(let split): return .ended(split + offset)
        case .idle(let split): return .idle(split + offset)
        }
    }
}
