/// A first-in first-out queue over an array that grows and never shrinks.
struct RingQueue<Element> {
    private var storage: [Element?]
    private var head = 0
    private(set) var count = 0

    init(capacity: Int = 4) {
        var size = 4
        while size < capacity { size *= 2 }
        storage = Array(repeating: nil, count: size)
    }

    var isEmpty: Bool { count == 0 }

    /// Amortised O(1).
    mutating func append(_ element: Element) {
        if count == storage.count { grow() }
        storage[(head + count) & (storage.count - 1)] = element
        count += 1
    }

    /// nil when empty. O(1).
    mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = storage[head].take()
        head = (head + 1) & (storage.count - 1)
        count -= 1
        return element
    }

    /// Changes the newest element, if there is one.
    mutating func updateLast(_ body: (inout Element) -> Void) {
        guard count > 0 else { return }
        let index = (head + count - 1) & (storage.count - 1)
        if var element = storage[index].take() {
            body(&element)
            storage[index] = element
        }
    }

    var last: Element? { count > 0 ? storage[(head + count - 1) & (storage.count - 1)] : nil }

    private mutating func grow() {
        var larger = [Element?](repeating: nil, count: storage.count * 2)
        for index in 0..<count { larger[index] = storage[(head + index) & (storage.count - 1)] }
        storage = larger
        head = 0
    }
}
