import CSimdJSON
import DataflowCodec
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import JSONParse

/// Lines as those of w2: what the tape takes, and what `json-parse` does, the tape included. Which of simdjson's
/// implementations runs is the processor's choice, or that of SIMDJSON_FORCE_IMPLEMENTATION.
enum JSONCases {
    static var all: [() throws -> MicroCase] { [{ try tape(of: nil) }, { try tape(of: wanted) }, parse] }

    private static let documentCount = 4096
    /// The fields that `json-parse` is asked for below.
    private static let wanted = ["event_time", "country", "price", "status"]

    private static func lines() -> (Buffer, [csimdjson_text]) {
        var random = Random(state: 7)
        var text = ""
        var texts: [csimdjson_text] = []
        for i in 0..<documentCount {
            let milliseconds = String(1000 + i % 1000).dropFirst()
            let line =
                #"{"event_time":"2025-01-01T00:\#(10 + i / 1000):17.\#(milliseconds)Z","event_id":"e\#(100_000_000 + i)","#
                + #""user_id":"u\#(100_000 + random.next(below: 900_000))","item":"item-0\#(1000 + random.next(below: 9000))","#
                + #""country":"A\#(["A", "B", "C"][i % 3])","price":\#(random.next(below: 500)).\#(10 + i % 90),"#
                + #""status":"\#(["ok", "ok", "ok", "error"][i % 4])","qty":\#(1 + i % 5),"channel":"web","#
                + #""session":"0953fd51-1503"}"#
            texts.append(csimdjson_text(offset: UInt64(text.utf8.count), length: UInt64(line.utf8.count)))
            text += line + "\n"
        }
        return (Buffer(Array(text.utf8) + [UInt8](repeating: 0, count: 64)), texts)
    }

    /// The tape alone, of whole documents or of the wanted fields.
    private static func tape(of names: [String]?) throws -> MicroCase {
        let (buffer, texts) = lines()
        guard let parser = csimdjson_create(1 << 24, 64) else {
            throw WrongAnswer(description: "no memory for simdjson")
        }
        if let names {
            let texts = names.map { Array($0.utf8) }
            Buffer(Array(texts.joined())).withUnsafeBytes { bytes in
                guard var start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
                var starts: [UnsafePointer<UInt8>] = []
                for text in texts {
                    starts.append(start)
                    start += text.count
                }
                csimdjson_want(parser, starts, texts.map(\.count), texts.count)
            }
        }
        var documents = [csimdjson_document](repeating: csimdjson_document(), count: texts.count)
        // As json-parse calls it: few documents at once, so that the tape stays in the cache.
        let step = 64
        let body = {
            buffer.withUnsafeBytes { bytes -> Int in
                guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return -1 }
                var words = 0
                for first in stride(from: 0, to: texts.count, by: step) {
                    texts[first..<first + step].withUnsafeBufferPointer { texts in
                        documents.withUnsafeMutableBufferPointer { documents in
                            withUnsafeTemporaryAllocation(of: csimdjson_output.self, capacity: 1) { output in
                                guard let texts = texts.baseAddress, let documents = documents.baseAddress,
                                    let output = output.baseAddress
                                else { return }
                                if csimdjson_parse(parser, base, bytes.count, texts, step, documents, output) != 0 {
                                    words = -1
                                }
                                for i in 0..<step { words += Int(documents[i].words) }
                            }
                        }
                    }
                }
                return words
            }
        }
        return MicroCase(
            name: names == nil ? "json, tape of all fields" : "json, tape of 4 of 10 fields", unit: "document",
            units: texts.count, body: body, expected: body())
    }

    private static func parse() throws -> MicroCase {
        let (buffer, texts) = lines()
        let views = buffer.withUnsafeBytes { bytes in
            texts.map {
                StringView(
                    UnsafeRawBufferPointer(rebasing: bytes[Int($0.offset)..<Int($0.offset + $0.length)]), buffer: 0,
                    offset: Int($0.offset))
            }
        }
        let input = Stream(Schema([Field("value", .bytes)]))
        let batch = RecordBatch(
            input.schema, [Column(.bytes, views: ViewStorage(views: Values(views), buffers: [buffer]))], split: 0)
        var config = JSONParseConfig()
        func column(_ type: DataType) -> JSONColumnConfig {
            var column = JSONColumnConfig()
            column.type = ColumnType(type)
            return column
        }
        config.columns = [
            "event_time": column(.timestamp), "country": column(.string), "price": column(.float64),
            "status": column(.string),
        ]
        let node = try JSONParse(config, context([input], JSONParse.outputs(config, inputs: [input])))
        return MicroCase(
            name: "json, into columns", unit: "document", units: texts.count,
            body: {
                var output = OutputBuffer()
                var rows = 0
                var progress = try node.process(batch, from: .main, into: &output)
                while true {
                    for case .batch(let batch, .main) in output.drain() { rows += batch.rowCount }
                    guard case .more = progress else { return rows }
                    progress = try node.resume(into: &output)
                }
            }, expected: documentCount)
    }
}
