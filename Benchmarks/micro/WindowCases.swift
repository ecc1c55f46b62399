import DataflowColumnar
import DataflowConfig
import DataflowExpression
import DataflowOperator
import WindowAgg

/// `window-agg`, both stages, as w2 and w3 use it.
enum WindowCases {
    static var all: [() throws -> MicroCase] {
        [
            {
                try make(
                    "windows, 10 s by 200 countries", .tumbling(.seconds(10)), by: "country",
                    [("n", "count(*)"), ("s", "sum(price)"), ("lo", "min(price)"), ("hi", "max(price)")])
            },
            {
                try make(
                    "window slices, 60 s every 10 s by 10,000 items", .sliding(.seconds(60), every: .seconds(10)),
                    by: "item",
                    [("n", "count(*)"), ("mean", "avg(price)")])
            },
        ]
    }

    /// One call: ten seconds of events, as four batches, and the windows that close. Every ten seconds have the same
    /// events, so every window has the same groups once the stream has run for a minute.
    private final class Run {
        let local: any Transform
        let node: WindowAgg
        let batches: [RecordBatch]
        var second: Int64 = 1_735_689_600

        init(_ config: WindowAggConfig) throws {
            let batches = (0..<4).map { Events.batch(from: $0 * Events.rowCount) }
            self.batches = batches
            let input = Stream(Events.schema, eventTime: "event_time")
            guard let stage = try WindowAgg.localStage(config, inputs: [input]) else {
                throw WrongAnswer(description: "window-agg has no local stage")
            }
            local = try stage.make(context([input], [stage.output]))
            node = try WindowAgg(
                config, context([stage.output], WindowAgg.outputs(config, inputs: [input])))
            try node.open(restoring: [])
        }

        /// - Returns: the rows of the windows that closed.
        func tenSeconds() throws -> Int {
            let count = Events.rowCount
            var closed = 0
            var partials = OutputBuffer()
            var results = OutputBuffer()
            for (number, batch) in batches.enumerated() {
                let times = Values<Int64>(count: count) { target in
                    let first = second * 1_000_000 + Int64(number) * 2_500_000
                    for i in 0..<count { target[i] = first + Int64(i) * 300 }
                }
                let columns = [Column(.timestamp, .int64(times))] + batch.columns.dropFirst()
                _ = try local.process(RecordBatch(batch.schema, columns), from: .main, into: &partials)
            }
            second += 10
            _ = try local.advance(to: .time(second * 1_000_000 - 1), into: &partials)
            for element in partials.drain() {
                switch element {
                case .batch(let batch, _): _ = try node.process(batch, from: .main, into: &results)
                case .watermark(let watermark):
                    var progress = try node.advance(to: watermark, into: &results)
                    closed += rows(&results)
                    while progress == .more {
                        progress = try node.resume(into: &results)
                        closed += rows(&results)
                    }
                case .split: break
                }
            }
            return closed + rows(&results)
        }

        private func rows(_ buffer: inout OutputBuffer) -> Int {
            buffer.drain().reduce(0) { sum, element in
                if case .batch(let batch, .main) = element { sum + batch.rowCount } else { sum }
            }
        }
    }

    private static func make(
        _ name: String, _ window: WindowShape, by key: String, _ aggregates: [(String, String)]
    ) throws -> MicroCase {
        var config = WindowAggConfig()
        config.groupBy = GroupBy([(key, try ExpressionText(key))])
        config.aggregates = ConfigMap(try aggregates.map { .init($0.0, try AggregateText($0.1)) })
        config.window = window
        config.time = Located("event_time")
        let run = try Run(config)
        let index = Events.schema.index(of: key) ?? 0
        let table = GroupTable([.string])
        for batch in run.batches { _ = table.findOrInsert([batch.columns[index]], count: batch.rowCount) }
        return MicroCase(
            name: name, unit: "row", units: Events.rowCount * 4, body: { try run.tenSeconds() }, expected: table.count,
            warmUp: 12)
    }
}
