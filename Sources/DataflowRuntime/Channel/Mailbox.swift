import DataflowOperator

/// Messages to one receiver. Posting never waits; the senders send few.
package final class Mailbox<Message: Sendable>: Sendable {
    private typealias Receiver = CheckedContinuation<Outcome, Never>
    private enum Outcome { case message(Message), deadline, cancelled }

    private struct State {
        var messages = RingQueue<Message>()
        var receiver: Receiver?
        var deadline: ContinuousClock.Instant?
    }

    private let state = Lock(State())
    private let clock: any TimedClock

    package init(clock: any TimedClock) { self.clock = clock }

    package func post(_ message: Message) {
        let receiver = state.withLock { state -> Receiver? in
            guard let receiver = state.receiver.take() else {
                state.messages.append(message)
                return nil
            }
            return receiver
        }
        receiver?.resume(returning: .message(message))
    }

    /// Puts a message that was taken back in front of the others. For the receiver.
    package func putBack(_ message: Message) {
        state.withLock { state in
            var messages = RingQueue<Message>()
            messages.append(message)
            while let next = state.messages.popFirst() { messages.append(next) }
            state.messages = messages
        }
    }

    /// Without waiting.
    package func poll() -> Message? { state.withLock { $0.messages.popFirst() } }

    /// Waits for a message, or until the deadline: nil.
    ///
    /// - Throws: `CancellationError`.
    package func next(until deadline: ContinuousClock.Instant? = nil) async throws -> Message? {
        if let message = poll() { return message }
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { (receiver: Receiver) in
                let outcome = state.withLock { state -> Outcome? in
                    if Task.isCancelled { return .cancelled }
                    if let message = state.messages.popFirst() { return .message(message) }
                    precondition(state.receiver == nil, "a mailbox has two receivers")
                    state.receiver = receiver
                    state.deadline = deadline
                    return nil
                }
                if let outcome { return receiver.resume(returning: outcome) }
                if let deadline {
                    clock.schedule(at: deadline) { [weak self] in self?.timerFired(deadline) }
                }
            }
        } onCancel: {
            state.withLock { $0.receiver.take() }?.resume(returning: .cancelled)
        }
        switch outcome {
        case .message(let message): return message
        case .deadline: return nil
        case .cancelled: throw CancellationError()
        }
    }

    private func timerFired(_ instant: ContinuousClock.Instant) {
        let receiver = state.withLock { state -> Receiver? in
            guard state.deadline == instant else { return nil }
            return state.receiver.take()
        }
        receiver?.resume(returning: .deadline)
    }
}
