import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import DataflowTesting
import Synchronization
import Testing

@testable import KafkaSink

/// What messages are made of, as a reader of the topic sees it.
@Suite(.enabled(if: KafkaTestBroker.isThere), .serialized)
struct MessageTests {
    static let schema = Schema([
        Field("id", .int64), Field("name", .string), Field("at", .timestamp), Field("raw", .bytes),
    ])

    static let rows = RecordBatch(
        schema,
        rows: [
            [.int(1), .string("a"), .timestamp(1_735_689_600_123_456), .bytes([120, 0, 121])],
            [.null, .null, .null, .null],
            [.int(3), .string(""), .timestamp(1_735_689_600_124_000), .bytes([])],
        ])

    private func written(
        _ input: DataflowOperator.Stream = Stream(schema), _ batch: RecordBatch = rows,
        _ change: (inout KafkaSinkConfig) throws -> Void
    ) async throws -> (messages: [KafkaMessage], errors: [(code: String, reason: String, raw: String)]) {
        let place = try Workplace()
        let driver = try await SinkHarness(
            KafkaSink.self, place.config(change), input: input, stateDirectory: place.folder)
        try await driver.write(batch)
        try await driver.checkpoint(1)
        await driver.close()
        #expect(driver.context.counters.total == batch.rowCount)
        return (try place.messages(), driver.take().errors)
    }

