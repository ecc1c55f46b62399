public import DataflowConfig
public import DataflowOperator

/// A pipeline that has been validated: its settings, its graph, and what deserves a warning.
public struct PipelineDefinition: Sendable {
    public var config: PipelineConfig
    public var graph: PipelineGraph
    /// Warnings and notes, in the order of the file.
    public var warnings: [Diagnostic]

    init(config: PipelineConfig, graph: PipelineGraph, warnings: [Diagnostic]) {
        self.config = config
        self.graph = graph
        self.warnings = warnings
    }

    /// Validates a file: the one way for `validate`, `graph` and `run` alike. No I/O but reading the files named by `${file:…}`.
    ///
    /// - Parameters:
    ///   - file: parsed, with `--set` applied, not yet interpolated.
    ///   - registry: the operators of this build.
    /// - Throws: every error that can be found at once, in the order of the file.
    public init(_ file: PipelineFile, registry: OperatorRegistry, environment: EnvironmentVariables = .process)
        throws(ConfigError)
    {
        var validator = PipelineValidator(registry: registry)
        let (root, references) = file.interpolated(environment)
        let findings = references.collector.diagnostics
        do throws(ConfigError) {
            self = try validator.validate(root)
            warnings = warnings.map(references.mask.applied)
        } catch {
            // What a reference without a value leads to is no mistake of its own.
            let others = error.diagnostics.filter { !references.unresolved.contains($0.mark) }.map(
                references.mask.applied)
            throw ConfigError((findings + others).uniqued().sortedByPlace())
        }
        if !findings.isEmpty { throw ConfigError(findings.sortedByPlace()) }
    }

    /// Reads a file, applies `--set` assignments in order, validates.
    public static func load(
        path: String, settings: [String] = [], registry: OperatorRegistry, environment: EnvironmentVariables = .process
    ) throws(ConfigError) -> PipelineDefinition {
        var file = try PipelineFile(path: path)
        var collector = DiagnosticCollector()
        for setting in settings {
            let _: Void? = collector.attempt { () throws(ConfigError) in try file.set(setting) }
        }
        try collector.throwErrors()
        return try PipelineDefinition(file, registry: registry, environment: environment)
    }
}

extension [Diagnostic] {
    /// Each finding once: two nodes with the same defaults report the same mistake.
    func uniqued() -> [Diagnostic] {
        var seen = Set<Diagnostic>()
        return filter { diagnostic in
            // The same mistake in the defaults of two nodes has two paths.
            var place = Diagnostic(diagnostic.severity, diagnostic.code, diagnostic.message, at: diagnostic.mark)
            place.path = diagnostic.mark.isKnown ? nil : diagnostic.path
            return seen.insert(place).inserted
        }
    }
}
