import CYAML
import DataflowConfig

/// Reads one YAML document into nodes with marks, through libyaml's document API.
///
/// What a pipeline file may hold is less than YAML allows: one document, text keys, each once in its mapping, no tags but
/// YAML's own. Anchors, aliases and merge keys (`<<`) work, within limits on depth and on the number of nodes that aliases
/// unfold to.
struct YAMLDocument: ~Copyable {
    static let maxBytes = 4 << 20
    static let maxDepth = 64
    static let maxNodes = 100_000

    private var document = yaml_document_t()
    private let source: SourceFile
    /// Where the text begins in the source's first line: for the value of a `--set`.
    private let columnOffset: Int

    /// Parses the text; throws its first syntax error, or what `readRoot` finds.
    static func parse(_ text: String, source: SourceFile, columnOffset: Int = 0) throws(ConfigError) -> ConfigNode? {
        guard text.utf8.count <= maxBytes else {
            throw ConfigError(
                "file-too-large",
                "the file has \(text.utf8.count) bytes, more than the \(maxBytes >> 20)MiB that are read",
                at: Mark(source: source, line: 1, column: 1))
        }
        var bytes = Array(text.utf8)
        return try bytes.withContiguousBytes { (input) throws(ConfigError) -> ConfigNode? in
            var document = try YAMLDocument(input, source: source, columnOffset: columnOffset)
            return try document.readRoot()
        }
    }

    private init(_ input: UnsafeBufferPointer<UInt8>, source: SourceFile, columnOffset: Int) throws(ConfigError) {
        self.source = source
        self.columnOffset = columnOffset
        try Self.checkShape(input, source, columnOffset)
        var parser = yaml_parser_t()
        guard yaml_parser_initialize(&parser) == 1 else {
            throw ConfigError("out-of-memory", "there is no memory to parse \(source.path)")
        }
        defer { yaml_parser_delete(&parser) }
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(&parser, input.baseAddress, input.count)
        guard yaml_parser_load(&parser, &document) == 1 else {
            document = yaml_document_t()
            throw ConfigError(Self.syntaxError(parser, source, columnOffset, input))
        }
        guard yaml_document_get_root_node(&document) != nil else { return }
        var next = yaml_document_t()
        guard yaml_parser_load(&parser, &next) == 1 else {
            yaml_document_delete(&document)
            document = yaml_document_t()
            throw ConfigError(Self.syntaxError(parser, source, columnOffset, input))
        }
        defer { yaml_document_delete(&next) }
        if yaml_document_get_root_node(&next) != nil {
            let mark = Mark(source: source, line: next.start_mark.line + 1, column: next.start_mark.column + 1)
            yaml_document_delete(&document)
            document = yaml_document_t()
            throw ConfigError(
                "several-documents", "a second YAML document begins here: a file holds one pipeline", at: mark)
        }
    }

    /// Refuses what is nested too deeply or has too many values while it is read: libyaml's cost rises with the square of
    /// the depth. A syntax error is left to the one who loads the document.
    private static func checkShape(
        _ input: UnsafeBufferPointer<UInt8>, _ source: SourceFile, _ columnOffset: Int
    ) throws(ConfigError) {
        var parser = yaml_parser_t()
        guard yaml_parser_initialize(&parser) == 1 else { return }
        defer { yaml_parser_delete(&parser) }
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(&parser, input.baseAddress, input.count)
        var depth = 0
        var count = 0
        var event = yaml_event_t()
        while yaml_parser_parse(&parser, &event) == 1 {
            defer { yaml_event_delete(&event) }
            switch event.type {
            case YAML_STREAM_END_EVENT: return
            case YAML_SEQUENCE_START_EVENT, YAML_MAPPING_START_EVENT:
                if depth == maxDepth { throw tooDeep(at: mark(event.start_mark, source, columnOffset)) }
                depth += 1
                count += 1
            case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: depth -= 1
            case YAML_SCALAR_EVENT, YAML_ALIAS_EVENT: count += 1
            default: break
            }
            // Keys count here, too, so this is no stricter than the limit on values.
            if count > 2 * maxNodes { throw tooManyValues(at: mark(event.start_mark, source, columnOffset)) }
        }
    }