    @Test func `without settings a message is a JSON object of all columns and has no key`() async throws {
        let (messages, errors) = try await written { _ in }
        #expect(errors.isEmpty)
        #expect(
            messages.map(\.value) == [
                #"{"id":1,"name":"a","at":"2025-01-01T00:00:00.123456Z","raw":"x\u0000y"}"#,
                #"{"id":null,"name":null,"at":null,"raw":null}"#,
                #"{"id":3,"name":"","at":"2025-01-01T00:00:00.124000Z","raw":""}"#,
            ])
        #expect(messages.map(\.key) == [nil, nil, nil])
        #expect(messages.allSatisfy { $0.headers.isEmpty })
    }

    @Test func `columns, key, headers and time can be chosen; null is no key, no header and the present`() async throws
    {
        let (messages, errors) = try await written {
            $0.value = .columns(["name", "id"])
            $0.key = try ExpressionText("id * 10")
            $0.headers = ConfigMap([
                .init("who", try ExpressionText("name")), .init("what", try ExpressionText("'row'")),
            ])
            $0.timestamp = try ExpressionText("at")
        }
        #expect(errors.isEmpty)
        #expect(
            messages.map(\.value) == [
                #"{"name":"a","id":1}"#, #"{"name":null,"id":null}"#, #"{"name":"","id":3}"#,
            ])
        #expect(messages.map(\.key) == ["10", nil, "30"])
        #expect(
            messages.map(\.headers) == [["who": "a", "what": "row"], ["what": "row"], ["who": "", "what": "row"]])
        #expect([0, 2].map { messages[$0].timestamp } == [1_735_689_600_123, 1_735_689_600_124])
        #expect(messages[1].timestamp > 1_760_000_000_000)
    }

    @Test func `one column is taken as it is, null is a tombstone`() async throws {
        let (messages, _) = try await written {
            $0.value = .column("raw")
            $0.key = try ExpressionText("name")
        }
        #expect(messages.map(\.value) == ["x\u{0}y", nil, ""])
        #expect(messages.map(\.key) == ["a", nil, ""])
    }

    @Test func `a row without a value for its key or time goes to errors`() async throws {
        let batch = RecordBatch(
            Self.schema,
            rows: [
                [.int(0), .string("a"), .timestamp(1_735_689_600_000_000), .null],
                [.int(2), .string("b"), .timestamp(-5), .null],
                [.int(2), .string("c"), .null, .null],
            ])
        let (messages, errors) = try await written(Stream(Self.schema), batch) {
            $0.key = try ExpressionText("10 / id")
            $0.timestamp = try ExpressionText("at")
            $0.value = .columns(["name"])
        }
        #expect(messages.map(\.value) == [#"{"name":"c"}"#])
        #expect(errors.map(\.code) == ["division_by_zero", "invalid_argument"])
        #expect(errors.last?.reason.contains("1970") == true)
        #expect(errors.last?.raw.contains(#""name":"b""#) == true)
    }

    @Test func `an upsert stream has its key as JSON, and a row that deletes it is a tombstone`() async throws {
        let schema = Schema([Field("k", .string), Field("n", .int64)])
        let batch = RecordBatch(
            schema, rows: [[.string("a"), .int(1)], [.string("a"), .null], [.null, .int(2)]],
            deletes: [false, true, false])
        let input = DataflowOperator.Stream(schema, kind: .upsert(key: ["k"]), deletes: true)
        let (messages, errors) = try await written(input, batch) { _ in }
        #expect(messages.map(\.key) == [#"{"k":"a"}"#, #"{"k":"a"}"#, #"{"k":null}"#])
        #expect(messages.map(\.value) == [#"{"k":"a","n":1}"#, nil, #"{"k":null,"n":2}"#])
        #expect(errors.isEmpty)

        let (plain, refused) = try await written(input, batch) {
            $0.key = try ExpressionText("k")
            $0.headers = ConfigMap([.init("n", try ExpressionText("100 / n"))])
        }
        #expect(plain.map(\.key) == ["a", "a"])
        #expect(plain.map(\.value) == [#"{"k":"a","n":1}"#, nil])
        #expect(refused.map(\.code) == ["missing_value"])
    }

    @Test(arguments: KafkaSinkConfig.Compression.allCases)
    func `every compression can be read`(_ compression: KafkaSinkConfig.Compression) async throws {
        let schema = Schema([Field("n", .int64)])
        let batch = RecordBatch(schema, [.int64((0..<2000).map { $0 })])
        let (messages, _) = try await written(Stream(schema), batch) { $0.compression = compression }
        #expect(messages.map(\.value) == (0..<2000).map { #"{"n":\#($0)}"# })
    }

    @Test func `equal keys stand in one partition, in order, as Java's clients put them`() async throws {
        let place = try Workplace(partitions: 4)
        let schema = Schema([Field("k", .string), Field("n", .int64)])
        let batch = RecordBatch(schema, rows: (0..<400).map { [.string("key-\($0 % 10)"), .int(Int64($0))] })
        let driver = try await SinkHarness(
            KafkaSink.self,
            place.config {
                $0.key = try ExpressionText("k")
                $0.value = .columns(["n"])
            }, input: Stream(schema), stateDirectory: place.folder)
        try await driver.write(batch)
        try await driver.checkpoint(1)
        let messages = try place.messages()
        #expect(messages.count == 400)
        let byKey = Dictionary(grouping: messages) { $0.key ?? "" }
        for (key, messages) in byKey {
            #expect(Set(messages.map(\.partition)).count == 1)
            let numbers = messages.compactMap { $0.value.flatMap { Int($0.filter(\.isNumber)) } }
            #expect(numbers == numbers.sorted() && numbers.count == 40, "\(key)")
        }
        // org.apache.kafka.common.utils.Utils.murmur2("key-0"…), toPositive, modulo 4: computed by Java's definition.
        for (key, partition) in Self.javaPartitions { #expect(byKey[key]?.first?.partition == partition, "\(key)") }
        await driver.close()
    }

    /// `toPositive(murmur2(key)) % 4`, by the definition in Java's client, written out here a second time.
    private static var javaPartitions: [String: Int32] {
        func murmur2(_ data: [UInt8]) -> UInt32 {
            let m: UInt32 = 0x5bd1_e995
            var h: UInt32 = 0x9747_b28c ^ UInt32(data.count)
            for start in stride(from: 0, to: data.count / 4 * 4, by: 4) {
                var k = (0..<4).reduce(UInt32(0)) { $0 | UInt32(data[start + $1]) << UInt32(8 * $1) }
                k = k &* m
                k ^= k >> 24
                h = (h &* m) ^ (k &* m)
            }
            let rest = data.count / 4 * 4
            if data.count % 4 > 2 { h ^= UInt32(data[rest + 2]) << 16 }
            if data.count % 4 > 1 { h ^= UInt32(data[rest + 1]) << 8 }
            if data.count % 4 > 0 { h = (h ^ UInt32(data[rest])) &* m }
            h ^= h >> 13
            h = h &* m
            return h ^ h >> 15
        }
        return Dictionary(
            uniqueKeysWithValues: (0..<10).map {
                ("key-\($0)", Int32((murmur2(Array("key-\($0)".utf8)) & 0x7fff_ffff) % 4))
            })
    }

    // MARK: Sizes

    private static let text = Schema([Field("t", .string)])

    @Test func `a message above the topic's limit goes to errors with size and limit, one at the limit is written`()
        async throws
    {
        // The batch of one message takes 61 bytes, the record around a value of a megabyte 11.
        let fits = 1_048_588 - 61 - 11
        for exactlyOnce in [true, false] {
            let place = try Workplace()
            let driver = try await SinkHarness(
                KafkaSink.self, place.config { $0.value = .column("t") }, input: Stream(Self.text),
                stateDirectory: place.folder, exactlyOnce: exactlyOnce)
            let texts = [10, fits, fits + 1, 20, 3_000_000].map { String(repeating: "x", count: $0) }
            try await driver.write(RecordBatch(Self.text, [.string(texts)]))
            try await driver.checkpoint(1)
            #expect(try place.values().map { $0?.count } == [10, fits, 20])
            let errors = driver.take().errors
            #expect(errors.map(\.code) == ["message_too_large", "message_too_large"])
            #expect(errors.map(\.raw.count) == [fits + 1, 3_000_000])
            #expect(
                errors.first?.reason
                    == "the message takes 1048589 bytes; the limit is 1048588 (`max_message`, or the topic's `max.message.bytes`)"
            )
            #expect(driver.context.counters.passed.load(ordering: .relaxed) == 3)
            #expect(driver.context.counters.errors.load(ordering: .relaxed) == 2)
            await driver.close()
        }
    }

    @Test(arguments: [true, false])
    func `messages that only the brokers refuse are found among the others, and the others are written once`(
        exactlyOnce: Bool
    ) async throws {
        let place = try Workplace()
        let driver = try await SinkHarness(
            KafkaSink.self,
            place.config {
                $0.value = .column("t")
                $0.maxMessage = .mebibytes(8)
            }, input: Stream(Self.text), stateDirectory: place.folder, exactlyOnce: exactlyOnce)
        func texts(_ name: String, _ sizes: [Int]) -> RecordBatch {
            RecordBatch(
                Self.text,
                [.string(sizes.enumerated().map { "\(name)\($0)" + String(repeating: "x", count: $1) })])
        }
        try await driver.write(texts("a", [10, 20, 2_000_000, 30, 1_500_000, 40]))
        try await driver.write(texts("b", [10, 3_000_000, 20]))
        try await driver.checkpoint(1)
        try await driver.write(texts("c", [10, 1_400_000, 1_600_000]))
        try await driver.checkpoint(2)
        await driver.close()
        // At least once, too: what was on its way when a message was refused is waited for, not sent again.
        let expected = ["a0", "a1", "a3", "a5", "b0", "b2", "c0"]
        let found = try place.values().compactMap { $0.map { String($0.prefix(2)) } }
        #expect(found == expected, "\(found)")
        let errors = driver.take().errors
        #expect(errors.map { String($0.raw.prefix(2)) }.sorted() == ["a2", "a4", "b1", "c1", "c2"])
        #expect(errors.allSatisfy { $0.code == "message_too_large" })
        #expect(errors.first?.reason.contains("bytes, which the brokers refuse") == true)
        #expect(driver.context.counters.total == 12)
        #expect(driver.context.counters.errors.load(ordering: .relaxed) == 5)
    }
}
