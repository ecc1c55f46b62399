import DataflowEndToEnd
import DataflowKafkaTesting
import Foundation
import Glibc
import Testing

/// The program in front of brokers as users have them: behind TLS, with large messages, with a topic for dead letters.
@Suite(.serialized, .enabled(if: KafkaTestBroker.isThere, "needs the brokers of scripts/kafka.sh"))
struct KafkaEndToEndTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func write(_ name: String, _ text: String) throws {
        try text.write(toFile: "\(folder.path)/\(name)", atomically: true, encoding: .utf8)
    }

    /// A run of these nodes.
    private func run(_ name: String, _ nodes: String, _ arguments: String...) throws -> ChildProcess {
        let indented = nodes.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n")
        try write(
            "\(name).yaml",
            """
            pipeline: \(name)
            checkpoint: { interval: 200ms, directory: \(folder.path)/\(name) }
            restart: { attempts: 0 }
            nodes:
            \(indented)

            """)
        return try ChildProcess(
            Repository.program("dataflow"), ["run", "\(folder.path)/\(name).yaml", "--parallelism", "1"] + arguments)
    }

    private func lines(of folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: self.folder.path + "/" + folder)
            .filter { $0.hasPrefix("part-") }.sorted().flatMap { name in
                self.folder.text("\(folder)/\(name)").split(separator: "\n").map(String.init)
            }
    }

    // MARK: Large messages

    @Test(arguments: ["exactly_once"] + (Repository.isSoak ? ["at_least_once"] : []))
    func `messages of 3 MB go out and come in`(delivery: String) throws {
        let server = try KafkaServer("mesh")
        try KafkaTestAdmin(server.address).createTopic("pages", partitions: 1)
        let pages = (0..<4).map { page in
            let size = page % 2 == 0 ? 3_000_000 : 100
            return "page \(page) " + String(repeating: "0123456789", count: size / 10)
        }
        try write("pages.txt", pages.joined(separator: "\n") + "\n")
        try run(
            "out",
            """
            pages: { type: file-source, path: \(folder.path)/pages.txt, format: text }
            topic:
              type: kafka-sink
              from: pages
              brokers: "\(server.address)"
              topic: pages
              value: value
              max_message: 4MiB
              delivery: \(delivery)
            """
        ).succeed(within: .seconds(60))
        #expect(try kcat("pages", at: server.address) == pages)
        try run(
            "in",
            """
            messages: { type: kafka-source, brokers: "\(server.address)", topic: pages }
            texts: { type: select, from: messages, columns: { page: cast(value as string) } }
            out: { type: file-sink, from: texts, path: \(folder.path)/pages }
            """, "--limit", "4"
        ).succeed(within: .seconds(60))
        #expect(try lines(of: "pages") == pages.map { #"{"page":"\#($0)"}"# })
    }

    // MARK: TLS and SASL

    private static let plain = "sasl.mechanisms: PLAIN, sasl.username: ingest, sasl.password: pass-4711"

    /// Certificates for `localhost`, signed by an authority of their own, in a folder.
    private func certificates(_ name: String) throws -> String {
        let path = "\(folder.path)/\(name)"
        let script = """
            set -e; mkdir \(path); cd \(path)
            key="-pkeyopt ec_paramgen_curve:prime256v1 -nodes"
            openssl req -x509 -newkey ec $key -keyout ca.key -out ca.pem -subj "/CN=authority \(name)" -days 2
            openssl req -newkey ec $key -keyout server.key -out server.csr -subj /CN=localhost
            echo subjectAltName=DNS:localhost > names
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem
            """
        try ChildProcess("bash", ["-c", script]).succeed(within: .seconds(60))
        return path
    }

    /// The tests' broker takes any name and password by PLAIN.
    @Test(arguments: ["security.protocol: SSL", "security.protocol: SASL_SSL, \(plain)"])
    func `TLS is spoken with brokers whose authority is known, and with no others`(security: String) throws {
        let brokers = try #require(KafkaTestBroker.address)
        let topic = KafkaTestBroker.uniqueName("tls")
        try KafkaTestAdmin(brokers).createTopic(topic, partitions: 2)
        let (own, other) = (try certificates("own"), try certificates("other"))
        let server = try KafkaServer("tls", brokers, "\(own)/server.pem", "\(own)/server.key")
        func client(_ authority: String) -> String {
            """
            brokers: "\(server.address)", topic: \(topic), open_timeout: 20s,
                properties: { \(security), ssl.ca.location: \(authority)/ca.pem, broker.address.family: v4 }
            """
        }
        func sink(_ authority: String) throws -> ChildProcess {
            try run(
                "sink",
                """
                numbers: { type: generate-source, count: 500, columns: { n: { sequence: {} } } }
                topic: { type: kafka-sink, from: numbers, \(client(authority)) }
                """)
        }
        func source(_ authority: String) throws -> ChildProcess {
            try run(
                "source",
                """
                messages: { type: kafka-source, \(client(authority)), stop: latest }
                rows: { type: json-parse, from: messages, columns: { n: int64 } }
                out: { type: file-sink, from: rows, path: \(folder.path)/rows }
                """)
        }
        for refused in [try sink(other), try source(other)] {
            #expect(refused.wait(timeout: .seconds(60)) == .code(78), "\(refused.errors)")
            #expect(refused.errors.contains("certificate verify failed"), "\(refused.errors)")
            #expect(refused.errors.contains("ssl.ca.location"), "\(refused.errors)")
        }
        try sink(own).succeed(within: .seconds(60))
        // Without TLS the same messages are there.
        #expect(try kcat(topic, at: brokers).count == 500)
        try source(own).succeed(within: .seconds(60))
        #expect(try Set(lines(of: "rows")) == Set((0..<500).map { #"{"n":\#($0)}"# }))
    }

    @Test func `credentials that the brokers refuse end the run with what they say, without the password`() throws {
        let brokers = try #require(KafkaTestBroker.address)
        // It knows the mechanism, and no user.
        let client = """
            brokers: "\(brokers)", topic: any, open_timeout: 20s, properties: { security.protocol: SASL_PLAINTEXT, \
            \(Self.plain.replacing("PLAIN", with: "SCRAM-SHA-256")) }
            """
        let refused = [
            try run(
                "sink",
                "numbers: { type: generate-source, columns: { n: { sequence: {} } } }\ntopic: { type: kafka-sink, from: numbers, \(client) }"
            ),
            try run(
                "source", "messages: { type: kafka-source, \(client) }\nout: { type: stdout-sink, from: messages }"),
        ]
        for run in refused {
            #expect(run.wait(timeout: .seconds(60)) == .code(78), "\(run.errors)")
            #expect(run.errors.contains("SASL authentication error"), "\(run.errors)")
            #expect(!(run.errors + run.output).contains("pass-4711"))
        }
    }

    // MARK: Dead letters

    @Test func `what a pipeline cannot process goes to a topic of letters, and can be sent again`() throws {
        let brokers = try #require(KafkaTestBroker.address)
        let topic = KafkaTestBroker.uniqueName("orders")
        let admin = try KafkaTestAdmin(brokers)
        for name in [topic, topic + "-checked", topic + "-letters"] { try admin.createTopic(name, partitions: 1) }
        let producer = try KafkaTestProducer(brokers)
        let messages = [
            #"{"id":1,"country":"fr","price":"1.50"}"#, "no JSON", #"{"country":"de"}"#,
            #"{"id":2,"country":"es","price":"a lot"}"#, #"{"id":3,"country":"it","price":null}"#,
        ]
        for message in messages { try producer.send(topic, message) }
        try producer.flush()
        func process() throws {
            try ChildProcess(
                Repository.program("dataflow"),
                [
                    "run", "\(Repository.root)/pipelines/kafka-dead-letters.yaml", "--set",
                    "nodes.messages.stop=latest",
                ],
                environment: [
                    "KAFKA_BROKERS": brokers, "KAFKA_TOPIC": topic, "CHECKPOINT_PATH": folder.path + "/state",
                    "DEAD_LETTER_PATH": folder.path + "/letters",
                ]
            ).succeed(within: .seconds(60))
        }
        try process()
        let checked = [
            #"1 {"id":1,"country":"FR","price":1.50}"#, #"3 {"id":3,"country":"IT","price":null}"#,
        ]
        #expect(try kcat(topic + "-checked", at: brokers, "%k %s\n") == checked)
        let letters = try kcat(topic + "-letters", at: brokers, "%k|%s|%h\n").map { letter in
            // Without the time.
            String(letter[..<(letter.range(of: ",at=")?.lowerBound ?? letter.endIndex)])
        }
        let expected = [
            "orders|no JSON|code=invalid_json,reason=byte 0: 'null' was expected",
            #"orders|{"country":"de"}|code=missing_value,reason=$.id: column id is required, but the value is missing or null"#,
            #"priced|{"id":2,"country":"es","price":"a lot"}|code=invalid_cast,reason=cannot cast 'a lot' to decimal(12,2)"#,
        ]
        #expect(letters.map { $0.replacing("\\'", with: "'") }.sorted() == expected)
        #expect(
            try FileManager.default.subpathsOfDirectory(atPath: folder.path + "/letters").allSatisfy {
                !$0.hasSuffix(".ndjson")
            })

        // The letters come again as they are, and one of them mended.
        let again = try kcat(topic + "-letters", at: brokers)
        for letter in again { try producer.send(topic, letter.replacing("a lot", with: "2.00")) }
        try producer.flush()
        try process()
        #expect(
            try kcat(topic + "-checked", at: brokers, "%k %s\n") == checked + [
                #"2 {"id":2,"country":"ES","price":2.00}"#
            ])
        #expect(try kcat(topic + "-letters", at: brokers).count == 5)
    }
}
