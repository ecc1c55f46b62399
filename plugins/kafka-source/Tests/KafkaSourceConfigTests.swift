import DataflowKafka
import DataflowOperator
import DataflowTesting
import Testing

@testable import KafkaSource

private func mapping(_ entries: [(String, ConfigNode)]) -> ConfigNode { .mapping(entries) }

private func problems(_ entries: [(String, ConfigNode)]) -> [String] {
    do throws(ConfigError) {
        _ = try KafkaSourceConfig.schema.decode(mapping([("brokers", .text("a:9092"))] + entries))
        return []
    } catch { return error.diagnostics.map(\.message) }
}

@Suite struct `settings of kafka-source` {
    @Test func `name one topic or several`() {
        #expect(problems([("topic", .text("orders"))]) == [])
        #expect(problems([("topics", ConfigNode(.sequence([.text("a"), .text("^b.*")])))]) == [])
        #expect(problems([]) == ["one of `topic` or `topics` is needed"])
        #expect(problems([("topic", .text("^b.*"))]) == ["a pattern stands under `topics`"])
        #expect(
            problems([("topics", ConfigNode(.sequence([.text("a"), .text("a")])))]) == ["`topics` names `a` twice"])
        #expect(problems([("topics", ConfigNode(.sequence([.text("^a(")])))]).count == 1)
    }

    @Test func `say where to start`() throws {
        func position(_ node: ConfigNode) throws -> StartConfig.Position { try StartConfig(decoding: node).position }
        #expect(try position(.text("earliest")) == .earliest)
        #expect(try position(.text("latest")) == .latest)
        #expect(try position(mapping([("timestamp", .text("1970-01-01T00:00:01Z"))])) == .timestamp(1000))
        let offsets = mapping([("orders", mapping([("3", .text("7"))]))])
        let config = try StartConfig(decoding: mapping([("offsets", offsets)]))
        #expect(config.position == .offsets)
        #expect(config.offsets["orders"]?["3"] == 7)
    }

    @Test(arguments: [
        mapping([("timestamp", .text("yesterday"))]), mapping([("timestamp", .text("1969-12-31T00:00:00Z"))]),
        mapping([("offsets", mapping([("orders", mapping([("x", .text("7"))]))]))]),
        mapping([("offsets", mapping([("orders", mapping([("1", .text("-7"))]))]))]), mapping([]), .text("first"),
    ]) func `refuse a start that means nothing`(node: ConfigNode) {
        #expect(throws: ConfigError.self) { _ = try StartConfig(decoding: node) }
    }

    @Test func `give the positions to us alone`() {
        let properties = mapping([("auto.offset.reset", .text("latest")), ("enable.auto.commit", .text("true"))])
        #expect(
            problems([("topic", .text("a")), ("properties", properties)]) == [
                "the property `auto.offset.reset` cannot be set here: use `start` and `on_lost_offset`",
                "the property `enable.auto.commit` cannot be set here: positions are committed after a checkpoint",
            ])
    }

    @Test func `need a group where it deals out the partitions`() {
        let topic = ("topic", ConfigNode.text("a"))
        #expect(problems([topic, ("mode", .text("group"))]) == ["`mode: group` needs `group`, the name of the group"])
        #expect(
            problems([topic, ("mode", .text("group")), ("group", .text("g")), ("stop", .text("latest"))]) == [
                "`stop` cannot be with `mode: group`"
            ])
    }
}

@Suite struct `positions of kafka-source` {
    @Test func `come back from a checkpoint as they were`() throws {
        var state = SourceState()
        state.partitions = [
            PartitionPosition(partition: .init("orders", 3), next: 1 << 40, end: nil, number: 7),
            PartitionPosition(partition: .init("orders", 4), next: 0, end: 9, number: 8),
        ]
        state.nextNumber = 12
        state.cluster = "c"
        #expect(try SourceState(state.snapshot(mode: .fixed).throughCheckpoint(), mode: .fixed) == state)
        #expect(try SourceState([], mode: .fixed) == nil)
    }

    @Test func `stay with their mode`() {
        #expect(throws: OperatorError.self) { _ = try SourceState(SourceState().snapshot(mode: .group), mode: .fixed) }
    }

    @Test func `are dealt out so that each partition has one reader and none has many more`() {
        for parallelism in 1...5 {
            for topic in ["orders", "returns", "a"] {
                let owners = (0..<10).map { owner(of: .init(topic, $0), parallelism: parallelism) }
                let loads = (0..<parallelism).map { subtask in owners.count { $0 == subtask } }
                #expect(loads.reduce(0, +) == 10)
                #expect((loads.max() ?? 0) - (loads.min() ?? 0) <= 1)
            }
        }
    }

    @Test func `of new partitions get numbers that no other subtask gives`() {
        var numbers: [Int32] = []
        for subtask in 0..<3 {
            var table = SplitTable()
            table.nextNumber = 5
            for partition in 0..<4 {
                numbers.append(
                    table.add(
                        .init("t\(subtask)", Int32(partition)), next: 0, end: nil, subtask: subtask, parallelism: 3))
            }
            #expect(table.nextNumber > (numbers.max() ?? 0) - 3)
        }
        #expect(Set(numbers).count == 12)
        #expect((numbers.min() ?? 0) >= 5)
    }
}
