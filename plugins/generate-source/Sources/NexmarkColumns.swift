import DataflowOperator
import Glibc

/// Makes the columns of people, auctions and bids from the numbers of their events. O(events) each.
struct NexmarkColumns: Sendable {
    let sequence: NexmarkSequence
    private let text = NexmarkText.shared

    init(_ sequence: NexmarkSequence) { self.sequence = sequence }

    private static func fields(_ names: KeyValuePairs<String, DataType>) -> [Field] {
        names.map { Field($0.key, $0.value, nullable: false) }
    }

    /// What an event of a kind is made of; nil of `all`.
    static func fields(_ kind: NexmarkEvents) -> [Field]? {
        switch kind {
        case .all: nil
        case .person:
            fields([
                "id": .int64, "name": .string, "email_address": .string, "credit_card": .string, "city": .string,
                "state": .string, "date_time": .timestamp, "extra": .string,
            ])
        case .auction:
            fields([
                "id": .int64, "item_name": .string, "description": .string, "initial_bid": .int64, "reserve": .int64,
                "date_time": .timestamp, "expires": .timestamp, "seller": .int64, "category": .int64,
                "extra": .string,
            ])
        case .bid:
            fields([
                "auction": .int64, "bidder": .int64, "price": .int64, "channel": .string, "url": .string,
                "date_time": .timestamp, "extra": .string,
            ])
        }
    }

    /// A column of events that are all of the kind; nil if the kind has no such column.
    func column(_ name: String, of kind: NexmarkEvents, _ events: Values<Int64>) -> Column? {
        switch (kind, name) {
        case (_, "date_time"): int64(events) { sequence.time($0) }.reinterpreted(as: .timestamp)
        case (.person, "id"): int64(events) { sequence.lastPerson($0) + NexmarkSequence.firstID }
        case (.person, "name"): choice(events, text.names) { sequence.draw($0, .name, below: 99) }
        case (.person, "email_address"): addresses(events)
        case (.person, "credit_card"): cards(events)
        case (.person, "city"): choice(events, text.cities) { sequence.draw($0, .city, below: 10) }
        case (.person, "state"): choice(events, text.states) { sequence.draw($0, .state, below: 6) }
        case (.person, "extra"): cut(events, text.letters, .extra, .extraLength, lengths: 109..<163)
        case (.auction, "id"): int64(events) { sequence.lastAuction($0) + NexmarkSequence.firstID }
        case (.auction, "item_name"): cut(events, text.words, .name, .nameLength, lengths: 3..<20)
        case (.auction, "description"): cut(events, text.words, .text, .textLength, lengths: 3..<100)
        case (.auction, "initial_bid"): int64(events) { price($0, .price) }
        case (.auction, "reserve"): int64(events) { price($0, .price) + price($0, .reserve) }
        case (.auction, "expires"): int64(events) { sequence.expiry($0) }.reinterpreted(as: .timestamp)
        case (.auction, "seller"): int64(events) { sequence.seller($0) }
        case (.auction, "category"): int64(events) { 10 + sequence.draw($0, .category, below: 5) }
        case (.auction, "extra"): cut(events, text.letters, .extra, .extraLength, lengths: 312..<468)
        case (.bid, "auction"): int64(events) { sequence.bidAuction($0) }
        case (.bid, "bidder"): int64(events) { sequence.bidder($0) }
        case (.bid, "price"): int64(events) { price($0, .price) }
        case (.bid, "channel"): choice(events, text.channels) { channel($0) }
        case (.bid, "url"): choice(events, text.urls) { channel($0) }
        case (.bid, "extra"): cut(events, text.letters, .extra, .extraLength, lengths: 54..<82)
        default: nil
        }
    }

    /// In cents, from 100 to 100,000,000: the logarithm is drawn evenly.
    @inline(__always)
    private func price(_ event: Int64, _ use: NexmarkSequence.Use) -> Int64 {
        Int64((exp2(sequence.unit(event, use) * 6 * 3.321928094887362) * 100).rounded())
    }

