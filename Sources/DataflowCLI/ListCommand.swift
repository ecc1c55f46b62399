import ArgumentParser
import DataflowConfig
import DataflowOperator
import DataflowPipeline
import Glibc

struct ListCommand: ParsableCommand, Verb {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Lists the operators of this build, or shows the reference page of one.")

    @Argument(help: ArgumentHelp("The operator whose page to show.", valueName: "operator"))
    var name: String?

    @Flag(help: "Print the JSON schema of pipeline files, for editors.")
    var schema = false

    @Option(
        name: .customLong("write"),
        help: ArgumentHelp(
            "Write all pages and the JSON schema below a folder.", valueName: "folder", visibility: .hidden))
    var folder: String?

    func perform(_ invocation: Invocation) async -> Int32 {
        let registry = invocation.registry
        let console = invocation.console
        if let folder { return write(to: folder, registry, console) }
        if schema {
            console.output(Reference.jsonSchema(of: registry).serialized())
            return ExitStatus.ok
        }
        guard let name else {
            printAll(registry, console)
            return ExitStatus.ok
        }
        guard let descriptor = registry[name] else {
            console.line(
                "dataflow: there is no operator `\(name)`\(Suggestion.phrase(for: name, among: registry.all.map(\.info.name)))"
            )
            return ExitStatus.usage
        }
        console.output(Reference.page(of: descriptor))
        return ExitStatus.ok
    }

    private func printAll(_ registry: OperatorRegistry, _ console: Console) {
        let width = registry.all.map(\.info.name.count).max() ?? 0
        for role in OperatorInfo.Role.allCases {
            let operators = registry.all.filter { $0.info.role == role }
            guard !operators.isEmpty else { continue }
            console.output("\(role.rawValue)s")
            for descriptor in operators {
                let info = descriptor.info
                let margin = String(repeating: " ", count: width - info.name.count + 2)
                let stability = info.stability == .stable ? "" : " (\(info.stability.rawValue))"
                console.output("  \(info.name)\(margin)\(info.summary)\(stability)")
            }
        }
    }

    private func write(to folder: String, _ registry: OperatorRegistry, _ console: Console) -> Int32 {
        guard let page = try? PipelineFile.text(of: "\(folder)/pipeline-format.md") else {
            console.line("dataflow: \(folder)/pipeline-format.md cannot be read")
            return ExitStatus.noInput
        }
        let pages = Reference.files(of: registry, page: page)
        for part in ["operators", "schema"] { mkdir("\(folder)/\(part)", 0o755) }
        for (path, text) in pages {
            guard let file = fopen("\(folder)/\(path)", "w") else {
                console.line("dataflow: cannot write \(folder)/\(path): \(String(cString: strerror(errno)))")
                return ExitStatus.noInput
            }
            fputs(text, file)
            fclose(file)
        }
        return ExitStatus.ok
    }
}
