import DataflowOperator

/// A checked join: where each column comes from, what matches and what leaves.
struct JoinPlan: Sendable {
    enum Mode: Sendable {
        case window(WindowGrid)
        /// µs.
        case within(before: Int64, after: Int64)
        case lookup
    }

    /// Where a column of the joined row comes from.
    enum Origin: Sendable, Hashable {
        case windowStart, windowEnd
        /// The left row's column at the first position, or the right row's at the second where there is no left row.
        case either(Int, Int)
        case column(side: Int, Int)
    }

    static let windowFields = [
        Field("window_start", .timestamp, nullable: false), Field("window_end", .timestamp, nullable: false),
    ]
    /// The event time of rows that may lack a left row.
    static let timeField = Field("join_time", .timestamp, nullable: false)

    let mode: Mode
    let kind: JoinKind
    /// µs.
    let allowedLateness: Int64
    /// Left and right.
    let inputs: [Schema]
    /// By side: positions of the key columns.
    let keys: [[Int]]
    /// By side: position of the event time; -1 where the join needs none.
    let times: [Int]
    /// The columns that `where` and `columns` see.
    let joined: Schema
    let origins: [Origin]
    let condition: TypedExpression?
    /// Nil: the joined row as it is.
    let columns: [TypedExpression]?
    let output: Stream

    /// Whether rows of a side are in the result without a match.
    func isPreserved(_ side: Int) -> Bool { side == 0 ? kind != .inner : kind == .full }

    /// - Throws: all findings at once, at their places in the file.
    init(_ config: JoinConfig, _ streams: [Stream]) throws(ConfigError) {
        guard streams.count == 2 else { throw ConfigError("from", "a join has two inputs, `left` and `right`") }
        kind = config.kind
        allowedLateness = config.allowedLateness.nanoseconds / 1000
        inputs = streams.map(\.schema)
        if let window = config.window {
            mode = .window(window.grid)
        } else if let interval = config.within {
            mode = .within(before: interval.before.nanoseconds / 1000, after: interval.after.nanoseconds / 1000)
        } else {
            mode = .lookup
        }
        var findings = DiagnosticCollector()
        keys = JoinPlan.keys(config.on, inputs, &findings)
        times = JoinPlan.times(mode, streams, &findings)
        JoinPlan.checkKinds(mode, config.on, streams, &findings)
        try findings.throwErrors()

        var fields: [Field] = []
        var origins: [Origin] = []
        switch mode {
        case .window:
            fields = JoinPlan.windowFields
            origins = [.windowStart, .windowEnd]
        case .within where kind == .full:
            fields = [JoinPlan.timeField]
            origins = [.either(times[0], times[1])]
        case .within, .lookup: break
        }
        let lead = fields.count
        for side in [0, 1] {
            let prefix = side == 0 ? config.prefix.left : config.prefix.right
            for (position, field) in inputs[side].fields.enumerated() {
                var copy = field
                copy.name = prefix + field.name
                copy.nullable = field.nullable || (side == 0 ? kind == .full : kind != .inner)
                var origin = Origin.column(side: side, position)
                if config.on.isShared, let key = keys[side].firstIndex(of: position) {
                    // A column of both inputs is one in the output, as with SQL's `using`.
                    if side == 1 { continue }
                    let right = inputs[1].fields[keys[1][key]]
                    copy.name = field.name
                    copy.nullable = kind == .left ? field.nullable : kind == .full && (field.nullable || right.nullable)
                    origin = .either(position, keys[1][key])
                }
                if fields.contains(where: { $0.name == copy.name }) {
                    findings.append(
                        JoinPlan.clash(copy.name, side, isOwn: fields.prefix(lead).contains { $0.name == copy.name }))
                    continue
                }
                fields.append(copy)
                origins.append(origin)
            }
        }
        joined = Schema(fields)
        self.origins = origins
        try findings.throwErrors()

        condition = config.condition.flatMap { text in
            do throws(ExpressionErrors) { return try text.parsed.check(Schema(fields), expecting: .bool) } catch {
                findings.append(contentsOf: text.placed(error).diagnostics)
                return nil
            }
        }
        var outputFields = fields
        var columns: [TypedExpression]?
        if let wanted = config.columns {
            outputFields = Array(fields.prefix(lead))
            var chosen: [TypedExpression] = []
            for field in fields.prefix(lead) {
                do throws(ExpressionErrors) { chosen.append(try Expression.column(field.name).check(joined)) } catch {
                    preconditionFailure("the column \(field.name) is not in its own schema: \(error)")
                }
            }
            for entry in wanted {
                guard !outputFields.contains(where: { $0.name == entry.key }) else {
                    findings.append(
                        Diagnostic(
                            .error, "duplicate-column", "the column `\(entry.key)` is added by the join itself",
                            at: entry.keyMark, length: entry.key.unicodeScalars.count, hint: "leave it out of `columns`"
                        ))
                    continue
                }
                do throws(ExpressionErrors) {
                    let expression = try entry.value.parsed.check(joined)
                    chosen.append(expression)
                    outputFields.append(Field(entry.key, expression.type, nullable: expression.nullable))
                } catch { findings.append(contentsOf: entry.value.placed(error).diagnostics) }
            }
            columns = chosen
        }
        try findings.throwErrors()
        self.columns = columns
        let schema = Schema(outputFields)
        let eventTime = JoinPlan.eventTime(mode, kind, streams[0], times[0])
        var passedOn: String?
        if let eventTime, let index = origins.firstIndex(where: { $0 == eventTime || $0.isLeft(eventTime) }) {
            let name = fields[index].name
            passedOn = name
            if let columns {
                passedOn = columns.firstIndex { $0.columnName == name }.map { outputFields[$0].name }
            }
        }
        output = Stream(schema, eventTime: passedOn)
    }

