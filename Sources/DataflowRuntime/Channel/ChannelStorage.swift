import DataflowOperator

/// Holds the lock of a ``Channel`` and executes what its state machine says, after leaving the lock.
final class ChannelStorage: Sendable {
    typealias Producer = CheckedContinuation<SendResult, Never>
    typealias Consumer = CheckedContinuation<WaitResult, Never>

    enum SendResult { case sent, closed, cancelled }
    enum WaitResult { case received(Received), cancelled }

    private struct State {
        var machine: ChannelStateMachine<Producer, Consumer>
        /// When the waiting consumer wants to be woken at the latest.
        var deadline: ContinuousClock.Instant?
        /// The earliest timer that is under way.
        var armed: ContinuousClock.Instant?
    }

    private let state: Lock<State>
    private let clock: any TimedClock

    init(lanes: Int, capacity: ChannelCapacity, clock: any TimedClock) {
        state = Lock(State(machine: ChannelStateMachine(lanes: lanes, capacity: capacity)))
        self.clock = clock
    }

    var held: (bytes: Int, batches: Int) { state.withLock { $0.machine.held } }

    // MARK: producers

    /// Without waiting; nil if the lane is full.
    @inline(__always)
    func trySend(_ element: StreamElement, bytes: Int, lane: Int) -> SendResult? {
        finish(state.withLock { $0.machine.send(element, bytes: bytes, lane: lane) })
    }

    @inline(__always)
    private func finish(_ action: ChannelStateMachine<Producer, Consumer>.SendAction) -> SendResult? {
        switch action {
        case .sent: return .sent
        case .resume(let consumer, let received):
            consumer.resume(returning: .received(received))
            return .sent
        case .full: return nil
        case .closed: return .closed
        }
    }

    func waitToSend(_ batch: RecordBatch, bytes: Int, lane: Int) async -> SendResult {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (producer: Producer) in
                let action = state.withLock { state -> ChannelStateMachine<Producer, Consumer>.SendAction? in
                    if Task.isCancelled { return nil }
                    return state.machine.wait(batch, bytes: bytes, lane: lane, producer: producer)
                }
                guard let action else { return producer.resume(returning: .cancelled) }
                if let result = finish(action) { producer.resume(returning: result) }
            }
        } onCancel: {
            state.withLock { $0.machine.cancelProducer(lane: lane) }?.resume(returning: .cancelled)
        }
    }

    // MARK: consumer

    /// Without waiting; nil if nothing is there.
    @inline(__always)
    func tryNext() -> Received? {
        finish(state.withLock { $0.machine.next() })
    }

    @inline(__always)
    private func finish(_ action: ChannelStateMachine<Producer, Consumer>.NextAction) -> Received? {
        switch action {
        case .received(let received, let producer):
            producer?.resume(returning: .sent)
            return received
        case .empty: return nil
        }
    }

    func waitForNext(until deadline: ContinuousClock.Instant?) async -> WaitResult {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (consumer: Consumer) in
                let (action, timer) = state.withLock {
                    state -> (ChannelStateMachine<Producer, Consumer>.NextAction?, ContinuousClock.Instant?) in
                    if Task.isCancelled { return (nil, nil) }
                    let action = state.machine.wait(consumer)
                    guard case .empty = action else { return (action, nil) }
                    state.deadline = deadline
                    guard let deadline, state.armed.map({ deadline < $0 }) ?? true else { return (action, nil) }
                    state.armed = deadline
                    return (action, deadline)
                }
                guard let action else { return consumer.resume(returning: .cancelled) }
                if let received = finish(action) { consumer.resume(returning: .received(received)) }
                if let timer { schedule(timer) }
            }
        } onCancel: {
            state.withLock { $0.machine.takeConsumer() }?.resume(returning: .cancelled)
        }
    }

    private func schedule(_ instant: ContinuousClock.Instant) {
        clock.schedule(at: instant) { [weak self] in self?.timerFired(instant) }
    }

    private func timerFired(_ instant: ContinuousClock.Instant) {
        let now = clock.now
        let (consumer, next) = state.withLock { state -> (Consumer?, ContinuousClock.Instant?) in
            if state.armed == instant { state.armed = nil }
            guard let deadline = state.deadline else { return (nil, nil) }
            if deadline <= now {
                let consumer = state.machine.takeConsumer()
                state.deadline = nil
                return (consumer, nil)
            }
            guard state.armed.map({ deadline < $0 }) ?? true else { return (nil, nil) }
            state.armed = deadline
            return (nil, deadline)
        }
        consumer?.resume(returning: .received(.deadline))
        if let next { schedule(next) }
    }

    func block(lane: Int) { state.withLock { $0.machine.block(lane: lane) } }

    func unblock(lanes: [Int]) { state.withLock { $0.machine.unblock(lanes: lanes) } }

    func close() {
        let (producers, consumer) = state.withLock { $0.machine.close() }
        for producer in producers { producer.resume(returning: .closed) }
        consumer?.resume(returning: .received(.closed))
    }
}
