/// States that changed since what follows from them was told: apart for windows that are open, which are told of when
/// an update is due, and for windows that have closed and still take rows, which are corrected.
struct WindowChanges {
    private static let open: UInt8 = 1
    private static let closed: UInt8 = 2

    private var flags: [UInt8] = []
    private(set) var open: [Int32] = []
    private(set) var closed: [Int32] = []

    var isEmpty: Bool { open.isEmpty && closed.isEmpty }

    /// Takes note of a row's state: whether windows that are open, and whether closed ones, have changed with it.
    mutating func note(_ id: Int32, open isOpen: Bool, closed isClosed: Bool) {
        let index = Int(id)
        if flags.count <= index { flags += repeatElement(0, count: max(index + 1, flags.count * 2) - flags.count) }
        if isOpen, flags[index] & WindowChanges.open == 0 {
            flags[index] |= WindowChanges.open
            open.append(id)
        }
        if isClosed, flags[index] & WindowChanges.closed == 0 {
            flags[index] |= WindowChanges.closed
            closed.append(id)
        }
    }

    mutating func takeOpen() -> [Int32] {
        for id in open { flags[Int(id)] &= ~WindowChanges.open }
        defer { open = [] }
        return open
    }

    mutating func takeClosed() -> [Int32] {
        for id in closed { flags[Int(id)] &= ~WindowChanges.closed }
        defer { closed = [] }
        return closed
    }

    /// Leaves out states that go.
    mutating func forget(_ ids: [Int32]) {
        guard !isEmpty else { return }
        for id in ids where Int(id) < flags.count { flags[Int(id)] = 0 }
        open.removeAll { flags[Int($0)] & WindowChanges.open == 0 }
        closed.removeAll { flags[Int($0)] & WindowChanges.closed == 0 }
    }
}
