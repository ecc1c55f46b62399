import DataflowBuiltins
import DataflowConfig
import DataflowOperator
import DataflowPipeline
import Testing

private func validate(_ nodes: String) throws -> PipelineDefinition {
    let text = """
        pipeline: p
        nodes:
          src: { type: file-source, path: in.ndjson, format: ndjson }
          rows: { type: json-parse, from: src, columns: { id: int64, price: float64, country: string } }

        """
    let file = try PipelineFile(text: text + nodes, path: "p.yaml")
    return try PipelineDefinition(
        file, registry: OperatorRegistry(BuiltinPlugins.all), environment: EnvironmentVariables([:]))
}

/// Ports that the settings of a node name, and inputs that stay apart.
@Suite struct PortTests {
    @Test func `a route is a port, and one that nothing reads goes to the dead letters with a warning`() throws {
        let definition = try validate(
            """
              routed: { type: split, from: rows, routes: { big: price > 100, eu: country = 'DE' } }
              big: { type: stdout-sink, from: routed.big }
              rest: { type: stdout-sink, from: routed }
            """)
        #expect(definition.warnings.map(\.message) == ["nothing reads `routed.eu`: its rows go to the dead letters"])
        let graph = definition.graph
        let routed = try #require(graph.nodes.first { $0.name == "routed" })
        #expect(routed.ports.map(\.name) == ["big", "eu"])
        #expect(routed.outputs.count == 3)
        let sink = try #require(graph.nodes.first { $0.name == "big" })
        #expect(sink.inputs[0].map(\.port) == [OutputPort(index: 1)])
        #expect(routed.name(of: OutputPort(index: 2)) == "eu")
        let plan = try PhysicalPlan(graph, parallelism: 2)
        let stage = try #require(plan.tasks.flatMap(\.stages).first { $0.node.name == "routed" })
        func isDeadLetter(_ route: PhysicalPlan.Stage.Route) -> Bool {
            if case .deadLetter = route.target { true } else { false }
        }
        #expect(Set(stage.routes.filter(isDeadLetter).map(\.port)) == [.errors, OutputPort(index: 2)])
    }

    @Test func `a route that is dropped says so`() throws {
        let definition = try validate(
            """
              routed: { type: split, from: rows, on_error: drop, routes: { big: price > 100 } }
              rest: { type: stdout-sink, from: routed }
            """)
        #expect(definition.warnings.map(\.message) == ["nothing reads `routed.big`: its rows are counted and dropped"])
    }

    @Test func `the columns of all ports are read, and no others`() throws {
        let definition = try validate(
            """
              routed: { type: split, from: rows, on_error: drop, routes: { big: price > 100 } }
              ids: { type: select, from: routed.big, keep: [id] }
              big: { type: stdout-sink, from: ids }
              prices: { type: select, from: routed, keep: [price] }
              rest: { type: stdout-sink, from: prices }
            """)
        let rows = try #require(definition.graph.nodes.first { $0.name == "rows" })
        #expect(rows.usedColumns == .some(["id", "price"]))
    }

    @Test func `what is read of the main output alone is known apart`() throws {
        let definition = try validate(
            """
              timed: { type: select, from: rows, columns: { id: id, price: price, at: now() }, event_time: { column: at } }
              joined:
                type: join
                from: { left: timed, right: timed }
                on: [id]
                prefix: { right: other_ }
                within: { before: 1m }
              ids: { type: select, from: joined, keep: [id] }
              out: { type: stdout-sink, from: ids }
            """)
        let joined = try #require(definition.graph.nodes.first { $0.name == "joined" })
        // Late rows go to the dead letters, whole; rows that are held for pairs need not be.
        #expect(joined.usedColumns == .all)
        #expect(joined.mainColumns == .some(["id", "at"]))
        let drops = try validate(
            """
              timed: { type: select, from: rows, columns: { id: id, price: price, at: now() }, event_time: { column: at } }
              joined:
                type: join
                from: { left: timed, right: timed }
                on: [id]
                prefix: { right: other_ }
                within: { before: 1m }
                on_error: drop
              ids: { type: select, from: joined, keep: [id] }
              out: { type: stdout-sink, from: ids }
              late: { type: select, from: joined.late_right, keep: [price] }
              late_out: { type: stdout-sink, from: late }
            """)
        let timed = try #require(drops.graph.nodes.first { $0.name == "timed" })
        #expect(timed.mainColumns == .some(["id", "price", "at"]))
    }

    @Test func `duplicates are dropped unless somebody reads them`() throws {
        let definition = try validate(
            """
              one: { type: dedupe, from: rows, key: id }
              ids: { type: select, from: one, keep: [id] }
              out: { type: stdout-sink, from: ids }
            """)
        #expect(definition.warnings.map(\.code) == ["unbounded-state"])
        let one = try #require(definition.graph.nodes.first { $0.name == "one" })
        #expect(one.deadLetterPorts == [.errors])
        let rows = try #require(definition.graph.nodes.first { $0.name == "rows" })
        #expect(rows.usedColumns == .some(["id"]))
    }

    @Test func `a union reads each node of its list by an input of its own, and a list elsewhere is one input`() throws
    {
        let definition = try validate(
            """
              few: { type: select, from: rows, keep: [price, id] }
              all: { type: union, from: [rows, few], missing: null, source: origin }
              ids: { type: select, from: all, keep: [id, origin] }
              out: { type: stdout-sink, from: ids }
            """)
        let all = try #require(definition.graph.nodes.first { $0.name == "all" })
        #expect(all.inputs.count == 2)
        #expect(all.inputStreams.map(\.name) == ["rows", "few"])
        #expect(all.outputs[0].schema.names == ["id", "price", "country", "origin"])
        let plan = try PhysicalPlan(definition.graph, parallelism: 2)
        let task = try #require(plan.tasks.first { $0.stages[0].node.name == "all" })
        #expect(task.inputs.map { plan.exchanges[$0].inputPort.index } == [0, 1])
    }

    @Test func `what only the streams tell is a warning at its setting`() throws {
        let definition = try validate(
            """
              timed: { type: select, from: rows, columns: { id: id, at: now() }, event_time: { column: at } }
              counts:
                type: window-agg
                from: timed
                group_by: [id]
                window: { tumbling: 10s }
                aggregates: { n: count(*) }
              out: { type: stdout-sink, from: counts }
            """)
        #expect(definition.warnings.map(\.code) == ["processing-time"])
        #expect(definition.warnings.map(\.path) == ["nodes.counts.window"])
        #expect(definition.warnings.map(\.mark.line) == [10])
    }
}
