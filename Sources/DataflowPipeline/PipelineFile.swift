public import DataflowConfig
import Glibc

/// A pipeline file after parsing: a tree of values with their places. Nothing of it is interpreted yet.
public struct PipelineFile: Sendable {
    public let source: SourceFile
    public private(set) var root: ConfigNode

    /// Reads and parses a file. Throws `no-such-file` and `unreadable-file` besides findings in the text.
    public init(path: String) throws(ConfigError) {
        let bytes: [UInt8]
        do throws(FileReadError) {
            bytes = try readFile(path, maxBytes: YAMLDocument.maxBytes + 1)
        } catch {
            let code = error.errno == ENOENT || error.errno == ENOTDIR ? "no-such-file" : "unreadable-file"
            throw ConfigError(code, "cannot read the pipeline file `\(path)`: \(error.reason)")
        }
        try self.init(bytes: bytes, path: path)
    }

    /// The text of a small file.
    package static func text(of path: String) throws(ConfigError) -> String {
        do throws(FileReadError) {
            return String(decoding: try readFile(path, maxBytes: YAMLDocument.maxBytes), as: UTF8.self)
        } catch {
            throw ConfigError("unreadable-file", "cannot read `\(path)`: \(error.reason)")
        }
    }

    /// Parses a text; the path is what diagnostics show.
    public init(text: String, path: String) throws(ConfigError) {
        try self.init(bytes: Array(text.utf8), path: path)
    }

    private init(bytes: [UInt8], path: String) throws(ConfigError) {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let lossy = SourceFile(path: path, text: String(decoding: bytes, as: UTF8.self))
            let scalars = lossy.text.unicodeScalars
            let before = scalars.prefix { $0 != "\u{FFFD}" }
            let line = before.count { $0 == "\n" } + 1
            let column = before.reversed().prefix { $0 != "\n" }.count + 1
            throw ConfigError(
                "encoding", "the file is not UTF-8 from here on", at: Mark(source: lossy, line: line, column: column))
        }
        let content = text.hasPrefix("\u{FEFF}") ? String(text.dropFirst()) : text
        source = SourceFile(path: path, text: content)
        let start = Mark(source: source, line: 1, column: 1)
        guard let root = try YAMLDocument.parse(content, source: source), !root.isNull else {
            throw ConfigError("empty-file", "the file is empty: expected a pipeline", at: start)
        }
        guard root.entries != nil else {
            throw ConfigError(
                "type-mismatch", "expected a mapping with `pipeline` and `nodes`, found \(root.displayed)",
                at: root.mark)
        }
        self.root = root
    }

    /// The tree with every `${…}` replaced, and what is known of the references; scalars with one that has no value are left
    /// as written.
    func interpolated(_ environment: EnvironmentVariables) -> (root: ConfigNode, references: EnvironmentInterpolation) {
        var interpolation = EnvironmentInterpolation(environment)
        return (interpolation.apply(to: root), interpolation)
    }

    /// Replaces the value at a path: `checkpoint.interval=200ms`, `nodes.pages.url=…`. The value is YAML; mappings that the
    /// path lacks are made, except nodes.
    public mutating func set(_ assignment: String) throws(ConfigError) {
        let source = SourceFile(path: "--set", text: assignment)
        let start = Mark(source: source, line: 1, column: 1)
        guard let equals = assignment.firstIndex(of: "="), equals > assignment.startIndex else {
            throw ConfigError("set-syntax", "expected PATH=VALUE, such as `checkpoint.interval=200ms`", at: start)
        }
        let path = assignment[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard !path.contains("") else {
            throw ConfigError("set-syntax", "the path has an empty part", at: start, length: path.count)
        }
        let text = String(assignment[assignment.index(after: equals)...])
        let offset = assignment[...equals].unicodeScalars.count
        let value =
            try YAMLDocument.parse(text, source: source, columnOffset: offset)
            ?? ConfigNode(.scalar(Scalar("")), mark: Mark(source: source, line: 1, column: offset + 1))
        if path[0] == "nodes", path.count > 2, let nodes = root["nodes"]?.entries,
            !nodes.contains(where: { $0.key == path[1] })
        {
            let suggestion = Suggestion.phrase(for: path[1], among: nodes.map(\.key))
            throw ConfigError(
                "unknown-node", "there is no node `\(path[1])`\(suggestion)",
                at: Mark(source: source, line: 1, column: 7),
                length: path[1].count)
        }
        root = try Self.replacing(path[...], in: root, with: value, column: 1, source)
    }

    private static func replacing(
        _ path: ArraySlice<String>, in node: ConfigNode, with value: ConfigNode, column: Int, _ source: SourceFile
    ) throws(ConfigError) -> ConfigNode {
        guard let key = path.first else {
            return ConfigNode(value.kind, mark: value.mark, keyMark: value.keyMark ?? node.keyMark)
        }
        let keyMark = Mark(source: source, line: 1, column: column)
        let next = column + key.unicodeScalars.count + 1
        var copy = node
        switch node.kind {
        case .mapping(var entries):
            if let index = entries.firstIndex(where: { $0.key == key }) {
                entries[index].value = try replacing(
                    path.dropFirst(), in: entries[index].value, with: value, column: next, source)
            } else {
                let empty = ConfigNode(.mapping([]), mark: keyMark, keyMark: keyMark)
                let made = try replacing(path.dropFirst(), in: empty, with: value, column: next, source)
                entries.append(ConfigNode.Entry(key, made, keyMark: keyMark))
            }
            copy.kind = .mapping(entries)
        case .sequence(var elements):
            guard let index = Int(key), elements.indices.contains(index) else {
                throw ConfigError(
                    "set-path", "`\(key)` is no position in the list of \(elements.count): 0 is the first", at: keyMark,
                    length: key.count)
            }
            elements[index] = try replacing(path.dropFirst(), in: elements[index], with: value, column: next, source)
            copy.kind = .sequence(elements)
        case .scalar:
            // A short spelling (`window: global`) or nothing gives way to a mapping.
            let empty = ConfigNode(.mapping([]), mark: keyMark, keyMark: node.keyMark)
            return try replacing(path, in: empty, with: value, column: column, source)
        }
        return copy
    }
}

/// Why a file could not be read.
struct FileReadError: Error {
    var errno: Int32
    var reason: String
}

/// The bytes of a file, at most `maxBytes` of them. Blocks; configuration is small and local.
func readFile(_ path: String, maxBytes: Int) throws(FileReadError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileReadError(errno: errno, reason: String(cString: strerror(errno))) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while bytes.count < maxBytes {
        let count = read(descriptor, &chunk, min(chunk.count, maxBytes - bytes.count))
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw FileReadError(errno: errno, reason: String(cString: strerror(errno))) }
        if count == 0 { break }
        bytes += chunk[..<count]
    }
    return bytes
}
