import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct AggregateTests {
    /// One aggregate over the values of one column `v`, as one batch, as batches of one row, and over an upsert stream
    /// in which other rows have come and gone.
    private func results(_ text: String, _ type: DataType, _ values: [Value]) throws -> [Value] {
        let schema = Schema([Field("id", .int64, nullable: false), Field("v", type)])
        let config = try settings([("r", text)])
        let rows = values.enumerated().map { [.int(Int64($0)), $1] }
        var results: [Value] = []
        for size in [values.count, 1] {
            let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema))
            for start in stride(from: 0, to: rows.count, by: max(1, size)) {
                try harness.process(Array(rows[start..<min(rows.count, start + size)]), schema: schema)
                _ = try harness.checkpoint()
            }
            try harness.finish()
            results.append(harness.output.table(key: [])[[]]?.first ?? "no row")
        }
        let isOrdered = ["first", "last", "approx_count", "collect_list(v)", "collect_list(v,", "string_agg(v,"]
        guard !isOrdered.contains(where: text.hasPrefix) || text.contains("order by") else { return results }
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(schema, kind: .upsert(key: ["id"])))
        try harness.process(rows.reversed() + rows.map { [.int(100), $0[1]] }, schema: schema)
        try harness.process(rows.map { [$0[0], values.last ?? .null] }, schema: schema)
        try harness.process(RecordBatch(schema, rows: rows.map { [$0[0], .null] }, deletes: rows.map { _ in true }))
        try harness.process(rows, schema: schema)
        try harness.process(RecordBatch(schema, rows: [[100, .null]], deletes: [true]))
        try harness.finish()
        results.append(harness.output.table(key: [])[[]]?.first ?? "no row")
        return results
    }

    private static let cents = DataType.decimal(precision: 10, scale: 2)
    private static func cents(_ n: Int128) -> Value { .decimal(n, scale: 2) }

    static let table: [(String, DataType, [Value], Value)] = [
        ("count(*)", .int64, [1, .null, 2], 3),
        ("count(v)", .int64, [1, .null, 2], 2),
        ("count(distinct v)", .string, ["a", "b", "a", .null], 2),
        ("count(distinct v)", .float64, [.float(-0.0), .float(0), .float(.nan), .float(.nan)], 2),
        ("sum(v)", .int64, [.null], .null),
        ("sum(v)", .int64, [.int(.max), 1, -1], .int(.max)),
        ("sum(v)", .int64, [.int(.max), .int(.min), -1], -2),
        ("sum(v)", .int64, [.int(.max), 1], .null),
        ("avg(v)", .int64, [.int(.max), .int(.max)], .float(9_223_372_036_854_775_808)),
        ("sum(v)", .int32, [.int(2_000_000_000), .int(2_000_000_000)], 4_000_000_000),
        ("sum(v)", .float64, [1e20, 1.0, -1e20], 1.0),
        ("sum(v)", .float64, [.float(0.1), .float(0.2), .float(0.3)], .float(0.6)),
        ("sum(v)", .float64, [.float(.infinity), 1.0], .float(.infinity)),
        ("avg(v)", .float32, [1.5, 2.5, .null], 2.0),
        ("sum(v)", cents, [cents(150), .null, cents(-25)], cents(125)),
        ("avg(v)", cents, [cents(100), cents(100), cents(0)], .decimal(666_667, scale: 6)),
        ("avg(v)", cents, [cents(-100), cents(-100), cents(0)], .decimal(-666_667, scale: 6)),
        ("min(v)", .float64, [.float(.nan), 2.0, -1.0], -1.0),
        ("min(v)", .float32, [2.5, -1.5], -1.5),
        ("max(v)", .int32, [-5, .null, -7], -5),
        ("max(v)", .string, ["b", "ä", "a"], "ä"),
        ("min(v)", .bool, [true, false], false),
        ("max(v)", .date, [.date(-3), .date(-4)], .date(-3)),
        ("min(v)", .timestamp, [.timestamp(5), .timestamp(-5)], .timestamp(-5)),
        ("min(v)", cents, [cents(3), cents(-3)], cents(-3)),
        ("max(v)", .list(.int64), [[1, 2], [1], [1, .null]], [1, .null]),
        ("first(v)", .string, [.null, "b", "a"], "b"),
        ("last(v)", .string, ["b", "a", .null], "a"),
        ("any(v)", .int64, [.null, 7], 7),
        ("bool_and(v)", .bool, [true, .null], true),
        ("bool_and(v)", .bool, [true, false], false),
        ("bool_or(v)", .bool, [.null, .null], .null),
        ("bool_or(v)", .bool, [false, true], true),
        ("mode(v)", .string, ["b", "a", .null, .null, .null, "a", "b"], "a"),
        ("mode(v)", .int64, [.null], .null),
        ("min_by(v, id)", .string, [.null, "a"], .null),
        ("max_by(v, id % 2)", .string, ["x", "c", "y", "b"], "b"),
        ("min_by(v, v)", .string, ["long text that is not in the view", "short"], "long text that is not in the view"),
        ("sum(distinct v)", .int64, [3, 3, .null, 4], 7),
        ("avg(distinct v)", .float64, [1.0, 1.0, 2.0], 1.5),
        ("sum(distinct v)", cents, [cents(5), cents(5), cents(-1)], cents(4)),
        ("var_pop(distinct v)", .int32, [1, 1, 3], 1.0),
        ("sum(distinct v)", .int64, [.null], .null),
        ("var_pop(v)", .int64, [2, 4, 4, 4, 5, 5, 7, 9, .null], 4.0),
        ("stddev_pop(v)", .float64, [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 2.0),
        ("var_samp(v)", .int32, [1, 3], 2.0),
        ("variance(v)", .float32, [1.0, 3.0], 2.0),
        ("stddev(v)", cents, [cents(100), cents(300)], .float(2.0.squareRoot())),
        ("var_pop(v)", .decimal(precision: 30, scale: 2), [cents(100), cents(300)], 1.0),
        ("var_samp(v)", .int64, [7], .null),
        ("var_samp(v)", .float64, [7.5, .null], .null),
        ("stddev_pop(v)", .int64, [7], 0.0),
        ("stddev_pop(v)", .float64, [0.1], 0.0),
        ("var_pop(v)", .int64, [.null], .null),
        ("var_pop(v)", .float64, [1.0, .float(.nan)], .float(.nan)),
        ("var_pop(v)", .float64, [1.0, .float(.infinity)], .float(.nan)),
        ("var_pop(v)", .float64, [1e200, -1e200], .float(.infinity)),
        ("var_pop(v)", .int64, [.int(.max), .int(.min)], .float(0x1p126)),
        ("collect_list(v)", .int64, [3, .null, 1, 3], [3, 1, 3]),
        ("collect_list(v, 2)", .int64, [3, .null, 1, 3], [3, 1]),
        ("collect_list(v order by v)", .int64, [3, .null, 1, 3], [1, 3, 3]),
        ("collect_list(v, 2 order by v desc)", .string, ["a", "c", "b"], ["c", "b"]),
        ("collect_list(v order by id desc)", .string, ["c", .null, "a"], ["a", "c"]),
        ("collect_list(distinct v)", .string, ["b", "a", "b"], ["a", "b"]),
        ("collect_list(v order by v)", .list(.int64), [[2], [1, 2]], [[1, 2], [2]]),
        ("collect_set(v)", .float64, [.float(0), .float(-0.0), .float(.nan), 1.0], [.float(0), 1.0, .float(.nan)]),
        ("collect_set(v, 2 order by v desc)", .int64, [1, 2, 3, 3], [3, 2]),
        ("collect_set(v)", .int64, [.null], .null),
        ("string_agg(v, ', ')", .string, ["b", .null, "", "a"], "b, , a"),
        ("string_agg(v, ', ', 7)", .string, ["bb", "aaaa", "c"], "bb"),
        ("string_agg(v, '', 3)", .string, ["bb", "aaaa", "c"], "bb"),
        ("string_agg(v, '', 3)", .string, ["bbbb", "c"], ""),
        ("string_agg(v, '+' order by v desc)", .string, ["b", "c", "b"], "c+b+b"),
        ("string_agg(v, '+', 4 order by v)", .string, ["ccc", "b", "b", "c"], "b+b"),
        ("listagg(distinct v, '+')", .string, ["b", "c", "b"], "b+c"),
        ("string_agg(v, '+')", .string, [.null], .null),
        ("approx_count_distinct(v)", .string, ["b", "c", "b", .null], 2),
        ("approx_count_distinct(v)", .list(.int64), [[1], [], [1]], 2),
        ("approx_count_distinct(v)", .int64, [.null], 0),
        ("approx_quantile(v, 0.5)", .int64, [5, 1, .null, 9, 7], 5.0),
        ("approx_quantile(v, 0)", .float64, [5.5, -1.5], -1.5),
        ("approx_quantile(v, 1)", .float32, [5.5, .float(.infinity)], .float(.infinity)),
        ("approx_quantile(v, 0.75)", .float64, [1.0, .float(.nan), .float(-.infinity), 2.0], 2.0),
        ("approx_quantile(v, 1.0)", .float64, [1.0, .float(.nan)], .float(.nan)),
        ("approx_quantile(v, 0.5)", cents, [cents(150), cents(150), cents(-25)], 1.5),
        ("approx_quantile(v, 0.5)", .int32, [.null], .null),
        (
            "approx_top_k(v, 2)", .string, ["b", "c", "b", .null, "a"],
            [.structure(["b", 2]), .structure(["a", 1])]
        ),
        ("approx_top_k(v, 2)", .date, [.null], .null),
        ("count(*) filter (where v > 1)", .int64, [1, 2, .null, 3], 2),
        ("sum(v) filter (where v > 9)", .int64, [1, 2], .null),
        ("mode(v) filter (where v > 1)", .int64, [1, 1, 3, 2], 2),
    ]

    @Test(arguments: table)
    func `an aggregate follows SQL, however the rows are cut, and takes rows back`(
        text: String, type: DataType, values: [Value], expected: Value
    ) throws {
        for result in try results(text, type, values) { #expect("\(result)" == "\(expected)") }
    }

    @Test func `infinities and NaN can be taken back from a sum`() throws {
        let schema = Schema([Field("id", .int64, nullable: false), Field("v", .float64)])
        let harness = try OperatorHarness(
            WindowAgg.self, try settings([("s", "sum(v)")], emit: .every(.zero)),
            input: Stream(schema, kind: .upsert(key: ["id"])))
        func put(_ id: Int64, _ value: Double) throws -> Value? {
            try harness.process([[.int(id), .float(value)]], schema: schema)
            try harness.advanceClock(by: .seconds(1))
            return harness.output.table(key: [])[[]]?.first
        }
        #expect(try put(1, 2.5) == 2.5)
        #expect(try put(2, .infinity) == .float(.infinity))
        #expect("\(try put(3, -.infinity) ?? .null)" == "\(Value.float(.nan))")
        #expect(try put(2, 1) == .float(-.infinity))
        #expect(try put(3, 1) == 4.5)
    }

    @Test func `a sum that does not fit is null and a row on the errors port`() throws {
        let narrow = Schema([Field("g", .string), Field("v", .int64)])
        let harness = try OperatorHarness(
            WindowAgg.self, try settings(groups: ["g"], [("s", "sum(v)")]), input: Stream(narrow))
        try harness.process([["a", .int(.max)], ["a", 1], ["b", 1]], schema: narrow)
        try harness.finish()
        #expect(harness.output.table(key: ["g"]) == [["a"]: ["a", .null], ["b"]: ["b", 1]])
        #expect(harness.output.errors.map(\.code) == ["sum_out_of_range"])
        #expect(
            harness.output.errors[0].reason.hasPrefix("s, sum(v): the sum 9223372036854775808 does not fit into int64"))
        try harness.process([["a", -1]], schema: narrow)
        try harness.finish()
        #expect(harness.output.table(key: ["g"])[["a"]] == ["a", .int(.max)])
    }

    @Test func `values beyond a bound that nobody gave are reported, beyond one that was given they are not`() throws {
        let narrow = Schema([Field("g", .string), Field("v", .int64)])
        for text in ["collect_list(v)", "collect_list(v order by v)", "collect_set(v)"] {
            let harness = try OperatorHarness(
                WindowAgg.self,
                try settings(groups: ["g"], [("l", text), ("m", text.replacing("(v", with: "(v, 3"))]),
                input: Stream(narrow))
            let rows = (0..<1001).map { ["a", .int($0)] as [Value] } + (0..<1000).map { ["b", .int($0)] }
            for start in stride(from: 0, to: rows.count, by: 100) {
                try harness.process(Array(rows[start..<min(rows.count, start + 100)]), schema: narrow)
            }
            try harness.finish()
            let all = Value.list((0..<1000).map { .int($0) })
            let three: Value = [0, 1, 2]
            #expect(harness.output.table(key: ["g"]) == [["a"]: ["a", all, three], ["b"]: ["b", all, three]])
            #expect(harness.output.errors.map(\.code) == ["collection_cut_off"])
            #expect(
                harness.output.errors.first?.reason.hasPrefix("l, \(text): there are more than 1000 values") == true)
            #expect(harness.output.errors.first?.reason.hasSuffix("; the rest is left out") == true)
        }
    }

    @Test func `a row for which an expression has no value goes to errors and is counted there`() throws {
        let narrow = Schema([Field("g", .string), Field("v", .int64)])
        var config = try settings([("n", "count(*)"), ("s", "sum(10 / v)")], condition: "10 / v < 100")
        config.groupBy = GroupBy([("number", try ExpressionText("cast(g as int64)"))])
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(narrow))
        try harness.process([["1", 1], ["x", 1], ["1", 0], ["2", .null], ["1", 5]], schema: narrow)
        try harness.finish()
        #expect(harness.output.rows() == [[1, 2, 12]] || harness.output.rows() == [[1, 2, .float(12)]])
        #expect(Set(harness.output.errors.map(\.code)) == ["division_by_zero", "invalid_cast"])
        #expect(harness.accountsForEveryRow)
    }

    @Test func `sum, avg and count of the same share their state`() throws {
        let input = Stream(schema)
        let config = try settings([
            ("a", "sum(x)"), ("b", "avg(x)"), ("c", "sum(x) filter (where flag)"), ("d", "count(*)"), ("e", "SUM( x )"),
        ])
        let stage = try #require(try WindowAgg.localStage(config, inputs: [input]))
        #expect(stage.output.schema.names == ["#0.count", "#1.sum", "#1.count", "#2.sum", "#2.count"])
    }
}

