import DataflowOperator

extension SliceTable {
    /// The windows that some rows enter, and their states.
    final class Slice {
        let first: Int64
        let last: Int64
        var ids: [Int32] = []
        let states = SliceStates()

        fileprivate init(_ first: Int64, _ last: Int64) {
            self.first = first
            self.last = last
        }
    }
}

/// The slices of a ``SliceTable`` that have rows: by their bounds, and by small numbers (slots) that are given out again.
struct SliceSlots: ~Copyable {
    private struct Bounds: Hashable {
        var first: Int64
        var last: Int64
    }

    private var slots: [SliceTable.Slice?] = []
    /// By slot: the places of the slice's states, if it has some for all groups.
    private(set) var places = Cells<UnsafeMutablePointer<Int32>?>(nil)
    private var freeSlots: [Int32] = []
    private var slotByBounds: [Bounds: Int32] = [:]
    /// The least last window of a slice.
    private var earliestLast = Int64.max

    var isEmpty: Bool { slotByBounds.isEmpty }
    /// Above all slots given out.
    var bound: Int { slots.count }
    /// All slices, by slot.
    var all: [SliceTable.Slice] { slots.compactMap { $0 } }
    /// Bytes of memory in which slices find their states.
    var byteCount: Int { slots.reduce(0) { $0 + ($1?.states.byteCount ?? 0) } }

    subscript(slot: Int32) -> SliceTable.Slice? { slots[Int(slot)] }

    // MARK: Finding

    /// A slice that was found for a row.
    private struct Recent {
        var first: Int64 = 0
        var last: Int64 = 0
        var slot: Int32 = -1
    }

    /// The slot of each row's slice, which is made where there is none; its ``places`` have one for each group below `groups`.
    mutating func find(_ firsts: Values<Int64>, _ lasts: Values<Int64>, groups: Int) -> [Int32] {
        let count = firsts.count
        return [Int32](unsafeUninitializedCapacity: count) { found, used in
            withUnsafeTemporaryAllocation(of: Recent.self, capacity: 64) { recent in
                recent.initialize(repeating: Recent())
                firsts.withUnsafeBufferPointer { firsts in
                    lasts.withUnsafeBufferPointer { lasts in
                        for i in 0..<count {
                            let (first, last) = (firsts[i], lasts[i])
                            // The slices of neighbouring rows differ, but there are few: a product's high bits tell them apart.
                            let mixed = UInt64(bitPattern: first &+ last &* 3) &* 0x9E37_79B9_7F4A_7C15
                            let place = Int(truncatingIfNeeded: mixed >> 58)
                            if recent[place].slot < 0 || recent[place].first != first || recent[place].last != last {
                                recent[place] = Recent(first: first, last: last, slot: slot(first, last, groups))
                            }
                            found[i] = recent[place].slot
                        }
                    }
                }
            }
            used = count
        }
    }

    private mutating func slot(_ first: Int64, _ last: Int64, _ groups: Int) -> Int32 {
        let bounds = Bounds(first: first, last: last)
        let slot: Int32
        if let known = slotByBounds[bounds] {
            slot = known
        } else {
            if let free = freeSlots.popLast() {
                slot = free
            } else {
                slot = Int32(truncatingIfNeeded: slots.count)
                slots.append(nil)
                places.grow(to: slots.count)
            }
            slots[Int(slot)] = SliceTable.Slice(first, last)
            slotByBounds[bounds] = slot
            earliestLast = min(earliestLast, last)
        }
        slots[Int(slot)]?.states.prepare(for: groups)
        notePlaces(slot)
        return slot
    }

    /// Says that a slice's states may have moved.
    func notePlaces(_ slot: Int32) {
        places[slot] = slots[Int(slot)]?.states.dense
    }

    // MARK: Leaving

    /// The slices whose last window starts before `bound`: to be removed. O(1) when there is none.
    mutating func leaving(before bound: Int64) -> [(slot: Int32, slice: SliceTable.Slice)] {
        guard earliestLast < bound else { return [] }
        earliestLast = .max
        var leaving: [(Int32, SliceTable.Slice)] = []
        for (slot, slice) in slots.enumerated() {
            guard let slice else { continue }
            if slice.last < bound {
                leaving.append((Int32(truncatingIfNeeded: slot), slice))
            } else {
                earliestLast = min(earliestLast, slice.last)
            }
        }
        return leaving
    }

    /// Lets a slice go; its slot is free.
    mutating func remove(_ slot: Int32) {
        guard let slice = slots[Int(slot)] else { return }
        slots[Int(slot)] = nil
        places[slot] = nil
        freeSlots.append(slot)
        slotByBounds[Bounds(first: slice.first, last: slice.last)] = nil
    }
}
