import CSimdJSON
package import DataflowConfig

extension JSONValue {
    /// A text that is no JSON.
    package struct Malformed: Error {
        package var message: String
    }

    /// Reads a JSON text: schemas and answers of servers, not data. At most `maxByteCount` bytes, 128 levels deep.
    package init(parsing text: UnsafeRawBufferPointer, maxByteCount: Int = 16 << 20) throws(Malformed) {
        guard let parser = csimdjson_create(maxByteCount, 128) else {
            throw Malformed(message: "there is no memory to read it")
        }
        defer { csimdjson_destroy(parser) }
        guard let base = text.baseAddress, text.count > 0 else { throw Malformed(message: "it is empty") }
        var document = csimdjson_document()
        var output: (tape: UnsafePointer<UInt64>, strings: UnsafePointer<UInt8>)?
        let range = csimdjson_text(offset: 0, length: UInt64(text.count))
        let code = withUnsafeTemporaryAllocation(of: csimdjson_output.self, capacity: 1) { result -> Int32 in
            guard let result = result.baseAddress else { return csimdjson_error_memory }
            let code = withUnsafePointer(to: range) { range in
                csimdjson_parse(
                    parser, base.assumingMemoryBound(to: UInt8.self), text.count, range, 1, &document, result)
            }
            if code == 0 { output = (result.pointee.tape, result.pointee.strings) }
            return code
        }
        guard code == 0, document.error == 0, let output else {
            throw Malformed(message: String(cString: csimdjson_error_message(code == 0 ? document.error : code)))
        }
        var reader = TapeReader(
            words: output.tape + Int(document.tape), strings: output.strings + Int(document.strings), index: 1)
        self = reader.value()
    }

    /// Reads a JSON text.
    package init(parsing text: some Sequence<UInt8>) throws(Malformed) {
        let result = Array(text).withUnsafeBytes { bytes -> Result<JSONValue, Malformed> in
            do throws(Malformed) { return .success(try JSONValue(parsing: bytes)) } catch { return .failure(error) }
        }
        self = try result.get()
    }

    /// The text of a string.
    package var text: String? { if case .string(let text) = self { text } else { nil } }

    /// The elements of an array.
    package var elements: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }

    /// The number of an integer.
    package var integer: Int? { if case .int(let value) = self { value } else { nil } }
}

/// Walks simdjson's tape, whose nesting the parser has limited.
private struct TapeReader {
    let words: UnsafePointer<UInt64>
    let strings: UnsafePointer<UInt8>
    var index: Int

    mutating func value() -> JSONValue {
        let word = words[index]
        index += 1
        switch word >> 56 {
        case UInt64(UInt8(ascii: "{")):
            let end = Int(truncatingIfNeeded: word & 0xFFFF_FFFF) - 1
            var entries: [(String, JSONValue)] = []
            while index < end {
                let key = string(words[index])
                index += 1
                entries.append((key, value()))
            }
            index = end + 1
            return .object(entries)
        case UInt64(UInt8(ascii: "[")):
            let end = Int(truncatingIfNeeded: word & 0xFFFF_FFFF) - 1
            var elements: [JSONValue] = []
            while index < end { elements.append(value()) }
            index = end + 1
            return .array(elements)
        case UInt64(UInt8(ascii: "\"")): return .string(string(word))
        case UInt64(UInt8(ascii: "l")):
            index += 1
            return .int(Int(Int64(bitPattern: words[index - 1])))
        case UInt64(UInt8(ascii: "u")):
            index += 1
            return .double(Double(words[index - 1]))
        case UInt64(UInt8(ascii: "d")):
            index += 1
            return .double(Double(bitPattern: words[index - 1]))
        case UInt64(UInt8(ascii: "t")): return .bool(true)
        case UInt64(UInt8(ascii: "f")): return .bool(false)
        default: return .null
        }
    }

    private func string(_ word: UInt64) -> String {
        let start = strings + Int(truncatingIfNeeded: word & 0x00FF_FFFF_FFFF_FFFF)
        let length = UnsafeRawPointer(start).loadUnaligned(as: UInt32.self)
        return String(decoding: UnsafeRawBufferPointer(start: start + 4, count: Int(length)), as: UTF8.self)
    }
}