@Suite struct WindowAggConfigTests {
    static let table: [(String, [(String, String)], String)] = [
        ("an aggregate that is not there", [("a", "summ(x)")], "there is no aggregate summ"),
        ("a star where none belongs", [("a", "sum(*)")], "sum(*) has no meaning: name a column"),
        (
            "too few arguments", [("a", "min_by(x)")],
            "min_by takes two arguments, the value and what orders it, found 1"
        ),
        ("too many arguments", [("a", "sum(x, k)")], "sum takes one argument, found 2"),
        ("a distinct mode", [("a", "mode(distinct x)")], "mode(distinct …) is not available"),
        ("a distinct sum of text", [("a", "sum(distinct s)")], "sum takes a number, found string"),
        ("a variance of text", [("a", "stddev(s)")], "stddev takes a number, found string"),
        ("a list of numbers as text", [("a", "string_agg(x, ',')")], "string_agg takes a string, found int64"),
        (
            "no fraction", [("a", "approx_quantile(x)")],
            "approx_quantile takes two arguments, the value and a fraction such as 0.99, found 1"
        ),
        (
            "a fraction of another column", [("a", "approx_quantile(x, f)")],
            "the fraction must be a constant from 0 to 1, found f"
        ),
        ("a percentage", [("a", "approx_quantile(x, 99)")], "the fraction must be a constant from 0 to 1, found 99"),
        ("a quantile of text", [("a", "approx_quantile(s, 0.5)")], "approx_quantile takes a number, found string"),
        (
            "no bound", [("a", "collect_list(x, 0)")],
            "the most values must be a constant from 1 to 1000000, found 0"
        ),
        (
            "a bound that is no number", [("a", "collect_set(x, '5')")],
            "the most values must be a constant from 1 to 1000000, found '5'"
        ),
        (
            "no separator", [("a", "string_agg(s)")],
            "string_agg takes the text, what to put between, and if wanted the most bytes, found 1 argument"
        ),
        (
            "a separator that varies", [("a", "string_agg(s, g)")],
            "what to put between must be a constant text, found g"
        ),
        (
            "distinct values ordered by others", [("a", "collect_set(s order by x)")],
            "distinct values can only be ordered by themselves: s"
        ),
        ("an order of a sum", [("a", "sum(x order by k)")], "sum takes no order by"),
        (
            "too few counters", [("a", "approx_top_k(s, 10, 5)")],
            "5 counters cannot tell the 10 most frequent"
        ),
        ("an order by an unknown column", [("a", "collect_list(s order by nope)")], #"unknown column "nope""#),
        ("another engine's name", [("a", "array_agg(x)")], "there is no aggregate array_agg"),
        ("a sum of text", [("a", "sum(s)")], "sum takes a number, found string"),
        ("a bool_and of numbers", [("a", "bool_and(x)")], "bool_and takes a bool, found int64"),
        ("a name twice", [("g", "count(*)")], "the output already has a column `g`"),
    ]

    @Test(arguments: table)
    func `what is wrong is found before running`(
        what: String, aggregates: [(String, String)], message: String
    ) throws {
        let config = try settings(groups: ["g"], aggregates)
        let error = #expect(throws: ConfigError.self) {
            _ = try WindowAgg.outputs(config, inputs: [Stream(schema)])
        }
        #expect(error?.diagnostics.map(\.message) == [message])
    }

