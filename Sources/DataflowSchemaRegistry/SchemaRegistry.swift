internal import DataflowCodec
internal import DataflowConfig
import DataflowHTTP
package import DataflowOperator
import Glibc

/// A client of a schema registry with Confluent's interface (Confluent, Karapace, Apicurio's compatible one, Redpanda).
///
/// Schemas never change under their number, so each is asked for once. Requests wait on the calling thread: an operator
/// that uses a registry sets `OperatorInfo.blocks`, so that this is a thread of its own. A failure that may pass is
/// tried again with growing pauses for ``SchemaRegistryConfig/retryFor``; then the run is started again from its
/// checkpoint, for a message whose schema cannot be had must not be lost.
package final class SchemaRegistry {
    /// A schema as the registry has it.
    package struct Schema {
        package var id: Int32
        /// `AVRO`, `PROTOBUF` or `JSON`.
        package var type: String
        package var text: String
        /// The schemas that it refers to, each behind those that it refers to itself.
        package var references: [Reference]
    }

    /// A schema that another one refers to, by the name that it is known by there.
    package struct Reference {
        package var name: String
        package var text: String
    }

    private static let firstPause = 0.1
    private static let longestPause = 5.0
    private static let maxReferenceDepth = 32
    /// Numbers that the registry does not know are remembered, up to so many, so that rubbish costs no requests.
    private static let maxUnknown = 10_000

    private let urls: [String]
    private let config: SchemaRegistryConfig
    private let connection: RegistryConnection
    private var schemas: [Int32: Schema] = [:]
    private var unknown: [Int32: ContinuousClock.Instant] = [:]
    private var current = 0

    package init(_ config: SchemaRegistryConfig) {
        self.config = config
        urls = config.url.elements.map { url in
            var url = url
            while url.hasSuffix("/") { url.removeLast() }
            return url
        }
        connection = RegistryConnection(config)
    }

    /// The schema with a number; nil where the registry has none, which is asked again after ten seconds.
    package func schema(id: Int32) throws(OperatorError) -> Schema? {
        if let schema = schemas[id] { return schema }
        let now = ContinuousClock.now
        if let asked = unknown[id], asked.duration(to: now) < .seconds(10) { return nil }
        guard let answer = try get("/schemas/ids/\(id)") else {
            if unknown.count >= SchemaRegistry.maxUnknown { unknown.removeAll() }
            unknown[id] = now
            return nil
        }
        let schema = try schema(answer, id: id)
        schemas[id] = schema
        unknown[id] = nil
        return schema
    }

    /// The newest schema of a subject.
    ///
    /// - Parameter type: what it has to be: `AVRO`, `PROTOBUF`.
    /// - Throws: also where there is no such subject, or its schema is of another type.
    package func latest(_ subject: String, type: String) throws(OperatorError) -> Schema {
        guard let answer = try get("/subjects/\(SchemaRegistry.encoded(subject))/versions/latest"),
            answer["schemaType"]?.text ?? "AVRO" == type
        else {
            throw OperatorError(
                .user, .never, "no_such_schema",
                "the schema registry has no \(type.prefix(1) + type.dropFirst().lowercased()) schema under `\(subject)`; register one, or set "
                    + "`register: true`")
        }
        guard let id = answer["id"]?.integer.flatMap({ Int32(exactly: $0) }) else {
            throw SchemaRegistry.malformed("the newest version of `\(subject)`", "no `id`")
        }
        return try schema(answer, id: id)
    }

    /// Makes a schema known under a subject, or finds it there; answers its number.
    package func register(_ text: String, type: String, subject: String) throws(OperatorError) -> Int32 {
        var body: [(String, JSONValue)] = [("schema", .string(text))]
        // Registries before 5.5 know Avro only, and refuse to be told so.
        if type != "AVRO" { body.append(("schemaType", .string(type))) }
        let answer = try request(
            "/subjects/\(SchemaRegistry.encoded(subject))/versions", body: JSONValue.object(body).serialized(indent: 0))
        guard let id = answer?["id"]?.integer.flatMap({ Int32(exactly: $0) }) else {
            throw SchemaRegistry.malformed("the schema registered under `\(subject)`", "no `id`")
        }
        return id
    }

    private func schema(_ answer: JSONValue, id: Int32) throws(OperatorError) -> Schema {
        guard let text = answer["schema"]?.text else {
            throw SchemaRegistry.malformed("schema \(id)", "no `schema`")
        }
        var references: [Reference] = []
        var seen: Set<String> = []
        try gather(answer, into: &references, seen: &seen, depth: 0)
        return Schema(id: id, type: answer["schemaType"]?.text ?? "AVRO", text: text, references: references)
    }

    private func gather(
        _ answer: JSONValue, into references: inout [Reference], seen: inout Set<String>, depth: Int
    ) throws(OperatorError) {
        guard depth < SchemaRegistry.maxReferenceDepth else {
            throw SchemaRegistry.malformed("a schema", "references that are nested too deep")
        }
        for reference in answer["references"]?.elements ?? [] {
            guard let name = reference["name"]?.text, let subject = reference["subject"]?.text,
                let version = reference["version"]?.integer
            else { throw SchemaRegistry.malformed("a schema", "a reference without name, subject or version") }
            guard seen.insert(name).inserted else { continue }
            guard let target = try get("/subjects/\(SchemaRegistry.encoded(subject))/versions/\(version)"),
                let text = target["schema"]?.text
            else {
                throw OperatorError(
                    .external, .withBackoff, "no_such_schema",
                    "the schema registry does not know version \(version) of `\(subject)`, which another schema refers to"
                )
            }
            try gather(target, into: &references, seen: &seen, depth: depth + 1)
            references.append(Reference(name: name, text: text))
        }
    }

    // MARK: - Requests

    private func get(_ path: String) throws(OperatorError) -> JSONValue? { try request(path, body: nil) }

    /// The answer; nil for 404.
    private func request(_ path: String, body: String?) throws(OperatorError) -> JSONValue? {
        let deadline = ContinuousClock.now.advanced(by: config.retryFor)
        var pause = SchemaRegistry.firstPause
        while true {
            let url = urls[current % urls.count]
            let answer: Result<RegistryConnection.Answer, CurlError>
            do throws(CurlError) { answer = .success(try connection.send(url + path, body: body)) } catch {
                answer = .failure(error)
            }
            let failure: String
            switch answer {
            case .failure(let error): failure = "cannot be reached: \(error.message)"
            case .success(let answer):
                switch answer.status {
                case 200..<300: return try json(answer.body, url, path)
                case 404: return nil
                case 408, 425, 429, 500...: failure = "answered \(answer.status)\(reason(answer.body))"
                default: throw refused(answer, url, path)
                }
            }
            current += 1
            let now = ContinuousClock.now
            guard now < deadline, !Task.isCancelled else {
                throw OperatorError(
                    .external, .withBackoff, "registry_unavailable", "the schema registry \(url) \(failure) (\(path))")
            }
            wait(min(pause * Double.random(in: 0.5...1), seconds(now.duration(to: deadline))))
            pause = min(pause * 2, SchemaRegistry.longestPause)
        }
    }

    private func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }

    /// Sleeps, in slices, so that a run that is stopped does not wait.
    private func wait(_ seconds: Double) {
        let end = ContinuousClock.now.advanced(by: .seconds(seconds))
        while ContinuousClock.now < end, !Task.isCancelled {
            usleep(UInt32(max(1, min(50_000, self.seconds(ContinuousClock.now.duration(to: end)) * 1e6))))
        }
    }

    private func json(_ body: [UInt8], _ url: String, _ path: String) throws(OperatorError) -> JSONValue {
        do throws(JSONValue.Malformed) {
            return try JSONValue(parsing: body)
        } catch {
            throw SchemaRegistry.malformed("\(url)\(path)", "no JSON (\(error.message))")
        }
    }

    private func refused(_ answer: RegistryConnection.Answer, _ url: String, _ path: String) -> OperatorError {
        let what = "the schema registry \(url) answered \(answer.status)\(reason(answer.body)) (\(path))"
        return switch answer.status {
        case 401, 403:
            OperatorError(
                .user, .never, "registry_refused",
                "\(what); give it `user` and `password` or `token` of somebody who may do that")
        case 409:
            OperatorError(
                .user, .never, "incompatible_schema",
                "\(what): the schema is not compatible with the versions before; change the columns, or the subject's compatibility"
            )
        default: OperatorError(.user, .never, "registry_refused", what)
        }
    }

    /// The registry's own words, cut short.
    private func reason(_ body: [UInt8]) -> String {
        guard let answer = try? JSONValue(parsing: body),
            let message = answer["message"]?.text
        else { return "" }
        return ": \(message.prefix(300))"
    }

    private static func malformed(_ what: String, _ problem: String) -> OperatorError {
        OperatorError(
            .external, .withBackoff, "registry_malformed",
            "the schema registry's answer for \(what) has \(problem); is the address that of a schema registry?")
    }

    /// Percent-encodes all but the unreserved characters of RFC 3986.
    private static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122, 45, 46, 95, 126: bytes.append(byte)
            default: bytes += [37, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