    fileprivate static func tooDeep(at mark: Mark) -> ConfigError {
        ConfigError("too-deep", "values are nested more than \(maxDepth) levels deep", at: mark)
    }

    fileprivate static func tooManyValues(at mark: Mark) -> ConfigError {
        ConfigError(
            "too-many-values",
            "the file has more than \(maxNodes) values; an alias counts for all the values that it stands for", at: mark
        )
    }

    fileprivate static func mark(_ mark: yaml_mark_t, _ source: SourceFile, _ columnOffset: Int) -> Mark {
        Mark(source: source, line: mark.line + 1, column: mark.column + 1 + (mark.line == 0 ? columnOffset : 0))
    }

    deinit {
        // Deleting wants a mutable copy; the struct only holds pointers, and this is their last use.
        var document = document
        yaml_document_delete(&document)
    }

    /// The document as nodes; nil if it is empty.
    private mutating func readRoot() throws(ConfigError) -> ConfigNode? {
        guard let root = yaml_document_get_root_node(&document) else { return nil }
        var reader = NodeReader(
            nodes: UnsafeBufferPointer(start: document.nodes.start, count: document.nodes.top - document.nodes.start),
            source: source, columnOffset: columnOffset)
        let index = root - document.nodes.start
        let node = try reader.read(index, depth: 0)
        try reader.collector.throwErrors()
        return node
    }

    // MARK: Syntax errors

    private static func syntaxError(
        _ parser: yaml_parser_t, _ source: SourceFile, _ columnOffset: Int, _ input: UnsafeBufferPointer<UInt8>
    ) -> Diagnostic {
        func mark(_ mark: yaml_mark_t) -> Mark { Self.mark(mark, source, columnOffset) }
        func text(_ pointer: UnsafePointer<CChar>?) -> String { pointer.map { String(cString: $0) } ?? "" }
        let problem = text(parser.problem)
        let context = text(parser.context)
        var place = mark(parser.problem_mark)
        if parser.error == YAML_READER_ERROR {
            let before = input.prefix(parser.problem_offset)
            let line = before.count { $0 == UInt8(ascii: "\n") } + 1
            let start = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            let column = String(decoding: before[start...], as: UTF8.self).unicodeScalars.count + 1
            place = Mark(source: source, line: line, column: column)
            return Diagnostic(.error, "yaml-syntax", "\(problem): YAML is UTF-8 text", at: place)
        }
        /// Where the line above is a text without `:` that this line's key seems to go on with.
        func keyWithoutColon(above place: Mark) -> Mark? {
            guard let line = source.line(place.line)?.unicodeScalars,
                let above = source.line(place.line - 1)?.unicodeScalars,
                line.firstIndex(of: ":").map({ line.distance(from: line.startIndex, to: $0) }) == place.column - 1,
                !above.contains(":"), let start = above.firstIndex(where: { $0 != " " }), above[start] != "#",
                above[start] != "-"
            else { return nil }
            return Mark(
                source: source, line: place.line - 1, column: above.distance(from: above.startIndex, to: start) + 1)
        }
        let found = source.line(place.line)?.unicodeScalars.dropFirst(place.column - 1).first
        let message: String
        var hint: String?
        switch problem {
        case "found character that cannot start any token" where found == "\t":
            message = "a tab cannot stand here: YAML is indented with spaces"
        case "found character that cannot start any token":
            let shown = found.map { $0 == "`" ? "a backtick" : "`\($0)`" } ?? "this character"
            message = "a value cannot begin with \(shown): put it in quotes"
        case "mapping values are not allowed in this context":
            if let key = keyWithoutColon(above: place) {
                message = "expected `:` after this key"
                place = key
                break
            }
            message = "a `:` cannot stand here"
            hint = "a value with `: ` in it must be quoted; otherwise check the indentation"
        case "could not find expected ':'":
            message = "expected `:` after this key"
            place = mark(parser.context_mark)
        case "did not find expected key":
            message = "expected a key here: check the indentation and the quotes above"
        case "did not find expected '-' indicator":
            message = "expected `-` here: the elements of a list stand in one column"
        case "found unknown escape character":
            message = "there is no such escape in double quotes"
            hint = "write `\\\\` for a backslash, or use single quotes, where it is itself"
        case "found unexpected end of stream":
            message = "this quoted text has no end"
            place = mark(parser.context_mark)
        case "did not find expected ',' or ']'", "did not find expected ',' or '}'":
            let (kind, bracket) = problem.hasSuffix("']'") ? ("list", "]") : ("mapping", "}")
            let opening = mark(parser.context_mark)
            if source.line(place.line)?.isEmpty != false || found == nil {
                message = "this \(kind) has no end: expected `\(bracket)`"
                place = opening
            } else {
                message = "expected `,` or `\(bracket)` in the \(kind) that begins at line \(opening.line)"
            }
            let before = source.line(place.line)?.prefix(max(place.column - 1, 0)) ?? ""
            if place.line == opening.line, before.contains("$") {
                hint = "within `{ }` and `[ ]` a `${…}` must be in quotes"
            }
        case "found undefined alias": message = "there is no anchor `&` of this alias's name above"
        case "found duplicate anchor":
            message = "this anchor's name is used twice"
        case "found a tab character that violates indentation",
            "found a tab character where an indentation space is expected":
            message = "a tab cannot indent: YAML is indented with spaces"
        case "": message = "the file is no valid YAML"
        default: message = context.isEmpty ? problem : "\(problem) \(context)"
        }
        return Diagnostic(.error, "yaml-syntax", message, at: place, hint: hint)
    }
}

