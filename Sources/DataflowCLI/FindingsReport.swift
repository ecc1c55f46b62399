import DataflowConfig
import DataflowPipeline

/// Findings for programs.
enum FindingsReport {
    /// One object a file: `file`, `ok`, `findings`, and for a valid file `paths` with their guarantee.
    static func json(_ results: [ValidateCommand.Result]) -> JSONValue {
        .array(
            results.map { result in
                var object: [(String, JSONValue)] = [
                    ("file", .string(result.file)), ("ok", .bool(result.definition != nil)),
                    ("findings", .array(result.findings.map(finding))),
                ]
                if let graph = result.definition?.graph {
                    let paths = graph.paths().map { path -> JSONValue in
                        ["nodes": .array(path.nodes.map { .string($0) }), "guarantee": .string(path.guarantee)]
                    }
                    object.append(("paths", .array(paths)))
                }
                return .object(object)
            })
    }

    private static func finding(_ diagnostic: Diagnostic) -> JSONValue {
        var object: [(String, JSONValue)] = [
            ("severity", .string(diagnostic.severity.rawValue)), ("code", .string(diagnostic.code)),
            ("message", .string(diagnostic.message)),
        ]
        if diagnostic.mark.isKnown {
            object += [
                ("file", .string(diagnostic.mark.file)), ("line", .int(diagnostic.mark.line)),
                ("column", .int(diagnostic.mark.column)),
                ("length", .int(max(diagnostic.length, 1))),
            ]
        }
        if let path = diagnostic.path { object.append(("path", .string(path))) }
        if let hint = diagnostic.hint { object.append(("hint", .string(hint))) }
        return .object(object)
    }

    /// SARIF 2.1.0, for code scanning services.
    static func sarif(_ results: [ValidateCommand.Result]) -> JSONValue {
        let findings = results.flatMap { result in result.findings.map { (result.file, $0) } }
        var codes: [String] = []
        for (_, finding) in findings where !codes.contains(finding.code) { codes.append(finding.code) }
        let entries = findings.map { file, finding -> JSONValue in
            let text = finding.hint.map { "\(finding.message). \($0)" } ?? finding.message
            let isFile = finding.mark.isKnown && finding.mark.file != "--set"
            var location: [(String, JSONValue)] = [
                ("artifactLocation", ["uri": .string(isFile ? finding.mark.file : file)])
            ]
            if isFile {
                location.append(
                    (
                        "region",
                        [
                            "startLine": .int(finding.mark.line), "startColumn": .int(finding.mark.column),
                            "endColumn": .int(finding.mark.column + max(finding.length, 1)),
                        ]
                    ))
            }
            return [
                "ruleId": .string(finding.code), "level": .string(finding.severity.rawValue),
                "message": ["text": .string(text)],
                "locations": [["physicalLocation": .object(location)]],
            ]
        }
        return [
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
            "runs": [
                [
                    "tool": ["driver": ["name": "dataflow", "rules": .array(codes.map { ["id": .string($0)] })]],
                    "columnKind": "unicodeCodePoints",
                    "results": .array(entries),
                ]
            ],
        ]
    }
}
