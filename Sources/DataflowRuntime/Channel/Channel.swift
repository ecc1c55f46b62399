import DataflowOperator

/// The run is over: nobody reads the channel any more.
package struct ChannelClosed: Error {}

/// The way into one task: several lanes, each with one producer, and one consumer.
///
/// Bounded in bytes and batches a lane; a full lane suspends its producer, which is all the backpressure there is. A send or
/// receive that need not wait costs a lock, well under a microsecond; one that waits costs a suspension.
package final class Channel: Sendable {
    private let storage: ChannelStorage
    package let laneCount: Int

    package init(lanes: Int, capacity: ChannelCapacity, clock: any TimedClock) {
        laneCount = lanes
        storage = ChannelStorage(lanes: lanes, capacity: capacity, clock: clock)
    }

    /// Bytes and batches that wait to be taken.
    package var held: (bytes: Int, batches: Int) { storage.held }

    /// Sends a batch; waits while the lane is full.
    ///
    /// - Parameter whileFull: called again and again while the lane is full, as long as it answers true.
    /// - Returns: how long it waited.
    /// - Throws: `ChannelClosed`, `CancellationError`.
    @discardableResult
    package func send(
        _ batch: RecordBatch, lane: Int, whileFull: (() async throws -> Bool)? = nil
    ) async throws -> Duration {
        let bytes = batch.byteCount
        if let result = storage.trySend(.batch(batch), bytes: bytes, lane: lane) {
            try check(result)
            return .zero
        }
        let start = ContinuousClock.now
        if let whileFull {
            while try await whileFull() {
                guard let result = storage.trySend(.batch(batch), bytes: bytes, lane: lane) else { continue }
                try check(result)
                return start.duration(to: .now)
            }
        }
        try check(await storage.waitToSend(batch, bytes: bytes, lane: lane))
        return start.duration(to: .now)
    }

    /// Sends anything but a batch; never waits.
    package func signal(_ element: StreamElement, lane: Int) throws {
        if case .batch = element { preconditionFailure("a batch is sent with send(_:lane:), which may wait") }
        if let result = storage.trySend(element, bytes: 0, lane: lane) { try check(result) }
    }

    private func check(_ result: ChannelStorage.SendResult) throws {
        switch result {
        case .sent: return
        case .closed: throw ChannelClosed()
        case .cancelled: throw CancellationError()
        }
    }

    /// Takes the next element of the lanes that are not blocked, in turn.
    ///
    /// - Parameter deadline: when to come back with `.deadline` though nothing came.
    /// - Throws: `CancellationError`.
    package func next(until deadline: ContinuousClock.Instant? = nil) async throws -> Received {
        if let received = storage.tryNext() { return received }
        switch await storage.waitForNext(until: deadline) {
        case .received(let received): return received
        case .cancelled: throw CancellationError()
        }
    }

    /// Nothing is taken from this lane until ``unblock(lanes:)``. For the consumer.
    package func block(lane: Int) { storage.block(lane: lane) }

    /// For the consumer.
    package func unblock(lanes: [Int]) { storage.unblock(lanes: lanes) }

    /// Drops what is held and wakes everybody who waits.
    package func close() { storage.close() }
}