extension Array where Element == UInt8 {
    fileprivate mutating func withContiguousBytes<R>(
        _ body: (UnsafeBufferPointer<UInt8>) throws(ConfigError) -> R
    ) throws(ConfigError) -> R {
        var result: Result<R, ConfigError>?
        withUnsafeBufferPointer { buffer in
            do throws(ConfigError) {
                result = .success(try body(buffer))
            } catch {
                result = .failure(error)
            }
        }
        guard let result else { preconditionFailure("withUnsafeBufferPointer did not call its closure") }
        return try result.get()
    }
}

/// Turns the document's table of nodes into a tree.
private struct NodeReader {
    let nodes: UnsafeBufferPointer<yaml_node_t>
    let source: SourceFile
    let columnOffset: Int
    var collector = DiagnosticCollector()
    private var count = 0
    private var open = Set<Int>()

    init(nodes: UnsafeBufferPointer<yaml_node_t>, source: SourceFile, columnOffset: Int) {
        self.nodes = nodes
        self.source = source
        self.columnOffset = columnOffset
    }

    func mark(_ mark: yaml_mark_t) -> Mark { YAMLDocument.mark(mark, source, columnOffset) }

    mutating func read(_ index: Int, depth: Int, keyMark: Mark? = nil) throws(ConfigError) -> ConfigNode {
        let node = nodes[index]
        let mark = mark(node.start_mark)
        count += 1
        guard count <= YAMLDocument.maxNodes else { throw YAMLDocument.tooManyValues(at: mark) }
        guard depth < YAMLDocument.maxDepth else { throw YAMLDocument.tooDeep(at: mark) }
        guard open.insert(index).inserted else {
            throw ConfigError("cyclic-alias", "this value contains itself through an alias", at: mark)
        }
        defer { open.remove(index) }
        checkTag(node, mark)
        switch node.type {
        case YAML_SCALAR_NODE:
            return ConfigNode(.scalar(scalar(node)), mark: mark, keyMark: keyMark)
        case YAML_SEQUENCE_NODE:
            var elements: [ConfigNode] = []
            var item = node.data.sequence.items.start
            while let current = item, current < node.data.sequence.items.top {
                elements.append(try read(Int(current.pointee) - 1, depth: depth + 1))
                item = current + 1
            }
            return ConfigNode(.sequence(elements), mark: mark, keyMark: keyMark)
        case YAML_MAPPING_NODE:
            return ConfigNode(.mapping(try entries(node, depth: depth)), mark: mark, keyMark: keyMark)
        default:
            return ConfigNode(.scalar(Scalar("")), mark: mark, keyMark: keyMark)
        }
    }

