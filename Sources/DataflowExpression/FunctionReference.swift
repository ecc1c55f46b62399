/// The page of all functions, generated from their declarations.
public enum FunctionReference {
    /// Markdown: a table for each section, with an example of each function and its value.
    public static var markdown: String {
        var text = """
            # Functions

            What [expressions](expressions.md) can call. A function is null where an argument is null, unless its text says
            otherwise. A row for which a function fails goes to the node's errors port; `try(…)` makes null of that.
            This page is generated; every example is a test.


            """
        for section in Function.sections {
            text += "## \(section.title)\n\n| call | | example |\n|---|---|---|\n"
            for function in section.functions {
                let examples = function.examples.map { "`\(escaped($0.call))` → `\(escaped($0.value))`" }
                text +=
                    "| `\(escaped(function.signature))` | \(escaped(function.summary)) | \(examples.joined(separator: "<br>")) |\n"
            }
            text += "\n"
        }
        let synonyms = Function.synonyms.sorted { $0.key < $1.key }.map { "`\($0.key)` for `\($0.value)`" }
        text += "Other names that are read: \(synonyms.joined(separator: ", ")).\n"
        return text
    }

    /// A bar would end the table's cell.
    private static func escaped(_ text: String) -> String {
        text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
    }
}