    // MARK: Checks

    private static func keys(_ on: JoinKeys, _ inputs: [Schema], _ findings: inout DiagnosticCollector) -> [[Int]] {
        var keys: [[Int]] = [[], []]
        for pair in on.pairs {
            var found: [Int] = []
            for (side, name) in [pair.left, pair.right].enumerated() {
                if let position = inputs[side].index(of: name.value) {
                    found.append(position)
                } else {
                    findings.append(
                        Diagnostic(
                            .error, "unknown-column",
                            "the \(side == 0 ? "left" : "right") input has no column `\(name.value)`"
                                + Suggestion.phrase(for: name.value, among: inputs[side].names),
                            at: name.mark, length: name.value.unicodeScalars.count, path: "on"))
                }
            }
            guard found.count == 2 else { continue }
            let types = [0, 1].map { inputs[$0].fields[found[$0]].type }
            if types[0] != types[1] {
                findings.append(
                    Diagnostic(
                        .error, "key-type",
                        "`\(pair.left.value)` is \(types[0]) in the left input, but `\(pair.right.value)` is \(types[1]) in the right: keys must be of one type",
                        at: pair.right.mark, length: pair.right.value.unicodeScalars.count,
                        hint:
                            "convert one of them in a select in front of the join: `\(pair.right.value): cast(\(pair.right.value) as \(types[0]))`",
                        path: "on"))
            }
            for side in [0, 1] { keys[side].append(found[side]) }
        }
        return keys
    }

    private static func times(_ mode: Mode, _ streams: [Stream], _ findings: inout DiagnosticCollector) -> [Int] {
        if case .lookup = mode { return [-1, -1] }
        return [0, 1].map { side in
            guard let time = streams[side].eventTime, let position = streams[side].schema.index(of: time) else {
                if streams[side].kind == .append {
                    findings.append(
                        Diagnostic(
                            .error, "event-time",
                            "the \(side == 0 ? "left" : "right") input has no event time, which `\(mode.word)` compares",
                            hint:
                                "declare it with `event_time: { column: … }` in a json-parse or select in front, and keep the column; or join with the current row: `lookup: latest`",
                            path: "from.\(side == 0 ? "left" : "right")"))
                }
                return -1
            }
            return position
        }
    }

