/// Numbers in an order given from outside, with cheap insertion and removal anywhere: blocks of at most 512 numbers.
///
/// Finding costs O(log n) comparisons; putting in or taking out moves at most a block's 2 KiB, and now and then the list
/// of blocks. A million numbers take about 6 MB.
struct OrderedIDs: Sendable {
    private static let maxBlock = 512
    private var blocks: [[Int32]] = []
    /// How many numbers there are.
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// The first `n` numbers, or all.
    func prefix(_ n: Int) -> [Int32] {
        var first: [Int32] = []
        first.reserveCapacity(min(n, count))
        for block in blocks {
            first.append(contentsOf: block.prefix(n - first.count))
            if first.count == n { break }
        }
        return first
    }

    /// The first `n` numbers and those that follow and tie with the n-th.
    func prefix(_ n: Int, withTies isTie: (Int32, Int32) -> Bool) -> [Int32] {
        var first: [Int32] = []
        for block in blocks {
            for id in block {
                if first.count >= n, let last = first.last, !isTie(last, id) { return first }
                first.append(id)
            }
        }
        return first
    }

    /// Puts a number in. `isBefore` orders it and those that are in strictly.
    mutating func insert(_ id: Int32, _ isBefore: (Int32, Int32) -> Bool) {
        count += 1
        guard !blocks.isEmpty else {
            blocks.append([id])
            return
        }
        let block = blockIndex(id, isBefore)
        let position = OrderedIDs.lowerBound(blocks[block].count) { isBefore(blocks[block][$0], id) }
        blocks[block].insert(id, at: position)
        if blocks[block].count > OrderedIDs.maxBlock {
            let half = blocks[block].count / 2
            let upper = Array(blocks[block][half...])
            blocks[block].removeLast(blocks[block].count - half)
            blocks.insert(upper, at: block + 1)
        }
    }

    /// Takes a number out that is in, with the same order as when it was put in.
    mutating func remove(_ id: Int32, _ isBefore: (Int32, Int32) -> Bool) {
        guard !blocks.isEmpty else { preconditionFailure("number \(id) is not among those in order") }
        let block = blockIndex(id, isBefore)
        let position = OrderedIDs.lowerBound(blocks[block].count) { isBefore(blocks[block][$0], id) }
        precondition(
            position < blocks[block].count && blocks[block][position] == id,
            "number \(id) is not among those in order")
        blocks[block].remove(at: position)
        count -= 1
        if blocks[block].isEmpty {
            blocks.remove(at: block)
        } else if block + 1 < blocks.count, blocks[block].count + blocks[block + 1].count <= OrderedIDs.maxBlock / 2 {
            blocks[block] += blocks[block + 1]
            blocks.remove(at: block + 1)
        }
    }

    /// The last block whose first number is not behind `id`; the first block if there is none.
    private func blockIndex(_ id: Int32, _ isBefore: (Int32, Int32) -> Bool) -> Int {
        max(0, OrderedIDs.lowerBound(blocks.count) { !isBefore(id, blocks[$0][0]) } - 1)
    }

    /// The first index for which `isBelow` is false.
    private static func lowerBound(_ count: Int, _ isBelow: (Int) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if isBelow(middle) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
