import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowTesting
import Testing

@testable import JSONParse

@Suite struct MutationTests {
    private static func value(_ depth: Int, _ bits: inout SplitMix) -> String {
        switch Int.random(in: 0..<(depth > 3 ? 6 : 9), using: &bits) {
        case 0: return "null"
        case 1: return Bool.random(using: &bits) ? "true" : "false"
        case 2: return "\(Int64(bitPattern: bits.next()) >> Int64.random(in: 0...60, using: &bits))"
        case 3: return "\(Double.random(in: -1e6...1e6, using: &bits))"
        case 4, 5:
            let pieces = ["a", "\\n", "é", "\\u00e9", "😀", "\\\"", "long text ", "\\ud83d\\ude00", "{", "]", ","]
            return "\""
                + (0..<Int.random(in: 0..<8, using: &bits)).map { _ in pieces.randomElement(using: &bits) ?? "" }
                .joined() + "\""
        case 6, 7:
            return "["
                + (0..<Int.random(in: 0..<5, using: &bits)).map { _ in value(depth + 1, &bits) }
                .joined(separator: " , ") + "]"
        default: return object(depth + 1, &bits)
        }
    }

    private static func object(_ depth: Int, _ bits: inout SplitMix) -> String {
        let names = ["a", "b", "c", "list", "inner", "a much longer name than sixteen", "", "ä"]
        return "{"
            + (0..<Int.random(in: 0..<7, using: &bits)).map { _ in
                "\"\(names.randomElement(using: &bits) ?? "")\": \(value(depth, &bits))"
            }.joined(separator: ",") + "}"
    }

    private let columns = [
        ("a", "int64"), ("b", "string"), ("c", "float64"), ("list", "list<string>"),
        ("inner", "struct<a string, list list<int64>, inner struct<b bytes>>"),
        ("a much longer name than sixteen", "bool"),
    ]

    @Test(arguments: 0..<8) func `parser and syntax check agree on damaged documents`(seed: Int) throws {
        var bits = SplitMix(state: UInt64(seed))
        var documents: [[UInt8]] = []
        for _ in 0..<600 {
            var document = Array(MutationTests.object(0, &bits).utf8)
            for _ in 0..<Int.random(in: 0..<3, using: &bits) where !document.isEmpty {
                let place = Int.random(in: 0..<document.count, using: &bits)
                switch Int.random(in: 0..<4, using: &bits) {
                case 0: document[place] = UInt8.random(in: 0...255, using: &bits)
                case 1: document.remove(at: place)
                case 2: document.insert(Array("{}[]\",:\\0-e.".utf8).randomElement(using: &bits) ?? 0, at: place)
                default: document.removeLast(document.count - place)
                }
            }
            documents.append(document)
        }
        let harness = try OperatorHarness(
            JSONParse.self, config(columns, onMismatch: "null"), input: Stream(valueSchema))
        try harness.process(RecordBatch(valueSchema, [.bytes(documents)]))
        #expect(harness.accountsForEveryRow)
        let refused = Set(
            harness.output.rows(.errors).filter { $0[1] == "invalid_json" }.map { row -> [UInt8] in
                if case .bytes(let bytes) = row[5] { bytes } else { [] }
            })
        for document in documents {
            let problem = document.withUnsafeBytes { JSONSyntax.problem(in: $0) }
            #expect((problem != nil) == refused.contains(document), "\(String(decoding: document, as: UTF8.self))")
        }
        for row in harness.output.rows(.errors) where row[1] == "invalid_json" {
            if case .string(let reason) = row[2] { #expect(reason.hasPrefix("byte ")) }
        }
    }

    @Test(arguments: 0..<4) func `rows do not depend on how documents are cut into batches`(seed: Int) throws {
        var bits = SplitMix(state: UInt64(seed) + 100)
        let documents: [String?] = (0..<400).map { _ in MutationTests.object(0, &bits) }
        let config = try config(columns)
        let whole = try OperatorHarness(JSONParse.self, config, input: Stream(valueSchema))
        try whole.process(batch(documents))
        let single = try OperatorHarness(JSONParse.self, config, input: Stream(valueSchema))
        for document in documents { try single.process(batch([document])) }
        #expect(whole.output.rows() == single.output.rows())
        #expect(whole.output.errors.map(\.reason) == single.output.errors.map(\.reason))
        let slices = try OperatorHarness(JSONParse.self, config, input: Stream(valueSchema))
        let all = batch(documents)
        for start in stride(from: 0, to: 400, by: 77) { try slices.process(all.slice(start..<min(400, start + 77))) }
        #expect(whole.output.rows() == slices.output.rows())
    }
}
