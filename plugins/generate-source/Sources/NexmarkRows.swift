import DataflowOperator

/// The rows of `kind: nexmark`: those events of the sequence that are asked for.
///
/// Row k of a kind is event (k / share) * 50 + offset + k % share, where the kind has `share` of the 50 events of a cycle,
/// from `offset` on. Cycles are dealt out to the splits, so each split has events of all kinds.
struct NexmarkRows: Sendable {
    let events: NexmarkEvents
    let blocks: RowBlocks
    let schema: Schema
    private let columns: NexmarkColumns

    /// - Parameter config: with a `start` that has been checked.
    init(_ config: GenerateSourceConfig) {
        events = config.events
        let (offset, share) = Self.place(config.events)
        // So far that no product overflows: a million rows a second would take a thousand years.
        let count = config.count.map { min(Int64($0), 1 << 55) } ?? 1 << 55
        let (cycles, rest) = count.quotientAndRemainder(dividingBy: NexmarkSequence.cycle)
        blocks = RowBlocks(
            size: share, splits: Int64(config.splits), rowCount: cycles * share + min(max(rest - offset, 0), share))
        schema = Self.schema(config.events)
        columns = NexmarkColumns(
            NexmarkSequence(
                seed: RowHash.hash(UInt64(bitPattern: Int64(config.seed))),
                start: epochMicroseconds(config.start) ?? 0, interval: config.eventInterval.nanoseconds,
                disorder: config.disorder.nanoseconds / 1000))
    }

    /// Where in a cycle the events of a kind stand: from `offset` on, `share` of them.
    private static func place(_ events: NexmarkEvents) -> (offset: Int64, share: Int64) {
        switch events {
        case .all: (0, NexmarkSequence.cycle)
        case .person: (0, 1)
        case .auction: (1, 3)
        case .bid: (4, 46)
        }
    }

    /// The kinds that an `all` row may be of, in the order of `event_type`.
    private static let kinds: [NexmarkEvents] = [.person, .auction, .bid]

    static func schema(_ events: NexmarkEvents) -> Schema {
        if let fields = NexmarkColumns.fields(events) { return Schema(fields) }
        let members = kinds.map { kind in
            let fields = NexmarkColumns.fields(kind) ?? []
            return Field(kind.rawValue, .structure(fields.map { Field($0.name, $0.type) }))
        }
        return Schema(
            [Field("event_type", .int32, nullable: false)] + members
                + [Field("date_time", .timestamp, nullable: false)])
    }

    /// Time from one row to the next, where there are `rate` events in a time.
    func interval(_ rate: Rate) -> Duration { rate.interval * NexmarkSequence.cycle / Self.place(events).share }

    /// The most bytes that a row takes, about.
    var rowByteCount: Int { events == .auction || events == .all ? 640 : 320 }

    /// The rows of a split from `position` on. O(count).
    func columns(
        _ count: Int, from position: Int64, of split: Int64, where isUsed: (String) -> Bool
    ) -> [Column] {
        let (offset, share) = Self.place(events)
        let numbers = Values<Int64>(count: count) { target in
            for i in 0..<count {
                let row = blocks.row(at: position + Int64(i), of: split)
                target[i] = row / share * NexmarkSequence.cycle + offset + row % share
            }
        }
        return schema.fields.map { field in
            guard isUsed(field.name) else { return .nulls(field.type, count: count) }
            return events == .all
                ? wide(field, numbers)
                : columns.column(field.name, of: events, numbers) ?? .nulls(field.type, count: count)
        }
    }

    private static func kind(_ event: Int64) -> Int {
        switch event % NexmarkSequence.cycle {
        case 0: 0
        case 1...3: 1
        default: 2
        }
    }

    /// A column of all events: the type, the time, or a struct that is null but for events of its kind.
    private func wide(_ field: Field, _ numbers: Values<Int64>) -> Column {
        if field.name == "event_type" {
            return Column(
                .int32,
                .int32(
                    Values(count: numbers.count) { target in
                        for i in 0..<numbers.count { target[i] = Int32(Self.kind(numbers[i])) }
                    }))
        }
        guard let kind = Self.kinds.firstIndex(where: { $0.rawValue == field.name }) else {
            return columns.column("date_time", of: .bid, numbers) ?? .nulls(field.type, count: numbers.count)
        }
        let isOfKind = Bitmap(count: numbers.count) { Self.kind(numbers[$0]) == kind }
        let own = numbers.take(isOfKind.setIndices)
        guard own.count > 0 else { return .nulls(field.type, count: numbers.count) }
        // The place of each event among those of its kind; the others' does not matter.
        let places = Values<Int32>(count: numbers.count) { target in
            var next: Int32 = 0
            for i in 0..<numbers.count {
                let isOwn = isOfKind[i]
                target[i] = isOwn ? next : 0
                if isOwn { next += 1 }
            }
        }
        let members = (NexmarkColumns.fields(Self.kinds[kind]) ?? []).map { member in
            (columns.column(member.name, of: Self.kinds[kind], own) ?? .nulls(member.type, count: own.count))
                .take(places).withValidity(isOfKind)
        }
        return Column(field.type, .structure(members), validity: isOfKind, count: numbers.count)
    }
}
