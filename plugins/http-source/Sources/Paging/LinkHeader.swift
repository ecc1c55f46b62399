/// The `Link` header (RFC 8288): `<https://api.example/items?page=2>; rel="next", <…>; rel="last"`.
enum LinkHeader {
    /// The target of the first link whose relation types include `relation`, as written; nil when there is none.
    static func target(_ relation: String, in headers: [String]) -> String? {
        for header in headers {
            var rest = Substring(header)
            while let link = next(&rest) {
                if link.relations.contains(where: { $0.equalsIgnoringCase(relation) }) { return link.target }
            }
        }
        return nil
    }

    private struct Link {
        var target: String
        var relations: [Substring]
    }

    /// Takes the first link off `rest`; nil when none is left.
    private static func next(_ rest: inout Substring) -> Link? {
        guard let open = rest.firstIndex(of: "<"), let close = rest[open...].firstIndex(of: ">") else { return nil }
        let target = String(rest[rest.index(after: open)..<close])
        rest = rest[rest.index(after: close)...]
        var relations: [Substring] = []
        while let parameter = parameter(&rest) {
            guard let equals = parameter.firstIndex(of: "=") else { continue }
            guard parameter[..<equals].trimmed().equalsIgnoringCase("rel"), relations.isEmpty else { continue }
            var value = parameter[parameter.index(after: equals)...].trimmed()
            if value.count >= 2, value.hasPrefix("\""), value.hasSuffix("\"") { value = value.dropFirst().dropLast() }
            relations = value.split(separator: " ")
        }
        return Link(target: target, relations: relations)
    }

    /// Takes one `; name=value` off `rest`; nil at the end of the link. A comma inside quotes ends nothing.
    private static func parameter(_ rest: inout Substring) -> Substring? {
        rest = rest.drop { $0 == " " || $0 == "\t" }
        guard rest.first == ";" else { return nil }
        rest = rest.dropFirst()
        var isQuoted = false
        var end = rest.startIndex
        while end < rest.endIndex {
            let character = rest[end]
            if character == "\"" { isQuoted.toggle() }
            if !isQuoted, character == ";" || character == "," { break }
            end = rest.index(after: end)
        }
        defer { rest = rest[end...] }
        return rest[..<end]
    }
}