    @Test func `windows over an upsert stream, first over an upsert stream and undeclared times are refused`() throws {
        func message(_ config: WindowAggConfig, _ input: Stream) -> String? {
            do throws(ConfigError) {
                _ = try WindowAgg.outputs(config, inputs: [input])
                return nil
            } catch {
                return error.diagnostics.first?.message
            }
        }
        let upserts = Stream(schema, kind: .upsert(key: ["id"]))
        let windows = try settings([("n", "count(*)")], window: .tumbling(.seconds(1)))
        #expect(
            message(windows, upserts) == "windows need a stream of facts, found an upsert stream keyed by id")
        let refusal = #expect(throws: ConfigError.self) { try WindowAgg.outputs(windows, inputs: [upserts]) }
        #expect(
            refusal?.diagnostics.first?.hint?.hasSuffix(
                "a window-agg does with `allowed_lateness`, `emit: 1s` or `window: global`") == true)
        #expect(
            message(try settings([("n", "last(x)")]), upserts)
                == "last needs a stream of facts: in an upsert stream rows are replaced and have no order")
        var forgetting = try settings(groups: ["g"], [("n", "count(*)")])
        forgetting.stateTTL = .seconds(1)
        #expect(message(forgetting, upserts)?.hasPrefix("`state_ttl` needs a stream of facts") == true)
        #expect(message(forgetting, Stream(schema)) == nil)
        #expect(
            message(try settings([("n", "string_agg(s, ',')")]), upserts)
                == "string_agg without an order needs a stream of facts: in an upsert stream rows have no order")
        #expect(
            message(try settings([("n", "approx_count_distinct(s)")]), upserts)
                == "approx_count_distinct needs a stream of facts: a sketch cannot take a value back")
        #expect(message(try settings([("n", "collect_list(s order by x)")]), upserts) == nil)
        let timed = try settings([("n", "count(*)")], window: .tumbling(.seconds(1)), time: "t")
        #expect(message(timed, Stream(schema)) == "`t` is not declared as event time")
        #expect(message(timed, Stream(schema, eventTime: "t")) == nil)
        let wrong = try settings([("n", "count(*)")], window: .tumbling(.seconds(1)), time: "x")
        #expect(message(wrong, Stream(schema, eventTime: "t")) == "`x` is of type int64, expected a timestamp")
        let start = try settings(groups: [], [("window_start", "count(*)")], window: .tumbling(.seconds(1)))
        #expect(message(start, Stream(schema)) == "the output already has a column `window_start`")
    }

    @Test func `the settings are read from their text`() throws {
        func decode(_ entries: [(String, ConfigNode)]) -> Result<WindowAggConfig, ConfigError> {
            do throws(ConfigError) {
                return .success(
                    try WindowAggConfig(
                        decoding: .mapping(entries + [("aggregates", .mapping([("n", .text("count(*)"))]))])))
            } catch {
                return .failure(error)
            }
        }
        func message(_ entries: [(String, ConfigNode)]) -> String? {
            guard case .failure(let error) = decode(entries), let message = error.diagnostics.first?.message else {
                return nil
            }
            // The key stands in front.
            return message.replacing("`window`: ", with: "").replacing("`group_by`: ", with: "")
        }
        let config = try decode([
            ("group_by", ConfigNode(.sequence([.text("country"), .text("a.b")]))),
            ("window", .mapping([("tumbling", .text("10s")), ("offset", .text("1s"))])), ("time", .text("at")),
            ("allowed_lateness", .text("5s")), ("emit", .text("on_close")),
        ]).get()
        #expect(config.groupBy.terms.map(\.name) == ["country", "b"])
        #expect(config.window == .tumbling(.seconds(10), offset: .seconds(1)) && config.emit == .onClose)
        #expect(try WindowAggConfig(decoding: config.encoded).window == config.window)
        #expect(try decode([("group_by", .text("country"))]).get().groupBy.terms.map(\.name) == ["country"])
        #expect(
            message([("window", .mapping([("tumblng", .text("1s"))]))])
                == "unknown key `tumblng` in `window`, did you mean `tumbling`?")
        #expect(message([("window", .mapping([("tumbling", .text("0s"))]))])?.contains("too short") == true)
        func hint(_ entries: [(String, ConfigNode)]) -> String? {
            guard case .failure(let error) = decode([("window", .mapping(entries))]) else { return nil }
            return error.diagnostics.first?.hint
        }
        #expect(hint([("tumbling", .text("10s")), ("offset", .text("-3s"))]) == "it must not be negative")
        #expect(hint([("hop", .text("10s"))])?.hasPrefix("expected `global`, `{ tumbling: 10s }`") == true)
        #expect(message([("time", .text("at"))])?.contains("`time` has no meaning with `window: global`") == true)
        #expect(
            message([("group_by", ConfigNode(.sequence([.text("lower(a)")])))])
                == "`lower(a)` needs a name, expected a column in the list")
        #expect(message([("window", .text("globl"))])?.hasPrefix("expected `global`") == true)
    }

    @Test func `window-agg keeps to what every operator has to`() throws {
        var random = SplitMix(state: 11)
        let batches = (0..<4).map { n in
            RecordBatch(
                schema, rows: (0..<20).map { randomRow(Int64($0 % 7), time: Int64(n * 8 + $0) * 1_000_000, &random) })
        }
        let global = try settings(groups: ["g", "k"], aggregateTexts(ordered: true), condition: "flag")
        #expect(
            try OperatorConformance.check(WindowAgg.self, global, inputs: [Stream(schema)], batches: batches) == [])
        let windows = try settings(
            groups: ["g"], aggregateTexts(ordered: true), window: .tumbling(.seconds(10)), time: "t",
            lateness: .seconds(1))
        #expect(
            try OperatorConformance.check(
                WindowAgg.self, windows, inputs: [Stream(schema, eventTime: "t")], batches: batches,
                watermarks: (0..<4).map { .time(Int64($0 * 8) * 1_000_000) }) == [])
        let upserts = try settings(groups: ["g"], aggregateTexts(ordered: false))
        #expect(
            try OperatorConformance.check(
                WindowAgg.self, upserts, inputs: [Stream(schema, kind: .upsert(key: ["id"]))], batches: batches) == [])
    }
}
