import DataflowOperator

/// What every operator has to keep to, whatever it does. Each check gives back what it found wrong; a test says
/// `#expect(findings == [])`.
///
///     @Test func `select conforms`() throws {
///         #expect(try OperatorConformance.check(Select.self, config, inputs: [stream], batches: batches) == [])
///     }
public enum OperatorConformance {
    // MARK: settings

    /// The settings survive being written and read, and an unknown key is refused.
    public static func check<C: OperatorConfig>(config: C) -> [String] {
        var findings: [String] = []
        let node = C.schema.encode(config)
        do throws(ConfigError) {
            let again = C.schema.encode(try C.schema.decode(node))
            if again.plainDescription != node.plainDescription {
                findings.append(
                    "settings change by writing and reading: \(node.plainDescription) became \(again.plainDescription)")
            }
        } catch {
            findings.append("settings cannot be read as they are written (\(node.plainDescription)): \(error)")
        }
        let entries = (node.entries ?? []).map { ($0.key, $0.value) }
        do throws(ConfigError) {
            _ = try C.schema.decode(.mapping(entries + [("no_such_key", .text("1"))]))
            findings.append("an unknown key is accepted")
        } catch {
            if !error.diagnostics.contains(where: { $0.message.contains("no_such_key") }) {
                findings.append("the finding about an unknown key does not name it: \(error)")
            }
        }
        if C.schema.fields.contains(where: { $0.summary.isEmpty }) { findings.append("a setting has no summary") }
        return findings
    }

    // MARK: transforms

    /// Opens, empty batch, nulls, counting of rows, and state: for every place between batches, a run that is checkpointed
    /// there and restored gives what a run gives that is only checkpointed; also where the state is read while rows come in, and
    /// where it is put on disk, if the operator can do that.
    ///
    /// - Parameters:
    ///   - inputs: the input streams, by port.
    ///   - batches: rows that bring the operator into an interesting state; two batches or more.
    ///   - ports: where the batch of the same number goes; the first port where there is none.
    ///   - watermarks: sent behind the batch of the same number, where event time flows.
    ///   - checksConfig: false where the settings hold live objects that cannot be written.
    public static func check<T: Transform>(
        _ type: T.Type, _ config: T.Config, inputs: [Stream], batches: [RecordBatch], ports: [InputPort] = [],
        watermarks: [Watermark?] = [], checksConfig: Bool = true
    ) throws -> [String] {
        var findings = checksConfig ? check(config: config) : []
        let name = T.info.name
        let steps = batches.indices.map { index in
            Step(
                batch: batches[index], port: index < ports.count ? ports[index] : .main,
                watermark: index < watermarks.count ? watermarks[index] : nil)
        }

        // No rows at all, and batches without rows.
        let idle = try OperatorHarness(type, config, inputs: inputs)
        _ = try idle.checkpoint()
        for (port, input) in inputs.enumerated() {
            try idle.process(.empty(input.schema), from: InputPort(index: port))
        }
        try idle.finish()
        if idle.context.counters.total != 0 { findings.append("\(name) counts rows where there are none") }

        // Columns of nulls.
        for (port, input) in inputs.enumerated() {
            let nulls = RecordBatch(input.schema, input.schema.fields.map { Self.column($0, rows: 3) }, rowCount: 3)
            let harness = try OperatorHarness(type, config, inputs: inputs)
            try harness.process(nulls, from: InputPort(index: port))
            _ = try harness.checkpoint()
            try harness.finish()
            if !harness.accountsForEveryRow {
                findings.append("\(name) counted \(harness.context.counters.total) of 3 rows of nulls")
            }
        }

        findings += try IncrementalTable.$limits.withValue(.init(whole: 0, part: 1)) {
            try checkParts(type, config, inputs: inputs, steps: steps)
        }
        findings += try checkSpilling(type, config, inputs: inputs, steps: steps)
        for place in 0...batches.count {
            let straight = try OperatorHarness(type, config, inputs: inputs)
            let first = try OperatorHarness(type, config, inputs: inputs)
            try feed(straight, steps[0..<place])
            try feed(first, steps[0..<place])
            _ = try straight.checkpoint()
            let second = try OperatorHarness(type, config, inputs: inputs, restoring: try first.checkpoint())
            try feed(straight, steps[place..<batches.count])
            try feed(second, steps[place..<batches.count])
            try straight.finish()
            try second.finish()
            if !straight.accountsForEveryRow {
                findings.append("\(name) counted \(straight.context.counters.total) of \(straight.rowsIn) rows")
            }
            var restored = first.output
            restored.append(second.output.elements)
            let streams = straight.outputs.enumerated().map { (OutputPort(index: $0), $1) }
            for (port, stream) in streams + [(.errors, Stream(ErrorRows.schema))] {
                if !isSame(straight.output, restored, port, stream) {
                    findings.append(
                        "\(name) restored behind batch \(place) gives other rows on port \(port.index): \(restored.rows(port)), straight through \(straight.output.rows(port))"
                    )
                }
            }
        }
        return findings
    }

    struct Step {
        var batch: RecordBatch
        var port: InputPort
        var watermark: Watermark?
    }

