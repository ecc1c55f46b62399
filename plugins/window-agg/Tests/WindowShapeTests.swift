import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct WindowShapeTests {
    private static let second = Duration.seconds(1)
    private static func node(_ entries: [(String, String)]) -> ConfigNode {
        .mapping(entries.map { ($0.0, .text($0.1)) })
    }

    static let right: [([(String, String)], WindowShape)] = [
        ([("tumbling", "10s")], .tumbling(.seconds(10))),
        ([("offset", "2s"), ("tumbling", "10s")], .tumbling(.seconds(10), offset: .seconds(2))),
        ([("sliding", "60s"), ("every", "10s")], .sliding(.seconds(60), every: .seconds(10))),
        (
            [("sliding", "1m"), ("every", "25s"), ("offset", "5s")],
            .sliding(.seconds(60), every: .seconds(25), offset: .seconds(5))
        ),
        ([("sliding", "10s"), ("every", "10s")], .sliding(.seconds(10), every: .seconds(10))),
        ([("session", "30s")], .session(.seconds(30))),
        ([("count", "1000")], .count(1000)),
    ]

    @Test(arguments: right)
    func `a shape is read and written`(entries: [(String, String)], shape: WindowShape) throws {
        let read = try WindowShape(decoding: WindowShapeTests.node(entries))
        #expect(read == shape)
        #expect(try WindowShape(decoding: read.encoded) == shape)
        #expect(try WindowShape(decoding: .text("global")) == .global)
    }

    static let wrong: [([(String, String)], String)] = [
        ([], "`window` has no shape, expected `global`"),
        ([("tumbling", "10")], "expected a duration with its unit, such as `10s` or `500ms`, found `10`"),
        ([("tumbling", "0s")], "0s is too short, expected at least 1us"),
        ([("tumblng", "10s")], "unknown key `tumblng` in `window`, did you mean `tumbling`?"),
        ([("tumbling", "10s"), ("every", "5s")], "`every` has no meaning for a tumbling window"),
        ([("tumbling", "10s"), ("offst", "5s")], "unknown key `offst` in a tumbling window, did you mean `offset`?"),
        ([("tumbling", "10s"), ("session", "5s")], "`window` has two shapes, `tumbling` and `session`, expected one"),
        ([("sliding", "60s")], "a sliding window needs `every`: how often one starts"),
        (
            [("sliding", "60s"), ("every", "10")],
            "expected a duration with its unit, such as `10s` or `500ms`, found `10`"
        ),
        ([("sliding", "60s"), ("evry", "10s")], "unknown key `evry` in a sliding window, did you mean `every`?"),
        (
            [("sliding", "10s"), ("every", "1m")],
            "`every: 1m` is longer than the window, so rows between two windows would be in none, expected at most 10s"
        ),
        ([("tumbling", "1500ns")], "1us500ns is finer than time, expected whole microseconds"),
        ([("tumbling", "1s"), ("offset", "1ns")], "1ns is finer than time, expected whole microseconds"),
        ([("session", "30")], "expected a duration with its unit, such as `10s` or `500ms`, found `30`"),
        ([("session", "30s"), ("offset", "1s")], "`offset` has no meaning for a session window"),
        ([("count", "10s")], "expected an integer, found `10s`"),
        ([("count", "0")], "a window of 0 rows is no window, expected at least 1"),
    ]

    @Test(arguments: wrong)
    func `a wrong shape is refused with what was expected`(entries: [(String, String)], message: String) {
        let error = #expect(throws: ConfigError.self) {
            _ = try WindowShape(decoding: WindowShapeTests.node(entries))
        }
        let found = error?.diagnostics.first?.message ?? ""
        #expect(found.hasPrefix(message), "\(found)")
    }

    @Test func `a shape as a bare word is refused with how it is written`() {
        for (word, hint) in [
            ("tumbling", "write the size: `{ tumbling: 10s }`"), ("session", "write the gap: `{ session: 30s }`"),
            ("count", "write the number of rows: `{ count: 1000 }`"), ("globl", "did you mean `global`?"),
        ] {
            let error = #expect(throws: ConfigError.self) { _ = try WindowShape(decoding: .text(word)) }
            #expect(error?.diagnostics.first?.hint == hint)
        }
    }

    @Test func `emit is on_close or a duration`() throws {
        #expect(try Emission(decoding: .text("on_close")) == .onClose)
        #expect(try Emission(decoding: .text("500ms")) == .every(.milliseconds(500)))
        for text in ["on_clos", "1", "soon"] {
            #expect(throws: ConfigError.self) { _ = try Emission(decoding: .text(text)) }
        }
        #expect(try settings([("n", "count(*)")]).emission == .every(.seconds(1)))
        #expect(try settings([("n", "count(*)")], window: .session(.seconds(1))).emission == .onClose)
    }

    static let combinations: [(WindowShape, String?, Duration, Emission?, Duration?, String?)] = [
        (.global, "t", .zero, nil, nil, "`time` has no meaning with `window: global`"),
        (
            .global, nil, second, nil, nil,
            "`allowed_lateness` has no meaning with `window: global`, which takes every row"
        ),
        (
            .global, nil, .zero, .onClose, nil,
            "`emit: on_close` has no meaning with `window: global`, which never closes"
        ),
        (.global, nil, .zero, .every(second), second, nil),
        (
            .tumbling(second), "t", .zero, nil, second,
            "`state_ttl` has no meaning with windows: their state goes when they have closed"
        ),
        (
            .tumbling(second), nil, second, nil, nil,
            "`allowed_lateness` has no meaning over the time of processing, where no row is late"
        ),
        (.tumbling(second), "t", second, .onClose, nil, nil),
        (.tumbling(second), "t", second, .every(second), nil, nil),
        (.count(3), "t", .zero, nil, nil, "`time` has no meaning with count windows: they go by the order of arrival"),
        (
            .count(3), nil, second, nil, nil,
            "`allowed_lateness` has no meaning with count windows: no row is late for them"
        ),
        (
            .count(3), nil, .zero, .every(second), nil,
            "`emit: 1s` has no meaning with count windows: a result leaves with its window's last row"
        ),
        (.count(3), nil, .zero, .onClose, nil, nil),
    ]

    @Test(arguments: combinations)
    func `settings that have no meaning together are refused`(
        window: WindowShape, time: String?, lateness: Duration, emit: Emission?, ttl: Duration?, message: String?
    ) throws {
        var config = try settings([("n", "count(*)")], window: window, time: time, lateness: lateness, emit: emit)
        config.stateTTL = ttl
        #expect(config.validate().first?.message == message)
    }

    @Test func `windows over the time of processing behind event time are a warning`() throws {
        let schema = Schema([Field("at", .timestamp), Field("x", .int64)])
        let timed = Stream(schema, eventTime: "at")
        func messages(_ window: WindowShape, time: String? = nil, _ input: Stream) throws -> [String] {
            WindowAgg.warnings(try settings([("n", "count(*)")], window: window, time: time), inputs: [input])
                .map(\.message)
        }
        let warning =
            "these windows are over the time of processing, though the input has the event time `at`: results depend on when the pipeline runs"
        #expect(try messages(.tumbling(WindowShapeTests.second), timed) == [warning])
        #expect(try messages(.session(WindowShapeTests.second), timed) == [warning])
        #expect(try messages(.tumbling(WindowShapeTests.second), time: "at", timed) == [])
        #expect(try messages(.tumbling(WindowShapeTests.second), Stream(schema)) == [])
        #expect(try messages(.count(3), timed) == [])
    }

    @Test func `very many windows a row are a warning`() throws {
        func findings(every: Duration) throws -> [Diagnostic] {
            try settings([("n", "count(*)")], window: .sliding(.seconds(86_400), every: every), time: "at").validate()
        }
        let found = try findings(every: .seconds(7))
        #expect(found.map(\.severity) == [.warning])
        #expect(
            found.map(\.message) == [
                "each row is in 12342 windows, and each of them is merged and written on its own when it closes"
            ])
        #expect(try findings(every: .seconds(120)) == [])
    }
}
