import DataflowConfig
import DataflowOperator

extension Drawing {
    // MARK: DOT

    /// Graphviz: shapes by role, one cluster a chain or task.
    var dot: String {
        var text = """
            digraph \(Self.quoted(title)) {
              graph [rankdir=LR, compound=true, fontname="Helvetica", fontsize=12, fontcolor="#5b6573", bgcolor="white", pad=0.3, nodesep=0.35, ranksep=0.7,
                     label=\(Self.quoted(title)), labelloc=t, labeljust=l]
              node  [fontname="Helvetica", fontsize=11, fontcolor="#1f2733", style="filled", penwidth=1.2, margin="0.18,0.09"]
              edge  [fontname="Helvetica", fontsize=9, fontcolor="#5b6573", color="#8a94a3", arrowsize=0.7]

            """
        let grouped = Set(groups.flatMap(\.boxes))
        for (index, group) in groups.enumerated() {
            text += "  subgraph cluster_\(index) {\n"
            text +=
                "    label=\(Self.quoted(group.title)); labeljust=l; fontsize=9; fontcolor=\"#8a94a3\"; style=\"rounded,filled\"; color=\"#d9dee6\"; fillcolor=\"#f6f8fa\"\n"
            for box in boxes where group.boxes.contains(box.id) { text += "    \(Self.dot(box))\n" }
            text += "  }\n"
        }
        for box in boxes where !grouped.contains(box.id) { text += "  \(Self.dot(box))\n" }
        for arrow in arrows {
            let isOfGroup = arrow.isErrors && arrow.port == nil
            let group = isOfGroup ? groups.firstIndex { $0.boxes.contains(arrow.from) } : nil
            text += "  \(Self.dot(arrow, tail: group.map { "cluster_\($0)" }))\n"
        }
        return text + "}\n"
    }

    private static func dot(_ box: Box) -> String {
        let (shape, fill, line, style): (String, String, String, String) =
            switch box.role {
            case .source: ("cds", "#dbeafe", "#3b76c4", "filled")
            case .transform: ("box", "#ffffff", "#6b7686", "rounded,filled")
            case .sink where box.isDeadLetter: ("folder", "#fdeaea", "#c25b5b", "filled")
            case .sink: ("cylinder", "#dcf3e4", "#3f9463", "filled")
            }
        let label =
            "<<b>\(escaped(box.title))</b><br/><font point-size=\"9\" color=\"#5b6573\">\(escaped(box.subtitle))</font>>"
        return
            "\(quoted(box.id)) [shape=\(shape), fillcolor=\"\(fill)\", color=\"\(line)\", style=\"\(style)\", label=\(label)]"
    }