    /// A checkpoint behind every batch, each read while the next batch comes in: a snapshot holds the state of its barrier.
    private static func checkParts<T: Transform>(
        _ type: T.Type, _ config: T.Config, inputs: [Stream], steps: [Step]
    ) throws -> [String] {
        var findings: [String] = []
        let straight = try OperatorHarness(type, config, inputs: inputs)
        for index in steps.indices {
            try feed(straight, steps[index...index])
            _ = try straight.checkpoint()
        }
        try straight.finish()
        for place in steps.indices {
            let first = try OperatorHarness(type, config, inputs: inputs)
            for index in 0..<place {
                try feed(first, steps[index...index])
                try first.beginCheckpoint()
                if index + 1 < place { _ = try first.finishCheckpoint() }
            }
            if place == 0 { try first.beginCheckpoint() }
            var restored = first.output
            try first.continueCheckpoint()
            try feed(first, steps[place...place])
            if place == steps.count - 1 { try first.finish() }
            let second = try OperatorHarness(type, config, inputs: inputs, restoring: try first.finishCheckpoint())
            for index in place..<steps.count {
                try feed(second, steps[index...index])
                _ = try second.checkpoint()
            }
            try second.finish()
            restored.append(second.output.elements)
            let streams = straight.outputs.enumerated().map { (OutputPort(index: $0), $1) }
            for (port, stream) in streams + [(.errors, Stream(ErrorRows.schema))]
            where !isSame(straight.output, restored, port, stream) {
                findings.append(
                    "\(T.info.name) restored from a snapshot that was read while batch \(place) came in gives other rows on port \(port.index): \(restored.rows(port)), straight through \(straight.output.rows(port))"
                )
            }
        }
        return findings
    }

    static func feed<T: Transform>(_ harness: OperatorHarness<T>, _ steps: ArraySlice<Step>) throws {
        for step in steps {
            try harness.process(step.batch, from: step.port)
            if let watermark = step.watermark { try harness.advance(to: watermark) }
        }
    }

    /// An upsert stream is what is left of it; of an append stream all rows count, in any order. Times of errors vary.
    static func isSame(_ left: Emitted, _ right: Emitted, _ port: OutputPort, _ stream: Stream) -> Bool {
        if let key = stream.kind.key { return left.table(key: key, port) == right.table(key: key, port) }
        let width = port == .errors ? 4 : Int.max
        return bag(left.rows(port).map { Array($0.prefix(width)) })
            == bag(right.rows(port).map { Array($0.prefix(width)) })
    }

    private static func bag(_ rows: [[Value]]) -> [[Value]: Int] { rows.reduce(into: [:]) { $0[$1, default: 0] += 1 } }

    /// Nulls, or zeros and empty texts where the column takes no null.
    private static func column(_ field: Field, rows: Int) -> Column {
        if field.nullable { return .nulls(field.type, count: rows) }
        return .nulls(field.type, count: rows).withValidity(nil)
    }

    // MARK: sources

    /// Settings; reading on from a checkpoint behind every poll gives the rows that were not read yet,
    /// in any order of the splits.
    ///
    /// - Parameter makeConfig: the settings of a fresh source over the same, bounded input.
    public static func check<S: Source>(
        _ type: S.Type, checksConfig: Bool = true, stateDirectory: String = "/nonexistent",
        _ makeConfig: () throws -> S.Config
    ) async throws -> [String] {
        var findings = checksConfig ? check(config: try makeConfig()) : []
        let straight = try await SourceHarness(type, makeConfig(), stateDirectory: stateDirectory)
        try await straight.readAll()
        await straight.close()
        guard straight.hasEnded else { return findings + ["\(S.info.name) did not come to its end"] }
        let all = straight.output.rows()
        var polls = 0
        while true {
            let first = try await SourceHarness(type, makeConfig(), stateDirectory: stateDirectory)
            for _ in 0..<polls where !first.hasEnded { try await first.poll() }
            let state = try first.checkpoint()
            let hadEnded = first.hasEnded
            await first.close()
            let second = try await SourceHarness(type, makeConfig(), restoring: state, stateDirectory: stateDirectory)
            try await second.readAll()
            await second.close()
            let both = first.output.rows() + second.output.rows()
            if bag(both) != bag(all) {
                findings.append(
                    "\(S.info.name) restored behind poll \(polls) gives \(both.count) rows that are not the \(all.count) of a straight run"
                )
            }
            if hadEnded || polls > 100 { return findings }
            polls += 1
        }
    }

    // MARK: sinks

    /// Settings; opening, an empty epoch, a batch without rows and closing throw nothing.
    public static func check<S: Sink>(
        _ type: S.Type, _ config: S.Config, input: Stream, stateDirectory: String = "/nonexistent",
        checksConfig: Bool = true
    ) async throws -> [String] {
        var findings = checksConfig ? check(config: config) : []
        let harness = try await SinkHarness(type, config, input: input, stateDirectory: stateDirectory)
        try await harness.checkpoint()
        try await harness.write(.empty(input.schema))
        try await harness.idle()
        let checkpoint = try await harness.prepare()
        try await harness.commit(checkpoint)
        try await harness.commit(checkpoint)
        await harness.close()
        if !harness.output.batches(.errors).isEmpty { findings.append("\(S.info.name) reports errors without rows") }
        return findings
    }
}
