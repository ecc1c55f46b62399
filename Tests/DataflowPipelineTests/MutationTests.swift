import DataflowBuiltins
import DataflowConfig
import DataflowOperator
import DataflowPipeline
import Testing

/// A small seeded generator (SplitMix64), so that a failure can be repeated.
private struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite struct MutationTests {
    private static let pieces = [
        "\t", ": ", "- ", "\n", "\n  ", "&a ", "*a", "<<: ", "${X}", "${", "$$", "'", "\"", "[", "]", "{", "}", "|\n",
        ">-\n", "#", "!t ", "\\",
        "\u{0}", "é", "\u{FEFF}", "---\n", "null", "~", "10", "10s", "true", "type: select", "from: src", "? ", "%",
        "@", "`", ",",
    ]

    /// Every damage gives a pipeline or findings with a place in the text, and never a trap.
    @Test(arguments: 0..<8)
    func `no damaged file does more than be refused`(_ seed: Int) throws {
        var random = Seeded(state: UInt64(seed))
        let registry = OperatorRegistry(BuiltinPlugins.all)
        let environment = EnvironmentVariables(["X": "a: [b"])
        let folder = String(#filePath.dropLast("Tests/DataflowPipelineTests/MutationTests.swift".count))
        let original = Array(try #require(readTextFile("\(folder)pipelines/openfood.yaml")).unicodeScalars)
        for _ in 0..<150 {
            var scalars = original
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<scalars.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: scalars.remove(at: place)
                case 1:
                    let end = min(scalars.count, place + Int.random(in: 1...60, using: &random))
                    scalars.removeSubrange(place..<end)
                case 2:
                    let end = min(scalars.count, place + Int.random(in: 1...60, using: &random))
                    scalars.insert(
                        contentsOf: Array(scalars[place..<end]), at: Int.random(in: 0..<scalars.count, using: &random))
                default:
                    scalars.insert(
                        contentsOf: Array((Self.pieces.randomElement(using: &random) ?? "").unicodeScalars), at: place)
                }
            }
            let text = String(String.UnicodeScalarView(scalars))
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).count
            do throws(ConfigError) {
                let file = try PipelineFile(text: text, path: "p.yaml")
                let definition = try PipelineDefinition(file, registry: registry, environment: environment)
                _ = try PhysicalPlan(definition.graph, parallelism: 2)
            } catch {
                for finding in error.diagnostics {
                    #expect(
                        finding.mark.isKnown && finding.mark.line <= lines + 1, "\(finding.rendered(.short))\n\(text)")
                    #expect(!finding.rendered(.human).isEmpty)
                }
            }
        }
    }
}
