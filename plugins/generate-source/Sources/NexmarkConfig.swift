public import DataflowConfig
import DataflowOperator

/// Which of NEXMark's events a source gives.
public enum NexmarkEvents: String, ConfigEnum {
    case all, person, auction, bid
}

/// What a source makes.
public enum GenerateKind: String, ConfigEnum {
    case columns, nexmark
}

extension GenerateSourceConfig {
    /// The settings of `kind: nexmark` that were changed, although the kind is another one.
    private var strayNexmarkFields: [String] {
        let defaults = GenerateSourceConfig()
        return [
            ("events", events != defaults.events), ("splits", splits != defaults.splits),
            ("start", start != defaults.start), ("event_interval", eventInterval != defaults.eventInterval),
            ("disorder", disorder != defaults.disorder),
        ].filter(\.1).map(\.0)
    }

    public func validate() -> [Diagnostic] {
        switch kind {
        case .columns:
            if columns.isEmpty {
                return [
                    .error(
                        field: "columns", code: "missing-key",
                        "`columns` must have at least one column, each with how its values are made")
                ]
            }
            return strayNexmarkFields.map { .error(field: $0, "`\($0)` goes with `kind: nexmark`") }
        case .nexmark:
            return columns.isEmpty
                ? [] : [.error(field: "columns", "`kind: nexmark` has columns of its own; leave `columns` out")]
        }
    }
}
