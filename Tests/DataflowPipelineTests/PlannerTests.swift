import DataflowConfig
import DataflowOperator
import DataflowPipeline
import Testing

/// The plan in words: tasks with their stages, then exchanges.
private func plan(_ nodes: String, parallelism: Int = 4) throws -> [String] {
    let text = "pipeline: p\nnodes:\n" + nodes.split(separator: "\n").map { "  \($0)\n" }.joined()
    let plan = try PhysicalPlan(try validate(text).graph, parallelism: parallelism)
    let tasks = plan.tasks.map { "\($0.id) \($0.name) ×\($0.parallelism)" }
    let exchanges = plan.exchanges.map { exchange in
        let isDeadLetter = plan.tasks[exchange.toTask].stages[0].nodeIndex == nil
        return isDeadLetter
            ? "" : "\(exchange.fromTask) → \(exchange.toTask).\(exchange.inputPort.index) \(exchange.distribution)"
    }
    return tasks + exchanges.filter { !$0.isEmpty }
}

@Suite struct PlannerTests {
    @Test func `stateless nodes of one parallelism share a task`() throws {
        #expect(
            try plan(
                """
                rows: { type: rows-source, on_error: drop }
                a: { type: pick, from: rows, on_error: drop }
                b: { type: pick, from: a, on_error: drop }
                c: { type: pick, from: a, on_error: drop }
                out: { type: log-sink, from: b, on_error: drop }
                """, parallelism: 1) == ["0 rows+a+b+c ×1", "1 out ×1", "0 → 1.0 forward"])
    }

    @Test func `behind a source of one subtask rows are dealt out`() throws {
        #expect(
            try plan(
                """
                rows: { type: rows-source, on_error: drop }
                a: { type: pick, from: rows, on_error: drop }
                out: { type: log-sink, from: a, on_error: drop }
                """) == ["0 rows ×1", "1 a ×4", "2 out ×4", "0 → 1.0 rebalance", "1 → 2.0 forward"])
    }

    @Test func `a keyed node reads through a hash, from each of its inputs by that input's columns`() throws {
        #expect(
            try plan(
                """
                l: { type: rows-source, on_error: drop }
                r: { type: rows-source, on_error: drop }
                j: { type: join, from: { left: l, right: r }, on_error: drop }
                out: { type: file-sink, from: j, on_error: drop }
                """) == [
                    "0 l ×1", "1 r ×1", "2 j ×4", "3 out ×1", #"0 → 2.0 hash(["a"])"#, #"1 → 2.1 hash(["b"])"#,
                    "2 → 3.0 rebalance",
                ])
    }

    @Test func `an upsert stream changes subtask by its key only`() throws {
        #expect(
            try plan(
                """
                rows: { type: rows-source, key: [b], on_error: drop }
                a: { type: pick, from: rows, on_error: drop }
                out: { type: log-sink, from: a, on_error: drop }
                """) == ["0 rows ×1", "1 a ×4", "2 out ×4", #"0 → 1.0 hash(["b"])"#, "1 → 2.0 forward"])
    }

    @Test func `the parallelism of a node splits its chain`() throws {
        #expect(
            try plan(
                """
                rows: { type: rows-source, on_error: drop }
                a: { type: pick, from: rows, parallelism: 2, on_error: drop }
                b: { type: pick, from: a, on_error: drop }
                out: { type: file-sink, from: b, on_error: drop }
                """) == [
                    "0 rows ×1", "1 a ×2", "2 b ×4", "3 out ×1", "0 → 1.0 rebalance", "1 → 2.0 rebalance",
                    "2 → 3.0 rebalance",
                ])
    }

    @Test func `a union and a port are exchanges into one input`() throws {
        #expect(
            try plan(
                """
                x: { type: rows-source, on_error: drop }
                y: { type: rows-source, on_error: drop }
                u: { type: pick, from: [x, y], on_error: drop }
                out: { type: log-sink, from: u.late, on_error: drop }
                """, parallelism: 1) == [
                    "0 x ×1", "1 y ×1", "2 u ×1", "3 out ×1", "0 → 2.0 forward", "1 → 2.0 forward", "2 → 3.0 forward",
                ])
    }

    @Test func `from a source to where event time is declared nothing is dealt out`() throws {
        #expect(
            try plan(
                """
                rows: { type: rows-source, on_error: drop }
                a: { type: pick, from: rows, on_error: drop }
                b: { type: pick, from: a, event_time: { column: a }, on_error: drop }
                c: { type: pick, from: b, on_error: drop }
                d: { type: pick, from: a, on_error: drop }
                """) == ["0 rows+a+b ×1", "1 c ×4", "2 d ×4", "0 → 1.0 rebalance", "0 → 2.0 rebalance"])
    }

    @Test func `a port of a node between source and event time leads straight on`() throws {
        #expect(
            try plan(
                """
                rows: { type: many-source, parallelism: 3, on_error: drop }
                a: { type: pick, from: rows, on_error: drop }
                b: { type: pick, from: a.late, event_time: { column: a }, on_error: drop }
                """) == ["0 rows+a ×3", "1 b ×3", "0 → 1.0 forward"])
    }

    @Test func `event time of errors is that of each subtask`() throws {
        #expect(
            try plan(
                """
                rows: { type: rows-source, on_error: drop }
                a: { type: pick, from: rows }
                b: { type: pick, from: a.errors, event_time: { column: at }, on_error: drop }
                """) == [
                    "0 rows ×1", "1 a ×4", "2 b ×4", "3 dead-letter ×1", "0 → 1.0 rebalance", "1 → 2.0 forward",
                ])
    }

    @Test func `dead letters come last and from every port that nobody reads`() throws {
        let text = """
            pipeline: p
            nodes:
              rows: { type: rows-source }
              a: { type: pick, from: rows }
              bad: { type: log-sink, from: a.errors, on_error: drop }
              out: { type: log-sink, from: a }
            """
        let plan = try PhysicalPlan(try validate(text).graph, parallelism: 1)
        let last = try #require(plan.tasks.last)
        #expect(last.name == "dead-letter")
        let routes = plan.tasks.flatMap(\.stages).flatMap { stage in
            stage.routes.compactMap { route in
                if case .deadLetter = route.target { "\(stage.name) \(route.port.index)" } else { nil }
            }
        }
        #expect(routes.sorted() == ["a 1", "out -1", "rows -1"])
    }
}