    private func scalar(_ node: yaml_node_t) -> Scalar {
        let bytes = UnsafeBufferPointer(start: node.data.scalar.value, count: node.data.scalar.length)
        let style: Scalar.Style =
            switch node.data.scalar.style {
            case YAML_SINGLE_QUOTED_SCALAR_STYLE: .singleQuoted
            case YAML_DOUBLE_QUOTED_SCALAR_STYLE: .doubleQuoted
            case YAML_LITERAL_SCALAR_STYLE: .literal
            case YAML_FOLDED_SCALAR_STYLE: .folded
            default: .plain
            }
        return Scalar(String(decoding: bytes, as: UTF8.self), style: style)
    }

    private mutating func entries(_ node: yaml_node_t, depth: Int) throws(ConfigError) -> [ConfigNode.Entry] {
        var entries: [ConfigNode.Entry] = []
        var places: [String: Mark] = [:]
        var merged: [ConfigNode] = []
        var pair = node.data.mapping.pairs.start
        while let current = pair, current < node.data.mapping.pairs.top {
            pair = current + 1
            let keyNode = nodes[Int(current.pointee.key) - 1]
            let keyMark = mark(keyNode.start_mark)
            guard keyNode.type == YAML_SCALAR_NODE else {
                collector.append(
                    Diagnostic(.error, "key-type", "a key is a text, not a list or a mapping", at: keyMark))
                continue
            }
            let key = scalar(keyNode)
            let value = try read(Int(current.pointee.value) - 1, depth: depth + 1, keyMark: keyMark)
            if key.text == "<<", key.style == .plain {
                merged += merge(value)
                continue
            }
            if let first = places[key.text] {
                collector.append(
                    Diagnostic(
                        .error, "duplicate-key", "the key `\(key.text)` stands here twice", at: keyMark,
                        length: key.text.count,
                        related: [.init(mark: first, message: "first here")]))
                continue
            }
            places[key.text] = keyMark
            entries.append(ConfigNode.Entry(key.text, value, keyMark: keyMark))
        }
        for mapping in merged {
            for entry in mapping.entries ?? [] where places.updateValue(entry.keyMark, forKey: entry.key) == nil {
                entries.append(entry)
            }
        }
        return entries
    }

    /// The mappings of a `<<` key; the mapping's own keys win over theirs, earlier ones over later ones.
    private mutating func merge(_ value: ConfigNode) -> [ConfigNode] {
        let mappings = value.elements ?? [value]
        for mapping in mappings where mapping.entries == nil {
            collector.append(
                Diagnostic(
                    .error, "merge-key", "`<<` takes a mapping, such as `*defaults`, or a list of them",
                    at: mapping.mark))
        }
        return mappings.filter { $0.entries != nil }
    }

    private mutating func checkTag(_ node: yaml_node_t, _ mark: Mark) {
        guard let pointer = node.tag else { return }
        let tag = pointer.withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
        let words = ["str", "int", "float", "bool", "null", "seq", "map"]
        guard !words.contains(where: { tag == "tag:yaml.org,2002:" + $0 }) else { return }
        collector.append(Diagnostic(.error, "tag", "the tag `\(tag)` means nothing in a pipeline file", at: mark))
    }
}
