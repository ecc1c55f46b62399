import DataflowOperator

/// A door that tests open: who waits at it goes on when it is open. Waiting ends by cancellation, too.
public final class Gate: Sendable {
    private struct State {
        var isOpen: Bool
        var waiting: [Int: CheckedContinuation<Bool, Never>] = [:]
        var observers: [CheckedContinuation<Void, Never>] = []
        var nextID = 0
    }

    private let state: Lock<State>

    public init(isOpen: Bool = false) { state = Lock(State(isOpen: isOpen)) }

    public var isOpen: Bool { state.withLock(\.isOpen) }

    public func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [:] }
            return state.waiting.values
        }
        for continuation in waiting { continuation.resume(returning: true) }
    }

    public func close() { state.withLock { $0.isOpen = false } }

    /// Returns when the gate is open.
    ///
    /// - Throws: `CancellationError`.
    public func wait() async throws {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let passed = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Bool, Never>) in
                let (result, observers) = state.withLock { state -> (Bool?, [CheckedContinuation<Void, Never>]) in
                    if state.isOpen { return (true, []) }
                    if Task.isCancelled { return (false, []) }
                    state.waiting[id] = continuation
                    defer { state.observers = [] }
                    return (nil, state.observers)
                }
                if let result { continuation.resume(returning: result) }
                for observer in observers { observer.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: id) }?.resume(returning: false)
        }
        guard passed else { throw CancellationError() }
    }

    /// Returns when somebody waits at the gate.
    public func waitForVisitor() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let isThere = state.withLock { state in
                if state.waiting.isEmpty { state.observers.append(continuation) }
                return !state.waiting.isEmpty
            }
            if isThere { continuation.resume() }
        }
    }
}
