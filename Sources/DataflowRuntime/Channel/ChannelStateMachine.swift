import DataflowOperator

/// How much a lane holds before its producer has to wait.
package struct ChannelCapacity: Equatable, Sendable {
    package var bytes: Int
    package var batches: Int

    package init(bytes: Int, batches: Int) {
        precondition(bytes > 0 && batches > 0, "a channel without room")
        self.bytes = bytes
        self.batches = batches
    }
}

/// What the consumer of a channel is given.
package enum Received: Sendable {
    case element(StreamElement, lane: Int)
    /// Nothing came until the deadline.
    case deadline
    /// The run is over.
    case closed
}

/// Decides for a ``Channel`` who waits and who goes on. A pure value: it resumes nobody, it says who is to be resumed.
///
/// Every lane has one producer and a capacity of its own, so that a lane blocked for a checkpoint cannot keep another's
/// barrier out. Bytes and batches count until the consumer takes them. A batch that is larger than the capacity is admitted
/// when its lane holds no other. A producer that waits goes on when half of its lane is free. Watermarks, split events, barriers and ends cost nothing and never wait; a watermark
/// behind a watermark replaces it, so they cannot pile up.
struct ChannelStateMachine<Producer, Consumer> {
    private struct Lane {
        var queue = RingQueue<(element: StreamElement, bytes: Int)>()
        var bytes = 0
        var batches = 0
        var isBlocked = false
        var waiting: (batch: RecordBatch, bytes: Int, producer: Producer)?
    }

    enum SendAction {
        case sent
        /// Hand the element to the waiting consumer.
        case resume(Consumer, Received)
        /// The lane is full: come again with a producer to resume.
        case full
        case closed
    }

    enum NextAction {
        /// `resume`: a producer whose batch has been admitted now.
        case received(Received, resume: Producer?)
        /// Nothing there: come again with a consumer to resume.
        case empty
    }

    let capacity: ChannelCapacity
    private var lanes: [Lane]
    private var consumer: Consumer?
    private var cursor = 0
    private var isClosed = false

    init(lanes count: Int, capacity: ChannelCapacity) {
        self.capacity = capacity
        lanes = (0..<count).map { _ in Lane() }
    }

    /// Bytes and batches that wait to be taken, of all lanes.
    var held: (bytes: Int, batches: Int) { lanes.reduce(into: (0, 0)) { $0 = ($0.0 + $1.bytes, $0.1 + $1.batches) } }

    // MARK: producers

    /// - Parameter bytes: what a batch costs; 0 for anything else.
    mutating func send(_ element: StreamElement, bytes: Int, lane: Int) -> SendAction {
        if isClosed { return .closed }
        if case .batch = element {
            guard admits(bytes, lane) else { return .full }
        }
        precondition(lanes[lane].waiting == nil, "lane \(lane) has two producers")
        if !lanes[lane].isBlocked, lanes[lane].queue.isEmpty, let consumer = self.consumer.take() {
            return .resume(consumer, .element(element, lane: lane))
        }
        append(element, bytes: bytes, lane)
        return .sent
    }

    /// The lane was full: tries again, or keeps batch and producer until there is room.
    ///
    /// - Returns: `.full` when the producer was kept.
    mutating func wait(_ batch: RecordBatch, bytes: Int, lane: Int, producer: Producer) -> SendAction {
        let action = send(.batch(batch), bytes: bytes, lane: lane)
        if case .full = action { lanes[lane].waiting = (batch, bytes, producer) }
        return action
    }

    /// The producer's task was cancelled: its batch is dropped.
    mutating func cancelProducer(lane: Int) -> Producer? {
        lanes[lane].waiting.take()?.producer
    }

    private func admits(_ bytes: Int, _ lane: Int) -> Bool {
        let lane = lanes[lane]
        return lane.batches == 0 || (lane.batches < capacity.batches && lane.bytes + bytes <= capacity.bytes)
    }

    /// Whether a producer that waits may go on: when half of the lane is free, so that producer and consumer of a full lane
    /// do not wake each other for every batch.
    private func admitsAgain(_ bytes: Int, _ lane: Int) -> Bool {
        let held = lanes[lane]
        return held.batches == 0
            || (held.batches <= capacity.batches / 2 && held.bytes <= capacity.bytes / 2 && admits(bytes, lane))
    }

    private mutating func append(_ element: StreamElement, bytes: Int, _ lane: Int) {
        switch element {
        case .batch:
            lanes[lane].bytes += bytes
            lanes[lane].batches += 1
        case .watermark:
            if case .watermark? = lanes[lane].queue.last?.element {
                lanes[lane].queue.updateLast { $0.element = element }
                return
            }
        case .split, .barrier, .endOfInput: break
        }
        lanes[lane].queue.append((element, bytes))
    }

    // MARK: consumer

    /// The next element of a lane that is not blocked, the lanes taking turns. O(lanes) when most are empty.
    mutating func next() -> NextAction {
        if isClosed { return .received(.closed, resume: nil) }
        for offset in 0..<lanes.count {
            let index = cursor + offset < lanes.count ? cursor + offset : cursor + offset - lanes.count
            guard !lanes[index].isBlocked, let (element, bytes) = lanes[index].queue.popFirst() else { continue }
            cursor = index + 1 < lanes.count ? index + 1 : 0
            var producer: Producer?
            if case .batch = element {
                lanes[index].bytes -= bytes
                lanes[index].batches -= 1
                if let waiting = lanes[index].waiting, admitsAgain(waiting.bytes, index) {
                    lanes[index].waiting = nil
                    append(.batch(waiting.batch), bytes: waiting.bytes, index)
                    producer = waiting.producer
                }
            }
            return .received(.element(element, lane: index), resume: producer)
        }
        return .empty
    }

    /// Nothing was there: tries again, or keeps the consumer until something comes.
    mutating func wait(_ consumer: Consumer) -> NextAction {
        precondition(self.consumer == nil, "a channel has two consumers")
        let action = next()
        if case .empty = action { self.consumer = consumer }
        return action
    }

    /// The consumer's deadline has come or its task was cancelled.
    mutating func takeConsumer() -> Consumer? { consumer.take() }

    /// The lane's elements stay where they are until ``unblock(lanes:)``.
    mutating func block(lane: Int) { lanes[lane].isBlocked = true }

    mutating func unblock(lanes unblocked: [Int]) {
        for lane in unblocked { lanes[lane].isBlocked = false }
    }

    // MARK: end

    /// Nothing more is sent or received; what was held is dropped.
    ///
    /// - Returns: who waits and has to be told.
    mutating func close() -> (producers: [Producer], consumer: Consumer?) {
        isClosed = true
        let producers = lanes.indices.compactMap { lanes[$0].waiting.take()?.producer }
        for index in lanes.indices { lanes[index] = Lane() }
        return (producers, consumer.take())
    }
}
