/// A path into a JSON document: `$`, then steps `.name`, `['name']`, `[3]` and `[*]`.
public struct JSONPath: Hashable, Sendable {
    enum Step: Hashable, Sendable {
        case field([UInt8])
        case element(Int)
        /// Every element of an array, or every value of an object.
        case every
    }

    /// What is wrong with the text of a path, and where.
    struct Malformed: Error {
        var message: String
        /// UTF-8 offset in the text.
        var offset: Int
    }

    var steps: [Step] = []

    /// The value itself.
    static let root = JSONPath()

    /// The field of that name.
    static func field(_ name: String) -> JSONPath { JSONPath(steps: [.field(Array(name.utf8))]) }

    var hasEvery: Bool { steps.contains(.every) }

    private init(steps: [Step] = []) { self.steps = steps }

    init(parsing text: String) throws(Malformed) {
        let bytes = Array(text.utf8)
        guard bytes.first == UInt8(ascii: "$") else {
            throw Malformed(message: "a path begins with $, such as $.items[*].name", offset: 0)
        }
        var at = 1
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "."):
                at += 1
                let start = at
                while at < bytes.count, bytes[at] != UInt8(ascii: "."), bytes[at] != UInt8(ascii: "[") { at += 1 }
                guard at > start else {
                    throw Malformed(message: "a field name was expected behind the point", offset: start)
                }
                if at == start + 1, bytes[start] == UInt8(ascii: "*") {
                    steps.append(.every)
                } else {
                    steps.append(.field(Array(bytes[start..<at])))
                }
            case UInt8(ascii: "["):
                at += 1
                steps.append(try JSONPath.bracket(bytes, &at))
            default:
                throw Malformed(message: "a path goes on with .name, ['name'], [3] or [*]", offset: at)
            }
        }
    }

    private static func bracket(_ bytes: [UInt8], _ at: inout Int) throws(Malformed) -> Step {
        let start = at
        var step: Step?
        if at < bytes.count, bytes[at] == UInt8(ascii: "*") {
            step = .every
            at += 1
        } else if at < bytes.count, bytes[at] == UInt8(ascii: "'") || bytes[at] == UInt8(ascii: "\"") {
            let quote = bytes[at]
            at += 1
            var name: [UInt8] = []
            while at < bytes.count, bytes[at] != quote {
                if bytes[at] == UInt8(ascii: "\\"), at + 1 < bytes.count { at += 1 }
                name.append(bytes[at])
                at += 1
            }
            if at < bytes.count {
                at += 1
                step = .field(name)
            }
        } else {
            while at < bytes.count, bytes[at] >= UInt8(ascii: "0"), bytes[at] <= UInt8(ascii: "9") { at += 1 }
            if at > start, let index = Int(String(decoding: bytes[start..<at], as: UTF8.self)) {
                step = .element(index)
            }
        }
        guard let step, at < bytes.count, bytes[at] == UInt8(ascii: "]") else {
            throw Malformed(message: "between [ and ] stands *, a number from 0 or a quoted name", offset: start)
        }
        at += 1
        return step
    }
}

extension JSONPath: CustomStringConvertible {
    public var description: String { "$" + steps.map(\.description).joined() }
}

extension JSONPath.Step: CustomStringConvertible {
    var description: String {
        switch self {
        case .every: return "[*]"
        case .element(let index): return "[\(index)]"
        case .field(let name):
            let text = String(decoding: name, as: UTF8.self)
            let isPlain =
                !name.isEmpty
                && name.allSatisfy { byte in
                    byte != UInt8(ascii: ".") && byte != UInt8(ascii: "[") && byte != UInt8(ascii: "]")
                        && byte != UInt8(ascii: "'") && byte != UInt8(ascii: "*") && byte > UInt8(ascii: " ")
                }
            if isPlain { return "." + text }
            return "['" + text.replacing("\\", with: "\\\\").replacing("'", with: "\\'") + "']"
        }
    }
}
