/// Compact JSON, written from left to right.
struct JSONWriter {
    var bytes: [UInt8]

    mutating func raw(_ text: StaticString) {
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    mutating func raw(_ text: [UInt8]) {
        bytes.append(contentsOf: text)
    }

    mutating func null() {
        raw("null")
    }

    mutating func integer(_ value: Int) {
        if value >= 0, value < 10 {
            bytes.append(UInt8(ascii: "0") + UInt8(value))
        } else {
            bytes.append(contentsOf: String(value).utf8)
        }
    }

    /// As the service writes a float32: the double nearest to it.
    mutating func float32(_ value: Double) {
        bytes.append(contentsOf: Double(Float(value)).description.utf8)
    }

    /// `text` in quotes, escaped.
    mutating func string(_ text: some Sequence<UInt8>) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { bytes.append(UInt8(ascii: "\\")) }
            bytes.append(byte)
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// A list: `element` is called until it returns false, having written nothing then.
    mutating func list(_ element: (_ index: Int, _ writer: inout JSONWriter) -> Bool) {
        bytes.append(UInt8(ascii: "["))
        var index = 0
        while true {
            let mark = bytes.count
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            guard element(index, &self) else {
                bytes.removeSubrange(mark...)
                break
            }
            index += 1
        }
        bytes.append(UInt8(ascii: "]"))
    }
}
