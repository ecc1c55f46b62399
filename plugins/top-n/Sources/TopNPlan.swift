import DataflowOperator

/// A checked top-n.
struct TopNPlan: Sendable {
    /// The column that is added behind a stream of facts when more than one row is kept.
    static let rank = Field("rank", .int64, nullable: false)

    let n: Int
    let input: Schema
    /// Positions of the partition columns.
    let partition: [Int]
    /// The order as it is written.
    let written: [RowOrdering.Term]
    /// The whole order within a partition: what is written, then the remaining columns.
    let terms: [RowOrdering.Term]
    /// Whether rows that are equal to the n-th in the written order are kept too.
    let includesTies: Bool
    /// Position of the event time among the columns, where a partition leaves once when that has passed.
    let closingTime: Int?
    /// Positions of an upsert input's key.
    let key: [Int]?

    /// Checks names against the input.
    ///
    /// - Throws: all findings at once, at their places in the file.
    init(_ config: TopNConfig, input stream: Stream) throws(ConfigError) {
        var collector = DiagnosticCollector()
        let schema = stream.schema
        input = schema
        n = config.n
        key = stream.kind.key?.compactMap { schema.index(of: $0) }
        var partition: [Int] = []
        for name in config.partitionBy {
            guard let index = schema.index(of: name.value) else {
                collector.append(TopNPlan.unknown(name.value, schema, at: name.mark))
                continue
            }
            if partition.contains(index) {
                collector.append(
                    Diagnostic(
                        .error, "duplicate-name", "`\(name.value)` is there twice in `partition_by`", at: name.mark,
                        length: name.value.unicodeScalars.count))
            } else {
                partition.append(index)
            }
        }
        self.partition = partition
        var terms: [RowOrdering.Term] = []
        for text in config.orderBy {
            let item = text.parsed
            let mark = text.text.mark(atUTF8Offset: item.expression.offset)
            guard case .name(let name) = item.expression.kind else {
                collector.append(
                    Diagnostic(
                        .error, "order", "`\(item.expression)` is not a column, expected one of the input's", at: mark,
                        length: item.expression.length, hint: "compute it in a select node in front of this one"))
                continue
            }
            guard let index = schema.index(of: name) else {
                collector.append(TopNPlan.unknown(name, schema, at: mark))
                continue
            }
            if terms.contains(where: { $0.column == index }) {
                collector.append(
                    Diagnostic(
                        .error, "duplicate-name", "`\(name)` is there twice in `order_by`", at: mark,
                        length: name.unicodeScalars.count))
            } else {
                terms.append(.init(column: index, descending: item.descending, nullsFirst: item.nullsFirst))
            }
        }
        let named = Set(terms.map(\.column) + partition)
        written = terms
        self.terms = terms + schema.fields.indices.filter { !named.contains($0) }.map { .init(column: $0) }
        if key == nil, n > 1, let index = schema.index(of: TopNPlan.rank.name) {
            collector.append(
                Diagnostic(
                    .error, "duplicate-name",
                    "the input already has a column `rank` (\(schema.fields[index].type)), which this node adds",
                    at: config.orderBy.first?.text.mark ?? .unknown,
                    hint: "rename it in a select node in front of this one"))
        }
        includesTies = config.ties == .including
        closingTime = config.emit == .onClose ? stream.eventTime.flatMap(schema.index(of:)) : nil
        if let problem = TopNPlan.problem(config, stream, partition: partition.map { schema.fields[$0].name }) {
            collector.append(problem)
        }
        try collector.throwErrors()
    }

    /// What `emit` and `ties` need of the input.
    private static func problem(_ config: TopNConfig, _ stream: Stream, partition: [String]) -> Diagnostic? {
        guard config.emit == .onClose else {
            guard config.ties == .including, stream.kind == .append else { return nil }
            return .error(
                field: "ties", code: "key-combination",
                "`ties: include` needs `emit: on_close` behind a stream of facts: rows that tie have the same rank, and an update could not say which of them it replaces"
            )
        }
        guard stream.kind == .append else {
            return .error(
                field: "emit", code: "key-combination",
                "`emit: on_close` needs a stream of facts: the rows of an upsert stream (by \((stream.kind.key ?? []).joined(separator: ", "))) can change at any time, so no partition is ever final"
            )
        }
        guard let time = stream.eventTime else {
            return .error(
                field: "emit", code: "event-time",
                "`emit: on_close` needs event time, which the input does not have",
                hint: "declare it where the column first appears: `event_time: { column: … }`")
        }
        guard partition.contains(time) else {
            return .error(
                field: "emit", code: "event-time",
                "`emit: on_close` needs the event time `\(time)` in `partition_by`: a partition is final when the watermark has passed its time",
                hint: "write `partition_by: [\(([time] + partition).joined(separator: ", "))]`")
        }
        return nil
    }

    private static func unknown(_ name: String, _ schema: Schema, at mark: Mark) -> Diagnostic {
        Diagnostic(
            .error, "unknown-column",
            "there is no column `\(name)`" + Suggestion.phrase(for: name, among: schema.names),
            at: mark, length: name.unicodeScalars.count)
    }

    /// Whether the added column tells the rows of a partition apart.
    var hasRank: Bool { key == nil && n > 1 }

    /// What leaves the node.
    var output: Stream {
        if let closingTime {
            return Stream(
                hasRank ? Schema(input.fields + [TopNPlan.rank]) : input, eventTime: input.fields[closingTime].name)
        }
        let names = partition.map { input.fields[$0].name }
        if let key {
            let own = key.filter { !partition.contains($0) }.map { input.fields[$0].name }
            return Stream(input, kind: .upsert(key: names + own), deletes: true)
        }
        return hasRank
            ? Stream(Schema(input.fields + [TopNPlan.rank]), kind: .upsert(key: names + [TopNPlan.rank.name]))
            : Stream(input, kind: .upsert(key: names))
    }

    /// Positions of the columns that spread the rows: those of the partition; of an upsert stream only the ones that
    /// are of its key too, so that a key's rows stay together when they change partitions.
    var spread: [Int] { partition.filter { key?.contains($0) ?? true } }

    var partitioning: Partitioning {
        spread.isEmpty ? .single : .hash(spread.map { input.fields[$0].name })
    }

    /// The state's columns: the key group, then the row.
    var state: Schema {
        Schema([Field("key_group", .int32, nullable: false)] + input.fields.map { Field("row.\($0.name)", $0.type) })
    }

    /// Rows as a batch of the state.
    func stateBatch(_ columns: [Column], count: Int) -> RecordBatch {
        let hashes = RowHash.hashes(spread.map { columns[$0] }, count: count)
        let groups = Values<Int32>(count: count) { target in
            for i in 0..<count { target[i] = KeyGroup.of(hash: hashes[i]) }
        }
        return RecordBatch(state, [Column(.int32, .int32(groups))] + columns, rowCount: count)
    }
}
