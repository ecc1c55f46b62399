import DataflowOperator

/// NEXMark's one sequence of events: in each cycle of 50 come a person, 3 auctions and 46 bids. All that an event is
/// follows from its number and the seed.
///
/// After the generator of Apache Beam and nexmark-flink: proportions, ids, and how bids and sellers crowd around hot
/// ones. Random numbers are drawn by position instead of one after the other, so that any event can be made alone.
struct NexmarkSequence: Sendable {
    /// Events of a cycle.
    static let cycle: Int64 = 50
    /// Ids of people and auctions count from here.
    static let firstID: Int64 = 1000
    /// Bids and sellers keep to the people of late: at most so many.
    private static let activePeople: Int64 = 1000
    /// About how many auctions are open at a time.
    static let auctionsInFlight: Int64 = 100
    /// One in so many people and auctions is hot at a time.
    private static let hotStep: Int64 = 100
    /// Ids that are not there yet but may be drawn.
    private static let lead: Int64 = 10

    /// What a random number is for: each use of an event has one of its own.
    enum Use: UInt64 {
        case disorder, isHot, person, auction, price, reserve, lifetime, category, channel
        case text, textLength, name, nameLength, extra, extraLength, city, state, digits
    }

    let seed: UInt64
    /// Event time of the first event in microseconds.
    let start: Int64
    /// Event time between two events in nanoseconds.
    let interval: Int64
    /// By how many microseconds an event may be earlier than its turn.
    let disorder: Int64

    /// 64 random bits (SplitMix64's finaliser; Steele, Lea and Flood 2014).
    @inline(__always)
    func bits(_ event: Int64, _ use: Use) -> UInt64 {
        var z = seed &+ UInt64(bitPattern: event) &* 0x9E37_79B9_7F4A_7C15 &+ use.rawValue &* 0xD1B5_4A32_D192_ED03
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A whole number in 0..<`bound`.
    @inline(__always)
    func draw(_ event: Int64, _ use: Use, below bound: Int64) -> Int64 {
        Int64(truncatingIfNeeded: bits(event, use).multipliedFullWidth(by: UInt64(bitPattern: bound)).high)
    }

    /// A number in 0..<1.
    @inline(__always)
    func unit(_ event: Int64, _ use: Use) -> Double { Double(bits(event, use) >> 11) * 0x1p-53 }

    /// The event time in microseconds.
    @inline(__always)
    func time(_ event: Int64) -> Int64 {
        let turn = start &+ event &* interval / 1000
        return disorder == 0 ? turn : turn &- draw(event, .disorder, below: disorder)
    }

    /// The person of this event or the last one before it, counted from 0.
    @inline(__always)
    func lastPerson(_ event: Int64) -> Int64 { event / Self.cycle }

    /// The auction of this event or the last one before it, counted from 0; -1 before the first.
    @inline(__always)
    func lastAuction(_ event: Int64) -> Int64 {
        let (cycles, offset) = event.quotientAndRemainder(dividingBy: Self.cycle)
        return cycles * 3 + min(offset, 3) - 1
    }

    /// The id of someone who takes part: one of the last thousand people or of the ten to come.
    @inline(__always)
    private func anyPerson(_ event: Int64) -> Int64 {
        let people = lastPerson(event) + 1
        let active = min(people, Self.activePeople)
        return people - active + draw(event, .person, below: active + Self.lead) + Self.firstID
    }

    /// Three auctions of four are the hot seller's.
    @inline(__always)
    func seller(_ event: Int64) -> Int64 {
        guard draw(event, .isHot, below: 4) > 0 else { return anyPerson(event) }
        return lastPerson(event) / Self.hotStep * Self.hotStep + Self.firstID
    }

    /// Three bids of four are the hot bidder's, who is not the hot seller.
    @inline(__always)
    func bidder(_ event: Int64) -> Int64 {
        // Bits of their own: whether the auction is hot is another matter.
        guard bits(event, .isHot) & 0xFF >= 64 else { return anyPerson(event) }
        return lastPerson(event) / Self.hotStep * Self.hotStep + 1 + Self.firstID
    }

    /// Every other bid is for the hot auction.
    @inline(__always)
    func bidAuction(_ event: Int64) -> Int64 {
        let last = lastAuction(event)
        if bits(event, .isHot) >> 63 == 0 { return last / Self.hotStep * Self.hotStep + Self.firstID }
        let first = max(last - Self.auctionsInFlight, 0)
        return first + draw(event, .auction, below: last - first + 1 + Self.lead) + Self.firstID
    }

    /// An auction's end: on average when a hundred more auctions have begun.
    @inline(__always)
    func expiry(_ event: Int64) -> Int64 {
        let horizon = Self.auctionsInFlight * Self.cycle / 3 &* interval / 1000
        return time(event) &+ 1000 &+ draw(event, .lifetime, below: max(horizon &* 2, 1000))
    }
}