    /// Every other bid comes by one of the four well-known channels.
    @inline(__always)
    private func channel(_ event: Int64) -> Int64 {
        let bits = sequence.bits(event, .channel)
        if bits >> 63 == 0 { return Int64(truncatingIfNeeded: bits & 3) }
        let number = (bits << 1).multipliedFullWidth(by: UInt64(NexmarkText.plainChannels)).high
        return NexmarkText.hotChannels + Int64(truncatingIfNeeded: number)
    }

    // MARK: loops

    @inline(__always)
    private func int64(_ events: Values<Int64>, _ value: (Int64) -> Int64) -> Column {
        Column(
            .int64,
            .int64(
                events.withUnsafeBufferPointer { events in
                    Values(count: events.count) { target in
                        for i in 0..<events.count { target[i] = value(events[i]) }
                    }
                }))
    }

    @inline(__always)
    private func choice(_ events: Values<Int64>, _ choices: NexmarkText.Choices, _ index: (Int64) -> Int64) -> Column {
        let views = choices.storage.views.withUnsafeBufferPointer { source in
            events.withUnsafeBufferPointer { events in
                Values<StringView>(count: events.count) { target in
                    for i in 0..<events.count { target[i] = source[Int(index(events[i]))] }
                }
            }
        }
        return Column(views: ViewStorage(views: views, buffers: choices.storage.buffers))
    }

    /// Pieces of a supply, without spaces at the ends.
    private func cut(
        _ events: Values<Int64>, _ supply: NexmarkText.Supply, _ place: NexmarkSequence.Use,
        _ length: NexmarkSequence.Use, lengths: Range<Int64>
    ) -> Column {
        let span = lengths.upperBound - lengths.lowerBound
        let places = Int64(supply.buffer.byteCount) - lengths.upperBound
        let views = supply.buffer.withUnsafeBytes { bytes in
            events.withUnsafeBufferPointer { events in
                Values<StringView>(count: events.count) { target in
                    for i in 0..<events.count {
                        var start = Int(sequence.draw(events[i], place, below: places))
                        var end = start + Int(lengths.lowerBound + sequence.draw(events[i], length, below: span))
                        while start < end, bytes[start] == 0x20 { start += 1 }
                        while start < end, bytes[end - 1] == 0x20 { end -= 1 }
                        target[i] = StringView(
                            UnsafeRawBufferPointer(rebasing: bytes[start..<end]), buffer: 0, offset: start)
                    }
                }
            }
        }
        return Column(views: ViewStorage(views: views, buffers: [supply.buffer]))
    }

    /// Text that is made for each event: at most 32 bytes.
    private func made(
        _ events: Values<Int64>, _ write: (Int64, UnsafeMutableRawBufferPointer) -> Int
    ) -> Column {
        var builder = ViewBuilder(capacity: events.count)
        withUnsafeTemporaryAllocation(byteCount: 32, alignment: 1) { memory in
            for i in 0..<events.count {
                let count = write(events[i], memory)
                builder.append(UnsafeRawBufferPointer(rebasing: memory[..<count]))
            }
        }
        return builder.finish()
    }

    /// `abcd@xyz.com`.
    private func addresses(_ events: Values<Int64>) -> Column {
        made(events) { event, memory in
            var bits = sequence.bits(event, .text)
            var count = 0
            func letters(_ length: Int) {
                for _ in 0..<length {
                    memory[count] = 0x61 + UInt8(truncatingIfNeeded: bits % 26)
                    bits /= 26
                    count += 1
                }
            }
            letters(3 + Int(sequence.draw(event, .textLength, below: 4)))
            memory[count] = 0x40
            count += 1
            letters(3 + Int(sequence.draw(event, .nameLength, below: 2)))
            for byte in ".com".utf8 {
                memory[count] = byte
                count += 1
            }
            return count
        }
    }

    /// Four times four digits.
    private func cards(_ events: Values<Int64>) -> Column {
        made(events) { event, memory in
            var bits = sequence.bits(event, .digits)
            for i in 0..<19 {
                if i % 5 == 4 {
                    memory[i] = 0x20
                } else {
                    memory[i] = 0x30 + UInt8(truncatingIfNeeded: bits % 10)
                    bits /= 10
                }
            }
            return 19
        }
    }
}