    private static func dot(_ arrow: Arrow, tail: String?) -> String {
        var lines: [String] = []
        if let port = arrow.port { lines.append("<font color=\"#c25b5b\">.\(escaped(port))</font>") }
        if let input = arrow.input { lines.append("→ \(escaped(input))") }
        if let exchange = arrow.exchange { lines.append("<font color=\"#8a5a00\">\(escaped(exchange))</font>") }
        if let kind = arrow.kind { lines.append("<b>\(escaped(kind))</b>") }
        if arrow.port != "errors" { lines += arrow.columnLines(limit: 6).map(escaped) }
        var attributes: [String] = []
        if !lines.isEmpty {
            let rows = lines.map { "<tr><td align=\"left\">\($0)</td></tr>" }.joined()
            attributes.append(
                "label=<<table border=\"0\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"0\">\(rows)</table>>")
        }
        if arrow.isErrors { attributes += ["style=dashed", "color=\"#d9a0a0\"", "arrowsize=0.5"] }
        if let tail { attributes += ["ltail=\(tail)", "weight=0"] }
        if arrow.kind != nil { attributes += ["penwidth=1.6", "color=\"#6b5bb0\""] }
        let list = attributes.isEmpty ? "" : " [\(attributes.joined(separator: ", "))]"
        return "\(quoted(arrow.from)) -> \(quoted(arrow.to))\(list)"
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : "\($0)" }.joined() + "\""
    }

    private static func escaped(_ text: String) -> String {
        text.map { $0 == "&" ? "&amp;" : $0 == "<" ? "&lt;" : $0 == ">" ? "&gt;" : $0 == "\"" ? "&quot;" : String($0) }
            .joined()
    }

    // MARK: Mermaid

    /// Mermaid, for Markdown pages.
    var mermaid: String {
        var text = "flowchart LR\n"
        let ids = Dictionary(uniqueKeysWithValues: boxes.enumerated().map { ($1.id, "n\($0)") })
        func name(_ id: String) -> String { ids[id] ?? id }
        func node(_ box: Box) -> String {
            let label = "\"\(Self.escaped(box.title))<br/><small>\(Self.escaped(box.subtitle))</small>\""
            return switch box.role {
            case .source: "\(name(box.id))>\(label)]"
            case .transform: "\(name(box.id))(\(label))"
            case .sink: "\(name(box.id))[(\(label))]"
            }
        }
        let grouped = Set(groups.flatMap(\.boxes))
        for (index, group) in groups.enumerated() {
            text += "  subgraph g\(index)[\"\(Self.escaped(group.title))\"]\n"
            for box in boxes where group.boxes.contains(box.id) { text += "    \(node(box))\n" }
            text += "  end\n"
        }
        for box in boxes where !grouped.contains(box.id) { text += "  \(node(box))\n" }
        for arrow in arrows {
            var lines: [String] = []
            if let port = arrow.port { lines.append(".\(port)") }
            if let input = arrow.input { lines.append("→ \(input)") }
            if let exchange = arrow.exchange { lines.append(exchange) }
            if let kind = arrow.kind { lines.append(kind) }
            if arrow.port != "errors" { lines += arrow.columnLines(limit: 4) }
            let line = arrow.isErrors ? "-.->" : "-->"
            let label = lines.isEmpty ? "" : "|\"\(lines.map(Self.escaped).joined(separator: "<br/>"))\"|"
            text += "  \(name(arrow.from)) \(line)\(label) \(name(arrow.to))\n"
        }
        return text
    }

    // MARK: JSON

    /// Nodes, groups and edges with whole schemas.
    var json: JSONValue {
        let nodes = boxes.map { box -> JSONValue in
            [
                "id": .string(box.id), "name": .string(box.title), "type": .string(box.subtitle),
                "role": .string(box.role.rawValue),
                "parallelism": .int(box.parallelism),
            ]
        }
        let edges = arrows.map { arrow -> JSONValue in
            var object: [(String, JSONValue)] = [
                ("from", .string(arrow.from)), ("to", .string(arrow.to)), ("kind", .string(arrow.kind ?? "append")),
                ("columns", .array(arrow.columns.map { ["name": .string($0.name), "type": .string($0.type)] })),
            ]
            if let port = arrow.port { object.append(("port", .string(port))) }
            if let input = arrow.input { object.append(("input", .string(input))) }
            if let exchange = arrow.exchange { object.append(("exchange", .string(exchange))) }
            if arrow.isErrors { object.append(("errors", true)) }
            return .object(object)
        }
        return [
            "pipeline": .string(title), "physical": .bool(isPhysical), "nodes": .array(nodes),
            "groups": .array(
                groups.map { ["title": .string($0.title), "nodes": .array($0.boxes.map { .string($0) })] }),
            "edges": .array(edges),
        ]
    }
}

extension Drawing.Arrow {
    /// The columns as lines of a label: `name type`, long types cut, the rest counted.
    fileprivate func columnLines(limit: Int) -> [String] {
        let shown = columns.count > limit ? Array(columns.prefix(limit - 1)) : columns
        var lines = shown.map { column in
            let type = column.type.count > 34 ? column.type.prefix(32) + "…" : column.type
            return "\(column.name) \(type)"
        }
        if columns.count > shown.count { lines.append("… \(columns.count - shown.count) more") }
        return lines
    }
}
