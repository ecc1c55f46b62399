import FoundationEssentials

/// The wrapping of every small file of the store: one line with kind, format, length and CRC-32 of the JSON that follows,
/// so that a torn or altered file is told from a good one, and a page can still be read with `tail -n +2 FILE`.
enum Envelope {
    static func encode(_ value: some Encodable, kind: String, format: Int) throws(CheckpointError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let body: Data
        do {
            body = try encoder.encode(value)
        } catch {
            throw CheckpointError(.incompatible, "cannot write the \(kind) as JSON: \(error)")
        }
        return Array("dataflow-\(kind) \(format) \(body.count) \(Checksum(of: body).value)\n".utf8) + body
    }

    /// - Throws: `.damaged` when the bytes are not what ``encode(_:kind:format:)`` wrote, `.incompatible` for another format.
    static func decode<Value: Decodable>(
        _ type: Value.Type, _ bytes: [UInt8], kind: String, formats: ClosedRange<Int>, path: String
    ) throws(CheckpointError) -> Value {
        func damaged(_ what: String) -> CheckpointError { CheckpointError(.damaged, "\(path) is damaged: \(what)") }
        guard let newline = bytes.firstIndex(of: UInt8(ascii: "\n")) else { throw damaged("it has no header line") }
        let header = String(decoding: bytes[..<newline], as: UTF8.self).split(separator: " ")
        guard header.count == 4, header[0] == "dataflow-\(kind)", let found = Int(header[1]),
            let length = Int(header[2]),
            let checksum = UInt32(header[3])
        else { throw damaged("its header line is not one of a \(kind)") }
        guard formats.contains(found) else {
            throw CheckpointError(
                .incompatible,
                "\(path) has format \(found), this build reads format \(formats.upperBound); use the dataflow that wrote it, or start anew with --restore none"
            )
        }
        let body = bytes[(newline + 1)...]
        guard body.count == length else { throw damaged("\(body.count) bytes of \(length)") }
        guard Checksum(of: body).value == checksum else { throw damaged("wrong checksum") }
        do {
            return try JSONDecoder().decode(type, from: Data(body))
        } catch {
            throw damaged("\(error)")
        }
    }
}