    private static func checkKinds(
        _ mode: Mode, _ on: JoinKeys, _ streams: [Stream], _ findings: inout DiagnosticCollector
    ) {
        func refuse(_ side: Int, _ message: String, _ hint: String) {
            findings.append(
                Diagnostic(
                    .error, "stream-kind", message, hint: hint, path: "from.\(side == 0 ? "left" : "right")"))
        }
        let kinds = streams.map { stream in
            stream.kind.key.map { "an upsert stream (by \($0.joined(separator: ", ")))" }
        }
        if let left = kinds[0], let right = kinds[1] {
            refuse(
                0, "both inputs are upsert streams: \(left) and \(right); a join of two tables is not available",
                "join a stream of facts with one of them: `lookup: latest`")
            return
        }
        guard case .lookup = mode else {
            for side in [0, 1] {
                guard let kind = kinds[side] else { continue }
                refuse(
                    side,
                    "the \(side == 0 ? "left" : "right") input is \(kind): its rows change later, and `\(mode.word)` joins rows that stay as they are",
                    side == 1
                        ? "meet its current rows with `lookup: latest`"
                        : "only the right input of `lookup: latest` may be an upsert stream")
            }
            return
        }
        if let left = kinds[0] {
            refuse(
                0, "the left input is \(left): `lookup` answers rows that stay as they are", "exchange left and right")
        }
        guard let key = streams[1].kind.key else {
            refuse(
                1, "the right input is a stream of facts: `lookup: latest` needs one row a key, an upsert stream",
                "keep the newest row of each key with `top-n` (`n: 1`) in front, or join by time: `within`")
            return
        }
        let names = on.pairs.map(\.right.value)
        if Set(names) != Set(key), names.allSatisfy({ streams[1].schema[$0] != nil }) {
            findings.append(
                Diagnostic(
                    .error, "lookup-key",
                    "the right input is keyed by \(key.joined(separator: ", ")), but `on` names \(names.joined(separator: ", ")): a lookup needs its whole key and nothing else",
                    path: "on"))
        }
    }

    private static func clash(_ name: String, _ side: Int, isOwn: Bool) -> Diagnostic {
        let word = side == 0 ? "left" : "right"
        return Diagnostic(
            .error, "duplicate-column",
            isOwn
                ? "the \(word) input has a column `\(name)`, which the join itself adds"
                : "both inputs have a column `\(name)`",
            hint:
                "tell them apart: `prefix: { \(word): \(word)_ }` puts `\(word)_` in front of the \(word) input's columns",
            path: "from.\(word)")
    }

    private static func eventTime(_ mode: Mode, _ kind: JoinKind, _ left: Stream, _ time: Int) -> Origin? {
        switch mode {
        case .window: return .windowStart
        case .within: return .column(side: 0, time)
        case .lookup:
            guard let name = left.eventTime, let position = left.schema.index(of: name) else { return nil }
            return .column(side: 0, position)
        }
    }

    // MARK: Columns that are needed

    /// By side: the positions of the columns that are needed for those that are used downstream, ascending.
    func stored(_ downstream: ColumnSet) -> [[Int]] {
        var stored = [Set(keys[0] + times.prefix(1)), Set(keys[1] + times.suffix(1))]
        for (position, origin) in origins.enumerated() where isNeeded(joined.fields[position].name, downstream) {
            switch origin {
            case .windowStart, .windowEnd: break
            case .column(let side, let column): stored[side].insert(column)
            case .either(let left, let right):
                stored[0].insert(left)
                stored[1].insert(right)
            }
        }
        return stored.map { $0.filter { $0 >= 0 }.sorted() }
    }

    /// Whether a column of the joined row is read by `where`, or by a column of the output that is used.
    func isNeeded(_ name: String, _ downstream: ColumnSet) -> Bool {
        if condition?.columnsUsed.contains(name) == true { return true }
        guard let columns else { return isUsed(name, downstream) }
        return zip(output.schema.fields, columns).contains { field, expression in
            isUsed(field.name, downstream) && expression.columnsUsed.contains(name)
        }
    }

    /// Whether a column of the output has to have its values.
    func isUsed(_ name: String, _ downstream: ColumnSet) -> Bool {
        downstream.contains(name) || name == output.eventTime
    }
}

extension JoinPlan.Mode {
    /// The key in the file.
    var word: String {
        switch self {
        case .window: "window"
        case .within: "within"
        case .lookup: "lookup"
        }
    }
}

extension JoinPlan.Origin {
    /// Whether the column holds the left column `other` wherever there is a left row.
    func isLeft(_ other: JoinPlan.Origin) -> Bool {
        guard case .either(let left, _) = self, case .column(0, let position) = other else { return false }
        return left == position
    }
}
